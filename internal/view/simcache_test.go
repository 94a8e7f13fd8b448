package view

// simcache_test.go is what a process in the simulation does with the views: a cache of a few keys,
// with replicas and copies, that is used under the rules that the package promises.

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// A simCopy is what a host has borrowed.
type simCopy struct {
	value int
	epoch uint64
	from  ID
	link  int64
	until int64
}

type simEntry struct {
	value int
	epoch uint64
}

func owner(v *View, k int) ID {
	var best uint64
	var id ID
	for i := range v.Members {
		if m := &v.Members[i]; !m.isLeaving() {
			if x := points(m.Name, k); x >= best {
				best, id = x, m.ID
			}
		}
	}
	return id
}

// points stands for the ring: who has the most of them owns k.
func points(name string, k int) uint64 {
	x := uint64(k+1) * 0x9e3779b97f4a7c15
	for _, c := range []byte(name) {
		x = (x ^ uint64(c)) * 0xbf58476d1ce4e5b9
		x ^= x >> 29
	}
	return x
}

// custodians returns who may have k by a view that somebody has adopted: its owner, the replicas,
// those in other zones first, and its former owner while the view is warm.
func (s *sim) custodians(v *View, k int) []ID {
	id := [2]uint64{v.Lineage, v.Epoch}
	if sets, ok := s.sets[id]; ok {
		return sets[k]
	}
	var sets [simKeys][]ID
	for k := range simKeys {
		var members []Member
		for _, m := range v.Members {
			if !m.isLeaving() {
				members = append(members, m)
			}
		}
		slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(points(b.Name, k), points(a.Name, k)) })
		zones := make(map[string]bool)
		var set, same []ID
		for _, m := range members {
			if zones[m.Zone] {
				same = append(same, m.ID)
			} else {
				set = append(set, m.ID)
			}
			zones[m.Zone] = true
		}
		set = append(set, same...)
		set = set[:min(len(set), v.Replicas())]
		if former := s.agreed[id].Former; v.IsWarm(former) {
			if was := owner(former, k); v.Has(was) && !slices.Contains(set, was) {
				set = append(set, was)
			}
		}
		sets[k] = set
	}
	s.sets[id] = sets
	return sets[k]
}

// sameSet reports whether the same members have k by two views.
func (s *sim) sameSet(v, old *View, k int) bool {
	a, b := s.custodians(v, k), s.custodians(old, k)
	return len(a) == len(b) && !slices.ContainsFunc(a, func(id ID) bool { return !slices.Contains(b, id) })
}

func (h *simHost) leased() bool { return h.now() < h.node.Until() }

// quiet reports whether nobody may use what somebody who has died has lent of k.
func (h *simHost) quiet(k int) bool {
	return h.now() >= h.quietUntil || !h.quietAll && h.quietPrev != nil && owner(h.quietPrev, k) == h.id
}

// acts reports whether the host may load and write k.
func (h *simHost) acts(k int) bool {
	if h.view == nil || owner(h.view, k) != h.id || !h.leased() {
		return false
	}
	return h.settled || h.prev != nil && owner(h.prev, k) == h.id
}

// writes reports whether the host may write k: as long as the view has not settled, only if nobody
// else had it before.
func (h *simHost) writes(k int) bool {
	return h.acts(k) && (h.settled || h.views[h.prev.Epoch] == h.prev && h.s.sameSet(h.view, h.prev, k))
}

// valid reports whether the host has had k in its custody ever since it was stored.
func (h *simHost) valid(k int) bool {
	e, ok := h.entries[k]
	if !ok || h.view == nil {
		return false
	}
	for x := e.epoch; x <= h.view.Epoch; x++ { // had one been missed, Anew would have said so
		if v := h.views[x]; v != nil && !slices.Contains(h.s.custodians(v, k), h.id) {
			return false
		}
	}
	return true
}

