package covey

// clear.go empties a cache, in a time that does not depend on how much it has.

import (
	"context"
)

// Clear removes everything. A call that starts after Clear has returned nil finds nothing from
// before it, and a load that began before it is not stored. In a group it clears the cache at every
// member. If some cannot be asked it tries again until ctx ends, for GroupOptions.OpTimeout at
// most. Then it returns an [*UnconfirmedError], which has them, and goes on trying until it has
// been done or the cache is closed; that removes nothing that was stored after Clear was called.
//
// It takes no longer the more there is, and the bounds have room at once: the memory is the garbage
// collector's. Events.Removed is called for what was there in the background, and Close waits for
// that as for any function of Events.
func (c *Cache[V]) Clear(ctx context.Context) error {
	if c.closed.Load() {
		return c.errClosed()
	}
	if c.peering == nil {
		c.clearHere(0)
		return nil
	}
	return c.peering.clearEverywhere(ctx, "")
}

// clearHere clears this process's part. In a group the Clear has a number.
func (c *Cache[V]) clearHere(number uint64) {
	c.nextGeneration(number) // from here on no hit serves what is there now
	c.lately.cleared.Store(c.store.clock.now())
	c.journal.add(Event{Kind: EventInvalidated, Cache: c.name})
	if c.peering != nil {
		c.peering.trust.cleared()
	}
	c.store.tombs.clear()
	for i := range c.shards {
		s := c.lockAt(i)
		for key := range s.flights {
			s.unlink(key)
		}
		clear(s.throttled)
		s.wrote = nil // what is still to be restored is from before
		s.unlock()
	}
	c.aside.clear()
	c.store.mu.Lock()
	var dropped []*table
	if !c.store.closed {
		dropped = c.drop()
		c.store.reset()
	}
	c.store.mu.Unlock()
	c.verify()
	if c.opt.Events.Removed == nil || dropped == nil {
		return
	}
	if tell := func() { c.departedIn(dropped, CauseDeleted) }; !c.spawn(tell) {
		tell()
	}
}

// drop takes everything out of the index without looking at it, and returns the tables that have
// had it, by shard; nil: there was nothing. What else knows of the entries has to be reset. The policy lock is held.
//
// Copies are in the index and in a ring of their own. As a copy comes under its segment's lock and
// goes under it, all of these are held.
func (c *Cache[V]) drop() (dropped []*table) {
	for i := range c.shards {
		s := c.lockAt(i)
		if t := s.table.Swap(nil); t != nil {
			if dropped == nil {
				dropped = make([]*table, len(c.shards))
			}
			dropped[i] = t
		}
		s.count = 0
	}
	c.copies.drop()
	c.store.bytes.Store(0)
	c.store.entries.Store(0)
	for i := range c.shards {
		c.shards[i].unlock()
	}
	return dropped
}

// drop forgets all copies, which are no longer in the index. None of them is found in the ring any
// more, whatever place it has.
func (l *copies) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring = nil
	l.bytes.Store(0)
	l.count.Store(0)
}

// departedIn calls Events.Removed for what tables have had that are no longer in use.
func (c *Cache[V]) departedIn(dropped []*table, cause Cause) {
	var gone []departure
	for _, t := range dropped {
		for n := range t.all {
			if n.flags&flagBorrowed != 0 {
				continue
			}
			if gone = append(gone, departure{n, cause}); len(gone) == batch {
				c.departed(gone)
				gone = gone[:0]
			}
		}
	}
	c.departed(gone)
}
