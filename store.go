package covey

// store.go keeps the entries of one cache within its bounds. It ties together the index that finds
// them, the policy that chooses which ones leave and the wheel that knows which ones have expired.

import (
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
)

const segmentBits = 6

// A store has two kinds of locks. A segment's makes a critical section of each
// of its keys. mu, the policy lock, guards slots, policy and wheel; it comes
// before a segment's. Entries come and go under both; a Put that replaces an
// entry by one of the same size needs the segment's only.
type store struct {
	index  index
	clock  *clock
	seed   maphash.Seed
	gen    atomic.Uint32       // generation: entries of another are not served
	guards [guardClasses]int64 // see guardClass
	lfu    *lfu                // the policy, if it is this one
	lru    *lru                // the policy, if it is this one

	mu     sync.Mutex
	closed bool // nothing is stored any more: slots, policy and wheel know what the index no longer has
	slots  slots
	policy policy
	spare  list // replicas, which leave before anything that the policy has
	wheel  *wheel

	tombs                  tombstones
	bytes, entries         atomic.Int64
	aside, asides          atomic.Int64 // bytes and number of the entries that are kept elsewhere, and are the first to leave
	evictions, expirations atomic.Int64

	storeConfig
}

// A storeConfig is what a store has to be told.
type storeConfig struct {
	eviction             Eviction
	maxBytes, maxEntries int64         // setBounds changes them; guarded by mu
	staleFor             int64         // how long an entry is kept after expires
	idleFor              int64         // how long an unused entry is kept; 0 = for ever
	removed              bool          // Events.Removed is set
	onTimed              func()        // called when the wheel gets its first deadline; mu is held
	evictAside           func() bool   // removes an entry that is kept aside; false: there is none. mu is held
	outside              *atomic.Int64 // bytes that count towards maxBytes but are kept elsewhere
	skew                 *skew         // shared with the group; nil: the store has one of its own
}

func newStore(c storeConfig) *store {
	s := &store{
		index:       newIndex(segmentBits),
		clock:       newClock(c.skew),
		seed:        maphash.MakeSeed(),
		guards:      newGuards(),
		storeConfig: c,
	}
	switch c.eviction {
	case LRU:
		s.lru = newLRU(&s.slots)
		s.policy = s.lru
	case FIFO:
		s.policy = newFIFO(&s.slots)
	default:
		s.lfu = newLFU(&s.slots)
		s.policy = s.lfu
	}
	s.slots.index = &s.index
	s.tombs.seed, s.tombs.clock = s.seed, s.clock
	s.wheel = newWheel(&s.slots)
	s.setBounds(c.maxBytes, c.maxEntries)
	return s
}

func (s *store) hash(key string) uint32 { return uint32(maphash.String(s.seed, key)) }

// A guard is how long before its end a fresh entry needs a closer look: at the exact time, since
// the coarse one is behind, and at whether to refresh the entry early. A node holds its guard as a
// class, in steps of a factor of √2 from 1 ms. The largest one is 25 days; whatever needs a longer
// one is looked at closely all the time.
const (
	guardClasses = 64
	guardAlways  = guardClasses - 1 // look closely at every hit
)

func guardClass(d int64) uint8 {
	ms := uint64(max(d, 1)-1) / 1e6 // d <= (ms+1) ms
	if ms >= 1<<(guardAlways/2) {
		return guardAlways
	}
	c := 2 * bits.Len64(ms)
	if c > 0 && ms+1 <= 0xB504F333>>(32-c/2) { // 2^(c/2 - 1/2)
		c--
	}
	return uint8(c)
}

func newGuards() (g [guardClasses]int64) {
	for c := range g {
		g[c] = int64(1e6 * math.Pow(2, float64(c)/2))
	}
	g[guardAlways] = never
	return g
}

// fresh reports whether n can be served without a closer look.
func (s *store) fresh(n *node) bool {
	return n.expires-s.guards[n.guard%guardClasses] > s.clock.coarse.Load() && n.gen.Load() == s.gen.Load()
}

// touch records a use of n.
func (s *store) touch(n *node) {
	if s.lfu != nil {
		s.lfu.hit(n)
	} else if s.lru != nil {
		s.lru.hit(n)
	}
	if s.idleFor > 0 {
		if now := idleUnits(s.clock.coarse.Load()); n.used.Load() != now {
			n.used.Store(now)
		}
	}
}

// idleUnits counts time in steps of 2^25 ns, about a thirtieth of a second.
func idleUnits(now int64) uint32 { return uint32(now >> idleBits) }

const idleBits = 25

// deadline is when n has to leave.
func (s *store) deadline(n *node) int64 {
	d := n.expires
	if d != never && n.flags&flagNegative == 0 {
		d += s.staleFor
	}
	if s.idleFor > 0 {
		now := s.clock.coarse.Load()
		unused := int64(int32(idleUnits(now) - n.used.Load())) // in units, of which 32 bits may have overflowed
		d = min(d, (now>>idleBits-unused+1)<<idleBits+s.idleFor)
	}
	return d
}

// canSwap says whether n can take old's place without the policy lock: the policy and the wheel
// must not need to know. A later deadline is found out when the wheel comes to the old one.
func (s *store) canSwap(old, n *node) bool {
	return old.size == n.size && old.cost == n.cost && (old.flags^n.flags)&flagReplica == 0 && s.deadline(n) >= s.deadline(old)
}

// swap puts n into the place of old, which canSwap. The segment is locked.
func (s *store) swap(place *atomic.Pointer[node], old, n *node) {
	n.slot = old.slot
	n.mark.Store(old.mark.Load())
	s.touch(n)
	place.Store(n)
}

