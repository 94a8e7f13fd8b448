package covey

// group_view.go ties the group to the agreement on who its members are (internal/view): what the
// members say to each other travels over the links, and each view that they agree upon becomes the
// ring that the caches go by.

import (
	"context"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/link"
	agreed "github.com/coveycache/covey/internal/view"
	"github.com/coveycache/covey/internal/wire"
)

// A view is what the group goes by: a ring that the members have agreed upon, and how to reach them.
type view struct {
	lineage, epoch uint64
	tag            uint64 // of both, which links announce; 0: there is no view
	ring           *ring
	self           int          // this process's index in the ring; -1 if it owns nothing
	peers          []*link.Peer // by index in the ring, then those that are leaving; nil for this process itself

	// Who has a key in custody, see custody.go.
	me      int // this process's index in peers; -1 if it is no member
	members []agreed.Member
	ended   bool     // some member has ended since this process has known any
	leaving []string // the names of members that own nothing any more
	copies  int      // members that may have a copy of a key in the long run, at least 1
	former  *ring    // of the view before; nil: it gives each key to who owns it now
	now     []int    // by index in former: that in peers; -1 if it is no member any more

	// settled is closed when all have given back what the view takes away from them. Until then
	// this process acts only for the keys that it owned in prev as well.
	settled chan struct{}
	prev    *view // the view before this one; nil: this process owned nothing that it may go on with

	replaced chan struct{} // closed when the group goes by another view

	since int64 // when this process adopted it, by the group's monotonic clock

	quiet []quiet // what members who are gone have lent
}

// quiet is for how long writes of some keys have to wait, since members who are gone may have lent
// copies of them.
type quiet struct {
	until int64 // by the group's monotonic clock
	owned *view // not of what this process owned in this view; nil: of all keys
}

// noView is what a group goes by that has none: nobody owns anything.
func noView() *view {
	v := &view{ring: newRing(nil), self: -1, me: -1, copies: 1, settled: make(chan struct{}), replaced: make(chan struct{})}
	close(v.settled)
	return v
}

// owner returns the index of key's owner in the ring, -1 if there is none.
func (v *view) owner(key string) int { return v.ring.owner(ringHash(key)) }

// owns reports whether this process owns the key whose place on the ring that is.
func (v *view) owns(place uint64) bool { return v.self >= 0 && v.ring.owner(place) == v.self }

// isOwn reports whether this process owns key.
func (v *view) isOwn(key string) bool { return v.owns(ringHash(key)) }

func (v *view) hasSettled() bool {
	select {
	case <-v.settled:
		return true
	default:
		return false
	}
}

// mayAct reports whether this process, if it may act at all, may do so for the key at that place.
func (v *view) mayAct(place uint64) bool {
	return v.owns(place) && (v.hasSettled() || v.prev != nil && v.prev.owns(place))
}

// quietUntil returns until when a write of the key at that place has to wait, by the group's
// monotonic clock.
func (v *view) quietUntil(place uint64) (until int64) {
	for _, q := range v.quiet {
		if q.owned == nil || !q.owned.owns(place) {
			until = max(until, q.until)
		}
	}
	return until
}

// newInstance draws the number of this process. It is greater than that of any process that began
// earlier, as far as clocks agree, so that of two with one name the later one is known.
func newInstance() uint64 {
	instances.Lock()
	defer instances.Unlock()
	n := uint64(time.Now().UnixMilli())<<22 | uint64(rand.Uint32N(1<<22))
	instances.last = max(n, instances.last+1+uint64(rand.Uint32N(1<<10)))
	return instances.last
}

var instances struct {
	sync.Mutex
	last uint64
}

// newAgreement returns this process's part in the agreement.
func (g *Group) newAgreement() *agreed.Node {
	return agreed.New(agreed.Config{
		Self:       g.said,
		MinMembers: g.opt.MinMembers, WarmUp: g.opt.WarmUp,
		Now: g.steady, Held: g.skew.now,
		Wall:    func() uint64 { return uint64(max(time.Now().UnixMilli(), 1)) },
		Random:  rand.Uint64,
		Send:    g.tell,
		Adopt:   g.adopt,
		Settled: g.hasSettled,
		Release: func(epoch uint64) { g.spawn(func() { g.release(epoch) }) },
		Note:    g.noteView,
	})
}

