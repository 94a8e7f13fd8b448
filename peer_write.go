package covey

// peer_write.go carries out a write wherever the key may have a value: at the owner and, while
// peers go by different rings, at every peer that may think itself the owner.
//
// Why that reaches all of them: a peer stores a key only if it is the owner by its own ring, and
// only after everybody within reach has been told of that ring (see Group.settle). So the owner by
// the writer's ring knows every peer whose ring differs, and has it drop the key before it writes.
// A peer that is asked although it is not the owner by its own ring says who is.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// maxHops is how many peers in a row may each name another as the owner.
const maxHops = 4

// change carries out a write of a key, whoever owns it.
func (p *peering[V]) change(ctx context.Context, ch *change[V]) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	asked := make([]string, 0, maxHops)
	next := "" // the owner that the last one named
	var last error
	for len(asked) < maxHops {
		gen := p.c.store.gen.Load()
		v := p.tenures.view()
		i := v.owner(ch.key)
		if next != "" {
			i = v.ring.index(next)
		}
		switch {
		case i < 0 && next != "":
			return p.unconfirmed(ch, &PeerError{Peer: next, Err: errors.New("it was named as the owner, but is not a member by this process's ring; the lists of members differ")})
		case i < 0:
			return p.unconfirmed(ch, errors.New("covey: the group has no members that own keys"))
		case i == v.self:
			err := p.commit(ctx, ch, gen, v, "")
			if errors.Is(err, errElsewhere) {
				continue
			}
			return err
		}
		peer := v.peers[i]
		answer, err := p.tell(ctx, peer, ch)
		var unreachable *PeerError
		if errors.As(err, &unreachable) {
			if p.tenures.view() != v && ctx.Err() == nil && len(asked) == 0 && last == nil {
				last = err
				continue // the owner has just turned out to be gone
			}
			p.group.pursuits.add(peer.Name(), p.c.name, ch.key)
			return p.unconfirmed(ch, err)
		}
		if err != nil {
			return err
		}
		asked = append(asked, peer.Name())
		next = answer
		if next == p.group.opt.Name { // this process, which was not the owner by its own ring
			next = ""
			if p.tenures.view() != v {
				continue
			}
		}
		if next != "" && !slices.Contains(asked, next) {
			continue
		}
		if errs := p.confirm(ctx, ch.key, asked...); errs != nil {
			return p.unconfirmed(ch, errs...)
		}
		p.drop(ch.key, ch.hash)
		p.holds.void(ch.key)
		return nil
	}
	return p.unconfirmed(ch, fmt.Errorf("covey: the peers %q do not agree on the owner; try again when their rings have settled", asked))
}

func (p *peering[V]) unconfirmed(ch *change[V], errs ...error) error {
	p.drop(ch.key, ch.hash)
	p.c.n.unconfirmed.Add(1)
	return unconfirmed(p.c.name, ch.key, errs...)
}

// tell has a peer carry out the change. If by the peer's ring another one is the owner, tell
// returns its name.
func (p *peering[V]) tell(ctx context.Context, peer *link.Peer, ch *change[V]) (owner string, err error) {
	l, err := p.linkTo(ctx, peer)
	if err != nil {
		return "", err
	}
	f := wire.Frame{Type: ch.kind, Cache: p.id, Key: ch.key}
	switch ch.kind {
	case wire.Put:
		f.Version, f.HasVersion = ch.put.version, ch.put.hasVersion
		if ch.put.hasTTL {
			f.Flags, f.TTL = wire.HasTTL, wireTTL(ch.put.ttl)
		}
		var err error
		if ch.negative {
			f.Flags |= wire.Negative
		} else {
			err = p.encode(&f, ch.value)
		}
		if err != nil { // what cannot be stored removes the old value
			gone := &change[V]{kind: wire.Delete, key: ch.key, hash: ch.hash}
			return "", errors.Join(fmt.Errorf("%w: cache %q, key %q: %w", ErrTooLarge, p.c.name, ch.key, err), p.c.change(ctx, gone))
		}
	case wire.Delete:
		f.Version, f.HasVersion = ch.del.version, ch.del.hasVersion
	}
	answer, err := l.Call(ctx, &f)
	if err != nil {
		return "", newPeerError(peer.Name(), err)
	}
	if answer.Type != wire.Done {
		return "", p.writeError(peer.Name(), ch.key, &answer)
	}
	return answer.Text, nil
}

