package covey

// lfu.go is the default policy: it keeps what is popular by frequency, by
// recency or by return, whichever does best with the requests that come.

import (
	"math"
	"time"

	"github.com/coveycache/covey/internal/freq"
)

// A mode is one way to tell popular entries from others. In each of them new entries enter
// a window; when that is full, the entry that leaves it either takes a place in main or has to go.
type mode uint32

const (
	// byFrequency lets an entry into main that was asked for more often than the one that main
	// would evict (W-TinyLFU: Einziger, Friedman and Manes, "TinyLFU: A
	// Highly Efficient Cache Admission Policy", 2017).
	byFrequency mode = iota
	// byRecency has no main: it is LRU.
	byRecency
	// byReturn lets in an entry that was asked for twice (as do 2Q: Johnson and Shasha,
	// 1994, and S3-FIFO: Yang et al., 2023). So scans pass by, and what was popular
	// once keeps nothing out.
	byReturn
	modes
)

// window returns how many of n entries may be in the window.
func (m mode) window(n int) int {
	switch m {
	case byRecency:
		return n
	case byReturn:
		return max(1, n/10)
	}
	return max(1, n/100)
}

// admits says whether the entry that leaves the window takes the place of main's victim. By
// frequency it must be ahead by more than the margin.
func (m mode) admits(s *freq.Sketch, candidate, victim uint32, margin uint64) bool {
	switch m {
	case byRecency:
		return true
	case byReturn:
		return s.Count(candidate) >= 2
	}
	return s.Count(candidate) > s.Count(victim)+margin
}

// An lfu has two queues, window and main; the duel chooses the mode.
//
// Both queues are CLOCKs: a hit only counts up in the entry's mark. When the
// entry comes to its queue's tail the count is harvested: the sketch of
// frequencies learns of it, and if there was a hit the entry goes to the head.
type lfu struct {
	slots      *slots
	window     list
	main, safe list // main's probation and protected segment
	sketch     freq.Sketch
	duel       duel
	last       uint32 // the resident added last, 0 if it has left
	spared     int    // entries that the eviction under way passed over
	maxBytes   int64
	maxEntries int
	values     values
}

// Where a resident is, in its state byte.
const (
	inWindow = iota + 1
	inMain
	inSafe
	inValues
)

const (
	// maxMark is where a mark stops counting: that is popular enough.
	maxMark = 15
	// maxSpared is how many entries with hits an eviction passes over.
	maxSpared = 128
)

func newLFU(s *slots) *lfu { return &lfu{slots: s, values: values{heap: heap[float32]{slots: s}}} }

// hit records a use of n. It needs no lock.
func (p *lfu) hit(n *node) {
	if m := n.mark.Load(); m < maxMark {
		n.mark.Store(m + 1)
		if p.duel.samples(n.hash) {
			p.duel.observe(n.hash)
		}
	}
}

func (p *lfu) len() int { return p.window.len + p.main.len + p.safe.len + p.values.heap.len }

// room is how many entries fit, as far as can be told.
func (p *lfu) room() int {
	n := float64(math.MaxInt32)
	if p.maxEntries > 0 {
		n = float64(p.maxEntries)
	}
	if p.maxBytes > 0 {
		held := p.window.bytes + p.main.bytes + p.safe.bytes + p.values.held
		n = min(n, float64(p.len())*float64(p.maxBytes)/float64(max(held, 1)))
	}
	return int(min(n, math.MaxInt32))
}

func (p *lfu) add(id uint32) {
	n := p.slots.node(id)
	n.mark.Store(0)
	p.sketch.Resize(p.len() + 1)
	p.sketch.Add(n.hash, 1)
	p.enter(id)
	p.duel.resize(p.room())
	if p.duel.samples(n.hash) {
		p.duel.observe(n.hash)
	}
}

// rank is by popularity or, if the policy goes by that, by worth.
func (p *lfu) rank(n *node) uint64 {
	uses := p.sketch.Count(n.hash) + n.mark.Load()
	if p.values.on {
		return uint64(math.Float32bits(float32(uses+1)*p.values.density(n)))<<8 | uses
	}
	return uses<<8 | uses
}

func (p *lfu) restore(id uint32, uses uint8, of int) {
	n := p.slots.node(id)
	p.sketch.Resize(max(p.len()+1, min(of, p.room()))) // once: growing, it would forget the first ones
	p.sketch.Add(n.hash, uint32(uses))
	p.arrive(n)
	if p.values.on {
		p.appraise(id)
	} else {
		*p.slots.state(id) = inWindow
		p.window.pushTail(p.slots, id)
	}
	p.duel.resize(p.room())
}

func (p *lfu) readd(id uint32) {
	p.harvest(p.slots.node(id))
	p.enter(id)
}

func (p *lfu) enter(id uint32) {
	p.arrive(p.slots.node(id))
	p.last = id
	if p.values.on {
		p.appraise(id)
	} else {
		p.push(&p.window, inWindow, id)
	}
}

func (p *lfu) push(l *list, state uint8, id uint32) {
	*p.slots.state(id) = state
	l.pushHead(p.slots, id)
}

