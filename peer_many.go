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
)

// batches are the keys of a GetMany, one part for each owner.
type batches[V any] []*part[V]

// A part is what one owner is asked for.
type part[V any] struct {
	owner  int
	keys   []string
	hashes []uint32

	peer     string
	err      error  // why the owner cannot be asked for the rest of them
	unshared error  // why this process loads some of them for itself
	asked    []sent // a request each, of as many keys as fit

	answered []bool
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
		keys: b.keys[:0], hashes: b.hashes[:0], answered: b.answered[:0], asked: b.asked[:0],
	}
	c.peering.parts.Put(b)
}

// A sent is a request that waits for its answers.
type sent struct {
	s     *manySink
	op    uint32
	l     *link.Link
	voids uint64 // of the holds when it was sent
	at    time.Time
	gen   uint32 // of the cache, by which the owner was looked up
	asked int64  // the same time by the cache's clock, if the owner does not share the keys; else 0
}

// manySink gathers the answers to one request for many keys.
type manySink struct {
	changed chan struct{} // of capacity 1

	mu    sync.Mutex
	items [][]byte // of the answers that have not been taken
	heard bool     // the owner has said something, if only that some keys take a while
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
	switch f.Type {
	case wire.Many:
		s.items = append(s.items, append([]byte(nil), f.Items...))
	case wire.Held:
	default:
		s.err = answerError("", &wire.Frame{Type: f.Type, Code: f.Code, Text: strings.Clone(f.Text)})
	}
	s.heard, s.last = true, s.last || last
	s.mu.Unlock()
	s.wake()
}

// Slow implements link.Sink.
func (s *manySink) Slow() {}

// Fail implements link.Sink.
func (s *manySink) Fail(err error) {
	s.mu.Lock()
	s.err, s.last = err, true
	s.mu.Unlock()
	s.wake()
}

