package covey

// clear_prefix.go removes all keys that begin alike. It looks at each key once: an index by prefix would
// cost every Put.

import (
	"context"
	"fmt"
	"strings"
)

// DeletePrefix removes every key that begins with prefix; with "" it is Clear. A call that starts
// after DeletePrefix has returned nil finds nothing of them from before it, and a load of them that
// began before it is not stored. While it runs some may be gone, and others still be found.
//
// In a group it does so at every member. If some cannot be asked it tries again until ctx ends, for
// GroupOptions.OpTimeout at most. Then it returns an [*UnconfirmedError], which has them and the
// prefix as its Key, and goes on trying until it has been done or the cache is closed; that removes
// nothing that was stored after DeletePrefix was called. A prefix of more than MaxKeyLen bytes is an
// ErrInvalidKey, since no key has it.
//
// It looks at every key of the cache, and holds no lock for longer than it takes to remove one.
// Each process remembers the versions of what it has removed, as after a Delete.
func (c *Cache[V]) DeletePrefix(ctx context.Context, prefix string) error {
	switch {
	case prefix == "":
		return c.Clear(ctx)
	case len(prefix) > MaxKeyLen:
		return fmt.Errorf("%w: a prefix of %d bytes, the limit of keys is %d", ErrInvalidKey, len(prefix), MaxKeyLen)
	case c.closed.Load():
		return c.errClosed()
	case c.peering == nil:
		c.deletePrefixHere(prefix)
		return nil
	}
	return c.peering.clearEverywhere(ctx, strings.Clone(prefix))
}

// deletePrefixHere removes what this process has of keys with a prefix, copies and replicas
// included, and voids the loads of them under way.
func (c *Cache[V]) deletePrefixHere(prefix string) {
	c.journal.add(Event{Kind: EventInvalidated, Cache: c.name, Key: prefix})
	c.forgetSnapshot(prefix)
	remove := func(key string, hash uint32) {
		if strings.HasPrefix(key, prefix) {
			c.write(&write[V]{key: key, hash: hash, drop: true})
		}
	}
	for i := range c.shards {
		for _, key := range c.flightsIn(i) { // first: from then on they store nothing
			remove(key, c.store.hash(key))
		}
		for n := range c.store.index.segments[i].table.Load().all {
			remove(n.key, n.hash)
		}
	}
	c.verify()
}

// forgetSnapshot forgets what a snapshot has brought to this process, in a group, of keys with a
// prefix, and has nothing of them restored any more. It is from before this process was.
func (c *Cache[V]) forgetSnapshot(prefix string) {
	if c.snapshots == nil {
		return
	}
	c.snapshots.leaveOut(prefix)
	for _, key := range c.aside.keys() {
		if strings.HasPrefix(key, prefix) {
			c.aside.drop(key)
		}
	}
}

// flightsIn returns the keys of the flights in the i-th shard.
func (c *Cache[V]) flightsIn(i int) (keys []string) {
	s := c.lockAt(i)
	defer s.unlock()
	for key := range s.flights {
		keys = append(keys, key)
	}
	return keys
}

// deletePrefixOwn is deletePrefixHere for the group. Until it is done nothing goes to other
// custodians, nor comes from them.
func (p *peering[V]) deletePrefixOwn(prefix string, number uint64) {
	mask, tag := p.hideLabel()
	p.c.deletePrefixHere(prefix)
	p.trust.cleared()
	p.clears.reveal(mask, tag, number, true)
}
