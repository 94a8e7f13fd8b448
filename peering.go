package covey

// peering.go is a cache's half of its group.

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/freq"
	agreed "github.com/coveycache/covey/internal/view"
)

// A peering is what a cache has because it is in a group: what it asks of the other processes, what
// it answers them, and what it remembers for that. A cache that is alone has none. What the path of
// a hit touches stays in Cache: copies and hot.
//
// Its methods are in the files peer_*.go.
type peering[V any] struct {
	c       *Cache[V]
	group   *Group
	id      uint16 // the cache's number in the group's frames
	codec   string // the codec's name, with Options.Version
	tenures tenures
	holds   holds

	copies   int // of each value that this process wants there to be; see Options.Replicas
	outboxes outboxes
	hedges   hedges
	clears   *clears
	trust    *trust // nil: without Snapshot.Trust

	pursuits pursuits
	asks     *sync.Pool
	unshared sync.Map // the peers, and their codecs, that have been logged for not sharing the cache

	emptied chan struct{} // closed when the cache is closed and has been emptied

	// Memory of requests for many keys, to be used again.
	buffers sync.Pool // of *[]byte
	parts   sync.Pool // of *part[V]
	sinks   sync.Pool // of *manySink
	changes sync.Pool // of chan struct{}
}

// joinGroup makes the cache take part in a group.
func (c *Cache[V]) joinGroup(g *Group, codec string) error {
	p := c.newPeering(g, codec)
	if p.trust != nil {
		past, err := c.snapshots.breakSeal()
		if err != nil {
			return fmt.Errorf("covey: cache %q: %w", c.name, err)
		}
		p.trust.past.Store(past)
	}
	if err := g.join(c.name, codec, p, &p.id); err != nil {
		return err
	}
	// What was sent before may be obsolete: until now this process had nothing to forget, and said so.
	for i := range c.shards {
		s := c.lockAt(i)
		s.forgotten.floor = g.stamps.next()
		s.unlock()
	}
	g.say(func(m *agreed.Member) { m.Replicas = max(m.Replicas, p.copies) })
	if c.opt.SelfCheck > 0 {
		c.spawn(p.runChecks)
	}
	return nil
}

// newPeering gives the cache what it needs to take part in a group.
func (c *Cache[V]) newPeering(g *Group, codec string) *peering[V] {
	p := &peering[V]{c: c, group: g, codec: codec, copies: c.opt.Replicas, clears: g.clears.get(c.name), emptied: make(chan struct{})}
	p.asks = newAsks(&p.holds)
	p.hedges.init()
	if s := c.opt.Snapshot; s.Trust && s.Path != "" && c.snapshots != nil {
		p.trust = &trust{began: c.store.clock.steady()}
	}
	p.pursuits.wake = func() { c.spawn(p.pursue) }
	c.peering = p
	for i := range c.shards {
		c.shards[i].forgotten.floor = math.MaxUint64
	}
	c.hot = freq.NewTop(c.store.clock.now())
	c.copies.loan = func(n *node) *loanOf { return &borrowedOf[V](n).loanOf }
	c.copies.offset = int64(g.skew.start.Sub(c.store.clock.start))
	c.copies.limit.Store(c.copiesLimit(c.opt.MaxBytes))
	if c.opt.L1 > 0 {
		c.copies.demand = freq.NewDemand(c.opt.L1)
	}
	return p
}

// codecName returns what tells the encoding of this cache's values from others, if they can be
// encoded.
func (c *Cache[V]) codecName() (string, error) {
	if j, ok := c.opt.Codec.(jsonCodec[V]); ok {
		some, err := j.survives()
		if err != nil {
			return "", err
		}
		if some != "" {
			c.log.logger.Warn("covey: encoding/json does not bring every value to other processes as it is: give Options.Codec, or JSONCodec to take that", "why", some)
		}
	}
	name := c.opt.Codec.Name()
	if c.opt.Version != "" {
		name += "@" + c.opt.Version
	}
	if name == "" || len(name) > maxPeerName {
		return "", fmt.Errorf("the names of Options.Codec and Version have %d bytes together, they must have 1 to %d", len(name), maxPeerName)
	}
	return name, nil
}

// isActing reports whether this process has the promises of a quorum at that time of the cache's
// clock, so that what it stores may be served.
func (p *peering[V]) isActing(now int64) bool {
	return now < p.group.agreement.Until()+p.c.copies.offset
}

// What a group asks of a cache besides.

func (p *peering[V]) delete(ctx context.Context, key string, o ...DeleteOption) error {
	return p.c.Delete(ctx, key, o...)
}

func (p *peering[V]) hasEntries() bool { return p.c.store.entries.Load() > 0 }

func (p *peering[V]) close() error { return p.c.Close() }

// snapshot writes the cache's last snapshot while all that it has is still valid, in a quarter of
// the time that there is.
func (p *peering[V]) snapshot(ctx context.Context) {
	s := p.c.snapshots
	if s == nil {
		return
	}
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/4)
		defer cancel()
	}
	ended := p.beginLast()
	s.end(ctx, s.live())
	if s.wait() == nil { // Close waits, too, and says so
		ended()
	}
}

// leave takes back what a cache has lent that is closed, so that another one of its name may answer
// for the same keys. In a group that is shut down that has been done, as far as there was time.
func (p *peering[V]) leave() {
	close(p.emptied)
	if p.group.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(p.group.ctx, leaveFor/6)
	err := p.recallAll(ctx, nil)
	cancel()
	if err == nil {
		return
	}
	ctx, cancel = context.WithTimeout(p.group.ctx, leaveFor)
	defer cancel()
	borrowers := p.lentTo(nil)
	for l := range borrowers { // all of them before any lease is waited for
		l.Close()
	}
	for l := range borrowers {
		_ = p.group.outwait(ctx, l) // which is for 2 s
	}
}
