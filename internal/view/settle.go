package view

// settle.go is what follows when a view has been chosen: all learn of it, give back what it takes
// away from them, and then it has settled.

import "time"

// learning is a proposer's account of who has learnt of the view.
type learning struct {
	epoch  uint64
	learnt map[ID]bool
	pushed int64 // when it was last sent to those who have not answered
	quorum int64 // since when a quorum of the old view has answered
}

// adopt makes this process go by another view.
func (n *Node) adopt(v, prev *View, counted bool, quiet time.Duration) {
	old := n.view
	if old != nil && old.Lineage == v.Lineage && v.Epoch <= old.Epoch {
		return
	}
	now := n.cfg.Now()
	skipped := !v.follows(old)
	counted = counted || v.Reborn
	a := Adoption{View: v, Prev: prev}
	a.Anew = skipped || !v.Has(n.self.ID) || !old.Has(n.self.ID) || counted && !n.keptThrough(old)
	switch {
	case skipped:
		a.QuietAll = true
		n.quiet = max(n.quiet, now+int64(quiet+quiet/100))
		if v.Abrupt || counted {
			n.quiet = max(n.quiet, now+int64(given))
		}
		a.Quiet = time.Duration(max(0, n.quiet-now))
	case v.Abrupt || counted:
		n.quiet = now + int64(given)
		a.Quiet, a.QuietPrev = given, old
	}
	if !skipped {
		a.Prev = old
	}
	n.view, n.prev, n.settled, n.counted = v, a.Prev, false, counted
	n.promised, n.accBallot, n.accView, n.blocked = 0, 0, nil, nil
	n.round, n.learning, n.need = nil, nil, 0
	n.adopted, n.release, n.released = now, 0, 0
	n.joined = now - int64(time.Hour) // if this process is not in it, it asks anew
	n.found.end()
	for id := range n.joins {
		if i := v.Index(id); i >= 0 && v.Members[i] == n.joins[id] {
			delete(n.joins, id)
		}
	}
	for _, m := range v.Members { // who has come just now is not silent yet
		if !old.Has(m.ID) {
			n.peer(m.ID).heard = max(n.peer(m.ID).heard, now)
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

func (n *Node) quietLeft() time.Duration { return time.Duration(max(0, n.quiet-n.cfg.Now())) }

// onTell takes a view from a member of it, or a later one of the same lineage from anybody.
func (n *Node) onTell(from ID, m *message) {
	if !m.view.Has(from) && (n.view == nil || n.view.Lineage != m.view.Lineage && !m.view.succeeds(n.view)) {
		return
	}
	switch {
	case m.view.First && !m.settled && m.view.Has(n.self.ID) && n.found.bound != m.view.Members[0].ID && n.cfg.Now() < n.found.until:
		return // this process takes part in another one
	case n.view == nil:
	case n.view.Lineage == m.view.Lineage, m.view.succeeds(n.view):
	case n.view.succeeds(m.view):
		n.tell(from)
		return
	case n.isMember() && !outlives(m.view, int(m.live), n.view, n.live()):
		n.tell(from)
		return
	case n.isMember():
		n.note(Dissolved)
		n.dissolve()
	case !n.anyUp(n.view.Members) || outlives(m.view, int(m.live), n.view, n.live()):
		n.dissolve()
	default:
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

// dissolve ends this process's part in its lineage. The others of it see that, as from now on it
// goes by another one.
func (n *Node) dissolve() {
	if n.isMember() {
		n.sayBye()
	}
	n.view, n.prev, n.settled, n.counted = nil, nil, false, false
	n.promised, n.accBallot, n.accView, n.blocked = 0, 0, nil, nil
	n.round, n.learning, n.need = nil, nil, 0
	for _, p := range n.peers {
		p.promise, p.kept, p.gone, p.dead = 0, 0, false, 0
	}
	n.count()
	n.cfg.Adopt(Adoption{Anew: true})
}

func (n *Node) settle() {
	if !n.settled {
		n.settled = true
		n.learning = nil
		n.cfg.Settled(n.view.Epoch)
	}
}

// pushLearn tells all who have to know of the view about it, and again those who do not answer.
func (n *Node) pushLearn(now int64) {
	v := n.view
	if n.learning == nil {
		n.learning = &learning{epoch: v.Epoch, learnt: make(map[ID]bool), pushed: now - int64(repeat)}
		n.startRelease()
		if n.released == v.Epoch {
			n.learning.learnt[n.self.ID] = true
		}
	}
	l := n.learning
	if now-l.pushed >= int64(repeat) {
		l.pushed = now
		m := n.about(learn)
		told := make(map[ID]bool)
		for _, of := range []*View{v, n.prev} {
			if of == nil {
				continue
			}
			for _, x := range of.Members {
				if x.ID != n.self.ID && !told[x.ID] && !l.learnt[x.ID] {
					told[x.ID] = true
					n.send(x.ID, m)
				}
			}
		}
	}
	n.checkLearnt(now)
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
		n.learning.learnt[n.self.ID] = true
		n.checkLearnt(n.cfg.Now())
	}
	for _, m := range n.view.Voters() { // one of them drives the change
		if m.ID != n.self.ID {
			n.send(m.ID, n.head(learnt))
		}
	}
}

func (n *Node) onLearn(from ID, m *message) {
	if n.view == nil || n.view.Lineage != m.view.Lineage && !m.view.succeeds(n.view) || m.view.First {
		n.onTell(from, m)
		if n.view == nil || n.view.Lineage != m.view.Lineage {
			return
		}
	}
	n.adopt(m.view, m.prev, m.counted, m.left)
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
		n.learning.learnt[from] = true
		n.checkLearnt(n.cfg.Now())
	}
}

// checkLearnt settles the view when everybody who was in the old view and is in the new one has
// answered; or when a quorum of the old one has, and what the others may have lent is over; and when
// a quorum of the new one has, which will have to agree on the view after it.
func (n *Node) checkLearnt(now int64) {
	l, v, old := n.learning, n.view, n.prev
	if l == nil || n.settled || l.epoch != v.Epoch {
		return
	}
	if v.First { // whoever has not adopted it may have a place elsewhere
		if v.Members[0].ID != n.self.ID && !n.provenDead(v.Members[0].ID) {
			return
		}
		for _, m := range v.Members {
			if !l.learnt[m.ID] && !n.provenDead(m.ID) {
				return
			}
		}
		n.hasSettled()
		return
	}
	if old == nil { // this process has come later than the change, and counts the new view only
		old = v
	}
	all := true
	for _, m := range old.Members {
		all = all && (!v.Has(m.ID) || l.learnt[m.ID])
	}
	learnt := func(id ID) bool { return l.learnt[id] }
	if l.quorum == 0 && n.agreed(old, learnt) {
		l.quorum = now
	}
	if !n.agreed(v, learnt) || !all && (l.quorum == 0 || now <= l.quorum+int64(given)) {
		return
	}
	n.hasSettled()
}

// hasSettled settles the view for all.
func (n *Node) hasSettled() {
	n.settle()
	v, m := n.view, n.head(settled)
	for _, x := range v.Members {
		if x.ID != n.self.ID {
			n.send(x.ID, m)
		}
	}
}

func (n *Node) onSettled(m *message) {
	if n.view != nil && m.lineage == n.view.Lineage && m.epoch == n.view.Epoch {
		n.settle()
	}
}
