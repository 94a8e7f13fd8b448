package covey

// peer_lend.go is the owner's side of copies: a peer that often asks for a key may keep a copy, and
// a write recalls all copies before it takes effect.
//
// A copy is valid until its own TTL ends, it is recalled, or the lease of the link over which it
// was lent ends, whichever comes first (leases: Gray and Cheriton 1989; of whole connections: Yin
// et al. 1999). Loans are recorded apart from the entries, so an eviction forgets none.

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/link"
	agreed "github.com/coveycache/covey/internal/view"
	"github.com/coveycache/covey/internal/wire"
)

// A lending is what is lent of one key, guarded by the segment's lock.
type lending struct {
	copies []loan
	debt   int // requests to come before the key is lent again
}

type loan struct {
	link  *link.Link
	until int64  // the copy's own end, by the monotonic clock: the borrower's wall clock may not have jumped
	id    uint64 // of the loans of one key, the later one has the higher id
}

const (
	// maxLoans bounds what a segment of the index remembers of loans.
	maxLoans = 4 << 10
	// forgetEvery is the pause after an attempt to make room, which looks at about forgetFew loans.
	forgetEvery = time.Millisecond
	forgetFew   = 64
	// takeBackEvery is the pause after takeBackFew keys were recalled to make room.
	takeBackEvery = time.Second
	takeBackFew   = maxLoans / 64
	// recallPrice is how many requests a copy must have saved for its recall to have been worth it.
	// If the copies of a key have saved fewer, the key is lent again only after recallPrice
	// requests for each one that was missing. (Gray and Cheriton 1989 weigh reads against writes
	// and sharers in the same way.)
	recallPrice = 2
)

// lend answers r with a copy to keep, if the key may be lent, and reports whether it did. Looking
// up, registering the loan and queueing the answer are one critical section.
func (p *peering[V]) lend(r *link.Request, hash uint32, n *node) bool {
	f := wire.Frame{Type: wire.NotFound}
	if n.flags&flagNegative == 0 {
		if p.encodeHit(&f, n, r.Link()); f.Type != wire.Hit {
			return false
		}
	}
	s := p.c.lock(hash)
	defer s.unlock()
	now := p.c.store.clock.now()
	st := p.c.judge(n, now)
	if p.c.closed.Load() || p.c.store.index.find(hash, n.key) != n || st != fresh && st != negative || n.flags&flagBorrowed != 0 || !p.acts(p.tenures.view(), ringHash(n.key)) {
		return false
	}
	if s.writing[n.key] != nil {
		return false
	}
	until := n.expires
	if until != never && st == fresh {
		// Copies end before the entry. Then everybody who wants it asks here, and one of them
		// causes the early refresh.
		until -= nanos(3 * p.c.delta(n))
		if until <= now {
			return false
		}
	}
	l := s.lendingOf(n.key)
	if l == nil {
		return false
	}
	if l.debt > 0 {
		l.debt--
		return false
	}
	end := until
	p.meta(&f, n, now)
	if until != never {
		f.TTL = time.Duration(until - now)
		end = p.c.store.clock.steady() + int64(f.TTL)
	}
	l.lend(loan{r.Link(), end, p.group.tokens.Add(1)})
	f.Flags |= wire.Loan
	p.c.n.loans.Add(1)
	r.Answer(&f)
	return true
}

// lendingOf returns what is lent of key, nil if there is no room to remember it.
func (s *shard[V]) lendingOf(key string) *lending {
	l := s.loans[key]
	if l == nil {
		if len(s.loans) >= maxLoans && !s.forgetLoans(s.c.store.clock.steady()) {
			return nil
		}
		if s.loans == nil {
			s.loans = make(map[string]*lending)
		}
		l = new(lending)
		s.loans[strings.Clone(key)] = l
	}
	return l
}

func (l *lending) lend(one loan) {
	for i := range l.copies {
		if l.copies[i].link == one.link {
			l.copies[i] = one
			return
		}
	}
	l.copies = append(l.copies, one)
}

// forgetLoans makes room for more loans: those that have run out need not be remembered. It looks
// at a few, whichever they are, since the shard is locked and somebody waits for an answer. If that
// is not enough it takes some copies back, as borrowers do not say when they give one up.
func (s *shard[V]) forgetLoans(now int64) (room bool) {
	if now < s.forget {
		return false
	}
	s.forget = now + int64(forgetEvery)
	looked := 0
	for key, l := range s.loans {
		looked += 1 + len(l.copies)
		live := l.copies[:0]
		for _, one := range l.copies {
			if one.until > now && (one.link.Err() == nil || s.c.peering.group.leased(one.link)) {
				live = append(live, one)
			}
		}
		if l.copies = live; len(live) == 0 {
			delete(s.loans, key)
		}
		if looked >= forgetFew {
			break
		}
	}
	if len(s.loans) < maxLoans {
		return true
	}
	if now < s.takeBack {
		return false
	}
	s.takeBack = now + int64(takeBackEvery)
	some := make([]string, 0, takeBackFew)
	for key := range s.loans {
		if some = append(some, key); len(some) == cap(some) {
			break
		}
	}
	s.c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(s.c.peering.group.ctx, s.c.peering.group.opt.OpTimeout)
		defer cancel()
		for _, key := range some {
			if err := s.c.peering.recall(ctx, key, s.c.store.hash(key)); err != nil {
				return
			}
			s.mu.Lock()
			if l := s.loans[key]; l != nil && len(l.copies) == 0 {
				delete(s.loans, key)
			}
			s.unlock()
		}
	})
	return false
}

