//go:build invariants

package covey

import "fmt"

// assertLocked panics if nobody has the shard's lock.
func (s *shard[V]) assertLocked() {
	if s.mu.TryLock() {
		panic("covey: a shard is used without its lock")
	}
}

// mostVerified bounds how many entries verify walks after each write.
const mostVerified = 1 << 12

// verify panics if what the parts of the cache know of each other differs.
func (c *Cache[V]) verify() {
	if c.store.entries.Load() > mostVerified {
		return
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	if c.store.closed {
		return
	}
	var entries, bytes int64
	for i := range c.shards {
		n, b := c.verifyShard(i)
		entries, bytes = entries+n, bytes+b
	}
	if have := c.store.entries.Load(); have != entries {
		panic(fmt.Sprintf("covey: %d entries are counted, %d are in the index", have, entries))
	}
	if have := c.store.bytes.Load(); have != bytes {
		panic(fmt.Sprintf("covey: %d bytes are accounted, entries have %d", have, bytes))
	}
	if p := c.store.lfu; p != nil && int64(p.len()+c.store.spare.len) != entries {
		panic(fmt.Sprintf("covey: the policy has %d entries, %d are replicas, the index has %d", p.len(), c.store.spare.len, entries))
	}
}

// verifyShard returns the entries of a shard, without copies, and their bytes. Nothing is added or
// removed meanwhile, as that takes the policy lock.
func (c *Cache[V]) verifyShard(i int) (entries, bytes int64) {
	s := c.lockAt(i)
	defer s.unlock()
	count := 0
	for n := range s.table.Load().all {
		count++
		if c.shardOf(n.hash) != i || c.store.hash(n.key) != n.hash {
			panic(fmt.Sprintf("covey: key %q is in the wrong shard", n.key))
		}
		if n.flags&flagBorrowed != 0 {
			continue
		}
		entries, bytes = entries+1, bytes+int64(n.size)
		if c.store.slots.node(n.slot) != n {
			panic(fmt.Sprintf("covey: key %q is not in its slot", n.key))
		}
	}
	if count != s.count {
		panic(fmt.Sprintf("covey: a segment counts %d nodes and has %d", s.count, count))
	}
	for key, f := range s.flights {
		if f.key != key || !f.linked || f.finished {
			panic(fmt.Sprintf("covey: the flight of key %q cannot be joined", key))
		}
	}
	for f := range s.detached {
		if f.linked || f.finished {
			panic(fmt.Sprintf("covey: the flight of key %q is detached, and linked %v, finished %v", f.key, f.linked, f.finished))
		}
	}
	return entries, bytes
}
