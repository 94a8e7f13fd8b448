package covey

// entry.go makes entries: what a cache stores for a key.

import (
	"math"
	"time"
	"unsafe"

	"github.com/coveycache/covey/internal/sizeof"
)

// Flags of a node.
const (
	flagNegative  = 1 << iota // stands for ErrNotFound
	flagVersioned             // version was given by the user
	flagBorrowed              // lent by the key's owner
	flagReplica               // kept for the key's owner; leaves before anything else
	flagUnsure                // of what is kept aside: it was so already when its snapshot was written
)

// An entry is what the cache stores for a key. The node comes first, so that a
// pointer to the one is a pointer to the other.
type entry[V any] struct {
	node
	value V
}

// entryOf returns the entry that n is the head of. Every node in the store of a Cache[V] heads an
// entry[V].
func entryOf[V any](n *node) *entry[V] { return (*entry[V])(unsafe.Pointer(n)) }

// perEntry is what the store itself spends on an entry beyond its own memory:
// its place in the index, its slot and its share of the policy's memory.
const perEntry = 13 + 4 + 16 + 1 + 4

// measure returns what Options.Size says of a value; less than 0 if it panics. Its Goexit ends the
// goroutine of a caller, but not one of Covey's.
func (c *Cache[V]) measure(key string, v V, callers bool) int {
	if !c.userSize {
		return c.opt.Size(key, v)
	}
	sizeOf := c.sizeApart
	if callers { // another goroutine would take longer than the rest of a Put
		sizeOf = c.sizeHere
	}
	size, err := sizeOf(key, v)
	if err != nil {
		c.log.warn("covey: Options.Size failed, the value is not stored", "", "key", key, "err", err)
		return -1
	}
	return size
}

const sizeFunc = "Options.Size"

func (c *Cache[V]) sizeHere(key string, v V) (size int, err error) {
	defer rescue(sizeFunc, &err)
	return c.opt.Size(key, v), nil
}

func (c *Cache[V]) sizeApart(key string, v V) (size int, err error) {
	err = guard(sizeFunc, func() error {
		size = c.opt.Size(key, v)
		return nil
	})
	return size, err
}

// newEntry makes the entry of a loaded value of a size; nil if it is too large to be stored. A Put is
// a load that took no time.
func (c *Cache[V]) newEntry(key string, hash uint32, size int, o outcome[V]) *entry[V] {
	e := c.makeEntry(key, hash, size, o.value, o.begin, o.end)
	if e == nil {
		return nil
	}
	e.expires = c.expiry(o.end, hash, c.opt.TTL, o.meta)
	e.cost = costClass(time.Duration(o.end - o.begin))
	e.guard = c.guardOf(&e.node, o.end)
	return e
}

// makeEntry makes an entry that has no end yet; nil if it is too large to be stored.
func (c *Cache[V]) makeEntry(key string, hash uint32, size int, v V, begin, end int64) *entry[V] {
	if size < 0 || int64(size) > c.maxValue.Load() {
		return nil
	}
	total := c.baseSize + sizeof.Class(int64(len(key))) + int64(size)
	if c.maxBytes.Load() > 0 && total > c.maxBytes.Load() {
		return nil
	}
	e := &entry[V]{value: v}
	c.seal(&e.value) // after its size was taken: the spare capacity is kept in memory
	c.stamp(&e.node, key, hash, total, begin, end)
	return e
}

// newNegative makes the entry that stands for ErrNotFound.
// It is remembered for ttl; nil if that is nothing.
func (c *Cache[V]) newNegative(key string, hash uint32, begin, end int64, ttl time.Duration) *entry[V] {
	if ttl <= 0 {
		return nil
	}
	e := new(entry[V])
	c.stamp(&e.node, key, hash, c.baseSize+sizeof.Class(int64(len(key))), begin, end)
	e.expires = never
	if ttl != Forever {
		e.expires = end + int64(min(ttl, maxTTL))
	}
	e.cost = costClass(time.Duration(end - begin))
	e.flags = flagNegative
	e.guard = guardAlways
	return e
}

func (c *Cache[V]) stamp(n *node, key string, hash uint32, size, begin, end int64) {
	n.key, n.hash, n.born = key, hash, begin
	n.size = uint32(min(size, math.MaxUint32))
	n.used.Store(idleUnits(end))
}

// expired returns a copy of n whose TTL ends now; nil if such an entry could not be
// used any more.
func (c *Cache[V]) expired(n *node) *entry[V] {
	if c.store.staleFor == 0 || n.flags&flagNegative != 0 {
		return nil
	}
	e := &entry[V]{value: entryOf[V](n).value}
	e.copyFrom(n)
	e.flags, e.guard, e.stamp = n.flags&^flagReplica, guardAlways, 0
	e.expires = min(n.expires, c.store.clock.now())
	return e
}

// copyFrom makes n the same as another node that has no place in the store yet.
func (n *node) copyFrom(o *node) {
	n.key, n.hash, n.born, n.size, n.version, n.cost = o.key, o.hash, o.born, o.size, o.version, o.cost
	n.flags, n.guard, n.stamp, n.expires = o.flags, o.guard, o.stamp, o.expires
	n.used.Store(o.used.Load())
	n.gen.Store(o.gen.Load())
}

// expiry returns when a value stored at now stops being fresh. Jitter depends on the
// key alone: what was loaded together still spreads, and a key's deadlines
// keep the order in which its values came, so that the wheel rarely has to be told.
func (c *Cache[V]) expiry(now int64, hash uint32, ttl time.Duration, meta loadMeta) int64 {
	if meta.hasTTL {
		ttl = meta.ttl
	}
	if ttl == 0 || ttl == Forever {
		return never
	}
	ttl = min(ttl, maxTTL)
	share := float64(hash*0x9E3779B1) / (1 << 32)
	return now + max(1, int64(float64(ttl)*(1-c.opt.TTLJitter*share)))
}

// seal takes a slice's spare capacity away. Two callers who append to the value that they share
// would write to the same memory.
func (c *Cache[V]) seal(v *V) {
	if c.isSlice {
		s := (*sliceHeader)(unsafe.Pointer(v))
		s.cap = s.len
	}
}

// A sliceHeader is what a slice of any element type consists of.
type sliceHeader struct {
	array    unsafe.Pointer
	len, cap int
}
