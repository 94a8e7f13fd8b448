package covey

// policy.go is the seam between the store and its eviction policies: what a
// policy sees of an entry, where residents are numbered, and what it is asked.

import (
	"math"
	"sync/atomic"
)

// Eviction names the policy by which a full cache chooses which entries leave.
type Eviction uint8

const (
	// LFU is the default: a policy of the TinyLFU family that adapts between recency and frequency.
	// If sizes or load times differ it keeps what saves the most load time for each byte.
	LFU Eviction = iota
	// LRU evicts the entry whose last use is longest ago. It is exact, with one exception: so that
	// a write after very many hits does not take long, an eviction looks at no more than 128
	// entries that were used since it last looked at them. Then it evicts the one of those that was
	// used least recently.
	LRU
	// FIFO evicts the entry that was stored longest ago, however much it is used.
	FIFO
)

// String returns the policy's name: LFU, LRU or FIFO.
func (e Eviction) String() string {
	switch e {
	case LFU:
		return "LFU"
	case LRU:
		return "LRU"
	case FIFO:
		return "FIFO"
	}
	return "unknown"
}

// A node is the part of an entry that does not depend on the value's type. It
// is immutable once published in the index, but for its atomics: a Put of a
// resident key publishes a new node under the old one's slot number.
type node struct {
	key     string
	expires int64 // end of freshness on the cache's clock, in ns; never = no expiry
	born    int64 // start of the load (or the Put) on the cache's clock, in ns
	version uint64
	stamp   uint64 // of the write or load, set by the key's owner; 0 without a group. See stamp.go

	// mark belongs to the policy. A hit may write it (see policy.hit), and
	// nothing else of the policy's: that is what keeps hits free of locks.
	mark atomic.Uint64

	hash uint32        // of the key; seeded per cache
	size uint32        // accounted bytes, everything included
	slot uint32        // this resident's number, for as long as its key is resident
	used atomic.Uint32 // last use in idleUnits, kept only if there is an idle TTL
	gen  atomic.Uint32 // the cache's generation under which the entry is valid

	cost  uint8 // measured load time, quantised: see costClass
	guard uint8 // see guardClass
	flags uint8
}

const never = math.MaxInt64

// neighbours link a resident into a list of slot numbers; 0 ends it.
type neighbours struct{ prev, next uint32 }

const slotChunkBits = 10

// slotChunk holds no pointers, so that the garbage collector has nothing to look at here.
type slotChunk struct {
	hash  [1 << slotChunkBits]uint32
	queue [1 << slotChunkBits]neighbours // the policy's
	wheel [1 << slotChunkBits]neighbours // expiry's
	state [1 << slotChunkBits]uint8      // the policy's
}

// slots numbers the residents. All of it is guarded by the store's policy lock. Number 0 is never
// given out.
//
// It knows a resident's node only by the hash, through the index. So a Put that
// replaces the node has nothing to do here and needs no policy lock.
type slots struct {
	index  *index
	chunks []*slotChunk
	top    uint32 // numbers below it have been given out
	free   uint32 // head of the free list, linked by queue.next
}

const slotMask = 1<<slotChunkBits - 1

// node returns the current node of a resident, which is in the index.
func (s *slots) node(id uint32) *node {
	return s.index.resident(s.chunks[id>>slotChunkBits].hash[id&slotMask], id)
}

func (s *slots) hash(id uint32) uint32       { return s.chunks[id>>slotChunkBits].hash[id&slotMask] }
func (s *slots) queue(id uint32) *neighbours { return &s.chunks[id>>slotChunkBits].queue[id&slotMask] }
func (s *slots) wheel(id uint32) *neighbours { return &s.chunks[id>>slotChunkBits].wheel[id&slotMask] }

// state is a byte per slot for the policy's use; alloc sets it to 0.
func (s *slots) state(id uint32) *uint8 { return &s.chunks[id>>slotChunkBits].state[id&slotMask] }

// alloc gives n a number.
func (s *slots) alloc(n *node) uint32 {
	id := s.free
	if id != 0 {
		s.free = s.queue(id).next
	} else {
		s.top = max(s.top, 1)
		id = s.top
		s.top++
		if int(id>>slotChunkBits) == len(s.chunks) {
			s.chunks = append(s.chunks, new(slotChunk))
		}
	}
	*s.queue(id), *s.wheel(id), *s.state(id) = neighbours{}, neighbours{}, 0
	s.chunks[id>>slotChunkBits].hash[id&slotMask] = n.hash
	n.slot = id
	return id
}

// release takes the number back.
func (s *slots) release(id uint32) {
	*s.queue(id) = neighbours{next: s.free}
	s.free = id
}

// A list is a doubly linked list of slot numbers through their queue links.
type list struct {
	head, tail uint32 // head = newest
	len        int
	bytes      int64
}

func (l *list) pushHead(s *slots, id uint32) {
	*s.queue(id) = neighbours{next: l.head}
	if l.head != 0 {
		s.queue(l.head).prev = id
	} else {
		l.tail = id
	}
	l.head = id
	l.len++
	l.bytes += int64(s.node(id).size)
}

func (l *list) pushTail(s *slots, id uint32) {
	*s.queue(id) = neighbours{prev: l.tail}
	if l.tail != 0 {
		s.queue(l.tail).next = id
	} else {
		l.head = id
	}
	l.tail = id
	l.len++
	l.bytes += int64(s.node(id).size)
}

func (l *list) remove(s *slots, id uint32) {
	q := s.queue(id)
	if q.prev != 0 {
		s.queue(q.prev).next = q.next
	} else {
		l.head = q.next
	}
	if q.next != 0 {
		s.queue(q.next).prev = q.prev
	} else {
		l.tail = q.prev
	}
	*q = neighbours{}
	l.len--
	l.bytes -= int64(s.node(id).size)
}

// A policy orders the residents for eviction. Every method but hit is called
// under the store's policy lock; the size and cost of a resident change only
// between remove and add.
type policy interface {
	// add takes in a resident that is new.
	add(id uint32)
	// readd takes a resident back whose node was replaced by one of another size or cost, in the
	// place that a use of it would give it; remove was called before.
	readd(id uint32)
	// remove forgets a resident that was deleted, has expired or is about to be taken back.
	remove(id uint32)
	// reset forgets all residents; what it knows of keys that are not resident may stay.
	reset()
	// evict chooses the resident that leaves, forgets it and returns its
	// number; 0 if there is none. It never chooses the entry added last
	// unless that is alone, so that the next Get sees a Put.
	evict() uint32
	// resize tells the bounds, at the start and when they change; 0 = unbounded.
	resize(maxBytes int64, maxEntries int)
	// rank says which residents should be kept longest, for a snapshot: those of the greatest rank.
	// Its low byte is how popular they are, for restore. The resident may have left.
	rank(n *node) uint64
	// restore takes in a resident that comes from a snapshot of so many, after those of greater rank.
	// Everybody whom add takes in was used later.
	restore(id uint32, uses uint8, of int)
	// bytes is what the policy itself holds in memory beyond slots and nodes.
	bytes() int64
}
