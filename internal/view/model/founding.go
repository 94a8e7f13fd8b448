package main

import (
	"maps"
	"slices"
)

// heardOf is how long a process has to have been reachable before it founds a view or takes part in
// a founding: whoever lists it, and lives, has dialled it by then.
const heardOf = 1000 * ms

// founding is one attempt at a first view. Everybody known takes part or refuses the connection:
// of two founders that know of each other each needs the other's word, which the other one does
// not give without giving its own attempt up.
type founding struct {
	id      int
	began   int64
	asked   map[int]int // name -> instance
	members []member    // who takes part
	of      map[member]traits
	epoch   int // the highest of which anybody has heard
}

// Of a founding.
type (
	foundMsg struct {
		id    int
		knows []int
	}
	tookMsg struct {
		id     int
		ok     bool
		knows  []int
		epoch  int
		traits traits
	}
	foundedMsg struct {
		id int
		v  *view
	}
)

// learnOf adds processes to those that are dialled.
func (n *node) learnOf(names []int) {
	for _, p := range names {
		n.knows[p] = true
	}
}

// refusedNow reports whether the last attempt to dial p, a moment ago, was refused.
func (n *node) refusedNow(p int) bool {
	t, ok := n.lastRefused[p]
	return ok && n.now()-t < 200*ms
}

// silenceBlocks reports whether p, to which there is no link, may have a place. That most of those
// known are there is not enough: a view may have shrunk to the few that are not.
func (n *node) silenceBlocks(p int) bool {
	if n.refusedNow(p) || n.w.without("silent") {
		return false
	}
	with := 1
	for _, q := range n.known() {
		if n.link[q] != 0 {
			with++
		}
	}
	return !n.w.without("all") || 2*with <= len(n.knows)
}

func (n *node) known() []int { return sorted(n.knows) }

// mayFound reports whether nobody known has a place or is silent.
func (n *node) mayFound() bool {
	if n.now()-n.opened < heardOf && !n.w.without("heardof") {
		return false
	}
	if !n.open && !n.w.without("selffirst") || n.traits.weight == 0 {
		return false
	}
	for _, p := range n.known() {
		if p == n.name {
			continue
		}
		if n.link[p] != 0 {
			if a, ok := n.asks[p]; !ok || a.in {
				return false
			}
		} else if n.silenceBlocks(p) {
			return false
		}
	}
	return true
}

// tryFound begins a founding when nobody with a smaller name does.
func (n *node) tryFound() {
	if f := n.founding; f != nil && n.now()-f.began > 1000*ms {
		n.founding = nil
	}
	if n.founding != nil {
		return
	}
	if !n.mayFound() {
		n.alone = 0
		return
	}
	if n.alone == 0 {
		n.alone = n.now()
	}
	rank := int64(0)
	for _, p := range n.known() {
		if p < n.name && n.link[p] != 0 {
			rank++
		}
	}
	if n.now()-n.alone < rank*200*ms || n.now() < n.yields {
		return
	}
	n.w.foundID++
	f := &founding{id: n.w.foundID, began: n.now(), asked: map[int]int{}, epoch: n.highest}
	f.members = []member{n.me()}
	f.of = map[member]traits{n.me(): n.traits}
	n.founding = f
	for _, p := range n.known() {
		if p != n.name && n.link[p] != 0 {
			f.asked[p] = n.peerInst[p]
			n.send(p, foundMsg{f.id, n.known()})
		}
	}
	n.checkFound()
}

// onFound gives this process's word, or not.
func (n *node) onFound(from int, m foundMsg) {
	n.learnOf(m.knows)
	ok := n.open && n.now()-n.opened >= heardOf && !n.inView() && !n.guest
	if n.w.without("heardof") {
		ok = !n.inView() && !n.guest
	}
	ok = ok && n.traits.weight > 0
	if ok && n.founding != nil && !n.w.without("giveup") {
		if from > n.name {
			ok = false
		} else {
			n.founding = nil
		}
	}
	if ok {
		n.okTo = m.id
		n.yields = n.now() + 500*ms
		n.forget()
	}
	n.send(from, tookMsg{m.id, ok, n.known(), n.highest, n.traits})
}

