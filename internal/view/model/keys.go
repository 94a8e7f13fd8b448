package main

import "slices"

// entry is what a custodian has of a key.
type entry struct {
	v     int
	e     int   // the view under which it was stored
	stamp int64 // which its first owner gave it
}

// loan is a copy that was borrowed.
type loan struct {
	v    int
	link int
	e    int
	from int
}

type flight struct {
	linked bool // no write has come in between
	e      int
	keep   bool // what is loaded may be stored
}

type writing struct {
	k, n    int
	put     bool
	live    func() bool // the caller can still be told
	done    func(ok bool)
	e       int
	started bool
	over    bool
	stamp   int64
}

// acts reports whether this node may act as the owner of k: moved keys wait until the view has
// settled.
func (n *node) acts(k int) bool {
	if !n.owns(k) || !n.leased() {
		return false
	}
	if n.settled || n.w.without("settle") {
		return true
	}
	return n.prev != nil && n.prev.has(n.me()) && n.prev.owner(k) == n.me()
}

// writes reports whether this node may write k: until the view has settled, only if the same nodes
// have k in their custody as before.
func (n *node) writes(k int) bool {
	if !n.acts(k) {
		return false
	}
	if n.settled || n.w.without("settle") || n.w.without("samesets") {
		return true
	}
	if n.w.without("samesetsformer") {
		return slices.Equal(n.v.place(k), n.prev.place(k))
	}
	return n.v.sameSet(n.prev, k)
}

// quiet reports whether what a dead owner of k has lent has run out.
func (n *node) quiet(k int) bool {
	if n.w.without("quiet") {
		return true
	}
	for _, q := range n.quietFor {
		if n.now() < q.until && q.v.owner(k) != n.me() {
			return false
		}
	}
	return true
}

// valid reports whether an entry has been in this node's custody without a gap.
func (n *node) valid(k int, e *entry) bool {
	if e == nil || !n.inView() || e.e < n.lost && !n.w.without("skip") {
		return false
	}
	for x := e.e; x <= n.v.e; x++ {
		v := n.views[x]
		if v == nil {
			if n.w.without("skip") {
				continue
			}
			return false
		}
		if !v.custodian(k, n.me()) && !n.w.without("custody") {
			return false
		}
	}
	return true
}

// shows reports whether an entry may be shown to who peeks.
func (n *node) shows(k int, e *entry) bool {
	if n.w.without("peekcustody") {
		return e != nil && n.inView()
	}
	return n.valid(k, e)
}

// stamp is later than all that this node has given or seen, whatever the clocks say.
func (n *node) stamp() int64 {
	n.clock = max(n.clock+1, n.w.now+int64(n.wall)*1000*ms)
	return n.clock<<8 | int64(n.inst&255)
}

func (n *node) saw(stamp int64) {
	if !n.w.without("clocks") {
		n.clock = max(n.clock, stamp>>8)
	}
}

// isLate reports whether k has been dropped since what was sent with that stamp was looked up.
func (n *node) isLate(k int, stamp int64) bool { return stamp <= max(n.dropped[k], n.floor) }

// loose sends what was looked up before, by somebody whom nothing keeps in step with the others.
func (n *node) loose(to int, m msg) {
	d := n.w.r.Int64N(2 * ms)
	switch n.w.r.IntN(20) {
	case 0:
		d = n.w.r.Int64N(600 * ms)
	case 1, 2, 3, 4:
		d = n.w.r.Int64N(60 * ms)
	}
	n.after(d, func() { n.send(to, m) })
}

// local is what the node may serve on its own.
func (n *node) local(k int) (v int, how string) {
	if e := n.main[k]; n.valid(k, e) && (n.leased() || n.w.without("hitlease")) {
		switch {
		case n.v.owner(k) == n.me():
			return e.v, "hit"
		case n.v.custodian(k, n.me()):
			return e.v, "replica"
		}
		return 0, "" // without custody
	}
	c := n.l1[k]
	if c == nil || c.link != n.link[c.from] || n.now() >= n.linkTo[c.from] || c.e != n.epoch() {
		return 0, ""
	}
	if n.leased() || !n.inView() || n.w.without("l1own") {
		return c.v, "copy"
	}
	return 0, ""
}

