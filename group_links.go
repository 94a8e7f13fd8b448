package covey

// group_links.go keeps the links to other processes, and tells the agreement which there are.

import (
	"errors"
	"io"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/coveycache/covey/internal/link"
	agreed "github.com/coveycache/covey/internal/view"
)

// peerOf returns the peer of that name and URL, nil if it cannot be dialled. mu is held.
func (g *Group) peerOf(name, url string) *link.Peer {
	p := g.peers[name]
	if p != nil && p.URL() == url {
		return p
	}
	if url == "" || g.closed || !g.opt.authenticates(url) && !isLoopback(url) {
		return nil
	}
	next, err := g.node.Peer(name, url)
	if err != nil {
		return nil
	}
	if p != nil {
		g.old = append(g.old, p)
	}
	g.peers[name] = next
	return next
}

// closeUnused closes the peers that are of no use any more.
func (g *Group) closeUnused() {
	wanted := make(map[string]bool)
	for _, m := range g.agreement.Wanted() {
		wanted[m.Name] = true
	}
	g.mu.Lock()
	for _, m := range g.listed {
		wanted[m.Name] = true
	}
	v := g.view.Load()
	for _, m := range v.ring.members {
		wanted[m.Name] = true
	}
	for _, name := range v.leaving { // they are custodians still, whatever the list says
		wanted[name] = true
	}
	gone := g.old
	g.old = nil
	for name, p := range g.peers {
		if !wanted[name] {
			delete(g.peers, name)
			delete(g.failed, name)
			gone = append(gone, p)
		}
	}
	g.mu.Unlock()
	for _, p := range gone {
		p.Close()
	}
}

// linkUp takes note of a link that is up, before anything is asked over it.
func (g *Group) linkUp(l *link.Link) {
	g.upgradeRefused(l.Name(), l.Plain())
	if g.links.add(l) {
		g.journal.add(Event{Kind: EventPeerUp, Peer: l.Name()})
	}
	g.mu.Lock()
	delete(g.failed, l.Name())
	p := g.peers[l.Name()]
	g.mu.Unlock()
	if p != nil && !l.Dialed() {
		p.Retry()
	}
	g.hears(l)
}

func (g *Group) linkDown(l *link.Link, err error) {
	for _, c := range *g.caches.Load() {
		c.lost(l)
	}
	if g.links.remove(l) {
		g.journal.add(Event{Kind: EventPeerDown, Peer: l.Name(), Err: err})
	}
	g.hearsNoMore(l, err)
}

// hears notes that messages can be sent over a link. A caller over plain HTTP has one that is good
// for nothing else.
func (g *Group) hears(l *link.Link) {
	id := agreed.ID{Name: l.Name(), Instance: l.Instance()}
	g.mu.Lock()
	g.linksTo[id] = append(g.linksTo[id], l)
	g.mu.Unlock()
	g.agreement.LinkUp(id)
	if !l.Dialed() {
		g.agreement.Reached(false)
	}
}

func (g *Group) hearsNoMore(l *link.Link, err error) {
	id := agreed.ID{Name: l.Name(), Instance: l.Instance()}
	g.mu.Lock()
	g.linksTo[id] = slices.DeleteFunc(g.linksTo[id], func(one *link.Link) bool { return one == l })
	if len(g.linksTo[id]) == 0 {
		delete(g.linksTo, id)
	}
	g.mu.Unlock()
	if hasEnded(err) || l.Plain() != nil { // over plain HTTP nothing says who has ended what
		g.agreement.LinkEnded(id)
	} else {
		g.agreement.LinkDown(id)
	}
}

// hasEnded reports whether the other end has ended a link, as a process does that dies.
func hasEnded(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, link.ErrGoingAway)
}

// strangePatience is how long after this process's start a listed server that is no peer may become
// one: the group may not be mounted there yet.
const strangePatience = 30 * time.Second

// dialFailed takes a peer for dead only if its machine refuses the connection, as there is no such
// process then. Silence is another matter.
func (g *Group) dialFailed(p *link.Peer, err error) {
	g.mu.Lock()
	g.failed[p.Name()] = err
	g.mu.Unlock()
	switch {
	case errors.Is(err, link.ErrSelf):
		g.reachedSelf(p)
		return
	case errors.Is(err, syscall.ECONNREFUSED):
		g.agreement.Refused(p.Name())
		g.forgetCallers(p.Name())
		return
	}
	g.upgradeRefused(p.Name(), err)
	var handshake *link.HandshakeError
	var upgrade *link.UpgradeError
	isOther := errors.As(err, &handshake) || errors.Is(err, link.ErrRefused)    // a process of another group
	isNoPeer := errors.As(err, &upgrade) && g.steady() > int64(strangePatience) // nor is it about to become one
	if isOther || isNoPeer {
		g.agreement.Unlist(p.Name())
	}
}

// forgetCallers ends the links that stand for callers over plain HTTP of that name, whose server
// refuses connections: nothing else would tell soon that they are gone. One that lives calls again.
func (g *Group) forgetCallers(name string) {
	g.mu.Lock()
	var gone []*link.Link
	for id, links := range g.linksTo {
		if id.Name != name {
			continue
		}
		for _, l := range links {
			if l.Plain() != nil && !l.Dialed() {
				gone = append(gone, l)
			}
		}
	}
	g.mu.Unlock()
	for _, l := range gone {
		l.Close()
	}
}

// reachedSelf notes that this process can be reached under its own URL, or that a listed member is
// this process itself. The peer that is this process goes on dialling, every 5 s in the end: should
// a newer process of this name be there one day, this one has to know.
func (g *Group) reachedSelf(p *link.Peer) {
	if p == g.self {
		g.agreement.Reached(true)
		g.knock()
	} else {
		g.agreement.Unlist(p.Name())
	}
}

// knock dials without waiting for the end of a pause, while this process has no place in a view:
// itself, and all to whom there is no link if it would found a view. What they said before that
// counts for nothing, nor does what they said some time ago.
func (g *Group) knock() {
	homeless, attempt := g.agreement.Founding()
	if !homeless {
		return
	}
	now := g.steady()
	g.mu.Lock()
	begins := attempt != 0 && attempt != g.attempt
	if !begins && now-g.knocked < int64(time.Second) {
		g.mu.Unlock()
		return
	}
	g.knocked, g.attempt = now, attempt
	var peers []*link.Peer
	if attempt != 0 {
		peers = slices.Collect(maps.Values(g.peers))
	}
	g.mu.Unlock()
	if g.self != nil {
		peers = append(peers, g.self)
	}
	for _, p := range peers {
		if p.Up() == nil {
			p.Retry()
		}
	}
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

// allLinks returns the links that are up.
func (g *Group) allLinks() []*link.Link { return g.links.list() }

// noMembers is the error of a call that needs a member when this process knows of none.
func (g *Group) noMembers() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	errs := []error{errNoMembers}
	for _, name := range slices.Sorted(maps.Keys(g.failed)) {
		if errs = append(errs, newPeerError(name, g.failed[name])); len(errs) > maxPeersSent {
			break
		}
	}
	return errors.Join(errs...)
}

// cacheID returns a cache's number in this process's frames.
func (g *Group) cacheID(name string) (uint16, bool) {
	if c := (*g.caches.Load())[name]; c != nil {
		return c.number(), true
	}
	return 0, false
}
