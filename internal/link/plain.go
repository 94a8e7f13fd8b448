package link

// plain.go is a link without a connection of its own, for where something in between refuses the
// upgrade to one, as service meshes do: its frames travel in the bodies of POST requests, through
// any proxy and over any version of HTTP. This is the end that asks, serveplain.go the one that
// answers.
//
//	POST {path}v1/ops
//	request:  the sender's caches, then requests; its hello is in the header, see prove.go
//	response: the sender's hello and its caches, then answers as they come
//
// The requests of callers that come at the same time share a body. Since the other end cannot call
// back, nothing is lent over such a link and no rights are given. Its lease serves only to find out
// whether the peer is there.

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// plain is what a link has instead of a connection.
type plain struct {
	link    *Link
	refused *UpgradeError
	why     error // the link leaves; guarded by its mutex
	cancel  context.CancelCauseFunc
	ctx     context.Context        // ends with the link
	slots   [classes]chan struct{} // of exchanges under way
	wg      sync.WaitGroup         // exchanges

	ring sync.Mutex // held while the other end's ring is noted
	seq  uint64     // of the hello that it was in; guarded by ring

	hearing sync.Mutex // held while Told is called; taken before all others
	heard   uint64     // number of the last answer that told something; guarded by hearing
	early   []byte     // what was told while the two ends met; guarded by hearing

	mu      sync.Mutex         // taken before the link's, and an exchange's
	open    [classes]*exchange // that take more requests
	alive   *exchange          // that renews the lease
	number  uint32             // of the last one
	running map[uint32]*exchange
	told    []byte    // by Tell, and waits for telling
	telling *exchange // that carries what was told before
}

const (
	maxExchanges = 256  // of each class at a time, to one peer, without those where all is held; more requests wait, and gather
	maxBodyOps   = 1024 // requests in a body
	opBits       = 11   // of the op of such a link: its number within the body; the rest is that of the exchange
	upgradeEvery = time.Minute
)

// An exchange is one request with its response, at the end that asks.
type exchange struct {
	*Link
	plain  *plain
	ctx    context.Context
	cancel context.CancelFunc
	number uint32
	seq    uint64 // of its hello; 0: it has not been sent; guarded by plain.mu
	sent   int64  // when that was
	answer uint64 // number of the hello in the answer
	told   []byte // by Tell
	whole  bool   // all of the response has come
	class  class
	inSlot bool        // guarded by the exchange's mutex
	writes []uint32    // ops that change something; guarded by the exchange's mutex
	memory holding     // for values that come in pieces
	void   atomic.Bool // one of them has been given up: a later exchange that writes ends this one at the other end
}

// Plain returns why the link has no connection of its own, nil if it has one.
func (l *Link) Plain() error {
	switch {
	case l.plain != nil:
		return l.plain.refused
	case l.accepted != nil:
		return errAskedOnly
	}
	return nil
}

// dialPlain brings up a link to p without a connection.
func (n *Node) dialPlain(ctx context.Context, p *Peer, refused *UpgradeError) error {
	met, err := n.meet(ctx, p)
	if err != nil {
		return err
	}
	peer := &met.peer
	l := newLink(n, noConn{}, p, peer)
	l.caches.Store(met.caches.Load())
	x := &plain{link: l, refused: refused, seq: peer.Seq, running: make(map[uint32]*exchange)}
	for c := range x.slots {
		x.slots[c] = make(chan struct{}, maxExchanges)
	}
	x.ctx, x.cancel = context.WithCancelCause(context.Background())
	l.plain = x
	sent := met.exchange.sent
	l.lease.started = sent
	l.lease.held.Store(met.lease.held.Load())
	l.lease.alive.Store(met.lease.alive.Load())
	l.lease.rtt.Store(n.later() - sent)
	l.in.ready = true
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return ErrClosed
	}
	n.links[l] = struct{}{}
	l.health = n.healthOf(l.peer.Name)
	n.mu.Unlock()
	l.health.linked()
	x.hearing.Lock() // what is told from now on comes after what was told before
	n.cfg.Up(l)
	x.passOnEarly(met.exchange)
	x.hearing.Unlock()
	p.got(l)
	close(l.ready)
	go x.keep()
	return nil
}

// meet exchanges hellos with a peer. It returns a link that is good for nothing but what the peer
// has said: its hello, its caches and the lease.
func (n *Node) meet(ctx context.Context, p *Peer) (*Link, error) {
	instance, err := n.who(ctx, p)
	if err != nil {
		return nil, err
	}
	sent := n.later()
	resp, peer, err := n.post(ctx, p, n.plainHello(p.name, instance, n.seq.Add(1), 0), wire.Append(nil, n.ownCaches()))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	l := newLink(n, noConn{}, nil, peer)
	l.exchange = &exchange{Link: l, plain: &plain{link: l}, ctx: ctx, sent: sent, answer: peer.Seq, memory: holding{of: &n.bodies}}
	l.extend(sent, 0)
	defer l.exchange.memory.drop()
	l.in.ready = true
	if err := l.readBody(resp.Body); err != io.EOF {
		return nil, err
	}
	return l, nil
}