// spawn runs f on a goroutine that Shutdown waits for, unless the group is closed.
func (g *Group) spawn(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.wg.Go(f)
	}
}

// steady is the time since the group's start by the monotonic clock.
func (g *Group) steady() int64 { return int64(time.Since(g.skew.start)) }

// isActing reports whether this process has the promises of a quorum, so that nobody acts in its
// place. It reads the real clock.
func (g *Group) isActing() bool { return g.skew.now() < g.agreement.Until() }

// term is for how long this process may lend anything to the other end of a link now. Whoever does
// not go by the same view gets nothing: a copy of a former view whose lease has ended would be good
// again, although the key may have had another owner since.
func (g *Group) term(l *link.Link) time.Duration {
	if v := g.view.Load(); v.tag == 0 || l.Ring() != v.tag {
		return 0
	}
	return time.Duration(max(0, g.agreement.Until()-g.skew.now()))
}

// attend has the agreement do what is due, and keeps links to those that it needs.
func (g *Group) attend() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	acted := false
	for dialled := int64(-1 << 62); ; {
		select {
		case <-timer.C:
		case <-g.ctx.Done():
			return
		}
		if acts := g.isActing(); acts != acted {
			acted = acts
			g.noteActing(acts)
		}
		timer.Reset(g.agreement.Tick())
		g.knock()
		if now := g.steady(); now-dialled >= int64(dialEvery) {
			dialled = now
			g.skew.follow()
			g.dialWanted()
		}
	}
}

// dialEvery is how often the links are looked at that the agreement needs.
const dialEvery = 2 * agreed.TickEvery

// dialWanted keeps links to those whom the agreement needs. One that the other end has dialled will
// do: a voter of a large group has as many links as there are members, and not twice as many.
func (g *Group) dialWanted() {
	for _, m := range g.agreement.Wanted() {
		g.mu.Lock()
		p := g.peerOf(m.Name, m.URL)
		linked := slices.ContainsFunc(g.linksTo[m.ID], func(l *link.Link) bool { return l.Plain() == nil && l.Err() == nil })
		g.mu.Unlock()
		if p != nil && !linked && p.Up() == nil {
			p.Dial()
		}
	}
	if g.self != nil {
		g.self.Dial()
	}
}

// tell sends what the agreement says over a link to that process.
func (g *Group) tell(to agreed.ID, message []byte) {
	g.mu.Lock()
	var l *link.Link
	best := -1
	for _, one := range g.linksTo[to] {
		good := 0
		switch {
		case one.Plain() == nil:
			good = 2
		case one.Dialed():
			good = 1
		}
		if good > best && one.Err() == nil {
			l, best = one, good
		}
	}
	g.mu.Unlock()
	if l != nil {
		_ = l.Tell(&wire.Frame{Value: message})
	}
}

// keepAlive is called when a keep-alive is about to be sent over a link: whatever else is due goes
// along.
func (g *Group) keepAlive(l *link.Link, add func(cache uint16, key string, hits uint64) bool) {
	g.agreement.Renew(agreed.ID{Name: l.Name(), Instance: l.Instance()})
	g.reportHits(l, add)
}

// told takes what another process says about the agreement.
func (g *Group) told(l *link.Link, f *wire.Frame) {
	if err := g.agreement.Receive(agreed.ID{Name: l.Name(), Instance: l.Instance()}, f.Value); err != nil {
		g.log.warn("covey: a peer does not make sense about the members", l.Name(), "err", err)
		l.Close()
	}
}

