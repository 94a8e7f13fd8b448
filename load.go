package covey

// load.go runs loaders and decides what becomes of what they return.

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A LoadResult describes a load that has ended.
type LoadResult struct {
	Key     string        // what was loaded; empty for a bulk load
	Keys    int           // how many keys the loader was asked for
	Err     error         // what the loader returned, a *PanicError, or why its context ended before it returned; nil: success
	Took    time.Duration // how long the loader ran, until its context ended at most
	Refresh bool          // nobody waited for it: it refreshed a value in the background
}

// newLoading makes the node of a load of keys that is started within ctx.
func (c *Cache[V]) newLoading(ctx context.Context, info *Load, keys ...string) *loading {
	l := &loading{info: info, cache: c.name, keys: keys, parent: loadingOf(ctx)}
	if c.peering != nil {
		l.group = c.peering.group
	}
	return l
}

// loadContext returns the context that a load runs on: the caller's
// values, but not its cancellation, and the cache's timeout.
func (c *Cache[V]) loadContext(ctx context.Context, l *loading) (context.Context, context.CancelCauseFunc) {
	lctx := context.WithoutCancel(ctx)
	lctx = context.WithValue(lctx, loadingKey{}, l)
	lctx, cancel := context.WithCancelCause(lctx)
	if c.opt.LoadTimeout > 0 {
		var stop context.CancelFunc
		lctx, stop = context.WithTimeoutCause(lctx, c.opt.LoadTimeout, ErrLoadTimeout)
		context.AfterFunc(lctx, stop) // vet wants it called; cancelling the parent stops the timer
	}
	return lctx, cancel
}

// start adds a flight for the key and runs its load. The caller is its first waiter, except for a
// refresh.
func (s *shard[V]) start(q request[V], old *node, refresh func()) *flight[V] {
	if old == nil {
		old = s.c.aside.find(q.key) // what it is judged to be good for is nothing but ErrUnchanged
	}
	f := s.addFlight(q.key, q.hash, old)
	f.grant = q.grant
	s.launch(q.ctx, f, q.load, refresh)
	return f
}

// launch runs the load of a flight, within ctx. The caller becomes a waiter, unless it is a
// refresh.
func (s *shard[V]) launch(ctx context.Context, f *flight[V], load Loader[V], refresh func()) {
	f.load = s.c.newLoading(ctx, newLoad(f.old), f.key)
	f.ctx, f.cancel = s.c.loadContext(ctx, f.load)
	if f.refresh = refresh != nil; !f.refresh {
		_ = s.attach(ctx, f) // a load that has not begun waits for nobody
	}
	if f.right != nil {
		s.c.peering.announce(f)
	}
	s.c.wg.Go(func() {
		if refresh != nil {
			defer refresh()
		}
		s.c.run(f, load)
	})
}

// run is the goroutine of a load.
func (c *Cache[V]) run(f *flight[V], load Loader[V]) {
	if c.peering != nil && c.peering.obtain(f.ctx, f) {
		f.load.end()
		return
	}
	p, err := c.origin.admit(f.ctx, f.load, f.refresh)
	if err != nil {
		c.finish(f, outcome[V]{err: c.about(err, f.key, 1)})
		return
	}
	defer p.release()
	ctx, span, trace := c.startLoad(f.ctx, f.refresh, f.key)
	f.trace.Store(trace)
	begin := c.store.clock.now()
	supervise(f.ctx, func() (V, error) {
		defer f.load.end()
		return load(ctx, f.key)
	}, func(v V, err error) {
		p.report(err)
		o := outcome[V]{value: v, err: c.about(err, f.key, 1), meta: f.load.info.read(), begin: begin, end: c.store.clock.now()}
		c.loaded(LoadResult{Key: f.key, Keys: 1, Err: o.err, Took: time.Duration(o.end - o.begin), Refresh: f.refresh})
		span.end(endOfLoad(o.err))
		c.finish(f, o)
	}, c.late)
}

// supervise runs a loader and calls ended once: when the loader returns or when its context ends,
// whichever comes first. If the context ends first, late gets the error of the loader, which may
// return much later or never.
func supervise[T any](ctx context.Context, load func() (T, error), ended func(T, error), late func(error)) {
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(over)
		var none T
		ended(none, context.Cause(ctx))
	})
	call("the loader", load, func(v T, err error) {
		if stop() {
			// A loader that returns its context's error may be faster than the function above.
			if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				err = context.Cause(ctx)
			}
			ended(v, err)
			return
		}
		<-over
		late(err)
	})
}

// late logs the panic of a loader whose load had ended before: nobody gets its error.
func (c *Cache[V]) late(err error) {
	var panicked *PanicError
	if errors.As(err, &panicked) {
		c.log.warn("covey: a loader panicked after its load had ended", "", "err", err)
	}
}

// about adds to an error of the cache's own which load it is about: that of key, one of n.
func (c *Cache[V]) about(err error, key string, n int) error {
	switch {
	case !errors.Is(err, ErrOverloaded) && !errors.Is(err, ErrLoadTimeout):
		return err
	case n == 1:
		return fmt.Errorf("%w: cache %q, key %q", err, c.name, key)
	}
	return fmt.Errorf("%w: cache %q, key %q and %d more", err, c.name, key, n-1)
}

// An outcome is the result of a load.
type outcome[V any] struct {
	value      V
	err        error
	lost       bool // a bulk load has failed with err, and not brought this key
	meta       loadMeta
	begin, end int64 // of the loader
}

