package covey

// shared.go has what a cache needs to speak with the same cache at other peers.

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// encodeFor is encode for the peer at the other end of l, which has to do without the value if that fails: it is logged.
func (p *peering[V]) encodeFor(l *link.Link, f *wire.Frame, key string, v V) error {
	err := p.encode(f, v)
	if err != nil {
		p.c.log.warn("covey: cannot encode a value for a peer, which loads it for itself on every Get", l.Name(), "key", key, "peer", l.Name(), "err", err)
	}
	return err
}

// encode puts the encoding of v into f. Its memory must not be modified.
func (p *peering[V]) encode(f *wire.Frame, v V) error {
	var b []byte
	if plain, ok := any(p.c.opt.Codec).(plainCodec[V]); ok {
		b = plain.plain(v)
	} else {
		err := guard("Codec.Append", func() (err error) {
			b, err = p.c.opt.Codec.Append(nil, v)
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(b) > maxWireValue {
		return fmt.Errorf("%w: it has %d bytes, the limit between processes is %d", ErrTooLarge, len(b), maxWireValue)
	}
	f.Value = b
	return nil
}

// decode returns the value that b encodes. The value may keep b.
func (p *peering[V]) decode(b []byte) (V, error) {
	if plain, ok := any(p.c.opt.Codec).(plainCodec[V]); ok {
		v := plain.own(b)
		p.c.seal(&v)
		return v, nil
	}
	var v V
	err := guard("Codec.Decode", func() (err error) {
		v, err = p.c.opt.Codec.Decode(b)
		return err
	})
	p.c.seal(&v)
	return v, err
}

// maxWireValue is the size of the largest value that goes from peer to peer.
const maxWireValue = defaultMaxValueBytes

// undecodable counts and logs a value of key from a peer that the codec does not understand.
func (p *peering[V]) undecodable(peer, key string, err error) {
	p.c.n.undecodable.Add(1)
	p.c.log.warn("covey: cannot decode a value from a peer; it is loaded anew on every Get", peer, "key", key, "peer", peer, "err", err)
}

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

// allLinks returns the links that are up.
func (g *Group) allLinks() (links []*link.Link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for l := range g.links {
		links = append(links, l)
	}
	return links
}

// linkBy returns a link to the peer of that name, dialling it if need be; nil if there is none.
func (g *Group) linkBy(name string) *link.Link {
	for _, l := range g.allLinks() {
		if l.Name() == name && l.Err() == nil {
			return l
		}
	}
	g.mu.Lock()
	p := g.peers[name]
	g.mu.Unlock()
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(g.ctx, time.Second)
	defer cancel()
	l, _ := p.Link(ctx)
	return l
}

// cacheID returns a cache's number in this process's frames.
func (g *Group) cacheID(name string) (uint16, bool) {
	if c := (*g.caches.Load())[name]; c != nil {
		return c.number(), true
	}
	return 0, false
}

func (p *peering[V]) number() uint16 { return p.id }

// duration returns a remaining time as it goes on the wire, where 0 means that there is no end.
func duration(ns int64) time.Duration {
	if ns == 0 {
		return -1
	}
	return time.Duration(ns)
}

// wireTTL returns a user's TTL as it goes on the wire, where 0 means that there is no end.
func wireTTL(ttl time.Duration) time.Duration {
	if ttl == Forever {
		return 0
	}
	return ttl
}

// userTTL is the reverse of wireTTL.
func userTTL(ttl time.Duration) time.Duration {
	if ttl == 0 {
		return Forever
	}
	return ttl
}

// listen serves the group on its own listener.
func (g *Group) listen() {
	g.server = &http.Server{
		Handler: g, TLSConfig: g.opt.TLS.Clone(),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, // for the rest see hasten
		MaxHeaderBytes: 4 * MaxKeyLen, // a key, each byte of it escaped, and some headers
		ErrorLog:       log.New(serverLog{&g.log}, "", 0),
	}
	g.wg.Go(func() {
		err := guard("GroupOptions.Listener", func() error {
			if g.opt.servesTLS() {
				return g.server.ServeTLS(g.opt.Listener, "", "")
			}
			return g.server.Serve(g.opt.Listener)
		})
		if !errors.Is(err, http.ErrServerClosed) {
			g.opt.Logger.Error("covey: GroupOptions.Listener has failed, other peers cannot reach this process", "err", err)
		}
	})
}
