package covey

// clear.go empties a cache.

import (
	"context"
)

// Clear removes everything. A call that starts after Clear has returned nil finds nothing from
// before it, and a load that began before it is not stored. In a group it clears the cache at every
// member. If some could not be asked it returns an [*UnconfirmedError], which has them; they are
// told to clear it as soon as they can be reached.
func (c *Cache[V]) Clear(ctx context.Context) error {
	if c.closed.Load() {
		return c.errClosed()
	}
	if c.peering == nil {
		c.clearHere()
		return nil
	}
	return c.peering.clearEverywhere(ctx)
}

func (c *Cache[V]) clearHere() {
	c.nextGeneration() // from here on no hit serves what is there now
	c.store.tombs.clear()
	for i := range c.shards {
		s := c.lockAt(i)
		for key := range s.flights {
			s.unlink(key)
		}
		clear(s.throttled)
		s.unlock()
		c.removeInvalid(i)
	}
}
