package covey

// peer_write.go carries out a write at the key's owner, who alone decides: it acts only while a
// quorum has promised that nobody acts in its place, and only in the view that all have agreed upon.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coveycache/covey/internal/link"
	agreed "github.com/coveycache/covey/internal/view"
	"github.com/coveycache/covey/internal/wire"
)

// change carries out a write of a key, whoever owns it.
func (p *peering[V]) change(ctx context.Context, ch *change[V]) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	began := p.c.store.clock.steady()
	how, err := p.attempt(ctx, ch)
	if how != answered {
		how, err = p.persist(ctx, ch, began, how, err)
	}
	if how != answered {
		err = p.unconfirmed(ch, err)
	}
	switch {
	case (err == nil || errors.Is(err, ErrNotReplicated)) && ch.kind != wire.Expire: // which leaves what is to be deleted
		p.pursuits.settle(ch.key)
	case ch.up != nil: // either it has been carried out, or what was there before is right
	case errors.Is(err, ErrUnconfirmed): // then what was there before must go, at least
		p.pursuits.add(ch.key, began)
	}
	return err
}

// attempt tries once to have a write carried out. The verdict is answered; elsewhere, if it has not
// been carried out, as another process owns the key or nobody can be asked; or lost, if that is not
// known.
func (p *peering[V]) attempt(ctx context.Context, ch *change[V]) (verdict, error) {
	gen := p.c.store.gen.Load()
	v := p.tenures.view()
	switch i := v.owner(ch.key); {
	case i < 0:
		return elsewhere, p.group.noMembers()
	case i != v.self:
		return p.tell(ctx, v, v.peers[i], ch)
	}
	err := p.commit(ctx, ch, gen, v, nil)
	if errors.Is(err, errElsewhere) {
		return elsewhere, err
	}
	return answered, p.awaitReplicas(ctx, ch, err)
}

var errNoMembers = errors.New("covey: the group has no members that own keys, or this process knows of none")

// persist goes on trying, as long as the write may be repeated and there is time. A Put that may
// have been carried out is not repeated: another write may have come after it. Nor is a conditional
// write, whose own effect would make its condition fail, or an Incr, which would count twice.
func (p *peering[V]) persist(
	ctx context.Context, ch *change[V], began int64, how verdict, err error,
) (verdict, error) {
	left := p.group.opt.OpTimeout - time.Duration(p.c.store.clock.steady()-began)
	ctx, cancel := context.WithTimeoutCause(ctx, left, link.ErrTimeout)
	defer cancel()
	ch.began = began
	unknown := how == lost // some attempt may have been carried out
	for {
		v := p.tenures.view()
		switch {
		case how == lost && ch.isOnce():
			return how, err
		case ctx.Err() != nil:
			if unknown {
				how = lost
			}
			return how, errors.Join(err, context.Cause(ctx))
		case p.c.closed.Load():
			return answered, p.c.errClosed()
		}
		p.awaitChange(ctx, v, againAfter)
		how, err = p.attempt(ctx, ch)
		if how == answered {
			return how, err
		}
		unknown = unknown || how == lost
	}
}

// againAfter is the pause before a write is tried again, unless the view changes first.
const againAfter = 25 * time.Millisecond

// awaitChange waits until the view is another one, for so long at most.
func (p *peering[V]) awaitChange(ctx context.Context, v *view, pause time.Duration) {
	if p.tenures.view() != v {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-v.replaced:
	case <-timer.C:
	case <-ctx.Done():
	case <-p.c.stop:
	}
}

func (p *peering[V]) unconfirmed(ch *change[V], errs ...error) error {
	if ch.up == nil {
		p.drop(ch.key, ch.hash)
	}
	p.c.n.unconfirmed.Add(1)
	p.c.journal.add(Event{Kind: EventUnconfirmed, Cache: p.c.name, Key: ch.key, Err: errors.Join(errs...)})
	return unconfirmed(p.c.name, ch.key, errs...)
}