func (s *manySink) wake() {
	select {
	case s.changed <- struct{}{}:
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

// askAway sends the requests, takes in what the owners answer at once, and starts or joins the
// loads of what they do not have. It returns the flights to wait for; finish takes in the rest.
func (m *many[V]) askAway(v *view, gen uint32, away batches[V]) (waiting []pending[V]) {
	for _, b := range away {
		m.send(v, gen, b)
	}
	for _, b := range away {
		for i := range b.asked {
			waiting = append(waiting, m.collect(b, &b.asked[i], true)...)
		}
		if b.isLacking() {
			waiting = append(waiting, m.failover(v, gen, b)...)
		}
	}
	return waiting
}

func (m *many[V]) send(v *view, gen uint32, b *part[V]) {
	c := m.c
	b.answered = slices.Grow(b.answered, len(b.keys))[:len(b.keys)]
	if b.owner < 0 {
		b.err = errors.New("covey: there are no members")
		return
	}
	p := v.peers[b.owner]
	if p == nil {
		b.err = errNoMembers
		return
	}
	b.peer = p.Name()
	l, err := c.peering.linkSoon(m.ctx, p, m.canLoad())
	if err != nil {
		b.err = err
		return
	}
	f := wire.Frame{Type: wire.GetMany, Cache: c.peering.id, Chain: loadingOf(m.ctx).chain(c.peering.group)}
	if m.passed {
		f.Flags = wire.CanLoad | wire.Closure
	} else if m.canLoad() {
		f.Flags = wire.CanLoad
	}
	asked := int64(0)
	if !c.peering.sharesWith(l) {
		asked = c.store.clock.now()
	}
	ask := func() {
		s, _ := c.peering.sinks.Get().(*manySink)
		if s == nil {
			s = &manySink{changed: make(chan struct{}, 1)}
		}
		voids := c.peering.holds.voids.Load()
		op, err := l.Send(m.ctx, &f, s)
		if err != nil {
			b.err = peerError(m.ctx, b.peer, err)
			return
		}
		b.asked = append(b.asked, sent{s: s, op: op, l: l, voids: voids, at: time.Now(), gen: gen, asked: asked})
	}
	one := wire.Frame{Type: wire.Get}
	n := 0
	buf := c.peering.buffer()
	f.Items = (*buf)[:0]
	for i, key := range b.keys {
		one.Op, one.Key = uint32(i), key
		f.Items = wire.Append(f.Items, &one)
		if n++; n == wire.MaxItems || len(f.Items) > maxRequest {
			ask()
			f.Items, n = f.Items[:0], 0 // the link has copied them
		}
	}
	if n > 0 {
		ask()
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

// collect takes in answers to a request: those that have come once there is one, or all of them. It
// gives up an owner that says nothing, if this process can load.
func (m *many[V]) collect(b *part[V], q *sent, first bool) (waiting []pending[V]) {
	var s silence
	for q.s != nil {
		items, last, err := q.s.take()
		for _, it := range items {
			waiting = append(waiting, m.takeIn(b, q, it)...)
		}
		if err != nil {
			b.err = err
			var peer *PeerError
			if !errors.As(err, &peer) || peer.Peer == "" {
				b.err = peerError(m.ctx, b.peer, err)
			}
		}
		if last || err != nil {
			if err == nil {
				q.s.heard, q.s.last = false, false
				m.c.peering.sinks.Put(q.s)
			}
			q.s = nil
			return waiting
		}
		if first && items != nil {
			return waiting
		}
		if first && s.timer == nil && m.canLoad() {
			s.begin(q.l, q.at)
			defer s.timer.Stop()
		}
		select {
		case <-q.s.changed:
		case <-m.ctx.Done():
			m.giveUp(b, q, context.Cause(m.ctx))
		case <-s.passed:
			if !q.s.hasHeard() && s.isLong(q.l) {
				m.giveUp(b, q, newPeerError(b.peer, errSilent))
			}
		}
	}
	return waiting
}

// giveUp waits for no more answers to a request, since err.
func (m *many[V]) giveUp(b *part[V], q *sent, err error) {
	l, g := q.l, m.c.peering.group
	l.Cancel(q.op, q.s)
	q.s.leave(func(items []byte) { g.unwantedMany(l, items) })
	b.err, q.s = err, nil
}

// takeIn takes in the answers for some keys.
func (m *many[V]) takeIn(b *part[V], q *sent, items []byte) (waiting []pending[V]) {
	c := m.c
	var f wire.Frame
	for len(items) > 0 {
		var err error
		if items, err = wire.Next(items, &f); err != nil {
			b.err = newPeerError(b.peer, err)
			return waiting
		}
		i := int(f.Op)
		if i >= len(b.keys) || b.answered[i] {
			continue
		}
		b.answered[i] = true
		key := b.keys[i]
		switch f.Type {
		case wire.Hit:
			v, err := c.peering.decode(f.Value)
			if err != nil {
				c.peering.undecodable(b.peer, key, err)
				b.answered[i], b.unshared = false, err
				continue
			}
			c.n.peerHits.Add(1)
			m.found[key] = v
		case wire.NotFound:
			c.n.peerHits.Add(1)
		case wire.FillRight:
			if p, ok := m.loadHeld(key, b.hashes[i], q.l, q.voids, &f); ok {
				waiting = append(waiting, p)
			}
		case wire.Alone:
			if p, ok := m.loadAlone(b, i, q, &f); ok {
				waiting = append(waiting, p)
			}
		case wire.Done: // too long to come with others
			v, err := c.Get(m.ctx, key, c.single(m.load))
			if err == nil {
				m.found[key] = v
			} else if !errors.Is(err, ErrNotFound) {
				m.fail(key, err)
			}
		default:
			f.Text = strings.Clone(f.Text) // the error is kept, the items are not
			how, err := verdictOn(b.peer, &f, m.canLoad())
			switch how {
			case elsewhere:
				m.astray = c.peering.tenures.view()
				c.peering.group.reconcile(q.l, m.astray, f.Ring)
				m.again = append(m.again, key)
			case lost:
				m.again = append(m.again, key)
			case unreachable, unshared:
				b.answered[i], b.unshared = false, err
			default:
				m.fail(key, err)
			}
		}
	}
	return waiting
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
func (m *many[V]) loadHeld(key string, hash uint32, l *link.Link, voids uint64, answer *wire.Frame) (p pending[V], ok bool) {
	c := m.c
	held := c.peering.holds.enter(key, l, voids)
	r := &right{isHolder: true, link: l, token: answer.Token, over: func(err error) { c.peering.holds.leave(held, err) }}
	old := c.peering.staleOf(answer, key, hash)
	if m.load == nil {
		f, err := c.peering.startHeld(request[V]{ctx: m.ctx, key: key, hash: hash, load: c.opt.Loader}, r, old, nil)
		if err != nil {
			c.peering.giveBack(r, key, err)
			m.fail(key, err)
			return p, false
		}
		return pending[V]{f: f, key: key, own: true}, true
	}
	s := c.lock(hash)
	if c.closed.Load() {
		s.unlock()
		c.peering.giveBack(r, key, c.errClosed())
		m.fail(key, c.errClosed())
		return p, false
	}
	defer s.unlock()
	if m.bulk == nil {
		m.bulk = c.newBulk(m.ctx)
	}
	f := s.newHeld(key, hash, r, old)
	m.bulk.add(f)
	_ = s.attach(m.ctx, f) // a load that has not begun waits for nobody
	c.peering.announce(f)
	return pending[V]{f: f, key: key, own: true}, true
}

// loadAlone makes the i-th key, which its owner does not share, part of the call's own load, if
// what that brings may be kept. Otherwise failover sees to the key.
func (m *many[V]) loadAlone(b *part[V], i int, q *sent, answer *wire.Frame) (p pending[V], ok bool) {
	c, key := m.c, b.keys[i]
	unsharing := c.peering.unsharedWith(q.l)
	g := grantOf(q.l, answer, q.asked)
	if g != nil && (m.load != nil || c.opt.Loader != nil) {
		p, hit, err := m.join(request[V]{ctx: m.ctx, key: key, hash: b.hashes[i], gen: q.gen, keep: true, grant: g})
		switch {
		case err != nil:
			m.fail(key, err)
			return p, false
		case hit != nil:
			c.useCopy(hit)
			if hit.flags&flagNegative == 0 {
				m.found[key] = entryOf[V](hit).value
			}
			return p, false
		case p.f != nil:
			return p, true
		}
	}
	b.answered[i], b.unshared = false, unsharing
	return p, false
}

// isLacking reports whether the owner has not answered for some of the keys, and will not.
func (b *part[V]) isLacking() bool { return b.err != nil || b.unshared != nil }

// failover loads the keys here for which the owner has not answered. They are not stored. If the
// link to it has ended, the owner is asked once more before that, or whoever has taken its place.
func (m *many[V]) failover(v *view, gen uint32, b *part[V]) (waiting []pending[V]) {
	c := m.c
	redial := b.err != nil && m.attempt == 0 && isBroken(b.err) // shows whether the owner is gone
	if b.err != nil && !redial && b.owner >= 0 && b.owner < len(v.ring.members) {
		redial = c.peering.awaitSuccessor(m.ctx, v, b.owner)
	}
	if b.err != nil && !redial {
		c.n.peerErrors.Add(1)
	}
	cause := cmp.Or(b.err, b.unshared)
	b.err, b.unshared = nil, nil
	for i, key := range b.keys {
		if !b.answered[i] && !redial {
			m.outwait(key, b.hashes[i])
		}
	}
	for i, key := range b.keys {
		if b.answered[i] {
			continue
		}
		b.answered[i] = true
		switch {
		case m.ctx.Err() != nil:
			m.fail(key, context.Cause(m.ctx))
			continue
		case redial || c.peering.tenures.view() != v:
			m.again = append(m.again, key)
			continue
		}
		p, _, err := m.join(request[V]{ctx: m.ctx, key: key, hash: b.hashes[i], gen: gen})
		switch {
		case errors.Is(err, ErrNoLoader):
			m.fail(key, errors.Join(err, cause))
		case err != nil:
			m.fail(key, err)
		case p.f == nil:
			m.again = append(m.again, key)
		default:
			waiting = append(waiting, p)
		}
	}
	return waiting
}

// finish takes in the answers for which the owners had to wait.
func (m *many[V]) finish(b *part[V]) {
	for i := range b.asked {
		waiting := m.collect(b, &b.asked[i], false)
		m.startBulk()
		m.wait(waiting)
	}
	if b.isLacking() {
		v := m.c.peering.tenures.view()
		waiting := m.failover(v, m.c.store.gen.Load(), b)
		m.startBulk()
		m.wait(waiting)
	}
}

// startBulk runs the load of the keys that have been gathered for it, if there are any.
func (m *many[V]) startBulk() {
	if m.bulk != nil {
		m.c.startBulk(m.bulk, m.load, nil)
		m.bulk = nil
	}
}