// release recalls what the view takes away, and says so when that is done.
func (h *simHost) release(epoch uint64) {
	s := h.s
	if s.idle {
		s.at(s.rand(30*time.Millisecond), func() { h.run(func() { h.node.Released(epoch) }) })
		return
	}
	view := h.view
	s.at(0, func() {
		h.run(func() {
			pending := 1
			done := func() {
				if pending--; pending == 0 {
					h.node.Released(epoch)
				}
			}
			for k := range simKeys {
				if view != nil && owner(view, k) != h.id {
					pending++
					h.recall(k, done)
				}
			}
			done()
		})
	})
}

// recall takes back what has been lent of k: it asks until the borrowers answer, or their terms are
// over.
func (h *simHost) recall(k int, done func()) {
	s := h.s
	asked := int64(math.MinInt64 / 2)
	var poll func()
	poll = func() {
		now := h.now()
		again := now-asked > int64(100*time.Millisecond)
		for _, id := range slices.SortedFunc(maps.Keys(h.lent[k]), func(a, b ID) int { return cmp.Compare(a.Instance, b.Instance) }) {
			until := h.lent[k][id]
			if now > until {
				delete(h.lent[k], id)
				continue
			}
			if again {
				h.over(id, func(t *simHost) {
					delete(t.copies, k)
					t.recalled[k] = t.now()
					t.over(h.id, func(h *simHost) {
						if h.lent[k][t.id] == until {
							delete(h.lent[k], t.id)
						}
					})
				})
			}
		}
		if again {
			asked = now
		}
		if len(h.lent[k]) == 0 {
			done()
			return
		}
		s.at(5*time.Millisecond, func() { h.run(poll) })
	}
	poll()
}

// work is what callers do at the host.
func (h *simHost) work() {
	s, k := h.s, h.s.r.IntN(simKeys)
	if h.valid(k) && h.leased() {
		what := "hits"
		switch {
		case owner(h.view, k) == h.id:
		case h.prev != nil && owner(h.prev, k) == h.id:
			what = "former owner's hits"
		default:
			what = "replica hits"
		}
		h.check(k, h.entries[k].value, what)
	}
	if h.view != nil && owner(h.view, k) != h.id {
		h.borrow(k)
	}
	if !h.acts(k) {
		return
	}
	for _, o := range s.all {
		if o != h && o.acts(k) && !s.apart {
			s.bad = fmt.Sprintf("%.3f: %v and %v both act for key %d", float64(s.now)/1e9, h.id, o.id, k)
		}
	}
	switch {
	case s.r.IntN(s.writing) == 0:
		h.write(k)
	case h.valid(k):
	case s.r.IntN(2) == 0:
		h.peek(k)
	default:
		h.entries[k] = simEntry{s.wrote[k], h.view.Epoch}
		h.replicate(k)
	}
}

// same reports whether the host still goes by a view.
func (h *simHost) same(v *View) bool {
	return v != nil && h.view != nil && h.view.Lineage == v.Lineage && h.view.Epoch == v.Epoch
}

// replicate sends what the owner has to the replicas.
func (h *simHost) replicate(k int) {
	view, value := h.view, h.entries[k].value
	for i, id := range h.s.custodians(view, k) {
		if i == 0 || i >= h.self.Replicas || h.writing[k] {
			continue
		}
		h.over(id, func(t *simHost) {
			if t.same(view) && slices.Contains(t.s.custodians(t.view, k), t.id) && owner(t.view, k) == h.id {
				t.entries[k] = simEntry{value, view.Epoch}
				t.s.counts["replicas"]++
			}
		})
	}
}

// peek asks another custodian for what it has, which is as good as what would be loaded.
func (h *simHost) peek(k int) {
	view, commits := h.view, h.commits[k]
	set := h.s.custodians(view, k)
	if h.writing[k] || len(set) == 1 {
		return
	}
	h.over(set[1+h.s.r.IntN(len(set)-1)], func(t *simHost) {
		if !t.same(view) || !t.valid(k) || !t.leased() {
			return
		}
		value := t.entries[k].value
		t.over(h.id, func(h *simHost) {
			if h.same(view) && h.acts(k) && !h.writing[k] && h.commits[k] == commits {
				h.entries[k] = simEntry{value, view.Epoch}
				h.s.counts["peeks"]++
				h.replicate(k)
			}
		})
	})
}

