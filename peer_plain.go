package covey

// peer_plain.go serves single keys over plain HTTP, for curl and other languages.

import (
	"context"

	"github.com/coveycache/covey/internal/wire"
)

// plainGet is a Get, or only a Lookup if there is no loader or it must not load.
func (p *peering[V]) plainGet(ctx context.Context, key string, load bool) (plain plainEntry, err error) {
	if err := p.c.check(key); err != nil {
		return plain, err
	}
	e, ok, err := p.c.Lookup(ctx, key)
	if e.NotFound {
		return plain, ErrNotFound
	}
	if err == nil && (!ok || e.Stale) && !load {
		return plain, errNotCached
	}
	if (!ok || e.Stale) && (err == nil || p.c.opt.Loader != nil) {
		if p.c.opt.Loader == nil && !e.Stale {
			return plain, ErrNotFound
		}
		if p.c.opt.Loader != nil {
			e = Entry[V]{}
			if e.Value, err = p.c.Get(ctx, key, nil); err == nil {
				value := e.Value
				if now, ok, _ := p.c.Lookup(ctx, key); ok {
					e = now
				} else {
					e.Value = value
				}
			}
		}
	}
	if err != nil {
		return plain, err
	}
	var f wire.Frame
	if err := p.encode(&f, e.Value); err != nil {
		return plain, err
	}
	return plainEntry{body: f.Value, version: e.Version, age: e.Age, ttl: e.TTL}, nil
}

func (p *peering[V]) plainPut(ctx context.Context, key string, body []byte, o ...PutOption) error {
	v, err := p.decode(body)
	if err != nil {
		refused := badRequest("the body is not a value as the cache's Codec encodes it")
		refused.withheld = err
		return refused
	}
	return p.c.Put(ctx, key, v, o...)
}
