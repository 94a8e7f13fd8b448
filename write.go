package covey

// write.go is the one way by which entries change: every Put, Delete, Expire and finished load
// comes through here.

import (
	"errors"
	"fmt"
	"strings"

	"github.com/coveycache/covey/internal/wire"
)

// A write is one change of one key.
type write[V any] struct {
	key    string
	hash   uint32
	e      *entry[V]  // to store; nil = remove what is there
	f      *flight[V] // the flight whose result this is; nil = a caller's write
	expire bool       // do not store but end the freshness of what is there
	same   bool       // e has the value of what is there: the load returned ErrUnchanged
	drop   bool       // remove what is there, whoever owns the key
	taken  bool       // e is not new: another process has had it
	sent   uint64     // another custodian of the key has sent e, at that stamp
	label  uint64     // with sent: see clears

	gen     uint32   // in a group: the generation under which the caller has found that it is the owner
	writing *writing // in a group: it is the write's turn, and nothing is lent
	asOf    int64    // what is there stays if it is not from before that; 0: it goes in any case

	version   uint64 // refuse if a higher one is known, or this one and f is nil
	versioned bool
	cond      *condition // nil: none

	// Results.
	err    error
	landed bool  // f was ended by this write
	found  *node // what does not meet cond
	old    *node
	stored bool
	grown  bool // a tombstone has taken memory
}

// write carries out w in the critical section of its key. Most writes need the segment's lock
// only. Those that change what the policy knows begin again with the policy lock held, too.
func (c *Cache[V]) write(w *write[V]) { c.departed(c.writeQuietly(w)) }

