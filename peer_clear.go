package covey

// peer_clear.go clears a cache, or its keys with a prefix, at every member. Each member first makes sure that it serves nothing
// from before, and then takes back everything that it has lent. Otherwise a copy that it lent to a
// peer which had already cleared would stay there.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// clearEverywhere clears the cache, or its keys with a prefix, at all members.
func (p *peering[V]) clearEverywhere(ctx context.Context, prefix string) error {
	began := p.c.store.clock.steady()
	ctx, cancel := context.WithTimeoutCause(ctx, p.group.opt.OpTimeout, link.ErrTimeout)
	defer cancel()
	done := cleared{number: newClear(), prefix: prefix}
	for since := int64(0); ; since = began { // what has come meanwhile is not to go again
		v := p.tenures.view()
		err := p.clearIn(ctx, v, since, &done)
		if err == nil {
			p.c.n.invalidations.add(time.Duration(p.c.store.clock.steady() - began))
			return nil
		}
		if p.c.closed.Load() {
			return p.c.errClosed()
		}
		if ctx.Err() != nil {
			p.pursuits.addClear(prefix, began, done.number)
			p.c.n.unconfirmed.Add(1)
			p.c.journal.add(Event{Kind: EventUnconfirmed, Cache: p.c.name, Key: prefix, Err: err})
			return unconfirmed(p.c.name, prefix, err)
		}
		p.awaitChange(ctx, v, againAfter)
	}
}

// clearAgain clears what was stored before began, for a Clear that could not be confirmed.
func (p *peering[V]) clearAgain(ctx context.Context, began int64, prefix string, number uint64) error {
	ctx, cancel := context.WithTimeout(ctx, p.group.opt.OpTimeout)
	defer cancel()
	return p.clearIn(ctx, p.tenures.view(), began, &cleared{number: number, prefix: prefix})
}

// cleared are the members that have confirmed a Clear in a view, by their index in its ring.
type cleared struct {
	number uint64 // of the Clear
	prefix string // of the keys
	view   *view
	mu     sync.Mutex
	by     map[int]bool
}

// in forgets what was confirmed in another view.
func (d *cleared) in(v *view) {
	if d.view != v {
		d.view, d.by = v, make(map[int]bool)
	}
}

func (d *cleared) is(i int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.by[i]
}

func (d *cleared) note(i int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.by[i] = true
}

