package covey

// serve.go decides which goroutine serves a request of another peer: the one that reads its link, or
// another one, if functions of the user's are called for it. These may take long, or wait for an
// answer of the same peer.

import (
	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// receive serves a request, or has it served. It runs on the goroutine that reads the link.
func (g *Group) receive(r *link.Request) {
	c := (*g.caches.Load())[r.CacheName()]
	if c == nil && r.CacheName() != "" && standsIn(r.Type) {
		c = g.standIn(r.CacheName())
	}
	switch {
	case c == nil || r.Type == wire.Top:
		g.serve(r)
	case c.servesApart(r):
		r.Apart(c.serve)
	default:
		c.serve(r)
	}
}

// servesApart reports whether functions of the user's may be called to serve a request, other than
// loaders and Events, which never run on the goroutine that serves.
func (p *peering[V]) servesApart(r *link.Request) bool {
	if p.isTraced(r) {
		return true
	}
	switch r.Type {
	case wire.Get, wire.GetMany, wire.Lookup, wire.Peek:
		return p.c.userCodec
	case wire.Put, wire.Fill, wire.Update:
		return p.c.userCodec || p.c.userSize
	}
	return false
}
