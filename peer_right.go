package covey

// peer_right.go deals with fill rights (the leases of Nishtala et al., "Scaling Memcache at
// Facebook", 2013): the owner of a missing key lets one caller of the group load it with a loader
// of its own, and everybody else waits for what that caller brings.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// A right belongs to a flight whose load does not run at the owner of the key but at the holder of
// the right.
type right struct {
	link     *link.Link // from the owner to the holder, or the other way round
	token    uint64
	isHolder bool // this process is the holder
	// At the owner.
	passes int
	timer  *time.Timer
	// At the holder.
	over func(err error, load []byte) // called when the result is on its way to the owner, with the loader's error and what tells about the load
}

// maxPasses is how often a right passes on when its holder brings nothing.
const maxPasses = 2

// A waiter is a request from another process that waits for a flight.
type waiter struct {
	to      answerer
	canLoad bool
	within  *loading // the loads that the request was made within, or nil
	serving *serving // the span of the request, or nil
}

// answerWaiter answers a request that waits for f.
func (p *peering[V]) answerWaiter(f *flight[V], w waiter, answer *wire.Frame) (queued bool) {
	w.within.leave(p.c.target(f))
	w.serving.waitedFor(f.trace.Load(), f.joined.Load(), answer)
	return w.to.answer(answer)
}

// An answerer takes the answer to a request that had to wait.
type answerer interface {
	answer(f *wire.Frame) (queued bool) // false: nobody waits for it any more
	void()                              // a write has made what it waits for obsolete; may be called under a lock
	link() *link.Link
}

// grant gives the right to load the flight's key to the other end of l.
func (s *shard[V]) grant(f *flight[V], l *link.Link, passes int) *wire.Frame {
	s.assertLocked()
	if s.rights == nil {
		s.rights = make(map[uint64]*flight[V])
	}
	token := s.c.peering.group.tokens.Add(1)
	s.rights[token] = f
	f.right = &right{link: l, token: token, passes: passes}
	if s.c.opt.LoadTimeout > 0 {
		// The holder's own limit comes first.
		f.right.timer = time.AfterFunc(s.c.opt.LoadTimeout+time.Second, func() { s.c.peering.passOn(f, token) })
	}
	return &wire.Frame{Type: wire.FillRight, Token: token, Cache: s.c.peering.id, Key: f.key} // the last two for Group.unwanted
}

// addOld adds to an answer with a right what its holder is to fall back on, which is f.old. It
// calls the codec, so no lock may be held.
func (p *peering[V]) addOld(answer *wire.Frame, old *node) {
	if old == nil || p.c.judge(old, p.c.store.clock.now()) > usable || p.encode(answer, entryOf[V](old).value) != nil {
		return
	}
	answer.Flags |= wire.Stale
	answer.Version, answer.HasVersion = old.version, old.flags&flagVersioned != 0
}

// takeRight ends the right of a flight. It returns false if the flight no longer has the right with
// that token. The segment is locked.
func (s *shard[V]) takeRight(f *flight[V], token uint64) bool {
	rights := s.rights
	if rights[token] != f {
		return false
	}
	delete(rights, token)
	if f.right.timer != nil {
		f.right.timer.Stop()
	}
	return true
}

// passOn gives the right to the next one who waits and can load, since its holder is gone, has no
// time left or was refused by the protection of its own origin.
func (p *peering[V]) passOn(f *flight[V], token uint64) {
	s := p.c.lock(f.hash)
	if !s.takeRight(f, token) {
		s.unlock()
		return
	}
	passes := f.right.passes + 1
	f.right = nil
	p.grantNext(s, f, passes)
}

// grantNext gives the right to load a flight to the next one who waits and can load, in the place of
// a waiter that leaves. It unlocks the shard.
func (p *peering[V]) grantNext(s *shard[V], f *flight[V], passes int) {
	f.waiters-- // who had the right
	if passes <= maxPasses && f.linked {
		for i, w := range f.remote {
			if w.canLoad {
				f.remote = append(f.remote[:i], f.remote[i+1:]...)
				answer := s.grant(f, w.to.link(), passes)
				s.unlock()
				p.addOld(answer, f.old)
				if token := answer.Token; !p.answerWaiter(f, w, answer) {
					p.passOn(f, token)
				}
				return
			}
		}
	}
	if f.refresh && f.linked { // the old value is still served, and the next one who asks must not try again at once
		s.throttle(f.key, f.hash)
	}
	f.lost = true
	s.end(f)
	s.unlock()
	var zero V
	p.c.land(f, zero, errRightLost)
}