// send is Link.Send.
func (p *plain) send(f *wire.Frame, s Sink, now, hard int64) (op uint32, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link.mu.Lock()
	err = p.link.unusable(f.Type)
	p.link.mu.Unlock()
	if err != nil {
		return 0, err
	}
	class, ok := classOf(f.Type), false
	e := p.open[class]
	if e != nil {
		op, ok = e.add(f, s, now, hard)
	}
	if !ok {
		e = p.begin(class)
		p.open[class] = e
		op, _ = e.add(f, s, now, hard)
	}
	return e.number<<opBits | op, nil
}

// giveUp is Link.Cancel.
func (p *plain) giveUp(op uint32, s Sink) bool {
	p.mu.Lock()
	e := p.running[op>>opBits]
	p.mu.Unlock()
	return e != nil && e.Cancel(op&(1<<opBits-1), s)
}

// begin starts an exchange of a class, to which requests may be added until it is sealed. told is
// what it carries of Tell. The plain is locked.
func (p *plain) begin(c class, told ...byte) *exchange {
	for ok := true; ok; _, ok = p.running[p.number] {
		p.number = (p.number + 1) & (1<<(32-opBits) - 1)
	}
	e := &exchange{Link: newLink(p.link.node, noConn{}, nil, &p.link.peer), plain: p, number: p.number, class: c, told: told, memory: holding{of: &p.link.node.bodies}}
	e.health = p.link.health
	e.ctx, e.cancel = context.WithCancel(p.ctx)
	e.exchange = e
	e.in.ready = true
	e.out.unlimited()
	p.running[e.number] = e
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		p.end(e, e.run())
	}()
	return e
}

// add adds a request, if there is room and the exchange has not been given up; into an empty one
// anything goes.
func (e *exchange) add(f *wire.Frame, s Sink, now, hard int64) (op uint32, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := e.calls.busy; n > 0 && (n >= min(maxBodyOps, int(e.peer.MaxOps)) || e.out.bytes+e.out.long+len(f.Value) > e.node.cfg.MaxQueue || e.ctx.Err() != nil) {
		return 0, false
	}
	op = e.send(f, s, now, hard)
	switch f.Type {
	case wire.Get, wire.GetMany, wire.Lookup, wire.Peek, wire.Announce, wire.Top, wire.Reload, wire.Await, wire.Inspect:
	default:
		e.writes = append(e.writes, op)
	}
	return op, true
}

// givenUp is called when nobody waits for op any more. The exchange is locked.
func (e *exchange) givenUp(op uint32) {
	if slices.Contains(e.writes, op) {
		e.void.Store(true)
	}
	if !slices.ContainsFunc(e.calls.slots, func(c call) bool { return c.sink != nil }) {
		e.cancel()
	}
}

// run sends the requests that have been added and takes the answers in.
func (e *exchange) run() error {
	p := e.plain
	select {
	case p.slots[e.class] <- struct{}{}:
		e.mu.Lock()
		e.inSlot = true
		e.mu.Unlock()
		defer func() {
			e.mu.Lock()
			e.leaveSlot()
			e.mu.Unlock()
		}()
	case <-e.ctx.Done():
	}
	if len(e.told) > 0 {
		late := time.AfterFunc(e.node.cfg.Lease, e.cancel)
		defer late.Stop()
	}
	err := e.post(p.seal(e))
	if err == io.EOF {
		e.whole = true
		return io.ErrUnexpectedEOF // for those who have no answer
	}
	if e.ctx.Err() == nil { // a connection was at its end, or the peer is: who asks again has to know
		met, gone := e.node.meet(e.ctx, p.link.dialer)
		if gone == nil && met.peer.Instance != p.link.peer.Instance {
			gone = ErrReplaced
		}
		if gone == nil {
			p.hearing.Lock()
			p.passOnEarly(met.exchange)
			p.hearing.Unlock()
		} else if e.ctx.Err() == nil {
			p.link.fail(gone)
		}
		if len(e.told) > 0 { // it is told again, but not at once
			select {
			case <-time.After(e.node.cfg.MinBackoff):
			case <-e.ctx.Done():
			}
		}
	}
	if e.ctx.Err() != nil {
		return context.Cause(e.ctx)
	}
	return err
}

// leaveSlot makes room for another exchange when this one is over, or all that is left of it is
// held. The exchange is locked.
func (e *exchange) leaveSlot() {
	if e.inSlot {
		e.inSlot = false
		<-e.plain.slots[e.class]
	}
}

