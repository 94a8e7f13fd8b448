package view

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// A kind says what a message is for.
type kind uint8

const (
	ask      kind = iota + 1 // for a promise; by who has no view, for the view
	grant                    // OK: the promise is given to the ask that was sent At
	tell                     // View, Prev and what goes with them
	prepare                  // for epoch Epoch, Ballot
	promise                  // to a prepare: what has been accepted, and Evidence; or not OK
	accept                   // View under Ballot, Evidence of deaths
	accepted                 // or not OK; try again after Left
	learn                    // View has been chosen; like tell, and asks for learnt
	learnt                   // what View takes away has been given back
	settled                  // the view of Epoch has settled
	join                     // Member wants to be part of the view
	bye                      // the sender has stopped acting and leaves; OK: nothing is left that it has lent
	seek                     // the sender would found a view, and knows of no other; At names the attempt
	seekOK                   // Member takes part in it
	seekNo                   // not now; OK: as the sender would found one itself
	replaced                 // a newer process, of instance At, goes by the receiver's name
)

// A message is what processes tell each other. Which fields count depends on its kind.
type message struct {
	kind    kind
	ok      bool // of grant, promise, accepted, seekOK and seekNo
	settled bool // the sender's view has
	counted bool // View was agreed upon by counting the dead
	forced  bool // View is that of an earlier round

	lineage  uint64 // of the sender's view
	epoch    uint64 // of the sender's view; of prepare, promise, accept, accepted: of the one to come
	live     uint64 // members of the sender's view that it has links to, itself included; 0: it may not act
	at       int64
	ballot   uint64        // of an ask without a view: the lineage that the sender has given up last
	accepted uint64        // the ballot of the accepted view; of an accepted that is not ok, the one that stands in the way
	left     time.Duration // until it is worth trying again; of tell and learn: until loans of the dead have run out
	prev     *View         // the one before View, unless the receiver goes by that one
	view     *View
	change   *change // View is sent as what differs from the one before it
	member   *Member
	evidence []evidence
}

// evidence is what a voter sees of a member.
type evidence struct {
	index uint32        // by seniority in the present view
	left  time.Duration // of the voter's promise to it
	dead  bool          // it is proven
}

// A change is what a view differs in from the one before it.
type change struct {
	view    View   // without its members
	base    uint64 // the epoch of the one before
	removed []uint32
	altered []altered
	added   []Member
}

type altered struct {
	index  uint32 // in the view before
	member Member
}

// Limits of what is taken from others.
const (
	maxName     = 255
	maxURL      = 2048
	maxZone     = 255
	maxWeight   = 1 << 20
	maxReplicas = 255
	maxMembers  = 1 << 14
	maxEpoch    = 1 << 62
	// MaxMessage is the size of the largest message, in bytes. Members that would make a view
	// longer are not taken in.
	MaxMessage = 240 << 10
)

const (
	flagOK = 1 << iota
	flagSettled
	flagCounted
	flagForced
	flagPrev
	flagView
	flagChange
	flagMember
)

const (
	flagAbrupt = 1 << iota
	flagReborn
	flagFirst
	viewFlags
)

// flags packs conditions, the first of which is the lowest bit.
func flags(conditions ...bool) (b byte) {
	for i, is := range conditions {
		if is {
			b |= 1 << i
		}
	}
	return b
}

func (m *message) append(b []byte) []byte {
	b = append(b, byte(m.kind), flags(m.ok, m.settled, m.counted, m.forced,
		m.prev != nil, m.view != nil && m.change == nil, m.change != nil, m.member != nil))
	for _, n := range [...]uint64{m.lineage, m.epoch, m.live, uint64(m.at), m.ballot, m.accepted, uint64(max(m.left, 0))} {
		b = binary.AppendUvarint(b, n)
	}
	b = binary.AppendUvarint(b, uint64(len(m.evidence)))
	for _, e := range m.evidence {
		b = binary.AppendUvarint(b, uint64(e.index))
		left := uint64(max(e.left, 0)) << 1
		if e.dead {
			left |= 1
		}
		b = binary.AppendUvarint(b, left)
	}
	if m.member != nil {
		b = appendMember(b, m.member)
	}
	if m.prev != nil {
		b = appendHead(b, m.prev)
		b = appendMembers(b, m.prev.Members)
	}
	switch {
	case m.change != nil:
		b = appendChange(b, m.change)
	case m.view != nil:
		b = appendHead(b, m.view)
		b = appendMembers(b, m.view.Members)
	}
	return b
}