// tell has a peer carry out the change. The verdict is as attempt's.
func (p *peering[V]) tell(ctx context.Context, v *view, peer *link.Peer, ch *change[V]) (verdict, error) {
	if peer == nil {
		return elsewhere, errNoMembers
	}
	l, err := p.linkTo(ctx, peer)
	if err != nil {
		return elsewhere, err
	}
	if ch.up != nil {
		return p.tellUpdate(ctx, v, peer, l, ch)
	}
	f := wire.Frame{Type: ch.kind, Cache: p.id, Key: ch.key}
	switch {
	case ch.kind == wire.Put && !p.sharesWith(l): // what is there has to go all the same
		f.Type = wire.Delete
		f.Version, f.HasVersion = ch.put.version, ch.put.hasVersion
	case ch.kind == wire.Put:
		f.Version, f.HasVersion = ch.put.version, ch.put.hasVersion
		if ch.put.hasTTL {
			f.Flags, f.TTL = wire.HasTTL, wireTTL(ch.put.ttl)
		}
		if ch.put.replicated {
			f.Flags |= wire.Replicated
		}
		var err error
		if ch.negative {
			f.Flags |= wire.Negative
		} else {
			err = p.encode(&f, ch.value)
		}
		if err != nil { // what cannot be stored removes the old value
			gone := &change[V]{kind: wire.Delete, key: ch.key, hash: ch.hash}
			return answered, errors.Join(fmt.Errorf("%w: cache %q, key %q: %w", ErrTooLarge, p.c.name, ch.key, err), p.c.change(ctx, gone))
		}
	case ch.kind == wire.Delete:
		f.Version, f.HasVersion = ch.del.version, ch.del.hasVersion
	}
	if ch.began != 0 { // what has come since is not to be undone
		f.Age = duration(p.c.store.clock.steady() - ch.began)
	}
	return p.tellBy(ctx, v, peer, l, ch, &f)
}

// tellBy sends the frame that tells a peer to carry out the change. The verdict is as attempt's.
func (p *peering[V]) tellBy(
	ctx context.Context, v *view, peer *link.Peer, l *link.Link, ch *change[V], f *wire.Frame,
) (verdict, error) {
	answer, err := p.call(ctx, v, l, f, false)
	if ch.up != nil && err == nil {
		p.readUpdated(ch.up, &answer)
	}
	switch {
	case err != nil:
		return lost, newPeerError(peer.Name(), err)
	case answer.Type == wire.NotOwner:
		p.group.reconcile(l, v, answer.Ring)
		return elsewhere, fmt.Errorf("covey: the peer %q is not the owner by its view of the members", peer.Name())
	case answer.Type == wire.Done:
		if !v.keeps(ringHash(ch.key)) { // or else the owner has had it dropped, and has perhaps sent what is there now
			p.drop(ch.key, ch.hash)
		}
		p.holds.void(ch.key)
		return answered, nil
	case ch.up != nil && answer.Type != wire.Failed:
		return p.otherwiseUpdated(peer.Name(), ch, &answer)
	case answer.Type == wire.Failed && answer.Code == wire.CodeUnconfirmed:
		return lost, p.writeError(peer.Name(), ch.key, &answer)
	case answer.Type == wire.Failed && (answer.Code == wire.CodeClosed || answer.Code == wire.CodeUnknownCache):
		return elsewhere, p.writeError(peer.Name(), ch.key, &answer) // another cache of its name may be about to come
	}
	return answered, p.writeError(peer.Name(), ch.key, &answer)
}

// reconcile has the process at the other end of a link and this one come to the same view, since a
// request has shown that they do not have it.
func (g *Group) reconcile(l *link.Link, v *view, epoch uint64) {
	id := agreed.ID{Name: l.Name(), Instance: l.Instance()}
	if epoch < v.epoch {
		g.agreement.Tell(id)
	} else {
		g.agreement.Ask(id)
	}
}

// notOwner is the answer to a request for a key that this process does not own.
func notOwner(v *view) *wire.Frame { return &wire.Frame{Type: wire.NotOwner, Ring: v.epoch} }

