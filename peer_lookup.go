package covey

// peer_lookup.go is Lookup of a key that another peer owns, from both ends.

import (
	"context"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// lookupShared is Lookup of a key that another peer owns.
func (p *peering[V]) lookupShared(ctx context.Context, v *view, key string) (e Entry[V], ok bool, err error) {
	i := v.owner(key)
	if i < 0 {
		return e, false, nil
	}
	l, err := p.linkTo(ctx, v.peers[i])
	if err != nil {
		return e, false, err
	}
	f, err := l.Call(ctx, &wire.Frame{Type: wire.Lookup, Cache: p.id, Key: key})
	if err != nil {
		return e, false, peerError(ctx, l.Name(), err)
	}
	switch f.Type {
	case wire.Done:
		return e, false, nil
	case wire.Hit:
		if e.Value, err = p.decode(f.Value); err != nil {
			p.undecodable(l.Name(), key, err)
			return e, false, nil
		}
	case wire.NotFound:
		e.NotFound = true
	default:
		return e, false, answerError(l.Name(), &f)
	}
	e.Version, e.Age, e.TTL, e.Stale, e.Source = f.Version, f.Age, f.TTL, f.Flags&wire.Stale != 0, SourcePeer
	return e, !e.NotFound, nil
}

// serveLookup answers with what this process has.
func (p *peering[V]) serveLookup(r *link.Request) {
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
	f := &wire.Frame{Type: wire.Done}
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
}
