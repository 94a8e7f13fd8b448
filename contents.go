package covey

// contents.go looks at what this process has in memory. Nothing here asks a peer or counts as a
// use, and nothing is loaded.

import "iter"

// Peek returns what this process has for key, a copy of another peer's key included; ok is false if
// it has nothing. It neither counts in Stats nor as a use: it does not extend Options.IdleTTL, and
// the eviction does not see it. Otherwise it is like
// [Cache.Lookup]. An invalid key and a closed cache have nothing.
func (c *Cache[V]) Peek(key string) (e Entry[V], ok bool) {
	n := c.store.index.find(c.store.hash(key), key)
	now := c.store.clock.now()
	st := c.judge(n, now)
	if st == gone {
		return e, false
	}
	return c.describe(n, st, now), st != negative
}

// Contains reports whether this process has a fresh value of key, as [Cache.Peek] sees it.
func (c *Cache[V]) Contains(key string) bool {
	e, ok := c.Peek(key)
	return ok && !e.Stale
}

// Keys returns an iterator over the keys of the entries that [Cache.All] shows.
func (c *Cache[V]) Keys() iter.Seq[string] {
	return func(yield func(string) bool) {
		for key := range c.All() {
			if !yield(key) {
				return
			}
		}
	}
}

// Len returns the number of entries in this process's memory: copies of other peers' keys,
// remembered not-founds and what is stale but not yet removed are included.
func (c *Cache[V]) Len() int { return int(c.store.entries.Load() + c.copies.count.Load()) }
