package covey

// lfu_duel.go finds out in which mode of lfu.go a cache has the most hits.

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/coveycache/covey/internal/freq"
)

// A duel runs a small cache for each mode beside the real one. All see the same sample of the keys
// and are smaller than the real cache in the same proportion, so their hit ratios are close to what
// it would have in that mode (miniature simulation: Waldspurger, Saemundson, Ahmad and Park, 2017;
// for TinyLFU's window: Einziger, Eytan, Friedman and Manes, "Adaptive Software Cache Management",
// 2018).
type duel struct {
	mask atomic.Uint32 // of the mixed hash; 0 bits in it: the key is sampled
	lead atomic.Uint32 // the mode that is ahead

	mu     sync.Mutex
	size   int // entries of each small cache
	minis  [modes]mini
	sketch freq.Sketch
	behind [modes]float64 // how many hits fewer than the best a mode had of late
}

// Bounds of the size of a small cache, if the real one is larger. They are more
// than a factor of two apart, so that the sample does not change back and forth.
const (
	duelMin = 192
	duelMax = 512
)

func (d *duel) samples(hash uint32) bool {
	return (hash*0x85EBCA6B)>>7&d.mask.Load() == 0
}

// resize follows the capacity of the real cache.
func (d *duel) resize(capacity int) {
	capacity = max(1, min(capacity, 1<<30)) // more entries than the mask has bits for don't fit anywhere
	old := d.mask.Load()
	skip := bits.Len32(old)
	for capacity>>skip >= duelMax {
		skip++
	}
	for skip > 0 && capacity>>skip < duelMin {
		skip--
	}
	mask, size := uint32(1)<<skip-1, capacity>>skip
	if mask == old && size <= d.size+d.size/16 && size >= d.size-d.size/16 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mask.Store(mask)
	d.size = size
	d.sketch.Resize(size)
	for i := range d.minis {
		d.minis[i].thin(d)
		d.minis[i].trim(size)
	}
}

// observe has the small caches handle a request for a sampled key. If another goroutine is at it
// the request is left out.
func (d *duel) observe(hash uint32) {
	if !d.mu.TryLock() {
		return
	}
	defer d.mu.Unlock()
	if d.size == 0 {
		return
	}
	d.sketch.Add(hash, 1)
	size := float64(d.size)
	for m := range modes {
		d.behind[m] -= d.behind[m] / (8 * size)
		if !d.minis[m].ask(m, hash, d.size, &d.sketch) {
			d.behind[m]++
		}
	}
	best := byFrequency
	for m := range modes {
		if d.behind[m] < d.behind[best] {
			best = m
		}
	}
	// However bad a mode was, when the traffic changes it can be back in front after a cacheful of
	// hits (as by a share of the weight in "Tracking the Best Expert": Herbster and Warmuth, 1998).
	least := d.behind[best]
	for m := range modes {
		d.behind[m] = min(d.behind[m]-least, size)
	}
	if d.behind[d.lead.Load()] > size/50 {
		d.lead.Store(uint32(best))
	}
}

func (d *duel) bytes() int64 {
	n := d.sketch.Bytes()
	for i := range d.minis {
		n += d.minis[i].bytes()
	}
	return n
}

// A mini is a small cache of hashes: a window, and behind it main, which stays empty in the mode
// byRecency.
type mini struct {
	places map[uint32]uint32 // by hash, the element's number
	elems  []miniElem
	free   uint32
	window miniList
	main   miniList // probation
	safe   miniList // protected
}

type miniElem struct {
	hash, prev, next uint32
	in               uint8
}

type miniList struct {
	head, tail uint32
	len        int
}

const (
	miniWindow = iota
	miniMain
	miniSafe
)

func (m *mini) list(in uint8) *miniList {
	switch in {
	case miniWindow:
		return &m.window
	case miniMain:
		return &m.main
	}
	return &m.safe
}

func (m *mini) push(at uint32, in uint8) {
	l := m.list(in)
	e := &m.elems[at]
	e.in, e.prev, e.next = in, 0, l.head
	if l.head != 0 {
		m.elems[l.head].prev = at
	} else {
		l.tail = at
	}
	l.head = at
	l.len++
}

func (m *mini) pull(at uint32) {
	e := &m.elems[at]
	l := m.list(e.in)
	if e.prev != 0 {
		m.elems[e.prev].next = e.next
	} else {
		l.head = e.next
	}
	if e.next != 0 {
		m.elems[e.next].prev = e.prev
	} else {
		l.tail = e.prev
	}
	l.len--
}

// enter puts a new element at the head of the window.
func (m *mini) enter(hash uint32) {
	if m.places == nil {
		m.places = make(map[uint32]uint32)
		m.elems = make([]miniElem, 1, 16)
	}
	at := m.free
	if at != 0 {
		m.free = m.elems[at].next
	} else {
		at = uint32(len(m.elems))
		m.elems = append(m.elems, miniElem{})
	}
	m.elems[at].hash = hash
	m.places[hash] = at
	m.push(at, miniWindow)
}

func (m *mini) drop(at uint32) {
	m.pull(at)
	delete(m.places, m.elems[at].hash)
	m.elems[at].next = m.free
	m.free = at
}

// thin drops what is no longer sampled.
func (m *mini) thin(d *duel) {
	for hash, at := range m.places {
		if !d.samples(hash) {
			m.drop(at)
		}
	}
}

// ask looks a key up and, if it is not there, puts it.
func (m *mini) ask(by mode, hash uint32, size int, s *freq.Sketch) (hit bool) {
	window := by.window(size)
	if at, ok := m.places[hash]; ok {
		in := m.elems[at].in
		m.pull(at)
		if in == miniWindow {
			m.push(at, miniWindow)
			return true
		}
		m.push(at, miniSafe)
		if m.safe.len > (size-window)*4/5 {
			at := m.safe.tail
			m.pull(at)
			m.push(at, miniMain)
		}
		return true
	}
	m.enter(hash)
	for m.window.len > window {
		at := m.window.tail
		m.pull(at)
		m.push(at, miniMain)
		if len(m.places) <= size {
			continue
		}
		victim := m.main.tail
		if victim == at && m.safe.tail != 0 {
			victim = m.safe.tail
		}
		if by.admits(s, m.elems[at].hash, m.elems[victim].hash, 0) {
			m.drop(victim)
		} else {
			m.drop(at)
		}
	}
	m.trim(size)
	return false
}

// trim drops what exceeds size.
func (m *mini) trim(size int) {
	for len(m.places) > size {
		switch {
		case m.main.tail != 0:
			m.drop(m.main.tail)
		case m.safe.tail != 0:
			m.drop(m.safe.tail)
		default:
			m.drop(m.window.tail)
		}
	}
}

// bytes counts a map's element at 20 bytes.
func (m *mini) bytes() int64 { return int64(16*cap(m.elems) + 20*len(m.places)) }