// push sends what a host has that owns nothing any more to the owner.
func (h *simHost) push(k int) {
	if !h.valid(k) || !h.leased() || owner(h.view, k) == h.id {
		return
	}
	view, value := h.view, h.entries[k].value
	h.over(owner(view, k), func(t *simHost) {
		if t.same(view) && !t.writing[k] && !t.valid(k) {
			t.entries[k] = simEntry{value, view.Epoch}
			t.s.counts["pushes"]++
		}
	})
}

// write takes effect when nobody else has k any more.
func (h *simHost) write(k int) {
	s, view := h.s, h.view
	if h.writing[k] || !h.quiet(k) || !h.writes(k) {
		return
	}
	h.writing[k] = true
	pending := 1
	done := func() {
		if pending--; pending > 0 {
			return
		}
		h.writing[k] = false
		if h.view != view || !h.writes(k) || !h.quiet(k) {
			return
		}
		s.wrote[k]++
		h.commits[k]++
		s.counts["writes"]++
		h.entries[k] = simEntry{s.wrote[k], h.view.Epoch}
		h.replicate(k)
	}
	for _, id := range s.custodians(view, k) {
		if id != h.id {
			pending++
			h.drop(k, view, id, done)
		}
	}
	pending++
	h.recall(k, done)
	done()
}

// drop asks a custodian to drop k until it has, or the view changes.
func (h *simHost) drop(k int, view *View, id ID, done func()) {
	asked := int64(math.MinInt64 / 2)
	dropped := false
	var poll func()
	poll = func() {
		if dropped || h.view != view {
			done()
			return
		}
		if now := h.now(); now-asked > int64(100*time.Millisecond) {
			asked = now
			h.over(id, func(t *simHost) {
				if t.same(view) {
					delete(t.entries, k)
					t.over(h.id, func(*simHost) { dropped = true })
				}
			})
		}
		h.s.at(5*time.Millisecond, func() { h.run(poll) })
	}
	poll()
}

// check sees that what the host would serve is what was written last.
func (h *simHost) check(k, value int, what string) {
	s := h.s
	s.counts[what]++
	if value != s.wrote[k] && !s.apart {
		s.bad = fmt.Sprintf("%.3f: %v has value %d of key %d by %s, the last one is %d", float64(s.now)/1e9, h.id, value, k, what, s.wrote[k])
	}
}

// borrow serves k from a copy, or borrows one.
func (h *simHost) borrow(k int) {
	s, from, epoch := h.s, owner(h.view, k), h.view.Epoch
	link, asked := h.links[from], h.now()
	may := h.leased() || !h.view.Has(h.id)
	if c, ok := h.copies[k]; ok && c.from == from && c.link == link && c.epoch == epoch && h.now() < c.until && may {
		h.check(k, c.value, "copies")
		return
	}
	if link == 0 || s.r.IntN(4) != 0 {
		return
	}
	h.over(from, func(o *simHost) {
		if !o.acts(k) || o.writing[k] || o.view.Epoch != epoch {
			return
		}
		if !o.valid(k) {
			o.entries[k] = simEntry{s.wrote[k], epoch}
			o.replicate(k)
		}
		now := o.now()
		term := min(int64(Lease), o.node.Until()-now) // what is lent ends with what it is lent by
		if o.lent[k] == nil {
			o.lent[k] = make(map[ID]int64)
		}
		o.lent[k][h.id] = now + term + term/100
		value := o.entries[k].value
		o.over(h.id, func(h *simHost) {
			if h.view != nil && h.view.Epoch == epoch && h.links[from] == link && h.recalled[k] < asked {
				h.copies[k] = simCopy{value, epoch, from, link, asked + term}
				s.counts["loans"]++
			}
		})
	})
}
