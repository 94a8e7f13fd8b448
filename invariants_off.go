//go:build !invariants

package covey

// With the build tag invariants these check what must hold after each write, and that a shard is
// not used without its lock.

func (s *shard[V]) assertLocked() {}

func (c *Cache[V]) verify() {}
