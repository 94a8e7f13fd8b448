package main

import (
	"slices"
	"sort"
)

// member is one life of a process: names come again, instances don't.
type member struct{ name, inst int }

// traits are what a member says about itself.
type traits struct {
	weight   int // 0: it is leaving, and owns nothing
	replicas int // how many members its cache wants to have a key
	zone     int
}

type view struct {
	e       int
	members []member // by seniority
	voting  int      // how many of the senior members vote; 0: all
	after   int      // the epoch before
	lineage int      // views that follow on one founding
	born    int      // its first epoch
	proof   bool     // somebody was removed because its death was proven
	reborn  bool     // it was agreed by counting the dead
	of      map[member]traits
	former  *view // the view before; nil: it was founded

	sets [keys][]member // who has a key in custody, once asked
}

func (v *view) has(m member) bool { return slices.Contains(v.members, m) }

func (v *view) byName(n int) (member, bool) {
	for _, x := range v.members {
		if x.name == n {
			return x, true
		}
	}
	return member{}, false
}

// score is the weight of a name for a key: highest random weight stands for the ring.
func score(k, name int) uint64 {
	x := uint64(k+1)*0x9E3779B97F4A7C15 ^ uint64(name+7)*0xBF58476D1CE4E5B9
	x ^= x >> 29
	x *= 0x94D049BB133111EB
	return x ^ x>>32
}

// replicas is how many members have a key: as many as any of them wants.
func (v *view) replicas() int {
	most := 1
	for _, m := range v.members {
		most = max(most, v.of[m].replicas)
	}
	return most
}

// warm reports whether somebody owns something that another member owned in the view before.
func (v *view) warm() bool {
	if v.former == nil {
		return false
	}
	for _, m := range v.members {
		if !v.former.has(m) || v.former.of[m] != v.of[m] {
			return true
		}
	}
	return false
}

// nobody owns the keys of a view in which all are leaving.
var nobody = member{-1, -1}

// place returns who owns k, and the members that are to have it: the owner, then those of other
// zones, then the others.
func (v *view) place(k int) []member {
	var s []member
	for _, m := range v.members {
		if v.of[m].weight > 0 {
			s = append(s, m)
		}
	}
	if len(s) == 0 {
		return []member{nobody}
	}
	sort.Slice(s, func(i, j int) bool { return score(k, s[i].name) > score(k, s[j].name) })
	var set, same []member
	zones := map[int]bool{}
	for _, m := range s {
		if zone := v.of[m].zone; zones[zone] {
			same = append(same, m)
		} else {
			zones[zone] = true
			set = append(set, m)
		}
	}
	set = append(set, same...)
	return set[:min(v.replicas(), len(set))]
}

// set returns the custodians of k: the owner, the replicas and, while the view is warm, who owned it
// in the view before.
func (v *view) set(k int) []member {
	if v.sets[k] != nil {
		return v.sets[k]
	}
	set := v.place(k)
	if v.warm() {
		if was := v.former.place(k)[0]; v.has(was) && !slices.Contains(set, was) {
			set = append(slices.Clone(set), was)
		}
	}
	v.sets[k] = set
	return set
}

// sameSet reports whether the same members have k in custody by both views, and the same one owns it.
func (v *view) sameSet(old *view, k int) bool {
	if v.owner(k) != old.owner(k) {
		return false
	}
	a, b := v.set(k), old.set(k)
	for _, m := range a {
		if !slices.Contains(b, m) {
			return false
		}
	}
	return len(a) == len(b)
}

func (v *view) owner(k int) member             { return v.set(k)[0] }
func (v *view) custodian(k int, m member) bool { return slices.Contains(v.set(k), m) }

// voters are the senior members, whose quorum decides.
func (v *view) voters() []member {
	if v.voting > 0 && len(v.members) > v.voting {
		return v.members[:v.voting]
	}
	return v.members
}

// quorum reports whether more than half of the voters are in a set, or half with the senior one.
func (v *view) quorum(have func(member) bool) bool {
	n := 0
	vs := v.voters()
	for _, m := range vs {
		if have(m) {
			n++
		}
	}
	return 2*n > len(vs) || 2*n == len(vs) && have(vs[0])
}
