package covey

// group_members.go keeps who is in the group: members come from the discovery, leave when their
// machine refuses connections or when they say so, and come back with their first link. Each change
// makes another ring, which is announced to all members.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coveycache/covey/internal/link"
)

// A view is what the group goes by: a ring, and how to reach its members.
type view struct {
	ring  *ring
	self  int          // this process's index in the ring; -1 if it owns nothing
	peers []*link.Peer // by index in the ring; nil for this process itself

	// ready is closed when every member has been told of the ring, or could not be told for
	// settleTime. What is loaded before that is not stored, since an owner by another ring would
	// not know of it.
	ready chan struct{}
}

// owner returns the index of key's owner in the ring, -1 if there is none.
func (v *view) owner(key string) int { return v.ring.owner(ringHash(key)) }

// isOwn reports whether this process owns key.
func (v *view) isOwn(key string) bool { return v.self >= 0 && v.owner(key) == v.self }

// checkStatic finds the mistakes in a list that will not change.
func (g *Group) checkStatic(list []Member) error {
	members, errs := g.normalize(list)
	if g.opt.Self != "" && !g.isIn(members) {
		errs = append(errs, fmt.Errorf("covey: GroupOptions.Discovery: this process, %q, is not in the list of members %v: add it or change GroupOptions.Self or Name",
			g.opt.Name, names(members)))
	}
	return errors.Join(errs...)
}

func names(members []Member) []string {
	var s []string
	for _, m := range members {
		s = append(s, m.Name)
	}
	return s
}

