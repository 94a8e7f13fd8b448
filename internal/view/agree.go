package view

// agree.go is the agreement on the next view: one decree of Paxos (Lamport 1998) among the voters
// of the present one.

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

// decide reports whether those whom have is true of decide on the next view. They do, too, if they
// are all who are not proven dead, and this process had the promises of a quorum until those died:
// then nobody has gone on without it.
func (n *Node) decide(have func(id ID) bool) bool {
	return n.view.quorum(func(i int) bool { return have(n.view.Members[i].ID) }) || n.keptThrough(n.view) && n.agreed(n.view, have)
}

// agreed reports whether those whom have is true of are a quorum, or all who are not proven dead.
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

// isDead reports whether there is proof that a process no longer acts: it has said so; or there is
// no link to it any more, which its own end has closed, and its address refuses connections, or a
// newer process goes by its name. That alone is none, as the process may be cut off, and run on.
// But after a long silence it will do.
func (p *peer) isDead(now int64) bool {
	return p.gone || p.isAway() && (p.ended || now-p.heard > int64(orphaned))
}

// isAway reports whether a process is not where it was.
func (p *peer) isAway() bool { return p.links == 0 && (p.refused || p.replaced) }

// provenDead reports whether somebody is dead, and has been for so long that nobody has a promise
// from it.
func (n *Node) provenDead(id ID) bool {
	if id == n.self.ID {
		return false
	}
	p := n.peers[id]
	return p != nil && p.isProven(n.cfg.Now())
}

// isProven is provenDead of another process.
func (p *peer) isProven(now int64) bool { return p.dead != 0 && now > p.dead+int64(given) }

