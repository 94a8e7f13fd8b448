package main

import "slices"

// Times of the protocol.
const (
	ms      = int64(1000)
	lease   = 2000 * ms
	outlast = lease + lease/100 // as the giver counts, whose clock may be slower
	keep    = 500 * ms
	suspect = 1250 * ms
)

// node is one process in one life. All times in it are its own clock's.
type node struct {
	w       *world
	name    int
	inst    int
	rate    float64 // of its clock
	off     int64
	wall    int   // how much its calendar is off, in seconds
	selfTo  int64 // until when its own vote counts
	lonely  bool  // it was replaced and is cut off, so it can't find out
	cache   int   // how often its cache was closed and opened again
	guest   bool  // it only asks: never a member
	open    bool  // others can dial it
	opened  int64 // since when
	dead    bool
	paused  bool
	backlog []func() // what waits while it stands still

	v         *view
	prev      *view
	settled   bool
	settledAt int64         // when it was
	counted   bool          // the view was agreed by counting the dead
	views     map[int]*view // those it has had a part in, or knew of
	lost      int           // entries stored before this view are worthless
	quietFor  []quiet       // former owners whose loans may last
	deadAt    map[member]int64
	ended     map[member]bool  // its end of the link was closed: it died
	kept      map[member]int64 // promises as they were given, whatever became of the link

	// foundings
	knows    map[int]bool // its list, and of whom it has learned: all of them are dialled
	founding *founding
	okTo     int   // the founding it gave its word last
	yields   int64 // until when it leaves foundings to others
	alone    int64 // since when nobody known has a place
	part     int   // epoch of the last view of which it was a member
	highest  int   // epoch of which it has heard

	// the acceptor of the next view
	promised int
	accB     int
	accV     *view
	blocked  *view // a value that binds and waits for a promise to end

	// the proposer of the next view
	traits   traits
	saidAt   int64
	retired  bool            // it has said goodbye
	gone     map[member]bool // who has
	joins    map[member]joinMsg
	need     int64 // since when a change is needed
	round    *round
	learning *learning
	ticked   int64 // last tick
	late     int64 // when a tick last came late

	// its neighbours, by name
	link        map[int]int
	heard       map[int]int64
	peerInst    map[int]int
	asks        map[int]askMsg // what they said last, over this link
	refused     map[int]int64  // since when
	lastRefused map[int]int64
	promise     map[int]int64 // held until
	linkTo      map[int]int64 // lease of the link, held until
	given       map[int]int64 // promise given until
	givenL      map[int]int64 // by link: its lease, given until
	calls       map[int]func(msg)
	callTo      map[int]int
	callID      int

	// the cache, by key
	main    map[int]*entry
	l1      map[int]*loan
	loans   map[int]map[int]int // over which link -> id
	flights map[int]*flight
	turn    map[int][]*writing
	recall  map[int]int64 // last recall
	pursue  map[int]int   // what could not be confirmed

	clock   int64         // the greatest stamp that it has given or seen, without the instance
	dropped map[int]int64 // stamps of drops, by key
	floor   int64         // as if all keys had been dropped then
	label   int           // of the Clears that this cache has carried out in this view
	cleared map[int]bool  // these
	sentTo  map[member]bool
}

func (w *world) start(name int) *node {
	w.inst++
	n := &node{
		w: w, name: name, inst: w.inst,
		rate:        1 + (w.r.Float64()-0.5)*0.008,
		off:         w.r.Int64N(1000 * ms),
		views:       make(map[int]*view),
		deadAt:      make(map[member]int64),
		ended:       make(map[member]bool),
		kept:        make(map[member]int64),
		knows:       make(map[int]bool),
		joins:       make(map[member]joinMsg),
		gone:        make(map[member]bool),
		traits:      traits{weight: 1, replicas: w.wants(), zone: w.zone(name)},
		asks:        make(map[int]askMsg),
		lastRefused: make(map[int]int64),
		link:        make(map[int]int),
		heard:       make(map[int]int64),
		peerInst:    make(map[int]int),
		refused:     make(map[int]int64),
		promise:     make(map[int]int64),
		linkTo:      make(map[int]int64),
		given:       make(map[int]int64),
		givenL:      make(map[int]int64),
		calls:       make(map[int]func(msg)),
		callTo:      make(map[int]int),
		main:        make(map[int]*entry),
		l1:          make(map[int]*loan),
		loans:       make(map[int]map[int]int),
		flights:     make(map[int]*flight),
		turn:        make(map[int][]*writing),
		recall:      make(map[int]int64),
		pursue:      make(map[int]int),
		dropped:     make(map[int]int64),
		cleared:     make(map[int]bool),
		sentTo:      make(map[member]bool),
	}
	n.ticked = n.now()
	n.late = n.now() - 10000*ms
	w.nodes[name] = n
	n.wall = w.r.IntN(7200)
	n.guest = name >= len(w.nodes)-w.clients
	n.learnOf(w.list(name))
	w.at(w.opens(), func() { n.run(func() { n.open, n.opened = true, n.now() }) })
	w.at(w.r.Int64N(50*ms), func() { n.run(n.tick) })
	w.at(w.r.Int64N(50*ms), n.client)
	w.at(w.r.Int64N(300*ms), func() { n.run(n.pursuit) })
	for p := range w.nodes {
		if p == name {
			continue
		}
		var keepAlive func()
		keepAlive = func() {
			n.after(keep, keepAlive)
			if n.link[p] != 0 {
				n.ask(p)
			}
		}
		w.at(w.r.Int64N(keep), func() { n.run(keepAlive) })
	}
	return n
}

