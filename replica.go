package covey

// replica.go is the owner's side of replicas: before a key is written, every other custodian forgets
// what it has of it (primary and backups, as in Alsberg and Day 1976, with views agreed upon by all);
// afterwards the value goes to those that keep replicas, in the background.
//
// Stamps make the order in which messages arrive irrelevant. A value is sent with a stamp from before
// it was looked up, when no write of the key waited. A write asks the others to forget the key with a
// stamp from after it has begun to wait. So what was there before a write has the lesser stamp, and
// whoever has forgotten the key takes it no more (see replica_hold.go).

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// dropElsewhere has the other custodians forget a key that this process owns and whose turn for a
// write it is. It tries until all have done so, or the view has changed: then the error is
// errElsewhere.
func (p *peering[V]) dropElsewhere(ctx context.Context, v *view, key string) error {
	if !v.isShared() {
		return nil
	}
	var some [maxReplicas + 1]int
	place := ringHash(key)
	others := v.custodians(place, v.copies, some[:0])[1:]
	if len(others) == 0 {
		return nil
	}
	err := p.dropAt(ctx, v, others, wire.Frame{Type: wire.Drop, Cache: p.id, Key: key, Stamp: p.group.stamps.next(), Ring: v.tag})
	if err == nil { // what the others have sent this process before they forgot the key has lesser stamps than this
		s := p.c.lock(p.c.store.hash(key))
		s.forgotten.note(place, p.group.stamps.next())
		s.unlock()
	}
	return err
}

// dropAt has members of a view do as the frame says, each until it has.
func (p *peering[V]) dropAt(ctx context.Context, v *view, members []int, f wire.Frame) error {
	if len(members) == 1 { // as most often
		return p.confirm(ctx, v, members[0], f)
	}
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for at, i := range members {
		wg.Go(func() { errs[at] = p.confirm(ctx, v, i, f) })
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return errors.Is(err, errElsewhere) }); i >= 0 {
		return errs[i]
	}
	return errors.Join(errs...)
}

// confirm sends a frame to a member of a view until it answers Done, going by the same view.
func (p *peering[V]) confirm(ctx context.Context, v *view, i int, f wire.Frame) error {
	var last error
	for {
		switch {
		case p.tenures.view() != v:
			return errElsewhere
		case p.c.closed.Load():
			return p.c.errClosed()
		case ctx.Err() != nil:
			return errors.Join(newPeerError(v.nameOf(i), link.ErrTimeout), last, context.Cause(ctx))
		}
		peer := v.peers[i]
		if peer == nil {
			return errNoMembers
		}
		var l *link.Link
		if l, last = p.linkSoon(ctx, peer, true); last == nil { // soon, since the view may change
			var answer wire.Frame
			if answer, last = p.callIn(ctx, v, l, &f); last == nil {
				p.group.stamps.see(answer.Stamp)
				switch answer.Type {
				case wire.Done:
					return nil
				case wire.NotOwner:
					p.group.reconcile(l, v, answer.Ring)
				default:
					last = answerError(l.Name(), &answer)
				}
			}
		}
		p.awaitChange(ctx, v, againAfter)
	}
}

// callIn is l.Call that ends when the view does, or the cache is closed.
func (p *peering[V]) callIn(ctx context.Context, v *view, l *link.Link, f *wire.Frame) (wire.Frame, error) {
	w := &reply{done: make(chan struct{})}
	op, err := l.Send(ctx, f, w)
	if err != nil {
		return wire.Frame{}, err
	}
	select {
	case <-w.done:
		return w.answer, w.err
	case <-v.replaced:
		err = errElsewhere
	case <-p.c.stop:
		err = p.c.errClosed()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	l.Cancel(op, w)
	return wire.Frame{}, err
}

// A reply is the sink of a request whose answer may not be waited for.
type reply struct {
	done   chan struct{}
	answer wire.Frame
	err    error
}

// Answer implements link.Sink.
func (r *reply) Answer(f *wire.Frame, last bool) {
	if last {
		r.answer = f.Clone()
		close(r.done)
	}
}

// Slow implements link.Sink.
func (r *reply) Slow() {}

// Fail implements link.Sink.
func (r *reply) Fail(err error) {
	r.err = err
	close(r.done)
}

// awaitReplicas waits until those who keep replicas have what a Put has stored, if it wants that.
// err is what has become of the Put.
func (p *peering[V]) awaitReplicas(ctx context.Context, ch *change[V], err error) error {
	if err != nil || !ch.put.replicated || p.copies <= 1 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.group.opt.OpTimeout/2) // who asked for it waits for OpTimeout
	defer cancel()
	key := []string{ch.key}
	for {
		v := p.tenures.view()
		var some [maxReplicas]int
		var missing []string
		for _, i := range p.keepers(v, ringHash(ch.key), some[:0]) {
			if !p.sendReplicas(ctx, v.nameOf(i), key) {
				missing = append(missing, v.nameOf(i))
			}
		}
		switch {
		case len(missing) == 0:
			return nil
		case p.c.closed.Load():
			return p.c.errClosed()
		case ctx.Err() != nil:
			return fmt.Errorf("%w: cache %q, key %q: missing at %v: %w", ErrNotReplicated, p.c.name, ch.key, missing, context.Cause(ctx))
		}
		p.awaitChange(ctx, v, againAfter)
	}
}

// keepers appends the members that keep replicas of the key at that place for this process, which
// owns it.
func (p *peering[V]) keepers(v *view, place uint64, found []int) []int {
	n := min(p.copies, v.copies)
	if n <= 1 || !v.owns(place) {
		return found
	}
	return v.ring.custodians(place, n, found)[1:]
}

