package covey

// peer_clear.go clears a cache at every member. Each member first makes sure that it serves nothing
// from before, and then takes back everything that it has lent. Otherwise a copy that it lent to a
// peer which had already cleared would stay there.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// clearEverywhere clears the cache at all members.
func (p *peering[V]) clearEverywhere(ctx context.Context) error {
	began := p.c.store.clock.steady()
	limit := began + int64(p.group.opt.OpTimeout)
	for {
		v := p.tenures.view()
		err := p.clearIn(ctx, v, 0)
		if err == nil {
			return nil
		}
		if p.c.closed.Load() {
			return p.c.errClosed()
		}
		if ctx.Err() != nil || p.c.store.clock.steady() >= limit {
			p.pursuits.add("", began)
			p.c.n.unconfirmed.Add(1)
			return unconfirmed(p.c.name, "", err)
		}
		p.awaitChange(ctx, v, againAfter)
	}
}

// clearAll clears what was stored before began, for a Clear that could not be confirmed.
func (p *peering[V]) clearAll(ctx context.Context, began int64) error {
	ctx, cancel := context.WithTimeout(ctx, p.group.opt.OpTimeout)
	defer cancel()
	return p.clearIn(ctx, p.tenures.view(), began)
}

// clearIn clears the cache at all members of a view; if began is given, only what was stored before.
//
// It is enough that each member confirms while it goes by that view. Whoever comes with the next one
// acts only when all of them have given back what they lent, which is after they have cleared.
func (p *peering[V]) clearIn(ctx context.Context, v *view, began int64) error {
	var mu sync.Mutex
	var errs []error
	failed := func(err error) {
		if err != nil {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		}
	}
	if len(v.peers) == 0 {
		failed(p.group.noMembers())
	}
	var wg sync.WaitGroup
	for _, peer := range v.peers {
		if peer != nil {
			wg.Go(func() { failed(p.clearAt(ctx, v, peer, began)) })
		}
	}
	failed(p.clearOwn(ctx, began))
	wg.Wait()
	switch {
	case errs != nil:
		return errors.Join(errs...)
	case p.tenures.view() != v:
		return errElsewhere
	}
	// What members who are gone have lent.
	for _, q := range v.quiet {
		if left := time.Duration(q.until - p.group.steady()); left > 0 {
			timer := time.NewTimer(left)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// clearAt has a peer clear the cache, if it has that.
func (p *peering[V]) clearAt(ctx context.Context, v *view, peer *link.Peer, began int64) error {
	l, err := peer.Link(ctx)
	if err != nil {
		return newPeerError(peer.Name(), err)
	}
	f := wire.Frame{Type: wire.Clear, Cache: p.id}
	if began != 0 {
		f.Age = duration(p.c.store.clock.steady() - began)
	}
	answer, err := l.Call(ctx, &f)
	switch {
	case err != nil:
		return newPeerError(peer.Name(), err)
	case answer.Type == wire.Failed && answer.Code == wire.CodeUnknownCache:
		return nil // so it has nothing; what it announced last may be old
	case answer.Type != wire.Done:
		return p.writeError(peer.Name(), "", &answer)
	case answer.Ring != v.epoch:
		p.group.reconcile(l, v, answer.Ring)
		return &PeerError{Peer: peer.Name(), Err: fmt.Errorf("it goes by epoch %d, this process by %d", answer.Ring, v.epoch)}
	}
	return nil
}

// clearOwn clears the cache in this process and takes back what it has lent.
func (p *peering[V]) clearOwn(ctx context.Context, began int64) error {
	if began == 0 {
		p.c.clearHere()
		return p.recallAll(ctx, nil)
	}
	for i := range p.c.shards {
		for n := range p.c.store.index.segments[i].table.Load().all {
			gen, v := p.c.store.gen.Load(), p.tenures.view()
			if n.flags&flagBorrowed != 0 || !v.isOwn(n.key) {
				continue
			}
			ch := &change[V]{kind: wire.Delete, key: n.key, hash: n.hash, began: began}
			if err := p.commit(ctx, ch, gen, v, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// serveClear clears the cache for another process.
func (p *peering[V]) serveClear(r *link.Request) {
	began := int64(0)
	if r.Age > 0 {
		began = p.c.store.clock.steady() - int64(r.Age)
	}
	op := r.Keep(nil)
	p.later(op, func() {
		epoch := p.tenures.view().epoch
		ctx, cancel := context.WithTimeout(p.group.ctx, p.group.opt.OpTimeout)
		defer cancel()
		err := p.clearOwn(ctx, began)
		if err != nil {
			op.Answer(written(unconfirmed(p.c.name, "", err)))
			return
		}
		if p.tenures.view().epoch != epoch {
			epoch = 0
		}
		op.Answer(&wire.Frame{Type: wire.Done, Ring: epoch})
	})
}

// recallAll takes back all copies, with one request to each borrower; if concerns is given, only
// from borrowers with a copy of some key that it is true of. It follows clearHere or adopt, so what
// is lent of those keys meanwhile is newer than the Clear, or nothing.
func (p *peering[V]) recallAll(ctx context.Context, concerns func(key string) bool) error {
	borrowers := p.borrowers(concerns)
	if len(borrowers) == 0 {
		return nil
	}
	// What is lent from here on may arrive after the recall.
	last := p.group.tokens.Load()
	if _, err := p.recallFrom(ctx, slices.Collect(maps.Keys(borrowers)), ""); err != nil {
		return err
	}
	for i := range p.c.shards {
		s := p.c.lockAt(i)
		for key, l := range s.loans {
			l.copies = slices.DeleteFunc(l.copies, func(one loan) bool {
				_, asked := borrowers[one.link]
				return asked && one.id <= last
			})
			if len(l.copies) == 0 && l.debt == 0 {
				delete(s.loans, key)
			}
		}
		s.unlock()
	}
	return nil
}

// borrowers returns the links over which copies are lent, of keys that concerns is true of if it is
// given.
func (p *peering[V]) borrowers(concerns func(key string) bool) map[*link.Link]struct{} {
	links := make(map[*link.Link]struct{})
	now := p.c.store.clock.steady()
	for i := range p.c.shards {
		s := p.c.lockAt(i)
		for key, l := range s.loans {
			if concerns != nil && !concerns(key) {
				continue
			}
			for _, one := range l.copies {
				if one.until > now {
					links[one.link] = struct{}{}
				}
			}
		}
		s.unlock()
	}
	return links
}

// serveRecallAll gives back everything that the other end of the link has lent. From here on this
// process uses none of it, nor what is still on its way.
func (p *peering[V]) serveRecallAll(r *link.Request) {
	lender := r.Link()
	op := r.Keep(nil)
	p.later(op, func() {
		now := p.c.store.clock.now()
		for i := range p.c.shards {
			s := p.c.lockAt(i)
			s.recalledAll = now
			s.unlock()
		}
		for _, n := range p.c.copies.from(lender) {
			s := p.c.lock(n.hash)
			s.removeCopy(n)
			s.unlock()
		}
		op.Answer(&wire.Frame{Type: wire.Done})
	})
}