// commit carries out a write at its owner. If live is given, the write is not carried out when it is
// false. The error errElsewhere says that this process owns the key no more, and that nothing has
// been done.
func (p *peering[V]) commit(ctx context.Context, ch *change[V], gen uint32, v *view, live func() bool) error {
	// 1. As most: nothing is lent, and no other write waits.
	err := p.c.changeHere(ch, gen, nil)
	if !errors.Is(err, errBusy) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.group.opt.OpTimeout)
	defer cancel()
	// 2. The key's turn. Until it ends nothing is lent.
	w, err := p.beginWriting(ctx, ch.key, ch.hash)
	if err != nil {
		return p.unconfirmed(ch, err)
	}
	defer func() {
		p.endWriting(ch.key, ch.hash, w)
		p.c.departed(ch.gone)
	}()
	began, forgotten, held := ch.began, int64(0), false
	if began == 0 {
		began = p.c.store.clock.steady()
	}
	for {
		// 3. Nobody else may act, or have lent what may still be used.
		if err := p.awaitTurn(ctx, v, ch.key); err != nil {
			if errors.Is(err, errElsewhere) || errors.Is(err, ErrClosed) {
				return err // nothing has been done
			}
			return p.unconfirmed(ch, err)
		}
		// 4. Take back what this process has lent, and have the other custodians forget the key.
		held = held || p.isHeldElsewhere(v, ch.key, ch.hash)
		err := p.recall(ctx, ch.key, ch.hash)
		if err == nil {
			err = p.dropElsewhere(ctx, v, ch.key)
		}
		forgotten = p.c.store.clock.steady()
		switch {
		case errors.Is(err, errElsewhere), errors.Is(err, ErrClosed):
			return err // nothing has been done
		case err != nil:
			return p.unconfirmed(ch, err)
		}
		// 5. Whoever does not wait any more may have written something else meanwhile.
		if live != nil && !live() {
			return context.Canceled
		}
		// 6. Commit, if this process still acts in the same view.
		if err := p.c.changeHere(ch, gen, w); !errors.Is(err, errBusy) {
			if err == nil {
				p.noteInvalidation(ch, held, time.Duration(forgotten-began))
			}
			return err
		}
	}
}

// noteInvalidation takes down a write that has had to wait, and whether others held its key.
func (p *peering[V]) noteInvalidation(ch *change[V], held bool, took time.Duration) {
	e := Event{Kind: EventInvalidated, Cache: p.c.name, Key: ch.key}
	if held {
		p.c.n.invalidations.add(took)
		e.Took = took
	}
	if held || ch.kind != wire.Put && ch.kind != wire.Update {
		p.c.journal.add(e)
	}
}

// errBusy says that a write has to wait.
var errBusy = errors.New("covey: the write has to wait")

// acts reports whether this process may act as the owner of the key at that place of the ring: load
// to store, lend and write. It reads the real clock.
func (p *peering[V]) acts(v *view, place uint64) bool { return v.mayAct(place) && p.group.isActing() }

// mayWrite reports whether the key at that place may be written now. Until the view has settled some
// go by the one before, so the key has to be in the custody of the same members.
func (p *peering[V]) mayWrite(v *view, place uint64) bool {
	return p.acts(v, place) && (v.hasSettled() || v.hasSame(place, v.prev)) && p.group.steady() >= v.quietUntil(place)
}

// isElsewhere reports whether others have the key at that place in custody, too.
func (p *peering[V]) isElsewhere(v *view, place uint64) bool {
	if !v.isShared() {
		return false
	}
	var some [maxReplicas + 1]int
	return len(v.custodians(place, v.copies, some[:0])) > 1
}

// isHeldElsewhere reports whether others may hold the key: as a copy, or in custody.
func (p *peering[V]) isHeldElsewhere(v *view, key string, hash uint32) bool {
	s := p.c.lock(hash)
	lent := s.lent(key)
	s.unlock()
	return lent || p.isElsewhere(v, ringHash(key))
}

// awaitTurn waits until a key that this process owns by v may be written.
func (p *peering[V]) awaitTurn(ctx context.Context, v *view, key string) error {
	place := ringHash(key)
	for !p.mayWrite(v, place) {
		if p.tenures.view() != v {
			return errElsewhere
		}
		pause := max(againAfter, time.Duration(v.quietUntil(place)-p.group.steady()))
		timer := time.NewTimer(pause)
		settled := v.settled
		if v.hasSettled() {
			settled = nil
		}
		select {
		case <-settled:
		case <-v.replaced:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(errors.New("covey: the owner may not write before the members have agreed"), context.Cause(ctx))
		case <-p.c.stop:
			timer.Stop()
			return p.c.errClosed()
		}
		timer.Stop()
	}
	return nil
}

// A writing exists while writes of a key have to wait. They take turns. Nothing is lent until the
// last of them is done, so only the first has copies to recall.
type writing struct {
	writes int           // the one whose turn it is and those that wait; guarded by the segment's lock
	turn   chan struct{} // hands the turn over; of capacity 1
}

