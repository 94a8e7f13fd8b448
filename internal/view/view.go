package view

// An ID tells one process from all others. A process that is started again under its name has a
// greater instance.
type ID struct {
	Name     string
	Instance uint64
}

// A Member is a process that is, or would be, part of a view. What it says about itself counts for
// all.
type Member struct {
	ID
	URL string
	// Weight is its share of what the members own. Who has none is leaving: a member like any other
	// that owns nothing, proposes only if nobody else does, and takes no part in foundings.
	Weight   int
	Replicas int // how many members are to have what its caches own, 1 to 255; 0 counts as 1
	Zone     string
}

// isLeaving reports whether m is a member that owns nothing.
func (m *Member) isLeaving() bool { return m.Weight == 0 }

// bounded returns m with numbers that all take alike.
func (m Member) bounded() Member {
	m.Weight = min(m.Weight, maxWeight)
	m.Replicas = min(max(m.Replicas, 1), maxReplicas)
	return m
}

// A View is who is in the group. It does not change.
type View struct {
	Lineage uint64   // drawn at the founding
	Founded uint64   // when that was, in milliseconds since 1970 by the founder's clock
	Epoch   uint64   // one more for each change
	Members []Member // the most senior first

	// Abrupt says that somebody has been left out without having given back what it had lent.
	Abrupt bool
	// First says that the view was founded. Its first member is the founder, who settles it.
	First bool
	// Reborn says that the quorum of the view before, which was of lineage Parent, was dead, and was
	// counted as such. It begins a lineage of its own: if those who were taken for dead run on, the
	// two meet like any others.
	Reborn bool
	Parent uint64
	Fork   uint64 // the last epoch of Parent that this lineage continues

	places map[string]int // by name; nil: there are so few members that it's not worth it
}

// index makes v ready to be searched. It returns false if v has no members, or two of one name.
func (v *View) index() bool {
	if len(v.Members) <= maxVoters {
		for i := range v.Members {
			if first, _ := v.byName(v.Members[i].Name); first != i {
				return false
			}
		}
		return len(v.Members) > 0
	}
	v.places = make(map[string]int, len(v.Members))
	for i := range v.Members {
		v.places[v.Members[i].Name] = i
	}
	return len(v.places) == len(v.Members)
}

// maxVoters is how many of the most senior members vote. Only tests change it.
var maxVoters = 7

// rebirth is how far the epoch jumps when the dead have been counted: nobody who was left behind
// reaches such an epoch one by one.
const rebirth = 1000

// Index returns the place of a member by seniority, -1 if it is not in the view.
func (v *View) Index(id ID) int {
	if i, ok := v.byName(id.Name); ok && v.Members[i].Instance == id.Instance {
		return i
	}
	return -1
}

// Has reports whether id is a member.
func (v *View) Has(id ID) bool { return v != nil && v.Index(id) >= 0 }

// byName returns the place of the member of that name.
func (v *View) byName(name string) (int, bool) {
	if v.places != nil {
		i, ok := v.places[name]
		return i, ok
	}
	for i := range v.Members {
		if v.Members[i].Name == name {
			return i, true
		}
	}
	return 0, false
}

// Voters returns the members that vote.
func (v *View) Voters() []Member { return v.Members[:min(len(v.Members), maxVoters)] }

// Replicas returns the greatest number of replicas among the members, at least 1.
func (v *View) Replicas() int {
	most := 1
	for i := range v.Members {
		most = max(most, v.Members[i].Replicas)
	}
	return most
}

// IsWarm reports whether somebody owns something by v, which comes after former, that another
// member owned before: as somebody has come, or a member's share has changed, or its place.
func (v *View) IsWarm(former *View) bool {
	if v.First || former == nil {
		return false
	}
	for i := range v.Members {
		m := &v.Members[i]
		at := former.Index(m.ID)
		if at < 0 {
			return true
		}
		old := &former.Members[at]
		if m.Weight != old.Weight || m.Replicas != old.Replicas || m.Zone != old.Zone {
			return true
		}
	}
	return false
}

// quorum reports whether those whom have is true of decide: more than half of the voters, or half
// of them with the most senior one.
func (v *View) quorum(have func(i int) bool) bool {
	n, voters := 0, len(v.Voters())
	for i := range voters {
		if have(i) {
			n++
		}
	}
	return 2*n > voters || 2*n == voters && have(0)
}

// follows reports whether v is the very next view after old.
func (v *View) follows(old *View) bool {
	switch {
	case old == nil || v.First:
		return false
	case v.Reborn && v.Parent == old.Lineage:
		return v.Fork == old.Epoch
	}
	return v.Lineage == old.Lineage && v.Epoch == old.Epoch+1
}

// succeeds reports whether v comes after old, perhaps with others between them: they are of one
// lineage, or of one that continues the other's.
func (v *View) succeeds(old *View) bool {
	return v.Lineage == old.Lineage && v.Epoch > old.Epoch || v.Parent == old.Lineage && v.Fork >= old.Epoch
}

// outlives reports whether, when two lineages meet, a with so many live members goes on and b with
// so many dissolves.
func outlives(a *View, liveA int, b *View, liveB int) bool {
	switch {
	case liveA != liveB:
		return liveA > liveB
	case a.Founded != b.Founded:
		return a.Founded < b.Founded
	}
	return a.Lineage < b.Lineage
}
