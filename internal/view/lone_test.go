package view

// lone_test.go drives one node by messages and a clock.

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A lone is a node whose neighbours are all the test's.
type lone struct {
	t         *testing.T
	n         *Node
	now       int64
	sent      []sent
	adoptions []Adoption
	released  []uint64
}

type sent struct {
	to ID
	m  *message
}

// newLone returns a node that goes by name and has reached itself.
func newLone(t *testing.T, name string) *lone {
	l := &lone{t: t, now: int64(time.Hour)}
	clock := func() int64 { return l.now }
	drawn := uint64(0)
	l.n = New(Config{
		Self: memberOf(name), Now: clock, Held: clock,
		Wall:   func() uint64 { return uint64(l.now / 1e6) },
		Random: func() uint64 { drawn += 2; return drawn },
		Send: func(to ID, b []byte) {
			m, err := parse(b)
			require.NoError(t, err)
			l.sent = append(l.sent, sent{to, m})
		},
		Adopt:   func(a Adoption) { l.adoptions = append(l.adoptions, a) },
		Settled: func(uint64) {},
		Release: func(epoch uint64) { l.released = append(l.released, epoch) },
		Note:    func(Event) {},
	})
	l.n.Reached(true)
	return l
}

// memberOf returns the member of that name: the instance is 1, or what follows the letter.
func memberOf(name string) Member {
	id := ID{name[:1], 1}
	if len(name) > 1 {
		id.Instance = uint64(name[1] - '0')
	}
	return Member{ID: id, URL: "http://" + id.Name, Weight: 1, Replicas: 1}
}

func viewOf(epoch uint64, names ...string) *View {
	v := &View{Lineage: 7, Founded: 1, Epoch: epoch}
	for _, name := range names {
		v.Members = append(v.Members, memberOf(name))
	}
	v.index()
	return v
}

// inView returns a node that is a member of a view that has settled, at epoch 10, and whose
// promises last.
func inView(t *testing.T, name string, members ...string) (*lone, *View) {
	l := newLone(t, name)
	v := viewOf(10, members...)
	for _, m := range v.Members {
		if m.ID != l.n.self.ID {
			l.n.LinkUp(m.ID)
		}
	}
	for _, m := range v.Members {
		if m.ID != l.n.self.ID {
			l.hear(m.Name, &message{kind: tell, lineage: 7, epoch: 10, settled: true, prev: viewOf(9, members...), view: v, live: uint64(len(members))})
			break
		}
	}
	require.Equal(t, v.Members, l.n.view.Members)
	l.promise()
	return l, v
}

// hear has the node hear from somebody.
func (l *lone) hear(from string, m *message) {
	l.t.Helper()
	require.NoError(l.t, l.n.Receive(memberOf(from).ID, m.append(nil)))
}

// promise has all promise the node, and be heard.
func (l *lone) promise() {
	for _, m := range l.n.view.Members {
		if m.ID != l.n.self.ID {
			l.hear(m.Name, &message{kind: grant, ok: true, lineage: 7, epoch: l.n.view.Epoch, at: l.now})
		}
	}
}

// told returns what the node has sent to somebody since it was last asked, of a kind.
func (l *lone) told(to string, k kind) (all []*message) {
	for _, s := range l.sent {
		if s.to.Name == to && s.m.kind == k {
			all = append(all, s.m)
		}
	}
	l.sent = nil
	return all
}

// one returns the only such message.
func (l *lone) one(to string, k kind) *message {
	l.t.Helper()
	all := l.told(to, k)
	require.Len(l.t, all, 1)
	return all[0]
}

// promises reports whether the node promises somebody something.
func (l *lone) promises(to string, epoch uint64) bool {
	l.t.Helper()
	l.sent = nil
	l.hear(to, &message{kind: ask, lineage: 7, epoch: epoch, settled: true, at: 5})
	return l.one(to, grant).ok
}

// pass lets time pass, with ticks.
func (l *lone) pass(d time.Duration) {
	for end := l.now + int64(d); l.now < end; {
		l.now += min(int64(10*time.Millisecond), end-l.now)
		l.n.Tick()
	}
}

// talk lets time pass, in which all go on promising and being heard, except some.
func (l *lone) talk(d time.Duration, except ...string) {
	for end := l.now + int64(d); l.now < end; {
		l.pass(100 * time.Millisecond)
		for _, m := range l.n.view.Members {
			if m.ID != l.n.self.ID && !slices.Contains(except, m.Name) {
				l.hear(m.Name, &message{kind: grant, ok: true, lineage: 7, epoch: l.n.view.Epoch, at: l.now})
			}
		}
	}
}

func (l *lone) acts() bool { return l.now < l.n.Until() }

// accept has somebody ask the node to accept the next view, and returns the answer.
func (l *lone) accept(from string, round uint64, next *View, m message) *message {
	l.t.Helper()
	m.kind, m.lineage, m.epoch, m.ballot, m.view = accept, 7, next.Epoch, round<<16, next
	l.sent = nil
	l.hear(from, &m)
	return l.one(from, accepted)
}

// unsettled returns a node that goes by a view that has not settled, as the first one to see to
// that.
func unsettled(t *testing.T) *lone {
	l, v := inView(t, "a", "a", "b", "c", "d", "e")
	l.hear("b", &message{kind: learn, lineage: 7, epoch: 11, prev: v, view: viewOf(11, "a", "b", "c", "d", "e", "f")})
	require.Equal(t, []uint64{11}, l.released)
	l.n.Released(11)
	l.talk(time.Second)
	require.NotEmpty(t, l.told("d", learn))
	require.False(t, l.n.settled)
	return l
}
