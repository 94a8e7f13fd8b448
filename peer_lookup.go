package covey

// peer_lookup.go is Lookup of a key that another peer owns, from both ends.

import (
	"context"
	"errors"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// A looked is what another process has of a key.
type looked[V any] struct {
	Entry[V]
	stamp uint64 // of the write or load; 0: not known
}

// lookupAway is Lookup of a key that another peer owns, and says so if this process owns it. If
// the owner turns out to be gone, whoever has taken its place is asked.
func (p *peering[V]) lookupAway(ctx context.Context, key string) (e looked[V], ok, mine bool, err error) {
	for attempt := 0; ; attempt++ {
		v := p.tenures.view()
		i := v.owner(key)
		if i < 0 || i == v.self {
			return e, false, i >= 0, nil
		}
		e, ok, err = p.lookupIn(ctx, v, i, key)
		var peer *PeerError
		if !errors.As(err, &peer) || ctx.Err() != nil || attempt == maxAgain {
			return e, ok, false, err
		}
		redial := attempt == 0 && isBroken(err) // shows whether the owner is gone
		if !redial && !p.awaitSuccessor(ctx, v, i) {
			return e, ok, false, err
		}
	}
}

// lookupIn asks the owner of a key what it has. If it is silent, and others have the key in custody,
// they are asked.
func (p *peering[V]) lookupIn(ctx context.Context, v *view, owner int, key string) (e looked[V], ok bool, err error) {
	if v.isShared() {
		soon, cancel := context.WithTimeoutCause(ctx, quietAfter, errSilent)
		e, ok, err = p.lookupAt(soon, v, owner, key)
		cancel()
		if err == nil || ctx.Err() != nil {
			return e, ok, err
		}
		switch f, found := p.askReplicas(ctx, v, owner, key); found {
		case some:
			p.c.n.replicaReads.Add(1)
			return p.described(v.nameOf(owner), key, &f)
		case none: // as far as anybody can tell who answers
			return e, false, nil
		}
	}
	return p.lookupAt(ctx, v, owner, key)
}

// lookupAt asks the owner of key what it has.
func (p *peering[V]) lookupAt(ctx context.Context, v *view, owner int, key string) (e looked[V], ok bool, err error) {
	peer := v.peers[owner]
	if peer == nil {
		return e, false, errNoMembers
	}
	l, err := p.linkTo(ctx, peer)
	if err != nil {
		return e, false, err
	}
	f, err := p.call(ctx, v, l, &wire.Frame{Type: wire.Lookup, Cache: p.id, Key: key}, false)
	if err != nil {
		return e, false, peerError(ctx, l.Name(), err)
	}
	return p.described(l.Name(), key, &f)
}

// described returns what an answer to a Lookup says.
func (p *peering[V]) described(peer, key string, f *wire.Frame) (e looked[V], ok bool, err error) {
	switch f.Type {
	case wire.Done:
		return e, false, nil
	case wire.Hit:
		if e.Value, err = p.decode(f.Value); err != nil {
			p.undecodable(peer, key, err)
			return e, false, nil
		}
	case wire.NotFound:
		e.NotFound = true
	default:
		return e, false, answerError(peer, f)
	}
	e.Version, e.Age, e.TTL, e.Stale, e.Source = f.Version, f.Age, f.TTL, f.Flags&wire.Stale != 0, SourcePeer
	e.stamp = f.Made
	return e, !e.NotFound, nil
}

// serveLookup answers with what this process has.
func (p *peering[V]) serveLookup(r *link.Request) {
	if r.Type == wire.Peek && r.Flags&wire.Aside != 0 {
		p.serveAside(r)
		return
	}
	if r.Type == wire.Peek { // whoever asks stores what there is, so it must not be from before a Clear
		if _, label, v := p.present(); r.Ring != v.tag || r.Clear != label {
			r.Answer(notOwner(v))
			return
		}
	}
	hash := p.c.store.hash(r.Key)
	now := p.c.store.clock.now()
	n := p.c.store.index.find(hash, r.Key)
	st := p.c.judge(n, now)
	if st != gone && n.flags&flagBorrowed != 0 {
		st = gone
	}
	if r.Type == wire.Lookup {
		p.c.n.served.inc()
		if st == gone {
			p.c.n.misses.Add(1)
		} else {
			p.c.count(n, st)
		}
	}
	f := &wire.Frame{Type: wire.Done, Stamp: p.group.stamps.last.Load()}
	if r.Type == wire.Peek && st != gone {
		f.LoadTime = costOf(n.cost)
	}
	switch st {
	case gone:
	case negative:
		f.Type = wire.NotFound
		p.meta(f, n, now)
	default:
		p.encodeHit(f, n, r.Link())
		p.meta(f, n, now)
		if st != fresh {
			f.Flags |= wire.Stale
		}
	}
	r.Answer(f)
}

// meta adds what is known of n besides its value. Times travel as durations, not as clock readings.
func (p *peering[V]) meta(f *wire.Frame, n *node, now int64) {
	f.Age = duration(now - n.born)
	if n.expires != never {
		f.TTL = duration(n.expires - now)
	}
	f.Version, f.HasVersion = n.version, n.flags&flagVersioned != 0
	f.Made = n.stamp
}
