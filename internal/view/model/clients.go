package main

// client is the load on one process: reads and writes, until it dies.
func (n *node) client() {
	if n.dead {
		return
	}
	n.w.at(1*ms+n.w.r.Int64N(30*ms), n.client)
	if n.paused {
		return
	}
	k := n.w.r.IntN(keys)
	switch x := n.w.r.IntN(320); {
	case x == 0:
		n.clear()
	case x <= n.w.writing:
		n.change(k)
	default:
		n.read(k)
	}
}

// check sees that a read returned no less than what was acknowledged when it began.
func (n *node) check(k, v, floor int, how string) {
	w := n.w
	w.n["reads"]++
	w.n["reads "+how]++
	if v >= floor {
		return
	}
	if w.puts[[2]int{k, v}] > w.writes[[2]int{k, floor}] {
		w.n["late puts"]++ // which was not confirmed, and took effect after the other
		return
	}
	w.wrong("node %d reads %d of key %d by %s, acknowledged was %d", n.name, v, k, how, floor)
}

// read is one call of a user.
func (n *node) read(k int) {
	lineage := n.lineage()
	f := n.w.floor(lineage, k)
	check := func(v int, how string) {
		if n.lineage() == lineage {
			n.check(k, v, f, how)
		}
	}
	if v, how := n.local(k); how != "" {
		check(v, how)
		return
	}
	own := func() { // load for itself, store nothing
		v := n.w.db[k]
		n.w.n["loads elsewhere"]++
		n.after(n.w.r.Int64N(20*ms), func() { check(v, "load") })
	}
	if n.v == nil {
		own()
		return
	}
	owner := n.v.owner(k)
	if owner == n.me() {
		n.load(k, func(v int) { check(v, "own load") })
		return
	}
	done := false
	e := n.v.e
	cache := n.cache
	link := n.link[owner.name]
	sent := n.now()
	n.call(owner.name, getMsg{k, n.w.r.IntN(3) == 0, lineage}, 1500*ms, func(m msg) {
		if done || m == nil {
			return
		}
		done = true
		x, ok := m.(valMsg)
		if !ok {
			own()
			return
		}
		check(x.v, "peer")
		same := n.cache == cache && n.v.e == e && x.e == e && n.link[owner.name] == link
		if x.loan && same && n.recall[k] < sent {
			n.l1[k] = &loan{x.v, link, e, owner.name}
			n.w.n["loans"]++
			n.w.logf("  node %d borrows %d=%d from %d", n.name, k, x.v, owner.name)
		}
	})
	set := n.v.set(k)
	n.after(50*ms, func() {
		if done {
			return
		}
		done = true
		at := set[n.w.r.IntN(len(set))]
		if at == owner || at == n.me() {
			own()
			return
		}
		n.call(at.name, peekMsg{k, lineage, false}, 50*ms, func(m msg) {
			if x, ok := m.(valMsg); ok {
				check(x.v, "hedge")
				return
			}
			own()
		})
	})
}

func (n *node) lineage() int {
	if n.v == nil {
		return 0
	}
	return n.v.lineage
}

// change writes the next value of k to the origin, then to the cache.
func (n *node) change(k int) {
	w := n.w
	if w.busy[k] || n.v == nil {
		return
	}
	w.busy[k] = true
	w.db[k]++
	v := w.db[k]
	put := w.r.IntN(3) == 0
	if _, waits := n.pursue[k]; waits {
		put = false
	}
	over := false
	lineage := 0
	cache := n.cache
	end := func(ok bool) {
		if over {
			return
		}
		over = true
		w.busy[k] = false
		if ok {
			w.acknowledged(lineage, k, v)
			w.n["writes"]++
			w.logf("node %d wrote %d=%d", n.name, k, v)
			return
		}
		w.n["unconfirmed"]++
		if n.cache == cache {
			n.pursue[k] = v
		}
		delete(n.main, k)
		delete(n.l1, k)
		w.logf("node %d did not confirm %d=%d", n.name, k, v)
	}
	var attempt func()
	result := func(ok bool) {
		switch {
		case ok:
			end(true)
		case put:
			end(false) // it may have been carried out
		default:
			n.after(50*ms, attempt)
		}
	}
	attempt = func() {
		if over {
			return
		}
		if n.dead || n.cache != cache {
			end(false)
			return
		}
		owner := n.v.owner(k)
		lineage = n.lineage()
		switch {
		case owner == n.me():
			n.write(k, v, put, func() bool { return true }, result)
		case n.link[owner.name] == 0:
			n.after(30*ms, attempt)
		default:
			n.call(owner.name, writeMsg{k, v, put, lineage}, 3000*ms, func(m msg) {
				_, ok := m.(okMsg)
				if ok {
					n.drop(k)
				}
				result(ok)
			})
		}
	}
	attempt()
	w.at(4000*ms, func() {
		if over {
			return
		}
		if n.dead {
			w.busy[k] = false
			over = true
			return
		}
		n.run(func() { end(false) })
	})
}

// pursuit asks again for what could not be confirmed.
func (n *node) pursuit() {
	n.after(300*ms, n.pursuit)
	if n.v == nil {
		return
	}
	for _, k := range sorted(n.pursue) {
		v, ok := n.pursue[k]
		if !ok {
			continue
		}
		lineage := n.lineage()
		result := func(ok bool) {
			if ok && n.pursue[k] == v {
				delete(n.pursue, k)
				n.w.acknowledged(lineage, k, v)
				n.w.n["pursued"]++
			}
		}
		if owner := n.v.owner(k); owner == n.me() {
			n.write(k, v, false, func() bool { return true }, result)
		} else {
			n.call(owner.name, writeMsg{k, v, false, lineage}, 2000*ms, func(m msg) {
				_, ok := m.(okMsg)
				result(ok)
			})
		}
	}
}