// noteDeaths keeps since when members are known to be dead.
func (n *Node) noteDeaths(now int64) {
	votes := n.view.Index(n.self.ID) < maxVoters
	for _, peers := range [...][]*peer{n.members, n.former} {
		if !votes { // it is linked to voters only
			peers = peers[:min(len(peers), maxVoters)]
		}
		for _, p := range peers {
			switch {
			case p == n.me:
			case !p.isDead(now):
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
	members := n.members
	if n.view.Index(n.self.ID) >= maxVoters { // only voters hear all members
		members = members[:maxVoters]
	}
	for i, p := range members {
		switch {
		case p == n.me && n.leaving, p != n.me && p.isDead(now):
			all = append(all, evidence{index: uint32(i), dead: true})
		case p != n.me && (healthy && now-p.heard >= int64(suspect) || p.replaced || p.isAway()):
			all = append(all, evidence{index: uint32(i), left: time.Duration(max(0, p.given-now))})
		}
	}
	return all
}

// isOver reports whether nobody can agree on a next view any more: so many voters are proven dead
// that the others are no quorum, and none of these can say that it has missed nothing.
func (n *Node) isOver(now int64) bool {
	alive := func(i int) bool { return n.members[i] == n.me || !n.members[i].isProven(now) }
	if n.view.quorum(alive) {
		n.bereft = 0
		return false
	}
	if n.bereft == 0 {
		n.bereft = now
	}
	votes, others := false, false
	for i, p := range n.members[:len(n.view.Voters())] {
		votes = votes || p == n.me
		others = others || p != n.me && alive(i)
	}
	switch {
	case votes && n.keptThrough(n.view):
		return false
	case others: // one of them may go on
		return now-n.bereft > int64(infancy)
	}
	return true
}

// rank returns after how many healthy members it is this one's turn: the more senior ones, and those
// who are leaving come last.
func (n *Node) rank(now int64) (rank int) {
	at := n.view.Index(n.self.ID)
	leaves := n.view.Members[at].isLeaving()
	for i, p := range n.members {
		before := i < at
		if n.view.Members[i].isLeaving() != leaves {
			before = leaves
		}
		if before && p.links > 0 && !p.gone && now-p.heard < int64(suspect) {
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
	if i := n.view.Index(n.self.ID); n.view.Members[i] != n.self && !n.observes() {
		n.askToJoin(now) // what it says about itself has changed
	}
	n.noteDeaths(now)
	if n.isOver(now) {
		lost := n.view
		n.dissolve()
		n.lost = lost
		return
	}
	all := n.evidence(now)
	if len(all) == 0 && !n.anyJoin() && n.accView == nil && n.settled && !n.hasWarmed(now) {
		n.need, n.round = 0, nil
		return
	}
	onlyJoins := len(all) == 0 && n.accView == nil && n.settled
	if n.need == 0 || onlyJoins && len(n.members) > large && now-n.adopted < int64(joinPause) {
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

// hasWarmed reports whether it is time that a view follows the present one, which is warm, in which
// nobody is a former owner any more.
func (n *Node) hasWarmed(now int64) bool {
	return n.warm && n.settled && n.cfg.WarmUp > 0 && now-n.settledAt >= int64(n.cfg.WarmUp)
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
	if p := n.peers[id]; p == nil || p.links == 0 || p.replaced || p.gone {
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
	n.sendAll(n.view.Voters(), m)
}

// isNext reports whether a message is about the view after this process's.
func (n *Node) isNext(m *message) bool {
	return n.isMember() && m.lineage == n.view.Lineage && m.epoch == n.view.Epoch+1
}

func (n *Node) onPrepare(from ID, m *message) {
	if !n.isNext(m) {
		if n.isMember() && m.lineage == n.view.Lineage && m.epoch <= n.view.Epoch {
			n.tell(from, m.epoch-1)
		}
		return
	}
	n.settle() // or else nobody would prepare the next one
	answer := n.head(promise)
	answer.epoch, answer.ballot = m.epoch, n.promised
	if m.ballot >= n.promised {
		n.promised = m.ballot
		answer.ballot, answer.ok = m.ballot, true
		if from != n.self.ID && n.need != 0 {
			n.need = n.cfg.Now() // its turn: ranks count from here, or else all would outbid each other for ever
		}
		if n.accView != nil {
			answer.accepted, answer.view, answer.change = n.accBallot, n.accView, diff(n.view, n.accView)
		}
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
	return n.decide(func(id ID) bool { return r.promises[id] != nil })
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
	m.epoch, m.ballot, m.forced, m.evidence = r.epoch, r.ballot, r.forced, r.proof
	m.view, m.change = r.view, diff(n.view, r.view)
	n.sendAll(n.view.Voters(), m)
}

// next returns the view that the voters' evidence asks for, nil if it asks for none; whose death is
// proven; and for how long after the round's beginning promises run to those who are left out.
func (n *Node) next(r *round) (next *View, proof []evidence, wait int64) {
	next = &View{
		Lineage: n.view.Lineage, Founded: n.view.Founded, Parent: n.view.Parent, Fork: n.view.Fork, Epoch: r.epoch,
	}
	reports := make(map[uint32]map[ID]evidence) // by member
	for id, p := range r.promises {
		for _, e := range p.evidence {
			if reports[e.index] == nil {
				reports[e.index] = make(map[ID]evidence)
			}
			reports[e.index][id] = e
		}
	}
	gone := 0
	mayGo := func(id ID) bool { return 2*(gone+1) < len(n.view.Members)+1 || n.provenDead(id) }
	changed := false
	for i, m := range n.view.Members {
		of := reports[uint32(i)]
		silent := of != nil && n.decide(func(id ID) bool { _, ok := of[id]; return ok })
		if !silent || m.ID == n.self.ID && !n.leaving || !mayGo(m.ID) {
			next.Members = append(next.Members, m)
			continue
		}
		gone++
		changed = true
		if n.decide(func(id ID) bool { return of[id].dead }) {
			proof = append(proof, evidence{index: uint32(i), dead: true})
			next.Abrupt = next.Abrupt || !n.members[i].clean
			continue
		}
		for _, e := range of {
			wait = max(wait, int64(e.left))
		}
		// What it lent before it came into this view was for as long as the voters of the view
		// before had promised.
		next.Abrupt = next.Abrupt || n.cfg.Now() < n.settledAt+int64(given)
	}
	room := roomBeside(n.view.Members) // the next view is told with this one
	for _, j := range n.joiners() {
		if !n.canJoin(j.ID) {
			continue
		}
		if room -= roomOf(&j); room < 0 {
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
	if !changed && !n.hasWarmed(n.cfg.Now()) || !next.index() {
		return nil, nil, 0
	}
	if !n.view.quorum(func(i int) bool { return r.promises[n.view.Members[i].ID] != nil }) {
		next.Reborn, next.Abrupt = true, true
		next.Lineage, next.Parent, next.Fork = n.cfg.Random()|1, n.view.Lineage, n.view.Epoch
		next.Founded = n.cfg.Wall()
		next.Epoch += rebirth
	}
	return next, proof, wait
}

// roomOf returns how many bytes a member takes of a message: itself, as one that is new or has
// changed, and in the next view that it is gone.
func roomOf(m *Member) int { return len(appendMember(nil, m)) + 2*2 }

// roomBeside returns how many bytes of a message members leave: below 0, they are too many.
func roomBeside(members []Member) int {
	room := MaxMessage - 1024 // heads and counts
	for i := range members {
		room -= roomOf(&members[i])
	}
	return room
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
	if !n.isNext(m) || m.view == nil || !m.view.follows(n.view) {
		if n.isMember() && m.lineage == n.view.Lineage && m.epoch <= n.view.Epoch {
			n.tell(from, m.epoch-1)
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
		p := n.members[i]
		if p == n.me || now >= p.given || m.view.Has(x.ID) {
			continue
		}
		proven := slices.ContainsFunc(m.evidence, func(e evidence) bool { return e.index == uint32(i) && e.dead })
		if proven && p.isDead(now) {
			continue
		}
		if m.forced { // it binds all the same, and waits
			n.blocked, n.blockedAt, n.promised = m.view, now, m.ballot
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
		if !n.decide(func(id ID) bool { return !r.refusals[id] }) {
			n.round = nil
		}
		return
	}
	r.accepts[from] = true
	delete(r.refusals, from)
	if !n.decide(func(id ID) bool { return r.accepts[id] }) {
		return
	}
	old := n.view
	counted := !old.quorum(func(i int) bool { return r.accepts[old.Members[i].ID] })
	n.adopt(r.view, old, counted, 0)
	n.pushLearn(n.cfg.Now())
}
