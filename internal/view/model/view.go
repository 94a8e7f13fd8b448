package main

import (
	"slices"
	"sort"
)

// copies is how many members have a key in custody: its owner and the replicas.
const copies = 2

// member is one life of a process: names come again, instances don't.
type member struct{ name, inst int }

type view struct {
	e       int
	members []member // by seniority
	voting  int      // how many of the senior members vote; 0: all
	after   int      // the epoch before
	lineage int      // views that follow on one founding
	born    int      // its first epoch
	proof   bool     // somebody was removed because its death was proven
	reborn  bool     // it was agreed by counting the dead

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

// set returns the owner and replicas of k.
func (v *view) set(k int) []member {
	if v.sets[k] != nil {
		return v.sets[k]
	}
	s := slices.Clone(v.members)
	sort.Slice(s, func(i, j int) bool { return score(k, s[i].name) > score(k, s[j].name) })
	v.sets[k] = s[:min(copies, len(s))]
	return v.sets[k]
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
