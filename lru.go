package covey

// lru.go evicts exactly the entry whose last use is longest ago, without a
// lock or a list on the path of a hit.

import (
	"math"
	"slices"
	"sync/atomic"
)

// An lru numbers all uses and has each entry carry the number of its last one,
// its stamp, in node.mark. A hit does no more than that; the order is worked out
// when an entry has to leave.
//
// The residents are filed in a min-heap under the stamp they had at the time.
// Stamps only grow, so what an entry is filed under is a lower bound of its
// stamp. If the heap's top still has the stamp it is filed under, every other
// entry's stamp is higher, and the top is the victim, exactly; if it was used
// since, it is filed again under its new stamp and the next top is looked at.
// A hit causes at most one such step, and many hits on an entry cause one together.
// The next eviction pays for them, however: after a long time of nothing but hits it
// files all entries anew that were used, at about 0.2 µs each.
//
// A heap that knew where each resident is would write to a random place in
// memory for every step of a sift. Instead slots.queue(id).prev holds the stamp
// that a resident is filed under, 0 if it is not filed. An element of the heap
// that says otherwise is dead. It is dropped when it comes to the top, or when
// there are as many dead elements as living ones.
//
// The order is exact for uses that follow one another. Two hits on one entry at
// the same time may leave the lower of their two stamps. And a hit that pauses
// between taking its number and writing it, for as long as renumbering takes, counts
// as a use at the time when the eviction comes upon it.
type lru struct {
	seq atomic.Uint64 // number of the last use
	_   [56]byte      // hits write to seq's cache line

	slots *slots
	heap  []filing
	live  int    // residents
	last  uint32 // the resident added last, 0 if it has left
}

// A filing is an element of the heap: a stamp and, below it, a slot.
type filing uint64

func newFiling(stamp, slot uint32) filing { return filing(stamp)<<32 | filing(slot) }
func (f filing) stamp() uint32            { return uint32(f >> 32) }
func (f filing) slot() uint32             { return uint32(f) }

// renumberAt is how many uses are numbered before the residents are numbered
// anew, at the next call under the lock. That leaves as many again for a time
// when nothing but hits comes; after that, hits tie at the highest stamp.
const renumberAt = 1 << 31

func newLRU(s *slots) *lru { return &lru{slots: s} }

// hit records a use of n. It needs no lock. A node that replaces one of the
// same size is to be hit before it is published.
func (p *lru) hit(n *node) {
	n.mark.Store(uint32(min(p.seq.Add(1), math.MaxUint32)))
}

func (p *lru) add(id uint32) {
	p.renumber()
	n := p.slots.node(id)
	p.hit(n)
	p.file(id, n.mark.Load())
	p.live++
	p.last = id
}

func (p *lru) readd(id uint32) { p.add(id) }

func (p *lru) remove(id uint32) {
	p.renumber()
	p.forget(id)
	if len(p.heap) > 2*p.live+64 {
		p.heap = slices.DeleteFunc(p.heap, p.dead)
		for i := len(p.heap) / heapArity; i >= 0; i-- {
			p.siftDown(i)
		}
	}
}

func (p *lru) forget(id uint32) {
	p.slots.queue(id).prev = 0
	p.live--
	if p.last == id {
		p.last = 0
	}
}

func (p *lru) evict() uint32 {
	p.renumber()
	now := p.seq.Load()
	var spared filing // the one added last, if it is the one used least recently
	defer func() {
		if spared != 0 {
			p.push(spared)
		}
	}()
	for len(p.heap) > 0 {
		top := p.heap[0]
		id := top.slot()
		if p.dead(top) {
			p.pop()
			continue
		}
		// An entry that was filed in this very call was used during it, and so
		// were all others, having higher stamps: any will do. Without this,
		// hits could keep us busy for as long as they come.
		if uint64(top.stamp()) <= now {
			n := p.slots.node(id)
			if stamp := p.stamp(n); stamp > top.stamp() {
				p.heap[0] = newFiling(stamp, id)
				p.slots.queue(id).prev = stamp
				p.siftDown(0)
				continue
			}
		}
		p.pop()
		if id == p.last && p.live > 1 {
			spared = top
			continue
		}
		p.forget(id)
		return id
	}
	return 0
}

// stamp returns the number of the last use of n. A higher one than was given
// out comes from a hit that was overtaken by a renumbering.
func (p *lru) stamp(n *node) uint32 {
	stamp := n.mark.Load()
	if uint64(stamp) > p.seq.Load() {
		p.hit(n)
		stamp = n.mark.Load()
	}
	return stamp
}

// renumber gives the residents the stamps 1, 2, 3 … in the order of those they
// have, once renumberAt stamps were given out. It takes O(n log n) time once in
// so many uses, while hits go on.
func (p *lru) renumber() {
	if start := p.seq.Load(); start >= renumberAt {
		p.rank(start)
		p.rebase(start)
	}
}

// rank is the part of renumber that deals with the stamps up to start. A hit that
// comes meanwhile gives a higher one, which must not be mixed with the ranks: its
// entry ranks by its lower bound.
func (p *lru) rank(start uint64) {
	p.heap = slices.DeleteFunc(p.heap, p.dead)
	for i, f := range p.heap {
		if mark := p.slots.node(f.slot()).mark.Load(); uint64(mark) <= start {
			p.heap[i] = newFiling(max(mark, f.stamp()), f.slot())
		}
	}
	slices.Sort(p.heap) // a sorted array is a heap
	for i, f := range p.heap {
		rank := uint32(i + 1)
		n := p.slots.node(f.slot())
		if mark := n.mark.Load(); uint64(mark) <= start {
			n.mark.CompareAndSwap(mark, rank)
		}
		p.heap[i] = newFiling(rank, f.slot())
		p.slots.queue(f.slot()).prev = rank
	}
}

// rebase has the hits that came during rank, and those to come, count on from the ranks.
func (p *lru) rebase(start uint64) {
	shift := start - uint64(len(p.heap))
	p.seq.Add(-shift)
	for _, f := range p.heap {
		n := p.slots.node(f.slot())
		if mark := n.mark.Load(); uint64(mark) > start {
			n.mark.CompareAndSwap(mark, uint32(uint64(mark)-shift))
		}
	}
}

func (p *lru) resize(int64, int) {}

func (p *lru) bytes() int64 { return int64(cap(p.heap)) * 8 }

// A heap of arity 4 is half as deep as a binary one, and the four children lie
// in one cache line or two.
const heapArity = 4

func (p *lru) dead(f filing) bool { return p.slots.queue(f.slot()).prev != f.stamp() }

func (p *lru) file(id, stamp uint32) {
	p.slots.queue(id).prev = stamp
	p.push(newFiling(stamp, id))
}

func (p *lru) push(f filing) {
	p.heap = append(p.heap, f)
	i := len(p.heap) - 1
	for i > 0 {
		parent := (i - 1) / heapArity
		if p.heap[parent] <= f {
			break
		}
		p.heap[i] = p.heap[parent]
		i = parent
	}
	p.heap[i] = f
}

func (p *lru) pop() {
	end := len(p.heap) - 1
	p.heap[0] = p.heap[end]
	p.heap = p.heap[:end]
	if end > 0 {
		p.siftDown(0)
	}
}

func (p *lru) siftDown(i int) {
	h := p.heap
	if i >= len(h) {
		return
	}
	f := h[i]
	for {
		first := i*heapArity + 1
		if first >= len(h) {
			break
		}
		least := first
		for c := first + 1; c < min(first+heapArity, len(h)); c++ {
			if h[c] < h[least] {
				least = c
			}
		}
		if f <= h[least] {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = f
}