func appendHead(b []byte, v *View) []byte {
	b = append(b, flags(v.Abrupt, v.Reborn, v.First))
	for _, n := range [...]uint64{v.Lineage, v.Founded, v.Epoch, v.Parent, v.Fork} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func appendChange(b []byte, c *change) []byte {
	b = appendHead(b, &c.view)
	b = binary.AppendUvarint(b, c.base)
	b = binary.AppendUvarint(b, uint64(len(c.removed)))
	for _, i := range c.removed {
		b = binary.AppendUvarint(b, uint64(i))
	}
	b = binary.AppendUvarint(b, uint64(len(c.altered)))
	for i := range c.altered {
		b = binary.AppendUvarint(b, uint64(c.altered[i].index))
		b = appendMember(b, &c.altered[i].member)
	}
	return appendMembers(b, c.added)
}

func appendMembers(b []byte, members []Member) []byte {
	b = binary.AppendUvarint(b, uint64(len(members)))
	for i := range members {
		b = appendMember(b, &members[i])
	}
	return b
}

func appendMember(b []byte, m *Member) []byte {
	b = appendString(b, m.Name)
	b = binary.AppendUvarint(b, m.Instance)
	b = appendString(b, m.URL)
	b = binary.AppendUvarint(b, uint64(max(m.Weight, 0)))
	b = binary.AppendUvarint(b, uint64(max(m.Replicas, 0)))
	return appendString(b, m.Zone)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errMalformed = errors.New("view: malformed message")

// parse reads a message. What it returns shares no memory with b. There is one way only to write a
// message.
func parse(b []byte) (*message, error) {
	if len(b) < 2 || len(b) > MaxMessage {
		return nil, errMalformed
	}
	r := reader{s: string(b[2:])}
	flags := b[1]
	m := &message{
		kind: kind(b[0]), ok: flags&flagOK != 0,
		settled: flags&flagSettled != 0, counted: flags&flagCounted != 0, forced: flags&flagForced != 0,
	}
	m.lineage, m.epoch, m.live = r.uint(), r.uint(), r.uint()
	m.at = int64(r.uint())
	m.ballot, m.accepted = r.uint(), r.uint()
	m.left = r.duration()
	if n := r.count(2); n > 0 {
		m.evidence = make([]evidence, n)
		for i := range m.evidence {
			e := &m.evidence[i]
			e.index = r.index()
			left := r.uint()
			e.dead, e.left = left&1 != 0, time.Duration(left>>1)
			r.bad = r.bad || e.left > time.Hour
		}
	}
	if flags&flagMember != 0 {
		m.member = new(Member)
		r.member(m.member)
	}
	if flags&flagPrev != 0 {
		m.prev = r.view()
	}
	switch flags & (flagView | flagChange) {
	case flagView:
		m.view = r.view()
	case flagChange:
		m.change = r.change()
	case flagView | flagChange:
		r.bad = true
	}
	if r.bad || len(r.s) > 0 || m.epoch > maxEpoch || m.kind == 0 || m.kind > replaced {
		return nil, errMalformed
	}
	if m.prev != nil { // it is from that one that it differs
		if m.change != nil {
			m.view = m.change.apply(m.prev)
		}
		if m.view == nil || !m.view.follows(m.prev) {
			return nil, errMalformed
		}
	}
	hasView := m.view != nil || m.change != nil
	needs := m.kind == tell || m.kind == accept || m.kind == learn || m.kind == promise && m.accepted != 0
	if needs && !hasView || (m.kind == join || m.kind == seekOK) && m.member == nil {
		return nil, errMalformed
	}
	return m, nil
}

// diff returns in what v differs from base, the view before it. Whoever is in both, in the same
// order, is not repeated.
func diff(base, v *View) *change {
	c := &change{view: *v, base: base.Epoch}
	c.view.Members, c.view.places = nil, nil
	rest := v.Members
	for i := range base.Members {
		switch old := &base.Members[i]; {
		case len(rest) == 0 || rest[0].ID != old.ID:
			c.removed = append(c.removed, uint32(i))
		case rest[0] != *old:
			c.altered = append(c.altered, altered{uint32(i), rest[0]})
			rest = rest[1:]
		default:
			rest = rest[1:]
		}
	}
	c.added = rest
	return c
}

// apply returns the view that differs from base by c, nil if there is none.
func (c *change) apply(base *View) *View {
	v := c.view
	if base == nil || base.Epoch != c.base || !v.follows(base) {
		return nil
	}
	v.Members = make([]Member, 0, max(0, len(base.Members)-len(c.removed))+len(c.added))
	removed, changed := c.removed, c.altered
	for i := range base.Members {
		switch at := uint32(i); {
		case len(removed) > 0 && removed[0] == at:
			removed = removed[1:]
		case len(changed) > 0 && changed[0].index == at:
			v.Members = append(v.Members, changed[0].member)
			changed = changed[1:]
		default:
			v.Members = append(v.Members, base.Members[i])
		}
	}
	v.Members = append(v.Members, c.added...)
	if len(removed) > 0 || len(changed) > 0 || !v.index() {
		return nil
	}
	return &v
}

// A reader takes values off the front of s. After a mistake bad is true.
type reader struct {
	s   string
	bad bool
}

// uint reads a number in as few bytes as it needs.
func (r *reader) uint() (n uint64) {
	for i := 0; i < len(r.s) && i < binary.MaxVarintLen64; i++ {
		b := r.s[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 || i > 0 && b == 0 {
				break
			}
			r.s = r.s[i+1:]
			return n
		}
	}
	r.bad, r.s = true, ""
	return 0
}

// count reads how many things follow, of at least so many bytes each.
func (r *reader) count(least int) int {
	n := r.uint()
	if n > uint64(len(r.s)/least) || n > maxMembers {
		r.bad = true
		return 0
	}
	return int(n)
}

// index reads the place of a member.
func (r *reader) index() uint32 {
	n := r.uint()
	r.bad = r.bad || n >= maxMembers
	return uint32(n)
}

// duration bounds what it reads, so that no sum overflows.
func (r *reader) duration() time.Duration {
	n := r.uint()
	r.bad = r.bad || n > uint64(time.Hour)
	return time.Duration(n)
}

func (r *reader) string(limit int) string {
	n := r.uint()
	if r.bad || n > uint64(limit) || n > uint64(len(r.s)) {
		r.bad = true
		return ""
	}
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *reader) member(m *Member) {
	m.Name = r.string(maxName)
	m.Instance = r.uint()
	m.URL = r.string(maxURL)
	weight := r.uint()
	m.Weight = int(min(weight, maxWeight))
	replicas := r.uint()
	m.Replicas = int(min(replicas, maxReplicas))
	m.Zone = r.string(maxZone)
	r.bad = r.bad || m.Name == "" || weight > maxWeight || replicas > maxReplicas
}

func (r *reader) members() []Member {
	members := make([]Member, r.count(7))
	for i := range members {
		r.member(&members[i])
	}
	return members
}

func (r *reader) head(v *View) {
	if len(r.s) == 0 {
		r.bad = true
		return
	}
	flags := r.s[0]
	r.s = r.s[1:]
	v.Abrupt, v.Reborn, v.First = flags&flagAbrupt != 0, flags&flagReborn != 0, flags&flagFirst != 0
	v.Lineage, v.Founded, v.Epoch, v.Parent, v.Fork = r.uint(), r.uint(), r.uint(), r.uint(), r.uint()
	r.bad = r.bad || flags >= viewFlags || v.Epoch > maxEpoch
}

func (r *reader) view() *View {
	v := new(View)
	r.head(v)
	v.Members = r.members()
	r.bad = r.bad || !v.index()
	return v
}

func (r *reader) change() *change {
	c := new(change)
	r.head(&c.view)
	c.base = r.uint()
	c.removed = make([]uint32, r.count(1))
	for i := range c.removed {
		c.removed[i] = r.index()
		r.bad = r.bad || i > 0 && c.removed[i] <= c.removed[i-1]
	}
	c.altered = make([]altered, r.count(8))
	for i := range c.altered {
		a := &c.altered[i]
		a.index = r.index()
		r.member(&a.member)
		_, removed := slices.BinarySearch(c.removed, a.index)
		r.bad = r.bad || removed || i > 0 && a.index <= c.altered[i-1].index
	}
	c.added = r.members()
	return c
}
