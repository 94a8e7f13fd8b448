package covey

// index.go is the hash table that a hit reads without a lock.

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// An index maps keys to nodes. It is cut into segments by the hash's top bits;
// each has a mutex for its writers and a table that readers walk without one.
//
// A table is an array of buckets of one cache line: seven node pointers and a
// word with a byte for each that holds seven bits of its key's hash, so that a
// lookup touches one line of the index and then, nearly always, only the node
// it looks for. A key that finds its bucket full goes to the next one; the
// word's eighth byte counts those that passed by, which tells a lookup where to stop.
// Nodes never move within a table, a table that is too full is replaced by a bigger
// one, and a reader that still walks the old one reads what was true when it began.
type index struct {
	segments []segment
	shift    uint8 // hash >> shift is the segment
}

type segment struct {
	// mu makes a critical section of every key of the segment: for the table,
	// and for the flights and whatever else the cache keeps by segment.
	mu    sync.Mutex
	table atomic.Pointer[table]
	count int
	_     [64 - 8 - 8 - 8]byte
}

type table struct {
	buckets []bucket
}

const (
	bucketNodes = 7
	lowBytes    = 0x0001010101010101 // one in each of the bytes that hold tags
	passedOne   = 1 << 56            // one in the byte that counts
)

type bucket struct {
	meta atomic.Uint64
	node [bucketNodes]atomic.Pointer[node]
}

func newIndex(segmentBits uint8) index {
	return index{segments: make([]segment, 1<<segmentBits), shift: 32 - segmentBits}
}

func (x *index) segment(hash uint32) *segment {
	return &x.segments[uint64(hash)>>x.shift]
}

// tag is never 0, which marks a free place.
func tag(hash uint32) uint64 { return uint64(hash&0x7f | 0x80) }

// home maps the hash, less the bits that chose the segment, to a bucket.
func (t *table) home(hash uint32, shift uint8) int {
	return int(uint64(hash<<(32-shift)) * uint64(len(t.buckets)) >> 32)
}

// matches has the top bit of a byte set if that place may hold the tag; it may
// report too many, never too few.
func matches(meta, tag uint64) uint64 {
	x := meta ^ tag*lowBytes
	return (x - lowBytes) &^ x & (lowBytes << 7)
}

// find returns the node of key, nil if there is none.
func (x *index) find(hash uint32, key string) *node {
	t := x.segment(hash).table.Load()
	if t == nil {
		return nil
	}
	i := t.home(hash, x.shift)
	for range t.buckets { // a small table may have nowhere to stop
		b := &t.buckets[i]
		meta := b.meta.Load()
		for m := matches(meta, tag(hash)); m != 0; m &= m - 1 {
			n := b.node[bits.TrailingZeros64(m)>>3].Load()
			if n != nil && n.hash == hash && n.key == key {
				return n
			}
		}
		if meta < passedOne {
			return nil
		}
		if i++; i == len(t.buckets) {
			i = 0
		}
	}
	return nil
}

// resident returns the node of the resident with that hash and slot number, which is there.
func (x *index) resident(hash, slot uint32) *node {
	if n := x.segment(hash).table.Load().resident(hash, slot, x.shift); n != nil {
		return n
	}
	panic("covey: a resident is not in the index")
}

// resident returns the node with that hash and slot number, nil if there is none.
func (t *table) resident(hash, slot uint32, shift uint8) *node {
	if t == nil {
		return nil
	}
	i := t.home(hash, shift)
	for range t.buckets {
		b := &t.buckets[i]
		for m := matches(b.meta.Load(), tag(hash)); m != 0; m &= m - 1 {
			n := b.node[bits.TrailingZeros64(m)>>3].Load()
			if n != nil && n.slot == slot {
				return n
			}
		}
		if i++; i == len(t.buckets) {
			i = 0
		}
	}
	return nil
}

// locate returns key's node and the place that holds it, nil if there is none. The segment is
// locked.
func (s *segment) locate(hash uint32, key string, shift uint8) (*node, *atomic.Pointer[node]) {
	t := s.table.Load()
	if t == nil {
		return nil, nil
	}
	i := t.home(hash, shift)
	for range t.buckets {
		b := &t.buckets[i]
		meta := b.meta.Load()
		for m := matches(meta, tag(hash)); m != 0; m &= m - 1 {
			at := &b.node[bits.TrailingZeros64(m)>>3]
			if n := at.Load(); n.hash == hash && n.key == key {
				return n, at
			}
		}
		if meta < passedOne {
			return nil, nil
		}
		if i++; i == len(t.buckets) {
			i = 0
		}
	}
	return nil, nil
}

// insert adds a node whose key is not there. The segment is locked.
func (s *segment) insert(n *node, shift uint8) {
	t := s.table.Load()
	if t == nil || s.count >= len(t.buckets)*bucketNodes*4/5 {
		t = t.grown(shift)
		s.table.Store(t)
	}
	s.count++
	t.insert(n, shift)
}

func (t *table) insert(n *node, shift uint8) {
	for i := t.home(n.hash, shift); ; i = (i + 1) % len(t.buckets) {
		b := &t.buckets[i]
		meta := b.meta.Load()
		if free := (^meta) & (lowBytes << 7); free != 0 {
			at := bits.TrailingZeros64(free) >> 3
			b.node[at].Store(n)
			b.meta.Store(meta | tag(n.hash)<<(8*at))
			return
		}
		if meta < 0xff*passedOne { // a saturated count stays: lookups walk on, growth mends it
			b.meta.Store(meta + passedOne)
		}
	}
}

// remove takes out n, which is there. The segment is locked.
func (s *segment) remove(n *node, shift uint8) {
	s.count--
	t := s.table.Load()
	for i := t.home(n.hash, shift); ; i = (i + 1) % len(t.buckets) {
		b := &t.buckets[i]
		meta := b.meta.Load()
		for m := matches(meta, tag(n.hash)); m != 0; m &= m - 1 {
			if at := bits.TrailingZeros64(m) >> 3; b.node[at].Load() == n {
				b.meta.Store(meta &^ (0xff << (8 * at)))
				b.node[at].Store(nil)
				return
			}
		}
		if meta < 0xff*passedOne {
			b.meta.Store(meta - passedOne)
		}
	}
}

// grown returns a table half as big again with the same nodes. Growth by less than
// double keeps the index near full: 11 to 15 bytes for each node.
func (t *table) grown(shift uint8) *table {
	if t == nil {
		return &table{buckets: make([]bucket, 1)}
	}
	bigger := &table{buckets: make([]bucket, len(t.buckets)+len(t.buckets)/2+1)}
	for n := range t.all {
		bigger.insert(n, shift)
	}
	return bigger
}

// all yields the nodes of the table.
func (t *table) all(yield func(*node) bool) {
	if t == nil {
		return
	}
	for i := range t.buckets {
		for j := range t.buckets[i].node {
			if n := t.buckets[i].node[j].Load(); n != nil && !yield(n) {
				return
			}
		}
	}
}
