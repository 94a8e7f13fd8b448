package covey

// right.go deals with fill rights (the leases of Nishtala et al., "Scaling Memcache at Facebook", 2013): the owner of a missing key
// lets one caller of the group load it with a loader of its own, and everybody else waits for what that caller brings.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// A right belongs to a flight whose load does not run at the owner of the key but at the holder of the right.
type right struct {
	link  *link.Link // from the owner to the holder, or the other way round
	token uint64
	// At the owner.
	passes int
	timer  *time.Timer
	// At the holder.
	over func(error) // called with the loader's error when the result is on its way to the owner
}

// maxPasses is how often a right passes on when its holder brings nothing.
const maxPasses = 2

// A waiter is a request from another process that waits for a flight.
type waiter struct {
	to      answerer
	canLoad bool
	within  *loading // the loads that the request was made within, or nil
}

// answerWaiter answers a request that waits for f.
func (c *Cache[V]) answerWaiter(f *flight[V], w waiter, answer *wire.Frame) (queued bool) {
	w.within.leave(c.target(f))
	return w.to.answer(answer)
}

// An answerer takes the answer to a request that had to wait.
type answerer interface {
	answer(f *wire.Frame) (queued bool) // false: nobody waits for it any more
	link() *link.Link
}

// grant gives the right to load the flight's key to the other end of l. The segment is locked.
func (c *Cache[V]) grant(f *flight[V], l *link.Link, passes int) *wire.Frame {
	k := c.keyed(f.hash)
	if k.rights == nil {
		k.rights = make(map[uint64]*flight[V])
	}
	token := c.group.tokens.Add(1)
	k.rights[token] = f
	f.right = &right{link: l, token: token, passes: passes}
	if c.opt.LoadTimeout > 0 {
		// The holder's own limit comes first.
		f.right.timer = time.AfterFunc(c.opt.LoadTimeout+time.Second, func() { c.passOn(f, token) })
	}
	return &wire.Frame{Type: wire.FillRight, Token: token, Cache: c.id, Key: f.key} // the last two for Group.unwanted
}

// addOld adds to an answer with a right what its holder is to fall back on, which is f.old. It calls the codec, so no lock may
// be held.
func (c *Cache[V]) addOld(answer *wire.Frame, old *node) {
	if old == nil || c.judge(old, c.store.clock.now()) > usable || c.encode(answer, entryOf[V](old).value) != nil {
		return
	}
	answer.Flags |= wire.Stale
	answer.Version, answer.HasVersion = old.version, old.flags&flagVersioned != 0
}

// takeRight ends the right of a flight. It returns false if the flight no longer has the right with that token. The segment is
// locked.
func (c *Cache[V]) takeRight(f *flight[V], token uint64) bool {
	rights := c.keyed(f.hash).rights
	if rights[token] != f {
		return false
	}
	delete(rights, token)
	if f.right.timer != nil {
		f.right.timer.Stop()
	}
	return true
}

// passOn gives the right to the next one who waits and can load, since its holder is gone, has no time left or was refused by the
// protection of its own origin.
func (c *Cache[V]) passOn(f *flight[V], token uint64) {
	g := c.store.index.segment(f.hash)
	g.mu.Lock()
	if !c.takeRight(f, token) {
		g.mu.Unlock()
		return
	}
	passes := f.right.passes + 1
	f.right = nil
	f.waiters-- // the holder
	if passes <= maxPasses && f.linked {
		for i, w := range f.remote {
			if w.canLoad {
				f.remote = append(f.remote[:i], f.remote[i+1:]...)
				answer := c.grant(f, w.to.link(), passes)
				g.mu.Unlock()
				c.addOld(answer, f.old)
				if token := answer.Token; !c.answerWaiter(f, w, answer) {
					c.passOn(f, token)
				}
				return
			}
		}
	}
	if f.refresh && f.linked { // the old value is still served, and the next one who asks must not try again at once
		c.throttle(f.key, f.hash)
	}
	c.end(f)
	g.mu.Unlock()
	var zero V
	c.land(f, zero, errRightLost)
}

// refuse passes on a right that was granted to somebody who no longer waits for it.
func (c *Cache[V]) refuse(key string, hash uint32, token uint64) {
	g := c.store.index.segment(hash)
	g.mu.Lock()
	f := c.keyed(hash).rights[token]
	g.mu.Unlock()
	if f != nil {
		c.passOn(f, token)
	}
}

// lost is called when a link is down: the rights of its other end pass on.
func (c *Cache[V]) lost(l *link.Link) {
	for i := range c.segments {
		g := &c.store.index.segments[i]
		g.mu.Lock()
		var held []*flight[V]
		for _, f := range c.segments[i].rights {
			if f.right.link == l {
				held = append(held, f)
			}
		}
		g.mu.Unlock()
		for _, f := range held {
			g.mu.Lock()
			r := f.right
			g.mu.Unlock()
			if r != nil && r.link == l {
				c.passOn(f, r.token)
			}
		}
	}
}

