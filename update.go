package covey

// update.go reads a value, has the user change it, and writes it if it is still the same.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// Update replaces the value of key by the one that f makes of it, with no other write of the key in
// between, and returns the new value. ok says whether there is an old one: a value that is missing,
// or not fresh any more, is loaded with Options.Loader; if there is no loader, or it returns
// [ErrNotFound], ok is false.
//
// f runs on the caller's goroutine, again if another write has come in between, so it must have no
// effects but its result. It must not modify old, which others may be using, and should be short. If
// it returns [ErrUnchanged], nothing is written, and Update returns old; with [ErrNotFound] the value
// is deleted, and Update returns no error. Every other error is what Update returns, and nothing is
// written. A panic in f becomes a [*PanicError]. f may use the cache, but if it writes the key itself
// it starts over again and again. After 1,000 times Update gives up with [ErrConflict].
//
// TTL and version of a value that is replaced stay unless [WithTTL] or [WithVersion] set them; a
// value where there was none has them as after a Put. A version that is not above the known one is
// [ErrOutdated]. [WithReplicated] does what it does for a Put; [IfAbsent] and [IfVersion] are errors.
//
// # Conditional writes
//
// What follows holds for Update and Incr, and for Puts and Deletes with [IfAbsent], [IfVersion] or
// [DeleteIfVersion]. They are about what is in the cache, which forgets: what was evicted is absent.
// If the origin's rows are to be right, too, compare there. As after a Put, who reads after such a
// write has returned nil finds the new value or a newer one; loads of the key that are under way are
// not stored. A write that returns another error than [ErrUnconfirmed] and [ErrNotReplicated] has
// changed nothing; then the old value stays, unlike after a failed Put.
//
// In a group, the key's owner looks at the condition and writes in one step, and there is one owner
// at most. A caller whose owner cannot be asked waits for the next one, until ctx ends, for
// GroupOptions.OpTimeout at most. What was sent and not answered is [ErrUnconfirmed] and is not tried
// again: it has been carried out once, or will be, or not. An owner that does not share the cache,
// or whose release of Covey is too old for conditional writes, carries out none: ErrUnconfirmed.
// Updates of one key in one process wait for each other, so that they do not come in between each
// other's reading and writing.
func (c *Cache[V]) Update(
	ctx context.Context, key string, f func(old V, ok bool) (V, error), opts ...PutOption,
) (V, error) {
	var zero V
	o, err := c.checkUpdate(key, opts)
	if err != nil {
		return zero, err
	}
	c.puts.inc()
	q, mine, err := c.updates.begin(ctx, key)
	if err != nil {
		return zero, err
	}
	u := updater[V]{c: c, ctx: ctx, key: key, hash: c.store.hash(key), f: f, put: o}
	if mine {
		u.last = q.last
	}
	defer func() { c.updates.end(key, q, mine, u.last) }() // f may call Goexit
	return u.run()
}

// checkUpdate returns what the options of an Update or Incr say.
func (c *Cache[V]) checkUpdate(key string, opts []PutOption) (o PutOption, err error) {
	if err := c.check(key); err != nil {
		return o, err
	}
	o = joinPutOptions(key, opts)
	if err = checkTTL(o.ttl); err == nil && (o.ifAbsent || o.hasIfVersion) {
		err = errors.New("IfAbsent and IfVersion are for Puts")
	}
	if err != nil {
		err = fmt.Errorf("covey: cache %q, key %q: %w", c.name, key, err)
	}
	return o, err
}

// maxConflicts is how often an Update tries.
const maxConflicts = 1000

// An updater is one call of Update.
type updater[V any] struct {
	c    *Cache[V]
	ctx  context.Context
	key  string
	hash uint32
	f    func(V, bool) (V, error)
	put  PutOption
	last *seen[V] // what an Update of this process has stored last; nil: not known
}

func (u *updater[V]) run() (v V, err error) {
	var zero V
	var old *seen[V]
	for range maxConflicts {
		// 1. What is there, or what most probably is. That shows when it comes to writing.
		isGuess := old == nil && u.last != nil
		switch {
		case isGuess:
			old, u.last = u.last, nil
		case old == nil:
			if old, err = u.read(); err != nil {
				return zero, err
			}
		}
		// 2. What is to become of it. That nothing is must not be said of a guess.
		ch, v, err := u.call(old)
		if ch == nil {
			if !isGuess {
				return v, err
			}
			old = nil
			continue
		}
		// 3. Write, if it is still the same.
		err = u.c.change(u.ctx, ch)
		switch {
		case err == nil || errors.Is(err, ErrNotReplicated):
			if ch.up.made != 0 {
				u.last = &seen[V]{value: v, ok: true, stamp: ch.up.made}
			}
			return v, err
		case !errors.Is(err, ErrConflict):
			return zero, err
		case u.ctx.Err() != nil:
			return zero, context.Cause(u.ctx)
		}
		if old = nil; ch.up.found.ok {
			old = &ch.up.found
		}
	}
	return zero, fmt.Errorf("%w: other writes have come in between %d times", u.c.errConflict(u.key), maxConflicts)
}

