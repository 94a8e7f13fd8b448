package covey

// lfu.go chooses the victim by popularity.

import (
	"math"
	"time"
)

// An lfu is a queue that gives an entry as many more rounds as it was hit
// since the last, three at most (CLOCK with a counter).
type lfu struct {
	slots *slots
	queue list
	last  uint32 // the resident added last
}

func newLFU(s *slots) *lfu { return &lfu{slots: s} }

// hit records a use of n. It needs no lock.
func (p *lfu) hit(n *node) {
	if m := n.mark.Load(); m < 3 {
		n.mark.Store(m + 1)
	}
}

func (p *lfu) add(id uint32) {
	p.queue.pushHead(p.slots, id)
	p.last = id
}

func (p *lfu) readd(id uint32)   { p.add(id) }
func (p *lfu) remove(id uint32)  { p.queue.remove(p.slots, id) }
func (p *lfu) resize(int64, int) {}
func (p *lfu) bytes() int64      { return 0 }

func (p *lfu) evict() uint32 {
	for p.queue.tail != 0 {
		id := p.queue.tail
		n := p.slots.node(id)
		p.queue.remove(p.slots, id)
		m := n.mark.Load()
		if m == 0 && (id != p.last || p.queue.len == 0) {
			return id
		}
		n.mark.Store(max(m, 1) - 1)
		p.queue.pushHead(p.slots, id)
	}
	return 0
}

// costClass quantises a load time in steps of a factor of √2 from 1 ms, which stands for all below, too.
func costClass(d time.Duration) uint8 {
	if d <= time.Millisecond {
		return 0
	}
	return uint8(min(math.Round(2*math.Log2(float64(d)/1e6)), 63))
}

// costOf returns the load time that a class stands for.
func costOf(class uint8) time.Duration {
	return time.Duration(1e6 * math.Pow(2, float64(class)/2))
}
