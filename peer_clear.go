package covey

// peer_clear.go clears a cache at every member. Each member first makes sure that it serves nothing
// from before, and then takes back everything that it has lent. Otherwise a copy that it lent to a
// peer which had already cleared would stay there.

import (
	"context"
	"slices"
	"sync"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// clearOthers clears the cache at all members and all other peers with a link, and takes back what
// this process has lent.
func (p *peering[V]) clearOthers(ctx context.Context) error {
	v := p.tenures.view()
	var mu sync.Mutex
	var errs []error
	failed := func(err error) {
		mu.Lock()
		errs = append(errs, err)
		mu.Unlock()
	}
	var wg sync.WaitGroup
	done := make(map[string]bool)
	clearAt := func(name string, to func() (*link.Link, error)) {
		done[name] = true
		wg.Go(func() {
			if err := p.clearAt(ctx, name, to); err != nil {
				p.group.pursuits.add(name, p.c.name, "")
				failed(err)
			}
		})
	}
	for _, peer := range v.peers {
		if peer != nil {
			clearAt(peer.Name(), func() (*link.Link, error) { return peer.Link(ctx) })
		}
	}
	for _, l := range p.group.allLinks() {
		if !done[l.Name()] {
			clearAt(l.Name(), func() (*link.Link, error) { return l, nil })
		}
	}
	if err := p.recallAll(ctx, nil); err != nil {
		failed(err)
	}
	wg.Wait()
	if errs != nil {
		p.c.n.unconfirmed.Add(1)
		return unconfirmed(p.c.name, "", errs...)
	}
	return nil
}

// clearAt has a peer clear the cache, if it has that.
func (p *peering[V]) clearAt(ctx context.Context, peer string, to func() (*link.Link, error)) error {
	l, err := to()
	if err != nil {
		return newPeerError(peer, err)
	}
	if _, shared := l.Codec(p.c.name); !shared {
		return nil
	}
	f, err := l.Call(ctx, &wire.Frame{Type: wire.Clear, Cache: p.id})
	if err != nil {
		return newPeerError(peer, err)
	}
	if f.Type != wire.Done {
		return p.writeError(peer, "", &f)
	}
	return nil
}

// serveClear clears the cache because another peer does.
func (p *peering[V]) serveClear(r *link.Request) {
	op := r.Keep(nil)
	p.later(op, func() {
		p.c.clearHere()
		ctx, cancel := context.WithTimeout(p.group.ctx, p.group.opt.OpTimeout)
		defer cancel()
		err := p.recallAll(ctx, nil)
		if err != nil {
			err = unconfirmed(p.c.name, "", err)
		}
		op.Answer(written(err))
	})
}

// recallAll takes back all copies, with one request to each borrower; if concerns is given, only
// from borrowers with a copy of some key that it is true of. It follows clearHere or adopt, so what
// is lent of those keys meanwhile is newer than the Clear, or nothing.
func (p *peering[V]) recallAll(ctx context.Context, concerns func(key string) bool) error {
	var borrowers []*link.Link
	now := p.c.store.clock.steady()
	for i := range p.c.shards {
		s := p.c.lockAt(i)
		for key, l := range s.loans {
			if concerns != nil && !concerns(key) {
				continue
			}
			for _, one := range l.copies {
				if one.until > now && !slices.Contains(borrowers, one.link) {
					borrowers = append(borrowers, one.link)
				}
			}
		}
		s.unlock()
	}
	if borrowers == nil {
		return nil
	}
	// What is lent from here on may arrive after the recall.
	last := p.group.tokens.Load()
	if _, err := p.recallFrom(ctx, borrowers, ""); err != nil {
		return err
	}
	for i := range p.c.shards {
		s := p.c.lockAt(i)
		for key, l := range s.loans {
			l.copies = slices.DeleteFunc(l.copies, func(one loan) bool { return one.id <= last && slices.Contains(borrowers, one.link) })
			if len(l.copies) == 0 && l.debt == 0 {
				delete(s.loans, key)
			}
		}
		s.unlock()
	}
	return nil
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
