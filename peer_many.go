package covey

// peer_many.go is the caller's side of a GetMany of keys that other peers own: one request for each
// owner.

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
	"golang.org/x/sync/errgroup"
)

// batches are the keys of a GetMany, one part for each owner.
type batches[V any] []*part[V]

// A part is what one owner is asked for.
type part[V any] struct {
	owner  int
	keys   []string
	hashes []uint32

	peer  string
	asked []sent // a request each, of as many keys as fit

	answered []bool // or will not be
	lacking  []int  // the keys for which the owner has no answer, and failover has to see to
	err      error  // why the owner cannot be asked for them
	unshared error  // why this process loads some of them for itself
}

func (b *batches[V]) add(c *Cache[V], owner int, key string, hash uint32, most int) {
	for _, one := range *b {
		if one.owner == owner {
			one.keys, one.hashes = append(one.keys, key), append(one.hashes, hash)
			return
		}
	}
	one, _ := c.peering.parts.Get().(*part[V])
	if one == nil {
		one = &part[V]{
			keys: make([]string, 0, most), hashes: make([]uint32, 0, most),
			answered: make([]bool, 0, most),
		}
	}
	one.owner, one.keys, one.hashes = owner, append(one.keys, key), append(one.hashes, hash)
	*b = append(*b, one)
}

// recycle gives the part back for another call to use.
func (b *part[V]) recycle(c *Cache[V]) {
	clear(b.keys)
	clear(b.asked)
	clear(b.answered)
	*b = part[V]{
		keys: b.keys[:0], hashes: b.hashes[:0], answered: b.answered[:0], asked: b.asked[:0], lacking: b.lacking[:0],
	}
	c.peering.parts.Put(b)
}

// lack notes that the owner will not answer for what it has not of the keys in [from, to).
func (b *part[V]) lack(from, to int, err error) {
	b.err = err
	for i := from; i < to; i++ {
		if !b.answered[i] {
			b.answered[i] = true
			b.lacking = append(b.lacking, i)
		}
	}
}

// lackOne notes that what the owner has for the i-th key is of no use here, since err.
func (b *part[V]) lackOne(i int, err error) {
	b.unshared, b.lacking = err, append(b.lacking, i)
}

// A sent is a request that waits for its answers.
type sent struct {
	s     *manySink // nil: no more answers are to come
	from  int       // the first of its keys
	to    int
	op    uint32
	l     *link.Link
	voids uint64 // of the holds when it was sent
	at    time.Time
	asked int64 // the same time by the cache's clock, if the owner does not share the keys; else 0
	span  *span // of the request, or nil
}

// manySink gathers the answers to one request for many keys.
type manySink struct {
	mu    sync.Mutex
	woken chan struct{} // of capacity 1, for all requests of the call
	items [][]byte      // of the answers that have not been taken
	heard bool          // the owner has said something, if only that some keys take a while
	last  bool
	err   error
	late  func(items []byte) // takes what comes after the caller has left
}

// Answer implements link.Sink.
func (s *manySink) Answer(f *wire.Frame, last bool) {
	s.mu.Lock()
	if late := s.late; late != nil {
		s.mu.Unlock()
		late(f.Items)
		return
	}
	defer s.mu.Unlock()
	switch f.Type {
	case wire.Many:
		s.items = append(s.items, append([]byte(nil), f.Items...))
	case wire.Held:
	default:
		s.err = answerError("", &wire.Frame{Type: f.Type, Code: f.Code, Text: strings.Clone(f.Text)})
	}
	s.heard, s.last = true, s.last || last
	s.wake()
}

// Slow implements link.Sink.
func (s *manySink) Slow() {}

// Fail implements link.Sink.
func (s *manySink) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.last = err, true
	s.wake()
}

// wake is called under mu: once the last answer has been taken, the sink is another call's.
func (s *manySink) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// leave passes what has not been taken, and what is still to come, to late.
func (s *manySink) leave(late func(items []byte)) {
	s.mu.Lock()
	items := s.items
	s.late = late
	s.mu.Unlock()
	for _, it := range items {
		late(it)
	}
}

// take returns what has come since the last time.
func (s *manySink) take() (items [][]byte, last bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items, s.items = s.items, nil
	return items, s.last, s.err
}

func (s *manySink) hasHeard() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

const maxRequest = 64 << 10 // bytes of the keys in one request, and of the values in one answer

// askAway sends the requests and takes in what the owners answer at once; hear takes in the rest.
func (r *round[V]) askAway() {
	var ok bool
	if r.changed, ok = r.c.peering.changes.Get().(chan struct{}); !ok {
		r.changed = make(chan struct{}, 1)
	}
	for _, b := range r.away {
		r.send(b)
	}
	for _, b := range r.away {
		for i := range b.asked {
			r.listen(b, &b.asked[i])
		}
	}
}

