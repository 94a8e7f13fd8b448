package covey

// peer_peek.go has an owner ask those who had a key before, instead of loading it.

import (
	"context"
	"time"

	"github.com/coveycache/covey/internal/wire"
	"golang.org/x/sync/errgroup"
)

// peekFor bounds how long a load waits for what others may have.
const peekFor = 50 * time.Millisecond

// mayPeek reports whether others may have the key at that place, which this process owns and did not
// own before.
func (p *peering[V]) mayPeek(v *view, place uint64) bool {
	return v.former != nil && v.owns(place) && v.formerOwner(place) != v.me && p.group.steady() < v.since+int64(p.group.opt.WarmUp)
}

// peek ends the flight with what another custodian of the key has in memory, and reports whether
// there was any. It asks all of them at once.
func (p *peering[V]) peek(ctx context.Context, f *flight[V]) bool {
	_, label, v := p.present()
	place := ringHash(f.key)
	if !p.mayPeek(v, place) {
		return false
	}
	gen, looks := p.looks(f, v)
	if !looks {
		return false
	}
	var room [maxReplicas + 1]int
	others := v.custodians(place, v.copies, room[:0])[1:]
	if len(others) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, peekFor)
	defer cancel()
	p.c.n.peeks.Add(1)
	answer, from, found := firstOf(ctx, others, func(ctx context.Context, i int) (wire.Frame, finding) {
		return p.peekAt(ctx, v, label, i, f.key)
	})
	if found != some {
		return false
	}
	b := parcel[V]{p: p, gen: gen, view: v, from: from, arrived: p.c.store.clock.now()}
	e := b.entry(&answer)
	if e == nil {
		return false
	}
	p.take(f, e, &answer)
	p.c.n.peekHits.Add(1)
	return true
}

// looks reports whether a flight may end with what others have, under which generation, if v is in
// force.
func (p *peering[V]) looks(f *flight[V], v *view) (gen uint32, ok bool) {
	s := p.c.lock(f.hash)
	gen, ok = f.gen, f.linked && !f.noStore && !f.refresh && f.right == nil && f.grant == nil
	s.unlock()
	return gen, ok && gen == p.c.store.gen.Load() && p.tenures.view() == v
}

// mayObtain reports whether obtain may find anything of the key at that place.
func (p *peering[V]) mayObtain(v *view, place uint64) bool {
	return p.mayPeek(v, place) || p.trusts(v, place)
}

// obtain ends the flight with what another custodian has of the key, or else any member's snapshot,
// and reports whether there was any.
func (p *peering[V]) obtain(ctx context.Context, f *flight[V]) bool {
	return p.peek(ctx, f) || p.takeAside(ctx, f)
}

// peekOrGrant sees to a flight that others wait for, and this process cannot load: if nobody else has
// the key either, one of them gets the right to load it. The flight counts that as a waiter.
func (p *peering[V]) peekOrGrant(f *flight[V]) {
	if p.obtain(f.ctx, f) {
		return
	}
	s := p.c.lock(f.hash)
	if f.finished {
		s.unlock()
		return
	}
	p.grantNext(s, f, 0)
}

// peekMany is obtain of the flights of a bulk load, and returns those that are still to be loaded.
func (p *peering[V]) peekMany(b *bulk[V]) (rest []*flight[V]) {
	v := p.tenures.view()
	if v.former == nil && p.trust == nil {
		return b.flights
	}
	var calls errgroup.Group
	calls.SetLimit(manyAtOnce)
	found := make([]bool, len(b.flights))
	for i, f := range b.flights {
		if p.mayObtain(v, ringHash(f.key)) {
			calls.Go(func() error {
				found[i] = p.obtain(b.ctx, f)
				return nil
			})
		}
	}
	_ = calls.Wait()
	for i, f := range b.flights {
		if !found[i] {
			rest = append(rest, f)
		}
	}
	return rest
}

// take ends a flight with an entry that another custodian had.
func (p *peering[V]) take(f *flight[V], e *entry[V], from *wire.Frame) {
	value, err := p.c.content(&e.node)
	w := write[V]{key: f.key, hash: f.hash, f: f, e: e, taken: true, version: from.Version, versioned: from.HasVersion}
	p.c.write(&w)
	if w.landed {
		p.c.land(f, value, err)
	}
}

// peekAt asks a custodian what it has of a key, to be stored here.
func (p *peering[V]) peekAt(ctx context.Context, v *view, label uint64, i int, key string) (answer wire.Frame, found finding) {
	if v.peers[i] == nil {
		return answer, unheard
	}
	l, err := v.peers[i].Link(ctx)
	if err != nil || p.differsAt(l) {
		return answer, unheard
	}
	answer, err = p.callIn(ctx, v, l, &wire.Frame{Type: wire.Peek, Cache: p.id, Key: key, Ring: v.tag, Clear: label})
	if err != nil {
		return answer, unheard
	}
	if answer.Type == wire.NotOwner {
		p.group.reconcile(l, v, answer.Ring)
	}
	p.group.stamps.see(answer.Stamp)
	answer.Key = key
	return answer, findingOf(&answer)
}
