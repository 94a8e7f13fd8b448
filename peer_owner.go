package covey

// peer_owner.go answers what other peers ask about the keys that this process owns. It runs on the
// goroutines that read the links, so nothing here waits: what takes time goes on in a goroutine of
// its own.

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// serve passes a request on to the cache that it is about.
func (g *Group) serve(r *link.Request) {
	switch {
	case r.Type == wire.Top:
		g.serveTop(r)
		return
	case r.Type == wire.Inspect && r.CacheName() == "":
		g.serveInspect(r, g.reportJSON)
		return
	}
	if c := (*g.caches.Load())[r.CacheName()]; c != nil {
		c.serve(r)
		return
	}
	switch r.Type {
	case wire.Recall, wire.Drop: // it is closed, and what it had is gone
		g.stamps.see(r.Stamp) // a cache of its name that comes later takes nothing from before
		if c := (*g.caches.Load())[r.CacheName()]; c != nil {
			c.serve(r) // it has just come, and has perhaps not seen that
			return
		}
		r.Answer(&wire.Frame{Type: wire.Done})
	case wire.Fill: // the other end has closed it since it got the right, of which the token tells
		for _, c := range *g.caches.Load() {
			c.revoke(r.Key, r.Token, r.Link())
		}
		r.Answer(&wire.Frame{Type: wire.Done})
	case wire.Clear: // a cache that comes later in this view begins with it
		if name := r.CacheName(); name != "" {
			g.clears.get(name).add(r.Clear, g.view.Load().tag)
		}
		fallthrough
	default:
		r.Answer(&wire.Frame{Type: wire.Failed, Code: wire.CodeUnknownCache})
	}
}

func (p *peering[V]) serve(r *link.Request) {
	ctx := context.Background()
	if r.IsApart() && p.isTraced(r) {
		ctx = p.startServing(r)
	}
	if p.c.closed.Load() {
		if r.Type == wire.Recall || r.Type == wire.Drop { // what there is goes with it
			p.group.stamps.see(r.Stamp)
			isDrop, name, done := r.Type == wire.Drop, r.CacheName(), &wire.Frame{Type: wire.Done}
			op := r.Keep(nil)
			go func() {
				<-p.emptied
				if isDrop && p.group.hasOther(name, p) { // another one, which has perhaps not seen the stamp
					done = &wire.Frame{Type: wire.Failed, Code: wire.CodeClosed}
				}
				op.Answer(done)
			}()
			return
		}
		r.Answer(&wire.Frame{Type: wire.Failed, Code: wire.CodeClosed})
		return
	}
	switch r.Type {
	case wire.GetMany, wire.Clear, wire.Recall, wire.Drop, wire.Replicate: // these have no key, or need none
	default:
		if err := checkKey(r.Key); err != nil {
			r.Answer(&wire.Frame{Type: wire.Failed, Code: wire.CodeMalformed, Text: err.Error()})
			return
		}
	}
	if r.Type == wire.Inspect {
		key := strings.Clone(r.Key)
		p.group.serveInspect(r, func() ([]byte, error) { return p.keyStateJSON(key) })
		return
	}
	if r.Codec() != p.codec && p.serveAlone(r) {
		return
	}
	switch r.Type {
	case wire.Get:
		p.serveGet(ctx, r)
	case wire.Reload:
		p.serveReload(ctx, r)
	case wire.Await:
		p.serveAwait(r)
	case wire.GetMany:
		p.serveMany(ctx, r)
	case wire.Lookup, wire.Peek:
		p.serveLookup(r)
	case wire.Put, wire.Delete, wire.Expire:
		p.serveWrite(r)
	case wire.Update:
		p.serveUpdate(r)
	case wire.Fill:
		p.serveFill(r)
	case wire.Recall:
		p.serveRecall(r)
	case wire.Drop:
		p.serveDrop(r)
	case wire.Replicate:
		p.serveReplicate(r)
	case wire.Clear:
		p.serveClear(r)
	}
}