// serveFill takes what the holder of a right has loaded.
func (c *Cache[V]) serveFill(r *link.Request) {
	hash := c.store.hash(r.Key)
	g := c.store.index.segment(hash)
	g.mu.Lock()
	f := c.keyed(hash).rights[r.Token]
	if f == nil || f.right.link != r.Link() {
		g.mu.Unlock()
		c.n.discarded.Add(1)
		r.Answer(&wire.Frame{Type: wire.Done})
		return
	}
	passes := r.Result == wire.Failed && (r.Code == wire.CodeOverloaded || r.Code == wire.CodeCancelled || r.Code == wire.CodeLoadTimeout)
	if !passes {
		c.takeRight(f, r.Token)
	}
	g.mu.Unlock()
	if passes {
		c.passOn(f, r.Token)
		r.Answer(&wire.Frame{Type: wire.Done})
		return
	}
	now := c.store.clock.now()
	o := outcome[V]{begin: now - int64(r.Age), end: now}
	o.meta = loadMeta{ttl: userTTL(r.TTL), hasTTL: r.Flags&wire.HasTTL != 0, version: r.Version, hasVersion: r.HasVersion, noStore: r.Flags&wire.NoStore != 0}
	switch r.Result {
	case wire.Hit:
		if o.value, o.err = c.decode(ownValue(r)); o.err != nil {
			c.undecodable(r.Link().Name(), f.key, o.err)
			o.err = errTooLargeToSend
		}
	case wire.NotFound:
		o.err = ErrNotFound
	case wire.Done:
		o.err = ErrUnchanged
	default:
		o.err = failure(r.Link().Name(), r.Code, string(append([]byte(nil), r.Text...)))
	}
	r.Answer(&wire.Frame{Type: wire.Done})
	if c.opt.Events.Removed == nil {
		c.finish(f, o)
	} else { // the user's callback may ask the other end for something, so it must not run here
		c.spawn(func() { c.finish(f, o) }) // Close has ended the flight if it comes first
	}
}

// errTooLargeToSend tells other peers that the value cannot travel: each process loads it for itself.
var errTooLargeToSend = fmt.Errorf("%w, or cannot be encoded or decoded", ErrTooLarge)

// ownValue returns the request's value in memory that does not belong to the link.
func ownValue(r *link.Request) []byte {
	if r.Size != 0 {
		return r.Value
	}
	return append(make([]byte, 0, len(r.Value)), r.Value...)
}

// loadUnderRight loads key because its owner has answered with the right to do so.
func (c *Cache[V]) loadUnderRight(ctx context.Context, l *link.Link, a *ask, key string, hash uint32, load Loader[V]) (V, error) {
	var zero V
	answer := &a.answer
	a.mu.Lock()
	held := a.held
	a.held = nil
	a.mu.Unlock()
	r := &right{link: l, token: answer.Token, over: func(err error) { c.holds.leave(held, err) }}
	f, err := c.startHeld(ctx, key, hash, load, r, c.staleOf(answer, key, hash), nil)
	if err != nil {
		c.giveBack(r, key, err)
		return zero, err
	}
	return c.wait(ctx, f, nil)
}

// refreshUnderRight loads key in the background, with a right that the owner has sent together with the value.
func (c *Cache[V]) refreshUnderRight(ctx context.Context, l *link.Link, key string, hash uint32, load Loader[V], answer *wire.Frame, value V) {
	r := &right{link: l, token: answer.Token, over: func(error) {}}
	if load == nil || c.opt.MaxRefreshes == 0 || !c.refreshes.TryAcquire(1) {
		c.n.refreshSkips.Add(1)
		c.giveBack(r, key, ErrOverloaded)
		return
	}
	old := &entry[V]{value: value}
	old.key, old.hash, old.version = key, hash, answer.Version
	if answer.HasVersion {
		old.flags |= flagVersioned
	}
	release := func() { c.refreshes.Release(1) }
	if _, err := c.startHeld(ctx, key, hash, load, r, &old.node, release); err != nil {
		release()
		c.giveBack(r, key, err)
		return
	}
	c.n.refreshes.Add(1)
}

// staleOf returns a node with the old value that came with a right; nil if there was none.
func (c *Cache[V]) staleOf(answer *wire.Frame, key string, hash uint32) *node {
	if answer.Flags&wire.Stale == 0 {
		return nil
	}
	value, err := c.decode(answer.Value)
	if err != nil {
		return nil
	}
	old := &entry[V]{value: value}
	old.key, old.hash, old.version = key, hash, answer.Version
	if answer.HasVersion {
		old.flags |= flagVersioned
	}
	return &old.node
}