// beginWriting waits for the write's turn.
func (p *peering[V]) beginWriting(ctx context.Context, key string, hash uint32) (*writing, error) {
	s := p.c.lock(hash)
	w := s.writing[key]
	if w == nil {
		w = s.startWriting(key, hash)
		s.unlock()
		return w, nil
	}
	w.writes++
	s.unlock()
	select {
	case <-w.turn:
		return w, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.unlock()
	if w.writes--; w.writes == 0 { // its turn has come just now
		delete(s.writing, key)
		<-w.turn
	}
	return nil, context.Cause(ctx)
}

// startWriting begins the writing of a key that has none.
func (s *shard[V]) startWriting(key string, hash uint32) *writing {
	w := &writing{writes: 1, turn: make(chan struct{}, 1)}
	if s.writing == nil {
		s.writing = make(map[string]*writing)
	}
	s.writing[strings.Clone(key)] = w
	return w
}

func (p *peering[V]) endWriting(key string, hash uint32, w *writing) {
	s := p.c.lock(hash)
	w.writes--
	last := w.writes == 0
	if last {
		delete(s.writing, key)
	} else {
		w.turn <- struct{}{}
	}
	s.unlock()
	if last {
		p.replicate(key)
	}
}

// drop removes what this process has of a key, without asking anybody.
func (p *peering[V]) drop(key string, hash uint32) {
	w := write[V]{key: key, hash: hash, drop: true}
	p.c.write(&w)
}

// serveWrite carries out a write for another process.
func (p *peering[V]) serveWrite(r *link.Request) {
	ch := &change[V]{kind: r.Type, key: strings.Clone(r.Key), foreign: true}
	ch.hash = p.c.store.hash(ch.key)
	switch {
	case r.Type == wire.Put && r.Codec() != p.codec: // it is about another kind of value
		ch.kind = wire.Delete
		ch.del = DeleteOption{version: r.Version, hasVersion: r.HasVersion}
	case r.Type == wire.Put:
		if ch.negative = r.Flags&wire.Negative != 0; !ch.negative {
			var err error
			if ch.value, err = p.decode(ownValue(r)); err != nil {
				p.undecodable(r.Link().Name(), ch.key, err)
				ch.kind = wire.Delete // what cannot be stored removes the old value
			}
		}
		ch.put = PutOption{ttl: userTTL(r.TTL), hasTTL: r.Flags&wire.HasTTL != 0, version: r.Version, hasVersion: r.HasVersion, replicated: r.Flags&wire.Replicated != 0}
	case r.Type == wire.Delete:
		ch.del = DeleteOption{version: r.Version, hasVersion: r.HasVersion}
	}
	if r.Age > 0 {
		ch.began = p.c.store.clock.steady() - int64(r.Age)
	}
	p.serveChange(r, ch)
}

// serveChange carries out a change for another process.
func (p *peering[V]) serveChange(r *link.Request, ch *change[V]) {
	gen := p.c.store.gen.Load()
	v := p.tenures.view()
	if !v.isOwn(ch.key) {
		r.Answer(notOwner(v))
		return
	}
	if p.c.opt.Events.Removed == nil {
		err := p.c.changeHere(ch, gen, nil)
		if !errors.Is(err, errBusy) && !errors.Is(err, errElsewhere) {
			r.Answer(p.answerTo(r.Link(), ch, err))
			return
		}
	}
	op := r.Keep(nil)
	p.later(op, func() { op.Answer(p.writeFor(op, ch)) })
}

// writeFor is the part of serveWrite that may have to wait.
func (p *peering[V]) writeFor(op *link.Op, ch *change[V]) *wire.Frame {
	ctx, cancel := context.WithTimeout(p.group.ctx, p.group.opt.OpTimeout)
	defer cancel()
	live := op.Live
	if !ch.isOnce() { // which removes, and does no harm later
		live = nil
	}
	for {
		gen := p.c.store.gen.Load()
		v := p.tenures.view()
		if !v.isOwn(ch.key) {
			return notOwner(v)
		}
		if err := p.commit(ctx, ch, gen, v, live); !errors.Is(err, errElsewhere) {
			return p.answerTo(op.Link(), ch, p.awaitReplicas(ctx, ch, err))
		}
	}
}

func written(err error) *wire.Frame {
	if err != nil {
		return failed(err)
	}
	return &wire.Frame{Type: wire.Done}
}
