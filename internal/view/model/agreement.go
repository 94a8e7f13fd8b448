package main

import (
	"maps"
	"slices"
	"sort"
)

// round is one attempt of a proposer to have the next view agreed.
type round struct {
	b       int // ballot
	e       int
	phase   int
	view    *view
	forced  bool // it is the value of an earlier round
	replies map[int]promiseMsg
	accepts map[int]bool
	denied  map[int]bool // by members whose promise to somebody who would be left out runs
	began   int64
}

// tend has the view changed if that is needed and this node's turn has come.
func (n *node) tend() {
	for m, j := range n.joins {
		was, ok := n.v.byName(m.name)
		if ok && (was.inst > m.inst || was == m && n.v.of[m] == j.traits) || m != n.me() && !n.linked(m) {
			delete(n.joins, m) // it has come in, or is gone
		}
	}
	if n.isOver() && !n.w.without("over") {
		n.w.logf("%d gives up view %d", n.name, n.v.e)
		n.w.n["given up"]++
		n.beginAnew()
		return
	}
	silent, _ := n.evidence()
	if len(silent) == 0 && len(n.joins) == 0 && n.accV == nil && n.settled && !n.hasWarmed() {
		n.need = 0
		n.round = nil
		return
	}
	if n.need == 0 {
		n.need = n.now()
	}
	if n.round != nil && n.now()-n.round.began > 3000*ms {
		n.round = nil
	}
	if n.learning != nil && n.learning.v.e != n.v.e {
		n.learning = nil
	}
	if n.now()-n.need < int64(n.rank())*300*ms+100*ms {
		return
	}
	if !n.settled && !n.w.without("onebyone") {
		if n.learning == nil {
			n.learn(n.v, n.prev)
		} else {
			n.pushLearn()
		}
		return
	}
	if n.round == nil {
		n.propose()
	} else if n.round.phase == 1 {
		n.tryAccept()
	}
}

// isOver reports whether all who vote are dead: one of them may have been the last and gone on alone,
// so that others who counted them as dead would be two groups.
func (n *node) isOver() bool {
	for _, m := range n.v.voters() {
		if m == n.me() || !n.provenDead(m) {
			return false
		}
	}
	return true
}

// evidence is what this node sees of the others: who is silent, with the time left of the promise
// given, and of whom that is proof of death.
func (n *node) evidence() (silent map[member]int64, refused map[member]bool) {
	silent, refused = map[member]int64{}, map[member]bool{}
	healthy := n.now()-n.late > 1500*ms
	for _, m := range n.v.members {
		if m == n.me() && n.retired && n.v.of[m].weight == 0 {
			silent[m], refused[m] = 0, true
			continue
		}
		if m == n.me() || n.hears(m) && !n.gone[m] {
			continue
		}
		switch {
		case n.died(m):
			silent[m] = 0
			refused[m] = true
		case n.peerInst[m.name] > m.inst || n.refused[m.name] != 0:
			silent[m] = max(0, n.given[m.name]-n.now())
		case healthy && n.now()-n.heard[m.name] >= suspect:
			silent[m] = max(0, n.given[m.name]-n.now())
		}
	}
	return
}

// warmUp is how long after a warm view has settled one with the same members follows it.
const warmUp = 3000 * ms

func (n *node) hasWarmed() bool {
	return n.settled && n.v.warm() && n.now()-n.settledAt >= warmUp
}

func (n *node) propose() {
	b := (n.promised/10+1)*10 + n.name
	n.round = &round{
		b: b, e: n.v.e + 1, began: n.now(),
		replies: map[int]promiseMsg{}, accepts: map[int]bool{}, denied: map[int]bool{},
	}
	for _, m := range n.v.members {
		if m == n.me() {
			n.onPrepare(n.name, prepMsg{n.round.e, b})
		} else {
			n.send(m.name, prepMsg{n.round.e, b})
		}
	}
}