// drop forgets k, and has what is being loaded not stored.
func (n *node) drop(k int) {
	delete(n.main, k)
	delete(n.l1, k)
	if f := n.flights[k]; f != nil {
		f.linked = false
		delete(n.flights, k)
	}
	n.recall[k] = n.now()
}

// reopen closes the cache and opens another one of the same name. What the first has lent is taken
// back; writes of the second wait for that.
func (n *node) reopen() {
	if n.dead || n.paused {
		return
	}
	n.w.logf("node %d opens its cache anew", n.name)
	n.cache++
	for _, k := range sorted(n.turn) {
		for _, x := range slices.Clone(n.turn[k]) {
			x.fail()
		}
	}
	for k := range keys {
		n.drop(k)
	}
	clear(n.pursue)
	clear(n.dropped)
	if !n.w.without("reopen") { // the new one has forgotten what was dropped
		n.floor = n.stamp()
	}
	if n.w.without("reopenlabel") {
		n.label, n.cleared = 0, map[int]bool{}
	}
	if n.w.without("closeforgets") {
		clear(n.loans)
	}
	for _, k := range sorted(n.loans) {
		for _, link := range sorted(n.loans[k]) {
			n.takeBack(k, link, func() {})
		}
	}
}

// serve answers a call.
func (n *node) serve(from int, m msg, reply func(msg)) {
	switch m := m.(type) {
	case writeMsg:
		n.serveWrite(from, m, reply)
	case recallMsg:
		n.w.logf("  node %d recalled %d by %d", n.name, m.k, from)
		n.drop(m.k)
		reply(okMsg{})
	case dropMsg:
		if !n.inView() || n.v.e != m.e && !n.w.without("dropepoch") {
			reply(failMsg{})
			return
		}
		n.w.logf("  node %d drops %d for %d", n.name, m.k, from)
		n.drop(m.k)
		n.dropped[m.k] = max(n.dropped[m.k], m.stamp)
		n.saw(m.stamp)
		reply(okMsg{n.stamp()})
	case wipeMsg:
		if !n.inView() || n.v.e != m.e {
			reply(failMsg{})
			return
		}
		n.wipe(m.stamp)
		reply(okMsg{n.stamp()})
	case clearMsg:
		n.carryOutClear(m, func(ok bool) {
			if ok {
				reply(okMsg{n.stamp()})
			} else {
				reply(failMsg{})
			}
		})
	case peekMsg:
		e := n.main[m.k]
		valid := n.shows(m.k, e) && m.lineage == n.v.lineage
		if valid && (n.leased() || n.w.without("hitlease")) {
			n.w.n["peek hits"]++
			if m.keep && !n.w.without("clearwipenopeek") {
				n.sentTo[member{from, n.peerInst[from]}] = true
			}
			answer := valMsg{v: e.v, e: n.v.e, stamp: e.stamp, label: n.label}
			n.after(n.w.r.Int64N(6*ms), func() { reply(answer) })
			return
		}
		reply(missMsg{})
	case getMsg:
		n.serveGet(from, m, reply)
	}
}

func (n *node) serveWrite(from int, m writeMsg, reply func(msg)) {
	if !n.owns(m.k) || m.lineage != n.v.lineage {
		reply(failMsg{})
		return
	}
	id := n.link[from]
	live := func() bool { return !m.put || n.link[from] == id && n.now() < n.linkTo[from] }
	n.write(m.k, m.n, m.put, live, func(ok bool) {
		if ok {
			reply(okMsg{})
		} else {
			reply(failMsg{})
		}
	})
}

func (n *node) serveGet(from int, m getMsg, reply func(msg)) {
	if !n.owns(m.k) || m.lineage != n.v.lineage {
		reply(failMsg{})
		return
	}
	e := n.main[m.k]
	if !n.valid(m.k, e) || !n.leased() {
		n.load(m.k, func(v int) { reply(valMsg{v: v}) })
		return
	}
	lend := m.borrow && len(n.turn[m.k]) == 0 && n.acts(m.k)
	if lend {
		if n.loans[m.k] == nil {
			n.loans[m.k] = map[int]int{}
		}
		n.w.loanID++
		n.loans[m.k][n.link[from]] = n.w.loanID
	}
	reply(valMsg{v: e.v, loan: lend, e: n.v.e})
}

