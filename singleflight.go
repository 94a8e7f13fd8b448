package covey

// singleflight.go makes one load out of many misses of a key.
//
// golang.org/x/sync/singleflight does not do that. Its Do runs the function on the first caller's
// goroutine, so no waiter can leave when its own context ends. It does not know how many still
// wait, so nothing can cancel a load that nobody wants. Its result is published after the call by
// whoever gets there first; here publishing and unlinking are one step in the key's critical
// section, so that no Put or Delete can come in between. And it turns a panic in the function into
// a panic that nobody can recover.

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// A flight is one load in progress with everyone who waits for it. It is linked in its key's
// segment from its start until it ends, is abandoned, or a Put, Delete, Expire or Clear makes its
// result obsolete; only a linked flight can be joined or store what it loads.
type flight[V any] struct {
	key  string
	hash uint32
	gen  uint32 // the generation when it began

	began int64 // when that was

	cancel context.CancelCauseFunc
	ctx    context.Context
	done   chan struct{} // closed when value and err are set
	value  V
	err    error
	trace  atomic.Pointer[loadTrace] // of the load; nil: there is none, or it has not begun
	joined atomic.Bool               // somebody waits besides the one for whom it was started
	lost   bool                      // the load did not bring this key: who waited may load it for himself
	stale  bool                      // value is an old one, because the load failed
	cause  error                     // why it failed

	// Guarded by the segment's lock.
	linked    bool
	finished  bool
	abandoned bool // everybody has left
	waiters   int
	refresh   bool     // goes on without waiters
	kept      bool     // the same, since a waiter has taken a stale value instead (SoftTimeout)
	old       *node    // what the key had when the flight began: for ErrUnchanged, and to fall back on
	bulk      *bulk[V] // the bulk load that it is a part of, or nil
	noStore   bool     // store nothing: this process may not own the key
	grant     *grant   // of the key's owner, which does not share it; nil: none; not changed
	load      *loading // nil: it runs at another peer, under a right
	right     *right   // the load runs at another peer, or on behalf of one; nil: neither
	remote    []waiter // the waiters at other peers
	landing   []waiter // the same, once the flight has ended
}

// addFlight makes a flight for key that can be joined.
func (s *shard[V]) addFlight(key string, hash uint32, old *node) *flight[V] {
	s.assertLocked()
	f := s.c.newFlight(key, hash, old)
	f.linked = true
	if s.flights == nil {
		s.flights = make(map[string]*flight[V])
	}
	s.flights[f.key] = f
	return f
}

// newFlight makes a flight for key, whose memory may be the caller's and used for something else
// once the call has returned.
func (c *Cache[V]) newFlight(key string, hash uint32, old *node) *flight[V] {
	c.n.loading.Add(1)
	return &flight[V]{key: strings.Clone(key), hash: hash, gen: c.store.gen.Load(), began: c.store.clock.now(), done: make(chan struct{}), old: old}
}

// joinable returns key's flight, nil if there is none. A load whose result is to be kept does not
// join one whose result is not, as writes need not reach that one (see outwaitLoad).
func (s *shard[V]) joinable(key string, keep bool) *flight[V] {
	f := s.flights[key]
	if f != nil && (f.gen != s.c.store.gen.Load() || keep && f.noStore || f.grant != nil && !s.c.inForce(f.grant)) { // the view has changed under it, or has settled
		s.unlink(key)
		return nil
	}
	return f
}

// unlink takes key's flight out of sight: it can no longer be joined, in this process or any other,
// and will store nothing. Those who wait for it still get its result.
func (s *shard[V]) unlink(key string) {
	s.assertLocked()
	if f := s.flights[key]; f != nil {
		f.linked = false
		delete(s.flights, key)
		s.detach(f)
		if s.c.peering != nil {
			s.c.peering.void(f)
		}
	}
}

// obsolete says why an unlinked flight, or one of another generation, can store nothing.
func (f *flight[V]) obsolete(gen uint32) discarding {
	switch {
	case f.gen != gen:
		return byView
	case f.abandoned:
		return tooLate
	}
	return byWrite
}

// detach makes f one that nobody can join.
func (s *shard[V]) detach(f *flight[V]) {
	s.assertLocked()
	if s.detached == nil {
		s.detached = make(map[*flight[V]]struct{})
	}
	s.detached[f] = struct{}{}
}

// end marks the flight as finished. The caller then has to set the result, by land.
func (s *shard[V]) end(f *flight[V]) {
	s.assertLocked()
	if f.linked {
		f.linked = false
		delete(s.flights, f.key)
	} else {
		delete(s.detached, f)
	}
	if f.right != nil {
		if !f.right.isHolder {
			s.takeRight(f, f.right.token)
		} else {
			s.c.peering.group.loads.remove(loadHash(s.c.name, f.key), f.load)
		}
	}
	f.finished = true
	f.landing, f.remote = f.remote, nil
	s.c.n.loading.Add(-1)
}