// loaded counts a load and tells the user.
func (c *Cache[V]) loaded(r LoadResult) {
	c.n.loads.Add(1)
	c.n.loadTimes.add(r.Took)
	var panicked *PanicError
	switch {
	case r.Err == nil, errors.Is(r.Err, ErrUnchanged):
	case errors.Is(r.Err, ErrNotFound):
		c.n.loadNotFound.Add(1)
	case errors.Is(r.Err, context.Canceled): // nobody wanted it any more
	default:
		c.n.loadErrors.Add(1)
		c.journal.add(Event{Kind: EventLoadFailed, Cache: c.name, Key: r.Key, Err: r.Err, Took: r.Took})
		if errors.As(r.Err, &panicked) {
			c.n.loadPanics.Add(1)
		}
		if errors.Is(r.Err, ErrLoadTimeout) {
			c.n.loadTimeouts.Add(1)
		}
	}
	if c.opt.Events.Loaded == nil {
		return
	}
	err := guard("Events.Loaded", func() error {
		c.opt.Events.Loaded(r)
		return nil
	})
	if err != nil {
		c.log.warn(eventFailed, "Loaded", "err", err)
	}
}

// finish ends the flight with the outcome of its load: it stores the value,
// unlinks the flight and wakes those who wait. Only the first call for a flight counts.
func (c *Cache[V]) finish(f *flight[V], o outcome[V]) {
	if err := checkTTL(o.meta.ttl); err != nil && o.err == nil {
		o.err = fmt.Errorf("covey: cache %q, key %q: its loader called SetTTL: %w", c.name, f.key, err)
	}
	if f.right != nil && f.right.isHolder {
		c.peering.deliver(f, o)
		return
	}
	if f.grant != nil {
		c.peering.keepLoaded(f, o)
		return
	}
	w := write[V]{key: f.key, hash: f.hash, f: f}
	switch {
	case o.lost:
		c.fail(f, o)
		return
	case errors.Is(o.err, ErrUnchanged) && f.old != nil:
		o.value, o.err, w.same = entryOf[V](f.old).value, nil, true
		if !o.meta.hasVersion && f.old.flags&flagVersioned != 0 {
			o.meta.version, o.meta.hasVersion = f.old.version, true
		}
		fallthrough
	case o.err == nil:
		if !o.meta.isStale() {
			w.e = c.newEntry(f.key, f.hash, c.measure(f.key, o.value, false), o)
			if w.e == nil {
				c.n.tooLarge.Add(1)
			}
		}
		w.version, w.versioned = o.meta.version, o.meta.hasVersion
	case errors.Is(o.err, ErrNotFound):
		if !o.meta.noStore {
			w.e = c.newNegative(f.key, f.hash, o.begin, o.end, c.opt.NegativeTTL)
		}
		w.version, w.versioned = o.meta.version, o.meta.hasVersion
	default:
		c.fail(f, o)
		return
	}
	c.write(&w)
	if w.landed {
		c.land(f, o.value, o.err)
	}
}

// fail ends a flight whose load failed. If the old value may be used it is served
// instead, and the next load of the key has to wait a while.
func (c *Cache[V]) fail(f *flight[V], o outcome[V]) {
	now, err := c.store.clock.now(), o.err
	s := c.lock(f.hash)
	if f.finished {
		s.unlock()
		return
	}
	f.lost = o.lost
	var value V
	if f.linked && f.old != nil && c.judge(f.old, now) <= usable {
		value = entryOf[V](f.old).value
		f.stale, f.cause = true, err
		s.throttle(f.key, f.hash)
	}
	refresh, stale := f.refresh, f.stale
	s.end(f)
	s.unlock()
	if refresh && !errors.Is(err, ErrOverloaded) && !errors.Is(err, context.Canceled) {
		c.log.warn("covey: refresh failed", "", "key", f.key, "err", err)
	}
	if stale {
		err = nil
	}
	c.land(f, value, err)
}

// throttle keeps key from being loaded for a while.
func (s *shard[V]) throttle(key string, hash uint32) {
	if s.c.opt.ErrorThrottle <= 0 {
		return
	}
	if _, ok := s.throttled[key]; ok {
		return
	}
	if s.throttled == nil {
		s.throttled = make(map[string]struct{})
	}
	s.throttled[key] = struct{}{}
	time.AfterFunc(s.c.opt.ErrorThrottle, func() {
		s := s.c.lock(hash)
		delete(s.throttled, key)
		s.unlock()
	})
}

// refreshable reports whether seen is what the cache has for its key, and its load is neither under
// way nor throttled.
func (s *shard[V]) refreshable(seen *node) bool {
	_, throttled := s.throttled[seen.key]
	return !throttled && s.flights[seen.key] == nil && !s.c.closed.Load() &&
		s.c.store.index.find(seen.hash, seen.key) == seen
}

// refresh replaces seen in the background, unless too many refreshes are running.
func (c *Cache[V]) refresh(ctx context.Context, seen *node, load Loader[V]) {
	if load == nil || c.opt.MaxRefreshes == 0 || c.peering != nil && !c.peering.tenures.view().isOwn(seen.key) {
		return
	}
	s := c.lock(seen.hash)
	defer s.unlock()
	if !s.refreshable(seen) {
		return
	}
	if !c.refreshes.TryAcquire(1) {
		c.n.refreshSkips.Add(1)
		return
	}
	c.n.refreshes.Add(1)
	s.start(request[V]{ctx: ctx, key: seen.key, hash: seen.hash, load: load}, seen, func() { c.refreshes.Release(1) })
}