// commit carries out a write at its owner. Every other peer that may think itself the owner drops
// the key first, except for from, the peer that asks, which does so on its own.
func (p *peering[V]) commit(ctx context.Context, ch *change[V], gen uint32, v *view, from string) error {
	if !isReady(v) {
		select {
		case <-v.ready:
		case <-ctx.Done():
			return p.unconfirmed(ch, context.Cause(ctx))
		}
	}
	err := p.c.changeHere(ch, gen, nil)
	if !errors.Is(err, errDisputed) {
		return err
	}
	w, err := p.beginWriting(ctx, ch.key, ch.hash)
	if err != nil {
		return p.unconfirmed(ch, err)
	}
	defer p.endWriting(ch.key, ch.hash, w)
	recalled := p.recall(ctx, ch.key, ch.hash)
	if errs := p.confirm(ctx, ch.key, from); recalled != nil || errs != nil {
		return p.unconfirmed(ch, append(errs, recalled)...)
	}
	return p.c.changeHere(ch, gen, w)
}

// errDisputed says that other peers may have the key, so that a write has to ask them first.
var errDisputed = errors.New("covey: the key has more than one owner")

// A writing exists while writes of a key ask other peers. They take turns. Nothing is lent until
// the last of them is done, so only the first has copies to recall.
type writing struct {
	writes   int           // the one whose turn it is and those that wait; guarded by the segment's lock
	turn     chan struct{} // hands the turn over; of capacity 1
	disputed bool          // another peer is the owner by its own ring: the Put whose turn it is stores nothing
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
	defer s.unlock()
	w.disputed = false
	if w.writes--; w.writes == 0 {
		delete(s.writing, key)
	} else {
		w.turn <- struct{}{}
	}
}

// confirm has every peer that goes by another ring than this process drop the key, except for those
// named.
func (p *peering[V]) confirm(ctx context.Context, key string, except ...string) (errs []error) {
	hash := p.c.store.hash(key)
	for _, l := range p.group.strangers() {
		if slices.Contains(except, l.Name()) {
			continue
		}
		if _, ok := l.Codec(p.c.name); !ok {
			continue
		}
		answer, err := l.Call(ctx, &wire.Frame{Type: wire.Confirm, Cache: p.id, Key: key})
		switch {
		case err != nil:
			p.group.pursuits.add(l.Name(), p.c.name, key)
			errs = append(errs, newPeerError(l.Name(), err))
		case answer.Type == wire.NotOwner: // by its ring, this process is not the owner
			p.dispute(key, hash)
		}
	}
	return errs
}

// dispute notes that another peer is the owner of key by its own ring.
func (p *peering[V]) dispute(key string, hash uint32) {
	s := p.c.lock(hash)
	defer s.unlock()
	if w := s.writing[key]; w != nil {
		w.disputed = true
	}
}

// drop removes what this process has of a key, without asking anybody.
func (p *peering[V]) drop(key string, hash uint32) {
	w := write[V]{key: key, hash: hash, drop: true}
	p.c.write(&w)
}

// serveConfirm drops a key because a peer that goes by another ring writes it.
func (p *peering[V]) serveConfirm(r *link.Request) {
	if r.Key == "" {
		p.serveClear(r)
		return
	}
	key := strings.Clone(r.Key)
	hash := p.c.store.hash(key)
	op := r.Keep(nil)
	p.later(op, func() {
		ctx, cancel := context.WithTimeout(p.group.ctx, p.group.opt.OpTimeout)
		defer cancel()
		if recall := p.yield(key, hash); recall != nil {
			if err := recall(ctx); err != nil {
				op.Answer(written(err))
				return
			}
		}
		f := &wire.Frame{Type: wire.Done}
		if v := p.tenures.view(); v.isOwn(key) {
			f.Type = wire.NotOwner
		}
		op.Answer(f)
	})
}

