package view

// promise.go is about who may act, and for how long.

import "math"

// askAll asks the voters for their promises. Who is not a member asks those that it is linked to
// for their view.
func (n *Node) askAll() {
	if n.leaving && n.isMember() {
		n.sayBye(n.view, n.farewell())
	}
	if n.isMember() {
		for i, m := range n.view.Voters() {
			if m.ID != n.self.ID && n.members[i].renewed == 0 {
				n.ask(m.ID)
			}
		}
		n.meetListed()
		return
	}
	asked := 0
	ask := func(id ID) {
		if asked < maxVoters && n.isUp(id) {
			asked++
			n.ask(id)
		}
	}
	if n.view != nil {
		for _, m := range n.view.Voters() {
			ask(m.ID)
		}
	}
	for _, id := range n.linked() {
		if n.view == nil || n.view.Index(id) < 0 {
			ask(id)
		}
	}
}

// Renew asks a process for its promise, if it votes and it is about time. It is for when something is
// sent to that process anyway, again and again: then both go in one write, and askAll leaves it out.
func (n *Node) Renew(id ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.cfg.Now()
	if !n.isMember() || id == n.self.ID {
		return
	}
	if i := n.view.Index(id); i >= 0 && i < maxVoters && now-n.members[i].renewed >= int64(askEvery/2) {
		n.members[i].renewed = now
		n.ask(id)
	}
}

// askLate asks those voters who should have been by Renew.
func (n *Node) askLate(now int64) {
	for i, m := range n.view.Voters() {
		if p := n.members[i]; p.renewed != 0 && now-p.renewed >= int64(askEvery+askEvery/4) {
			p.renewed = 0 // until the next time askAll sees to it
			n.ask(m.ID)
		}
	}
}

// meetListed asks those who are linked and no members, so that lineages that did not know of each
// other meet.
func (n *Node) meetListed() {
	if n.view.Index(n.self.ID) >= maxVoters {
		return
	}
	for _, id := range n.linked() {
		if !n.view.Has(id) {
			n.ask(id)
		}
	}
}

func (n *Node) ask(to ID) {
	if n.view == nil {
		quit := n.lastQuit
		if goesBy := n.peer(to).lineage; n.quit[goesBy] {
			quit = goesBy
		}
		n.askOutside(to, quit)
		return
	}
	m := n.head(ask)
	m.at = n.cfg.Held()
	n.send(to, m)
}

// askOutside asks somebody for his view, and says that this process has given up its place in a
// lineage.
func (n *Node) askOutside(to ID, quit uint64) {
	m := n.head(ask)
	m.at, m.ballot = n.cfg.Held(), quit
	n.send(to, m)
}

func (n *Node) onAsk(from ID, m *message) {
	now := n.cfg.Now()
	p := n.peer(from)
	switch {
	case n.view == nil:
	case m.lineage == n.view.Lineage:
		p.asked = max(p.asked, m.at)
	case m.lineage == 0 && n.isInfant():
		if from == n.view.Members[0].ID && m.ballot == n.view.Lineage {
			n.dissolve()
		}
	case m.lineage == 0 && m.ballot == n.view.Lineage && m.at > p.asked && n.view.Has(from):
		p.gone, p.clean = true, false
	}
	answer := n.head(grant)
	answer.at = m.at
	if n.isMember() && m.lineage == n.view.Lineage && m.epoch >= n.view.Epoch && n.view.Has(from) && !n.leftOut(from) && !p.replaced && !p.gone {
		answer.ok = true
		p.given = now + int64(given)
	}
	n.send(from, answer)
	switch {
	case p.replaced:
		n.sendReplaced(from)
	case n.view == nil:
	case m.lineage != n.view.Lineage:
		if n.isMember() {
			n.tell(from, 0)
		}
	case m.epoch < n.view.Epoch: // even if this process has no place in it: it may be the last one who knows
		n.tell(from, m.epoch)
	case m.epoch == n.view.Epoch && n.settled && !m.settled:
		n.send(from, n.head(settled))
	}
}

// leftOut reports whether this voter has accepted a next view without a member, or would have.
func (n *Node) leftOut(id ID) bool {
	isBlocked := n.blocked != nil && n.cfg.Now() < n.blockedAt+2*int64(given) // or else nobody asks for it any more
	return n.accView != nil && !n.accView.Has(id) || isBlocked && !n.blocked.Has(id)
}

func (n *Node) onGrant(from ID, m *message) {
	now, held := n.cfg.Now(), n.cfg.Held()
	if !m.ok || n.view == nil || m.lineage != n.view.Lineage || m.at > held {
		return
	}
	p := n.peer(from)
	p.promise = max(p.promise, m.at+int64(Lease))
	p.kept = max(p.kept, p.promise-(held-now)) // at least as long ago as it was asked
	n.count()
}

// count finds out until when a quorum has promised.
func (n *Node) count() {
	n.until.Store(n.leasedUntil())
}

func (n *Node) leasedUntil() int64 {
	if n.retired || !n.isMember() {
		return 0
	}
	const always = math.MaxInt64 / 4
	promise := func(id ID) int64 {
		switch p := n.peers[id]; {
		case id == n.self.ID && n.leftOut(id):
			return 0
		case id == n.self.ID:
			return always
		case p == nil || p.links == 0:
			return 0
		default:
			return p.promise
		}
	}
	best := int64(0)
	for _, m := range n.view.Voters() { // the latest time until when a quorum has promised
		if t := promise(m.ID); t > best && n.view.quorum(func(i int) bool { return promise(n.view.Members[i].ID) >= t }) {
			best = t
		}
	}
	return best
}

// tell sends the view, and the one before it, to somebody who goes by an earlier one, or may not
// know it.
func (n *Node) tell(to ID, epoch uint64) { n.send(to, n.about(tell, epoch)) }

// about returns a message with the view and what goes with it, for somebody who goes by the view of
// that epoch of the same lineage; 0: by another one.
func (n *Node) about(k kind, epoch uint64) *message {
	m := n.head(k)
	m.view, m.counted = n.view, n.counted
	m.live = uint64(n.live())
	m.left = n.quietLeft()
	if n.prev != nil {
		m.change = diff(n.prev, n.view)
		if epoch != n.prev.Epoch {
			m.prev = n.prev
		}
	}
	return m
}
