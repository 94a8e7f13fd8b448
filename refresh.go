package covey

// refresh.go loads a key because somebody asks for it, whatever the cache has.

import (
	"context"
	"errors"
)

// Refresh loads key now with Options.Loader and returns what it has loaded: that load begins after
// the call. Until it succeeds the old value is served as before, and if it fails the old value
// stays and Refresh returns the loader's error. Calls that come during a load share the next one.
// Without Options.Loader it returns [ErrNoLoader]. What [Cache.Get] says about loads, waiting and
// the value holds here, too.
//
// In a group, the owner of the key loads it and takes back the copies of the old value. If it
// cannot make sure of them before ctx ends, or within GroupOptions.OpTimeout, Refresh returns
// [ErrUnconfirmed]. If the owner cannot be reached, Refresh returns a
// [*PeerError] and nothing has changed, or the load goes on without this caller.
func (c *Cache[V]) Refresh(ctx context.Context, key string) (V, error) {
	var zero V
	if err := c.check(key); err != nil {
		return zero, err
	}
	if c.opt.Loader == nil {
		return zero, noLoader(c.name, key)
	}
	for attempt := 0; ; attempt++ {
		if c.peering != nil {
			if v := c.peering.tenures.view(); !v.isOwn(key) {
				v, err := c.peering.refreshAway(ctx, v, key)
				if errors.Is(err, errElsewhere) && ctx.Err() == nil && attempt < maxAstray {
					continue
				}
				return v, err
			}
		}
		if v, err := c.refreshHere(ctx, key); !errors.Is(err, errElsewhere) {
			return v, err
		}
	}
}

// refreshHere is Refresh of a key that this process owns. The error errElsewhere says that it does no
// more.
func (c *Cache[V]) refreshHere(ctx context.Context, key string) (V, error) {
	hash := c.store.hash(key)
	var v, none V
	var how verdict
	var err error
	for range maxAgain {
		f, e := c.joinNext(ctx, key, hash)
		if e != nil {
			return none, e
		}
		v, how, err = c.wait(ctx, f, nil)
		if err == nil && f.stale { // others are content with the old value
			v, err = none, f.cause
			if f.lost {
				how = lost
			}
		}
		if how != lost {
			break
		}
	}
	if err != nil && !errors.Is(err, ErrNotFound) || c.peering == nil {
		return v, err
	}
	recalling, cancel := context.WithTimeout(ctx, c.peering.group.opt.OpTimeout)
	defer cancel()
	if e := c.peering.recall(recalling, key, hash); e != nil {
		return v, unconfirmed(c.name, key, e)
	}
	return v, err
}

// joinNext makes the caller a waiter of a load of key that begins from now on.
func (c *Cache[V]) joinNext(ctx context.Context, key string, hash uint32) (*flight[V], error) {
	s := c.lock(hash)
	first := s.flights[key]
	s.unlock()
	if err := c.outwait(ctx, first); err != nil {
		return nil, err
	}
	gen, keep := c.store.gen.Load(), true // the view changed while the other load was waited for, perhaps
	if c.peering != nil {
		v := c.peering.tenures.view()
		if !v.isOwn(key) {
			return nil, errElsewhere
		}
		keep = c.peering.await(ctx, v, key)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.unlock()
	switch {
	case c.closed.Load():
		return nil, c.errClosed()
	case c.store.gen.Load() != gen && c.peering != nil:
		return nil, errElsewhere
	}
	f := s.joinable(key, keep)
	if f == nil {
		n := c.store.index.find(hash, key)
		if c.judge(n, c.store.clock.now()) == gone {
			n = nil
		}
		f = s.start(request[V]{ctx: ctx, key: key, hash: hash, load: c.opt.Loader}, n, nil)
		f.noStore = !keep
		return f, nil
	}
	return f, s.attach(ctx, f)
}
