package sim

// gdsf.go is Greedy-Dual-Size-Frequency (Cherkasova, "Improving WWW Proxies
// Performance with Greedy-Dual-Size-Frequency Caching Policy", 1998) with equal
// costs, which is its version for the most hits.

import (
	"container/heap"

	"github.com/coveycache/covey/benchmarks/internal/trace"
)

type gdsf struct {
	sizes          []uint32
	used, capacity int
	clock          float64   // priority of the last key evicted
	uses           []float64 // since it came in; 0 = not resident
	priority       []float64
	lowest         rankHeap
}

func newGDSF(t *trace.Trace, capacity int) *gdsf {
	return &gdsf{sizes: t.Sizes, capacity: capacity, uses: make([]float64, t.Unique), priority: make([]float64, t.Unique)}
}

func (g *gdsf) Access(key uint32) bool {
	hit, size := g.uses[key] > 0, int(g.sizes[key])
	if !hit {
		if size > g.capacity {
			return false
		}
		g.used += size
	}
	g.uses[key]++
	g.priority[key] = g.clock + g.uses[key]/float64(size)
	heap.Push(&g.lowest, rank{g.priority[key], key})
	for g.used > g.capacity {
		r := heap.Pop(&g.lowest).(rank)
		if g.uses[r.key] == 0 || g.priority[r.key] != r.priority {
			continue // it has been used since, or has left
		}
		g.clock = r.priority
		g.uses[r.key] = 0
		g.used -= int(g.sizes[r.key])
	}
	return hit
}

type rank struct {
	priority float64
	key      uint32
}

type rankHeap []rank

func (h rankHeap) Len() int           { return len(h) }
func (h rankHeap) Less(i, j int) bool { return h[i].priority < h[j].priority }
func (h rankHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *rankHeap) Push(x any)        { *h = append(*h, x.(rank)) }
func (h *rankHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