func (n *node) onPrepare(from int, m prepMsg) {
	if !n.inView() || m.e != n.v.e+1 || !n.fellow(from) {
		if n.v != nil && m.e <= n.v.e && (n.inView() || !n.w.without("tell")) {
			n.sendOrDo(from, viewMsg{n.v, n.prev, n.settled, n.counted})
		}
		return
	}
	if !n.w.without("saysettled") {
		n.settle() // or nobody would propose
	}
	if !n.settled && !n.w.without("onebyone") {
		return
	}
	if m.b < n.promised {
		n.sendOrDo(from, promiseMsg{e: m.e, b: n.promised, nack: true})
		return
	}
	n.promised = m.b
	if n.w.without("stayblocked") {
		n.blocked = nil
	}
	s, r := n.evidence()
	n.sendOrDo(from, promiseMsg{e: m.e, b: m.b, accB: n.accB, accV: n.accV, silent: s, refused: r})
}

func (n *node) onPromise(from int, m promiseMsg) {
	r := n.round
	if r == nil || m.e != r.e || !n.fellow(from) {
		return
	}
	if m.nack {
		n.promised = max(n.promised, m.b)
		n.round = nil
		return
	}
	if r.b != m.b || r.phase != 0 {
		return
	}
	r.replies[from] = m
	if n.agreed(n.v, r.replied) {
		r.phase = 1
		r.began = n.now()
		n.tryAcceptAfter(10*ms, r)
	}
}

func (r *round) replied(m member) bool {
	_, ok := r.replies[m.name]
	return ok
}

func (n *node) tryAcceptAfter(d int64, r *round) {
	n.after(d, func() {
		if n.round == r && r.phase == 1 {
			n.tryAccept()
		}
	})
}

// tryAccept asks the members to accept what binds, or else the view that the replies call for.
func (n *node) tryAccept() {
	r := n.round
	if r.view == nil {
		best := 0
		for _, name := range sorted(r.replies) {
			if p := r.replies[name]; p.accB > best {
				best, r.view, r.forced = p.accB, p.accV, true
			}
		}
	}
	var proof map[member]bool
	if r.view == nil {
		next, dead, wait := n.next(r)
		if next == nil {
			n.round = nil
			return
		}
		if n.now() < r.began+wait && !n.w.without("wait") {
			n.tryAcceptAfter(r.began+wait-n.now()+ms, r)
			return
		}
		r.view, proof = next, dead
	}
	r.phase = 2
	r.began = n.now()
	for _, m := range n.v.members {
		n.sendOrDo(m.name, accMsg{r.e, r.b, r.view, proof, r.forced})
	}
}

// next is the view that the replies of a round call for: without who is silent or replaced, with
// all who want to join; nil if they call for none. It also returns whose death is proven, and how
// long promises to the others that are left out still last.
func (n *node) next(r *round) (next *view, proof map[member]bool, wait int64) {
	next = &view{
		e: r.e, after: n.v.e, voting: n.v.voting, lineage: n.v.lineage, born: n.v.born,
		of: maps.Clone(n.v.of), former: n.v,
	}
	proof = map[member]bool{}
	gone, changed := 0, false
	lent := false                                                 // by somebody who is left out, while voters of an earlier view had promised
	few := func() bool { return 2*(gone+1) < len(n.v.members)+1 } // another one may be left out
	for _, m := range n.v.members {
		silent := func(x member) bool { _, ok := r.replies[x.name].silent[m]; return ok }
		refused := func(x member) bool { return r.replies[x.name].refused[m] }
		if m == n.me() && !n.retired || !n.agreed(n.v, silent) || !few() && !n.provenDead(m) {
			next.members = append(next.members, m)
			continue
		}
		gone++
		if n.agreed(n.v, refused) {
			proof[m] = true
		}
		for _, p := range r.replies {
			wait = max(wait, p.silent[m])
		}
		lent = lent || n.now() < n.settledAt+outlast
	}
	var joins []member
	for m := range n.joins {
		joins = append(joins, m)
	}
	sort.Slice(joins, func(a, b int) bool { return joins[a].inst < joins[b].inst })
	for _, j := range joins {
		if j != n.me() && !n.linked(j) {
			continue
		}
		old, ok := next.byName(j.name)
		if ok && old == j { // it has changed
			changed = changed || next.of[j] != n.joins[j].traits
			next.of[j] = n.joins[j].traits
			continue
		}
		if ok {
			if old.inst >= j.inst || !few() && !n.provenDead(old) {
				continue
			}
			gone++
			if n.died(old) {
				proof[old] = true
			} else {
				wait = max(wait, n.given[old.name]-n.now())
				lent = lent || n.now() < n.settledAt+outlast
			}
			i := slices.Index(next.members, old)
			next.members = slices.Delete(next.members, i, i+1)
		}
		next.members = append(next.members, j)
		next.of[j] = n.joins[j].traits
		if !n.w.without("jump") {
			next.e = max(next.e, n.joins[j].highest+1)
		}
	}
	if gone == 0 && !changed && len(next.members) == len(n.v.members) && !n.hasWarmed() {
		return nil, nil, 0
	}
	for m := range next.of {
		if !next.has(m) {
			delete(next.of, m)
		}
	}
	next.proof = len(proof) > 0 || lent && !n.w.without("voters")
	if !n.v.quorum(r.replied) {
		next.reborn = true
		next.e += 1000
		next.proof = true
	}
	return next, proof, wait
}

