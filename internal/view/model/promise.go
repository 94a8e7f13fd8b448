package main

// onAsk answers who asks for a promise and for the lease of the link.
func (n *node) onAsk(from int, m askMsg) {
	n.peerInst[from] = m.ins
	n.asks[from] = m
	n.highest = max(n.highest, m.e)
	if !m.client {
		n.knows[from] = true
		n.learnOf(m.knows)
	}
	if m.in && n.inView() && m.standing.lineage != n.v.lineage {
		n.meet(m.standing)
		if n.dead {
			return
		}
	}
	who := member{from, m.ins}
	vote := n.inView() && n.v.has(who) && (m.e >= n.v.e || n.w.without("behind"))
	if n.accV != nil && !n.accV.has(who) && !n.w.without("blocked") {
		vote = false
	}
	if n.blocked != nil && !n.blocked.has(who) || n.gone[who] {
		vote = false
	}
	if vote {
		n.given[from] = n.now() + outlast
	}
	term := lease
	if !n.w.without("lender") {
		term = 0
		if n.inView() && (m.e >= n.v.e || n.w.without("termbehind")) {
			term = min(lease, max(0, n.leasedUntil()-n.now()))
		}
	}
	n.givenL[n.link[from]] = n.now() + outlast
	n.send(from, grantMsg{m.at, term, vote})
	tells := n.inView() || n.v != nil && m.in && !n.w.without("tell") // of a view that left it out
	if tells && (m.e < n.v.e || !m.in && m.e != n.v.e) {
		n.send(from, viewMsg{n.v, n.prev, n.settled, n.counted})
	}
}

func (n *node) onGrant(from int, m grantMsg) {
	if m.vote {
		n.promise[from] = max(n.promise[from], m.at+lease)
		n.kept[member{from, n.peerInst[from]}] = n.promise[from]
	}
	n.linkTo[from] = max(n.linkTo[from], m.at+m.term)
}

func (n *node) ask(peer int) {
	n.send(peer, askMsg{
		at: n.now(), e: n.epoch(), in: n.inView(), ins: n.inst,
		standing: n.standing(), client: n.guest, knows: n.known(),
	})
}

// leasedUntil is the latest time until which a quorum has promised.
func (n *node) leasedUntil() int64 {
	if !n.inView() || n.retired {
		return 0
	}
	self := n.selfTo
	if n.w.without("selfvote") {
		self = 1 << 60
	}
	ts := []int64{self}
	for _, m := range n.v.voters() {
		if m != n.me() && n.linked(m) {
			ts = append(ts, n.promise[m.name])
		}
	}
	best := int64(0)
	for _, t := range ts {
		promised := func(m member) bool {
			if m == n.me() {
				return self >= t
			}
			return n.linked(m) && n.promise[m.name] >= t
		}
		if t > best && n.v.quorum(promised) {
			best = t
		}
	}
	return best
}

// leased reports whether the node may act.
func (n *node) leased() bool { return n.now() < n.leasedUntil() }
