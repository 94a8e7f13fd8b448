package main

// fault makes something go wrong, now and again.
func (w *world) fault() {
	if w.calm {
		return
	}
	w.at(200*ms+w.r.Int64N(3000*ms), w.fault)
	i := w.r.IntN(len(w.nodes))
	n := w.nodes[i]
	switch w.r.IntN(11) {
	case 0, 1:
		d := w.r.Int64N(8000 * ms)
		if w.r.IntN(2) == 0 {
			d = w.r.Int64N(2600 * ms)
		}
		n.pause(d)
	case 2, 3:
		w.partition()
	case 4: // one pair
		j := w.r.IntN(len(w.nodes))
		if i == j {
			return
		}
		w.cutFor([]way{{i, j}, {j, i}}, w.r.Int64N(5000*ms))
	case 7:
		if w.r.IntN(2) == 0 {
			w.replace(n)
		} else {
			n.reopen()
		}
	case 8, 9:
		n.leave()
	case 10:
		if n.traits.weight > 0 {
			n.traits.replicas, n.traits.zone = w.wants(), w.r.IntN(w.zones)
			w.logf("node %d becomes %v", i, n.traits)
		}
	case 5, 6:
		if n.dead || n.paused {
			return
		}
		w.logf("node %d crashes", i)
		n.crash()
		w.at(w.r.Int64N(6000*ms), func() {
			w.broken = w.now
			w.logf("node %d starts again", i)
			w.start(i)
		})
	}
}

func (w *world) partition() {
	N := len(w.nodes)
	side := w.r.IntN(1 << N)
	oneWay := w.r.IntN(4) == 0
	var cuts []way
	for a := range N {
		for b := range N {
			if side>>a&1 == 1 && side>>b&1 == 0 {
				cuts = append(cuts, way{a, b})
				if !oneWay {
					cuts = append(cuts, way{b, a})
				}
			}
		}
	}
	w.logf("partition %b one-way %v", side, oneWay)
	w.cutFor(cuts, w.r.Int64N(7000*ms))
}

func (w *world) cutFor(cuts []way, d int64) {
	for _, c := range cuts {
		w.cut[c] = true
	}
	w.at(d, func() {
		for _, c := range cuts {
			delete(w.cut, c)
		}
		w.broken = w.now
		w.logf("healed")
	})
}

func (n *node) crash() {
	n.dead = true
	for _, p := range sorted(n.link) {
		if id := n.link[p]; id != 0 {
			n.hangUp(n.w.other(id, n), id)
		}
	}
}

// replace starts another process under the name of one that runs on.
func (w *world) replace(old *node) {
	if old.dead || old.paused {
		return
	}
	old.lonely = w.r.IntN(2) == 0
	w.logf("node %d is replaced, lonely %v", old.name, old.lonely)
	w.start(old.name)
	w.at(w.r.Int64N(8000*ms), func() {
		w.broken = w.now
		if !old.dead {
			w.logf("node %d inst %d is gone", old.name, old.inst)
			old.crash()
		}
	})
}

// pause has the node stand still, as SIGSTOP does.
func (n *node) pause(d int64) {
	if n.paused || n.dead {
		return
	}
	w := n.w
	n.paused = true
	w.logf("node %d stands still for %dms", n.name, d/ms)
	w.at(d, func() {
		n.paused = false
		w.broken = w.now
		w.logf("node %d wakes", n.name)
		for range 3 { // its callers come first
			for k := range keys {
				n.read(k)
			}
		}
		for len(n.backlog) > 0 {
			f := n.backlog[0]
			n.backlog = n.backlog[1:]
			f()
			if w.r.IntN(2) == 0 {
				n.read(w.r.IntN(keys))
			}
		}
	})
}
