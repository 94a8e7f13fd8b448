package covey

// peer_ask.go is the caller's side of a key that another peer owns.
//
// The owner's answer is only for callers who came before the request was sent (see peer_fetch.go).
// Whoever comes later asks again, because a Put or Delete may have been acknowledged in between.
// Once the owner has said that it waits for a load, newcomers wait here (see holds) and ask when
// the load is over, so that a slow load does not fill the link with requests for one key. They ask
// at once when a write of the key has made the load obsolete, of which the owner tells.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// An ask is a request for one key that waits for the owner's answer.
type ask struct {
	pool  *sync.Pool
	holds *holds
	key   string
	link  *link.Link
	voids uint64        // of the holds when it was sent
	woken chan struct{} // of capacity 1; the caller then looks at over
	over  atomic.Bool   // the last answer or err is there

	// The last answer.
	answer wire.Frame // in memory of its own
	whole  bool       // answer has more than a type, flags and a value
	load   []byte     // what tells about the load that has been waited for
	err    error      // of the link

	mu   sync.Mutex // an answer may come while the caller leaves
	held *hold
	left bool
}

func newAsks(h *holds) *sync.Pool {
	p := new(sync.Pool)
	p.New = func() any { return &ask{pool: p, holds: h, woken: make(chan struct{}, 1)} }
	return p
}

// Answer implements link.Sink.
func (a *ask) Answer(f *wire.Frame, last bool) {
	switch {
	case f.Type == wire.Held && f.Flags&wire.NoKeep != 0:
		a.holds.void(a.key)
	case f.Type == wire.Held || f.Type == wire.FillRight:
		if first := a.hold(); first && !last {
			a.wake()
		}
	}
	if !last {
		return
	}
	value := f.Value
	if f.Size == 0 && len(value) > 0 {
		value = bytes.Clone(value)
	}
	if f.Type == wire.Hit && f.Flags&(wire.Loan|wire.Refresh) == 0 { // as most are: nothing but the value
		a.answer.Type, a.answer.Flags, a.answer.Value = f.Type, f.Flags, value
	} else {
		a.answer = *f
		a.answer.Value, a.answer.Text = value, strings.Clone(f.Text)
		a.answer.Key, a.answer.Items, a.answer.Chain, a.answer.Trace = "", nil, nil, nil
		a.whole = true
	}
	if len(f.Trace) > 0 {
		a.load = bytes.Clone(f.Trace)
	}
	a.over.Store(true)
	a.wake()
}

// Fail implements link.Sink.
func (a *ask) Fail(err error) {
	a.err = err
	a.over.Store(true)
	a.wake()
}

// Slow implements link.Sink.
func (a *ask) Slow() { a.wake() }

// wake may come late and wake the next user of the ask, which does no harm.
func (a *ask) wake() {
	select {
	case a.woken <- struct{}{}:
	default:
	}
}

func (a *ask) hold() (first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held != nil || a.left {
		return false
	}
	a.held = a.holds.enter(a.key, a.link, a.voids)
	return true
}

func (a *ask) isHeld() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held != nil
}

// leave ends the ask for good. err is for those whom its hold kept waiting.
func (a *ask) leave(err error) {
	a.mu.Lock()
	held := a.held
	a.held, a.left = nil, true
	a.mu.Unlock()
	a.holds.leave(held, err, a.load)
}

// getAway is get for a key that this process does not own, or may not own. The verdict is answered
// or elsewhere.
func (p *peering[V]) getAway(q request[V]) (value V, how verdict, err error) {
	if q.ctx.Err() != nil {
		return value, answered, context.Cause(q.ctx)
	}
	if l := loadingOf(q.ctx); l != nil {
		t := p.away(q.key)
		if !l.enter(t) {
			return value, answered, recursive(p.c.name, q.key)
		}
		defer l.leave(t)
	}
	v := p.tenures.view()
	i := v.owner(q.key)
	if i < 0 && q.attempt == 0 { // the first view may be about to come
		p.awaitChange(q.ctx, v, patience)
	}
	switch {
	case p.tenures.view() != v:
		return value, elsewhere, nil
	case i < 0 || i == v.self || v.peers[i] == nil:
		return p.loadHere(q, p.group.noMembers())
	}
	if p.c.opt.ReadFrom == ReadFromAny && v.isShared() {
		if value, err, ok := p.getNear(q.ctx, v, i, q.key); ok {
			return value, answered, err
		}
	}
	value, how, err = p.ask(q, v, i)
	switch {
	case how == unshared:
		return p.loadHere(q, err)
	case how == elsewhere && q.attempt < maxAstray:
		p.awaitChange(q.ctx, v, againAfter)
		return value, elsewhere, nil
	case how == answered || how == lost || q.ctx.Err() != nil:
		return value, answered, err
	}
	p.countPeerError(v.nameOf(i), q.key, err)
	if value, err, ok := p.getAtReplicas(q.ctx, v, i, q.key); ok {
		return value, answered, err
	}
	if p.awaitSuccessor(q.ctx, v, i) {
		return value, elsewhere, nil
	}
	return p.loadHere(q, err)
}

