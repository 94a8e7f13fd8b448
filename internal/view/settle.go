package view

// settle.go is what follows when a view has been chosen: all learn of it, give back what it takes
// away from them, and then it has settled.

import (
	"math"
	"time"
)

// learning is a proposer's account of who has learnt of the view.
type learning struct {
	pupils  []*pupil // who is, or was, a member
	of      map[ID]*pupil
	next    int   // whom to tell next
	missing int   // those of both views who have not answered
	quorum  int64 // since when a quorum of the old view has answered
}

type pupil struct {
	id     ID
	told   int64
	learnt bool
	both   bool // it is a member of both views
}

func (l *learning) learnt(id ID) bool {
	p := l.of[id]
	return p != nil && p.learnt
}

func (l *learning) hasLearnt(id ID) {
	if p := l.of[id]; p != nil && !p.learnt {
		p.learnt = true
		if p.both {
			l.missing--
		}
	}
}

// adopt makes this process go by another view, which comes after prev.
func (n *Node) adopt(v, prev *View, counted bool, quiet time.Duration) {
	old := n.view
	if old != nil && old.Lineage == v.Lineage && v.Epoch <= old.Epoch {
		return
	}
	if v.follows(old) {
		prev = old
	}
	now := n.cfg.Now()
	skipped := !v.follows(old)
	counted = counted || v.Reborn
	a := Adoption{View: v, Former: prev}
	a.Anew = skipped || !v.Has(n.self.ID) || !old.Has(n.self.ID) || counted && !n.keptThrough(old)
	switch {
	case skipped:
		n.quietAll = true
		n.quiet = max(n.quiet, now+int64(quiet+quiet/100))
		if v.Abrupt || counted {
			n.quiet = max(n.quiet, now+int64(given))
		}
	case v.Abrupt || counted:
		n.quietAll = now < n.quiet // what others lent who have died before may still be used, too
		n.quiet, n.quietPrev = now+int64(given), old
	}
	if now < n.quiet {
		a.Quiet, a.QuietPrev, a.QuietAll = time.Duration(n.quiet-now), n.quietPrev, n.quietAll
	}
	n.view, n.prev, n.settled, n.counted = v, prev, false, counted
	n.warm = v.IsWarm(prev)
	n.known = max(n.known, v.Epoch)
	n.members, n.former = n.peersOf(v), n.peersOf(prev)
	n.promised, n.accBallot, n.accView, n.blocked = 0, 0, nil, nil
	n.round, n.learning, n.need, n.bereft = nil, nil, 0, 0
	n.adopted, n.release, n.released = now, 0, 0
	if old.Has(n.self.ID) && old.Lineage != v.Lineage { // which that one continues
		n.quit[old.Lineage] = true
	}
	n.joined = now - int64(time.Hour) // if this process is not in it, it asks anew
	n.found.end()
	for id := range n.joins {
		if i := v.Index(id); i >= 0 && v.Members[i] == n.joins[id] {
			delete(n.joins, id)
		}
	}
	for i, p := range n.members {
		if !old.Has(v.Members[i].ID) { // who has come just now is not silent yet
			p.heard = max(p.heard, now)
			n.exists(v.Members[i].ID)
		}
	}
	n.count()
	n.cfg.Adopt(a)
	if v.Has(n.self.ID) {
		for _, m := range v.Voters() {
			if m.ID != n.self.ID {
				n.ask(m.ID)
			}
		}
	} else if n.leaving {
		n.hasLeft()
	}
}

// keptThrough reports whether this process had the promises of a quorum of the view until those
// who are dead died, so that it has missed nothing.
func (n *Node) keptThrough(old *View) bool {
	return old.quorum(func(i int) bool {
		id := old.Members[i].ID
		if id == n.self.ID {
			return true
		}
		p := n.peer(id)
		return p.dead == 0 || p.kept > p.dead
	})
}

func (n *Node) peersOf(v *View) []*peer {
	if v == nil {
		return nil
	}
	peers := make([]*peer, len(v.Members))
	for i := range v.Members {
		peers[i] = n.peer(v.Members[i].ID)
	}
	return peers
}

func (n *Node) quietLeft() time.Duration { return time.Duration(max(0, n.quiet-n.cfg.Now())) }

