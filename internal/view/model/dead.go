package main

import "slices"

// agreed is quorum, or everybody who is not proven dead.
func (n *node) agreed(v *view, have func(member) bool) bool {
	if v.quorum(have) {
		return true
	}
	if n.w.without("alldead") {
		dead, with := 0, 0
		for _, m := range v.voters() {
			if n.provenDead(m) {
				dead++
			} else if have(m) {
				with++
			}
		}
		return 2*with > len(v.voters())-dead
	}
	if n.w.without("nodead") {
		return false
	}
	for _, m := range v.voters() {
		if !have(m) && !n.provenDead(m) {
			return false
		}
	}
	return true
}

// provenDead reports whether m has been known to be dead for longer than a lease.
func (n *node) provenDead(m member) bool {
	if m == n.me() {
		return false
	}
	t := n.deadAt[m]
	return t != 0 && (n.now() > t+outlast || n.w.without("deadlease"))
}

// died reports whether m is dead for certain. That its URL refuses connections or leads to a newer
// instance is not enough: the old one may run on.
func (n *node) died(m member) bool {
	away := n.refused[m.name] != 0 || n.peerInst[m.name] > m.inst
	return n.gone[m] || away && (n.ended[m] || n.w.without("ended"))
}

// note keeps since when members are known to be dead.
func (n *node) note() {
	all := slices.Clone(n.v.members)
	if n.prev != nil {
		all = append(all, n.prev.members...)
	}
	for _, m := range all {
		if m == n.me() {
			continue
		}
		gone := n.gone[m] || m.name == n.name && !n.w.without("ownname") || // of an earlier life of this one
			n.peerInst[m.name] > m.inst || n.link[m.name] == 0 && n.refused[m.name] != 0
		if !gone {
			delete(n.deadAt, m)
		} else if n.deadAt[m] == 0 {
			n.deadAt[m] = n.now()
		}
	}
}