// normalize completes and checks a list of members. Members with mistakes are left out.
func (g *Group) normalize(list []Member) (members []Member, errs []error) {
	seen := make(map[string]bool)
	for _, m := range list {
		u, err := peerURL(m.URL)
		if m.URL == "" && m.Weight < 0 {
			err = nil // nobody dials it
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("covey: member %q: %w", m.Name, err))
			continue
		}
		m.URL = u
		if m.Name == "" {
			m.Name = nameOf(u)
		}
		switch {
		case len(m.Name) > maxPeerName || m.Name == "":
			err = fmt.Errorf("covey: member %.40q…: its name has %d bytes, it must have 1 to %d", m.Name, len(m.Name), maxPeerName)
		case seen[m.Name]:
			err = fmt.Errorf("covey: member %q is in the list twice", m.Name)
		case !g.opt.authenticates(u) && m.Weight >= 0 && !isLoopback(u):
			err = fmt.Errorf("covey: member %q at %s is not on this machine: set GroupOptions.Secrets, or TLS with client certificates and https URLs", m.Name, u)
		case m.Name == g.opt.Name && g.opt.Self != "" && nameOf(u) != nameOf(g.opt.Self):
			err = fmt.Errorf("covey: member %q has the URL %s, but GroupOptions.Self is %s", m.Name, u, g.opt.Self)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		seen[m.Name] = true
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return members, errs
}

// update takes a new list of members.
func (g *Group) update(list []Member) {
	members, errs := g.normalize(list)
	var gone []*link.Peer
	var before []Member
	g.change(func() {
		before, g.listed = g.listed, members
		old := g.peers
		g.peers = make(map[string]*link.Peer)
		for _, m := range members {
			if m.Name == g.opt.Name || m.Weight < 0 {
				continue
			}
			p := old[m.Name]
			if p == nil || p.URL() != m.URL {
				var err error
				if p, err = g.node.Peer(m.Name, m.URL); err != nil {
					errs = append(errs, err)
					continue
				}
				delete(g.out, m.Name)
				if _, dropped := g.apart.dropped[m.Name]; dropped {
					g.out[m.Name] = errNotTold
				}
			} else {
				delete(old, m.Name)
			}
			g.peers[m.Name] = p
		}
		gone = slices.Collect(maps.Values(old))
		for _, p := range gone {
			if g.peers[p.Name()] != nil {
				continue
			}
			delete(g.apart.met, p.Name())
			if !errors.Is(g.out[p.Name()], link.ErrGoingAway) && len(g.apart.dropped) < maxDropped {
				g.apart.dropped[p.Name()] = struct{}{}
			}
		}
	})
	if g.opt.Self != "" && !g.isIn(members) {
		g.missing(members, before)
	}
	for _, err := range errs {
		g.opt.Logger.Error("covey: a member is left out", "err", err)
	}
	g.mu.Lock()
	select {
	case <-g.known:
	default:
		close(g.known) // only now, since those who wait for it look at the ring
	}
	g.mu.Unlock()
	for _, p := range gone {
		p.Close()
		if !slices.ContainsFunc(members, func(m Member) bool { return m.Name == p.Name() }) {
			g.pursuits.drop(p.Name())
		}
	}
}

// change makes a change to the membership. If the ring is another one afterwards, the group goes by
// that from then on.
func (g *Group) change(f func()) {
	if v := g.remake(f); v != nil {
		g.opt.Logger.Info("covey: ring changed", "self", g.opt.Name, "members", len(v.ring.members), "fingerprint", fmt.Sprintf("%016x", v.ring.fingerprint))
	}
}

// remake is change without telling the user. It returns the new view, nil if the ring is the same.
func (g *Group) remake(f func()) *view {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	f()
	var members []Member
	for _, m := range g.listed {
		if g.out[m.Name] == nil && (m.Name == g.opt.Name || g.peers[m.Name] != nil) {
			members = append(members, m)
		}
	}
	v := &view{ring: newRing(members), ready: make(chan struct{})}
	if old := g.view.Load(); old.ring.fingerprint == v.ring.fingerprint {
		for i, m := range old.ring.members { // same names, perhaps other addresses
			if i != old.self && old.peers[i] != g.peers[m.Name] {
				goto changed
			}
		}
		return nil
	}
changed:
	v.self = v.ring.index(g.opt.Name)
	v.peers = make([]*link.Peer, len(v.ring.members))
	for i, m := range v.ring.members {
		if i != v.self {
			v.peers[i] = g.peers[m.Name]
		}
	}
	for _, c := range *g.caches.Load() {
		c.adopt(v)
	}
	g.view.Store(v)
	g.findStrangers()
	g.wg.Go(func() { g.settle(v) })
	return v
}

// settleTime is how long to wait for members to hear of a new ring. It covers a lease.
const settleTime = 2500 * time.Millisecond

// settle announces the ring to everybody, and then removes what this process no longer owns. Before
// that it takes back the copies of keys that have got another owner: those who go by this ring as
// well no longer tell this process what they write, and it may be the only one that knows of these
// copies.
func (g *Group) settle(v *view) {
	// 1. Take back, while all still tell this process what they write.
	g.takeBack(v)
	// 2. Announce. Until the last member has heard, or its lease has ended, some may go by another ring and store what this
	// process owns; so nothing is stored here, and writes wait.
	ctx, cancel := context.WithTimeout(g.ctx, settleTime)
	defer cancel()
	var wg sync.WaitGroup
	g.mu.Lock()
	if g.view.Load() == v { // else the next one does it
		g.node.SetRing(v.ring.fingerprint)
	}
	g.mu.Unlock()
	told := make(map[uint64]bool)
	slots := make(chan struct{}, 64)
	announce := func(l *link.Link) { _ = l.Announce(ctx) }
	g.mu.Lock()
	for l := range g.links {
		told[l.Instance()] = true
		wg.Go(func() { announce(l) })
	}
	g.mu.Unlock()
	for _, p := range v.peers {
		if p == nil {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if l, err := p.Link(ctx); err == nil && !told[l.Instance()] {
				announce(l)
			}
		})
	}
	wg.Wait()
	// 3. Remove what has another owner, before anything is stored by this ring: the views that tell the one from the other are
	// forgotten with it.
	if g.view.Load() == v {
		for _, c := range *g.caches.Load() {
			c.sweep()
		}
	}
	close(v.ready)
}

