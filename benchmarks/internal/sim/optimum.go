package sim

// optimum.go knows the future.

import (
	"container/heap"
	"math"

	"github.com/coveycache/covey/benchmarks/internal/trace"
)

// optimum keeps the keys that are needed soonest (Belady, "A study of
// replacement algorithms for a virtual-storage computer", 1966). It need not
// store what it has just served, so it bounds policies with admission, too.
type optimum struct {
	next     []int // for each request, the place of the next one for its key
	at       int
	due      []int // for each key, the place of its next request if it is resident, else absent
	resident int
	capacity int
	furthest farHeap
}

const absent = -1

func newOptimum(t *trace.Trace, capacity int) *optimum {
	o := &optimum{next: make([]int, len(t.Keys)), due: make([]int, t.Unique), capacity: capacity}
	last := make([]int, t.Unique)
	for k := range last {
		last[k], o.due[k] = math.MaxInt, absent
	}
	for i := len(t.Keys) - 1; i >= 0; i-- {
		o.next[i], last[t.Keys[i]] = last[t.Keys[i]], i
	}
	return o
}

func (o *optimum) Access(key uint32) bool {
	next := o.next[o.at]
	o.at++
	hit := o.due[key] != absent
	if !hit {
		o.resident++
	}
	o.due[key] = next
	heap.Push(&o.furthest, far{next, key})
	for o.resident > o.capacity {
		f := heap.Pop(&o.furthest).(far)
		if o.due[f.key] == f.due { // else it was requested since
			o.due[f.key] = absent
			o.resident--
		}
	}
	return hit
}

type far struct {
	due int
	key uint32
}

type farHeap []far

func (h farHeap) Len() int           { return len(h) }
func (h farHeap) Less(i, j int) bool { return h[i].due > h[j].due }
func (h farHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *farHeap) Push(x any)        { *h = append(*h, x.(far)) }
func (h *farHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
