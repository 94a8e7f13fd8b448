package covey

// handoff.go has what makes a change of the view cost few loads: an owner asks those who had a key
// before it loads it, replicas become entries of the owner's and the other way round, and replicas
// that are missing are made again.

import (
	"context"
	"time"

	"github.com/coveycache/covey/internal/wire"
	"golang.org/x/sync/errgroup"
)

// peekFor bounds how long a load waits for what others may have.
const peekFor = 50 * time.Millisecond

// mayPeek reports whether others may have the key at that place, which this process owns and did not
// own before.
func (p *peering[V]) mayPeek(v *view, place uint64) bool {
	return v.former != nil && v.owns(place) && v.formerOwner(place) != v.me && p.group.steady() < v.since+int64(p.group.opt.WarmUp)
}

// peek ends the flight with what another custodian of the key has in memory, and reports whether
// there was any. It asks all of them at once.
func (p *peering[V]) peek(ctx context.Context, f *flight[V]) bool {
	_, label, v := p.present()
	place := ringHash(f.key)
	if !p.mayPeek(v, place) {
		return false
	}
	s := p.c.lock(f.hash)
	gen, looks := f.gen, f.linked && !f.noStore && !f.refresh && f.right == nil && f.grant == nil
	s.unlock()
	if !looks || gen != p.c.store.gen.Load() || p.tenures.view() != v {
		return false
	}
	var room [maxReplicas + 1]int
	others := v.custodians(place, v.copies, room[:0])[1:]
	if len(others) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, peekFor)
	defer cancel()
	p.c.n.peeks.Add(1)
	answer, from, found := firstOf(ctx, others, func(ctx context.Context, i int) (wire.Frame, finding) {
		return p.peekAt(ctx, v, label, i, f.key)
	})
	if found != some {
		return false
	}
	b := parcel[V]{p: p, gen: gen, view: v, from: from, arrived: p.c.store.clock.now()}
	e := b.entry(&answer)
	if e == nil {
		return false
	}
	p.take(f, e, &answer)
	p.c.n.peekHits.Add(1)
	return true
}

// peekOrGrant sees to a flight that others wait for, and this process cannot load: if nobody else has
// the key either, one of them gets the right to load it. The flight counts that as a waiter.
func (p *peering[V]) peekOrGrant(f *flight[V]) {
	if p.peek(f.ctx, f) {
		return
	}
	s := p.c.lock(f.hash)
	if f.finished {
		s.unlock()
		return
	}
	p.grantNext(s, f, 0)
}

// peekMany is peek of the flights of a bulk load, and returns those that are still to be loaded.
func (p *peering[V]) peekMany(b *bulk[V]) (rest []*flight[V]) {
	v := p.tenures.view()
	if v.former == nil {
		return b.flights
	}
	var calls errgroup.Group
	calls.SetLimit(manyAtOnce)
	found := make([]bool, len(b.flights))
	for i, f := range b.flights {
		if p.mayPeek(v, ringHash(f.key)) {
			calls.Go(func() error {
				found[i] = p.peek(b.ctx, f)
				return nil
			})
		}
	}
	_ = calls.Wait()
	for i, f := range b.flights {
		if !found[i] {
			rest = append(rest, f)
		}
	}
	return rest
}

// take ends a flight with an entry that another custodian had.
func (p *peering[V]) take(f *flight[V], e *entry[V], from *wire.Frame) {
	value, err := p.c.content(&e.node)
	w := write[V]{key: f.key, hash: f.hash, f: f, e: e, version: from.Version, versioned: from.HasVersion}
	p.c.write(&w)
	if w.landed {
		p.c.land(f, value, err)
	}
}

// peekAt asks a custodian what it has of a key, to be stored here.
func (p *peering[V]) peekAt(ctx context.Context, v *view, label uint64, i int, key string) (answer wire.Frame, found finding) {
	if v.peers[i] == nil {
		return answer, unheard
	}
	l, err := v.peers[i].Link(ctx)
	if err != nil || p.differsAt(l) {
		return answer, unheard
	}
	answer, err = p.callIn(ctx, v, l, &wire.Frame{Type: wire.Peek, Cache: p.id, Key: key, Ring: v.tag, Clear: label})
	if err != nil {
		return answer, unheard
	}
	if answer.Type == wire.NotOwner {
		p.group.reconcile(l, v, answer.Ring)
	}
	p.group.stamps.see(answer.Stamp)
	answer.Key = key
	return answer, findingOf(&answer)
}