// recycle ends what askAway began.
func (r *round[V]) recycle() {
	c := r.c
	for _, b := range r.away {
		for _, key := range b.keys {
			loadingOf(r.ctx).leave(c.peering.away(key))
		}
		b.recycle(c)
	}
	c.peering.changes.Put(r.changed) // who is woken for nothing looks, and goes on waiting
}

func (r *round[V]) send(b *part[V]) {
	c, v := r.c, r.view
	b.answered = slices.Grow(b.answered, len(b.keys))[:len(b.keys)]
	if b.owner < 0 {
		b.lack(0, len(b.keys), errors.New("covey: there are no members"))
		return
	}
	p := v.peers[b.owner]
	if p == nil {
		b.lack(0, len(b.keys), errNoMembers)
		return
	}
	b.peer = p.Name()
	l, err := c.peering.linkSoon(r.ctx, p, r.canLoad())
	if err != nil {
		b.lack(0, len(b.keys), err)
		return
	}
	f := wire.Frame{Type: wire.GetMany, Cache: c.peering.id, Chain: loadingOf(r.ctx).chain(c.peering.group)}
	if r.passed {
		f.Flags = wire.CanLoad | wire.Closure
	} else if r.canLoad() {
		f.Flags = wire.CanLoad
	}
	asked := int64(0)
	if !c.peering.sharesWith(l) {
		asked = c.store.clock.now()
	}
	from, n := 0, 0
	ask := func(to int) {
		s, _ := c.peering.sinks.Get().(*manySink)
		if s == nil {
			s = new(manySink)
		}
		s.mu.Lock()
		s.woken = r.changed
		s.mu.Unlock()
		voids := c.peering.holds.voids.Load()
		_, span := c.peering.startRequest(r.ctx, v, b.peer, &f, n, false)
		op, err := l.Send(r.ctx, &f, s)
		if err != nil {
			span.answered(b.peer, nil, err)
			b.lack(from, to, peerError(r.ctx, b.peer, err))
			return
		}
		b.asked = append(b.asked, sent{s: s, from: from, to: to, op: op, l: l, voids: voids, at: time.Now(), asked: asked, span: span})
		r.open++
	}
	one := wire.Frame{Type: wire.Get}
	buf := c.peering.buffer()
	f.Items = (*buf)[:0]
	for i, key := range b.keys {
		one.Op, one.Key = uint32(i), key
		f.Items = wire.Append(f.Items, &one)
		if n++; n == wire.MaxItems || len(f.Items) > maxRequest {
			ask(i + 1)
			f.Items, n, from = f.Items[:0], 0, i+1 // the link has copied them
		}
	}
	if n > 0 {
		ask(len(b.keys))
	}
	*buf = f.Items
	c.peering.buffers.Put(buf)
}

