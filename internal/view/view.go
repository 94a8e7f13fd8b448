package view

import "slices"

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
	URL    string
	Weight int
	Zone   string
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

	places map[ID]int // of the members; nil: there are so few that it's not worth it
}

// indexed returns v, ready to be searched.
func (v *View) indexed() *View {
	if len(v.Members) > 16 {
		v.places = make(map[ID]int, len(v.Members))
		for i := range v.Members {
			v.places[v.Members[i].ID] = i
		}
	}
	return v
}

// maxVoters is how many of the most senior members vote.
const maxVoters = 7

// rebirth is how far the epoch jumps when the dead have been counted: nobody who was left behind
// reaches such an epoch one by one.
const rebirth = 1000

// Index returns the place of a member by seniority, -1 if it is not in the view.
func (v *View) Index(id ID) int {
	if v.places != nil {
		if i, ok := v.places[id]; ok {
			return i
		}
		return -1
	}
	return slices.IndexFunc(v.Members, func(m Member) bool { return m.ID == id })
}

// Has reports whether id is a member.
func (v *View) Has(id ID) bool { return v != nil && v.Index(id) >= 0 }

// byName returns the member of that name.
func (v *View) byName(name string) (int, bool) {
	i := slices.IndexFunc(v.Members, func(m Member) bool { return m.Name == name })
	return i, i >= 0
}

// Voters returns the members that vote.
func (v *View) Voters() []Member { return v.Members[:min(len(v.Members), maxVoters)] }

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
	case old == nil:
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