// fellow reports whether what comes from there comes from a member of this node's view, rather than
// from a later life of one.
func (n *node) fellow(from int) bool {
	return from == n.name || n.v.has(member{from, n.peerInst[from]})
}

func (n *node) onAccept(from int, m accMsg) {
	if !n.inView() || m.e != n.v.e+1 || !n.fellow(from) {
		if n.w.without("members") {
			n.sendOrDo(from, accedMsg{e: m.e, b: m.b, higher: m.b})
		}
		return // who has no say says nothing
	}
	if m.b < n.promised {
		n.sendOrDo(from, accedMsg{e: m.e, b: m.b, higher: n.promised})
		return
	}
	for _, x := range n.v.members {
		if m.v.has(x) || x == n.me() || n.now() >= n.given[x.name] || n.w.without("wait") {
			continue
		}
		if m.proof[x] && n.died(x) {
			continue
		}
		n.w.n["accept refused"]++
		left := int64(0)
		if m.forced && !n.w.without("forced") {
			n.blocked = m.v
			n.promised = m.b
			left = n.given[x.name] - n.now() + 1
		}
		n.sendOrDo(from, accedMsg{e: m.e, b: m.b, left: left})
		return
	}
	n.promised, n.accB, n.accV, n.blocked = m.b, m.b, m.v, nil
	n.sendOrDo(from, accedMsg{e: m.e, b: m.b, ok: true})
}

func (n *node) onAccepted(from int, m accedMsg) {
	r := n.round
	if r == nil || r.b != m.b || r.phase != 2 || !n.fellow(from) && !n.w.without("members") {
		return
	}
	switch {
	case m.ok:
		r.accepts[from] = true
		n.tryChoose()
	case m.higher > 0:
		n.promised = max(n.promised, m.higher)
		n.round = nil
	case m.left > 0:
		n.after(m.left, func() {
			if n.round == r {
				r.began = n.now()
				n.sendOrDo(from, accMsg{r.e, r.b, r.view, nil, true})
			}
		})
	default:
		r.denied[from] = true
		if !n.agreed(n.v, func(x member) bool { return !r.denied[x.name] }) {
			n.round = nil
		}
	}
}

// tryChoose ends the round if enough have accepted its view: it is the next one.
func (n *node) tryChoose() {
	r := n.round
	accepted := func(x member) bool { return r.accepts[x.name] }
	if !n.agreed(n.v, accepted) {
		return
	}
	v, old := r.view, n.v
	n.w.agreed(v)
	n.w.logf("%d chooses view %d %v", n.name, v.e, v.members)
	n.adopt(v, old, !old.quorum(accepted))
	if n.inView() {
		n.learn(v, old)
		return
	}
	for _, x := range v.members {
		n.send(x.name, learnMsg{v, old, n.counted})
	}
}