// onTell takes a view from a member of it, or a later one of the same lineage from anybody.
func (n *Node) onTell(from ID, m *message) {
	known := n.view != nil && (n.view.Lineage == m.view.Lineage || m.view.succeeds(n.view))
	sameLineage := n.view != nil && n.view.Lineage == m.view.Lineage
	hasQuit := n.quit[m.view.Lineage] && m.view.Has(n.self.ID) && !sameLineage
	if !known && !m.view.Has(from) || n.isLost(m.view) {
		return
	}
	switch {
	case n.view != nil && !known && (n.view.succeeds(m.view) || n.isMember() && !outlives(m.view, int(m.live), n.view, n.live())):
		if n.mayReact(from) {
			n.tell(from, 0)
		}
		return
	case n.lacksPrev(from, m):
		return
	case n.view == nil, known:
	case n.isMember():
		n.note(Dissolved)
		n.dissolve()
	case !n.anyUp() || outlives(m.view, int(m.live), n.view, n.live()):
		n.dissolve()
	default:
		return
	}
	if hasQuit { // the others are yet to leave it out, which they do when they hear that it has no view
		if n.view == nil && n.mayReact(from) {
			n.askOutside(from, m.view.Lineage)
		}
		return
	}
	n.adopt(m.view, m.prev, m.counted, m.left)
	if m.settled && n.view.Lineage == m.view.Lineage && n.view.Epoch == m.view.Epoch {
		n.settle()
	}
	if n.view != nil && !n.isMember() {
		n.look(n.cfg.Now())
	}
}

// lacksPrev reports whether a view cannot be adopted as it is not known which one came before it: that
// says who may have what its members own now. Then the sender is asked for both.
func (n *Node) lacksPrev(from ID, m *message) bool {
	if m.view.First || m.prev != nil || m.view.follows(n.view) {
		return false
	}
	if n.mayReact(from) {
		n.ask(from)
	}
	return true
}

// isLost reports whether this process has given up a view, or a later one of the same lineage, as
// all who could agree on the next one had died.
func (n *Node) isLost(v *View) bool {
	return n.lost != nil && v.Lineage == n.lost.Lineage && v.Epoch <= n.lost.Epoch
}

// mayReact reports whether it is time to answer a view with another word about views: two processes
// who both think theirs the greater must not do so as fast as the network carries it.
func (n *Node) mayReact(to ID) bool {
	p, now := n.peer(to), n.cfg.Now()
	if now < p.reacted+int64(repeat) {
		return false
	}
	p.reacted = now
	return true
}

// dissolve ends this process's part in its lineage. The others of it see that, as from now on it
// goes by another one.
func (n *Node) dissolve() {
	if n.isMember() {
		// The others hear of it when what this process has borrowed is of no use to it any more.
		defer n.sayBye(n.view, n.farewell())
		n.lastQuit = n.view.Lineage
		if !n.isInfant() {
			n.quit[n.view.Lineage] = true
		}
	}
	n.view, n.prev, n.members, n.former, n.warm, n.settled, n.counted = nil, nil, nil, nil, false, false, false
	n.promised, n.accBallot, n.accView, n.blocked = 0, 0, nil, nil
	n.round, n.learning, n.need, n.bereft = nil, nil, 0, 0
	for _, p := range n.peers {
		p.promise, p.kept, p.gone, p.dead, p.asked = 0, 0, false, 0, 0
	}
	n.count()
	n.cfg.Adopt(Adoption{Anew: true})
}

func (n *Node) settle() {
	if !n.settled {
		n.settled, n.settledAt = true, n.cfg.Now()
		n.learning = nil
		n.cfg.Settled(n.view.Epoch)
	}
}

// pushLearn tells all who have to know of the view about it, and again those who do not answer.
func (n *Node) pushLearn(now int64) {
	if n.learning == nil {
		n.learn()
		n.startRelease()
		if n.released == n.view.Epoch {
			n.learning.hasLearnt(n.self.ID)
		}
	}
	l := n.learning
	pause, epoch := int64(repeat), uint64(0)
	if n.view.First {
		pause *= 5 // it is long
	} else if n.prev != nil {
		epoch = n.prev.Epoch
	}
	b := n.about(learn, epoch).append(nil)
	for range l.pupils {
		p := l.pupils[l.next%len(l.pupils)]
		if !p.learnt && p.id != n.self.ID && now-p.told >= pause && n.isUp(p.id) {
			if !n.sendEncoded(p.id, b) {
				break // the rest in a moment
			}
			p.told = now
		}
		l.next++
	}
	n.checkLearnt(now)
}

