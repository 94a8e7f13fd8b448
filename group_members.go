package covey

// group_members.go deals with the lists of members that the discovery gives. They say whom to
// contact; who is a member is for the members to agree upon (see group_view.go).

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	agreed "github.com/coveycache/covey/internal/view"
)

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

// update takes a new list of members: whom to contact, no more.
func (g *Group) update(list []Member) {
	members, errs := g.normalize(list)
	for _, err := range errs {
		g.log.warn("covey: a member is left out", err.Error(), "err", err)
	}
	var known []agreed.Member
	weight, zone := 1, ""
	for _, m := range members {
		one := agreed.Member{ID: agreed.ID{Name: m.Name}, URL: m.URL, Weight: weightOf(m), Zone: m.Zone}
		if m.Name == g.opt.Name {
			weight, zone = one.Weight, one.Zone
		}
		known = append(known, one)
	}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.listed = members
	g.mu.Unlock()
	g.say(func(m *agreed.Member) {
		if m.Zone = zone; !g.closing.Load() {
			m.Weight = weight
		}
	})
	g.agreement.List(known)
	g.dialWanted()
	g.closeUnused()
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.known:
	default:
		close(g.known)
	}
}

// say changes what this process says about itself to the others.
func (g *Group) say(set func(m *agreed.Member)) {
	g.says.Lock()
	defer g.says.Unlock()
	set(&g.said)
	g.agreement.SetSelf(g.said)
}

// zone returns the zone of this process.
func (g *Group) zone() string {
	if v := g.view.Load(); v.self >= 0 {
		return v.zoneOf(v.self)
	}
	g.says.Lock()
	defer g.says.Unlock()
	return g.said.Zone
}

// weightOf applies the default of Member.Weight.
func weightOf(m Member) int {
	if m.Weight == 0 {
		return 1
	}
	return m.Weight
}