// startHeld runs a load under a right. Nobody can join it: those who come later wait until it is over and ask the owner.
func (c *Cache[V]) startHeld(ctx context.Context, key string, hash uint32, load Loader[V], r *right, old *node, refresh func()) (*flight[V], error) {
	g := c.store.index.segment(hash)
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.closed.Load() {
		return nil, c.errClosed()
	}
	f := c.newHeld(key, hash, r, old)
	c.launch(ctx, f, load, refresh)
	return f, nil
}

// newHeld makes a flight under a right that cannot be joined. The owner is its first waiter. The
// segment is locked.
func (c *Cache[V]) newHeld(key string, hash uint32, r *right, old *node) *flight[V] {
	f := c.newFlight(key, hash, old)
	f.right = r
	f.waiters = 1
	c.detach(f)
	return f
}

// unwanted gives back the rights that have come with an answer for which nobody waits any more.
func (g *Group) unwanted(l *link.Link, f *wire.Frame) {
	if f.Type == wire.Many {
		g.unwantedMany(l, f.Items)
	} else if f.Type == wire.FillRight || f.Type == wire.Hit && f.Flags&wire.Refresh != 0 {
		if id, ok := g.cacheID(l.CacheName(f.Cache)); ok {
			fill := &wire.Frame{Type: wire.Fill, Cache: id, Key: strings.Clone(f.Key), Token: f.Token, Result: wire.Failed, Code: wire.CodeCancelled}
			g.wg.Go(func() { _, _ = l.Send(g.ctx, fill, ignore{}) })
		}
	}
}

func (g *Group) unwantedMany(l *link.Link, items []byte) {
	var f wire.Frame
	for len(items) > 0 {
		var err error
		if items, err = wire.Next(items, &f); err != nil {
			return
		}
		if f.Type != wire.Many {
			g.unwanted(l, &f)
		}
	}
}

// giveBack tells the owner that nothing will come of a right.
func (c *Cache[V]) giveBack(r *right, key string, err error) {
	f := failed(err)
	c.sendFill(r, &wire.Frame{Type: wire.Fill, Cache: c.id, Key: key, Token: r.token, Result: wire.Failed, Code: f.Code, Text: f.Text})
	r.over(err)
}

// deliver ends a flight that ran under a right. The owner and those who wait here get what was loaded.
func (c *Cache[V]) deliver(f *flight[V], o outcome[V]) {
	g := c.store.index.segment(f.hash)
	g.mu.Lock()
	if f.finished {
		g.mu.Unlock()
		return
	}
	c.end(f)
	g.mu.Unlock()
	var zero V
	value, err := o.value, o.err
	fill := &wire.Frame{
		Type: wire.Fill, Cache: c.id, Key: f.key, Token: f.right.token,
		Version: o.meta.version, HasVersion: o.meta.hasVersion, Age: time.Duration(c.store.clock.now() - o.begin),
	}
	if o.meta.hasTTL {
		fill.Flags |= wire.HasTTL
		fill.TTL = wireTTL(o.meta.ttl)
	}
	if o.meta.isStale() {
		fill.Flags |= wire.NoStore
	}
	switch {
	case errors.Is(err, errBulkFailed):
		err = bulkCause(err)
		fill.Result, fill.Code = wire.Failed, wire.CodeCancelled // others load for themselves
	case errors.Is(err, ErrUnchanged) && f.old != nil:
		fill.Result = wire.Done
		value, err = entryOf[V](f.old).value, nil
	case err == nil:
		fill.Result = wire.Hit
		if c.encodeFor(f.right.link, fill, f.key, value) != nil {
			fill.Result, fill.Code = wire.Failed, wire.CodeTooLarge
		}
	case errors.Is(err, ErrNotFound):
		fill.Result = wire.NotFound
	default:
		e := failed(err)
		fill.Result, fill.Code, fill.Text = wire.Failed, e.Code, e.Text
	}
	c.sendFill(f.right, fill)
	told := err
	if err != nil && !errors.Is(err, ErrNotFound) && f.old != nil {
		value, err = entryOf[V](f.old).value, nil
		f.stale = true
	} else if err != nil {
		value = zero
	}
	if f.bulk == nil {
		f.right.over(asForeign(c.group.opt.Name, told))
	} else {
		f.right.over(nil)
	}
	c.land(f, value, err)
}

// asForeign returns a loader's error as callers get it who waited for somebody else's load; nil if they are to ask the owner
// again.
func asForeign(peer string, err error) error {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, context.Canceled) || errors.Is(err, ErrOverloaded) || errors.Is(err, ErrLoadTimeout) {
		return nil
	}
	return &foreignError{peer: peer, text: err.Error(), is: err}
}

// sendFill sends the result of a load to the owner. It may fail: if the link is down the owner knows that.
func (c *Cache[V]) sendFill(r *right, f *wire.Frame) {
	_, _ = r.link.Send(c.group.ctx, f, ignore{})
}

// ignore is the sink of requests whose answers do not matter.
type ignore struct{}

func (ignore) Answer(*wire.Frame, bool) {}
func (ignore) Slow()                    {}
func (ignore) Fail(error)               {}