// revoke passes on a right that the other end of a link was granted, who has no use for it; if there
// is one with that token.
func (p *peering[V]) revoke(key string, token uint64, from *link.Link) {
	s := p.c.lock(p.c.store.hash(key))
	f := s.rights[token]
	is := f != nil && f.right.link == from
	s.unlock()
	if is {
		p.passOn(f, token)
	}
}

// void tells the other processes that wait for f, or load it under a right, that whoever asks them
// for the key from now on must not wait for f, too. It is called under the segment's lock, so that
// nobody hears of the write before.
func (p *peering[V]) void(f *flight[V]) {
	for _, w := range f.remote {
		w.to.void()
	}
	if r := f.right; r != nil && !r.isHolder {
		p.c.wg.Go(func() {
			ctx, cancel := context.WithTimeout(p.group.ctx, p.group.opt.OpTimeout)
			defer cancel()
			_, _ = r.link.Send(ctx, &wire.Frame{Type: wire.Recall, Cache: p.id, Key: f.key}, ignore{})
		})
	}
}

// lost is called when a link is down: the rights of its other end pass on.
func (p *peering[V]) lost(l *link.Link) {
	p.holds.lost(l)
	p.c.copies.oweNothing(l)
	for i := range p.c.shards {
		held := make(map[*flight[V]]uint64) // and the tokens
		s := p.c.lockAt(i)
		for token, f := range s.rights {
			if f.right.link == l {
				held[f] = token
			}
		}
		s.unlock()
		for f, token := range held {
			p.passOn(f, token)
		}
	}
}

// serveFill takes what the holder of a right has loaded.
func (p *peering[V]) serveFill(r *link.Request) {
	hash := p.c.store.hash(r.Key)
	s := p.c.lock(hash)
	f := s.rights[r.Token]
	if f == nil || f.right.link != r.Link() {
		s.unlock()
		p.c.n.discard(tooLate)
		r.Answer(&wire.Frame{Type: wire.Done})
		return
	}
	passes := r.Result == wire.Failed && (r.Code == wire.CodeOverloaded || r.Code == wire.CodeCancelled || r.Code == wire.CodeLoadTimeout)
	if !passes {
		s.takeRight(f, r.Token)
	}
	s.unlock()
	if passes {
		p.passOn(f, r.Token)
		r.Answer(&wire.Frame{Type: wire.Done})
		return
	}
	now := p.c.store.clock.now()
	o := outcome[V]{begin: now - int64(r.Age), end: now}
	o.meta = loadMeta{ttl: userTTL(r.TTL), hasTTL: r.Flags&wire.HasTTL != 0, version: r.Version, hasVersion: r.HasVersion, noStore: r.Flags&wire.NoStore != 0}
	switch r.Result {
	case wire.Hit:
		if o.value, o.err = p.decode(ownValue(r)); o.err != nil {
			p.undecodable(r.Link().Name(), f.key, o.err)
			o.err = errTooLargeToSend
		}
	case wire.NotFound:
		o.err = ErrNotFound
	case wire.Done:
		o.err = ErrUnchanged
	default:
		o.err = failure(r.Link().Name(), r.Code, string(append([]byte(nil), r.Text...)))
	}
	if p.c.tracer != nil && len(r.Trace) > 0 {
		f.trace.Store(&loadTrace{load: bytes.Clone(r.Trace)})
	}
	r.Answer(&wire.Frame{Type: wire.Done})
	if p.c.opt.Events.Removed == nil {
		p.c.finish(f, o)
	} else { // the user's callback may ask the other end for something, so it must not run here
		p.c.spawn(func() { p.c.finish(f, o) }) // Close has ended the flight if it comes first
	}
}