// clearIn clears the cache at all members of a view that have not done so yet; if began is given,
// only what was stored before.
//
// It is enough that each member confirms while it goes by that view. Whoever comes with the next one
// acts only when all of them have given back what they lent, which is after they have cleared.
func (p *peering[V]) clearIn(ctx context.Context, v *view, began int64, done *cleared) error {
	var mu sync.Mutex
	var errs []error
	done.in(v)
	tried := func(i int, err error) {
		if err == nil {
			done.note(i)
			return
		}
		mu.Lock()
		errs = append(errs, err)
		mu.Unlock()
	}
	if len(v.peers) == 0 {
		errs = append(errs, p.group.noMembers())
	}
	var wg sync.WaitGroup
	for i, peer := range v.peers {
		if peer != nil && !done.is(i) {
			wg.Go(func() { tried(i, p.clearAt(ctx, v, peer, began, done.prefix, done.number)) })
		}
	}
	const self = -1 // whether it owns anything or not
	if !done.is(self) {
		tried(self, p.clearOwn(ctx, began, done.prefix, done.number))
	}
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
func (p *peering[V]) clearAt(ctx context.Context, v *view, peer *link.Peer, began int64, prefix string, number uint64) error {
	l, err := peer.Link(ctx)
	if err != nil {
		return newPeerError(peer.Name(), err)
	}
	f := wire.Frame{Type: wire.Clear, Cache: p.id, Key: prefix, Clear: number}
	if began != 0 {
		f.Age = duration(p.c.store.clock.steady() - began)
	}
	answer, err := p.call(ctx, v, l, &f, false)
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
func (p *peering[V]) clearOwn(ctx context.Context, began int64, prefix string, number uint64) error {
	var concerns func(key string) bool
	if prefix != "" {
		concerns = func(key string) bool { return strings.HasPrefix(key, prefix) }
	}
	switch {
	case began != 0:
		if err := p.clearOlder(ctx, began, prefix, number); err != nil {
			return err
		}
	case prefix != "":
		p.deletePrefixOwn(prefix, number)
	default:
		p.c.clearHere(number)
	}
	// From here on nothing from before is lent.
	if err := p.recallAll(ctx, concerns); err != nil {
		return err
	}
	if p.c.closed.Load() { // what a stand-in had lent may be another cache's
		return p.c.errClosed()
	}
	return nil
}

// clearOlder removes what was stored here of keys with a prefix before began, and voids the loads under way. Until it is done
// nothing goes to other custodians, nor comes from them.
func (p *peering[V]) clearOlder(ctx context.Context, began int64, prefix string, number uint64) error {
	mask, tag := p.hideLabel()
	err := p.removeOlder(ctx, began, prefix)
	p.trust.cleared() // who has left since it was first tried has not heard of it
	p.clears.reveal(mask, tag, number, err == nil)
	return err
}

func (p *peering[V]) removeOlder(ctx context.Context, began int64, prefix string) error {
	p.c.forgetSnapshot(prefix)
	for i := range p.c.shards {
		keys := p.c.flightsIn(i)
		for n := range p.c.store.index.segments[i].table.Load().all {
			if n.flags&flagBorrowed == 0 {
				keys = append(keys, n.key)
			}
		}
		for _, key := range keys {
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			gen, v := p.c.store.gen.Load(), p.tenures.view()
			ch := &change[V]{kind: wire.Delete, key: key, hash: p.c.store.hash(key), began: began}
			if !v.isOwn(key) {
				p.drop(key, ch.hash)
				continue
			}
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
	number, prefix := r.Clear, strings.Clone(r.Key)
	op := r.Keep(nil)
	p.later(op, func() {
		epoch := p.tenures.view().epoch
		ctx, cancel := context.WithTimeout(p.group.ctx, p.group.opt.OpTimeout)
		defer cancel()
		if err := p.clearOwn(ctx, began, prefix, number); err != nil {
			op.Answer(written(unconfirmed(p.c.name, prefix, err)))
			return
		}
		if p.tenures.view().epoch != epoch {
			epoch = 0
		}
		op.Answer(&wire.Frame{Type: wire.Done, Ring: epoch})
	})
}

// recallAll takes back all copies, with one request to each borrower; if concerns is given, only
// those of keys that it is true of. It follows clearHere or adopt, so what is lent of those keys
// meanwhile is newer than the Clear, or nothing.
func (p *peering[V]) recallAll(ctx context.Context, concerns func(key string) bool) error {
	// What is lent from here on may arrive after the recall, or not be in it.
	last := p.group.tokens.Load()
	lent := p.lentTo(concerns)
	if len(lent) == 0 {
		return nil
	}
	_, err := p.recallFrom(ctx, slices.Collect(maps.Keys(lent)), func(l *link.Link) *wire.Frame {
		f := &wire.Frame{Type: wire.Recall, Cache: p.id}
		if concerns != nil {
			f.Items = namesOf(lent[l])
		}
		return f
	})
	if err != nil {
		return err
	}
	for i := range p.c.shards {
		s := p.c.lockAt(i)
		for key, l := range s.loans {
			if concerns != nil && !concerns(key) {
				continue
			}
			l.copies = slices.DeleteFunc(l.copies, func(one loan) bool {
				_, asked := lent[one.link]
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

// namesOf returns frames that name the keys, for a recall; nil, which stands for all that the
// borrower has, if there are more of them than fit into one.
func namesOf(keys []string) (items []byte) {
	if len(keys) > wire.MaxItems {
		return nil
	}
	for _, key := range keys {
		items = wire.Append(items, &wire.Frame{Type: wire.Recall, Key: key})
		if len(items) > wire.MaxBody/2 {
			return nil
		}
	}
	return items
}

// lentTo returns the links over which copies are lent, and of which keys, of those that concerns is
// true of if it is given.
func (p *peering[V]) lentTo(concerns func(key string) bool) map[*link.Link][]string {
	lent := make(map[*link.Link][]string)
	now := p.c.store.clock.steady()
	for i := range p.c.shards {
		s := p.c.lockAt(i)
		for key, l := range s.loans {
			if concerns != nil && !concerns(key) {
				continue
			}
			for _, one := range l.copies {
				if one.until > now {
					lent[one.link] = append(lent[one.link], key)
				}
			}
		}
		s.unlock()
	}
	return lent
}

// serveRecallMany gives back what the other end of the link has lent: of the keys that the request
// names or, if there are none, everything. From here on this process uses none of it, nor what is
// still on its way.
func (p *peering[V]) serveRecallMany(r *link.Request) {
	lender := r.Link()
	items := bytes.Clone(r.Items)
	op := r.Keep(nil)
	p.later(op, func() {
		if len(items) == 0 || !p.giveBackKeys(items) {
			p.giveBackAll(lender)
		}
		op.Answer(&wire.Frame{Type: wire.Done})
	})
}

// giveBackKeys removes the copies of the keys that items name, if they make sense.
func (p *peering[V]) giveBackKeys(items []byte) (ok bool) {
	now := p.c.store.clock.now()
	var one wire.Frame
	for err := error(nil); len(items) > 0; {
		if items, err = wire.Next(items, &one); err != nil {
			return false
		}
		p.giveBackCopy(one.Key, now)
	}
	return true
}

func (p *peering[V]) giveBackAll(lender *link.Link) {
	now := p.c.store.clock.now()
	p.c.journal.add(Event{Kind: EventRecalled, Cache: p.c.name, Peer: lender.Name()})
	for i := range p.c.shards {
		s := p.c.lockAt(i)
		s.recalledAll = now
		for key, f := range s.flights {
			if f.grant != nil && f.grant.lender == lender {
				s.unlink(key)
			}
		}
		s.unlock()
	}
	for _, n := range p.c.copies.from(lender) {
		s := p.c.lock(n.hash)
		s.removeCopy(n)
		s.unlock()
	}
}