// learn begins the account of who has learnt of the view.
func (n *Node) learn() {
	l := &learning{of: make(map[ID]*pupil, len(n.view.Members))}
	for _, v := range [...]*View{n.view, n.prev} {
		if v == nil {
			continue
		}
		for i := range v.Members {
			id := v.Members[i].ID
			if p := l.of[id]; p != nil {
				p.both = true
				l.missing++
				continue
			}
			p := &pupil{id: id, told: math.MinInt64 / 2, both: n.prev == nil} // of a founding all count
			l.of[id] = p
			l.pupils = append(l.pupils, p)
		}
	}
	if n.prev == nil {
		l.missing = len(l.pupils)
	}
	n.learning = l
}

// startRelease has this process give back what the view takes away from it, once.
func (n *Node) startRelease() {
	if n.release != n.view.Epoch {
		n.release = n.view.Epoch
		n.cfg.Release(n.view.Epoch)
	}
}

// Released says that this process has given back what the view of that epoch took away from it.
func (n *Node) Released(epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.view == nil || n.view.Epoch != epoch {
		return
	}
	n.released = epoch
	if n.learning != nil {
		n.learning.hasLearnt(n.self.ID)
		n.checkLearnt(n.cfg.Now())
	}
	b := n.head(learnt).append(nil)
	for _, m := range n.view.Voters() { // one of them drives the change
		n.sendEncoded(m.ID, b)
	}
}

func (n *Node) onLearn(from ID, m *message) {
	if n.view == nil || n.view.Lineage != m.view.Lineage && !m.view.succeeds(n.view) || m.view.First {
		n.onTell(from, m)
		if n.view == nil || n.view.Lineage != m.view.Lineage {
			return
		}
	}
	if n.view.Epoch != m.view.Epoch && !n.lacksPrev(from, m) {
		n.adopt(m.view, m.prev, m.counted, m.left)
	}
	if n.view.Epoch != m.view.Epoch {
		return
	}
	if n.released == n.view.Epoch {
		n.send(from, n.head(learnt))
		return
	}
	n.startRelease()
}

func (n *Node) onLearnt(from ID, m *message) {
	if n.learning != nil && n.view != nil && m.lineage == n.view.Lineage && m.epoch == n.view.Epoch {
		n.learning.hasLearnt(from)
		n.checkLearnt(n.cfg.Now())
	}
}

// checkLearnt settles the view when everybody who was in the old view and is in the new one has
// answered; or when a quorum of the old one has, and what the others may have lent is over; and when
// a quorum of the new one has, which will have to agree on the view after it.
func (n *Node) checkLearnt(now int64) {
	l, v, old := n.learning, n.view, n.prev
	if l == nil || n.settled {
		return
	}
	if v.First { // whoever has not adopted it may have a place elsewhere
		if v.Members[0].ID != n.self.ID && !n.provenDead(v.Members[0].ID) {
			return
		}
		for _, p := range l.pupils {
			if !p.learnt && !n.provenDead(p.id) {
				return
			}
		}
		n.hasSettled()
		return
	}
	if l.quorum == 0 && n.agreed(old, l.learnt) {
		l.quorum = now
	}
	if !n.agreed(v, l.learnt) || l.missing > 0 && (l.quorum == 0 || now <= l.quorum+int64(given)) {
		return
	}
	n.hasSettled()
}

// hasSettled settles the view for all.
func (n *Node) hasSettled() {
	n.settle()
	b := n.head(settled).append(nil)
	for _, m := range n.view.Members {
		n.sendEncoded(m.ID, b)
	}
}

func (n *Node) onSettled(m *message) {
	if n.view != nil && m.lineage == n.view.Lineage && m.epoch == n.view.Epoch {
		n.settle()
	}
}