// later has f answer a kept request on a goroutine of its own.
func (p *peering[V]) later(op *link.Op, f func()) {
	if !p.c.spawn(f) {
		op.Answer(&wire.Frame{Type: wire.Failed, Code: wire.CodeClosed})
	}
}

// serveGet answers a Get. ctx is that of its span, if it has one, and has no end.
func (p *peering[V]) serveGet(ctx context.Context, r *link.Request) {
	hash := p.c.store.hash(r.Key)
	p.countServed(r.Key)
	n := p.c.store.index.find(hash, r.Key)
	if n != nil && p.c.store.fresh(n) && n.flags&flagBorrowed == 0 && p.group.isActing() {
		p.c.store.touch(n)
		if p.c.hits.inc()%clockHits == 0 {
			p.c.sampleAge(n)
		}
		if r.Flags&wire.Borrow != 0 && p.lend(r, hash, n) {
			return
		}
		var f wire.Frame
		p.encodeHit(&f, n, r.Link())
		r.Answer(&f)
		return
	}
	if r.Flags&wire.Borrow != 0 && n != nil && n.flags&flagNegative != 0 && p.lend(r, hash, n) {
		p.c.count(n, negative)
		return
	}
	wait := func(cancelled func()) answerer { return p.keep(r, cancelled) }
	if f := p.answerGet(ctx, &r.Frame, strings.Clone(r.Key), hash, r.Link(), wait); f != nil {
		r.Answer(f)
	}
}

// countServed counts a request by another peer.
func (p *peering[V]) countServed(key string) {
	if n := p.c.n.served.inc(); sampled(n, sampleServed) {
		p.c.hot.Add(ringHash(key), key, sampleServed, p.c.store.clock.now())
	}
}

// encodeHit makes f the answer to a peer that carries n's value.
func (p *peering[V]) encodeHit(f *wire.Frame, n *node, to *link.Link) {
	f.Type = wire.Hit
	if err := p.encodeFor(to, f, n.key, entryOf[V](n).value); err != nil {
		*f = *failed(errTooLargeToSend)
	}
}

// answerGet returns the answer to a Get by another peer. If the Get has to wait, answerGet calls
// wait for whom to answer later, and returns nil.
func (p *peering[V]) answerGet(
	ctx context.Context, req *wire.Frame, key string, hash uint32, from *link.Link, wait func(cancelled func()) answerer,
) *wire.Frame {
	for {
		// 1. The generation comes before the view: if it is the same in the end, the view was in
		// force all the time.
		gen := p.c.store.gen.Load()
		v := p.tenures.view()
		if !v.isOwn(key) {
			p.c.n.notOwner.Add(1)
			return notOwner(v)
		}
		// 2. What there is. It is for this caller only, unless serveGet has lent it.
		now := p.c.store.clock.now()
		n := p.c.store.index.find(hash, key)
		switch st := p.c.judge(n, now); {
		case st == negative:
			p.c.count(n, st)
			return &wire.Frame{Type: wire.NotFound}
		case st < usable || st == usable && p.c.isThrottled(key, hash):
			p.c.count(n, st)
			f := new(wire.Frame)
			p.encodeHit(f, n, from)
			if st == aging || st == fresh && p.c.refreshDue(n, now) {
				p.offerRefresh(ctx, f, req, n, from)
			}
			if st != fresh {
				f.Flags |= wire.Stale
			}
			return f
		}
		if from.Crowded() {
			return failed(errCrowded)
		}
		// 3. A load waits until this process may act, which this goroutine, the link's reader, must
		// not.
		if !p.acts(v, ringHash(key)) {
			p.answerLater(ctx, req, key, hash, from, wait)
			return nil
		}
		// 4. Wait for a load, or start one.
		q := request[V]{ctx: contextOf(ctx, p.group, req), key: key, hash: hash, gen: gen, keep: true}
		if f, how := p.joinRemote(req, q, from, wait); how != elsewhere {
			return f
		}
	}
}

// errCrowded refuses to have another request of a peer wait.
var errCrowded = fmt.Errorf("%w: too many requests of one peer wait for loads at the owner", ErrOverloaded)

