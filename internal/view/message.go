package view

import (
	"encoding/binary"
	"errors"
	"time"
)

// A kind says what a message is for.
type kind uint8

const (
	ask      kind = iota + 1 // for a promise; by who has no view, for the view
	grant                    // Vote: the promise is given to the ask that was sent At
	tell                     // View, Prev and what goes with them
	prepare                  // for epoch Epoch, Ballot
	promise                  // to a prepare: what has been accepted, and Evidence; or not OK
	accept                   // View under Ballot, Evidence of deaths
	accepted                 // or not OK; try again after Left
	learn                    // View has been chosen; like tell, and asks for learnt
	learnt                   // what View takes away has been given back
	settled                  // the view of Epoch has settled
	join                     // Member wants to be part of the view
	bye                      // the sender has stopped acting and leaves
	seek                     // the sender would found a view, and knows of no other; At names the attempt
	seekOK                   // Member takes part in it
	seekNo                   // not now
)

// A message is what processes tell each other. Which fields count depends on its kind.
type message struct {
	kind    kind
	vote    bool // of a grant
	ok      bool // of promise and accepted
	settled bool // the sender's view has
	counted bool // View was agreed upon by counting the dead
	forced  bool // View is that of an earlier round

	lineage  uint64 // of the sender's view
	epoch    uint64 // of the sender's view; of prepare, promise, accept, accepted: of the one to come
	live     uint64 // members of the sender's view that it has links to, itself included; 0: it may not act
	at       int64
	ballot   uint64
	accepted uint64        // the ballot of the accepted view; of an accepted that is not ok, the one that stands in the way
	left     time.Duration // until it is worth trying again; of tell and learn: until loans of the dead have run out
	view     *View
	prev     *View
	member   *Member
	evidence []evidence
}

// evidence is what a voter sees of a member.
type evidence struct {
	index uint32        // by seniority in the present view
	left  time.Duration // of the voter's promise to it
	dead  bool          // it is proven
}

// Limits of what is taken from others.
const (
	maxName    = 255
	maxURL     = 2048
	maxZone    = 255
	maxWeight  = 1 << 20
	maxMembers = 1 << 14
	// MaxMessage is the size of the largest message, in bytes. Members that would make a view
	// longer are not taken in.
	MaxMessage = 240 << 10
)

const (
	flagVote = 1 << iota
	flagOK
	flagSettled
	flagCounted
	flagForced
	flagView
	flagPrev
	flagMember
)

func (m *message) append(b []byte) []byte {
	flags := byte(0)
	for flag, is := range map[byte]bool{
		flagVote: m.vote, flagOK: m.ok, flagSettled: m.settled, flagCounted: m.counted, flagForced: m.forced,
		flagView: m.view != nil, flagPrev: m.prev != nil, flagMember: m.member != nil,
	} {
		if is {
			flags |= flag
		}
	}
	b = append(b, byte(m.kind), flags)
	for _, n := range []uint64{m.lineage, m.epoch, m.live, uint64(m.at), m.ballot, m.accepted, uint64(max(m.left, 0))} {
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
	if m.view != nil {
		b = appendView(b, m.view)
	}
	if m.prev != nil {
		b = appendView(b, m.prev)
	}
	return b
}

func appendView(b []byte, v *View) []byte {
	flags := byte(0)
	if v.Abrupt {
		flags |= 1
	}
	if v.Reborn {
		flags |= 2
	}
	if v.First {
		flags |= 4
	}
	b = append(b, flags)
	for _, n := range []uint64{v.Lineage, v.Founded, v.Epoch, v.Parent, v.Fork, uint64(len(v.Members))} {
		b = binary.AppendUvarint(b, n)
	}
	for i := range v.Members {
		b = appendMember(b, &v.Members[i])
	}
	return b
}

func appendMember(b []byte, m *Member) []byte {
	b = appendString(b, m.Name)
	b = binary.AppendUvarint(b, m.Instance)
	b = appendString(b, m.URL)
	b = binary.AppendUvarint(b, uint64(max(m.Weight, 0)))
	return appendString(b, m.Zone)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errMalformed = errors.New("view: malformed message")

// parse reads a message. What it returns shares no memory with b.
func parse(b []byte) (*message, error) {
	if len(b) < 2 || len(b) > MaxMessage {
		return nil, errMalformed
	}
	r := reader{b: b[2:]}
	flags := b[1]
	m := &message{
		kind: kind(b[0]), vote: flags&flagVote != 0, ok: flags&flagOK != 0,
		settled: flags&flagSettled != 0, counted: flags&flagCounted != 0, forced: flags&flagForced != 0,
	}
	m.lineage, m.epoch, m.live = r.uint(), r.uint(), r.uint()
	m.at = int64(r.uint())
	m.ballot, m.accepted = r.uint(), r.uint()
	m.left = r.duration()
	if n := r.count(2); n > 0 {
		m.evidence = make([]evidence, n)
		for i := range m.evidence {
			m.evidence[i].index = uint32(min(r.uint(), maxMembers))
			left := r.uint()
			m.evidence[i].dead = left&1 != 0
			m.evidence[i].left = time.Duration(min(left>>1, uint64(time.Hour)))
		}
	}
	if flags&flagMember != 0 {
		m.member = new(Member)
		r.member(m.member)
	}
	if flags&flagView != 0 {
		m.view = r.view()
	}
	if flags&flagPrev != 0 {
		m.prev = r.view()
	}
	if r.bad || len(r.b) > 0 || m.kind == 0 || m.kind > seekNo {
		return nil, errMalformed
	}
	needs := m.kind == tell || m.kind == accept || m.kind == learn
	if needs && m.view == nil || (m.kind == join || m.kind == seekOK) && m.member == nil || m.accepted != 0 && m.kind == promise && m.view == nil {
		return nil, errMalformed
	}
	return m, nil
}

// A reader takes values off the front of b. After a mistake all values are zero and bad is true.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.b)
	if r.bad || size <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count reads how many things follow, of at least so many bytes each.
func (r *reader) count(least int) int {
	n := r.uint()
	if n > uint64(len(r.b)/least) || n > maxMembers {
		r.bad = true
		return 0
	}
	return int(n)
}

// duration bounds what it reads, so that no sum overflows.
func (r *reader) duration() time.Duration {
	return time.Duration(min(r.uint(), uint64(time.Hour)))
}

func (r *reader) string(limit int) string {
	n := r.uint()
	if r.bad || n > uint64(limit) || n > uint64(len(r.b)) {
		r.bad = true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) member(m *Member) {
	m.Name = r.string(maxName)
	m.Instance = r.uint()
	m.URL = r.string(maxURL)
	weight := r.uint()
	m.Weight = int(min(weight, maxWeight))
	m.Zone = r.string(maxZone)
	r.bad = r.bad || m.Name == "" || weight > maxWeight
}

func (r *reader) view() *View {
	if len(r.b) == 0 {
		r.bad = true
		return nil
	}
	flags := r.b[0]
	r.b = r.b[1:]
	v := &View{Abrupt: flags&1 != 0, Reborn: flags&2 != 0, First: flags&4 != 0, Lineage: r.uint(), Founded: r.uint(), Epoch: r.uint(), Parent: r.uint(), Fork: r.uint()}
	v.Members = make([]Member, r.count(5))
	seen := make(map[string]bool, len(v.Members))
	for i := range v.Members {
		r.member(&v.Members[i])
		r.bad = r.bad || seen[v.Members[i].Name]
		seen[v.Members[i].Name] = true
	}
	r.bad = r.bad || len(v.Members) == 0 || v.Epoch > 1<<62
	return v.indexed()
}
