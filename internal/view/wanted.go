package view

// wanted.go says whom this process needs links to.

import (
	"time"
)

// Refused notes that the address of the member of that name refuses connections: no process that
// went by it and has no link is there any more.
func (n *Node) Refused(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.cfg.Now()
	if n.linkedNames[name] > 0 { // the end of that link may just not have been noticed
		for id, p := range n.peers {
			if id.Name == name && p.links > 0 {
				p.refusedAt = now
			}
		}
		return
	}
	n.found.refused(name, now)
	for i, v := range [...]*View{n.view, n.prev} {
		if v == nil {
			continue
		}
		if at, ok := v.byName(name); ok {
			[...][]*peer{n.members, n.former}[i][at].refused = true
		}
	}
	n.look(now)
}

// Wanted returns the members to whom this process needs links: voters need one to each member and
// to everybody who is listed or would join, other members to the voters, and who has no view to
// everybody who is listed.
func (n *Node) Wanted() []Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all, members []Member
	votes, homeless := false, n.isHomeless()
	if n.view != nil {
		i := n.view.Index(n.self.ID)
		votes = i >= 0 && i < maxVoters
		members = n.view.Voters()
		if votes || homeless {
			members = n.view.Members
		}
	}
	for _, m := range members {
		if m.Name != n.self.Name && m.URL != "" {
			all = append(all, m)
		}
	}
	known := map[string]bool{n.self.Name: true} // of those who are no members: a large view is not copied
	add := func(m Member) {
		if n.view != nil {
			if _, ok := n.view.byName(m.Name); ok {
				return
			}
		}
		if !known[m.Name] && m.URL != "" {
			known[m.Name] = true
			all = append(all, m)
		}
	}
	if votes {
		for _, m := range n.joiners() {
			add(m)
		}
		for _, name := range n.found.names {
			add(n.found.listed[name])
		}
	} else if homeless {
		n.wantListed(add)
	}
	return all
}

// wantListed adds whom a process without a view needs of those who are listed. They found views in
// the order of their names, so most need only the first few; and not too many at once.
func (n *Node) wantListed(add func(m Member)) {
	f, now := &n.found, n.cfg.Now()
	if f.tried == nil {
		f.tried = make(map[string]int64)
	}
	before, waits := 0, 0
	for _, name := range f.names {
		if f.tried[name] == 0 {
			f.tried[name] = now
		}
		add(f.listed[name])
		_, refuses := f.refusal[name]
		switch {
		case n.linkedNames[name] > 0 && name < n.self.Name:
			before++
		case n.linkedNames[name] == 0 && !refuses && now-f.tried[name] < int64(2*time.Second):
			waits++
		}
		if before == maxVoters || waits == 4*maxVoters {
			break
		}
	}
	if n.lost != nil {
		for _, m := range n.lost.Members {
			add(m)
		}
	}
}

// isHomeless reports whether this process has no place in a view, and knows of nobody who has.
func (n *Node) isHomeless() bool {
	return n.view == nil || !n.isMember() && !n.anyUp()
}