// errTooLargeToSend tells other peers that the value cannot travel: each process loads it for
// itself.
var errTooLargeToSend = fmt.Errorf("%w, or cannot be encoded or decoded", ErrTooLarge)

// ownValue returns the request's value in memory that does not belong to the link.
func ownValue(r *link.Request) []byte {
	if r.Size != 0 {
		return r.Value
	}
	return append(make([]byte, 0, len(r.Value)), r.Value...)
}

// loadUnderRight loads key because its owner has answered with the right to do so.
func (p *peering[V]) loadUnderRight(q request[V], l *link.Link, a *ask) (v V, how verdict, err error) {
	answer := &a.answer
	a.mu.Lock()
	held := a.held
	a.held = nil
	a.mu.Unlock()
	r := &right{isHolder: true, link: l, token: answer.Token, over: func(err error, load []byte) { p.holds.leave(held, err, load) }}
	f, err := p.startHeld(q, r, p.staleOf(answer, q.key, q.hash), nil)
	if err != nil {
		p.giveBack(r, q.key, err)
		return v, answered, err
	}
	return p.c.wait(q.ctx, f, nil)
}

// refreshUnderRight loads key in the background, with a right that the owner has sent together with
// the value.
func (p *peering[V]) refreshUnderRight(q request[V], l *link.Link, answer *wire.Frame, value V) {
	r := &right{isHolder: true, link: l, token: answer.Token, over: func(error, []byte) {}}
	if q.load == nil || p.c.opt.MaxRefreshes == 0 || !p.c.refreshes.TryAcquire(1) {
		p.c.n.refreshSkips.Add(1)
		p.giveBack(r, q.key, ErrOverloaded)
		return
	}
	release := func() { p.c.refreshes.Release(1) }
	if _, err := p.startHeld(q, r, oldOf(answer, q.key, q.hash, value), release); err != nil {
		release()
		p.giveBack(r, q.key, err)
		return
	}
	p.c.n.refreshes.Add(1)
}

// staleOf returns a node with the old value that came with a right; nil if there was none.
func (p *peering[V]) staleOf(answer *wire.Frame, key string, hash uint32) *node {
	if answer.Flags&wire.Stale == 0 {
		return nil
	}
	value, err := p.decode(answer.Value)
	if err != nil {
		return nil
	}
	return oldOf(answer, key, hash, value)
}

// oldOf returns a node with what a load is to fall back on, that has come with a right.
func oldOf[V any](answer *wire.Frame, key string, hash uint32, value V) *node {
	old := &entry[V]{value: value}
	old.key, old.hash, old.version = key, hash, answer.Version
	if answer.HasVersion {
		old.flags |= flagVersioned
	}
	return &old.node
}

// startHeld runs a load under a right. Nobody can join it: those who come later wait until it is
// over and ask the owner.
func (p *peering[V]) startHeld(q request[V], r *right, old *node, refresh func()) (*flight[V], error) {
	s := p.c.lock(q.hash)
	defer s.unlock()
	if p.c.closed.Load() {
		return nil, p.c.errClosed()
	}
	f := s.newHeld(q.key, q.hash, r, old)
	s.launch(q.ctx, f, q.load, refresh)
	return f, nil
}

// newHeld makes a flight under a right that cannot be joined. The owner is its first waiter.
func (s *shard[V]) newHeld(key string, hash uint32, r *right, old *node) *flight[V] {
	f := s.c.newFlight(key, hash, old)
	f.right = r
	f.waiters = 1
	s.detach(f)
	return f
}

// unwanted gives back the rights that have come with an answer for which nobody waits any more.
func (g *Group) unwanted(l *link.Link, f *wire.Frame) {
	if f.Type == wire.Many {
		g.unwantedMany(l, f.Items)
	} else if f.Type == wire.FillRight || f.Type == wire.Hit && f.Flags&wire.Refresh != 0 {
		id, ok := g.cacheID(l.CacheName(f.Cache))
		if !ok {
			id = noCache
		}
		fill := &wire.Frame{Type: wire.Fill, Cache: id, Key: strings.Clone(f.Key), Token: f.Token, Result: wire.Failed, Code: wire.CodeCancelled}
		g.wg.Go(func() { sendFill(l, fill) })
	}
}

