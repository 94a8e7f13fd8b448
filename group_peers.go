package covey

// group_peers.go says how the group and its members are, as this process sees them.

import (
	"encoding/json"
	"errors"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/link"
)

// A PeerState says whether a peer can be asked right now.
type PeerState uint8

const (
	// PeerIsIdle means that there is no link to the peer, and that none is known to have failed: links
	// are made when they are needed.
	PeerIsIdle PeerState = iota
	// PeerIsSelf means that the peer is this process.
	PeerIsSelf
	// PeerIsUp means that there is a link, over which something has come lately.
	PeerIsUp
	// PeerIsSilent means that there is a link, but nothing has come over it for more than a second,
	// where something does twice a second.
	PeerIsSilent
	// PeerIsDown means that there is no link, as the last one or the last attempt to make one has
	// failed.
	PeerIsDown
)

// String returns the state in one word: idle, self, up, silent or down.
func (s PeerState) String() string {
	switch s {
	case PeerIsIdle:
		return "idle"
	case PeerIsSelf:
		return "self"
	case PeerIsUp:
		return "up"
	case PeerIsSilent:
		return "silent"
	case PeerIsDown:
		return "down"
	}
	return "unknown"
}

// MarshalText implements encoding.TextMarshaler: it returns what String does.
func (s PeerState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. A state that is not known becomes PeerIsIdle.
func (s *PeerState) UnmarshalText(text []byte) error {
	*s = PeerIsIdle
	for one := PeerIsIdle; one <= PeerIsDown; one++ {
		if one.String() == string(text) {
			*s = one
		}
	}
	return nil
}

// A Peer is a member of a group, or a process that would be one, as this process sees it.
type Peer struct {
	Member
	// Self says whether it is this process.
	Self bool
	// State says whether the peer can be asked right now.
	State PeerState
	// Since is when the link to the peer came up that there is, or the last one went down. It is zero
	// for this process, and if there has been none.
	Since time.Time
	// Err says why the peer owns nothing although it is listed: it is not a member. nil means that
	// it is one.
	Err error
	// Leaving says that the peer is a member that owns nothing any more, as it is being shut down.
	Leaving bool
	// Up says whether there is a link to the peer right now, in either direction. Links are made when
	// they are needed.
	Up bool
	// Plain says why the peer is asked with plain HTTP requests, without copies of its keys: its
	// server, or a proxy before it, has refused the upgrade to a link. nil means that it has not.
	// Requests have a time, and a peer refuses them if its clock is more than 30 seconds off.
	Plain error
	// RTT is how long the peer took to answer last. 0 means that there is no link.
	RTT time.Duration
	// SameView says whether the peer goes by the same view of the members as this process, as far as
	// it has said. false if there is no link.
	SameView bool
	// Share is the part of all keys that the peer owns, from 0 to 1.
	Share float64
	// Version is the version of Covey in the peer's process, such as v1.2.3, or (devel) if it was not
	// built from a released one. "" means that it has not said.
	Version string
	// Protocol is the version of the protocol that both speak. 0 means that there is no link.
	Protocol int
	// Requests is how many requests of this process to the peer have ended, for all caches and for
	// the group, and Failures those of them that got no answer. Both begin at 0 when the peer has not
	// been listed or linked for a while.
	Requests, Failures int64
	// Times says how long requests to the peer took, without those that had to wait for a load.
	Times Histogram
	// LastErr is what went wrong last between this process and the peer, at LastErrAt: a request
	// without an answer, a link that ended, or an attempt to make one. nil means that nothing has.
	LastErr   error
	LastErrAt time.Time
}

// peerJSON is a Peer in JSON.
type peerJSON struct {
	Name, URL string
	Weight    int    `json:",omitempty"`
	Zone      string `json:",omitempty"`
	Self      bool
	State     PeerState
	Since     time.Time `json:",omitzero"`
	Err       string    `json:",omitempty"`
	Leaving   bool      `json:",omitempty"`
	Up        bool
	Plain     string        `json:",omitempty"`
	RTT       time.Duration `json:",omitempty"`
	SameView  bool
	Share     float64
	Version   string `json:",omitempty"`
	Protocol  int    `json:",omitempty"`
	Requests  int64
	Failures  int64
	Times     Histogram
	LastErr   string    `json:",omitempty"`
	LastErrAt time.Time `json:",omitzero"`
}

// MarshalJSON implements json.Marshaler.
func (p Peer) MarshalJSON() ([]byte, error) {
	return json.Marshal(peerJSON{
		p.Name, p.URL, p.Weight, p.Zone, p.Self, p.State, p.Since, textOf(p.Err), p.Leaving, p.Up, textOf(p.Plain), p.RTT, p.SameView,
		p.Share, p.Version, p.Protocol, p.Requests, p.Failures, p.Times, textOf(p.LastErr), p.LastErrAt,
	})
}

// UnmarshalJSON implements json.Unmarshaler. Of errors nothing comes back but their texts.
func (p *Peer) UnmarshalJSON(b []byte) error {
	var j peerJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*p = Peer{
		Member{j.Name, j.URL, j.Weight, j.Zone}, j.Self, j.State, j.Since, errorOf(j.Err), j.Leaving, j.Up, errorOf(j.Plain), j.RTT, j.SameView,
		j.Share, j.Version, j.Protocol, j.Requests, j.Failures, j.Times, errorOf(j.LastErr), j.LastErrAt,
	}
	return nil
}

// Peers returns the members and those that Discovery lists, this process included, sorted by name.
// It asks nobody.
func (g *Group) Peers() []Peer {
	g.mu.Lock()
	v := g.view.Load()
	known := slices.Clone(v.ring.members)
	for _, m := range g.listed {
		if v.ring.index(m.Name) < 0 {
			known = append(known, m)
		}
	}
	for i, name := range v.leaving {
		m := Member{Name: name, Weight: -1}
		if p := v.peers[len(v.ring.members)+i]; p != nil {
			m.URL = p.URL()
		} else if name == g.opt.Name {
			m.URL = g.opt.Self
		}
		if !slices.ContainsFunc(known, func(one Member) bool { return one.Name == name }) {
			known = append(known, m)
		}
	}
	slices.SortFunc(known, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	all := make([]Peer, len(known))
	for i, m := range known {
		p := &all[i]
		p.Member, p.Self = m, m.Name == g.opt.Name
		p.Leaving = slices.Contains(v.leaving, m.Name)
		if v.ring.index(m.Name) < 0 && m.Weight >= 0 && !p.Leaving {
			if p.Err = g.failed[m.Name]; p.Err == nil {
				p.Err = errNoMember
			}
		}
		if g.failed[m.Name] != nil {
			p.State = PeerIsDown
		}
	}
	g.mu.Unlock()
	shares := v.ring.shares()
	links := g.links.byNames()
	for i := range all {
		p := &all[i]
		if i := v.ring.index(p.Name); i >= 0 {
			p.Share = shares[i]
		}
		if p.Self {
			p.SameView, p.State, p.Version, p.Protocol = true, PeerIsSelf, buildVersion(), link.Protocol
			continue
		}
		h := g.node.Health(p.Name)
		p.Since, p.LastErr, p.LastErrAt = h.Since, h.Err, h.ErrAt
		p.Requests, p.Failures, p.Times = h.Requests, h.Failures, histogramOf(&h.Times)
		if l := links[p.Name]; l != nil {
			p.State = PeerIsUp
			if l.Quiet() > silentFor {
				p.State = PeerIsSilent
			}
			p.Up, p.Plain, p.RTT, p.SameView = true, l.Plain(), l.RTT(), l.Ring() == v.tag
			p.Version, p.Protocol = l.Build(), int(l.Protocol())
		} else if !p.Since.IsZero() {
			p.State = PeerIsDown
		}
	}
	return all
}

// silentFor is for how long nothing may come over a link before its peer is said to be silent.
const silentFor = 1250 * time.Millisecond

// buildVersion returns the version of this library in this process.
var buildVersion = sync.OnceValue(func() string {
	const unknown = "(devel)"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == "github.com/coveycache/covey" && m.Version != "" {
			return m.Version
		}
	}
	return unknown
})

// errNoMember is why a listed process owns nothing.
var errNoMember = errors.New("covey: it is listed, but not a member: it has not been reached, or has not been taken in yet")

// GroupStats is a snapshot of a group's gauges and counters, as this process sees it.
type GroupStats struct {
	Members int    // that own keys, by the view that this process goes by
	Epoch   uint64 // of that view; greater with each change of the members, unless this process has come into another group. 0: there is none
	Settled bool   // all have given back what the view takes away from them
	Acting  bool   // this process has the promises of a quorum, and may serve what it stores
	Links   int    // links that are up, in both directions
	Pursued int    // Deletes, each of a key, and Clears that could not be confirmed and go on, over all caches
	Views   int64  // views that this process has gone by so far; it only grows

	// How long requests of this process to its peers took, of all caches and for the group, without
	// those that had to wait for a load.
	ReadTimes   Histogram // Gets, Lookups and the like
	WriteTimes  Histogram // Puts, Deletes, Expires and Clears that other members carried out
	RecallTimes Histogram // what writes had to wait for: copies and replicas to be forgotten
	CopyTimes   Histogram // values that were sent to others, or asked for when keys moved
}

// Stats returns the group's gauges and counters. It asks nobody.
func (g *Group) Stats() GroupStats {
	v := g.view.Load()
	times := g.node.Times()
	s := GroupStats{
		Members: len(v.ring.members), Epoch: v.epoch, Settled: v.epoch != 0 && v.hasSettled(), Acting: g.isActing(), Links: g.links.len(), Views: g.views.Load(),
		ReadTimes: histogramOf(&times[link.ForReads]), WriteTimes: histogramOf(&times[link.ForWrites]),
		RecallTimes: histogramOf(&times[link.ForRecalls]), CopyTimes: histogramOf(&times[link.ForCopies]),
	}
	for _, c := range *g.caches.Load() {
		s.Pursued += c.pursued()
	}
	return s
}
