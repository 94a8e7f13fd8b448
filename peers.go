package covey

// peers.go is the group as its users see it, and who is in it: members come from the
// discovery, leave when their machine refuses connections or they say so, and come back with their first link.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coveycache/covey/internal/link"
)

// A Group is this process's membership in a group of processes that share their caches: each key has one owner among them, which
// holds it and sees to it that it is loaded once. A cache joins by [Options.Group]; the same name in every process is the same cache.
//
// A Group is an http.Handler, to be mounted at its [Group.Path] in the web server that the process already has,
// or with GroupOptions.Listener one of its own. Its methods are safe for concurrent use.
type Group struct {
	opt      GroupOptions
	start    time.Time // zero of the clock of the links
	path     string
	node     *link.Node
	server   *http.Server // of GroupOptions.Listener, or nil
	view     atomic.Pointer[view]
	strange  atomic.Pointer[[]*link.Link] // to peers that go by another ring; nil: there are none
	caches   atomic.Pointer[map[string]shared]
	tokens   atomic.Uint64
	pursuits pursuits
	apart    apart

	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
	closing sync.Once

	// mu orders the changes of membership. It comes before the locks of the caches.
	mu     sync.Mutex
	closed bool
	listed []Member                // what the discovery said last
	peers  map[string]*link.Peer   // of the listed, by name
	out    map[string]error        // of the listed, those that are gone, and why
	links  map[*link.Link]struct{} // that are up, at both kinds of ends
	known  chan struct{}           // closed with the first list
}

// A shared cache is a Cache of any type as its group sees it.
type shared interface {
	serve(r *link.Request)
	adopt(v *view) // go by another ring
	clearHere()
	sweep()            // let go of what is no longer owned
	lost(l *link.Link) // a link is down
	number() uint16    // of the cache in this process's frames
	used(key string, hits uint64)
	reportHits(l *link.Link, add func(cache uint16, key string, hits uint64) bool)
	hotKeys(k int) []HotKey
	plainGet(ctx context.Context, key string) (plainEntry, error)
	plainPut(ctx context.Context, key string, body []byte, o ...PutOption) error
	Delete(ctx context.Context, key string, o ...DeleteOption) error
	Close() error
}

// A view is what the group goes by: a ring, and how to reach its members.
type view struct {
	ring  *ring
	self  int          // this process's index in the ring; -1 if it owns nothing
	peers []*link.Peer // by index in the ring; nil for this process itself

	// ready is closed when every member has been told of the ring, or could
	// not be for a while. What is loaded before that is not stored: an owner by another ring would not know of it.
	ready chan struct{}
}

// owner returns the index of key's owner in the ring, -1 if there is none.
func (v *view) owner(key string) int { return v.ring.owner(ringHash(key)) }

// NewGroup makes this process a member of a group. It waits a moment for the first
// list of members, but not for the members. The group has to be shut down when it is no longer needed.
func NewGroup(o GroupOptions) (*Group, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Group{
		opt:   o,
		start: time.Now(),
		path:  DefaultPath,
		peers: make(map[string]*link.Peer),
		out:   make(map[string]error),
		links: make(map[*link.Link]struct{}),
		known: make(chan struct{}),
		apart: apart{dropped: make(map[string]struct{})},
	}
	if o.Self != "" {
		u, _ := url.Parse(o.Self) // has been checked
		g.path = u.Path
	}
	if static, ok := o.Discovery.(staticPeers); ok {
		if err := g.checkStatic(static); err != nil {
			return nil, err
		}
	}
	g.pursuits.group = g
	g.caches.Store(&map[string]shared{})
	empty := &view{ring: newRing(nil), self: -1, ready: make(chan struct{})}
	close(empty.ready)
	g.view.Store(empty)
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.node, err = link.NewNode(link.Config{
		Name: o.Name, Instance: rand.Uint64() | 1, Secrets: o.Secrets, TLS: o.TLS, Dial: o.Dial, OpTimeout: o.OpTimeout, Logger: o.Logger,
		Serve: g.serve, Up: g.linkUp, Down: g.linkDown, Failed: g.dialFailed, RingChanged: g.ringChanged,
		Report: g.reportHits, Reported: g.reported, Start: g.start,
	})
	if err != nil {
		g.stop()
		return nil, fmt.Errorf("covey: %w", err)
	}
	if o.Listener != nil {
		g.listen()
	}
	g.wg.Go(func() {
		if err := o.Discovery.Watch(g.ctx, g.update); err != nil && g.ctx.Err() == nil {
			o.Logger.Error("covey: discovery has ended", "err", err)
		}
	})
	g.wg.Go(g.watchApart)
	timer := time.NewTimer(firstList)
	defer timer.Stop()
	select {
	case <-g.known:
	case <-timer.C:
		o.Logger.Warn("covey: no list of members yet; until it comes nothing is stored", "self", o.Name)
	}
	return g, nil
}

