package covey

// put.go has the calls that change what is in a cache.

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/coveycache/covey/internal/wire"
	"golang.org/x/sync/errgroup"
)

// Put stores v under key. A Get, Lookup or GetMany that starts after Put has returned nil finds v
// or something newer, or nothing if v has been evicted since. A load of the key that is under way
// is not stored; its result goes only to those who already wait for it. A value that is too large
// is not stored and the old one is removed all the same: [ErrTooLarge]. With [WithVersion] a Put
// may be refused: [ErrOutdated]. The cache keeps v: do not modify it afterwards, and clone strings
// and slices that were cut from larger ones before (see [Cache]).
//
// In a group, Put returns nil when the key's owner has the value and every older copy of it is
// gone. If the owner cannot be asked, Put tries again until ctx ends, for GroupOptions.OpTimeout at
// most: where the owner has crashed or stands still, another member takes its place within some 3 s.
// If it has been asked and does not answer, or there is no time left, Put returns [ErrUnconfirmed].
// Then it is not tried again, and what was there before is removed as soon as the owner can be
// asked. The value may be stored all the same, and later, even after somebody else's Put, if the
// network or a process that stands still has kept the request back: to be sure, Put again, or use
// versions. If ctx has ended before, Put does nothing and returns the cause. An owner that does not
// share the cache stores nothing (see Options.Group). Without a group, Put waits for nobody and does
// not look at ctx.
func (c *Cache[V]) Put(ctx context.Context, key string, v V, opts ...PutOption) error {
	return c.put(ctx, &change[V]{kind: wire.Put, key: key, value: v, put: joinPutOptions(key, opts)})
}

// PutNotFound makes the cache remember that the origin has no such key, as if a loader had returned
// [ErrNotFound]: for feeds of changes, which hear of it before anybody asks. It is remembered for
// Options.NegativeTTL, or as [WithTTL] says, and not at all if that is 0 or less; the old value is
// removed in any case. Otherwise it is like [Cache.Put].
func (c *Cache[V]) PutNotFound(ctx context.Context, key string, opts ...PutOption) error {
	return c.put(ctx, &change[V]{kind: wire.Put, key: key, negative: true, put: joinPutOptions(key, opts)})
}

// change carries out a write of a key.
func (c *Cache[V]) change(ctx context.Context, ch *change[V]) error {
	if c.peering == nil {
		return c.changeHere(ch, c.store.gen.Load(), nil)
	}
	return c.peering.change(ctx, ch)
}

func (c *Cache[V]) put(ctx context.Context, ch *change[V]) error {
	if err := c.check(ch.key); err != nil {
		return err
	}
	o := &ch.put
	if err := checkTTL(o.ttl); err != nil {
		return fmt.Errorf("covey: cache %q, key %q: %w", c.name, ch.key, err)
	}
	up, err := c.updateOfPut(o)
	if err != nil {
		return err
	}
	ch.up = up
	c.puts.inc()
	ch.hash = c.store.hash(ch.key)
	if o.hasTTL && o.ttl <= 0 { // stale already
		ch.kind, ch.del = wire.Delete, DeleteOption{version: o.version, hasVersion: o.hasVersion}
	}
	return c.change(ctx, ch)
}

// PutMany is a Put of each item with the same options; [WithTTLs] and [WithVersions] are for each
// key. It tries them all; its error is like that of [Cache.GetMany]. The items are put in no
// particular order, in a group several at a time.
func (c *Cache[V]) PutMany(ctx context.Context, items map[string]V, opts ...PutOption) error {
	return c.each(len(items), maps.Keys(items), func(key string) error { return c.Put(ctx, key, items[key], opts...) })
}

// Delete removes key. A Get, Lookup or GetMany that starts after Delete has returned nil finds
// nothing from before it, stale or not. A load of the key that is under way is not stored; its
// result goes only to those who already wait for it. Deleting what is not there is no error. With
// [DeletedAt] a Delete may be refused: [ErrOutdated].
//
// What [Cache.Put] says about groups holds here, too, but that a Delete is tried again also if the
// owner has been asked and does not answer, and goes on being tried after [ErrUnconfirmed], until
// it has been done, this process writes the key with success, or the cache is closed. Then it
// removes nothing that was stored after it was called.
func (c *Cache[V]) Delete(ctx context.Context, key string, opts ...DeleteOption) error {
	if err := c.check(key); err != nil {
		return err
	}
	ch := change[V]{kind: wire.Delete, key: key, hash: c.store.hash(key), del: joinDeleteOptions(key, opts)}
	if ch.del.hasIfVersion {
		ch.up = &update[V]{condition: condition{hasVersion: true, version: ch.del.ifVersion}}
	}
	c.n.deletes.Add(1)
	return c.change(ctx, &ch)
}

// DeleteMany is a Delete of each key with the same options; [DeletedAtVersions] is for each key. It
// tries them all; its error is like that of [Cache.GetMany]. In a group it deletes several at a
// time.
func (c *Cache[V]) DeleteMany(ctx context.Context, keys []string, opts ...DeleteOption) error {
	return c.each(len(keys), slices.Values(keys), func(key string) error { return c.Delete(ctx, key, opts...) })
}

// manyAtOnce is how many writes of one call may be on their way to other peers at a time.
const manyAtOnce = 64

// each calls f for every key and makes one error of theirs. In a group it does not wait for one
// peer's answer before it asks the next.
func (c *Cache[V]) each(n int, keys iter.Seq[string], f func(key string) error) error {
	var mu sync.Mutex
	var all failures
	var calls errgroup.Group
	calls.SetLimit(manyAtOnce)
	for key := range keys {
		one := func() error {
			if err := f(key); err != nil {
				mu.Lock()
				all.add(err)
				mu.Unlock()
			}
			return nil
		}
		if c.peering == nil || n == 1 {
			_ = one()
		} else {
			calls.Go(one)
		}
	}
	_ = calls.Wait()
	return all.err()
}

// Expire ends the TTL of key's value now: the next Get loads it anew, and the old value is served
// only as far as Options.StaleWhileRevalidate and StaleIfError allow; without them Expire removes
// it. A load of the key that is under way is not stored. Expiring what is not there is no error.
// What [Cache.Put] says about groups holds here, too, but that an Expire is tried again also if the
// owner has been asked and does not answer.
func (c *Cache[V]) Expire(ctx context.Context, key string) error {
	if err := c.check(key); err != nil {
		return err
	}
	ch := change[V]{kind: wire.Expire, key: key, hash: c.store.hash(key)}
	return c.change(ctx, &ch)
}
