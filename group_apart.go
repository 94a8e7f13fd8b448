package covey

// group_apart.go deals with processes that run on while the others do without them and acknowledge
// writes that they do not hear of. A process that hears from nobody finds that out by itself, and
// so does one that, where there are no links, is not asked back. A process that the discovery has
// dropped, or whose machine has refused connections, is told when it comes back.

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// apart is what a group knows about that.
type apart struct {
	alone   atomic.Bool         // this process hears no other member, or not of what some of them write
	unheard bool                // it is the latter; used by watchApart only
	dropped map[string]struct{} // members that the others did without and that may not know of it; guarded by Group.mu
	met     map[string]uint64   // members' instances when they last had a link; guarded by Group.mu
}

const (
	apartEvery = 500 * time.Millisecond
	maxDropped = 1 << 14 // members; more are not remembered
)

// errNotTold keeps a member out of the ring.
var errNotTold = errors.New("covey: the others did without it for a while: it is being told to drop what it stored")

// watchApart checks now and then whether this process hears from anybody, and whether there are
// members to be told.
func (g *Group) watchApart() {
	tick := time.NewTicker(apartEvery)
	defer tick.Stop()
	held := int64(settleTime) // until when this process has heard somebody
	for {
		select {
		case <-tick.C:
		case <-g.ctx.Done():
			return
		}
		g.skew.follow()
		now := g.skew.now()
		others, last := g.heard()
		if held = max(held, last); !others {
			held = now + int64(settleTime)
		}
		unheard := g.unheard()
		switch {
		case now <= held && unheard == "":
			if g.apart.unheard {
				g.hear()
			}
		case !g.apart.alone.CompareAndSwap(false, true):
		case unheard != "":
			g.renew()
			g.opt.Logger.Warn("covey: a peer that is asked over plain HTTP has a list of members without this process, which therefore misses its writes: "+
				"what is stored is loaded anew and kept no longer than IsolatedTTL; correct that list", "peer", unheard, "IsolatedTTL", g.opt.IsolatedTTL)
		default:
			g.renew()
			g.opt.Logger.Warn("covey: this process hears from no other member: it loads what it has anew and keeps it no longer than IsolatedTTL", "IsolatedTTL", g.opt.IsolatedTTL)
		}
		g.apart.unheard = unheard != ""
		g.reachDropped()
	}
}

// heard reports whether there are other members, and until when one of them has given a lease.
func (g *Group) heard() (others bool, until int64) {
	v := g.view.Load()
	for i := range v.peers {
		others = others || i != v.self
	}
	for _, l := range g.allLinks() {
		until = max(until, l.HeldUntil())
	}
	return others, until
}

// unheard returns the name of a peer that goes by another ring and cannot tell this process what it
// writes; "" if there is none.
func (g *Group) unheard() string {
	if g.view.Load().self >= 0 {
		for _, l := range g.strangers() {
			if l.Unheard() {
				return l.Name()
			}
		}
	}
	return ""
}

// renew has every cache forget what it has, so that it is loaded anew.
func (g *Group) renew() {
	for _, c := range *g.caches.Load() {
		c.clearHere()
	}
}

// hear is called with each link that comes up, before anything is asked over it.
func (g *Group) hear() {
	if g.apart.alone.CompareAndSwap(true, false) {
		g.renew()
		g.opt.Logger.Info("covey: this process hears from another member again")
	}
}

// recognize notes which process is at the other end of a link. If it was taken for dead, and no
// other link to it is up, it has run on without the others. mu is held.
func (g *Group) recognize(l *link.Link) {
	name := l.Name()
	if g.peers[name] == nil {
		return
	}
	linked := false
	for other := range g.links {
		linked = linked || other != l && other.Name() == name
	}
	if g.out[name] != nil && g.apart.met[name] == l.Instance() && !linked {
		g.apart.dropped[name] = struct{}{}
		g.out[name] = errNotTold
	}
	g.apart.met[name] = l.Instance()
}

// reachDropped dials the members that the discovery has dropped and now lists again.
func (g *Group) reachDropped() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name := range g.apart.dropped {
		if p := g.peers[name]; p != nil && !g.closed && p.Up() == nil {
			g.wg.Go(func() {
				ctx, cancel := context.WithTimeout(g.ctx, apartEvery)
				defer cancel()
				_, _ = p.Link(ctx) // linkUp does the rest
			})
		}
	}
}

// dropAt has the other end of a link drop what it stored while the others did without it, and then
// lets it take part.
func (g *Group) dropAt(l *link.Link) {
	for name := range *g.caches.Load() {
		id, ok := g.cacheID(name)
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(g.ctx, g.opt.OpTimeout)
		answer, err := l.Call(ctx, &wire.Frame{Type: wire.Confirm, Cache: id})
		cancel()
		if err != nil || answer.Type == wire.Failed && answer.Code != wire.CodeUnknownCache {
			l.Close() // the next link tries again
			return
		}
	}
	g.change(func() {
		if g.peers[l.Name()] == nil {
			return // still not in the list
		}
		delete(g.apart.dropped, l.Name())
		delete(g.out, l.Name())
	})
}