// load loads at the owner. What is loaded is stored if the node acts at both ends.
func (n *node) load(k int, done func(int)) {
	f := &flight{linked: true, e: n.epoch(), keep: n.acts(k)}
	if n.flights[k] != nil {
		n.flights[k].linked = false
	}
	n.flights[k] = f
	finish := func(v int, stamp int64) {
		if f.linked && f.keep && n.acts(k) && n.v.e == f.e {
			if stamp == 0 {
				stamp = n.stamp()
			}
			n.main[k] = &entry{v: v, e: n.v.e, stamp: stamp}
			n.w.logf("  node %d stores loaded %d=%d turn %d", n.name, k, v, len(n.turn[k]))
			n.replicate(k)
		}
		if n.flights[k] == f {
			delete(n.flights, k)
		}
		done(v)
	}
	origin := func() {
		v := n.w.db[k]
		n.w.n["loads"]++
		n.after(n.w.r.Int64N(40*ms), func() { finish(v, 0) })
	}
	if !n.owns(k) || len(n.v.set(k)) == 1 {
		origin()
		return
	}
	others := n.v.set(k)[1:]
	n.call(others[n.w.r.IntN(len(others))].name, peekMsg{k, n.v.lineage, true}, 30*ms, func(m msg) {
		x, ok := m.(valMsg)
		switch {
		case !ok || !f.linked:
			origin()
		case n.isLate(k, x.stamp), x.e != n.epoch(), x.label != n.label && n.labels():
			n.w.n["peeks late"]++
			origin()
		default:
			n.saw(x.stamp)
			n.w.n["peeks kept"]++
			finish(x.v, x.stamp)
		}
	})
}

// replicate sends what the owner has to the replicas, unless a write waits.
func (n *node) replicate(k int) {
	if len(n.turn[k]) > 0 && !n.w.without("copywriting") {
		return
	}
	e := n.main[k]
	set := n.v.place(k)
	for _, m := range set[1:min(len(set), n.traits.replicas)] {
		n.sentTo[m] = true
		n.loose(m.name, copyMsg{k, e.v, n.v.e, e.stamp, n.stamp(), n.label, false})
	}
}

// onCopy stores what the owner of this node's own view sends; or, at the owner, what somebody has
// who is leaving.
func (n *node) onCopy(from int, m copyMsg) {
	n.w.logf("  node %d gets copy of %d=%d from %d e%d push %v", n.name, m.k, m.v, from, m.e, m.push)
	if !n.inView() || n.owns(m.k) != m.push {
		return
	}
	fits := n.v.e == m.e && n.fellow(from)
	if !m.push {
		fits = fits && n.v.owner(m.k).name == from && n.v.custodian(m.k, n.me()) || n.w.without("copyepoch")
	}
	late := n.isLate(m.k, m.sent)
	if m.push {
		late = late && !n.w.without("pushstamp")
		e := n.main[m.k]
		fits = fits && !(n.valid(m.k, e) && e.stamp >= m.stamp)
	} else {
		late = late && !n.w.without("copystamp")
	}
	if m.label != n.label && n.labels() {
		late = true
	}
	if !fits || late {
		n.w.n["copies refused"]++
		return
	}
	n.saw(m.sent)
	n.main[m.k] = &entry{v: m.v, e: n.v.e, stamp: m.stamp}
	n.w.n["copies"]++
	if m.push {
		n.w.n["pushes kept"]++
		n.replicate(m.k)
	}
}

func (x *writing) fail() {
	if !x.over {
		x.over = true
		x.done(false)
	}
}

// write has k changed when its turn comes.
func (n *node) write(k, v int, put bool, live func() bool, done func(bool)) {
	x := &writing{k: k, n: v, put: put, live: live, e: n.v.e}
	x.done = func(ok bool) {
		ws := slices.DeleteFunc(slices.Clone(n.turn[k]), func(y *writing) bool { return y == x })
		n.turn[k] = ws
		if len(ws) == 0 {
			delete(n.turn, k)
		} else if !ws[0].started {
			n.after(1, func() { n.begin(ws[0]) })
		}
		done(ok)
	}
	n.turn[k] = append(n.turn[k], x)
	if len(n.turn[k]) == 1 {
		n.begin(x)
	}
	n.after(6000*ms, x.fail)
}

