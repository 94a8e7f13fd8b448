package main

// leave.go is how a process leaves in good order: it owns nothing first, sends what it has to those
// who own it now, and then says goodbye.

// wants is how many replicas a cache wants.
func (w *world) wants() int {
	if w.r.IntN(8) == 0 {
		return 1 + w.r.IntN(3)
	}
	return w.wanted
}

// zone is where a process runs.
func (w *world) zone(name int) int { return name % w.zones }

func (n *node) leave() {
	w := n.w
	if n.dead || n.paused || n.guest || n.traits.weight == 0 {
		return
	}
	w.logf("node %d is about to leave", n.name)
	w.n["leaves"]++
	n.traits.weight = 0
	began := w.now
	var wait func()
	wait = func() {
		switch {
		case !n.inView(), w.now-began > 4000*ms:
			n.goodbye()
		case n.v.of[n.me()].weight == 0 && n.settled:
			for range 1 + w.r.IntN(60) {
				n.after(w.r.Int64N(2000*ms), func() {
					for k := range keys {
						n.push(k)
					}
				})
			}
			n.after(w.r.Int64N(2500*ms), n.goodbye)
		default:
			n.after(20*ms, wait)
		}
	}
	wait()
}

// push sends what this node has of a key to who owns it.
func (n *node) push(k int) {
	e := n.main[k]
	if !n.valid(k, e) || !n.leased() || n.owns(k) || n.v.owner(k) == nobody {
		return
	}
	n.w.n["pushes"]++
	n.sentTo[n.v.owner(k)] = true
	n.loose(n.v.owner(k).name, copyMsg{k, e.v, n.v.e, e.stamp, n.stamp(), n.label, true})
}

// goodbye has this node act no more, and end when the others go on without it.
func (n *node) goodbye() {
	w := n.w
	if n.retired {
		return
	}
	w.logf("node %d says goodbye", n.name)
	n.retired = true
	until := w.now + 2000*ms
	var wait func()
	wait = func() {
		if n.inView() && w.now < until {
			for _, m := range n.v.members {
				if m != n.me() {
					n.send(m.name, byeMsg{n.me()})
				}
			}
			n.after(100*ms, wait)
			return
		}
		w.logf("node %d has left", n.name)
		n.crash()
		w.at(w.r.Int64N(5000*ms), func() {
			w.broken = w.now
			if w.nodes[n.name] == n {
				w.logf("node %d starts again", n.name)
				w.start(n.name)
			}
		})
	}
	wait()
}
