package covey

// heap.go orders residents by a stamp, for the policies that evict the one with the least.

import (
	"cmp"
	"unsafe"
)

// A heap is a min-heap of residents that each are filed under a stamp. It
// keeps a resident's place in slots.queue(id).next, so that any can leave at once,
// and lies in chunks, so that it need not be copied to grow: no call takes more
// than O(log n) time.
type heap[S cmp.Ordered] struct {
	slots  *slots
	len    int
	chunks []*[1 << slotChunkBits]filing[S]
}

// A filing says under which stamp a resident is filed.
type filing[S cmp.Ordered] struct {
	stamp S
	slot  uint32
}

// A heap of arity 4 is half as deep as a binary one, and the four children lie
// in one cache line or two.
const heapArity = 4

func (h *heap[S]) at(i int) *filing[S] { return &h.chunks[i>>slotChunkBits][i&slotMask] }

func (h *heap[S]) top() filing[S] { return *h.at(0) }

// place puts f at i.
func (h *heap[S]) place(i int, f filing[S]) {
	*h.at(i) = f
	h.slots.queue(f.slot).next = uint32(i)
}

// push files a resident.
func (h *heap[S]) push(f filing[S]) {
	if h.len>>slotChunkBits == len(h.chunks) {
		h.chunks = append(h.chunks, new([1 << slotChunkBits]filing[S]))
	}
	h.len++
	h.siftUp(h.len-1, f)
}

// remove takes a resident out.
func (h *heap[S]) remove(id uint32) {
	q := h.slots.queue(id)
	i := int(q.next)
	*q = neighbours{}
	h.len--
	last := *h.at(h.len)
	if spare := h.len>>slotChunkBits + 2; spare < len(h.chunks) {
		h.chunks[spare] = nil
		h.chunks = h.chunks[:spare]
	}
	switch {
	case last.slot == id:
	case i > 0 && last.stamp < h.at((i-1)/heapArity).stamp:
		h.siftUp(i, last)
	default:
		h.siftDown(i, last)
	}
}

// bytes is what the heap holds in memory.
func (h *heap[S]) bytes() int64 {
	return int64(len(h.chunks)) * int64(unsafe.Sizeof([1 << slotChunkBits]filing[S]{}))
}

// refile files the top anew, under a higher stamp.
func (h *heap[S]) refile(stamp S) { h.siftDown(0, filing[S]{stamp, h.top().slot}) }

// siftUp places f at i, which is free, or above it.
func (h *heap[S]) siftUp(i int, f filing[S]) {
	for i > 0 {
		parent := (i - 1) / heapArity
		above := *h.at(parent)
		if above.stamp <= f.stamp {
			break
		}
		h.place(i, above)
		i = parent
	}
	h.place(i, f)
}

// siftDown places f at i, which is free, or below it.
func (h *heap[S]) siftDown(i int, f filing[S]) {
	for {
		first := i*heapArity + 1
		if first >= h.len {
			break
		}
		child, least := first, *h.at(first)
		for c := first + 1; c < min(first+heapArity, h.len); c++ {
			if other := *h.at(c); other.stamp < least.stamp {
				child, least = c, other
			}
		}
		if f.stamp <= least.stamp {
			break
		}
		h.place(i, least)
		i = child
	}
	h.place(i, f)
}