// adopt has all caches go by another view. It runs under the agreement's lock.
func (g *Group) adopt(a agreed.Adoption) {
	v := noView()
	if a.View != nil {
		v = g.viewOf(a.View)
		if a.Former != nil {
			v.follow(a.Former)
		}
		v.settled = make(chan struct{})
	}
	old := g.view.Load()
	g.noteChange(old, v)
	if old.me >= 0 && (a.Anew || v.lineage != old.lineage) || a.View != nil && a.Former != nil && slices.ContainsFunc(a.Former.Members, func(m agreed.Member) bool { return !a.View.Has(m.ID) }) {
		g.ended.Store(true)
	}
	v.ended = g.ended.Load()
	now := g.steady()
	v.since = now
	for _, q := range old.quiet {
		if q.until > now {
			v.quiet = append(v.quiet, q)
		}
	}
	if a.Quiet > 0 {
		q := quiet{until: now + int64(a.Quiet)}
		if !a.QuietAll {
			q.owned = old
		}
		v.quiet = append(v.quiet, q)
	}
	if !a.Anew && old.self >= 0 { // else this process owned nothing that it may go on with
		v.prev = old.bare()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	caches := *g.caches.Load()
	for _, c := range caches {
		c.adopt(v, a.Anew)
	}
	g.clears.keep(func(name string) bool { return caches[name] != nil })
	g.view.Store(v)
	close(old.replaced)
	g.node.SetRing(v.tag)
	if !g.closed {
		g.wg.Go(func() {
			g.opt.Logger.Info("covey: the members have changed", "self", g.opt.Name, "members", len(v.ring.members), "epoch", v.epoch)
			g.closeUnused()
		})
	}
}

// bare returns v without what came before it, so that views do not hold on to each other.
func (v *view) bare() *view {
	if v.prev == nil && v.quiet == nil {
		return v
	}
	b := *v
	b.prev, b.quiet = nil, nil
	return &b
}

// viewOf returns what the group needs of a view that the members have agreed upon.
func (g *Group) viewOf(of *agreed.View) *view {
	v := &view{lineage: of.Lineage, epoch: of.Epoch, tag: max(1, of.Lineage^bits.RotateLeft64(of.Epoch, 32)), ring: g.view.Load().ring.with(ringMembers(of)), self: -1, me: -1, members: of.Members, copies: copiesOf(of), replaced: make(chan struct{})}
	isMember := of.Has(agreed.ID{Name: g.opt.Name, Instance: g.instance})
	if isMember {
		v.self = v.ring.index(g.opt.Name)
		v.me = v.self
	}
	v.peers = make([]*link.Peer, len(v.ring.members))
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, m := range v.ring.members {
		if i != v.me {
			v.peers[i] = g.peerOf(m.Name, m.URL)
		}
	}
	for _, m := range of.Members {
		if m.Weight > 0 {
			continue
		}
		var peer *link.Peer
		if isMember && m.Name == g.opt.Name {
			v.me = len(v.peers)
		} else {
			peer = g.peerOf(m.Name, m.URL)
		}
		v.leaving = append(v.leaving, m.Name)
		v.peers = append(v.peers, peer)
	}
	return v
}

// hasSettled notes that the view has settled. It runs under the agreement's lock.
func (g *Group) hasSettled(epoch uint64) {
	if v := g.view.Load(); v.epoch == epoch && !v.hasSettled() {
		close(v.settled)
		for _, c := range *g.caches.Load() {
			g.spawn(func() { c.repair(v) })
		}
	}
}

// release takes back the copies of keys that this process no longer owns: those who own them now do
// not know of the copies. Writes of such keys that are under way find that the view has changed.
func (g *Group) release(epoch uint64) {
	v := g.view.Load()
	if v.epoch != epoch {
		return
	}
	g.forEach(func(c shared) {
		for g.ctx.Err() == nil && g.view.Load() == v {
			ctx, cancel := context.WithTimeout(g.ctx, g.opt.OpTimeout)
			err := c.recallAll(ctx, func(key string) bool { return !v.isOwn(key) })
			cancel()
			if err == nil {
				return
			}
		}
	})
	g.agreement.Released(epoch)
	if g.closing.Load() { // Close tells of what there is
		return
	}
	for _, c := range *g.caches.Load() {
		c.sweep()
	}
}