// begin carries a write out: every borrower and custodian confirms, then it takes effect.
func (n *node) begin(x *writing) {
	if x.over || x.started {
		return
	}
	if n.v == nil || n.v.e != x.e {
		x.fail()
		return
	}
	if !n.writes(x.k) || !n.quiet(x.k) {
		n.after(20*ms, func() { n.begin(x) })
		return
	}
	x.started = true
	x.stamp = n.stamp()
	n.w.logf("  node %d begins %d=%d put %v e%d set %v",
		n.name, x.k, x.n, x.put, n.v.e, n.v.set(x.k))
	wait := 0
	commit := func() {
		if wait > 0 || x.over {
			return
		}
		if n.v.e != x.e || !n.writes(x.k) || !x.live() {
			x.fail()
			return
		}
		n.commit(x)
	}
	set := n.v.set(x.k)
	if n.w.without("formerdrop") {
		set = n.v.place(x.k)
	}
	for _, m := range set[1:] {
		if n.w.without("replicas") {
			n.call(m.name, dropMsg{x.k, n.v.e, x.stamp}, 200*ms, func(msg) {})
			continue
		}
		wait++
		n.confirm(x, m, func() {
			wait--
			commit()
		})
	}
	for _, link := range sorted(n.loans[x.k]) {
		wait++
		n.takeBack(x.k, link, func() {
			wait--
			commit()
		})
	}
	if n.w.without("forgetloans") {
		delete(n.loans, x.k)
	}
	commit()
}

// confirm asks a custodian to drop the key until it has said so, or the view changes.
func (n *node) confirm(x *writing, m member, done func()) {
	if x.over || n.v.e != x.e {
		return
	}
	n.call(m.name, dropMsg{x.k, n.v.e, x.stamp}, 200*ms, func(r msg) {
		if ok, is := r.(okMsg); is && n.peerInst[m.name] == m.inst {
			if !n.w.without("donestamp") {
				n.saw(ok.clock)
			}
			done()
			return
		}
		n.after(20*ms, func() { n.confirm(x, m, done) })
	})
}

// takeBack recalls a copy over the link over which it was lent. If that is gone, the copy ends with
// its lease, unless the borrower has died, or has a newer link and so has forgotten it.
func (n *node) takeBack(k, link int, done func()) {
	id := n.loans[k][link]
	over := func() {
		if !n.w.without("forgetloans") && n.loans[k][link] == id {
			delete(n.loans[k], link)
		}
		done()
	}
	b := n.w.other(link, n)
	if n.w.without("loanname") { // whoever has that name now
		link = n.link[b.name]
	}
	switch {
	case n.link[b.name] == link && link != 0:
		n.call(b.name, recallMsg{k}, 200*ms, func(r msg) {
			if _, ok := r.(okMsg); ok {
				over()
				return
			}
			if n.link[b.name] == link {
				n.down(b.name) // so that the lease is not renewed
			}
			n.after(max(0, n.givenL[link]-n.now()), over)
		})
	case n.ended[b.me()] || n.linked(b.me()):
		n.after(1, over)
	default:
		n.after(max(1, n.givenL[link]-n.now()), over)
	}
}

func (n *node) commit(x *writing) {
	w := n.w
	n.drop(x.k)
	stamp := n.stamp()
	n.dropped[x.k] = stamp
	w.logf("  node %d commits %d=%d put %v", n.name, x.k, x.n, x.put)
	if w.writes[[2]int{x.k, x.n}] == 0 {
		w.writes[[2]int{x.k, x.n}] = w.now
	}
	if x.put {
		n.main[x.k] = &entry{v: x.n, e: n.v.e, stamp: stamp}
		w.puts[[2]int{x.k, x.n}] = w.now
	}
	x.over = true
	x.done(true)
	if x.put {
		n.replicate(x.k)
	}
}