// yield drops what this process has of a key because another peer writes it. If copies of it have
// to be recalled first, it returns the function that does so.
func (p *peering[V]) yield(key string, hash uint32) (recall func(context.Context) error) {
	s := p.c.lock(hash)
	s.noteRecall(key, p.c.store.clock.now())
	w := s.writing[key]
	if w != nil {
		w.disputed = true
	}
	if !s.lent(key) {
		s.unlock()
		p.drop(key, hash)
		return nil
	}
	own := w == nil
	if own { // nothing may be lent meanwhile
		w = s.startWriting(key, hash)
	}
	s.unlock()
	return func(ctx context.Context) error {
		if own {
			defer p.endWriting(key, hash, w)
		}
		for {
			err := p.recall(ctx, key, hash)
			p.drop(key, hash)
			s.mu.Lock()
			again := s.lent(key) // after a write that was under way here
			s.unlock()
			if err != nil || !again {
				return err
			}
		}
	}
}

// serveWrite carries out a write for another peer.
func (p *peering[V]) serveWrite(r *link.Request) {
	ch := &change[V]{kind: r.Type, key: strings.Clone(r.Key), foreign: true}
	ch.hash = p.c.store.hash(ch.key)
	switch r.Type {
	case wire.Put:
		if ch.negative = r.Flags&wire.Negative != 0; !ch.negative {
			var err error
			if ch.value, err = p.decode(ownValue(r)); err != nil {
				p.undecodable(r.Link().Name(), ch.key, err)
				ch.kind = wire.Delete // what cannot be stored removes the old value
			}
		}
		ch.put = PutOption{ttl: userTTL(r.TTL), hasTTL: r.Flags&wire.HasTTL != 0, version: r.Version, hasVersion: r.HasVersion}
	case wire.Delete:
		ch.del = DeleteOption{version: r.Version, hasVersion: r.HasVersion}
	}
	gen := p.c.store.gen.Load()
	v := p.tenures.view()
	if v.isOwn(ch.key) && isReady(v) && p.c.opt.Events.Removed == nil {
		err := p.c.changeHere(ch, gen, nil)
		if !errors.Is(err, errDisputed) && !errors.Is(err, errElsewhere) {
			r.Answer(written(err))
			return
		}
	}
	from := r.Link().Name()
	op := r.Keep(nil)
	p.later(op, func() { op.Answer(p.writeFor(op, ch, from)) })
}

// writeFor is the part of serveWrite that may have to wait.
func (p *peering[V]) writeFor(op *link.Op, ch *change[V], from string) *wire.Frame {
	ctx, cancel := context.WithTimeout(p.group.ctx, p.group.opt.OpTimeout)
	defer cancel()
	for {
		gen := p.c.store.gen.Load()
		v := p.tenures.view()
		if !v.isOwn(ch.key) {
			if recall := p.yield(ch.key, ch.hash); recall != nil {
				if err := recall(ctx); err != nil {
					return written(unconfirmed(p.c.name, ch.key, err))
				}
			}
			if errs := p.confirm(ctx, ch.key, from); errs != nil {
				return written(unconfirmed(p.c.name, ch.key, errs...))
			}
			f := &wire.Frame{Type: wire.Done}
			if i := v.owner(ch.key); i >= 0 {
				f.Text = v.ring.members[i].Name
			}
			return f
		}
		if !op.Live() {
			return written(context.Canceled)
		}
		if err := p.commit(ctx, ch, gen, v, from); !errors.Is(err, errElsewhere) {
			return written(err)
		}
	}
}

func written(err error) *wire.Frame {
	if err != nil {
		return failed(err)
	}
	return &wire.Frame{Type: wire.Done}
}
