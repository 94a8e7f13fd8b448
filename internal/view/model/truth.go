package main

import (
	"fmt"
	"slices"
)

// list is whom a process knows of when it starts.
func (w *world) list(name int) []int {
	if w.lists != nil && name < len(w.lists) {
		return append([]int{name}, w.lists[name]...)
	}
	var all []int
	for i := range len(w.nodes) - w.clients {
		all = append(all, i)
	}
	return all
}

// opens is how long it takes until a process that starts can be dialled.
func (w *world) opens() int64 { return w.r.Int64N(300 * ms) }

// floor is what a read that begins now has to return at least, in a lineage; 0: in all.
func (w *world) floor(lineage, k int) int {
	f := 0
	for l, of := range w.floors {
		if l == lineage || lineage == 0 {
			f = max(f, of[k])
		}
	}
	return f
}

func (w *world) acknowledged(lineage, k, v int) {
	if w.floors[lineage] == nil {
		w.floors[lineage] = new([keys]int)
	}
	w.floors[lineage][k] = max(w.floors[lineage][k], v)
}

// agreed sees that no two views are agreed for one epoch.
func (w *world) agreed(v *view) {
	w.n["views"]++
	id := [2]int{v.lineage, v.e}
	if old := w.chosen[id]; old != nil && !slices.Equal(old.members, v.members) {
		w.wrong("views %v and %v are both number %d", old.members, v.members, v.e)
	}
	w.chosen[id] = v
}

// founded sees that nobody has a place whom the founder could have heard of: who lives, can be
// dialled, and lists it or is listed by it, and so on. What was acknowledged in lineages that have
// died out holds in the new one.
func (w *world) founded(founder *node, v *view) {
	w.chosen[[2]int{v.lineage, v.e}] = v
	lives := map[int]bool{}
	for _, n := range w.nodes {
		if !n.dead && n.inView() {
			lives[n.v.lineage] = true
		}
	}
	w.acknowledged(v.lineage, 0, 0)
	for l := range w.floors {
		for k := range keys {
			if !lives[l] {
				w.acknowledged(v.lineage, k, w.floors[l][k])
			}
		}
	}
	if !w.quiet && w.lists != nil {
		return // nobody promises that
	}
	reached := map[int]bool{founder.name: true}
	for todo := []int{founder.name}; len(todo) > 0; todo = todo[1:] {
		for _, n := range w.nodes[:len(w.nodes)-w.clients] {
			up := !n.dead && n.open && n.now()-n.opened > 300*ms
			lists := slices.Contains(w.list(n.name), todo[0]) ||
				slices.Contains(w.list(todo[0]), n.name)
			if reached[n.name] || !up || !lists {
				continue
			}
			reached[n.name] = true
			todo = append(todo, n.name)
			if n.inView() {
				w.wrong("%d founds a view though %d has a place in %v",
					founder.name, n.name, n.v.members)
			}
		}
	}
}

func (w *world) wrong(f string, a ...any) {
	w.bad = append(w.bad, fmt.Sprintf("%.3f: ", float64(w.now)/1e6)+fmt.Sprintf(f, a...))
	w.logf("VIOLATION %s", w.bad[len(w.bad)-1])
}
