package link

// visitor.go shares the places for handshakes out among those who have proved
// nothing yet. Nobody is refused because somebody else holds many connections
// open: when all places are taken, the oldest visitor of the address that has
// most of them makes room. What comes from a member's address never makes room
// for what does not. Among equals nobody makes room before it has had some time,
// or else a thousand that come at once would drive each other out: who finds no
// place then is asked to come again.

import (
	"context"
	"net"
	"net/netip"
	"slices"
)

// A visitor is a handshake under way with an end that has not proved itself.
type visitor struct {
	source string
	member bool // that is the address of a peer that links are dialled to
	since  int64
	ctx    context.Context
	leave  context.CancelCauseFunc
}

// enter gives a place to a visitor from an address, or returns nil if there is
// none. The node is locked.
func (n *Node) enter(address string) *visitor {
	v := &visitor{source: sourceOf(address), since: n.now()}
	for p := range n.peers {
		v.member = v.member || p.source == v.source
	}
	if len(n.visitors) >= n.cfg.MaxPending {
		i := n.hindmost(v)
		if i < 0 {
			return nil
		}
		n.visitors[i].leave(errCrowded)
		n.visitors = slices.Delete(n.visitors, i, i+1)
	}
	v.ctx, v.leave = context.WithCancelCause(n.ctx)
	n.visitors = append(n.visitors, v)
	return v
}

// hindmost returns the index of the visitor that has to make room for another
// one, -1 if there is none. The node is locked.
func (n *Node) hindmost(newcomer *visitor) int {
	worst := -1
	count := make(map[string]int)
	for _, v := range n.visitors {
		count[v.source]++
	}
	lastDue := newcomer.since - int64(n.cfg.HandshakeTimeout)/placeShare
	for i, v := range n.visitors {
		if v.member && !newcomer.member {
			continue
		}
		equals := v.member == newcomer.member && count[v.source] <= count[newcomer.source]+1
		if equals && v.since > lastDue {
			continue
		}
		if worst < 0 {
			worst = i
			continue
		}
		w := n.visitors[worst]
		if w.member && !v.member || w.member == v.member && count[v.source] > count[w.source] {
			worst = i
		}
	}
	return worst
}

// placeShare is by how much the time that a visitor has among equals is shorter than that of a
// handshake.
const placeShare = 8

// exit frees a visitor's place, unless it had to make room.
func (n *Node) exit(v *visitor) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.Index(n.visitors, v); i >= 0 {
		n.visitors = slices.Delete(n.visitors, i, i+1)
	}
	v.leave(nil)
}

// sourceOf returns what an address, host:port, is counted by: the host, and of
// IPv6 the /64, since whoever has one address there has all of them.
func sourceOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return ip.String()
}
