package covey

// hotkey.go finds out which keys are asked for most: at the owner, to show them; at the peers that ask, to decide what is worth
// borrowing.

import (
	"cmp"
	"context"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// A HotKey is one of the keys that are asked for most; see [Group.HotKeys].
type HotKey struct {
	// Cache is the name of the key's cache.
	Cache string
	// Key is the key, or its first 128 bytes if it is longer.
	Key string
	// Rate is an estimate of how often all members together ask for the key: requests a second, over the last 5 to 10 s.
	Rate float64
}

const (
	hotCounters = 512 // of a window: an estimate is too high by at most 1/512 of all requests of the window
	hotKeyLen   = 128 // bytes that are kept of a key
	hotWindow   = int64(5 * time.Second)
)

// hotKeys counts the requests for the keys that this process owns, with Space-Saving (Metwally, Agrawal and El Abbadi, "Efficient Computation of
// Frequent and Top-k Elements in Data Streams", 2005): a key without a counter takes over the smallest one. There are two windows, one that is being
// counted and the one before, which is frozen.
type hotKeys struct {
	mu     sync.Mutex
	begun  int64 // when the window began
	now    spaceSaving
	before map[uint64]hotCounter
	length int64 // of the window before
}

type hotCounter struct {
	hash  uint64
	key   string
	count uint64
	err   uint64 // count is too high by this at most
	at    uint16 // where in the heap
}

func newHotKeys(now int64) *hotKeys { return &hotKeys{begun: now} }

// add counts n requests for a key at a time. It keeps a copy of key if it keeps it at all.
func (h *hotKeys) add(hash uint64, key string, n uint64, now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turn(now)
	h.now.add(hash, key, n)
}

// turn begins a new window when the current one is over.
func (h *hotKeys) turn(now int64) {
	length := now - h.begun
	if length < hotWindow {
		return
	}
	h.before, h.length = nil, hotWindow
	if length < 2*hotWindow {
		h.length = length
		h.before = make(map[uint64]hotCounter, len(h.now.counters))
		for _, c := range h.now.counters {
			h.before[c.hash] = c
		}
	}
	h.now = spaceSaving{}
	h.begun = now
}

// top returns the k keys with the highest rates, the highest first.
func (h *hotKeys) top(k int, now int64) []HotKey {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turn(now)
	elapsed := max(now-h.begun, 0)
	span := float64(elapsed + h.length)
	if span == 0 {
		span = 1
	}
	span = max(span/1e9, 0.1) // of requests within less time little can be said
	var all []HotKey
	add := func(c hotCounter, more uint64) {
		all = append(all, HotKey{Key: c.key, Rate: float64(c.count-c.err/2+more) / span})
	}
	for _, c := range h.now.counters {
		old := h.before[c.hash]
		add(c, old.count-old.err/2)
	}
	for hash, c := range h.before {
		if _, counted := h.now.index[hash]; !counted {
			add(c, 0)
		}
	}
	return hottest(all)[:min(k, len(all), hotShown)]
}

// spaceSaving keeps its counters where they are, and a heap of their places, the one with the smallest count first: what moves is two bytes long.
type spaceSaving struct {
	counters []hotCounter
	heap     []uint16       // of indices of counters
	index    map[uint64]int // of counters by hash
}

func (s *spaceSaving) add(hash uint64, key string, n uint64) {
	i, ok := s.index[hash]
	switch {
	case ok:
		s.counters[i].count += n
	case len(s.counters) < hotCounters:
		if s.index == nil {
			s.index = make(map[uint64]int, hotCounters)
		}
		i = len(s.counters)
		s.counters = append(s.counters, hotCounter{hash: hash, key: clip(key), count: n})
		s.index[hash] = i
		s.heap = append(s.heap, uint16(i))
		s.up(i)
	default:
		i = int(s.heap[0])
		smallest := s.counters[i]
		delete(s.index, smallest.hash)
		s.counters[i] = hotCounter{hash: hash, key: clip(key), count: smallest.count + n, err: smallest.count}
		s.index[hash] = i
	}
	s.down(int(s.counters[i].at))
}

// up moves what is new at a place of the heap to where it belongs.
func (s *spaceSaving) up(at int) {
	i := s.heap[at]
	for at > 0 && s.counters[i].count < s.counters[s.heap[(at-1)/2]].count {
		s.put(at, s.heap[(at-1)/2])
		at = (at - 1) / 2
	}
	s.put(at, i)
}

// down moves what has grown at a place of the heap to where it belongs.
func (s *spaceSaving) down(at int) {
	i := s.heap[at]
	for {
		child := 2*at + 1
		if child >= len(s.heap) {
			break
		}
		if child+1 < len(s.heap) && s.counters[s.heap[child+1]].count < s.counters[s.heap[child]].count {
			child++
		}
		if s.counters[s.heap[child]].count >= s.counters[i].count {
			break
		}
		s.put(at, s.heap[child])
		at = child
	}
	s.put(at, i)
}

func (s *spaceSaving) put(at int, i uint16) {
	s.heap[at] = i
	s.counters[i].at = uint16(at)
}

func clip(key string) string { return strings.Clone(key[:min(len(key), hotKeyLen)]) }

// HotKeys returns the keys that the whole group asks for most, up to 100 of them, the most wanted first. Hits on copies are
// included, a second or so late. It asks each member about the keys that it owns, and leaves out members that do not answer
// within a second. Requests are counted by sampling, so keys with few of them may be missing.
func (g *Group) HotKeys() []HotKey {
	ctx, cancel := context.WithTimeout(g.ctx, time.Second)
	defer cancel()
	var mu sync.Mutex
	all := g.ownHotKeys()
	var wg sync.WaitGroup
	for _, p := range g.view.Load().peers {
		if p == nil {
			continue
		}
		wg.Go(func() {
			l, err := p.Link(ctx)
			if err != nil {
				return
			}
			f, err := l.Call(ctx, &wire.Frame{Type: wire.Top})
			if err != nil || f.Type != wire.Many {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			var one wire.Frame
			for items := f.Items; len(items) > 0 && err == nil; {
				if items, err = wire.Next(items, &one); err == nil {
					all = append(all, HotKey{Cache: strings.Clone(one.Text), Key: strings.Clone(one.Key), Rate: float64(one.Count) / milli})
				}
			}
		})
	}
	wg.Wait()
	return hottest(all)
}

// ownHotKeys returns the hot keys among those that this process owns.
func (g *Group) ownHotKeys() (all []HotKey) {
	for name, c := range *g.caches.Load() {
		for _, h := range c.hotKeys(hotShown) {
			h.Cache = name
			all = append(all, h)
		}
	}
	return hottest(all)
}

func hottest(all []HotKey) []HotKey {
	slices.SortFunc(all, func(a, b HotKey) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.Cache, b.Cache), cmp.Compare(a.Key, b.Key))
	})
	return all[:min(hotShown, len(all))]
}

