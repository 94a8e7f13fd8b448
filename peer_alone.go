package covey

// peer_alone.go is for keys whose owner has no such cache, or has it with another codec: while a
// deploy adds a cache, renames it or changes what is in it. The owner cannot hold the values then,
// but it decides all the same: it remembers who keeps one, as it does with copies, and a write goes
// to it and takes back what is kept before it takes effect. If it has no such cache, a stand-in
// does that (standin.go). So all that is true of copies is true here, too, at any time and whoever
// gets or closes the cache meanwhile. See docs/adr/0010-owners-without-the-cache.md.
//
// Each process loads such a key for itself: once, for all who come while it loads, and keeps the
// value as a copy, for aloneFor after it has asked the owner.

import (
	"errors"
	"fmt"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// aloneFor is how long a process keeps what it has loaded of a key whose owner has no such cache.
const aloneFor = 10 * time.Second

// A grant is an owner's word that this process may keep what it loads of a key, until it is
// recalled.
type grant struct {
	lender *link.Link
	asked  int64 // when the owner was asked, by the cache's clock
	until  int64
}

// mayKeep reports whether what is loaded of a key under a grant may be kept: if the key has been
// recalled since it was asked for, the owner does not remember it any more.
func (s *shard[V]) mayKeep(key string, g *grant) bool {
	recalled, ok := s.recalled[key]
	return !(ok && recalled >= g.asked) && s.recalledAll < g.asked && s.c.inForce(g)
}

// inForce reports whether a grant that has not been recalled may be used.
func (c *Cache[V]) inForce(g *grant) bool {
	now := c.store.clock.now()
	return now < g.until && c.peering.isLeased(g.lender, now)
}

// sharesWith reports whether the other end of a link has the cache with the same codec, as far as
// it has said. If not, it decides: it may just have got it.
func (p *peering[V]) sharesWith(l *link.Link) bool {
	codec, ok := l.Codec(p.c.name)
	return ok && codec == p.codec
}

// differsAt reports whether the other end of a link has said that it has the cache with another codec.
func (p *peering[V]) differsAt(l *link.Link) bool {
	codec, ok := l.Codec(p.c.name)
	return ok && codec != p.codec && codec != noCodec
}

// unsharedWith counts that the owner of a key has said that it does not share it, and returns why.
// That is logged once.
func (p *peering[V]) unsharedWith(l *link.Link) *PeerError {
	p.c.n.alone.Add(1)
	err := &PeerError{Peer: l.Name(), Code: PeerHasNoCache}
	switch codec, _ := l.Codec(p.c.name); {
	case codec == noCodec:
		err.Err = fmt.Errorf("it has no cache %q: every member should have it", p.c.name)
		if p.group.steady() < int64(strangePatience) { // it may be about to come
			return err
		}
		p.logUnshared(l.Name(), codec, err)
	case codec == p.codec:
		err.Err = fmt.Errorf("it has the cache %q since just now", p.c.name)
	default:
		err.Err = fmt.Errorf("codec %s there, %s here: the types of the values differ, or Options.Codec or Version; old and new processes differ so during a deploy", codec, p.codec)
		p.logUnshared(l.Name(), codec, err)
	}
	return err
}

func (p *peering[V]) logUnshared(peer, codec string, err error) {
	if _, before := p.unshared.LoadOrStore([2]string{peer, codec}, true); !before {
		p.c.log.logger.Warn("covey: a member does not share this cache; each process loads for itself what that one owns", "peer", peer, "keptFor", aloneFor, "err", err)
	}
}

// The caller's side.

// joinAlone makes the caller wait for a load under a grant, if there is one.
func (p *peering[V]) joinAlone(q request[V]) (value V, joined bool, how verdict, err error) {
	s := p.c.lock(q.hash)
	f := s.joinable(q.key, true)
	if f == nil || f.grant == nil || f.gen != q.gen {
		s.unlock()
		return value, false, answered, nil
	}
	err = s.attach(q.ctx, f)
	s.unlock()
	if err != nil {
		return value, true, answered, err
	}
	p.c.n.coalesced.Add(1)
	value, how, err = p.c.wait(q.ctx, f, nil)
	return value, true, how, err
}

// loadAlone loads a key whose owner does not share it, as it has answered to what was asked at a
// time, and keeps the value if it may. Whoever comes before it has been recalled joins the load.
func (p *peering[V]) loadAlone(q request[V], l *link.Link, answer *wire.Frame, asked int64) (value V, how verdict, err error) {
	unsharing := p.unsharedWith(l)
	if q.grant = grantOf(l, answer, asked); q.grant == nil || q.load == nil {
		return value, unshared, unsharing
	}
	q.keep = true
	f, hit, err := p.c.join(q)
	switch {
	case err != nil:
		return value, answered, err
	case hit != nil: // somebody else has just loaded it
		p.c.countHit(hit)
		value, err = p.c.content(hit)
		return value, answered, err
	case f == nil && p.c.store.gen.Load() == q.gen: // a write has just recalled it
		return value, unshared, unsharing
	case f == nil:
		return value, elsewhere, unsharing
	}
	return p.c.wait(q.ctx, f, nil)
}

// grantOf returns what the owner grants that answers so to what was asked at a time; nil if that is
// nothing.
func grantOf(l *link.Link, answer *wire.Frame, asked int64) *grant {
	if answer.Flags&wire.Loan == 0 || asked == 0 {
		return nil
	}
	return &grant{lender: l, asked: asked, until: asked + int64(answer.TTL)}
}

// keepLoaded ends a flight under a grant with the outcome of its load, and keeps what that has
// brought unless it has been recalled.
func (p *peering[V]) keepLoaded(f *flight[V], o outcome[V]) {
	c := p.c
	if o.lost || o.err != nil && !errors.Is(o.err, ErrNotFound) {
		c.fail(f, o)
		return
	}
	e := p.kept(f, o)
	s := c.lock(f.hash)
	if f.finished {
		s.unlock()
		return
	}
	may := f.linked && f.gen == c.store.gen.Load()
	s.end(f)
	if may = may && e != nil; may {
		e.gen.Store(f.gen)
		may = s.insertCopy(e) // which is good as long as the grant is
	}
	s.unlock()
	if e != nil && !may {
		c.n.discard(byWrite)
	}
	if may {
		c.trimCopies(&e.node) // who waits finds the bound kept
	}
	c.land(f, o.value, o.err)
	for may && c.trim() { // after that, as Events.Removed may take long
	}
}

// kept makes a copy of what a load has brought; nil if that is not to be kept.
func (p *peering[V]) kept(f *flight[V], o outcome[V]) *borrowed[V] {
	c := p.c
	flags := uint8(flagBorrowed)
	until := c.expiry(o.end, f.hash, c.opt.TTL, o.meta)
	none := o.meta.isStale()
	if o.err != nil {
		flags |= flagNegative
		until = c.expiry(o.end, f.hash, c.opt.NegativeTTL, loadMeta{})
		none = o.meta.noStore || c.opt.NegativeTTL <= 0
	}
	if none {
		return nil
	}
	size, ok := c.copySize(f.key, o.value, flags)
	if !ok {
		return nil
	}
	c.seal(&o.value)
	e := c.newCopy(f.grant.lender, f.key, f.hash, o.value, flags, size, o.begin, o.end)
	e.expires = min(until, f.grant.until)
	if o.meta.hasVersion {
		e.flags |= flagVersioned
		e.version = o.meta.version
	}
	return e
}

// The owner's side.

// serveAlone answers a process that has the cache with another codec, or that has it where this one
// does not. It reports whether it has: invalidations are the same for all.
func (p *peering[V]) serveAlone(r *link.Request) bool {
	switch r.Type {
	case wire.Get:
		p.countServed(r.Key)
		r.Answer(p.answerAlone(r.Link(), r.Key, r.Flags))
	case wire.GetMany:
		p.serveManyAlone(r)
	case wire.Lookup, wire.Peek, wire.Await, wire.Replicate:
		r.Answer(&wire.Frame{Type: wire.Done})
	case wire.Reload:
		if v := p.tenures.view(); !v.isOwn(r.Key) {
			r.Answer(notOwner(v))
			return true
		}
		r.Answer(&wire.Frame{Type: wire.Alone})
	case wire.Fill:
		p.revoke(r.Key, r.Token, r.Link())
		r.Answer(&wire.Frame{Type: wire.Done})
	default:
		return false
	}
	return true
}

// answerAlone returns the answer to a Get with those flags: whoever asks has to load the key itself, and
// may keep it if this process will be able to take it back. That is remembered as a loan.
func (p *peering[V]) answerAlone(to *link.Link, key string, flags wire.Flags) *wire.Frame {
	hash := p.c.store.hash(key)
	s := p.c.lock(hash)
	defer s.unlock()
	v := p.tenures.view()
	if !v.isOwn(key) {
		p.c.n.notOwner.Add(1)
		return notOwner(v)
	}
	f := &wire.Frame{Type: wire.Alone}
	// Over plain HTTP nothing can be taken back: CanLoad is never set.
	if flags&wire.CanLoad == 0 || p.c.closed.Load() || s.writing[key] != nil || !p.acts(v, ringHash(key)) {
		return f
	}
	l := s.lendingOf(key)
	if l == nil {
		return f
	}
	l.lend(loan{to, p.c.store.clock.steady() + int64(aloneFor), p.group.tokens.Add(1)})
	p.c.n.loans.Add(1)
	f.Flags, f.TTL = wire.Loan, aloneFor
	return f
}

func (p *peering[V]) serveManyAlone(r *link.Request) {
	buf := p.buffer()
	answers := &manyAnswers{left: 1, items: (*buf)[:0]}
	var req wire.Frame
	for items, keys := r.Items, 0; len(items) > 0; keys++ {
		var err error
		if items, err = wire.Next(items, &req); err != nil || keys == wire.MaxItems {
			answers.add(r.Op, &wire.Frame{Type: wire.Failed, Code: wire.CodeMalformed})
			break
		}
		p.countServed(req.Key)
		index := req.Op
		if err := checkKey(req.Key); err != nil {
			answers.add(index, &wire.Frame{Type: wire.Failed, Code: wire.CodeMalformed, Text: err.Error()})
			continue
		}
		answers.add(index, p.answerAlone(r.Link(), req.Key, r.Flags))
	}
	answers.flush(r)
	if *buf = answers.items; cap(*buf) <= 4*maxRequest {
		p.buffers.Put(buf) // the link has copied them
	}
}