// buffer returns memory for items.
func (p *peering[V]) buffer() *[]byte {
	if b, ok := p.buffers.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

// canLoad reports whether this process can load what the owners do not have.
func (m *many[V]) canLoad() bool { return m.load != nil || m.c.opt.Loader != nil }

// listen takes in the first answers to a request. It gives up an owner that says nothing, if this
// process can load.
func (r *round[V]) listen(b *part[V], q *sent) {
	var s silence
	for !r.takeFrom(b, q) && q.s != nil {
		if s.timer == nil && r.canLoad() {
			s.begin(q.l, q.at)
			defer s.timer.Stop()
		}
		select {
		case <-r.changed:
		case <-r.ctx.Done():
			r.giveUp(b, q, context.Cause(r.ctx))
		case <-s.passed:
			if !q.s.hasHeard() && s.isLong(q.l) {
				r.giveUp(b, q, newPeerError(b.peer, errSilent))
			}
		}
	}
}

// hear takes in what has come from the owners and sees to the keys for which they have no answer.
// Then it starts the load of what they have left to this call.
func (r *round[V]) hear() {
	for _, b := range r.away {
		for i := range b.asked {
			r.takeFrom(b, &b.asked[i])
		}
	}
	for _, b := range r.away {
		if len(b.lacking) > 0 {
			r.failover(b)
		}
	}
	r.startBulk()
}

// takeFrom takes in those answers to a request that have come. It reports whether there were any.
func (r *round[V]) takeFrom(b *part[V], q *sent) bool {
	if q.s == nil {
		return false
	}
	items, last, err := q.s.take()
	for _, it := range items {
		r.takeIn(b, q, it)
	}
	switch {
	case err != nil:
		var peer *PeerError
		if !errors.As(err, &peer) || peer.Peer == "" {
			err = peerError(r.ctx, b.peer, err)
		}
		r.giveUp(b, q, err)
	case last:
		q.span.answered(b.peer, &wire.Frame{Type: wire.Many}, nil)
		q.s.heard, q.s.last = false, false
		r.c.peering.sinks.Put(q.s)
		q.s = nil
		r.open--
	}
	return items != nil
}

// giveUp waits for no more answers to a request, since err.
func (r *round[V]) giveUp(b *part[V], q *sent, err error) {
	l, g := q.l, r.c.peering.group
	l.Cancel(q.op, q.s)
	q.span.answered(b.peer, nil, err)
	q.s.leave(func(items []byte) { g.unwantedMany(l, items) })
	q.s = nil
	r.open--
	b.lack(q.from, q.to, err)
}

func (r *round[V]) giveUpAll(err error) {
	for _, b := range r.away {
		for i := range b.asked {
			if q := &b.asked[i]; q.s != nil {
				r.giveUp(b, q, err)
			}
		}
	}
}

// takeIn takes in the answers for some keys.
func (r *round[V]) takeIn(b *part[V], q *sent, items []byte) {
	c := r.c
	var f wire.Frame
	for len(items) > 0 {
		var err error
		if items, err = wire.Next(items, &f); err != nil {
			b.lack(q.from, q.to, newPeerError(b.peer, err))
			return
		}
		i := int(f.Op)
		if i >= len(b.keys) || b.answered[i] {
			c.peering.group.unwanted(q.l, &f) // the owner would wait for its load
			continue
		}
		b.answered[i] = true
		key := b.keys[i]
		switch f.Type {
		case wire.Hit:
			v, err := c.peering.decode(f.Value)
			if err != nil {
				c.peering.undecodable(b.peer, key, err)
				b.lackOne(i, err)
				continue
			}
			c.n.peerHits.Add(1)
			c.peering.countZone(r.view, b.owner, len(f.Value))
			r.found[key] = v
		case wire.NotFound:
			c.n.peerHits.Add(1)
		case wire.FillRight:
			r.loadHeld(key, b.hashes[i], q.l, q.voids, &f)
		case wire.Alone:
			r.loadAlone(b, i, q, &f)
		case wire.Done: // too long to come with others
			r.large = append(r.large, key)
		default:
			f.Text = strings.Clone(f.Text) // the error is kept, the items are not
			how, err := verdictOn(b.peer, &f, r.canLoad())
			switch how {
			case elsewhere:
				r.astray = c.peering.tenures.view()
				c.peering.group.reconcile(q.l, r.astray, f.Ring)
				r.again = append(r.again, key)
			case lost:
				r.again = append(r.again, key)
			case unreachable, unshared:
				b.lackOne(i, err)
			default:
				r.fail(key, err)
			}
		}
	}
}

// fetch gets a key whose value is too long to come with others.
func (m *many[V]) fetch(key string) {
	v, err := m.c.Get(m.ctx, key, m.c.single(m.load))
	if err == nil {
		m.found[key] = v
	} else if !errors.Is(err, ErrNotFound) {
		m.fail(key, err)
	}
}

// single returns a loader of one key that calls a bulk loader; nil if load is nil.
func (c *Cache[V]) single(load BulkLoader[V]) Loader[V] {
	if load == nil {
		return nil
	}
	return func(ctx context.Context, key string) (V, error) {
		values, err := load(ctx, []string{key})
		v, ok := values[key]
		if !ok && err == nil {
			err = ErrNotFound
		}
		return v, err
	}
}

// loadHeld loads a key under a right, together with the other keys of the call.
func (r *round[V]) loadHeld(key string, hash uint32, l *link.Link, voids uint64, answer *wire.Frame) {
	c := r.c
	held := c.peering.holds.enter(key, l, voids)
	rt := &right{isHolder: true, link: l, token: answer.Token, over: func(err error, load []byte) { c.peering.holds.leave(held, err, load) }}
	f, err := r.startHeld(key, hash, rt, c.peering.staleOf(answer, key, hash))
	if err != nil {
		c.peering.giveBack(rt, key, err)
		r.fail(key, err)
		return
	}
	r.waiting = append(r.waiting, pending[V]{f: f, key: key, own: true})
}

// startHeld is the peering's startHeld, or makes the key part of the call's own load.
func (m *many[V]) startHeld(key string, hash uint32, r *right, old *node) (*flight[V], error) {
	c := m.c
	if m.load == nil {
		return c.peering.startHeld(request[V]{ctx: m.ctx, key: key, hash: hash, load: c.opt.Loader}, r, old, nil)
	}
	s := c.lock(hash)
	defer s.unlock()
	if c.closed.Load() {
		return nil, c.errClosed()
	}
	f := s.newHeld(key, hash, r, old)
	s.addFlightTo(&m.bulk, m.ctx, f)
	c.peering.announce(f)
	return f, nil
}

// loadAlone makes the i-th key, which its owner does not share, part of the call's own load, if
// what that brings may be kept. Otherwise failover sees to the key.
func (r *round[V]) loadAlone(b *part[V], i int, q *sent, answer *wire.Frame) {
	c, key := r.c, b.keys[i]
	unsharing := c.peering.unsharedWith(q.l)
	g := grantOf(q.l, answer, q.asked)
	if g == nil || !r.canLoad() {
		b.lackOne(i, unsharing)
		return
	}
	p, hit, err := r.join(request[V]{ctx: r.ctx, key: key, hash: b.hashes[i], gen: r.gen, keep: true, grant: g})
	switch {
	case err != nil:
		r.fail(key, err)
	case hit != nil:
		c.countHit(hit)
		if hit.flags&flagNegative == 0 {
			r.found[key] = entryOf[V](hit).value
		}
	case p.f != nil:
		r.waiting = append(r.waiting, p)
	default:
		b.lackOne(i, unsharing)
	}
}

// failover loads the keys here for which the owner has no answer. They are not stored. If the link
// to it has ended, the owner is asked once more before that, or whoever has taken its place.
func (r *round[V]) failover(b *part[V]) {
	c, v := r.c, r.view
	cause, lacking := cmp.Or(b.err, b.unshared), b.lacking
	redial := b.err != nil && r.attempt == 0 && isBroken(b.err) // shows whether the owner is gone
	if b.err != nil && !redial {
		lacking = r.readReplicas(b, lacking)
	}
	if b.err != nil && !redial && len(lacking) > 0 && b.owner >= 0 && b.owner < len(v.ring.members) {
		r.startBulk() // others may wait for it
		redial = c.peering.awaitSuccessor(r.ctx, v, b.owner)
	}
	if b.err != nil && !redial {
		name, key := "", ""
		if b.owner >= 0 && b.owner < len(v.peers) {
			name = v.nameOf(b.owner)
		}
		if len(b.keys) > 0 {
			key = b.keys[0]
		}
		c.peering.countPeerError(name, key, b.err)
	}
	b.err, b.unshared, b.lacking = nil, nil, b.lacking[:0]
	if !redial {
		for _, i := range lacking {
			r.outwait(b.keys[i], b.hashes[i])
		}
	}
	gen := c.store.gen.Load()
	for _, i := range lacking {
		key := b.keys[i]
		switch {
		case r.ctx.Err() != nil:
			r.fail(key, context.Cause(r.ctx))
			continue
		case redial || c.peering.tenures.view() != v:
			r.again = append(r.again, key)
			continue
		}
		p, _, err := r.join(request[V]{ctx: r.ctx, key: key, hash: b.hashes[i], gen: gen})
		switch {
		case errors.Is(err, ErrNoLoader):
			r.fail(key, errors.Join(err, cause))
		case err != nil:
			r.fail(key, err)
		case p.f == nil:
			r.again = append(r.again, key)
		default:
			r.waiting = append(r.waiting, p)
		}
	}
}

// readReplicas gets keys whose owner cannot be asked from others that have them in custody, and
// returns the rest.
func (r *round[V]) readReplicas(b *part[V], lacking []int) (rest []int) {
	p, v := r.c.peering, r.view
	if !v.isShared() || b.owner < 0 {
		return lacking
	}
	type result struct {
		value V
		err   error
		ok    bool
	}
	results := make([]result, len(lacking))
	var calls errgroup.Group
	calls.SetLimit(manyAtOnce)
	ctx, cancel := context.WithTimeout(r.ctx, replicaFor)
	defer cancel()
	for at, i := range lacking {
		calls.Go(func() error {
			one := &results[at]
			one.value, one.err, one.ok = p.getAtReplicas(ctx, v, b.owner, b.keys[i])
			return nil
		})
	}
	_ = calls.Wait()
	for at, i := range lacking {
		switch one := &results[at]; {
		case !one.ok:
			rest = append(rest, i)
		case one.err == nil:
			r.found[b.keys[i]] = one.value
		}
	}
	return rest
}

// startBulk runs the load of the keys that have been gathered for it, if there are any.
func (m *many[V]) startBulk() {
	if m.bulk != nil {
		m.c.startBulk(m.bulk, m.load, nil)
		m.bulk = nil
	}
}
