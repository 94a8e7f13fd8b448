package covey

// standin.go is what answers for a cache that this process does not have, while other members of
// the group do. A stand-in has no values. It carries out writes of the keys that this process owns,
// and remembers who keeps what (peer_alone.go), with the code that a cache has for that.

import (
	"github.com/coveycache/covey/internal/wire"
)

// noCodec is the codec of a stand-in, by which the others know that it is one.
const noCodec = ""

// standIn returns the cache of that name, or what stands in for it; nil if nothing can.
func (g *Group) standIn(name string) shared {
	c := makeCache(name, Options[struct{}]{MaxEntries: 1, Eviction: FIFO, L1: -1, Group: g, Logger: g.opt.Logger})
	p := c.newPeering(g, noCodec)
	g.mu.Lock()
	defer g.mu.Unlock()
	if there := (*g.caches.Load())[name]; there != nil {
		return there
	}
	if g.closed || g.add(name, noCodec, p, &p.id) != nil {
		return nil
	}
	return p
}

// standsIn reports whether a stand-in answers requests of that type. The others say only that there
// is no cache.
func standsIn(t wire.Type) bool {
	switch t {
	case wire.Get, wire.GetMany, wire.Lookup, wire.Peek, wire.Reload, wire.Put, wire.Delete, wire.Expire:
		return true
	}
	return false
}

func (p *peering[V]) isStandIn() bool { return p.codec == noCodec }

// retire ends a stand-in, since the cache itself comes, and returns what it has remembered, with
// the times of the group's clock. What it has not answered yet it refuses. The group is locked.
func (p *peering[V]) retire() (loans []map[string]*lending) {
	c := p.c
	c.closing.Store(true)
	c.spawning.Lock()
	c.closed.Store(true)
	c.spawning.Unlock()
	close(c.stop)
	close(p.emptied)
	for i := range c.shards {
		s := c.lockAt(i)
		loans = append(loans, s.loans)
		s.loans = nil
		s.unlock()
	}
	for _, some := range loans {
		for _, l := range some {
			l.shift(-c.copies.offset)
		}
	}
	p.group.wg.Go(c.wg.Wait)
	return loans
}

// inherit takes over what a stand-in has remembered.
func (p *peering[V]) inherit(loans []map[string]*lending) {
	if p.trust != nil {
		p.trust.past.Store(nil) // keys may have been written that nobody knows of
	}
	for _, some := range loans {
		for key, l := range some {
			l.shift(p.c.copies.offset)
			s := p.c.lock(p.c.store.hash(key))
			if s.loans == nil {
				s.loans = make(map[string]*lending)
			}
			s.loans[key] = l
			s.unlock()
		}
	}
}

// shift sets the ends of loans to another clock, which is ahead by so much.
func (l *lending) shift(ahead int64) {
	for i := range l.copies {
		l.copies[i].until += ahead
	}
}