// noCache is a number that no cache has, for one that is closed.
const noCache = math.MaxUint16

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

// giveBack tells the owner that nothing will come of a right, which then passes on: the cache is
// closed, or has no room for another refresh.
func (p *peering[V]) giveBack(r *right, key string, err error) {
	f := failed(err)
	if errors.Is(err, ErrClosed) {
		f.Code = wire.CodeCancelled
	}
	sendFill(r.link, &wire.Frame{Type: wire.Fill, Cache: p.id, Key: key, Token: r.token, Result: wire.Failed, Code: f.Code, Text: f.Text})
	r.over(err, nil)
}

// deliver ends a flight that ran under a right. The owner and those who wait here get what was
// loaded.
func (p *peering[V]) deliver(f *flight[V], o outcome[V]) {
	s := p.c.lock(f.hash)
	if f.finished {
		s.unlock()
		return
	}
	s.end(f)
	s.unlock()
	var zero V
	value, err := o.value, o.err
	fill := &wire.Frame{
		Type: wire.Fill, Cache: p.id, Key: f.key, Token: f.right.token,
		Version: o.meta.version, HasVersion: o.meta.hasVersion, Age: time.Duration(p.c.store.clock.now() - o.begin),
	}
	if o.meta.hasTTL {
		fill.Flags |= wire.HasTTL
		fill.TTL = wireTTL(o.meta.ttl)
	}
	if o.meta.isStale() {
		fill.Flags |= wire.NoStore
	}
	if t := f.trace.Load(); t != nil {
		fill.Trace = t.load
	}
	switch {
	case o.lost:
		fill.Result, fill.Code = wire.Failed, wire.CodeCancelled // others load for themselves
	case errors.Is(err, ErrUnchanged) && f.old != nil:
		fill.Result = wire.Done
		value, err = entryOf[V](f.old).value, nil
	case err == nil:
		fill.Result = wire.Hit
		if p.encodeFor(f.right.link, fill, f.key, value) != nil {
			fill.Result, fill.Code = wire.Failed, wire.CodeTooLarge
		}
	case errors.Is(err, ErrNotFound):
		fill.Result = wire.NotFound
	default:
		e := failed(err)
		fill.Result, fill.Code, fill.Text = wire.Failed, e.Code, e.Text
	}
	sendFill(f.right.link, fill)
	told := err
	if err != nil && !errors.Is(err, ErrNotFound) && f.old != nil {
		value, err = entryOf[V](f.old).value, nil
		f.stale = true
	} else if err != nil {
		value = zero
	}
	if f.bulk == nil {
		f.right.over(asForeign(p.group.opt.Name, told), fill.Trace)
	} else {
		f.right.over(nil, fill.Trace)
	}
	p.c.land(f, value, err)
}

// asForeign returns a loader's error as callers get it who waited for somebody else's load; nil if
// they are to ask the owner again.
func asForeign(peer string, err error) error {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, context.Canceled) || errors.Is(err, ErrOverloaded) || errors.Is(err, ErrLoadTimeout) {
		return nil
	}
	return &foreignError{peer: peer, text: err.Error(), is: err}
}

// sendFill sends the result of a load to the owner, who waits for it. If it cannot be sent the right
// ends with the link: the owner knows what becomes of rights whose link is down.
func sendFill(l *link.Link, f *wire.Frame) {
	_, err := l.Send(context.Background(), f, ignore{}) // not for long: it waits for OpTimeout at most
	if errors.Is(err, wire.ErrTooLarge) {               // for the owner; others load it for themselves
		none := &wire.Frame{Type: wire.Fill, Cache: f.Cache, Key: f.Key, Token: f.Token, Result: wire.Failed, Code: wire.CodeTooLarge}
		_, err = l.Send(context.Background(), none, ignore{})
	}
	if err != nil {
		l.Close()
	}
}

// ignore is the sink of requests whose answers do not matter.
type ignore struct{}

func (ignore) Answer(*wire.Frame, bool) {}
func (ignore) Slow()                    {}
func (ignore) Fail(error)               {}
