package view

// agree.go is the agreement on the next view: one decree of Paxos (Lamport 1998) among the voters of
// the present one.

import (
	"cmp"
	"slices"
	"time"
)

// A round is a proposer's attempt to have a next view chosen.
type round struct {
	ballot   uint64
	epoch    uint64
	began    int64
	view     *View // nil: it has not been decided upon what to propose
	forced   bool  // view is that of an earlier round
	proof    []evidence
	promises map[ID]*message
	accepts  map[ID]bool
	refusals map[ID]bool
	again    int64 // when an acceptor may be asked again
	dueAt    int64 // when the view may be proposed, as promises to those whom it leaves out are over
}

// agreed reports whether those whom have is true of decide, or are all who are not proven dead.
func (n *Node) agreed(v *View, have func(id ID) bool) bool {
	if v.quorum(func(i int) bool { return have(v.Members[i].ID) }) {
		return true
	}
	for _, m := range v.Voters() {
		if !have(m.ID) && !n.provenDead(m.ID) {
			return false
		}
	}
	return true
}

// isDead reports whether there is proof that a process no longer acts.
func (n *Node) isDead(id ID) bool {
	p := n.peer(id)
	return p.gone || p.refused
}

// isReplaced reports whether a newer process goes by the name. The older one may run on, so that is
// no proof of its death; it gets no promises any more.
func (n *Node) isReplaced(id ID) bool { return n.newest[id.Name] > id.Instance }

// provenDead reports whether somebody is dead, and has been for so long that nobody has a promise
// from it.
func (n *Node) provenDead(id ID) bool {
	if id == n.self.ID {
		return false
	}
	dead := n.peer(id).dead
	return dead != 0 && n.cfg.Now() > dead+int64(given)
}

// noteDeaths keeps since when members are known to be dead.
func (n *Node) noteDeaths(now int64) {
	for _, v := range [...]*View{n.view, n.prev} {
		if v == nil {
			continue
		}
		for i := range v.Members {
			id := v.Members[i].ID
			switch p := n.peer(id); {
			case id == n.self.ID:
			case !n.isDead(id) && !(n.isReplaced(id) && p.links == 0):
				p.dead = 0
			case p.dead == 0:
				p.dead = now
			}
		}
	}
}

// evidence returns which members this process takes for silent or dead.
func (n *Node) evidence(now int64) (all []evidence) {
	healthy := now-n.lateAt > int64(blameFor)
	own := n.view.Index(n.self.ID)
	members := n.view.Members
	if own >= maxVoters { // only voters hear all members
		members = n.view.Voters()
	}
	for i, m := range members {
		if m.ID == n.self.ID {
			if n.leaving {
				all = append(all, evidence{index: uint32(i), dead: true})
			}
			continue
		}
		p := n.peer(m.ID)
		silent := now-p.heard >= int64(suspect)
		switch {
		case n.isDead(m.ID):
			all = append(all, evidence{index: uint32(i), dead: true})
		case silent && healthy || n.isReplaced(m.ID):
			all = append(all, evidence{index: uint32(i), left: time.Duration(max(0, p.given-now))})
		}
	}
	return all
}

// rank returns how many healthy members are more senior than this one.
func (n *Node) rank(now int64) (rank int) {
	for _, m := range n.view.Members {
		if m.ID == n.self.ID {
			break
		}
		if p := n.peer(m.ID); p.links > 0 && !p.gone && now-p.heard < int64(suspect) {
			rank++
		}
	}
	if n.leaving { // the others will see to it
		rank++
	}
	return rank
}

// mind sees whether anything about the view has to change, and drives the change if it is this
// process's turn.
func (n *Node) mind(now int64) {
	if n.isReplaced(n.self.ID) {
		n.note(Replaced)
	}
	if i := n.view.Index(n.self.ID); n.view.Members[i] != n.self && !n.observes() {
		n.askToJoin(now) // what it says about itself has changed
	}
	n.noteDeaths(now)
	all := n.evidence(now)
	if len(all) == 0 && !n.anyJoin() && n.accView == nil && n.settled {
		n.need, n.round = 0, nil
		return
	}
	if n.need == 0 {
		n.need = now
	}
	if n.round != nil && now-n.round.began > int64(roundFor) {
		n.round = nil
	}
	wait := gather
	if !n.settled || n.anyDead(all) {
		wait = gatherDeaths
	}
	if now-n.need < int64(n.rank(now))*int64(nextRank)+int64(wait) {
		return
	}
	switch {
	case n.isInfant() && n.view.Members[0].ID == n.self.ID && now-n.adopted > int64(infancy):
		n.dissolve()
	case !n.settled: // one change at a time
		n.pushLearn(now)
	case n.round == nil:
		n.propose(now)
	case n.round.view == nil:
		n.tryAccept(now)
	case n.round.again != 0 && now >= n.round.again:
		n.round.again, n.round.began, n.round.forced = 0, now, true
		n.proposeView()
	}
}