func (n *node) onTook(from int, m tookMsg) {
	f := n.founding
	n.learnOf(m.knows)
	if f == nil || f.id != m.id {
		return
	}
	if !m.ok {
		n.founding = nil
		n.yields = n.now() + 200*ms + n.w.r.Int64N(200*ms)
		return
	}
	f.epoch = max(f.epoch, m.epoch)
	f.members = append(f.members, member{from, n.peerInst[from]})
	f.of[member{from, n.peerInst[from]}] = m.traits
	n.checkFound()
}

// checkFound decides if everybody has given his word, and nobody has come to be known meanwhile.
func (n *node) checkFound() {
	f := n.founding
	if len(f.members) <= len(f.asked) {
		return
	}
	for p, inst := range f.asked {
		if !n.linked(member{p, inst}) {
			n.founding = nil
			return
		}
	}
	for _, p := range n.known() {
		if p == n.name || f.asked[p] != 0 {
			continue
		}
		if n.link[p] != 0 || n.silenceBlocks(p) {
			n.founding = nil
			return
		}
	}
	n.founding = nil
	n.forget()
	w := n.w
	w.lineage++
	e := max(f.epoch+1, int(w.now/1e6)+n.wall)
	slices.SortFunc(f.members[1:], func(a, b member) int { return a.inst - b.inst })
	v := &view{e: e, members: f.members, voting: w.voters, lineage: w.lineage, born: e, of: f.of}
	w.logf("%d founds view %d of lineage %d %v", n.name, v.e, v.lineage, v.members)
	w.n["foundings"]++
	w.founded(n, v)
	n.adopt(v, nil, false)
	n.settle()
	for _, p := range slices.Sorted(maps.Keys(f.asked)) {
		n.send(p, foundedMsg{f.id, v})
	}
}

// onFounded takes the view that this process has given its last word for.
func (n *node) onFounded(m foundedMsg) {
	if n.inView() || n.okTo != m.id {
		return
	}
	n.adopt(m.v, nil, false)
	if n.v == m.v {
		n.settle()
	}
}

// forget drops all that the node has, stored and borrowed.
func (n *node) forget() {
	for k := range keys {
		n.drop(k)
	}
}

// standing is what one lineage is compared by with another one.
type standing struct {
	lineage int
	acts    bool
	size    int
	born    int
}

// above reports whether members of t have to give their lineage up for s: of two, the one that
// acts stays, then the bigger one, then the older one.
func (s standing) above(t standing) bool {
	switch {
	case s.acts != t.acts:
		return s.acts
	case s.size != t.size:
		return s.size > t.size
	case s.born != t.born:
		return s.born < t.born
	}
	return s.lineage < t.lineage
}

func (n *node) standing() standing {
	if !n.inView() {
		return standing{}
	}
	return standing{n.v.lineage, n.leased(), len(n.v.members), n.v.born}
}

// meet has this node leave a lesser lineage: it begins a new life, which joins the greater one. So
// no other rule has to know of lineages.
func (n *node) meet(other standing) {
	if !n.inView() || other.lineage == 0 || other.lineage == n.v.lineage ||
		!other.above(n.standing()) {
		return
	}
	w := n.w
	w.logf("%d leaves lineage %d for %d", n.name, n.v.lineage, other.lineage)
	w.n["left lineages"]++
	n.beginAnew()
}

// beginAnew has this process be another one that knows what this one knew of the others, and that it
// may not come into a view that is earlier.
func (n *node) beginAnew() {
	n.crash()
	m := n.w.start(n.name)
	m.traits = n.traits
	m.traits.weight = 1
	m.highest, m.part = n.highest, n.part
	m.rate, m.off, m.wall = n.rate, n.off, n.wall
	m.learnOf(n.known())
	m.open, m.opened = true, m.now()
}

// whereToJoin is the greatest lineage among the neighbours', 0 if none has a place.
func (n *node) whereToJoin() int {
	best := standing{}
	for _, p := range sorted(n.asks) {
		if a := n.asks[p]; n.link[p] != 0 && a.in && (best.lineage == 0 || a.standing.above(best)) {
			best = a.standing
		}
	}
	return best.lineage
}
