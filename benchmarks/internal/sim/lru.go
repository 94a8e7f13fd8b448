package sim

// lru.go has the two oldest policies: one queue, with and without moving up.

import "github.com/coveycache/covey/benchmarks/internal/trace"

type queue struct {
	*list
	capacity int
	promote  bool // a hit makes the key the newest
}

func newLRU(t *trace.Trace, capacity int) *queue {
	return &queue{newLists(t.Unique).new(), capacity, true}
}

func newFIFO(t *trace.Trace, capacity int) *queue {
	return &queue{newLists(t.Unique).new(), capacity, false}
}

func (q *queue) Access(key uint32) bool {
	if q.where(key) != nil {
		if q.promote {
			q.touch(key)
		}
		return true
	}
	if q.len == q.capacity {
		q.pop()
	}
	q.push(key)
	return false
}

// sizedLRU evicts from the old end until the new object fits.
type sizedLRU struct {
	*list
	sizes          []uint32
	used, capacity int
}

func newSizedLRU(t *trace.Trace, capacity int) *sizedLRU {
	return &sizedLRU{newLists(t.Unique).new(), t.Sizes, 0, capacity}
}

func (q *sizedLRU) Access(key uint32) bool {
	if q.where(key) != nil {
		q.touch(key)
		return true
	}
	size := int(q.sizes[key])
	if size > q.capacity {
		return false
	}
	for q.used+size > q.capacity {
		q.used -= int(q.sizes[q.pop()])
	}
	q.push(key)
	q.used += size
	return false
}
