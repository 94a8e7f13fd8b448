package covey

// write.go is the one way by which entries change: every Put, Delete, Expire and finished load comes through here.

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unsafe"
)

// A write is one change of one key.
type write[V any] struct {
	key    string
	hash   uint32
	e      *entry[V]  // to store; nil = remove what is there
	f      *flight[V] // the flight whose result this is; nil = a caller's write
	expire bool       // do not store but end the freshness of what is there
	same   bool       // e has the value of what is there: the load returned ErrUnchanged
	drop   bool       // remove what is there because another peer says so

	gen     uint32   // in a group: the generation under which the caller has found that it is the owner
	writing *writing // in a group: the other peers have been asked

	version   uint64 // refuse if a higher one is known, or this one and f is nil
	versioned bool

	// Results.
	err    error
	landed bool // f was ended by this write
	old    *node
	stored bool
	grown  bool // a tombstone has taken memory
}

// write carries out w in the critical section of its key. Most writes need the segment's lock
// only. Those that change what the policy knows begin again with the policy lock held, too.
func (c *Cache[V]) write(w *write[V]) {
	s := c.store
	g := s.index.segment(w.hash)
	g.mu.Lock()
	done := c.apply(g, w, false)
	g.mu.Unlock()
	more := w.grown
	if !done {
		s.mu.Lock()
		g.mu.Lock()
		c.apply(g, w, true)
		g.mu.Unlock()
		var gone []departure
		gone, more = s.trim(nil)
		s.mu.Unlock()
		c.departed(gone)
	}
	for more {
		more = c.trim()
	}
	keeps := w.stored && (w.expire || w.same)
	if w.old != nil && !keeps && c.opt.Events.Removed != nil {
		cause := CauseReplaced
		if !w.stored {
			cause = CauseDeleted
		}
		c.departed([]departure{{w.old, cause}})
	}
}

// trim brings the store within its bounds, a batch at a time.
func (c *Cache[V]) trim() (more bool) {
	c.store.mu.Lock()
	gone, more := c.store.trim(nil)
	c.store.mu.Unlock()
	c.departed(gone)
	return more
}

// departed calls Events.Removed. No lock is held.
func (c *Cache[V]) departed(gone []departure) {
	if c.opt.Events.Removed == nil {
		return
	}
	for len(gone) > 0 {
		var d departure
		err := guard("Events.Removed", func() error { // one guard for all of them, unless some panic
			for len(gone) > 0 {
				d, gone = gone[0], gone[1:]
				if d.node.flags&flagNegative == 0 {
					c.opt.Events.Removed(Removal[V]{Key: d.node.key, Value: entryOf[V](d.node).value, Cause: d.cause})
				}
			}
			return nil
		})
		if err != nil {
			c.log.warn(eventFailed, "Removed", "key", d.node.key, "err", err)
		}
	}
}

// apply does the write. It returns false if it needs the policy lock, which is held only if structural
// is true. The segment is locked.
func (c *Cache[V]) apply(g *segment, w *write[V], structural bool) (done bool) {
	s := c.store
	if f := w.f; f != nil {
		switch {
		case f.finished:
			c.n.discarded.Add(1)
			return true
		case !f.linked || f.gen != s.gen.Load():
			c.n.discarded.Add(1)
			c.end(f)
			w.landed = true
			return true
		}
	} else if c.closed.Load() {
		w.err = c.errClosed()
		return true
	}
	gen := s.gen.Load()
	switch {
	case w.f != nil:
		gen = w.f.gen
		if w.f.noStore {
			w.e = nil
		}
	case c.peering == nil || w.drop:
	case gen != w.gen:
		w.err = errElsewhere
		return true
	case w.writing == nil && (c.peering.group.strange.Load() != nil || c.keyed(w.hash).writing[w.key] != nil || c.keyed(w.hash).lent(w.key)):
		w.err = errDisputed
		return true
	case w.writing != nil && w.writing.disputed:
		w.e = nil
	}
	old, place := g.locate(w.hash, w.key, s.index.shift)
	if old != nil && old.flags&flagBorrowed != 0 { // from when the key was another peer's
		c.removeCopy(g, old)
		old, place = nil, nil
	}
	known, hasKnown := c.knownVersion(w, old)
	if w.versioned && hasKnown && w.version < known {
		w.err = fmt.Errorf("%w: cache %q, key %q: %d, the cache has seen %d", ErrOutdated, c.name, w.key, w.version, known)
		c.n.discarded.Add(1)
		if w.f != nil {
			c.end(w.f)
			w.landed = true
		}
		return true
	}
	if w.f == nil {
		// By a write that changes nothing, too: what is being loaded may be older than its version.
		c.unlink(w.key, w.hash)
		isKnown := w.versioned && hasKnown && w.version == known
		if isKnown && (old == nil || old.flags&flagVersioned != 0) {
			return true
		}
	}
	if w.expire {
		w.e = nil // what the first look made may be of an entry that has left since
		if old != nil && c.current(old) {
			w.e = c.expired(old)
		}
	}
	e := w.e
	if e != nil {
		if w.versioned {
			known, hasKnown = w.version, true
		}
		// A Put without a version is newer than what was known before it. What was loaded without one may be older.
		if hasKnown && (w.versioned || w.f == nil && !w.expire) {
			e.version = known
			e.flags |= flagVersioned
		}
		e.gen.Store(gen)
		switch { // the key's memory may be the caller's, and used for something else once the call has returned
		case old != nil:
			e.key = old.key
		case w.f == nil && structural:
			e.key = strings.Clone(e.key)
		}
	}
	switch {
	case e == nil && old == nil:
	case e != nil && old != nil && s.canSwap(old, &e.node):
		s.swap(place, old, &e.node)
	case !structural:
		return false
	case e == nil:
		s.remove(g, old)
	case old == nil:
		s.insert(g, &e.node)
	default:
		s.replace(place, old, &e.node)
	}
	w.old, w.stored = old, e != nil
	c.remember(w, known, hasKnown)
	if w.f != nil {
		c.end(w.f)
		w.landed = true
	}
	return true
}

