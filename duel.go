package covey

// duel.go finds out whether recency or frequency serves a cache better.

import (
	"sync"
	"sync/atomic"
)

// A duel runs two small caches beside the real one, of which one is LRU and
// the other W-TinyLFU. Both see the same sample of the keys and are smaller than the real
// cache in the same proportion, so their hit ratios are close to what it would have
// (miniature simulation: Waldspurger, Saemundson, Ahmad and Park, 2017; for
// TinyLFU's window: Einziger, Eytan, Friedman and Manes, "Adaptive Software Cache Management", 2018).
type duel struct {
	mask atomic.Uint32 // of the mixed hash; 0 bits in it: the key is sampled

	mu       sync.Mutex
	size     int // entries of each small cache
	lru, lfu mini
	sketch   sketch
	score    float64 // decayed: hits of lru less hits of lfu
	lead     atomic.Bool
}

const (
	duelSize = 256 // a small cache has up to twice as many entries
)

func (d *duel) samples(hash uint32) bool {
	return (hash*0x85EBCA6B)>>7&d.mask.Load() == 0
}

// recency reports whether LRU is ahead.
func (d *duel) recency() bool { return d.lead.Load() }

// resize follows the capacity of the real cache.
func (d *duel) resize(capacity int) {
	mask := uint32(0)
	for capacity>>bitsOf(mask) >= 2*duelSize {
		mask = mask<<1 | 1
	}
	size := capacity >> bitsOf(mask)
	if mask == d.mask.Load() && size <= d.size+d.size/16 && size >= d.size-d.size/16 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if mask != d.mask.Load() {
		d.mask.Store(mask)
		d.lru.thin(d)
		d.lfu.thin(d)
	}
	d.size = max(size, 1)
	d.sketch.resize(d.size)
}

func bitsOf(mask uint32) (n uint) {
	for ; mask != 0; mask >>= 1 {
		n++
	}
	return n
}

// observe has both caches handle a request of a sampled key. If somebody else is at it the request is left out.
func (d *duel) observe(hash uint32) {
	if !d.mu.TryLock() {
		return
	}
	defer d.mu.Unlock()
	if d.size == 0 {
		return
	}
	d.sketch.add(hash, 1)
	gain := 0.0
	if d.lru.recent(hash, d.size) {
		gain++
	}
	if d.lfu.frequent(hash, d.size, &d.sketch) {
		gain--
	}
	span := 8 * float64(d.size)
	d.score += gain - d.score/span
	// The score tends to span times the difference of the hit ratios.
	switch margin := span / 200; {
	case d.score > margin:
		d.lead.Store(true)
	case d.score < -margin:
		d.lead.Store(false)
	}
}

func (d *duel) bytes() int64 { return int64(d.size) * 80 }

// A mini is a small cache of hashes: a window, and behind it main, which LRU leaves empty.
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

// recent is LRU.
func (m *mini) recent(hash uint32, size int) (hit bool) {
	if at, ok := m.places[hash]; ok {
		m.pull(at)
		m.push(at, miniWindow)
		return true
	}
	m.enter(hash)
	for len(m.places) > size {
		m.drop(m.window.tail)
	}
	return false
}

// frequent is W-TinyLFU with a window of a hundredth and a protected segment of four fifths of the rest.
func (m *mini) frequent(hash uint32, size int, s *sketch) (hit bool) {
	window := max(1, size/100)
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
		if s.count(m.elems[at].hash) > s.count(m.elems[victim].hash) {
			m.drop(victim)
		} else {
			m.drop(at)
		}
	}
	for len(m.places) > size && m.main.tail != 0 {
		m.drop(m.main.tail)
	}
	for len(m.places) > size && m.safe.tail != 0 {
		m.drop(m.safe.tail)
	}
	return false
}