// call asks f what is to become of old. If nothing is, it returns what Update returns.
func (u *updater[V]) call(old *seen[V]) (*change[V], V, error) {
	var zero V
	v, kind, err := u.decide(old)
	if err != nil || kind == 0 || kind == wire.Delete && !old.ok {
		return nil, v, err
	}
	ch := &change[V]{kind: kind, key: u.key, hash: u.hash, value: v, put: u.put, up: &update[V]{condition: u.c.conditionOf(old), show: true}}
	ch.up.keep = old.ok && !u.put.hasTTL
	if u.put.hasTTL && u.put.ttl <= 0 { // stale already
		ch.kind = wire.Delete
	}
	if ch.kind == wire.Delete {
		ch.value, ch.del = zero, DeleteOption{version: u.put.version, hasVersion: u.put.hasVersion}
	}
	return ch, v, nil
}

// decide calls f; the kind is 0 if there is nothing to write.
func (u *updater[V]) decide(old *seen[V]) (v V, kind wire.Type, err error) {
	var zero V
	defer func() {
		if err != nil {
			v, kind = zero, 0
		}
	}()
	defer rescue("the function of an Update", &err)
	v, err = u.f(old.value, old.ok)
	switch {
	case err == nil:
		u.c.seal(&v)
		return v, wire.Put, nil
	case errors.Is(err, ErrUnchanged):
		return old.value, 0, nil
	case errors.Is(err, ErrNotFound):
		return zero, wire.Delete, nil
	}
	_ = err.Error() // may panic, too
	return zero, 0, err
}

// read returns what the key has, once it has been loaded if need be.
func (u *updater[V]) read() (*seen[V], error) {
	for attempt := 0; ; attempt++ {
		s, isKnown, err := u.look()
		if err != nil || isKnown || u.c.opt.Loader == nil {
			return &s, err
		}
		switch err := u.c.bring(u.ctx, u.key, attempt); {
		case errors.Is(err, ErrNotFound): // which may have been stored, with a stamp
			s, _, err := u.look()
			return &s, err
		case err != nil:
			return nil, err
		}
	}
}

// look returns what the key has, and whether that is a value that is fresh, or that there is none.
func (u *updater[V]) look() (s seen[V], isKnown bool, err error) {
	c := u.c
	n := c.store.index.find(u.hash, u.key)
	now := c.store.clock.now()
	st := c.judge(n, now)
	switch {
	case c.peering == nil:
		if st != gone {
			c.count(n, st)
		}
		s = c.see(n, now)
		return s, s.ok || st == negative, nil
	case st != gone && n.flags&flagBorrowed == 0 && n.stamp != 0: // of a copy the owner is asked
		c.count(n, st)
		s = c.see(n, now)
		return s, s.ok || st == negative, nil
	}
	e, ok, _, err := c.peering.lookupAway(u.ctx, u.key)
	return seen[V]{value: e.Value, ok: ok && !e.Stale, stamp: e.stamp}, ok && !e.Stale || e.NotFound, err
}

// bring loads what is missing, or stale, so that it can be changed in the cache. attempt is how
// often that has been tried.
func (c *Cache[V]) bring(ctx context.Context, key string, attempt int) (err error) {
	switch {
	case attempt == 0:
		_, err = c.Get(ctx, key, nil)
	case attempt < maxAgain:
		_, err = c.Refresh(ctx, key)
	default:
		err = fmt.Errorf("%w: what the loader returns is not stored", c.errConflict(key))
	}
	return err
}

// updates has the Updates of one key wait for each other, so that they do not make each other
// begin again. It is for speed only: conditions keep them apart.
type updates[V any] struct {
	mu sync.Mutex // a leaf
	of map[string]*updateQueue[V]
}

// An updateQueue is for the Updates of one key.
type updateQueue[V any] struct {
	users  int           // guarded by updates.mu
	turn   chan struct{} // has a token if nobody has it
	passed atomic.Uint64 // how often the turn has been passed on
	last   *seen[V]      // for whose turn it is
}

// updatePatience is how long an Update waits for one whose function does not return, which may wait for it.
const updatePatience = 50 * time.Millisecond

// begin waits for the key's turn, or until whoever has it seems to hang.
func (u *updates[V]) begin(ctx context.Context, key string) (q *updateQueue[V], mine bool, err error) {
	u.mu.Lock()
	if q = u.of[key]; q == nil {
		q = &updateQueue[V]{turn: make(chan struct{}, 1)}
		q.turn <- struct{}{}
		if u.of == nil {
			u.of = make(map[string]*updateQueue[V])
		}
		u.of[strings.Clone(key)] = q
	}
	q.users++
	u.mu.Unlock()
	select {
	case <-q.turn:
		return q, true, nil
	default:
	}
	timer := time.NewTimer(updatePatience)
	defer timer.Stop()
	for passed := q.passed.Load(); ; timer.Reset(updatePatience) {
		select {
		case <-q.turn:
			return q, true, nil
		case <-ctx.Done():
			u.end(key, q, false, nil)
			return nil, false, context.Cause(ctx)
		case <-timer.C:
		}
		now := q.passed.Load()
		if now == passed {
			return q, false, nil
		}
		passed = now
	}
}

// end lets the next Update of the key begin. last is what has been stored, if that is known.
func (u *updates[V]) end(key string, q *updateQueue[V], mine bool, last *seen[V]) {
	if mine {
		q.last = last
		q.passed.Add(1)
		q.turn <- struct{}{}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(u.of, key)
	}
}