const firstList = 2 * time.Second // to wait for it

// Path returns where in a web server the group has to be mounted.
func (g *Group) Path() string { return g.path }

// Name returns the name that the ring knows this process by.
func (g *Group) Name() string { return g.opt.Name }

// Owner returns the name of the peer that owns key, "" if there is none.
func (g *Group) Owner(key string) string {
	v := g.view.Load()
	if i := v.owner(key); i >= 0 {
		return v.ring.members[i].Name
	}
	return ""
}

// A Peer is a member of a group as this process sees it.
type Peer struct {
	Member
	// Self says whether it is this process.
	Self bool
	// Err says why the peer takes no part: it is not in the ring. nil: it does.
	Err error
	// Up says whether there is a link to the peer right now. One is made when it is needed.
	Up bool
	// RTT is how long the peer took to answer last. 0 if there is no link.
	RTT time.Duration
	// SameRing says whether the peer has the same members in its ring.
	SameRing bool
	// Share is the part of the keys that the peer owns.
	Share float64
}

// Peers returns the members of the group, by name.
func (g *Group) Peers() []Peer {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.view.Load()
	shares := v.ring.shares()
	var all []Peer
	for _, m := range g.listed {
		p := Peer{Member: m, Self: m.Name == g.opt.Name, Err: g.out[m.Name]}
		if i := v.ring.index(m.Name); i >= 0 {
			p.Share = shares[i]
		}
		if p.Self {
			p.SameRing = true
		} else if l := g.peers[m.Name].Up(); l != nil {
			p.Up, p.RTT, p.SameRing = true, l.RTT(), l.Ring() == v.ring.fingerprint
		}
		all = append(all, p)
	}
	return all
}