// writeQuietly is write without the calls of Events.Removed, which the caller has to see to.
func (c *Cache[V]) writeQuietly(w *write[V]) (gone []departure) {
	s := c.lock(w.hash)
	done := s.apply(w, false)
	s.unlock()
	more := w.grown
	if !done {
		c.store.mu.Lock()
		s.mu.Lock()
		s.apply(w, true)
		s.unlock()
		gone, more = c.store.trim(nil)
		c.store.mu.Unlock()
	}
	for more {
		c.store.mu.Lock()
		gone, more = c.store.trim(gone)
		c.store.mu.Unlock()
	}
	if w.f != nil && w.stored && c.peering != nil {
		c.peering.replicate(w.key)
	}
	keeps := w.stored && (w.expire || w.same)
	if w.old != nil && !keeps && c.opt.Events.Removed != nil {
		cause := CauseReplaced
		if !w.stored {
			cause = CauseDeleted
		}
		gone = append(gone, departure{w.old, cause})
	}
	c.verify()
	return gone
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

// apply does the write. It returns false if it needs the policy lock, which is held only if
// structural is true; nothing has changed then but that a flight has been unlinked, and it begins
// again. All of it is one critical section of the key, so nobody sees a part.
func (s *shard[V]) apply(w *write[V], structural bool) (done bool) {
	s.assertLocked()
	store := s.c.store
	// 1. The result of a load counts only if its flight is still linked: a write that came first has unlinked it.
	if f := w.f; f != nil {
		switch {
		case f.finished:
			s.c.n.discard(tooLate)
			return true
		case !f.linked || f.gen != store.gen.Load():
			s.c.n.discard(f.obsolete(store.gen.Load()))
			s.end(f)
			w.landed = true
			return true
		}
	} else if s.c.closed.Load() {
		w.err = s.c.errClosed()
		return true
	}
	s.hasWritten(w.key, w.hash)
	// 2. The group's rules. A load goes by the generation under which it began: were it stored under a later one, a Clear or a
	// change of the view that came in between would not have seen it.
	gen := store.gen.Load()
	switch {
	case w.f != nil:
		gen = w.f.gen
		if w.f.noStore || s.c.peering != nil && !s.c.peering.group.isActing() {
			if w.e != nil {
				s.c.n.discard(notHere)
			}
			w.e = nil
		}
	case w.sent != 0:
		if w.err = s.mayHold(w); w.err != nil {
			return true
		}
	case s.c.peering != nil && !w.drop:
		if w.err = s.mayWrite(w); w.err != nil {
			if w.cond != nil && w.err == errBusy && s.refuses(w) {
				w.err = s.c.errConflict(w.key)
			}
			return true
		}
	}
	if s.c.peering != nil && w.sent == 0 && !w.drop && !w.taken {
		s.c.peering.trust.note(w.key)
	}
	// 3. What is there. A copy belongs to another peer's key, so it is nothing to compare versions with.
	old, place := s.locate(w.hash, w.key, store.index.shift)
	if old != nil && old.flags&flagBorrowed != 0 { // from when the key was another peer's
		s.removeCopy(old)
		old, place = nil, nil
	}
	// 4. The condition, and versions. Refusing comes before unlinking: an outdated write does not void a load.
	if w.cond != nil && !s.holds(w.cond, old) {
		w.err, w.found = s.c.errConflict(w.key), old
		return true
	}
	known, hasKnown := s.knownVersion(w, old)
	if w.versioned && hasKnown && (w.version < known || w.cond != nil && w.version == known) {
		w.err = fmt.Errorf("%w: cache %q, key %q: %d, the cache has seen %d", ErrOutdated, s.c.name, w.key, w.version, known)
		if w.f != nil {
			s.c.n.discard(byVersion)
			s.end(w.f)
			w.landed = true
		} else if w.sent == 0 {
			s.c.n.outdated.Add(1)
		}
		return true
	}
	// 5. A caller's write voids the load under way, which may have read the origin before it. So does a write that changes
	// nothing: what is being loaded may be older than its version.
	if w.f == nil && w.sent == 0 {
		s.unlink(w.key)
		if w.asOf != 0 && old != nil && old.born > w.asOf && s.c.current(old) {
			return true
		}
		isKnown := w.versioned && hasKnown && w.version == known
		if isKnown && (old == nil || old.flags&flagVersioned != 0) {
			return true
		}
	}
	// 6. The entry to store.
	if w.expire {
		w.e = nil // what the first look made may be of an entry that has left since
		if old != nil && s.c.current(old) {
			w.e = s.c.expired(old)
		}
	}
	e := w.e
	if e != nil {
		if w.versioned {
			known, hasKnown = w.version, true
		}
		// A Put without a version is newer than what was known before it. What was loaded without
		// one may be older.
		if hasKnown && (w.versioned || w.f == nil && !w.expire) {
			e.version = known
			e.flags |= flagVersioned
		}
		if w.cond != nil && w.cond.needsValue() { // made of what is there, and so as old as that for a Delete that is tried again
			now := e.born
			e.born = old.born
			if w.cond.keep {
				e.expires = old.expires
			}
			e.guard = s.c.guardOf(&e.node, now)
		}
		e.gen.Store(gen)
		if e.stamp == 0 && s.c.peering != nil {
			e.stamp = s.c.peering.group.stamps.next()
		}
		switch { // the key's memory may be the caller's, and used for something else once the call has returned
		case old != nil:
			e.key = old.key
		case w.f == nil && structural:
			e.key = strings.Clone(e.key)
		}
	}
	// 7. Store, replace or remove. Only now does anybody see the write, and the flight, if any, ends in the same critical section:
	// whoever looks up the key finds either the flight or its result.
	switch {
	case e == nil && old == nil:
	case e != nil && old != nil && store.canSwap(old, &e.node):
		store.swap(place, old, &e.node)
	case !structural:
		return false
	case e == nil:
		store.remove(s.segment, old)
	case old == nil:
		store.insert(s.segment, &e.node)
	default:
		store.replace(place, old, &e.node)
	}
	w.old, w.stored = old, e != nil
	s.remember(w, known, hasKnown)
	if w.f != nil {
		s.end(w.f)
		w.landed = true
	}
	return true
}

// errElsewhere refuses a write because the view has changed since the caller looked up the owner: it
// has to look again.
var errElsewhere = errors.New("covey: the members have changed")

// mayWrite has the group's rules for a caller's write: this process must have owned the key all the
// time since the caller looked and must still act as its owner, and nothing may be lent.
func (s *shard[V]) mayWrite(w *write[V]) error {
	p := s.c.peering
	if s.c.store.gen.Load() != w.gen {
		return errElsewhere
	}
	v, place := p.tenures.view(), ringHash(w.key)
	if !p.mayWrite(v, place) || w.writing == nil && (s.writing[w.key] != nil || s.lent(w.key) || p.isElsewhere(v, place)) {
		return errBusy
	}
	return nil
}

// knownVersion returns the highest version of the key that the cache has seen and not forgotten.
func (s *shard[V]) knownVersion(w *write[V], old *node) (version uint64, ok bool) {
	if old != nil && old.flags&flagVersioned != 0 && s.c.current(old) {
		return old.version, true
	}
	return s.c.store.tombs.known(w.key)
}

// remember keeps the version of a key whose entry the write removed, or replaced by one without a
// version.
func (s *shard[V]) remember(w *write[V], known uint64, hasKnown bool) {
	t := &s.c.store.tombs
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

// removeAll takes out those of the nodes, all of the i-th shard, that are still there.
func (c *Cache[V]) removeAll(i int, nodes []*node) {
	var left []departure
	c.store.mu.Lock()
	s := c.lockAt(i)
	for _, n := range nodes {
		if c.store.index.find(n.hash, n.key) != n {
			continue
		}
		if n.flags&flagBorrowed != 0 {
			s.removeCopy(n)
		} else {
			c.store.remove(s.segment, n)
			left = append(left, departure{n, CauseDeleted})
		}
	}
	s.unlock()
	c.store.mu.Unlock()
	c.departed(left)
}

// A change is a Put, Delete or Expire as the caller gave it.
type change[V any] struct {
	kind     wire.Type
	key      string
	hash     uint32
	value    V    // of a Put
	negative bool // of a Put: there is no value
	foreign  bool // another peer asks for it
	put      PutOption
	del      DeleteOption
	up       *update[V] // what it depends on; nil: on nothing
	began    int64      // when the write was asked for, by the clock's steady, if this is not the first attempt; else 0
	gone     []departure
}

// changeHere carries out a change in this process's own store. gen is the generation under which
// the caller has found that this process is the owner.
func (c *Cache[V]) changeHere(ch *change[V], gen uint32, turn *writing) error {
	if ch.kind == wire.Update {
		return c.addHere(ch, gen, turn)
	}
	w := write[V]{key: ch.key, hash: ch.hash, gen: gen, writing: turn}
	if ch.up != nil {
		w.cond = &ch.up.condition
	}
	if ch.began != 0 && !ch.isOnce() {
		w.asOf = ch.began + c.store.clock.now() - c.store.clock.steady()
	}
	size, tooLarge := 0, false
	switch ch.kind {
	case wire.Put:
		now := c.store.clock.now()
		w.version, w.versioned = ch.put.version, ch.put.hasVersion
		if ch.negative {
			ttl := c.opt.NegativeTTL
			if ch.put.hasTTL {
				ttl = ch.put.ttl
			}
			w.e = c.newNegative(ch.key, ch.hash, now, now, ttl)
			break
		}
		size = c.measure(ch.key, ch.value, !ch.foreign)
		o := outcome[V]{value: ch.value, begin: now, end: now}
		o.meta.ttl, o.meta.hasTTL = ch.put.ttl, ch.put.hasTTL
		w.e = c.newEntry(ch.key, ch.hash, size, o)
		tooLarge = w.e == nil
	case wire.Delete:
		w.version, w.versioned = ch.del.version, ch.del.hasVersion
	case wire.Expire:
		w.expire = true
	}
	if tooLarge && ch.up != nil { // which changes nothing if it fails
		return c.errTooLarge(ch.key, size)
	}
	if err := c.carryOut(ch, &w, turn); err != nil || !tooLarge {
		return err
	}
	return c.errTooLarge(ch.key, size)
}

// carryOut writes what a change has come to.
func (c *Cache[V]) carryOut(ch *change[V], w *write[V], turn *writing) error {
	if gone := c.writeQuietly(w); turn != nil {
		ch.gone = gone // Events.Removed may write the key, too: whose turn it is has to be over
	} else {
		c.departed(gone)
	}
	if w.err == nil {
		c.lately.written.note(ch.hash, ch.kind, c.store.clock.now())
		if turn == nil && ch.kind != wire.Put && ch.kind != wire.Update {
			c.journal.add(Event{Kind: EventInvalidated, Cache: c.name, Key: ch.key})
		}
	}
	if ch.up != nil {
		ch.up.found = seen[V]{}
		if ch.up.show {
			ch.up.found = c.see(w.found, c.store.clock.now())
		}
		if w.stored {
			ch.up.made = w.e.stamp
		}
	}
	return w.err
}

func (c *Cache[V]) errTooLarge(key string, size int) error {
	c.n.tooLarge.Add(1)
	return fmt.Errorf("%w: cache %q, key %q: it has %d bytes, MaxValueBytes is %d, MaxBytes is %d",
		ErrTooLarge, c.name, key, size, c.maxValue.Load(), c.maxBytes.Load())
}
