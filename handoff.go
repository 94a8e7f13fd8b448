package covey

// handoff.go is what a cache does after a change of the view, so that it costs few loads: replicas
// become entries of the owner's and the other way round, those that are missing are made again, and
// who owns a key no more sends what it has to who does now.

import (
	"context"
	"time"
)

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
	had := v.prev != nil && v.owns(place) && v.prev.owns(place) // some others have been sent it
	var some [maxReplicas]int
	for _, i := range p.receivers(v, place, some[:0]) {
		name := v.nameOf(i)
		if had && v.prev.isCustodian(place, v.prev.indexOf(name)) {
			continue
		}
		if !p.awaitRoom(v, p.outboxes.to(name)) {
			return false
		}
		p.enqueue(name, n.key)
	}
	return !p.isPast(v)
}

// receivers appends the members that are to have what this process has of the key at that place: who
// keeps replicas of it, or owns it now.
func (p *peering[V]) receivers(v *view, place uint64, found []int) []int {
	switch {
	case v.owns(place):
		return p.keepers(v, place, found)
	case v.former != nil && v.formerOwner(place) == v.me && len(v.ring.members) > 0 && !p.group.keeps.Load():
		return append(found, v.ring.owner(place))
	}
	return found
}

// awaitRoom waits until few keys wait for a member, and reports whether that was before v is past.
func (p *peering[V]) awaitRoom(v *view, b *outbox) bool {
	for b.len() > maxOutbox/2 && !p.isPast(v) {
		p.awaitChange(p.group.ctx, v, repairPause)
	}
	return !p.isPast(v)
}

// isPast reports whether there is no point in repairing anything for v any more.
func (p *peering[V]) isPast(v *view) bool { return p.tenures.view() != v || p.isOver() }

// isOver reports whether the cache has been closed, or the group.
func (p *peering[V]) isOver() bool { return p.c.closed.Load() || p.group.ctx.Err() != nil }

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
