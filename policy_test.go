package covey

import "testing"

// newTestSlots returns slots with an index of their own, for tests of what lives between the two.
func newTestSlots() *slots {
	x := newIndex(0)
	return &slots{index: &x}
}

// admit makes n a resident, as the store does.
func (s *slots) admit(n *node) uint32 {
	if n.hash == 0 {
		n.hash = (s.top + 1) * 2654435761
	}
	id := s.alloc(n)
	g := s.index.segment(n.hash)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.insert(n, s.index.shift)
	return id
}

// exchange puts n into the place of the resident's node.
func (s *slots) exchange(id uint32, n *node) {
	old := s.node(id)
	n.hash, n.slot = old.hash, id
	g := s.index.segment(n.hash)
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.table.Load()
	for i := range b.buckets {
		for j := range b.buckets[i].node {
			if b.buckets[i].node[j].Load() == old {
				b.buckets[i].node[j].Store(n)
			}
		}
	}
}

// dismiss ends a residence.
func (s *slots) dismiss(id uint32) {
	n := s.node(id)
	g := s.index.segment(n.hash)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remove(n, s.index.shift)
	s.release(id)
}

func TestGuardClass(t *testing.T) {
	g := newGuards()
	for d := int64(1); d < 1<<50; d += d/7 + 1 {
		c := guardClass(d)
		if g[c] < d {
			t.Fatalf("guard of class %d is %d, less than the %d it stands for", c, g[c], d)
		}
		if d > 20e6 && c < guardAlways && float64(g[c]) > 1.6*float64(d) {
			t.Fatalf("guard of class %d is %d, far more than the %d it stands for", c, g[c], d)
		}
	}
}