func (n *Node) anyDead(all []evidence) bool {
	return slices.ContainsFunc(all, func(e evidence) bool { return e.dead })
}

func (n *Node) anyJoin() bool {
	for id := range n.joins {
		if n.canJoin(id) {
			return true
		}
	}
	return false
}

// canJoin reports whether a process that wants to join, or has changed, may.
func (n *Node) canJoin(id ID) bool {
	if !n.isUp(id) || n.isReplaced(id) || n.peer(id).gone {
		return false
	}
	i, ok := n.view.byName(id.Name)
	return !ok || n.view.Members[i].Instance < id.Instance || n.view.Members[i] != n.joins[id]
}

func (n *Node) propose(now int64) {
	ballot := (n.promised>>16+1)<<16 | uint64(n.view.Index(n.self.ID))
	n.round = &round{ballot: ballot, epoch: n.view.Epoch + 1, began: now, promises: make(map[ID]*message), accepts: make(map[ID]bool), refusals: make(map[ID]bool)}
	m := n.head(prepare)
	m.epoch, m.ballot = n.round.epoch, ballot
	for _, v := range n.view.Voters() {
		n.send(v.ID, m)
	}
}

// isNext reports whether a message is about the view after this process's.
func (n *Node) isNext(m *message) bool {
	return n.isMember() && m.lineage == n.view.Lineage && m.epoch == n.view.Epoch+1
}

func (n *Node) onPrepare(from ID, m *message) {
	switch {
	case !n.isNext(m):
		if n.isMember() && m.lineage == n.view.Lineage && m.epoch <= n.view.Epoch {
			n.tell(from)
		}
		return
	case !n.settled:
		return
	}
	answer := n.head(promise)
	answer.epoch, answer.ballot = m.epoch, n.promised
	if m.ballot >= n.promised {
		n.promised = m.ballot
		answer.ballot, answer.ok = m.ballot, true
		answer.accepted, answer.view = n.accBallot, n.accView
		answer.evidence = n.evidence(n.cfg.Now())
	}
	n.send(from, answer)
}

func (n *Node) onPromise(from ID, m *message) {
	r := n.round
	if r == nil || !n.isNext(m) || n.view.Index(from) < 0 {
		return
	}
	if !m.ok {
		n.promised = max(n.promised, m.ballot)
		n.round = nil
		return
	}
	if r.ballot != m.ballot || r.view != nil {
		return
	}
	r.promises[from] = m
	if r.dueAt == 0 && n.hasPromises(r) {
		r.dueAt = n.cfg.Now() + int64(10*time.Millisecond) // the others' evidence counts, too
		r.began = n.cfg.Now()
	}
}

func (n *Node) hasPromises(r *round) bool {
	return n.agreed(n.view, func(id ID) bool { return r.promises[id] != nil })
}

// tryAccept has the acceptors accept a view, once it is clear which.
func (n *Node) tryAccept(now int64) {
	r := n.round
	if r.dueAt == 0 || now < r.dueAt {
		return
	}
	var best uint64
	for _, m := range n.view.Voters() { // in order, so that a seed reproduces
		if p := r.promises[m.ID]; p != nil && p.accepted > best {
			best, r.view, r.forced = p.accepted, p.view, true
		}
	}
	if r.view == nil {
		next, proof, wait := n.next(r)
		switch {
		case next == nil:
			n.round, n.need = nil, now // nothing that the others agree to: try again later
			return
		case now < r.began+wait:
			r.dueAt = r.began + wait
			return
		}
		r.view, r.proof = next, proof
	}
	r.began = now
	n.proposeView()
}

func (n *Node) proposeView() {
	r := n.round
	m := n.head(accept)
	m.epoch, m.ballot, m.view, m.forced, m.evidence = r.epoch, r.ballot, r.view, r.forced, r.proof
	for _, v := range n.view.Voters() {
		n.send(v.ID, m)
		if n.round != r { // by this process's own answer
			return
		}
	}
}