func (n *node) now() int64   { return n.off + int64(float64(n.w.now)*n.rate) }
func (n *node) me() member   { return member{n.name, n.inst} }
func (n *node) inView() bool { return n.v != nil && n.v.has(n.me()) }

// owns reports whether this node is the owner of k by its view.
func (n *node) owns(k int) bool { return n.inView() && n.v.owner(k) == n.me() }

func (n *node) epoch() int {
	if n.v == nil {
		return 0
	}
	return n.v.e
}

// linked reports whether there is a link to that very member.
func (n *node) linked(m member) bool { return n.link[m.name] != 0 && n.peerInst[m.name] == m.inst }

// hears reports whether m is linked and not silent.
func (n *node) hears(m member) bool { return n.linked(m) && n.now()-n.heard[m.name] < suspect }

// run executes f at the node, later if it stands still.
func (n *node) run(f func()) {
	if n.dead {
		return
	}
	if n.paused {
		n.backlog = append(n.backlog, f)
		return
	}
	f()
}

func (n *node) after(d int64, f func()) { n.w.at(d, func() { n.run(f) }) }

// dial makes a link, at once: the one who dialled stands for both.
func (n *node) dial(peer int) {
	w := n.w
	t := w.nodes[peer]
	cut := n.lonely || w.cut[way{n.name, peer}] || w.cut[way{peer, n.name}]
	if n.link[peer] != 0 || n.dead || cut {
		return
	}
	if t == nil || t.dead || !t.open {
		n.lastRefused[peer] = n.now()
		if n.refused[peer] == 0 {
			n.refused[peer] = n.now()
		}
		return
	}
	if t.paused || n.paused {
		return
	}
	if t.peerInst[n.name] > n.inst {
		n.replaced()
		return
	}
	t.supersede(n.name)
	w.linkID++
	w.ends[w.linkID] = [2]*node{n, t}
	n.link[peer], t.link[n.name] = w.linkID, w.linkID
	n.heard[peer], t.heard[n.name] = n.now(), t.now()
	n.peerInst[peer], t.peerInst[n.name] = t.inst, n.inst
	n.refused[peer], t.refused[n.name] = 0, 0
	n.ask(peer)
	t.ask(n.name)
}

// other is the other end of a link.
func (w *world) other(link int, n *node) *node {
	if ends := w.ends[link]; ends[0] != n {
		return ends[0]
	}
	return w.ends[link][1]
}

// supersede ends the link to an earlier life of a peer, if there is one, which may live on.
func (n *node) supersede(peer int) {
	id := n.link[peer]
	if id == 0 {
		return
	}
	n.down(peer)
	n.hangUp(n.w.other(id, n), id)
}

// hangUp has the other end learn that a link has ended.
func (n *node) hangUp(t *node, id int) {
	w := n.w
	var reset func()
	reset = func() {
		if w.cut[way{n.name, t.name}] || t.lonely && !t.dead {
			w.at(50*ms, reset)
			return
		}
		t.run(func() {
			if t.link[n.name] == id {
				if n.dead {
					t.ended[n.me()] = true
				}
				t.down(n.name)
			}
		})
	}
	w.at(w.r.Int64N(5*ms), reset)
}

// replaced is what a process learns that runs on although another one has taken its name: it stops.
func (n *node) replaced() {
	n.w.n["replaced"]++
	n.w.logf("%d stops: it was replaced", n.name)
	n.crash()
}

// down ends a link with all that depends on it.
func (n *node) down(peer int) {
	if n.link[peer] == 0 {
		return
	}
	n.link[peer] = 0
	delete(n.asks, peer)
	delete(n.promise, peer)
	delete(n.linkTo, peer)
	for _, k := range sorted(n.l1) {
		if n.l1[k].from == peer {
			delete(n.l1, k)
		}
	}
	for _, id := range sorted(n.callTo) {
		if to, ok := n.callTo[id]; ok && to == peer {
			n.finishCall(id, nil)
		}
	}
}

func (n *node) send(to int, m msg) {
	id := n.link[to]
	if id == 0 {
		return
	}
	w := n.w
	key := way{n.name, to}
	d := 100 + w.r.Int64N(3*ms)
	if w.r.IntN(50) == 0 {
		d = w.r.Int64N(60 * ms)
	}
	at := max(w.now+d, w.last[key]+1)
	w.last[key] = at
	w.at(at-w.now, w.inOrder(key, func() {
		t := w.other(id, n)
		if t.dead || t.link[n.name] != id {
			return
		}
		t.run(func() {
			if t.link[n.name] == id {
				t.heard[n.name] = t.now()
				t.receive(n.name, m)
			}
		})
	}))
}

