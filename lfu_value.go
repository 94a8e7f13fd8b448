package covey

// lfu_value.go weighs entries that differ much in size or load time.

import (
	"cmp"
	"slices"
)

// values orders residents by what they are worth: popularity times density,
// which is load time for each byte, or load time alone where bytes are not
// bounded. Worth ages by that of what was evicted last (GDSF: Cherkasova, "Improving WWW
// Proxies Performance with Greedy-Dual-Size-Frequency Caching Policy", 1998).
//
// GDSF is the worse choice where all densities are much alike, so it is used only while
// they are spread widely. When that changes, residents move between the
// heap and the queues of lfu.go a few at each eviction.
//
// As in lru.go a hit leaves a mark only, so what a resident is filed under is
// a lower bound; whoever comes to the top with new hits is filed again.
type values struct {
	on     bool
	bySize bool // bytes are bounded
	heap   heap[float32]
	held   int64   // bytes of the residents in the heap
	clock  float32 // worth of what was evicted last
	since  int     // evictions since the clock was set back

	due      int // evictions until the spread is looked at again
	skip     int // arrivals until one is taken note of
	next     int // where in arrivals
	arrivals [specimens]specimen
}

const (
	specimens = 64 // residents, and as many arrivals, looked at to estimate the spread
	spreadOn  = 4  // times that densities differ for GDSF to come into use
	spreadOff = 2  // … and for it to go
	moves     = 16 // residents that change over at an eviction
)

func (v *values) density(n *node) float32 {
	d := float32(costOf(n.cost))
	if v.bySize {
		d /= float32(n.size)
	}
	return d
}

// worth is what n is worth, apart from ageing.
func (p *lfu) worth(n *node) float32 {
	return float32(p.sketch.Count(n.hash)+1) * p.values.density(n)
}

// survey decides now and then whether to weigh.
func (p *lfu) survey() {
	v := &p.values
	if v.due--; v.due > 0 {
		return
	}
	v.due = 4*specimens + p.len()/8
	spread := p.spread()
	if v.on {
		v.on = spread > spreadOff
	} else {
		v.on = spread > spreadOn
	}
}

// A specimen is what counts of an entry for the spread.
type specimen struct{ density, weight float32 }

func (v *values) specimen(n *node) specimen {
	if v.bySize {
		return specimen{v.density(n), float32(n.size)}
	}
	return specimen{v.density(n), 1}
}

// arrive takes note of some of those that are added, as many as fit between two surveys.
func (p *lfu) arrive(n *node) {
	v := &p.values
	if v.skip--; v.skip < 0 {
		v.skip = p.len() / 8 / len(v.arrivals)
		v.arrivals[v.next] = v.specimen(n)
		v.next = (v.next + 1) % len(v.arrivals)
	}
}

// spread estimates by how much densities differ: the one that a tenth of the entries exceed, over
// the one below which a tenth of the memory is. So neither a few small nor a few big ones can hide
// behind the many, and what is rare in both respects does not count.
//
// It looks at residents and at arrivals. Once GDSF is at work, its residents are
// dense and what it keeps out is not: either alone would seem to be all alike.
func (p *lfu) spread() float64 {
	v := &p.values
	var room [2 * specimens]specimen
	all := room[:0]
	for i := range uint32(specimens) {
		if s := v.arrivals[i]; s.weight > 0 {
			all = append(all, s)
		}
		// Multiples of the golden ratio are spread evenly and fall in step with no pattern.
		id := 1 + uint32(uint64(i*2654435769)*uint64(max(p.slots.top, 1)-1)>>32)
		if id < p.slots.top && *p.slots.state(id) != 0 {
			all = append(all, v.specimen(p.slots.node(id)))
		}
	}
	if len(all) == 0 {
		return 1
	}
	slices.SortFunc(all, func(a, b specimen) int { return cmp.Compare(a.density, b.density) })
	weight := float32(0)
	for _, s := range all {
		weight += s.weight
	}
	low, below := 0, all[0].weight
	for below < weight/10 {
		low++
		below += all[low].weight
	}
	return float64(all[len(all)*9/10].density / all[low].density)
}

// weigh moves some residents from the queues to the heap, the oldest first.
func (p *lfu) weigh() {
	left := moves
	for _, l := range []*list{&p.main, &p.safe, &p.window} {
		for ; l.tail != 0 && left > 0; left-- {
			id := l.tail
			l.remove(p.slots, id)
			p.harvest(p.slots.node(id))
			p.appraise(id)
		}
	}
}

// appraise files a new resident of the heap.
func (p *lfu) appraise(id uint32) {
	*p.slots.state(id) = inValues
	n := p.slots.node(id)
	p.values.held += int64(n.size)
	p.values.heap.push(filing[float32]{p.values.clock + p.worth(n), id})
}

// reappraise files everybody anew, by another density.
func (p *lfu) reappraise() {
	v := &p.values
	old := v.heap
	v.heap, v.clock, v.since, v.due = heap[float32]{slots: p.slots}, 0, 0, 0
	clear(v.arrivals[:])
	for i := range old.len {
		id := old.at(i).slot
		v.heap.push(filing[float32]{p.worth(p.slots.node(id)), id})
	}
}

// leastValue returns whom the heap would evict.
func (p *lfu) leastValue() uint32 {
	v := &p.values
	for {
		top := v.heap.top()
		if n := p.slots.node(top.slot); p.spare(n) {
			v.heap.refile(v.clock + p.worth(n))
			continue
		}
		if top.slot == p.last && v.heap.len > 1 {
			v.heap.remove(top.slot)
			defer v.heap.push(top)
			continue
		}
		v.clock = top.stamp
		v.since++
		return top.slot
	}
}

// unweigh empties the heap in the order of worth: who had no hit since it was filed is
// returned to be evicted, the others go back to the queues. It returns 0 if it only moved some.
func (p *lfu) unweigh() uint32 {
	v := &p.values
	for left := moves; left > 0 && v.heap.len > 0; left-- {
		id := v.heap.top().slot
		hit := p.harvest(p.slots.node(id))
		if !hit && id != p.last {
			return id
		}
		v.remove(p.slots, id)
		if hit {
			p.push(&p.safe, inSafe, id)
		} else {
			p.push(&p.window, inWindow, id)
		}
	}
	return 0
}

func (v *values) remove(s *slots, id uint32) {
	v.heap.remove(id)
	*s.state(id) = 0
	v.held -= int64(s.node(id).size)
	if v.since > 1024*(v.heap.len+64) {
		v.setBack()
	}
}

func (v *values) reset(s *slots) {
	v.heap, v.held, v.clock, v.since, v.due = heap[float32]{slots: s}, 0, 0, 0, 0
}

// setBack sets the clock back to 0. It must not grow until it swallows what the residents' worths
// differ by.
func (v *values) setBack() {
	for i := range v.heap.len {
		v.heap.at(i).stamp -= v.clock
	}
	v.clock, v.since = 0, 0
}

func (v *values) bytes() int64 { return v.heap.bytes() }