const milli = 1000 // rates travel in thousandths

// serveTop answers another peer's question for hot keys.
func (g *Group) serveTop(r *link.Request) {
	f := &wire.Frame{Type: wire.Many, Items: []byte{}}
	for _, h := range g.ownHotKeys() {
		f.Items = wire.Append(f.Items, &wire.Frame{Type: wire.Top, Key: h.Key, Text: h.Cache, Count: uint64(h.Rate * milli)})
	}
	r.Answer(f)
}

const hotShown = 100

func (c *Cache[V]) hotKeys(k int) []HotKey { return c.hot.top(k, c.store.clock.now()) }

// One of so many requests is counted, for all of them.
const (
	sampleHits   = 64 // of hits in this process
	sampleServed = 8  // of requests by other peers
)

// demand estimates how often this process has lately been asked for a key of another peer. It is a count-min sketch (Cormode and Muthukrishnan 2005)
// with conservative update, of which all counts are halved now and then (TinyLFU: Einziger, Friedman and Manes 2017). Requests that a copy has
// served are counted later than others: when the hand of the clock passes it, and when it is recalled.
//
// The four counters of a key, of four bits each, are in one word, so that counting touches one line of memory. If two requests count in the same word at
// once, one of them may be lost, which does not matter.
type demand struct {
	words []atomic.Uint64 // a power of two
	added atomic.Uint64
	bar   atomic.Uint32 // the mean count of copies that have left, shifted by barBits
}

const (
	maxDemand = 15 // that a counter can hold
	demandAge = 8  // requests for each word until the counts are halved
	barBits   = 4  // the mean is of about the last 16
)

// newDemand returns the demand for copies of so many bytes altogether; it takes up to a sixteenth of that itself.
func newDemand(bytes int64) *demand {
	return &demand{words: make([]atomic.Uint64, 1<<min(max(bits.Len64(uint64(bytes/128))-1, 8), 20))}
}

// cells returns the word of a key's counters, and where in it they are.
func (d *demand) cells(hash uint32) (word *atomic.Uint64, shifts [4]uint8) {
	x := uint64(hash) * 0x9E3779B97F4A7C15
	x = (x ^ x>>32) * 0xD6E8FEB86659FD93
	for i := range shifts {
		shifts[i] = uint8(x>>(16+4*i)&15) * 4
	}
	return &d.words[x>>32&uint64(len(d.words)-1)], shifts
}

// of returns the estimate.
func (d *demand) of(hash uint32) uint32 {
	word, shifts := d.cells(hash)
	return uint32(least(word.Load(), shifts))
}

func least(w uint64, shifts [4]uint8) uint64 {
	n := uint64(maxDemand)
	for _, s := range shifts {
		n = min(n, w>>s&maxDemand)
	}
	return n
}

// add counts n requests and returns the estimate, these included.
func (d *demand) add(hash, n uint32) uint32 {
	word, shifts := d.cells(hash)
	w := word.Load()
	to := min(least(w, shifts)+uint64(n), maxDemand)
	for _, s := range shifts {
		if w>>s&maxDemand < to {
			w = w&^(maxDemand<<s) | to<<s
		}
	}
	word.Store(w)
	limit := uint64(demandAge * len(d.words))
	if now := d.added.Add(uint64(n)); now%limit < uint64(n) {
		d.age()
	}
	return uint32(to)
}

func (d *demand) age() {
	for i := range d.words {
		d.words[i].Store(d.words[i].Load() >> 1 & 0x7777777777777777)
	}
	d.bar.Store(d.bar.Load() / 2)
}

// leaves takes note of a copy that leaves because there is no room.
func (d *demand) leaves(hash uint32) {
	bar := d.bar.Load()
	d.bar.Store(bar - bar>>barBits + d.of(hash) + 1)
}
