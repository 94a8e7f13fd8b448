package freq

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// A Key is one of the keys that are asked for most.
type Key struct {
	Key  string  // or its first MaxKey bytes
	Rate float64 // requests a second, an estimate
}

// MaxKey is how many bytes are kept of a key.
const MaxKey = 128

// window is how long requests are counted before counting begins anew.
const window = int64(5 * time.Second)

// A Top finds the keys that are asked for most, over the last one to two windows of 5 s: one that
// is being counted and the one before, which is frozen. All methods may be called concurrently.
// Times are in nanoseconds, by any clock.
type Top struct {
	mu     sync.Mutex
	begun  int64 // when the window began
	now    spaceSaving
	before map[uint64]counter
	length int64 // of the window before
}

// NewTop returns a Top that counts from now on.
func NewTop(now int64) *Top { return &Top{begun: now} }

// Add counts n requests for a key at a time. It keeps a copy of key if it keeps it at all.
func (h *Top) Add(hash uint64, key string, n uint64, now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turn(now)
	h.now.add(hash, key, n)
}

// turn begins a new window when the current one is over.
func (h *Top) turn(now int64) {
	length := now - h.begun
	if length < window {
		return
	}
	h.before, h.length = nil, window
	if length < 2*window {
		h.length = length
		h.before = make(map[uint64]counter, len(h.now.counters))
		for _, c := range h.now.counters {
			h.before[c.hash] = c
		}
	}
	h.now = spaceSaving{}
	h.begun = now
}

// Top returns the k keys with the highest rates, the highest first.
func (h *Top) Top(k int, now int64) []Key {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turn(now)
	elapsed := max(now-h.begun, 0)
	span := float64(elapsed + h.length)
	if span == 0 {
		span = 1
	}
	span = max(span/1e9, 0.1) // of requests within less time little can be said
	var all []Key
	add := func(c counter, more uint64) {
		all = append(all, Key{Key: c.key, Rate: float64(c.count-c.err/2+more) / span})
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
	slices.SortFunc(all, func(a, b Key) int { return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.Key, b.Key)) })
	return all[:min(k, len(all))]
}
