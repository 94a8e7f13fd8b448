package covey

// value.go weighs entries that differ in size or load time.

import (
	"math"
)

// values orders residents by what they are worth: popularity times load time for each
// byte, which ages by the worth of what was evicted last (GDSF: Cherkasova, "Improving WWW Proxies Performance
// with Greedy-Dual-Size-Frequency Caching Policy", 1998). It is used once residents differ.
//
// As in lru.go a hit leaves a mark only, so what a resident is filed under is
// a lower bound; whoever comes to the top with new hits is filed again.
type values struct {
	on    bool
	seen  bool
	size  uint32 // of the entries so far, if they are all alike
	cost  uint8
	len   int
	clock float32
	heap  []filing
}

// differ reports that n is the first whose worth is not the same as that of all before.
func (v *values) differ(n *node) bool {
	if v.on {
		return false
	}
	if !v.seen {
		v.seen, v.size, v.cost = true, n.size, n.cost
		return false
	}
	big, small := max(n.size, v.size), min(n.size, v.size)
	return big > small+small/2 || n.cost > v.cost+1 || v.cost > n.cost+1
}

// worth is what n is worth, apart from ageing.
func (p *lfu) worth(n *node) float32 {
	return float32(p.sketch.count(n.hash)+1) * float32(costOf(n.cost)) / float32(n.size)
}

// weigh begins to weigh: everybody is filed by worth, the oldest first.
func (p *lfu) weigh() {
	p.values.on = true
	for _, l := range []*list{&p.main, &p.window, &p.safe} {
		for l.tail != 0 {
			id := l.tail
			l.remove(p.slots, id)
			n := p.slots.node(id)
			p.harvest(n)
			*p.slots.state(id) = inValues
			p.values.file(p.slots, id, p.worth(n))
			p.values.len++
		}
	}
}

func (v *values) file(s *slots, id uint32, worth float32) {
	stamp := math.Float32bits(v.clock + worth)
	s.queue(id).prev = stamp
	v.heap = append(v.heap, newFiling(stamp, id))
	i := len(v.heap) - 1
	for f := v.heap[i]; i > 0 && v.heap[(i-1)/4] > f; i = (i - 1) / 4 {
		v.heap[i] = v.heap[(i-1)/4]
		v.heap[(i-1)/4] = f
	}
}

func (v *values) remove(s *slots, id uint32) {
	s.queue(id).prev = 0 // its filing is dead now
	v.len--
	if len(v.heap) > 2*v.len+64 {
		v.sweep(s)
	}
}

// sweep drops the dead filings.
func (v *values) sweep(s *slots) {
	live := v.heap[:0]
	for _, f := range v.heap {
		if s.queue(f.slot()).prev == f.stamp() && *s.state(f.slot()) == inValues {
			live = append(live, f)
		}
	}
	v.heap = live
	for i := len(live)/4 + 1; i >= 0; i-- {
		v.siftDown(i)
	}
}

func (v *values) siftDown(i int) {
	h := v.heap
	if i >= len(h) {
		return
	}
	for f := h[i]; ; {
		least := i
		for c := 4*i + 1; c <= 4*i+4 && c < len(h); c++ {
			if h[c] < h[least] {
				least = c
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], f
		i = least
	}
}

// pop drops the top.
func (v *values) pop() {
	n := len(v.heap) - 1
	v.heap[0] = v.heap[n]
	v.heap = v.heap[:n]
	v.siftDown(0)
}

func (p *lfu) leastValue() uint32 {
	v := &p.values
	for {
		top := v.heap[0]
		id := top.slot()
		if p.slots.queue(id).prev != top.stamp() || *p.slots.state(id) != inValues {
			v.pop()
			continue
		}
		n := p.slots.node(id)
		if p.harvest(n) || id == p.last && v.len > 1 {
			v.pop()
			worth := p.worth(n)
			if id == p.last {
				worth += math.Float32frombits(top.stamp()) - v.clock
			}
			v.file(p.slots, id, worth)
			if id == p.last {
				p.last = 0
			}
			continue
		}
		v.clock = math.Float32frombits(top.stamp())
		return id
	}
}

func (v *values) bytes() int64 { return int64(8 * cap(v.heap)) }
