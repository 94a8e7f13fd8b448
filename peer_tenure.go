package covey

// peer_tenure.go decides whether an entry is still valid after the view has changed: it is if this
// process has had its key in its custody in every view since it was stored; a copy, if its lender has
// owned the key in all of them. A hit only compares generations; this file is for entries of an older
// one.

import (
	"sync"
	"sync/atomic"
)

// A tenure is a view of the group and the generation of the cache from which on it is in force.
type tenure struct {
	from uint32
	view *view
}

// tenures are the views that a cache has gone by, the oldest first. The last one is in force; the
// others are for entries that were stored under them.
type tenures struct {
	mu       sync.Mutex // guards changes of the list and of the generation
	list     atomic.Pointer[[]tenure]
	cleared  atomic.Uint32 // generation of the last Clear: what is older is gone
	sweeping bool          // guarded by mu
}

// view returns the view that is in force. A caller who has read the generation before, and finds it
// unchanged in the end, knows that the view was in force all the time.
func (t *tenures) view() *view {
	list := *t.list.Load()
	return list[len(list)-1].view
}

// adopt makes the cache go by v. From now on nothing that was stored before is served without a
// look at current. If anew, that is worth nothing.
func (p *peering[V]) adopt(v *view, anew bool) {
	t := &p.tenures
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []tenure
	if old := t.list.Load(); old != nil {
		list = append(list, *old...)
	}
	gen := p.c.store.gen.Load() + 1
	list = append(list, tenure{gen, v})
	t.list.Store(&list)
	if anew {
		t.cleared.Store(gen)
	}
	p.trust.follow(v, anew)
	p.c.store.gen.Store(gen)
	p.clears.begin(v.tag)
	p.holds.forget()
}

// nextGeneration makes everything that is stored invalid, because of a Clear of that number.
func (c *Cache[V]) nextGeneration(number uint64) {
	if c.peering == nil {
		c.store.gen.Add(1)
		return
	}
	t := &c.peering.tenures
	t.mu.Lock()
	defer t.mu.Unlock()
	gen := c.store.gen.Load() + 1
	t.cleared.Store(gen)
	c.store.gen.Store(gen)
	c.peering.clears.add(number, t.view().tag)
}

// hideLabel hides the label for a Clear that goes through what is stored. It returns what has to be
// told to clears.reveal in the end.
func (p *peering[V]) hideLabel() (mask, tag uint64) {
	t := &p.tenures
	t.mu.Lock()
	defer t.mu.Unlock()
	tag = t.view().tag
	return p.clears.hide(tag), tag
}

// present returns the generation and the label, which belong together, and the view.
func (p *peering[V]) present() (gen uint32, label uint64, v *view) {
	t := &p.tenures
	t.mu.Lock()
	defer t.mu.Unlock()
	return p.c.store.gen.Load(), p.clears.label.Load(), t.view()
}

// current reports whether n is valid. If n is of an older generation it looks for the owners since
// then, and brings n up to date.
func (c *Cache[V]) current(n *node) bool {
	gen := c.store.gen.Load()
	have := n.gen.Load()
	if have == gen {
		return true
	}
	if c.peering == nil {
		return false
	}
	t := &c.peering.tenures
	if have < t.cleared.Load() {
		return false
	}
	list := *t.list.Load()
	if have < list[0].from {
		return false
	}
	place := ringHash(n.key)
	for _, t := range list {
		if t.from > have && !c.isFrom(n, t.view, place) {
			return false
		}
	}
	return n.gen.CompareAndSwap(have, gen) || n.gen.Load() == gen // another goroutine has found the same
}

// isFrom reports whether n is good by v: it has this process in its custody or, if it is a copy, its
// owner lent it, over the link that is still there.
func (c *Cache[V]) isFrom(n *node, v *view, place uint64) bool {
	if n.flags&flagBorrowed == 0 {
		return v.keeps(place)
	}
	i := v.ring.owner(place)
	return i >= 0 && v.peers[i] != nil && v.peers[i].Up() == borrowedOf[V](n).lender
}

// sweep has what is no longer valid removed in the background. Nothing depends on it but memory:
// whoever meets such an entry before that finds it to be invalid.
func (p *peering[V]) sweep() {
	t := &p.tenures
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.sweeping {
		t.sweeping = p.c.spawn(p.runSweep)
	}
}

// runSweep goes through the cache until it has done so once after the last change of the view. Each
// time it forgets the views under which nothing is stored any more.
func (p *peering[V]) runSweep() {
	t := &p.tenures
	for again := true; again; {
		list := *t.list.Load()
		last := list[len(list)-1].from
		for i := range p.c.shards {
			if p.c.closed.Load() {
				return
			}
			p.c.removeInvalid(i)
			p.relist(i)
		}
		t.mu.Lock()
		list = *t.list.Load()
		for list[0].from < last {
			list = list[1:]
		}
		t.list.Store(&list)
		again = len(list) > 1
		t.sweeping = again
		t.mu.Unlock()
	}
}

// removeInvalid removes what is no longer valid from the i-th shard, a batch at a time.
func (c *Cache[V]) removeInvalid(i int) {
	c.lockAt(i).unlock() // a write that has found that it may be stored under an older generation has ended
	var old []*node
	for n := range c.store.index.segments[i].table.Load().all {
		if !c.current(n) {
			old = append(old, n)
		}
	}
	for len(old) > 0 {
		some := old[:min(len(old), batch)]
		old = old[len(some):]
		c.removeAll(i, some)
	}
}