// takeBack takes back the copies of keys that this process does not own by v, which its caches have
// adopted. If a borrower is silent that takes until the end of its lease.
func (g *Group) takeBack(v *view) {
	ctx, cancel := context.WithTimeout(g.ctx, settleTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, c := range *g.caches.Load() {
		wg.Go(func() { _ = c.recallAll(ctx, func(key string) bool { return !v.isOwn(key) }) })
	}
	wg.Wait()
}

// findStrangers notes which links lead to peers that go by another ring. mu is held.
func (g *Group) findStrangers() {
	var strange []*link.Link
	ring := g.view.Load().ring.fingerprint
	seen := make(map[uint64]bool)
	for l := range g.links {
		if l.Ring() != ring && !seen[l.Instance()] {
			seen[l.Instance()] = true
			strange = append(strange, l)
		}
	}
	if strange == nil {
		g.strange.Store(nil)
	} else {
		g.strange.Store(&strange)
	}
}

// strangers returns links to the peers that go by another ring: they may think that they own keys
// that this process owns.
func (g *Group) strangers() []*link.Link {
	if s := g.strange.Load(); s != nil {
		return *s
	}
	return nil
}

func (g *Group) ringChanged(*link.Link) {
	g.mu.Lock()
	g.findStrangers()
	g.mu.Unlock()
}

// linkUp lets the peer at the other end take part, unless it has to drop something first.
func (g *Group) linkUp(l *link.Link) {
	g.hear()
	g.upgradeRefused(l.Name(), l.Plain())
	g.change(func() {
		g.links[l] = struct{}{}
		g.recognize(l)
		if _, dropped := g.apart.dropped[l.Name()]; dropped {
			g.out[l.Name()] = errNotTold
			g.wg.Go(func() { g.dropAt(l) })
		} else {
			delete(g.out, l.Name())
		}
		if p := g.peers[l.Name()]; p != nil {
			p.Retry()
		}
	})
	g.ringChanged(l)
}

func (g *Group) linkDown(l *link.Link, err error) {
	for _, c := range *g.caches.Load() {
		c.lost(l)
	}
	g.mu.Lock()
	delete(g.links, l)
	g.findStrangers()
	g.mu.Unlock()
	if errors.Is(err, link.ErrGoingAway) {
		g.leave(l.Name(), err)
	}
}

// dialFailed takes a peer for dead only if its machine refuses the connection, as there is no such
// process then. Silence is not death.
func (g *Group) dialFailed(p *link.Peer, err error) {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, link.ErrSelf) {
		g.leave(p.Name(), err)
		return
	}
	g.upgradeRefused(p.Name(), err)
	var upgrade *link.UpgradeError
	var handshake *link.HandshakeError
	if errors.As(err, &upgrade) || errors.As(err, &handshake) || errors.Is(err, link.ErrRefused) {
		g.answers(p.Name())
	}
}

// answers takes a member back into the ring whose machine has refused connections and now answers,
// though not with a link: a process is there that may own keys by its own ring. Like any that has
// run on alone it has to drop what it stored before it is asked for anything.
func (g *Group) answers(name string) {
	g.change(func() {
		if errors.Is(g.out[name], syscall.ECONNREFUSED) {
			delete(g.out, name)
			g.apart.dropped[name] = struct{}{}
		}
	})
}

// upgradeRefused logs, once for each peer, that its server has not answered the request for a link
// with a link.
func (g *Group) upgradeRefused(name string, err error) {
	var refused *link.UpgradeError
	if !errors.As(err, &refused) {
		return
	}
	if _, before := g.refused.LoadOrStore(name, true); !before {
		g.opt.Logger.Warn("covey: a peer's server does not take links. Is the group mounted at that URL? If a proxy or a service mesh refuses the Upgrade, exclude the port from it or "+
			"give the group a port of its own (GroupOptions.Listener). Until then the peer is asked over plain HTTP, without copies, if the group has secrets, or "+
			"client certificates and the URL is https", "peer", name, "err", err)
	}
}

func (g *Group) leave(name string, err error) {
	g.change(func() {
		if p := g.peers[name]; p != nil && p.Up() == nil && !p.Shown() {
			g.out[name] = err
		}
	})
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
