package covey

// peer_refresh.go is Refresh of a key that another process owns, from both ends.

import (
	"context"
	"errors"
	"strings"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// refreshAway is Refresh of a key that another process owns.
func (p *peering[V]) refreshAway(ctx context.Context, v *view, key string) (value V, err error) {
	i := v.owner(key)
	if i < 0 {
		return value, p.group.noMembers()
	}
	if l := loadingOf(ctx); l != nil {
		if !l.enter(p.away(key)) {
			return value, recursive(p.c.name, key)
		}
		defer l.leave(p.away(key))
	}
	l, err := p.linkTo(ctx, v.peers[i])
	if err != nil {
		return value, err
	}
	f, err := p.call(ctx, v, l, &wire.Frame{Type: wire.Reload, Cache: p.id, Key: key, Chain: loadingOf(ctx).chain(p.group)}, false)
	switch {
	case err != nil:
		return value, peerError(ctx, l.Name(), err)
	case f.Type == wire.NotOwner:
		p.group.reconcile(l, v, f.Ring)
		p.awaitChange(ctx, v, againAfter)
		return value, errElsewhere
	case f.Type == wire.NotFound:
		return value, ErrNotFound
	case f.Type == wire.Alone:
		return p.refreshAlone(ctx, l, key)
	case f.Type != wire.Hit:
		return value, answerError(l.Name(), &f)
	}
	if value, err = p.decode(f.Value); err != nil {
		return value, &PeerError{Peer: l.Name(), Err: err}
	}
	return value, nil
}

// refreshAlone is Refresh of a key whose owner does not share it. What other processes keep of it
// goes.
func (p *peering[V]) refreshAlone(ctx context.Context, l *link.Link, key string) (value V, err error) {
	p.unsharedWith(l)
	hash := p.c.store.hash(key)
	s := p.c.lock(hash)
	if p.c.closed.Load() {
		s.unlock()
		return value, p.c.errClosed()
	}
	f := p.c.newFlight(strings.Clone(key), hash, nil)
	s.detach(f)
	s.launch(ctx, f, p.c.opt.Loader, nil)
	s.unlock()
	value, _, err = p.c.wait(ctx, f, nil)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return value, err
	}
	if e := p.change(ctx, &change[V]{kind: wire.Delete, key: key, hash: hash}); e != nil {
		err = e
	}
	return value, err
}

// serveReload refreshes a key for another peer. ctx is as serveGet's.
func (p *peering[V]) serveReload(ctx context.Context, r *link.Request) {
	key := strings.Clone(r.Key)
	if v := p.tenures.view(); !v.isOwn(key) {
		r.Answer(notOwner(v))
		return
	}
	if p.c.opt.Loader == nil {
		r.Answer(failed(noLoader(p.c.name, key)))
		return
	}
	if r.Link().Crowded() {
		r.Answer(failed(errCrowded))
		return
	}
	ctx, cancel := context.WithCancel(contextOf(ctx, p.group, &r.Frame))
	op := r.Keep(func(*link.Op) { cancel() })
	op.Held()
	p.later(op, func() {
		defer cancel()
		v, err := p.c.refreshHere(ctx, key)
		for errors.Is(err, errElsewhere) {
			if v := p.tenures.view(); !v.isOwn(key) {
				op.Answer(notOwner(v))
				return
			}
			v, err = p.c.refreshHere(ctx, key)
		}
		f := &wire.Frame{Type: wire.Hit}
		if err == nil {
			err = p.encode(f, v)
		}
		if err != nil {
			f = failed(err)
		}
		op.Answer(f)
	})
}
