package main

import "math/rand/v2"

// options say what to simulate.
type options struct {
	nodes   int
	clients int     // how many of them only ask
	lists   [][]int // whom each knows of; nil: all
	start   int64   // ms within which they start
	quiet   bool    // nothing breaks
	voters  int     // how many of the senior members vote; 0: all
	secs    int64   // of each history
	calm    int64   // of these, how many at the end in which nothing breaks
	mutant  string
	trace   bool
}

func (o options) without(rule string) bool { return o.mutant == rule }

// simulate plays one history.
func simulate(seed uint64, o options) *world {
	w := &world{
		options: o,
		r:       rand.New(rand.NewPCG(seed, 5)),
		cut:     map[way]bool{},
		last:    map[way]int64{},
		held:    map[way][]func(){},
		puts:    map[[2]int]int64{},
		writes:  map[[2]int]int64{},
		n:       map[string]int{},
		floors:  map[int]*[keys]int{},
		ends:    map[int][2]*node{},
		chosen:  map[[2]int]*view{},
		nodes:   make([]*node, o.nodes),
	}
	w.wanted, w.zones = 1+w.r.IntN(3), 1+w.r.IntN(3)
	w.writing = []int{40, 40, 8, 2}[w.r.IntN(4)]
	for i := range w.nodes {
		w.nodes[i] = &node{w: w, name: i, dead: true}
		w.at(w.r.Int64N(o.start*ms+1), func() { w.start(i) })
	}
	if !o.quiet {
		w.at(w.r.Int64N(3000*ms), w.fault)
	}
	w.at(0, w.watch)
	w.at((o.secs-o.calm)*1000*ms, func() { w.calm = true })
	w.run(o.secs * 1000 * ms)
	if len(w.bad) > 0 {
		return w
	}
	if w.wholeAt == 0 {
		w.n["not whole"]++
		w.logf("not whole")
		for _, n := range w.nodes {
			n.describe()
		}
	} else {
		w.recovery = max(0, w.wholeAt-w.broken)
	}
	return w
}

// whole reports whether everybody has a part in one view, and acts.
func (w *world) whole() bool {
	members := len(w.nodes) - w.clients
	for _, n := range w.nodes[:members] {
		if n.dead || n.paused || !n.inView() || len(n.v.members) != members || !n.leased() {
			return false
		}
	}
	return true
}

// watch keeps how long it takes after the last fault until the group is whole.
func (w *world) watch() {
	if !w.whole() {
		w.wholeAt = 0
	} else if w.wholeAt == 0 {
		w.wholeAt = w.now
	}
	w.at(50*ms, w.watch)
}

func (n *node) describe() {
	if n.v == nil {
		n.w.logf("   node %d inst %d no view, links %v", n.name, n.inst, n.link)
		return
	}
	var silent map[member]int64
	var refused map[member]bool
	rank := -1
	if n.inView() {
		silent, refused = n.evidence()
		rank = n.rank()
	}
	n.w.logf("   node %d inst %d view %d %v in %v settled %v leased %v links %v",
		n.name, n.inst, n.v.e, n.v.members, n.inView(), n.settled, n.leased(), n.link)
	n.w.logf("      accepted %d %v promised %d blocked %v joins %v silent %v refused %v",
		n.accB, n.accV, n.promised, n.blocked, n.joins, silent, refused)
	n.w.logf("      round %+v learning %v need %v rank %v",
		n.round, n.learning != nil, n.need, rank)
}