// countPeerError counts a peer that was asked for a key in vain.
func (p *peering[V]) countPeerError(peer, key string, err error) {
	p.c.n.peerErrors.Add(1)
	p.c.journal.add(Event{Kind: EventPeerFailed, Cache: p.c.name, Peer: peer, Key: key, Err: err})
}

// successorAfter is how long a call waits for the members to agree on who comes after one that has
// crashed, which takes them some 50 ms.
const successorAfter = 500 * time.Millisecond

// awaitSuccessor reports whether a member could not be asked because the view is another one now. If
// the member is known to be gone it waits for that, so that each of its keys is loaded once.
func (p *peering[V]) awaitSuccessor(ctx context.Context, v *view, member int) bool {
	if p.tenures.view() == v && p.group.agreement.IsGone(v.ring.members[member].Name) {
		wait := successorAfter
		if end, ok := ctx.Deadline(); ok {
			wait = min(wait, time.Until(end)/2)
		}
		p.awaitChange(ctx, v, wait)
	}
	return p.tenures.view() != v
}

// maxAstray is how often a Get looks for an owner that says that it is none. Views that differ do so
// for milliseconds.
const maxAstray = 8

// ask gets the key from its owner by a view, and asks again where that may help.
func (p *peering[V]) ask(q request[V], v *view, owner int) (value V, how verdict, err error) {
	for attempt := 0; ; attempt++ {
		value, how, err = p.askOnce(q, v, owner)
		switch {
		case how == lost && attempt < maxAgain:
		case how == unreachable && attempt == 0 && isBroken(err) && q.ctx.Err() == nil:
			// dialling again shows whether the peer is gone
		default:
			return value, how, err
		}
	}
}

// lostOr is lost if err says that the load that was waited for has brought nothing, else how.
func lostOr(how verdict, err error) verdict {
	if errors.Is(err, errRightLost) {
		return lost
	}
	return how
}

// isBroken reports whether a link has ended during a request.
func isBroken(err error) bool {
	var dial *link.DialError
	return !errors.As(err, &dial) && !errors.Is(err, link.ErrTimeout)
}

// loadHere loads key although this process does not own it, or may not own it, and stores nothing.
// Those in this process who miss the key before the load begins share it. cause says why no peer
// has answered; nil: there is none to ask. The verdict is answered or elsewhere.
func (p *peering[V]) loadHere(q request[V], cause error) (value V, how verdict, err error) {
	if q.load == nil {
		q.load = p.c.opt.Loader
	}
	if q.load == nil {
		err = noLoader(p.c.name, q.key)
		if cause != nil {
			err = fmt.Errorf("%w, and its peers have no value for it: %w", err, cause)
		}
		return value, answered, err
	}
	if err := p.c.outwaitLoad(q.ctx, q.key, q.hash); err != nil {
		return value, answered, err
	}
	q.gen, q.keep = p.c.store.gen.Load(), false
	f, _, err := p.c.join(q)
	switch {
	case err != nil:
		return value, answered, err
	case f == nil:
		return value, elsewhere, nil
	}
	value, _, err = p.c.wait(q.ctx, f, nil)
	return value, answered, err
}

