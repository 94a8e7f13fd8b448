package covey

// shard.go has what belongs to one lock. The keys of a cache are cut into shards by their hashes.

// A shard is the critical section of each of its keys: a segment of the index, with its lock and
// its part of the table, and what the cache keeps for these keys besides their entries. The lock
// lies in the segment, since evictions and the wheel take it, too, which know no V. What needs the
// lock is a method of shard.
type shard[V any] struct {
	*segment
	c *Cache[V]

	flights   map[string]*flight[V]   // linked
	detached  map[*flight[V]]struct{} // unlinked, but somebody still waits
	throttled map[string]struct{}     // keys whose load has just failed
	rights    map[uint64]*flight[V]   // given to other peers, by token
	writing   map[string]*writing     // writes that ask other peers
	loans     map[string]*lending     // copies at other peers
	forget    int64                   // when to look again for loans to forget
	takeBack  int64                   // when to take copies back again to make room for others

	fetches map[string]*fetch[V] // requests for keys that are worth a copy: the first one of each key

	forgotten forgotten           // as owners told this process to
	wrote     map[uint32]struct{} // hashes of what was written since the cache was made; nil: nothing is restored (any more)

	recalled    map[string]int64 // keys of which copies on their way must not be kept, and when they were recalled
	recalledAll int64            // the same for all keys
}

// lock locks the shard of a hash. There is no other way to get a shard, so whoever has one has its
// lock, or has given it back.
func (c *Cache[V]) lock(hash uint32) *shard[V] { return c.lockAt(c.shardOf(hash)) }

// shardOf returns which shard a hash belongs to.
func (c *Cache[V]) shardOf(hash uint32) int { return int(uint64(hash) >> c.store.index.shift) }

// lockAt locks the i-th shard.
func (c *Cache[V]) lockAt(i int) *shard[V] {
	s := &c.shards[i]
	s.mu.Lock()
	return s
}

func (s *shard[V]) unlock() { s.mu.Unlock() }
