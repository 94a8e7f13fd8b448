package covey

// conditional.go has the conditions under which a write is carried out. They are checked in the
// critical section in which it takes effect, so nothing comes in between.

import (
	"fmt"

	"github.com/coveycache/covey/internal/wire"
)

// IfAbsent makes a Put fail with [ErrConflict], and change nothing, if the cache has a value of the
// key that is fresh. What was evicted, has expired or was never loaded counts as absent, and so does
// a remembered [ErrNotFound]: of two such Puts one may succeed after the other, so this proves no
// uniqueness. What is said about conditional writes at [Cache.Update] holds here, too.
func IfAbsent() PutOption { return PutOption{ifAbsent: true} }

// IfVersion makes a Put fail with [ErrConflict], and change nothing, unless the cache has a value of
// the key that is fresh and has version n, as [Entry] shows it: 0 is that of a value without one. The
// version stays unless [WithVersion] sets a higher one; with the same one or a lower the Put fails
// with [ErrOutdated]. What is said about conditional writes at [Cache.Update] holds here, too.
func IfVersion(n uint64) PutOption { return PutOption{ifVersion: n, hasIfVersion: true} }

// DeleteIfVersion makes a Delete fail with [ErrConflict], and change nothing, unless the cache has a
// value of the key that is fresh and has version n, as [Entry] shows it: 0 is that of a value without
// one. Unlike other Deletes it is not tried again after [ErrUnconfirmed]. With [DeletedAt] the version
// has to be higher than n. What is said about conditional writes at [Cache.Update] holds here, too.
func DeleteIfVersion(n uint64) DeleteOption { return DeleteOption{ifVersion: n, hasIfVersion: true} }

// A condition is what has to be so for a write to be carried out. The zero value is always so.
type condition struct {
	absent     bool   // there is no value, or one that is not fresh; otherwise, with a stamp or a node, there is one that is
	hasVersion bool   // there is a value with this version
	version    uint64 //
	stamp      uint64 // what is there has this stamp, whatever it is
	byNode     bool   // what is there is this node, or nothing
	node       *node  //
	keep       bool   // not a condition: the value that is replaced hands its end on
}

// An update is what a change has if it depends on what is there.
type update[V any] struct {
	condition
	show bool // the caller wants to know what is there if the condition does not hold

	delta     uint64 // of an Incr, in two's complement
	ifPresent bool   // of an Incr: there has to be a number

	// Results.
	sum   uint64  // of an Incr
	made  uint64  // stamp of what has been stored
	found seen[V] // what is there, if the condition does not hold and show is set
}

// A seen is what was there when somebody looked. It is all that an Update goes by.
type seen[V any] struct {
	value V
	ok    bool   // there is a fresh value
	stamp uint64 // of the entry, if there is one and the cache is in a group
	node  *node  // the entry, if the cache is alone
}

// conditionOf returns the condition that what was seen is there still.
func (c *Cache[V]) conditionOf(s *seen[V]) condition {
	return condition{absent: !s.ok, stamp: s.stamp, byNode: c.peering == nil, node: s.node}
}

// see returns what n, an entry of this cache or nil, is at a time.
func (c *Cache[V]) see(n *node, now int64) (s seen[V]) {
	if n == nil || n.flags&flagBorrowed != 0 || !c.current(n) {
		return s
	}
	if s.ok = c.isPresent(n, now); s.ok {
		s.value = entryOf[V](n).value
	}
	if c.peering == nil {
		s.node = n
	} else {
		s.stamp = n.stamp
	}
	return s
}

// isPresent reports whether n has a value that is fresh. It does not ask whether this process acts:
// whoever writes has made sure of that.
func (c *Cache[V]) isPresent(n *node, now int64) bool {
	return n != nil && n.flags&(flagNegative|flagBorrowed) == 0 && now < n.expires && c.current(n) &&
		(c.store.idleFor == 0 || now < c.store.deadline(n))
}

// needsValue reports whether there has to be a value that is fresh.
func (w *condition) needsValue() bool { return w.hasVersion || !w.absent && (w.stamp != 0 || w.byNode) }

// holds reports whether the condition does, if old is there. The segment is locked.
func (s *shard[V]) holds(w *condition, old *node) bool {
	there := s.c.isPresent(old, s.c.store.clock.now())
	switch {
	case w.absent && there:
		return false
	case w.hasVersion && !(there && old.version == w.version):
		return false
	case w.stamp != 0 && !(there != w.absent && old != nil && s.c.current(old) && old.stamp == w.stamp):
		return false
	case w.byNode && !(there != w.absent && (old == w.node || !there)):
		return false
	}
	return true
}

// refuses reports whether a write that has to wait would fail if it were its turn now. To say so is
// as to answer a Get: only a process that acts may.
func (s *shard[V]) refuses(w *write[V]) bool {
	p := s.c.peering
	if w.cond == nil || !p.acts(p.tenures.view(), ringHash(w.key)) {
		return false
	}
	old, _ := s.locate(w.hash, w.key, s.c.store.index.shift)
	if s.holds(w.cond, old) {
		return false
	}
	w.found = old
	return true
}

func (c *Cache[V]) errConflict(key string) error {
	return fmt.Errorf("%w: cache %q, key %q", ErrConflict, c.name, key)
}

// updateOfPut returns what conditions make of a Put; nil if there are none.
func (c *Cache[V]) updateOfPut(o *PutOption) (*update[V], error) {
	switch {
	case o.ifAbsent && o.hasIfVersion:
		return nil, fmt.Errorf("covey: cache %q: IfAbsent and IfVersion exclude each other", c.name)
	case o.ifAbsent:
		return &update[V]{condition: condition{absent: true}}, nil
	case o.hasIfVersion:
		return &update[V]{condition: condition{hasVersion: true, version: o.ifVersion}}, nil
	}
	return nil, nil
}

// isOnce reports whether a change must not be made twice, nor by a caller who has gone.
func (ch *change[V]) isOnce() bool { return ch.kind == wire.Put || ch.up != nil }