// askOnce gets the key from its owner.
func (p *peering[V]) askOnce(q request[V], v *view, owner int) (value V, how verdict, err error) {
	peer := v.peers[owner]
	// 1. While the owner waits for a load there is nothing to ask for: asking would only fill the
	// link.
	if err := p.awaitHold(q.ctx, q.key); err != nil {
		return value, lostOr(answered, err), err
	}
	canLoad := q.load != nil || p.c.opt.Loader != nil
	l, err := p.linkSoon(q.ctx, peer, canLoad)
	if err != nil {
		return value, unreached(err), err
	}
	f := wire.Frame{Type: wire.Get, Cache: p.id, Key: q.key, Chain: loadingOf(q.ctx).chain(p.group)}
	if q.load != nil {
		f.Flags = wire.CanLoad | wire.Closure
	} else if q.load = p.c.opt.Loader; q.load != nil {
		f.Flags = wire.CanLoad
	}
	// 2. A key that is worth a copy is asked for once for all who come before the request is sent.
	// Whoever comes later asks again, since a write may have been acknowledged after the owner
	// answered.
	var start int64
	var lead *fetch[V] // that this caller leads
	switch {
	case !p.sharesWith(l):
		if value, joined, how, err := p.joinAlone(q); joined {
			return value, how, err
		}
		start = p.c.store.clock.now()
	case l.Plain() == nil && p.c.copies.wants(q.hash):
		joined, leads := p.joinFetch(q.ctx, l, q.key, q.hash)
		if joined != nil && !leads {
			p.c.n.peerHits.Add(1)
			return joined.value, answered, joined.err
		}
		if lead = joined; lead != nil {
			defer p.abandonFetch(q.key, q.hash, lead) // if it has no answer by then
			if n := p.c.store.index.find(q.hash, q.key); n != nil && n.flags&flagBorrowed != 0 && p.c.useCopy(n) {
				value, err := p.c.content(n)
				p.endFetch(q.key, q.hash, lead, value, err)
				return value, answered, err
			}
			if p.holds.of(q.key) != nil {
				p.abandonFetch(q.key, q.hash, lead)
			}
		}
		if err := p.awaitHold(q.ctx, q.key); err != nil { // for what was waited for may wait for a load
			return value, lostOr(answered, err), err
		}
		f.Flags |= wire.Borrow
		start = p.c.store.clock.now()
	}
	// 3. The clock was read before the request is sent: a recall that arrives from now on is newer
	// than the answer.
	ctx, span := p.startRequest(q.ctx, v, peer.Name(), &f, 1, false)
	a, err := p.send(ctx, l, &f, q.hash, lead, v, owner)
	if err != nil {
		span.answered(peer.Name(), nil, err)
	} else {
		span.answered(peer.Name(), &a.answer, nil)
	}
	if err != nil {
		return value, unreached(err), err
	}
	defer a.done()
	// 4. The answer: a value or that there is none, perhaps lent; the right to load; or an error.
	switch answer := &a.answer; answer.Type {
	case wire.Hit, wire.NotFound:
		err = ErrNotFound
		if answer.Type == wire.Hit {
			if value, err = p.decode(answer.Value); err != nil {
				p.undecodable(peer.Name(), q.key, err)
				return value, unshared, err
			}
		}
		if a.link == l { // or else a replica, which has been counted
			p.c.n.peerHits.Add(1)
			p.countZone(v, owner, len(answer.Value))
		}
		if answer.Flags&wire.Loan != 0 {
			p.borrow(l, q.key, q.hash, value, answer, start, q.gen)
		}
		p.endFetch(q.key, q.hash, lead, value, err)
		if answer.Flags&wire.Refresh != 0 {
			p.refreshUnderRight(q, l, answer, value)
		}
		return value, answered, err
	case wire.FillRight:
		p.abandonFetch(q.key, q.hash, lead)
		return p.loadUnderRight(q, l, a)
	case wire.Alone:
		p.abandonFetch(q.key, q.hash, lead)
		return p.loadAlone(q, l, answer, start)
	}
	how, err = verdictOn(peer.Name(), &a.answer, q.load != nil)
	if how == elsewhere {
		p.group.reconcile(l, p.tenures.view(), a.answer.Ring)
	}
	if how == answered || how == lost { // or else it is no answer for those whom the hold keeps waiting
		a.leave(err)
	}
	return value, how, err
}

// unreached returns the verdict on a request that has failed with err.
func unreached(err error) verdict {
	if isUnreached(err) {
		return unreachable
	}
	return answered
}

// isUnreached reports whether err says that a peer could not be asked.
func isUnreached(err error) bool {
	var peer *PeerError
	return errors.As(err, &peer)
}

// An owner that says nothing for silentAfter, or that there is no link to within linkAfter, may stand
// still. Then each caller who can loads for itself. Without links a proxy may keep the word back that
// an answer takes a while, so that only what else the owner says shows that it is there: members do
// that twice a second.
const (
	silentAfter      = 200 * time.Millisecond
	plainSilentAfter = 1250 * time.Millisecond
	linkAfter        = 250 * time.Millisecond
)

var errSilent = fmt.Errorf("%w: it is silent", link.ErrTimeout)

// A silence is how long an owner has said nothing, to anybody in this process.
type silence struct {
	timer  *time.Timer
	passed <-chan time.Time
	limit  time.Duration
	due    time.Time // when the timer fires
}

// begin waits for word of the owner, who was asked at the time since.
func (s *silence) begin(l *link.Link, since time.Time) {
	s.limit = max(silentAfter, 3*l.RTT())
	if l.Plain() != nil {
		s.limit = plainSilentAfter
	}
	s.due = since.Add(s.limit)
	s.timer = time.NewTimer(time.Until(s.due))
	s.passed = s.timer.C
}