// relist puts the entries of the i-th shard on the list where they belong by the view in force: what
// this process keeps for another owner leaves before its own.
func (p *peering[V]) relist(i int) {
	v := p.tenures.view()
	if n, _ := p.c.store.replicas(); n == 0 && !v.isShared() {
		return // all that is valid is this process's own, and on the list of that
	}
	var some []*node
	for n := range p.c.store.index.segments[i].table.Load().all {
		if n.flags&flagBorrowed == 0 && v.owns(ringHash(n.key)) == (n.flags&flagReplica != 0) {
			some = append(some, n)
		}
	}
	for len(some) > 0 {
		n := min(len(some), batch)
		p.c.relistAll(i, some[:n])
		some = some[n:]
	}
}

// relistAll moves those of the nodes to the other list that are still there.
func (c *Cache[V]) relistAll(i int, nodes []*node) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	s := c.lockAt(i)
	defer s.unlock()
	for _, n := range nodes {
		old, place := s.locate(n.hash, n.key, c.store.index.shift)
		if old != n || c.store.closed {
			continue
		}
		e := &entry[V]{value: entryOf[V](n).value}
		e.copyFrom(n)
		e.flags ^= flagReplica
		c.store.replace(place, n, &e.node)
		e.used.Store(n.used.Load()) // nobody has used it
		if c.store.lru == nil || e.flags&flagReplica != 0 {
			e.mark.Store(n.mark.Load()) // LRU has just put it into order by its own
		}
	}
}

// repair sends what this process has to members that have come to have it in custody with v: their
// replicas of what it owns, and to the new owners what it owned before. What was used lately goes
// before the rest.
func (p *peering[V]) repair(v *view) {
	p.outboxes.keep(v)
	if !v.isShared() {
		return
	}
	var seen slotSet // in the first round
	for _, all := range [...]bool{false, true} {
		for i := range p.c.shards {
			for n := range p.c.store.index.segments[i].table.Load().all {
				if n.flags&flagBorrowed != 0 || !all && n.mark.Load() == 0 || all && seen.has(n.slot) {
					continue
				}
				if !p.repairOne(v, n) {
					return
				}
				seen.add(n.slot)
			}
		}
	}
}

// A slotSet is a set of slot numbers.
type slotSet []uint64

func (s slotSet) has(slot uint32) bool { return int(slot/64) < len(s) && s[slot/64]>>(slot%64)&1 != 0 }

func (s *slotSet) add(slot uint32) {
	for int(slot/64) >= len(*s) {
		*s = append(*s, 0)
	}
	(*s)[slot/64] |= 1 << (slot % 64)
}

// repairOne has one value sent to whom it may be missing at, as soon as there is room. It returns
// false if there is nothing left to be done.
func (p *peering[V]) repairOne(v *view, n *node) bool {
	place := ringHash(n.key)
	var some [maxReplicas]int
	to := some[:0]
	switch {
	case !v.owns(place):
		if v.former == nil || v.formerOwner(place) != v.me || p.group.keeps.Load() {
			return true
		}
		to = append(to, v.ring.owner(place))
	case v.prev != nil && v.prev.owns(place):
		for _, i := range p.keepers(v, place, to) {
			if !v.prev.isCustodian(place, v.prev.indexOf(v.nameOf(i))) { // or else it has been sent
				to = append(to, i)
			}
		}
	default:
		to = p.keepers(v, place, to)
	}
	for _, i := range to {
		name := v.nameOf(i)
		b := p.outboxes.to(name)
		for b.len() > maxOutbox/2 {
			p.awaitChange(p.group.ctx, v, repairPause)
			if p.isPast(v) {
				return false
			}
		}
		p.enqueue(name, n.key)
	}
	return !p.isPast(v)
}

// isPast reports whether there is no point in repairing anything for v any more.
func (p *peering[V]) isPast(v *view) bool {
	return p.tenures.view() != v || p.c.closed.Load() || p.group.ctx.Err() != nil
}

// repairPause is how long repair waits for room.
const repairPause = 10 * time.Millisecond

// handOver sends what this process has, which owns nothing any more, to the owners, until that is
// done or ctx ends.
func (p *peering[V]) handOver(ctx context.Context, v *view) {
	done := make(chan struct{})
	if !p.c.spawn(func() {
		defer close(done)
		p.repair(v)
		for !p.isPast(v) && ctx.Err() == nil && p.outboxes.waiting() > 0 {
			p.awaitChange(ctx, v, repairPause)
		}
	}) {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}