// insert adds n, whose key is not there. Both locks are held.
func (s *store) insert(g *segment, n *node) {
	id := s.slots.alloc(n)
	if s.lru != nil {
		s.lru.hit(n)
	}
	g.insert(n, s.index.shift)
	if n.flags&flagReplica != 0 {
		s.spare.pushHead(&s.slots, id)
	} else {
		s.policy.add(id)
	}
	s.schedule(id, n)
	s.bytes.Add(int64(n.size))
	s.entries.Add(1)
}

// restore adds n, which comes from a snapshot of so many entries and was used less than all that
// came from it before. Its key is not there. Both locks are held.
func (s *store) restore(g *segment, n *node, uses uint8, of int) {
	id := s.slots.alloc(n)
	g.insert(n, s.index.shift)
	s.policy.restore(id, uses, of)
	s.schedule(id, n)
	s.bytes.Add(int64(n.size))
	s.entries.Add(1)
}

// replace puts n into the place of old. Both locks are held.
func (s *store) replace(place *atomic.Pointer[node], old, n *node) {
	s.unlist(old)
	s.wheel.cancel(old.slot)
	s.swap(place, old, n)
	switch {
	case n.flags&flagReplica != 0:
		s.spare.pushHead(&s.slots, n.slot)
	case old.flags&flagReplica != 0:
		s.policy.add(n.slot)
	default:
		s.policy.readd(n.slot)
	}
	s.schedule(n.slot, n)
	s.bytes.Add(int64(n.size) - int64(old.size))
}

// remove takes n out. Both locks are held.
func (s *store) remove(g *segment, n *node) {
	s.unlist(n)
	s.wheel.cancel(n.slot)
	s.forget(g, n)
}

// replicas returns how many there are, and their bytes.
func (s *store) replicas() (n, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.spare.len), s.spare.bytes
}

// unlist takes n off the list of what may be evicted. Both locks are held.
func (s *store) unlist(n *node) {
	if n.flags&flagReplica != 0 {
		s.spare.remove(&s.slots, n.slot)
	} else {
		s.policy.remove(n.slot)
	}
}

// forget takes out n, which neither the policy nor the wheel knows any more. Both locks are held.
func (s *store) forget(g *segment, n *node) {
	g.remove(n, s.index.shift)
	s.slots.release(n.slot)
	s.bytes.Add(-int64(n.size))
	s.entries.Add(-1)
}

func (s *store) schedule(id uint32, n *node) {
	d := s.deadline(n)
	if d == never {
		return
	}
	if _, ok := s.wheel.next(); !ok {
		s.clock.now() // the coarse clock has stood still while nothing could expire
		s.onTimed()
	}
	s.wheel.schedule(id, d)
}

// reset forgets all entries, which are no longer in the index. mu is held.
func (s *store) reset() {
	s.slots = slots{index: s.slots.index}
	s.spare = list{}
	s.policy.reset()
	s.wheel.reset()
}

// A departure is an entry that has left, and why.
type departure struct {
	node  *node
	cause Cause
}

// batch bounds what is done under the policy lock at one go.
const batch = 256

// trim brings the store within its bounds: what has expired goes first, then what
// the policy chooses. If it stops early it reports that there is more to do. mu is held.
func (s *store) trim(gone []departure) (_ []departure, more bool) {
	if s.closed || !s.over() {
		return gone, false
	}
	gone, _ = s.expire(s.clock.now(), gone)
	for s.asides.Load() > 0 && s.over() && s.evictAside() {
	}
	for range batch {
		if !s.over() {
			return gone, false
		}
		id := s.spare.tail
		if id != 0 {
			s.spare.remove(&s.slots, id)
		} else if id = s.policy.evict(); id == 0 {
			return gone, false
		}
		s.wheel.cancel(id)
		g := s.index.segment(s.slots.hash(id))
		g.mu.Lock()
		n := s.slots.node(id)
		s.forget(g, n)
		g.mu.Unlock()
		s.evictions.Add(1)
		if s.removed {
			gone = append(gone, departure{n, CauseEvicted})
		}
	}
	return gone, true
}

// fits reports whether there is room for an entry without anything else having to leave. mu is
// held.
func (s *store) fits(size int64) bool {
	return (s.maxBytes == 0 || s.held()+size <= s.maxBytes) && (s.maxEntries == 0 || s.entries.Load()+s.asides.Load() < s.maxEntries)
}

// held returns what counts towards maxBytes.
func (s *store) held() int64 {
	return s.bytes.Load() + s.tombs.bytes.Load() + s.outside.Load() + s.aside.Load()
}

func (s *store) over() bool {
	return s.maxBytes > 0 && s.held() > s.maxBytes || s.maxEntries > 0 && s.entries.Load()+s.asides.Load() > s.maxEntries
}

// expire takes out entries whose time is over at now. It may stop early and then reports that there
// is more to do. mu is held.
func (s *store) expire(now int64, gone []departure) (_ []departure, more bool) {
	if s.closed {
		return gone, false
	}
	more = s.wheel.advance(now, batch, func(id uint32) int64 {
		g := s.index.segment(s.slots.hash(id))
		g.mu.Lock()
		defer g.mu.Unlock()
		n := s.slots.node(id)
		if d := s.deadline(n); d > now {
			return d
		}
		s.unlist(n)
		s.forget(g, n)
		s.expirations.Add(1)
		if s.removed {
			gone = append(gone, departure{n, CauseExpired})
		}
		return never
	})
	return gone, more
}

// setBounds changes the bounds; trim has to follow. mu is held.
func (s *store) setBounds(maxBytes, maxEntries int64) {
	if s.closed {
		return
	}
	s.maxBytes, s.maxEntries = maxBytes, maxEntries
	s.policy.resize(maxBytes, int(maxEntries))
	s.tombs.resize(maxBytes)
}