// leased reports whether the other end of a link may still have the lease that this process gave
// it.
func (g *Group) leased(l *link.Link) bool { return int64(time.Since(g.skew.start)) < l.GivenUntil() }

// lent reports whether there are copies of the key.
func (s *shard[V]) lent(key string) bool {
	l := s.loans[key]
	return l != nil && len(l.copies) > 0
}

// recall takes back all copies of a key and returns when nobody can use one any more. The caller
// keeps the key from being lent meanwhile.
func (p *peering[V]) recall(ctx context.Context, key string, hash uint32) error {
	s := p.c.lock(hash)
	l := s.loans[key]
	if l == nil || len(l.copies) == 0 {
		s.unlock()
		return nil
	}
	now := p.c.store.clock.steady()
	var borrowers []*link.Link
	copies, last := len(l.copies), uint64(0)
	for _, one := range l.copies {
		last = max(last, one.id)
		if one.until > now {
			borrowers = append(borrowers, one.link)
		}
	}
	s.unlock()

	frame := &wire.Frame{Type: wire.Recall, Cache: p.id, Key: key}
	asked, err := p.recallFrom(ctx, borrowers, func(*link.Link) *wire.Frame { return frame })
	if err != nil {
		return err
	}
	p.c.lately.recalled.note(hash, wire.Recall, p.c.store.clock.now())
	s.mu.Lock()
	defer s.unlock()
	if s.loans[key] == l {
		saved := uint64(0)
		for _, a := range asked {
			saved += min(a.saved, 1<<30)
		}
		if price := uint64(recallPrice * copies); saved < price {
			l.debt = recallPrice * int(price-saved)
		}
		l.copies = slices.DeleteFunc(l.copies, func(one loan) bool { return one.id <= last })
	}
	return nil
}

// recallFrom has the borrowers give back the copies that the frame for each of them says. It returns
// when none of them can use one any more.
func (p *peering[V]) recallFrom(
	ctx context.Context, borrowers []*link.Link, frame func(*link.Link) *wire.Frame,
) ([]*recallOf, error) {
	waits := recalls{all: make(chan struct{}, 1), left: 1}
	asked := make([]*recallOf, 0, len(borrowers))
	for _, l := range borrowers {
		p.c.n.recalls.Add(1)
		a := &recallOf{recalls: &waits, link: l}
		asked = append(asked, a)
		waits.expect()
		if _, err := l.Send(ctx, frame(l), a); err != nil {
			l.Close() // so that the copy goes even if the caller has no time left
			a.Fail(err)
		}
	}
	waits.done()
	select {
	case <-waits.all:
	case <-ctx.Done():
	}
	silent := slices.DeleteFunc(slices.Clone(asked), (*recallOf).confirmed)
	if ctx.Err() != nil && len(silent) > 0 {
		errs := []error{context.Cause(ctx)}
		for _, a := range silent[:min(len(silent), maxPeersSent)] {
			errs = append(errs, newPeerError(a.link.Name(), link.ErrTimeout))
		}
		return nil, errors.Join(errs...)
	}
	for _, a := range silent {
		a.link.Close() // all of them, even if there is no time left to wait
	}
	for _, a := range silent {
		if err := p.group.outwait(ctx, a.link); err != nil {
			return nil, newPeerError(a.link.Name(), err)
		}
	}
	return asked, nil
}

// outwait waits until the other end of a closed link no longer has a lease. That comes sooner if the
// process there makes another link, as it has dropped what it borrowed over this one, or if it has
// left or died.
func (g *Group) outwait(ctx context.Context, l *link.Link) error {
	back, leave := g.links.comeback(l)
	defer leave()
	id := agreed.ID{Name: l.Name(), Instance: l.Instance()}
	for g.leased(l) && !g.agreement.HasEnded(id) { // the lease may have been given once more while the link was being closed
		timer := time.NewTimer(min(outwaitEvery, time.Duration(l.GivenUntil())-time.Since(g.skew.start)))
		select {
		case <-timer.C:
		case <-back:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
	return nil
}

// outwaitEvery is how often outwait looks whether the process has ended.
const outwaitEvery = 20 * time.Millisecond

// recalls counts the answers that are still missing.
type recalls struct {
	mu   sync.Mutex
	left int
	all  chan struct{}
}

func (r *recalls) expect() {
	r.mu.Lock()
	r.left++
	r.mu.Unlock()
}

func (r *recalls) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left--; r.left == 0 {
		r.all <- struct{}{}
	}
}

// A recallOf is the sink of one of them.
type recallOf struct {
	*recalls
	link  *link.Link
	ok    bool   // guarded by recalls.mu
	saved uint64 // requests; guarded by recalls.mu
}

func (a *recallOf) confirmed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ok
}

// Answer implements link.Sink.
func (a *recallOf) Answer(f *wire.Frame, last bool) {
	if last {
		a.mu.Lock()
		a.ok, a.saved = f.Type == wire.Done, f.Count
		a.mu.Unlock()
		a.done()
	}
}

// Slow implements link.Sink.
func (a *recallOf) Slow() {}

// Fail implements link.Sink.
func (a *recallOf) Fail(error) { a.done() }

// reported takes note of the requests that a borrower has served from its copy.
func (g *Group) reported(_ *link.Link, cache, key string, hits uint64) {
	if c := (*g.caches.Load())[cache]; c != nil {
		c.used(key, hits)
	}
}

func (p *peering[V]) used(key string, hits uint64) {
	hash := p.c.store.hash(key)
	if n := p.c.store.index.find(hash, key); n != nil && n.flags&flagBorrowed == 0 {
		p.c.store.touch(n)
	}
	p.c.hot.Add(ringHash(key), key, min(hits, 1<<32), p.c.store.clock.now())
}
