package main

import "slices"

// clear.go clears the cache at all members.

// labels reports whether what is sent says which Clears its sender has carried out: whoever has not
// carried out the same ones does not take it. Without that rule what a member has from before a Clear
// may come to one that has carried it out already.
func (n *node) labels() bool {
	return !n.w.without("clearwipe") && !n.w.without("clearwipenopeek") && !n.w.without("cleardrop")
}

// carryOutClear has this node forget all that it has, and take back what it has lent.
func (n *node) carryOutClear(m clearMsg, done func(ok bool)) {
	if n.v == nil || n.v.e != m.e {
		done(false)
		return
	}
	w := n.w
	w.logf("  node %d clears, %d", n.name, m.id)
	if !n.cleared[m.id] {
		n.cleared[m.id] = true
		n.label += m.id * 0x1E3779B9
	}
	calls := 1
	fin := func() {
		if calls--; calls == 0 {
			done(n.v != nil && n.v.e == m.e)
		}
	}
	for k := range keys {
		if n.owns(k) {
			w.writes[[2]int{k, m.values[k]}] = w.now
		}
		n.drop(k)
	}
	for _, k := range sorted(n.loans) {
		for _, link := range sorted(n.loans[k]) {
			calls++
			n.takeBack(k, link, fin)
		}
	}
	if w.without("clearwipe") || w.without("clearwipenopeek") {
		stamp := n.stamp()
		for _, to := range n.v.members {
			if n.sentTo[to] && to != n.me() {
				calls++
				n.confirmWipe(to, wipeMsg{m.e, stamp}, fin)
			}
		}
	}
	fin()
}

// confirmWipe asks a member to drop what it has of this one until it has said so, or the view changes.
func (n *node) confirmWipe(to member, m wipeMsg, done func()) {
	if n.v == nil || n.v.e != m.e {
		done()
		return
	}
	n.call(to.name, m, 200*ms, func(r msg) {
		if _, ok := r.(okMsg); ok && n.peerInst[to.name] == to.inst {
			done()
			return
		}
		n.after(20*ms, func() { n.confirmWipe(to, m, done) })
	})
}

// wipe drops what is no newer than a stamp.
func (n *node) wipe(stamp int64) {
	n.floor = max(n.floor, stamp)
	n.saw(stamp)
	for _, k := range sorted(n.main) {
		if n.main[k].stamp <= stamp {
			delete(n.main, k)
		}
	}
}

// clear has all keys changed at the origin, and then the cache cleared.
func (n *node) clear() {
	w := n.w
	if n.v == nil || slices.Contains(w.busy[:], true) {
		return
	}
	w.clearID++
	id := w.clearID
	for k := range keys {
		w.busy[k] = true
		w.db[k]++
	}
	values := w.db
	w.logf("node %d clears, %d: %v", n.name, id, values)
	over := false
	end := func(ok bool, lineage int) {
		if over {
			return
		}
		over = true
		clear(w.busy[:])
		w.logf("node %d has cleared, %d: %v", n.name, id, ok)
		if !ok {
			w.n["unconfirmed clears"]++
			return
		}
		w.n["clears"]++
		for k := range keys {
			w.acknowledged(lineage, k, values[k])
		}
	}
	var attempt func()
	attempt = func() {
		if over {
			return
		}
		v := n.v
		if v == nil {
			n.after(30*ms, attempt)
			return
		}
		wait, failed := 1, false
		result := func(ok bool) {
			failed = failed || !ok
			if wait--; wait > 0 {
				return
			}
			if failed || n.v != v {
				n.after(50*ms, attempt)
				return
			}
			quiet := int64(1)
			for _, q := range n.quietFor {
				quiet = max(quiet, q.until-n.now())
			}
			n.after(quiet, func() { end(true, v.lineage) })
		}
		for _, m := range v.members {
			if m == n.me() {
				continue
			}
			wait++
			d := int64(1)
			if w.r.IntN(2) == 0 {
				d = w.r.Int64N(60 * ms)
			}
			n.after(d, func() {
				n.call(m.name, clearMsg{id, v.e, values}, 800*ms, func(r msg) {
					_, ok := r.(okMsg)
					result(ok && n.peerInst[m.name] == m.inst)
				})
			})
		}
		n.carryOutClear(clearMsg{id, v.e, values}, result)
	}
	attempt()
	w.at(4000*ms, func() {
		if n.dead {
			end(false, 0)
			return
		}
		n.run(func() { end(false, 0) })
	})
}
