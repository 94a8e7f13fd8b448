package covey

// lru.go evicts the entry whose last use is longest ago, without a lock or a
// list on the path of a hit.

import "sync/atomic"

// An lru numbers all uses and has each entry carry the number of its last one,
// its stamp, in node.mark. A hit does no more than that; the order is worked out
// when an entry has to leave.
//
// The residents are filed in a heap under the stamp they had at the time.
// Stamps only grow, so what an entry is filed under is a lower bound of its
// stamp. If the heap's top still has the stamp it is filed under, every other
// entry's stamp is higher, and the top is the victim, exactly; if it was used
// since, it is filed again under its new stamp and the next top is looked at.
// A hit causes at most one such step, and many hits on an entry cause one together.
//
// Long times of nothing but hits leave many steps to do, while writes have to be
// quick. So each new entry and each tick of the janitor does a few ahead, and an eviction does
// maxRefiled at most. If that is not enough to find the exact victim, it takes the one used
// least recently among those that it has filed again, which are those that
// were not looked at for longest.
//
// The order is exact for uses that follow one another. Two hits on one entry at
// the same time may leave the lower of their two stamps.
type lru struct {
	seq atomic.Uint64 // number of the last use
	_   [56]byte      // hits write to seq's cache line

	slots *slots
	heap  heap[uint64]
	last  uint32 // the resident added last, 0 if it has left; it is not filed
	past  uint64 // stamp of the last resident that came from a snapshot, less than all others
}

// firstUse is the number before that of the first use: those of uses before a restart are less.
const firstUse = 1 << 40

const (
	maxRefiled = 128 // entries that an eviction files again
	refileFew  = 4   // entries that a write files again ahead of an eviction
)

func newLRU(s *slots) *lru {
	p := &lru{slots: s, heap: heap[uint64]{slots: s}, past: firstUse}
	p.seq.Store(firstUse)
	return p
}

// hit records a use of n. It needs no lock. A node that replaces one of the
// same size is to be hit before it is published.
func (p *lru) hit(n *node) { n.mark.Store(p.seq.Add(1)) }

// stamp returns the number of a resident's last use.
func (p *lru) stamp(id uint32) uint64 { return p.slots.node(id).mark.Load() }

func (p *lru) add(id uint32) {
	p.hit(p.slots.node(id))
	if p.last != 0 {
		p.heap.push(filing[uint64]{p.stamp(p.last), p.last})
	}
	p.last = id
	p.refile(refileFew)
}

func (p *lru) readd(id uint32) { p.add(id) }

func (p *lru) rank(n *node) uint64 { return n.mark.Load() << 8 }

func (p *lru) restore(id uint32, _ uint8, _ int) {
	p.past--
	p.slots.node(id).mark.Store(p.past)
	p.heap.push(filing[uint64]{p.past, id})
}

func (p *lru) remove(id uint32) {
	if id == p.last {
		p.last = 0
	} else {
		p.heap.remove(id)
	}
}

func (p *lru) evict() uint32 {
	id := p.last
	if p.heap.len > 0 {
		id = p.refile(maxRefiled)
	}
	if id != 0 {
		p.remove(id)
	}
	return id
}

// refile files the top of the heap again as long as it was used since it was filed, but
// not more than limit times. It returns the resident used least recently, as far as it
// has found out; 0 if none is filed.
func (p *lru) refile(limit int) uint32 {
	var least filing[uint64]
	for range limit {
		if p.heap.len == 0 {
			break
		}
		top := p.heap.top()
		stamp := p.stamp(top.slot)
		if stamp <= top.stamp {
			return top.slot
		}
		p.heap.refile(stamp)
		if least.slot == 0 || stamp < least.stamp {
			least = filing[uint64]{stamp, top.slot}
		}
	}
	return least.slot
}

func (p *lru) reset() { p.heap, p.last = heap[uint64]{slots: p.slots}, 0 }

func (p *lru) resize(int64, int) {}

func (p *lru) bytes() int64 { return p.heap.bytes() }