// knownVersion returns the highest version of the key that the cache has seen and not forgotten.
func (c *Cache[V]) knownVersion(w *write[V], old *node) (version uint64, ok bool) {
	if old != nil && old.flags&flagVersioned != 0 && c.current(old) {
		return old.version, true
	}
	return c.store.tombs.known(w.key)
}

// remember keeps the version of a key whose entry the write removed, or replaced by one without a version.
func (c *Cache[V]) remember(w *write[V], known uint64, hasKnown bool) {
	t := &c.store.tombs
	if w.e != nil && w.e.flags&flagVersioned != 0 {
		t.drop(w.key)
		return
	}
	if w.versioned {
		known, hasKnown = w.version, true
	}
	if !hasKnown {
		return
	}
	if w.e != nil { // what is loaded does not make it remembered for longer
		if _, remembered := t.known(w.key); remembered {
			return
		}
	}
	w.grown = t.remember(w.key, known)
}

// measure returns what Options.Size says of a value; less than 0 if it panics. Its Goexit ends the goroutine of a caller, but
// not one of Covey's.
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

// newEntry makes the entry of a value whose load ran from begin to end; nil if
// it is too large to be stored. For a Put begin and end are the same.
func (c *Cache[V]) newEntry(key string, hash uint32, v V, size int, begin, end int64, meta loadMeta) *entry[V] {
	if size < 0 || int64(size) > c.maxValue.Load() {
		return nil
	}
	total := c.baseSize + sizeClass(int64(len(key))) + int64(size)
	if c.maxBytes.Load() > 0 && total > c.maxBytes.Load() {
		return nil
	}
	e := &entry[V]{value: v}
	c.seal(&e.value) // after its size was taken: the spare capacity is kept in memory
	c.stamp(&e.node, key, hash, total, begin, end)
	e.expires = c.boundApart(c.expiry(end, hash, c.opt.TTL, meta), end)
	e.cost = costClass(time.Duration(end - begin))
	e.guard = c.guardOf(&e.node, end)
	return e
}

// newNegative makes the entry that stands for ErrNotFound.
// It is remembered for ttl; nil if that is nothing.
func (c *Cache[V]) newNegative(key string, hash uint32, begin, end int64, ttl time.Duration) *entry[V] {
	if ttl <= 0 {
		return nil
	}
	e := new(entry[V])
	c.stamp(&e.node, key, hash, c.baseSize+sizeClass(int64(len(key))), begin, end)
	e.expires = never
	if ttl != Forever {
		e.expires = end + int64(min(ttl, maxTTL))
	}
	e.expires = c.boundApart(e.expires, end)
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
	e.key, e.hash, e.born, e.size, e.version, e.cost = n.key, n.hash, n.born, n.size, n.version, n.cost
	e.flags, e.guard = n.flags, guardAlways
	e.used.Store(n.used.Load())
	e.expires = min(n.expires, c.store.clock.now())
	return e
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

// seal takes a slice's spare capacity away. Two callers who append to the value that they share would write to the same memory.
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