// Ready waits until this process takes its full part in the group: it has a list
// of members and has told them all that it is there. Until then it loads for itself and stores nothing.
func (g *Group) Ready(ctx context.Context) error {
	select {
	case <-g.known:
	case <-g.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for {
		v := g.view.Load()
		select {
		case <-v.ready:
		case <-g.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if g.view.Load() == v {
			return nil
		}
	}
}

// checkStatic finds the mistakes in a list that will not change.
func (g *Group) checkStatic(list []Member) error {
	members, errs := g.normalize(list)
	if g.opt.Self != "" && !slices.ContainsFunc(members, func(m Member) bool { return m.Name == g.opt.Name }) {
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

// normalize completes and checks a list of members. It leaves out what is wrong.
func (g *Group) normalize(list []Member) (members []Member, errs []error) {
	seen := make(map[string]bool)
	for _, m := range list {
		u, err := peerURL(m.URL)
		if err != nil && m.Weight >= 0 {
			errs = append(errs, fmt.Errorf("covey: member %q: %w", m.Name, err))
			continue
		}
		m.URL = u
		if m.Name == "" {
			m.Name = u
		}
		switch {
		case len(m.Name) > maxPeerName || m.Name == "":
			err = fmt.Errorf("covey: member %.40q…: its name has %d bytes, it must have 1 to %d", m.Name, len(m.Name), maxPeerName)
		case seen[m.Name]:
			err = fmt.Errorf("covey: member %q is in the list twice", m.Name)
		case !g.opt.authenticated() && m.Weight >= 0 && !isLoopback(u):
			err = fmt.Errorf("covey: member %q at %s is not on this machine: set GroupOptions.Secrets, or TLS with client certificates", m.Name, u)
		case m.Name == g.opt.Name && g.opt.Self != "" && u != g.opt.Self:
			err = fmt.Errorf("covey: member %q has the URL %s, but GroupOptions.Self is %s", m.Name, u, g.opt.Self)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		seen[m.Name] = true
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b Member) int { return compareStrings(a.Name, b.Name) })
	return members, errs
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// update takes a new list of members.
func (g *Group) update(list []Member) {
	members, errs := g.normalize(list)
	for _, err := range errs {
		g.opt.Logger.Error("covey: a member is left out", "err", err)
	}
	if g.opt.Self != "" && !slices.ContainsFunc(members, func(m Member) bool { return m.Name == g.opt.Name }) {
		g.opt.Logger.Warn("covey: this process is not in the list of members and owns no keys until it is", "self", g.opt.Name, "members", names(members))
	}
	var gone []*link.Peer
	g.change(func() {
		g.listed = members
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
					g.opt.Logger.Error("covey: a member is left out", "err", err)
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
			if g.peers[p.Name()] == nil && g.out[p.Name()] == nil && len(g.apart.dropped) < maxDropped {
				g.apart.dropped[p.Name()] = struct{}{}
			}
		}
		select {
		case <-g.known:
		default:
			close(g.known)
		}
	})
	for _, p := range gone {
		p.Close()
		if !slices.ContainsFunc(members, func(m Member) bool { return m.Name == p.Name() }) {
			g.pursuits.drop(p.Name())
		}
	}
}

// change makes a change to the membership and, if the ring is another after it, goes by that.
func (g *Group) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
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
		return
	}
changed:
	v.self = v.ring.index(g.opt.Name)
	v.peers = make([]*link.Peer, len(v.ring.members))
	for i, m := range v.ring.members {
		if i != v.self {
			v.peers[i] = g.peers[m.Name]
		}
	}
	g.node.SetRing(v.ring.fingerprint)
	for _, c := range *g.caches.Load() {
		c.adopt(v)
	}
	g.view.Store(v)
	g.findStrangers()
	g.opt.Logger.Info("covey: ring changed", "self", g.opt.Name, "members", len(v.ring.members), "fingerprint", fmt.Sprintf("%016x", v.ring.fingerprint))
	g.wg.Go(func() { g.settle(v) })
}

// settleTime is how long a member is waited for that should hear of a new ring: it covers a lease.
const settleTime = 2500 * time.Millisecond

// settle tells everybody of the ring, and lets go of what is no longer owned.
func (g *Group) settle(v *view) {
	ctx, cancel := context.WithTimeout(g.ctx, settleTime)
	defer cancel()
	told := make(map[uint64]bool)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 64)
	announce := func(l *link.Link) { _ = l.Announce(ctx, v.ring.fingerprint) }
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
	if g.view.Load() == v {
		for _, c := range *g.caches.Load() {
			c.sweep()
		}
	}
	close(v.ready)
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

// strangers returns links to the peers that go by another ring: they may think that they own what this process owns.
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

// linkUp: whoever has a link takes part, unless it has to drop something first.
func (g *Group) linkUp(l *link.Link) {
	g.hear()
	g.change(func() {
		g.links[l] = struct{}{}
		if _, dropped := g.apart.dropped[l.Name()]; dropped {
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

// dialFailed: silence is not death, but a machine that refuses the connection has no such process.
func (g *Group) dialFailed(p *link.Peer, err error) {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, link.ErrSelf) {
		g.leave(p.Name(), err)
	}
}

func (g *Group) leave(name string, err error) {
	g.change(func() {
		if p := g.peers[name]; p != nil && p.Up() == nil {
			g.out[name] = err
		}
	})
}

// join takes a cache in.
func (g *Group) join(name, codec string, c shared, number *uint16) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return fmt.Errorf("%w: the group is shut down", ErrClosed)
	}
	old := *g.caches.Load()
	if old[name] != nil {
		return fmt.Errorf("covey: cache %q: the group has a cache of that name already", name)
	}
	id, err := g.node.AddCache(name, codec)
	if err != nil {
		return fmt.Errorf("covey: cache %q: %w", name, err)
	}
	*number = id
	caches := maps.Clone(old)
	caches[name] = c
	c.adopt(g.view.Load())
	g.caches.Store(&caches)
	return nil
}

// withdraw takes a cache out.
func (g *Group) withdraw(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	caches := maps.Clone(*g.caches.Load())
	delete(caches, name)
	g.caches.Store(&caches)
	g.node.RemoveCache(name)
}

// Shutdown leaves the group. The others are told, so that they go on without this process; what is
// in flight is answered, as long as ctx lasts; then the group's caches are closed and its links. It
// returns ctx's error if that ended first. Further calls do nothing and return nil.
func (g *Group) Shutdown(ctx context.Context) (err error) {
	g.closing.Do(func() {
		g.change(func() { g.listed = nil })
		g.mu.Lock()
		g.closed = true
		g.mu.Unlock()
		g.stop()
		g.pursuits.close()
		err = g.node.Shutdown(ctx)
		for _, c := range *g.caches.Load() {
			err = errors.Join(err, c.Close())
		}
		if g.server != nil {
			_ = g.server.Close()
		}
		g.wg.Wait()
	})
	return err
}

// GroupStats is a snapshot of a group's gauges.
type GroupStats struct {
	Members   int // in the ring
	Links     int // that are up, both those this process has made and those it was asked for
	Strangers int // peers that go by another ring: while there are any, writes have to ask them
	Pursued   int // keys that peers have to drop which could not confirm a write
}

// Stats returns the group's gauges.
func (g *Group) Stats() GroupStats {
	g.mu.Lock()
	links := len(g.links)
	g.mu.Unlock()
	return GroupStats{Members: len(g.view.Load().ring.members), Links: links, Strangers: len(g.strangers()), Pursued: g.pursuits.len()}
}