// patience is how long a load waits until this process may act as the owner of its key. Then it
// goes on, and its result is not stored.
const patience = 100 * time.Millisecond

// awaitSettled waits until the view has settled, for patience at most.
func (p *peering[V]) awaitSettled(ctx context.Context, v *view) {
	if v.hasSettled() {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-v.settled:
	case <-v.replaced:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// await waits until this process may act as the owner of key, for patience at most, and reports
// whether it may.
func (p *peering[V]) await(ctx context.Context, v *view, key string) bool {
	place := ringHash(key)
	if p.acts(v, place) {
		return true
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	settled := v.settled
	if v.hasSettled() { // but there are no promises
		settled = nil
	}
	select {
	case <-settled:
	case <-v.replaced:
	case <-timer.C:
	case <-ctx.Done():
	}
	return p.acts(v, place)
}

// joinRemote makes a peer's request wait for the key's flight, and returns nil. If there is none it
// starts one: it loads here, or gives the one who asks the right to load, which is the answer. The
// verdict is answered or elsewhere.
func (p *peering[V]) joinRemote(
	req *wire.Frame, q request[V], from *link.Link, wait func(cancelled func()) answerer,
) (answer *wire.Frame, how verdict) {
	q.load = p.c.opt.Loader
	s := p.c.lock(q.hash)
	var old *node // that goes along with a right
	defer func() {
		s.unlock()
		p.addOld(answer, old)
	}()
	canLoad := req.Flags&wire.CanLoad != 0
	f, _, err := s.enrol(q, func(n *node) (*flight[V], error) {
		switch {
		case q.load != nil && req.Flags&wire.Closure == 0:
			return s.start(q, n, nil), nil
		case canLoad:
			f := s.addFlight(q.key, q.hash, n)
			f.ctx, f.cancel = context.WithCancelCause(context.Background())
			f.waiters = 1
			if q.keep && p.mayObtain(p.tenures.view(), ringHash(q.key)) { // with its waiter
				p.c.wg.Go(func() { p.peekOrGrant(f) })
				return f, nil
			}
			old, answer = n, s.grant(f, from, 0)
			return f, nil
		}
		return nil, noLoader(p.c.name, q.key)
	})
	switch {
	case err != nil:
		return failed(err), answered
	case f == nil:
		return nil, elsewhere
	case answer == nil:
		s.awaitHere(q.ctx, f, canLoad, wait)
	}
	return answer, answered
}

// awaitHere has a request, within ctx, that is a waiter of the flight, answered when that ends.
func (s *shard[V]) awaitHere(ctx context.Context, f *flight[V], canLoad bool, wait func(func()) answerer) {
	var to answerer
	to = wait(func() { s.c.peering.leaveRemote(f, to) })
	f.remote = append(f.remote, waiter{to: to, canLoad: canLoad, within: loadingOf(ctx), serving: servingOf(ctx)})
}

// leaveRemote is called when the other end no longer waits.
func (p *peering[V]) leaveRemote(f *flight[V], to answerer) {
	s := p.c.lock(f.hash)
	i := slices.IndexFunc(f.remote, func(w waiter) bool { return w.to == to })
	var w waiter
	if i >= 0 {
		w = f.remote[i]
		f.remote = slices.Delete(f.remote, i, i+1)
	}
	s.unlock()
	if i >= 0 {
		p.answerWaiter(f, w, &wire.Frame{Type: wire.Failed, Code: wire.CodeCancelled})
		p.c.leave(f, false)
	}
}

// contextOf returns ctx with the loads within which the request was made.
func contextOf(ctx context.Context, g *Group, req *wire.Frame) context.Context {
	if req.Chain.Len() > 0 {
		ctx = context.WithValue(ctx, loadingKey{}, &loading{info: new(Load), group: g, peers: slices.Clone(req.Chain)})
	}
	return ctx
}

// offerRefresh refreshes n with the cache's own loader, or else offers the right to do so to the
// one who asks.
func (p *peering[V]) offerRefresh(ctx context.Context, f *wire.Frame, req *wire.Frame, n *node, from *link.Link) {
	if p.c.opt.Loader != nil && req.Flags&wire.Closure == 0 {
		p.c.refresh(contextOf(ctx, p.group, req), n, p.c.opt.Loader)
		return
	}
	if req.Flags&wire.CanLoad == 0 || p.c.opt.MaxRefreshes == 0 || f.Type != wire.Hit {
		return
	}
	s := p.c.lock(n.hash)
	defer s.unlock()
	if !s.refreshable(n) {
		return
	}
	fl := s.addFlight(n.key, n.hash, n)
	fl.ctx, fl.cancel = context.WithCancelCause(context.Background())
	fl.refresh = true
	fl.waiters = 1
	right := s.grant(fl, from, maxPasses)
	f.Token, f.Cache, f.Key = right.Token, right.Cache, right.Key
	f.Flags |= wire.Refresh
	if fl.old.flags&flagVersioned != 0 {
		f.Version, f.HasVersion = fl.old.version, true
	}
}

// answerLater answers for a key that this process owns but may not act for now. If that does not
// change soon it loads without storing anything.
func (p *peering[V]) answerLater(
	ctx context.Context, req *wire.Frame, key string, hash uint32, from *link.Link, wait func(cancelled func()) answerer,
) {
	var leave departing
	to := wait(leave.now)
	own := wire.Frame{Flags: req.Flags}
	within := contextOf(ctx, p.group, req)
	ctx, cancel := context.WithTimeout(p.group.ctx, p.group.opt.OpTimeout)
	ok := p.c.spawn(func() {
		defer cancel()
		for {
			gen := p.c.store.gen.Load()
			v := p.tenures.view()
			if !v.isOwn(key) {
				to.answer(notOwner(v))
				return
			}
			acts := p.await(ctx, v, key)
			if !acts {
				waits, cancel := context.WithCancel(within)
				leave.then(cancel)
				err := p.c.outwaitLoad(waits, key, hash)
				cancel()
				if err != nil {
					to.answer(failed(err))
					return
				}
			}
			q := request[V]{ctx: within, key: key, hash: hash, gen: gen, keep: acts}
			f, how := p.joinRemote(&own, q, from, func(cancelled func()) answerer {
				leave.then(cancelled)
				return to
			})
			if how == answered {
				if f == nil {
					return
				}
				if token := f.Token; !to.answer(f) && token != 0 {
					p.revoke(key, token, to.link())
				}
				return
			}
			n := p.c.store.index.find(hash, key)
			switch p.c.judge(n, p.c.store.clock.now()) {
			case fresh:
				f := new(wire.Frame)
				p.encodeHit(f, n, from)
				to.answer(f)
				return
			case negative:
				to.answer(&wire.Frame{Type: wire.NotFound})
				return
			}
		}
	})
	if !ok {
		cancel()
		to.answer(&wire.Frame{Type: wire.Failed, Code: wire.CodeClosed})
	}
}

// departing remembers what to do when the other end no longer waits.
type departing struct {
	mu   sync.Mutex
	gone bool
	f    func()
}

func (d *departing) now() {
	d.mu.Lock()
	d.gone = true
	f := d.f
	d.mu.Unlock()
	if f != nil {
		f()
	}
}

func (d *departing) then(f func()) {
	d.mu.Lock()
	d.f = f
	gone := d.gone
	d.mu.Unlock()
	if gone {
		go f() // the caller holds a lock that f needs
	}
}

// keep keeps a request that has to wait; cancelled is called when the other end no longer waits.
func (p *peering[V]) keep(r *link.Request, cancelled func()) answerer {
	op := r.Keep(func(*link.Op) { cancelled() })
	op.Held()
	return keptOp{op}
}

// A keptOp is a request for one key that waits.
type keptOp struct{ op *link.Op }

func (k keptOp) answer(f *wire.Frame) bool { return k.op.Answer(f) }
func (k keptOp) link() *link.Link          { return k.op.Link() }

func (k keptOp) void() {
	k.op.Answer(&wire.Frame{Type: wire.Held, Flags: wire.More | wire.NoKeep})
}