// land gives the flight's result to those who wait. The caller has called end.
func (c *Cache[V]) land(f *flight[V], v V, err error) {
	c.seal(&v)
	f.value, f.err = v, err
	close(f.done)
	if f.bulk == nil {
		f.cancel(context.Canceled)
	}
	if len(f.landing) == 0 {
		return
	}
	var answer wire.Frame
	if err != nil {
		answer = *failed(err)
	} else if answer.Type = wire.Hit; c.peering.encodeFor(f.landing[0].to.link(), &answer, f.key, v) != nil {
		answer = *failed(errTooLargeToSend)
	}
	for _, w := range f.landing {
		one := answer
		c.peering.answerWaiter(f, w, &one)
	}
}

// wait returns the flight's result, or the cause of ctx's end if that comes first; the last waiter
// to leave takes the flight with it. The verdict is answered, lost, or overdue if soft comes first.
func (c *Cache[V]) wait(
	ctx context.Context, f *flight[V], soft <-chan time.Time,
) (v V, how verdict, err error) {
	w := c.stay(ctx, f)
	defer w.end()
	return w.wait(soft, nil)
}

// A stay is a caller's wait for a flight.
type stay[V any] struct {
	c      *Cache[V]
	ctx    context.Context
	f      *flight[V]
	within *loading // the load that the caller belongs to, or nil
	notice *notice
}

// stay begins to wait for f, until end is called.
func (c *Cache[V]) stay(ctx context.Context, f *flight[V]) stay[V] {
	l := loadingOf(ctx)
	w := stay[V]{c: c, ctx: ctx, f: f, within: l}
	if l != nil && f.load == nil && !f.isDone() {
		w.notice = c.peering.notify(ctx, l, f)
	}
	return w
}

func (w *stay[V]) end() {
	if w.within != nil {
		w.notice.end()
		w.within.leave(w.c.target(w.f))
	}
	if w.c.tracer != nil && w.f.joined.Load() {
		w.c.tracer.waited(w.ctx, w.f.trace.Load())
	}
}

// wait is Cache.wait that is also over, with the verdict interrupted, when something comes from
// others. Then the caller may go on waiting.
func (w *stay[V]) wait(soft <-chan time.Time, others <-chan struct{}) (v V, how verdict, err error) {
	c, f := w.c, w.f
	if f.isDone() {
		return f.result()
	}
	select {
	case <-f.done:
		return f.result()
	case <-others:
		return v, interrupted, nil
	case <-w.notice.over():
		c.leave(f, false)
		return v, answered, recursive(c.name, f.key)
	case <-soft:
		c.leave(f, true)
		return v, overdue, nil
	case <-w.ctx.Done():
		c.leave(f, false)
		return v, answered, context.Cause(w.ctx)
	}
}

// isDone reports whether the flight has its result.
func (f *flight[V]) isDone() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// result returns what a flight that is done has for those who have waited.
func (f *flight[V]) result() (V, verdict, error) {
	if f.lost && f.err != nil {
		return f.value, lost, f.err
	}
	return f.value, answered, f.err
}

// leave takes one waiter off the flight; keep has the load go on even if that was the last one.
// Unlinking in the critical section in which the last one goes keeps a newcomer from joining a load
// that is being cancelled.
func (c *Cache[V]) leave(f *flight[V], keep bool) {
	s := c.lock(f.hash)
	f.waiters--
	f.kept = f.kept || keep
	abandoned := f.waiters == 0 && !f.refresh && !f.kept && !f.finished && !c.opt.FinishAbandoned
	if abandoned && f.linked {
		f.abandoned = true
		s.unlink(f.key)
	}
	s.unlock()
	if !abandoned {
		return
	}
	if f.bulk != nil {
		f.bulk.leave()
		return
	}
	f.cancel(context.Canceled)
}

// unstored returns the load of key that is under way in this process and is not to be stored, nil
// if there is none.
func (c *Cache[V]) unstored(key string, hash uint32) *flight[V] {
	s := c.lock(hash)
	defer s.unlock()
	if f := s.joinable(key, false); f != nil && f.noStore {
		return f
	}
	return nil
}

// outwaitLoad waits until the load of key has ended that is under way in this process and is not to
// be stored. The owner acknowledges writes without telling this process, so a caller who comes
// after a write must not join a load that began before it. Any such load that there is to join
// after outwaitLoad has begun since it was called.
func (c *Cache[V]) outwaitLoad(ctx context.Context, key string, hash uint32) error {
	return c.outwait(ctx, c.unstored(key, hash))
}

// outwait waits for the end of a flight, if there is one.
func (c *Cache[V]) outwait(ctx context.Context, f *flight[V]) error {
	if f == nil {
		return nil
	}
	if l, t := loadingOf(ctx), c.target(f); l != nil {
		if !l.enter(t) {
			return recursive(c.name, f.key)
		}
		defer l.leave(t)
	}
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.stop:
		return c.errClosed()
	}
}
