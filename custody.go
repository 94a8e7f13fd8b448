package covey

// custody.go says who has a key in custody by a view: its owner, the members that have replicas, and
// while a view is young the key's former owner. A write is done when all of them have forgotten what
// was there before. So what a process has of a key is true as long as the key has been in its custody
// in every view since it was stored (see peer_tenure.go), and whoever has it may serve it.

import (
	"slices"

	agreed "github.com/coveycache/covey/internal/view"
)

// maxReplicas bounds Options.Replicas.
const maxReplicas = 8

// ringMembers returns the members of a view that own keys. One of weight 0 is leaving.
func ringMembers(of *agreed.View) []Member {
	members := make([]Member, 0, len(of.Members))
	for _, m := range of.Members {
		if m.Weight > 0 {
			members = append(members, Member{Name: m.Name, URL: m.URL, Weight: m.Weight, Zone: m.Zone})
		}
	}
	return members
}

// copiesOf returns how many members have a key of any cache in custody: as many as any member wants,
// so that all agree on it, whichever caches they have.
func copiesOf(of *agreed.View) int { return min(of.Replicas(), maxReplicas) }

// follow sets the view before v.
func (v *view) follow(of *agreed.View) {
	former := v.ring.with(ringMembers(of))
	if former.fingerprint == v.ring.fingerprint {
		return
	}
	v.former = former
	v.now = make([]int, len(former.members))
	for i, m := range former.members {
		v.now[i] = v.indexOf(m.Name)
	}
}

// indexOf returns the index in v.peers of the member of that name, -1 if there is none.
func (v *view) indexOf(name string) int {
	if i := v.ring.index(name); i >= 0 {
		return i
	}
	if i := slices.Index(v.leaving, name); i >= 0 {
		return len(v.ring.members) + i
	}
	return -1
}

// nameOf returns the name of the member with that index in v.peers.
func (v *view) nameOf(i int) string {
	if n := len(v.ring.members); i >= n {
		return v.leaving[i-n]
	}
	return v.ring.members[i].Name
}

// zoneOf returns the zone of the member with that index in v.peers; "" if it is leaving.
func (v *view) zoneOf(i int) string {
	if i < 0 || i >= len(v.ring.members) {
		return ""
	}
	return v.ring.members[i].Zone
}

// isShared reports whether others than its owner may have a key in custody.
func (v *view) isShared() bool { return v.copies > 1 || v.former != nil }

// custodians appends to found those who have the key at that place of the ring in custody, by their
// index in v.peers: first its owner, then n-1 others by the ring, then its former owner.
func (v *view) custodians(place uint64, n int, found []int) []int {
	found = v.ring.custodians(place, n, found)
	if i := v.formerOwner(place); i >= 0 && !slices.Contains(found, i) {
		found = append(found, i)
	}
	return found
}

// formerOwner returns who owned the key at that place before, -1 if that one is no member any more,
// or there is no former ring.
func (v *view) formerOwner(place uint64) int {
	if v.former == nil {
		return -1
	}
	if i := v.former.owner(place); i >= 0 {
		return v.now[i]
	}
	return -1
}

// keeps reports whether this process has the key at that place in custody.
func (v *view) keeps(place uint64) bool { return v.isCustodian(place, v.me) }

func (v *view) isCustodian(place uint64, i int) bool {
	switch {
	case i < 0:
		return false
	case v.ring.owner(place) == i:
		return true
	case !v.isShared():
		return false
	}
	var some [maxReplicas + 1]int
	return slices.Contains(v.custodians(place, v.copies, some[:0]), i)
}

// hasSame reports whether the key at that place is in the custody of the same members by another
// view.
func (v *view) hasSame(place uint64, other *view) bool {
	if !v.isShared() && !other.isShared() {
		return true // there is the owner only, whom mayAct looks at
	}
	var some, others [maxReplicas + 1]int
	a, b := v.custodians(place, v.copies, some[:0]), other.custodians(place, other.copies, others[:0])
	return slices.EqualFunc(a, b, func(i, j int) bool { return v.nameOf(i) == other.nameOf(j) })
}