// sendOrDo sends to others, and has the node itself receive at once.
func (n *node) sendOrDo(to int, m msg) {
	if to == n.name {
		n.receive(to, m)
	} else {
		n.send(to, m)
	}
}

func (n *node) call(to int, body msg, timeout int64, done func(msg)) {
	if n.link[to] == 0 {
		n.after(1, func() { done(nil) })
		return
	}
	n.callID++
	id := n.callID
	n.calls[id] = done
	n.callTo[id] = to
	n.send(to, callMsg{id, body})
	n.after(timeout, func() { n.finishCall(id, nil) })
}

func (n *node) finishCall(id int, m msg) {
	if f := n.calls[id]; f != nil {
		delete(n.calls, id)
		delete(n.callTo, id)
		f(m)
	}
}

func (n *node) receive(from int, m msg) {
	switch m := m.(type) {
	case askMsg:
		n.onAsk(from, m)
	case grantMsg:
		n.onGrant(from, m)
	case viewMsg:
		n.adopt(m.v, m.prev, m.counted)
		if n.v == m.v && m.settled {
			n.settle()
		}
	case joinMsg:
		if m.lineage == n.standing().lineage {
			n.joins[m.m] = m
			delete(n.gone, m.m)
		}
	case byeMsg:
		n.gone[m.m] = true
	case foundMsg:
		n.onFound(from, m)
	case tookMsg:
		n.onTook(from, m)
	case foundedMsg:
		n.onFounded(m)
	case prepMsg:
		n.onPrepare(from, m)
	case promiseMsg:
		n.onPromise(from, m)
	case accMsg:
		n.onAccept(from, m)
	case accedMsg:
		n.onAccepted(from, m)
	case learnMsg:
		n.adopt(m.v, m.prev, m.counted)
		if n.v == m.v {
			n.release(func() { n.send(from, learnOK{m.v}) })
			if n.settled && !n.w.without("saysettled") {
				n.send(from, settledMsg{m.v})
			}
		}
	case learnOK:
		n.onLearnOK(from, m)
	case settledMsg:
		if n.v == m.v {
			n.settle()
		}
	case callMsg:
		link := n.link[from]
		n.serve(from, m.body, func(r msg) {
			if n.link[from] == link { // or else it would answer another life's call
				n.send(from, replyMsg{m.id, r})
			}
		})
	case replyMsg:
		n.finishCall(m.id, m.body)
	case copyMsg:
		n.onCopy(from, m)
	}
}

// tick looks after the links and the view.
func (n *node) tick() {
	n.after(50*ms+n.w.r.Int64N(10*ms), n.tick)
	if n.now()-n.ticked > 400*ms {
		n.late = n.now()
	}
	n.ticked = n.now()
	n.findSelf()
	if n.dead {
		return
	}
	for p := range n.w.nodes {
		if p == n.name {
			continue
		}
		if n.link[p] != 0 && n.now()-n.heard[p] > lease {
			n.down(p)
		}
		if n.link[p] == 0 && n.knows[p] {
			n.dial(p)
		}
	}
	if !n.inView() {
		n.outside()
		return
	}
	n.note()
	n.say()
	n.tend()
}

// findSelf sees that this node's URL leads to itself: only then its own vote counts. After a lease
// no quorum that an earlier life of it is needed for can act.
func (n *node) findSelf() {
	if n.w.nodes[n.name] == n {
		n.selfTo = n.now() + lease
	} else if !n.lonely {
		n.replaced()
	}
}

// outside is what a process does that has no place in a view.
func (n *node) outside() {
	lineage := n.whereToJoin()
	for p := range n.w.nodes {
		if n.link[p] == 0 {
			continue
		}
		if lineage != 0 && !n.guest {
			n.send(p, joinMsg{n.me(), n.traits, lineage, n.highest})
		}
		if n.v == nil {
			n.ask(p)
		}
	}
	if lineage == 0 && !n.guest {
		n.tryFound()
	}
}

// rank is after how many healthy members it is this one's turn: the senior ones, and those who are
// leaving come last.
func (n *node) rank() int {
	at, leaves := slices.Index(n.v.members, n.me()), n.v.of[n.me()].weight == 0
	rank := 0
	for i, m := range n.v.members {
		before := i < at
		if other := n.v.of[m].weight == 0; other != leaves {
			before = leaves
		}
		if before && n.hears(m) && !n.gone[m] {
			rank++
		}
	}
	return rank
}

// say tells the members what this one has become.
func (n *node) say() {
	if n.v.of[n.me()] == n.traits || n.now() < n.saidAt+200*ms {
		return
	}
	n.saidAt = n.now()
	for _, m := range n.v.members {
		n.sendOrDo(m.name, joinMsg{n.me(), n.traits, n.v.lineage, n.highest})
	}
}