func (p *lfu) remove(id uint32) {
	switch state := p.slots.state(id); *state {
	case inWindow:
		p.window.remove(p.slots, id)
	case inMain:
		p.main.remove(p.slots, id)
	case inSafe:
		p.safe.remove(p.slots, id)
	case inValues:
		p.values.remove(p.slots, id)
	}
	*p.slots.state(id) = 0
	if p.last == id {
		p.last = 0
	}
}

// harvest adds the hits on n since the last time to the sketch, and reports whether there were any.
func (p *lfu) harvest(n *node) bool {
	m := n.mark.Load()
	if m == 0 {
		return false
	}
	n.mark.Store(0)
	p.sketch.Add(n.hash, uint32(m))
	return true
}

// spare harvests n, whose turn it is to leave, and reports whether a hit saves it. After maxSpared
// entries in one eviction hits save no more: when there were nothing but hits for long, or they
// come faster than they are harvested, the lock must not be held until an entry without one is
// found.
func (p *lfu) spare(n *node) bool {
	p.spared++
	return p.harvest(n) && p.spared < maxSpared
}

func (p *lfu) evict() uint32 {
	if p.len() == 0 {
		return 0
	}
	p.spared = 0
	p.survey()
	id := p.choose()
	p.remove(id)
	return id
}

func (p *lfu) choose() uint32 {
	if p.values.on {
		p.weigh()
		return p.leastValue()
	}
	if p.values.heap.len > 0 {
		if id := p.unweigh(); id != 0 {
			return id
		}
	}
	if by := mode(p.duel.lead.Load()); by != byRecency {
		return p.contest(by)
	}
	return p.leastRecent()
}

// leastRecent drains main first, whose entries are the older ones.
func (p *lfu) leastRecent() uint32 {
	for _, l := range []*list{&p.main, &p.safe} {
		for l.tail != 0 {
			id := l.tail
			if hit := p.spare(p.slots.node(id)); !hit && id != p.last {
				return id
			}
			l.remove(p.slots, id)
			p.push(&p.window, inWindow, id)
		}
	}
	return p.oldest()
}

// oldest returns the first entry, from the window's tail, that had no hit since it was last there.
func (p *lfu) oldest() uint32 {
	w := &p.window
	for {
		id := w.tail
		hit := p.spare(p.slots.node(id))
		if !hit && (id != p.last || w.len == 1) {
			return id
		}
		w.remove(p.slots, id)
		p.push(w, inWindow, id)
	}
}

// contest has the entry that would leave the window compete with main's victim.
func (p *lfu) contest(by mode) uint32 {
	target := by.window(p.len())
	// After a change of mode the window gives its oldest entries to main, a few at a time.
	for range 8 {
		if p.window.len <= target+1 {
			break
		}
		id := p.window.tail
		p.window.remove(p.slots, id)
		p.push(&p.main, inMain, id)
	}
	victim := p.probation()
	if victim == 0 {
		return p.oldest()
	}
	if p.window.len <= target {
		return victim
	}
	candidate := p.oldest() // not the one added last: the window has more than one
	if !by.admits(&p.sketch, p.slots.hash(candidate), p.slots.hash(victim), 1) {
		return candidate
	}
	p.window.remove(p.slots, candidate)
	p.push(&p.main, inMain, candidate)
	return victim
}

// probation returns the entry that main would evict, 0 if there is none. Entries on
// probation that had a hit become protected, and others go back on probation to make
// place for them. The entry added last goes back to the window.
func (p *lfu) probation() uint32 {
	for {
		id := p.main.tail
		if id == 0 {
			if id = p.safe.tail; id == 0 {
				return 0
			}
			p.safe.remove(p.slots, id)
			p.push(&p.main, inMain, id)
			continue
		}
		hit := p.spare(p.slots.node(id))
		if !hit && id != p.last {
			return id
		}
		p.main.remove(p.slots, id)
		if !hit {
			p.push(&p.window, inWindow, id)
			continue
		}
		p.push(&p.safe, inSafe, id)
		for p.safe.len > (p.main.len+p.safe.len)*4/5 {
			id := p.safe.tail
			p.safe.remove(p.slots, id)
			if p.spare(p.slots.node(id)) {
				p.push(&p.safe, inSafe, id)
			} else {
				p.push(&p.main, inMain, id)
			}
		}
	}
}

func (p *lfu) reset() {
	p.window, p.main, p.safe, p.last = list{}, list{}, list{}, 0
	p.values.reset(p.slots)
}

func (p *lfu) resize(maxBytes int64, maxEntries int) {
	p.maxBytes, p.maxEntries = maxBytes, maxEntries
	if bySize := maxBytes > 0; bySize != p.values.bySize {
		p.values.bySize = bySize
		p.reappraise()
	}
}

func (p *lfu) bytes() int64 { return p.sketch.Bytes() + p.duel.bytes() + p.values.bytes() }

// costClass quantises a load time in steps of a factor of √2, from 1 ms; shorter ones count as 1
// ms.
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