// post sends a body and takes in what comes of it, at the end of which it returns io.EOF.
func (e *exchange) post(h *wire.Hello, body []byte) error {
	p := e.plain
	e.sent = e.node.later()
	resp, peer, err := e.node.post(e.ctx, p.link.dialer, h, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	defer e.memory.drop()
	if peer.Instance != p.link.peer.Instance { // a restart
		return ErrReplaced
	}
	e.answer = peer.Seq
	p.renew(e.sent)
	p.hear(peer, nil)
	return e.readBody(resp.Body)
}

// seal lets those run who are about to add something, and then returns the hello and the body.
func (p *plain) seal(e *exchange) (*wire.Hello, []byte) {
	for range maxYields {
		e.mu.Lock()
		before := e.out.bytes
		e.mu.Unlock()
		runtime.Gosched()
		e.mu.Lock()
		grown := e.out.bytes > before
		e.mu.Unlock()
		if !grown {
			break
		}
	}
	caches := p.link.node.ownCaches() // before the lock: the node's comes first
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[e.class] == e {
		p.open[e.class] = nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seq = p.link.node.seq.Add(1)
	since := uint64(0)
	if len(e.writes) > 0 {
		since = e.seq
		for _, other := range p.running {
			if other.seq != 0 && !other.void.Load() {
				since = min(since, other.seq)
			}
		}
	}
	body := append(wire.Append(nil, caches), e.told...)
	return p.link.node.plainHello(p.link.peer.Name, p.link.peer.Instance, e.seq, since), e.out.all(body)
}

// end deals with what an exchange has not had answered.
func (p *plain) end(e *exchange, err error) {
	e.mu.Lock()
	e.failLocked(err)
	sinks := e.calls.drain()
	e.mu.Unlock()
	e.cancel()
	e.health.failed(len(sinks), err)
	for _, s := range sinks {
		s.Fail(err)
	}
	p.mu.Lock()
	delete(p.running, e.number)
	if p.alive == e {
		p.alive = nil
	}
	p.endTelling(e)
	p.link.mu.Lock()
	p.maybeLeft()
	p.link.mu.Unlock()
	p.mu.Unlock()
}

// maybeLeft ends the link if it is leaving and nothing is under way. The plain and the link are
// locked.
func (p *plain) maybeLeft() {
	if p.link.leaving.said && len(p.running) == 0 {
		p.link.failLocked(p.why)
	}
}

// leave ends the link when all has been answered, and says why; goodbye is what is said to the
// other end.
func (p *plain) leave(why error, goodbye *wire.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unusable(0) != nil {
		return
	}
	l.leaving.said, p.why = true, why
	if goodbye != nil {
		e := p.begin(prompt)
		e.mu.Lock()
		e.out.add(goodbye)
		e.mu.Unlock()
	}
	p.maybeLeft()
}

// renew takes note that the peer has answered what was sent at a time.
func (p *plain) renew(sent int64) {
	p.link.heard.Store(p.link.node.later())
	l := p.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.extend(sent, 0)
		l.lease.rtt.Store(l.node.later() - sent)
	}
}

// granted takes note of the lease that the peer gives in its answer to what was sent at a time.
func (p *plain) granted(sent int64, term time.Duration) {
	l := p.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.extend(sent, term)
	}
}

// hear takes note of a hello of the other end, and of its caches unless they are nil, if no later
// one has been heard.
func (p *plain) hear(h *wire.Hello, caches *cacheNames) {
	p.ring.Lock()
	defer p.ring.Unlock()
	if h.Seq < p.seq {
		return
	}
	p.seq = h.Seq
	if caches != nil {
		p.link.caches.Store(caches)
	}
	p.link.ring.Store(h.Ring)
}

// keep asks now and then whether the peer is still there, until the link is down.
func (p *plain) keep() {
	l, cfg := p.link, &p.link.node.cfg
	tick := time.NewTicker(cfg.KeepAlive)
	defer tick.Stop()
	upgrade := time.NewTicker(upgradeEvery)
	defer upgrade.Stop()
	for {
		select {
		case <-tick.C:
			now := l.node.later()
			if l.silent(now) {
				l.fail(ErrLeaseLost)
				continue
			}
			p.mu.Lock()
			if p.alive == nil && l.Err() == nil && l.lease.alive.Load()-now < int64(cfg.Lease-cfg.KeepAlive/2) {
				p.alive = p.begin(prompt)
			}
			p.mu.Unlock()
		case <-upgrade.C:
			l.dialer.upgrade(l)
		case <-l.down:
			p.mu.Lock() // from here on nobody begins an exchange
			p.cancel(l.Err())
			p.mu.Unlock()
			p.wg.Wait()
			l.finish()
			return
		}
	}
}

// readBody takes in the frames of a body to its end, where it returns io.EOF.
func (l *Link) readBody(r io.Reader) error {
	buf := make([]byte, idleBuffer)
	w := 0
	for {
		n, err := l.fill(&buf, &w, r)
		switch {
		case n > 0 || err == nil:
		case errors.Is(err, io.EOF) && (w > 0 || l.in.left > 0 || len(l.in.streams) > 0):
			return io.ErrUnexpectedEOF
		default:
			return err
		}
	}
}