// next returns the view that the voters' evidence asks for, nil if it asks for none; whose death is
// proven; and for how long after the round's beginning promises run to those who are left out.
func (n *Node) next(r *round) (next *View, proof []evidence, wait int64) {
	next = &View{
		Lineage: n.view.Lineage, Founded: n.view.Founded, Parent: n.view.Parent, Fork: n.view.Fork, Epoch: r.epoch,
	}
	reports := make(map[ID]map[uint32]evidence, len(r.promises))
	for id, p := range r.promises {
		of := make(map[uint32]evidence, len(p.evidence))
		for _, e := range p.evidence {
			of[e.index] = e
		}
		reports[id] = of
	}
	gone := 0
	mayGo := func(id ID) bool { return 2*(gone+1) < len(n.view.Members)+1 || n.provenDead(id) }
	changed := false
	for i, m := range n.view.Members {
		at := uint32(i)
		silent := n.agreed(n.view, func(id ID) bool { _, ok := reports[id][at]; return ok })
		if !silent || m.ID == n.self.ID && !n.leaving || !mayGo(m.ID) {
			next.Members = append(next.Members, m)
			continue
		}
		gone++
		changed = true
		if n.agreed(n.view, func(id ID) bool { return reports[id][at].dead }) {
			proof = append(proof, evidence{index: at, dead: true})
			next.Abrupt = next.Abrupt || !n.peer(m.ID).clean
			continue
		}
		for _, of := range reports {
			wait = max(wait, int64(of[at].left))
		}
	}
	size := len((&message{kind: learn, view: next, prev: n.view}).append(nil))
	for _, j := range n.joiners() {
		if !n.canJoin(j.ID) {
			continue
		}
		if size += len(appendMember(nil, &j)); size > MaxMessage-1024 && next.Index(j.ID) < 0 {
			n.note(TooLong)
			break
		}
		old, ok := next.byName(j.Name)
		switch {
		case !ok:
			next.Members = append(next.Members, j)
		case next.Members[old].ID == j.ID: // it has changed
			next.Members[old] = j
		default: // it takes the place of an earlier process
			continue // which has to go first
		}
		changed = true
	}
	if !changed || len(next.Members) == 0 {
		return nil, nil, 0
	}
	if !n.view.quorum(func(i int) bool { return r.promises[n.view.Members[i].ID] != nil }) {
		next.Reborn, next.Abrupt = true, true
		next.Lineage, next.Parent, next.Fork = n.cfg.Random()|1, n.view.Lineage, n.view.Epoch
		next.Founded = n.cfg.Wall()
		next.Epoch += rebirth
	}
	return next.indexed(), proof, wait
}

// joiners returns who wants to join, the oldest first.
func (n *Node) joiners() []Member {
	var all []Member
	for _, m := range n.joins {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.Name, b.Name))
	})
	return all
}

func (n *Node) onAccept(from ID, m *message) {
	if !n.isNext(m) || !m.view.follows(n.view) {
		if n.isMember() && m.lineage == n.view.Lineage && m.epoch <= n.view.Epoch {
			n.tell(from)
		}
		return
	}
	answer := n.head(accepted)
	answer.epoch, answer.ballot = m.epoch, m.ballot
	defer func() { n.send(from, answer) }()
	if m.ballot < n.promised {
		answer.accepted = n.promised
		return
	}
	now := n.cfg.Now()
	for i, x := range n.view.Members {
		p := n.peer(x.ID)
		if x.ID == n.self.ID || now >= p.given || m.view.Has(x.ID) {
			continue
		}
		proven := slices.ContainsFunc(m.evidence, func(e evidence) bool { return e.index == uint32(i) && e.dead })
		if proven && n.isDead(x.ID) {
			continue
		}
		if m.forced { // it binds all the same, and waits
			n.blocked, n.promised = m.view, m.ballot
			answer.left = time.Duration(p.given - now + 1)
			n.count()
		}
		return
	}
	n.promised, n.accBallot, n.accView, n.blocked = m.ballot, m.ballot, m.view, nil
	n.count()
	answer.ok = true
}

func (n *Node) onAccepted(from ID, m *message) {
	r := n.round
	switch {
	case r == nil || r.view == nil || r.ballot != m.ballot || !n.isNext(m) || n.view.Index(from) < 0:
		return
	case !m.ok && m.left > 0:
		r.again = max(r.again, n.cfg.Now()+int64(m.left))
		return
	case !m.ok && m.accepted > r.ballot: // somebody else proposes
		n.promised = max(n.promised, m.accepted)
		n.round = nil
		return
	case !m.ok:
		r.refusals[from] = true
		if !n.agreed(n.view, func(id ID) bool { return !r.refusals[id] }) {
			n.round = nil
		}
		return
	}
	r.accepts[from] = true
	delete(r.refusals, from)
	if !n.agreed(n.view, func(id ID) bool { return r.accepts[id] }) {
		return
	}
	old := n.view
	counted := !old.quorum(func(i int) bool { return r.accepts[old.Members[i].ID] })
	n.adopt(r.view, old, counted, 0)
	n.pushLearn(n.cfg.Now())
}