// replicate has the value of a key that has just been stored sent to those who keep replicas.
func (p *peering[V]) replicate(key string) {
	if p.copies <= 1 {
		return
	}
	v := p.tenures.view()
	var some [maxReplicas]int
	for _, i := range p.keepers(v, ringHash(key), some[:0]) {
		p.enqueue(v.nameOf(i), key)
	}
}

// enqueue has the value of a key sent to a member, and reports whether there was room.
func (p *peering[V]) enqueue(to, key string) bool {
	b := p.outboxes.to(to)
	room, start := b.add(key)
	if !room {
		p.c.n.replicasMissed.Add(1)
		if b.miss(key) {
			p.c.spawn(func() { p.catchUp(b, to) })
		}
	}
	if start && !p.c.spawn(func() { p.sendFrom(b, to) }) {
		return false
	}
	return room
}

const (
	replicasAtOnce = 128
	// gatherFor is how long the first of some keys waits for others: who writes one key after another
	// is not to wait for the replicas' round trips, too.
	gatherFor = time.Millisecond
	// sendAgain is how often a batch is sent again at once that the other end has not confirmed.
	sendAgain = 8
	// sentLate is how long a batch may take: the others count what is left of a TTL from when it
	// arrives. What took longer is sent again.
	sentLate = 500 * time.Millisecond
)

// sendFrom sends what is in an outbox until it is empty.
func (p *peering[V]) sendFrom(b *outbox, to string) {
	p.awaitChange(p.group.ctx, p.tenures.view(), gatherFor)
	for {
		keys := b.take(replicasAtOnce)
		if len(keys) == 0 {
			return
		}
		if p.c.closed.Load() {
			continue
		}
		for attempt := 0; !p.sendReplicas(p.group.ctx, to, keys); attempt++ {
			if attempt == sendAgain {
				if b.giveUp(keys) {
					p.c.spawn(func() { p.catchUp(b, to) })
				}
				break
			}
			p.awaitChange(p.group.ctx, p.tenures.view(), againAfter<<attempt)
		}
	}
}

// sendReplicas sends the values of keys to a member, and reports whether that need not be tried again.
func (p *peering[V]) sendReplicas(ctx context.Context, to string, keys []string) bool {
	_, label, v := p.present()
	i := v.indexOf(to)
	if i < 0 || v.peers[i] == nil || p.c.closed.Load() || p.group.ctx.Err() != nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, p.group.opt.OpTimeout)
	defer cancel()
	l, err := v.peers[i].Link(ctx)
	if err != nil {
		return false
	}
	switch {
	case p.differsAt(l):
		return true
	case !p.sharesWith(l): // it may be about to get the cache
		return false
	}
	began := p.c.store.clock.steady()
	f := wire.Frame{Type: wire.Replicate, Cache: p.id, Stamp: p.group.stamps.next(), Ring: v.tag, Clear: label}
	done := true
	flush := func(f wire.Frame) {
		answer, err := p.callIn(ctx, v, l, &f)
		switch {
		case err != nil:
			done = false
		case answer.Type == wire.NotOwner:
			p.group.reconcile(l, v, answer.Ring)
			done = false
		case answer.Type == wire.Done:
			p.group.stamps.see(answer.Stamp)
			p.c.n.replicasSent.Add(int64(answer.Count))
		}
	}
	for _, key := range keys {
		var item wire.Frame
		switch {
		case !p.replicaOf(v, key, &item):
		case len(item.Value) > maxRequest:
			item.Type, item.Result = wire.Replicate, item.Type
			item.Cache, item.Stamp, item.Ring, item.Clear = p.id, f.Stamp, f.Ring, label
			flush(item)
		default:
			if f.Items = wire.Append(f.Items, &item); len(f.Items) > maxRequest {
				flush(f)
				f.Items = nil
			}
		}
	}
	if len(f.Items) > 0 {
		flush(f)
	}
	return done && p.c.store.clock.steady()-began < int64(sentLate)
}

// replicaOf makes f what is sent of a key that this process owns by v, and reports whether there is
// anything to be sent.
func (p *peering[V]) replicaOf(v *view, key string, f *wire.Frame) bool {
	hash := p.c.store.hash(key)
	s := p.c.lock(hash)
	n := p.c.store.index.find(hash, key)
	now := p.c.store.clock.now()
	st := p.c.judge(n, now)
	if st == gone && s.writing[key] == nil && p.tenures.view() == v && p.acts(v, ringHash(key)) {
		version, known := p.c.store.tombs.known(key)
		s.unlock()
		f.Type, f.Key, f.Version, f.HasVersion = wire.Done, key, version, known
		return known
	}
	ok := (st == fresh || st == negative) && n.flags&flagBorrowed == 0 && s.writing[key] == nil && p.tenures.view() == v && p.mayHand(v, ringHash(key))
	s.unlock()
	if !ok {
		return false
	}
	f.Type, f.Key = wire.NotFound, key
	if st == fresh {
		f.Type = wire.Hit
		if p.encode(f, entryOf[V](n).value) != nil {
			return false
		}
	}
	p.meta(f, n, now)
	f.LoadTime = costOf(n.cost)
	if st == fresh && n.expires != never {
		// As copies do, replicas end before the entry: then its owner is asked, and refreshes it.
		left := n.expires - nanos(3*p.c.delta(n)) - now
		if left <= 0 {
			return false
		}
		f.TTL = time.Duration(left)
	}
	return true
}

// mayHand reports whether this process may send what it has of the key at that place: it owns the
// key, or used to, and hands it over.
func (p *peering[V]) mayHand(v *view, place uint64) bool {
	return p.acts(v, place) || v.hasSettled() && v.keeps(place) && p.group.isActing()
}