// isLong is called when the timer has fired. If the owner has said something meanwhile, or this
// process itself was late, there is more to wait for.
func (s *silence) isLong(l *link.Link) bool {
	left := s.limit - l.Quiet()
	if left <= 0 && time.Since(s.due) < silentAfter/4 {
		return true
	}
	left = max(left, silentAfter/4)
	s.due = time.Now().Add(left)
	s.timer.Reset(left)
	return false
}

// linkSoon is linkTo that gives up early if the caller can load for itself.
func (p *peering[V]) linkSoon(ctx context.Context, peer *link.Peer, canLoad bool) (*link.Link, error) {
	if !canLoad || peer.Up() != nil {
		return p.linkTo(ctx, peer)
	}
	soon, cancel := context.WithTimeoutCause(ctx, linkAfter, errSilent)
	defer cancel()
	l, err := p.linkTo(soon, peer)
	if err != nil && ctx.Err() == nil && soon.Err() != nil {
		err = newPeerError(peer.Name(), errSilent)
	}
	return l, err
}

// linkTo returns the link to a peer.
func (p *peering[V]) linkTo(ctx context.Context, peer *link.Peer) (*link.Link, error) {
	l, err := peer.Link(ctx)
	if err != nil {
		return nil, peerError(ctx, peer.Name(), err)
	}
	return l, nil
}

// send sends a request for a key and waits for the last answer, which is never Held. The caller has
// to call done on the ask. If there is a load to wait for, those who take part in the fetch are let
// go. If the owner of the key by v is slow, others who have it in custody are asked, too.
func (p *peering[V]) send(
	ctx context.Context, l *link.Link, f *wire.Frame, hash uint32, shared *fetch[V], v *view, owner int,
) (*ask, error) {
	a := p.asks.Get().(*ask)
	a.key, a.link, a.voids, a.err, a.left = f.Key, l, p.holds.voids.Load(), nil, false
	a.over.Store(false)
	op, err := l.Send(ctx, f, a)
	if err != nil {
		a.pool.Put(a)
		return nil, peerError(ctx, l.Name(), err)
	}
	<-a.woken // for an answer that comes at once, as most do, a select would take longer than all the rest here
	var s silence
	var hedge hedge
	if v.isShared() {
		p.hedges.request()
	}
	if !a.over.Load() {
		if f.Flags&wire.CanLoad != 0 {
			s.begin(l, time.Now())
			defer s.timer.Stop()
		}
		if v.isShared() {
			hedge.begin(min(time.Duration(p.hedges.after.Load()), quietAfter))
			defer hedge.end()
		}
	}
	for !a.over.Load() {
		if shared != nil && a.isHeld() {
			p.abandonFetch(f.Key, hash, shared)
		}
		err = nil
		select {
		case <-a.woken:
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-p.c.stop:
			err = p.c.errClosed()
		case <-s.passed:
			if !a.isHeld() && s.isLong(l) { // an owner that waits for a load says so at once
				err = newPeerError(l.Name(), errSilent)
			}
		case <-hedge.due:
			if !a.isHeld() && p.mayHedge(&hedge, l) {
				p.c.n.hedges.Add(1)
				hedge.run(ctx, p.c.spawn, func(ctx context.Context) (wire.Frame, bool) {
					answer, found := p.askReplicas(ctx, v, owner, f.Key)
					return answer, found == some
				})
			}
		case answer := <-hedge.answer:
			if l.Cancel(op, a) {
				a.leave(context.Canceled)
				p.c.n.hedgeWins.Add(1)
				p.c.n.replicaReads.Add(1)
				return p.answeredBy(answer), nil
			}
		}
		if err != nil {
			if l.Cancel(op, a) {
				a.leave(context.Canceled)
				return nil, err // an answer to the ask may still be coming, so it is not used again
			}
			for !a.over.Load() {
				<-a.woken
			}
		}
	}
	if a.err != nil {
		err := peerError(ctx, l.Name(), a.err)
		a.done()
		return nil, err
	}
	return a, nil
}

// done gives the ask back. It has had its last answer, so nobody else knows it any more.
func (a *ask) done() {
	if a.held != nil {
		a.leave(nil)
	}
	if a.whole {
		a.answer, a.whole = wire.Frame{}, false
	}
	a.answer.Type, a.answer.Value, a.load = 0, nil, nil
	a.pool.Put(a)
}

// answerError returns the error of an answer that is not an answer to the question.
func answerError(peer string, f *wire.Frame) error {
	if f.Type == wire.Failed {
		return failure(peer, f.Code, f.Text)
	}
	return &PeerError{Peer: peer, Err: fmt.Errorf("it answers with a frame of type %d, which is no answer to the request", f.Type)}
}

// peerError returns what an error of a link means to a caller: if ctx has ended, that is the
// reason.
func peerError(ctx context.Context, peer string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return newPeerError(peer, err)
}
