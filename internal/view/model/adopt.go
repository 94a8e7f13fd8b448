package main

import "slices"

// quiet is a view whose owners may have loans until a time.
type quiet struct {
	until int64
	v     *view
}

// adopt takes a newer view, and decides what of the cache survives.
func (n *node) adopt(v, prev *view, counted bool) {
	n.highest = max(n.highest, v.e)
	other := n.v == nil || v.lineage != n.v.lineage
	if other && n.v != nil {
		if n.inView() || !v.has(n.me()) && n.hearsLineage(n.v.lineage) {
			return
		}
		clear(n.l1)
	}
	if !other && v.e <= n.v.e {
		return
	}
	if v.has(n.me()) {
		if v.e < n.part {
			n.w.wrong("%d comes into view %d after %d", n.name, v.e, n.part)
		}
		n.part = v.e
	}
	skipped := other || v.after != n.v.e
	if skipped || !v.has(n.me()) || !n.inView() {
		n.lost = v.e
	}
	if !v.has(n.me()) {
		clear(n.l1)
		n.w.n["removed"]++
	}
	counted = counted || v.reborn
	if counted && !n.w.without("reborn") {
		n.carryOver(v)
	}
	n.counted = counted
	if !other && (v.proof || counted || skipped) {
		n.quietFor = append(n.quietFor, quiet{n.now() + outlast, n.v})
	}
	if other {
		anybody := &view{members: []member{{-1, -1}}}
		n.quietFor = append(n.quietFor, quiet{n.now() + outlast, anybody})
	}
	if !skipped && !counted && v.e != n.v.e+1 {
		n.restamp(v)
	}
	n.prev = n.v
	if skipped {
		n.prev = prev
	}
	n.v = v
	n.views[v.e] = v
	n.settled = false
	n.promised, n.accB, n.accV, n.blocked = 0, 0, nil, nil
	n.round, n.learning, n.need = nil, nil, 0
	for m, j := range n.joins {
		if v.has(m) && v.of[m] == j.traits {
			delete(n.joins, m)
		}
	}
	n.label, n.cleared, n.sentTo = 0, map[int]bool{}, map[member]bool{}
	for _, k := range sorted(n.turn) {
		for _, x := range slices.Clone(n.turn[k]) {
			x.fail()
		}
	}
	for _, k := range sorted(n.flights) {
		n.flights[k].linked = false
		delete(n.flights, k)
	}
	for _, p := range sorted(n.link) {
		if n.link[p] != 0 {
			n.ask(p)
		}
	}
	n.w.n["adoptions"]++
}

// settle notes that the view has settled.
func (n *node) settle() {
	if !n.settled {
		n.settled, n.settledAt = true, n.now()
	}
}

// hearsLineage reports whether a member of it is among the neighbours.
func (n *node) hearsLineage(lineage int) bool {
	for p, a := range n.asks {
		if n.link[p] != 0 && a.in && a.standing.lineage == lineage {
			return true
		}
	}
	return false
}

// carryOver keeps what was in custody all the time when a view was agreed by counting the dead:
// only who can show that its promises lasted until the deaths knows that there was none between.
func (n *node) carryOver(v *view) {
	lasted := func(m member) bool {
		t := n.deadAt[m]
		return m == n.me() || t == 0 || n.kept[m] > t
	}
	if !n.inView() || !n.v.quorum(lasted) {
		n.lost = v.e
		n.w.n["starts anew"]++
		return
	}
	n.w.n["keeps"]++
	n.restamp(v)
}

// restamp has entries that stay in custody belong to a view whose epoch is not the next number.
func (n *node) restamp(v *view) {
	for _, k := range sorted(n.main) {
		if n.valid(k, n.main[k]) && v.custodian(k, n.me()) {
			n.main[k].e = v.e
		} else {
			delete(n.main, k)
		}
	}
}

// release gives back what the node has lent of keys that it no longer owns, and ends its writes of
// them; then f.
func (n *node) release(f func()) {
	for _, k := range sorted(n.turn) {
		for _, x := range slices.Clone(n.turn[k]) {
			if n.v.owner(k) != n.me() {
				x.fail()
			}
		}
	}
	calls := 1
	fin := func() {
		if calls--; calls == 0 {
			f()
		}
	}
	for _, k := range sorted(n.loans) {
		if n.owns(k) {
			continue
		}
		for _, link := range sorted(n.loans[k]) {
			calls++
			n.takeBack(k, link, fin)
		}
	}
	fin()
}

// learning is what a proposer does until its view is settled.
type learning struct {
	v      *view
	old    *view
	ack    map[member]bool
	quorum int64 // since when a quorum of the old view has said so
}

func (n *node) learn(v, old *view) {
	n.learning = &learning{v: v, old: old, ack: map[member]bool{}}
	n.release(func() {
		if n.learning != nil && n.learning.v == v {
			n.learning.ack[n.me()] = true
			n.checkLearn()
		}
	})
	n.pushLearn()
}

func (n *node) pushLearn() {
	l := n.learning
	if l == nil {
		return
	}
	seen := map[member]bool{}
	for _, list := range [][]member{l.v.members, l.old.members} {
		for _, m := range list {
			if m != n.me() && !seen[m] && !l.ack[m] {
				seen[m] = true
				n.send(m.name, learnMsg{l.v, l.old, n.counted})
			}
		}
	}
	n.checkLearn()
}

func (n *node) onLearnOK(from int, m learnOK) {
	if n.learning != nil && n.learning.v == m.v {
		n.learning.ack[member{from, n.peerInst[from]}] = true
		n.checkLearn()
	}
}

func (n *node) checkLearn() {
	l := n.learning
	if l == nil || n.settled {
		return
	}
	all := true
	for _, m := range l.old.members {
		if l.v.has(m) && !l.ack[m] {
			all = false
		}
	}
	acked := func(m member) bool { return l.ack[m] }
	if l.quorum == 0 && n.agreed(l.old, acked) {
		l.quorum = n.now()
	}
	// the new voters, too: a later change is theirs
	if !n.agreed(l.v, acked) || !all && (l.quorum == 0 || n.now() <= l.quorum+outlast) {
		return
	}
	n.settle()
	n.w.logf("%d: view %d is settled", n.name, n.v.e)
	for _, m := range l.v.members {
		if m != n.me() {
			n.send(m.name, settledMsg{l.v})
		}
	}
	n.learning = nil
}
