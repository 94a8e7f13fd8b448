package view

// former_test.go is about what one view is to the one before it: who knows that one, for how long
// the members warm up after it, and members that are leaving and own nothing.

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever goes by a view knows the one before it, even if it has never gone by that.
func TestFormer(t *testing.T) {
	parent := viewOf(11, "a", "b", "c", "d")
	reborn := viewOf(11+1+rebirth, "b", "c", "d")
	reborn.Lineage, reborn.Reborn, reborn.Parent, reborn.Fork = 8, true, 7, 11
	sibling := viewOf(10+1+rebirth, "a", "b")
	sibling.Lineage, sibling.Reborn, sibling.Parent, sibling.Fork = 8, true, 7, 10
	for _, c := range []struct {
		what         string
		before, next *View
		sent         bool // whether the one before goes with it
		adopted      bool
	}{
		{"the next view", viewOf(10, "a", "b", "c"), viewOf(11, "a", "b"), false, true},
		{"a later one", viewOf(11, "a", "b", "c", "d"), viewOf(12, "a", "b"), true, true},
		{"a later one alone", viewOf(11, "a", "b", "c", "d"), viewOf(12, "a", "b"), false, false},
		{"a reborn one", parent, reborn, true, true},
		{"a reborn one alone", parent, reborn, false, false},
		{"the reborn one that follows", viewOf(10, "a", "b", "c"), sibling, false, true},
	} {
		for _, k := range []kind{tell, learn} {
			for _, whole := range []bool{true, false} {
				what := fmt.Sprintf("%s, in message %d, whole: %v", c.what, k, whole)
				l, _ := inView(t, "a", "a", "b", "c")
				l.adoptions, l.sent = nil, nil
				m := &message{kind: k, lineage: c.next.Lineage, epoch: c.next.Epoch, view: c.next, live: 3}
				if c.sent {
					m.prev = c.before
				}
				if !whole {
					m.change = diff(c.before, c.next)
				}
				l.hear("b", m)
				if !c.adopted {
					require.Empty(t, l.adoptions, what)
					require.NotEmpty(t, l.told("b", ask), what)
					continue
				}
				require.Len(t, l.adoptions, 1, what)
				require.Equal(t, c.next, l.adoptions[0].View, what)
				require.Equal(t, c.before, l.adoptions[0].Former, what)
				l.sent = nil
				l.hear("c", &message{kind: ask, lineage: c.next.Lineage, epoch: 1, at: 5}) // who goes by an early view
				told := l.one("c", tell)
				require.Equal(t, c.before, told.prev, what)
				require.Equal(t, c.next, told.view, what)
			}
		}
	}
	l := newLone(t, "a")
	l.n.List(nil)
	l.pass(time.Second)
	require.True(t, l.n.view.First)
	require.Nil(t, l.adoptions[0].Former)
}

// A view that comes without the one before it is not asked for as fast as the network carries it.
func TestFormerIsAskedForNowAndThen(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c")
	l.sent = nil
	for range 20 {
		l.hear("b", &message{kind: tell, lineage: 7, epoch: 12, view: viewOf(12, "a", "b")})
	}
	require.Len(t, l.told("b", ask), 1)
}

// The view before fits into the message, however many members there are.
func TestFormerOfLongViews(t *testing.T) {
	l, v := inView(t, "a", "a", "b", "c")
	long := func(i int) Member {
		return Member{ID: ID{fmt.Sprintf("m%04d", i), 1}, URL: "http://" + strings.Repeat("x", 90), Weight: 1}
	}
	next := viewOf(11, "a", "b", "c")
	for i := 0; roomBeside(next.Members) > 1000; i++ {
		next.Members = append(next.Members, long(i))
	}
	next.index()
	l.hear("b", &message{kind: learn, lineage: 7, epoch: 11, prev: v, view: next})
	require.Equal(t, next, l.n.view)
	l.hear("b", &message{kind: settled, settled: true, lineage: 7, epoch: 11})
	for i := 5000; i < 5050; i++ {
		j := long(i)
		l.n.LinkUp(j.ID)
		l.n.joins[j.ID] = j
	}
	r := &round{epoch: 12, promises: make(map[ID]*message)}
	for _, m := range next.Voters() {
		all := &message{}
		for i := range next.Members { // less than half of them can go at a time
			if i >= 10 {
				all.evidence = append(all.evidence, evidence{index: uint32(i), dead: true})
			}
		}
		r.promises[m.ID] = all
	}
	after, _, _ := l.n.next(r)
	joined := 0
	for i := 5000; i < 5050; i++ {
		if after.Has(long(i).ID) {
			joined++
		}
	}
	require.Positive(t, joined)
	require.Less(t, joined, 50, "they are all that there is room for")
	require.Less(t, len(after.Members), 2*len(next.Members)/3)
	l.n.adopt(after, next, false, 0)
	b := l.n.about(tell, 0).append(nil)
	require.Less(t, len(b), MaxMessage)
	m, err := parse(b)
	require.NoError(t, err)
	require.Equal(t, next, m.prev)
	require.Equal(t, after, m.view)
}

// How many replicas there are is for the one to say who wants the most of them.
func TestReplicas(t *testing.T) {
	v := viewOf(10, "a", "b", "c")
	require.Equal(t, 1, v.Replicas())
	v.Members[1].Replicas = 3
	v.Members[2].Replicas = 2
	require.Equal(t, 3, v.Replicas())
	for i := range v.Members {
		v.Members[i].Replicas = 0
	}
	require.Equal(t, 1, v.Replicas())
}

// A view is warm in which somebody owns what another member owned before.
func TestIsWarm(t *testing.T) {
	with := func(change func(m *Member)) *View {
		v := viewOf(11, "a", "b", "c")
		change(&v.Members[1])
		return v
	}
	first := viewOf(11, "a", "b", "c", "d")
	first.First = true
	for _, c := range []struct {
		what string
		v    *View
		warm bool
	}{
		{"the same members", viewOf(11, "a", "b", "c"), false},
		{"somebody has come", viewOf(11, "a", "b", "c", "d"), true},
		{"somebody has come back", viewOf(11, "a", "c", "b2"), true},
		{"somebody is gone", viewOf(11, "a", "c"), false},
		{"somebody is gone, another one has come", viewOf(11, "a", "c", "d"), true},
		{"a weight", with(func(m *Member) { m.Weight = 2 }), true},
		{"somebody is leaving", with(func(m *Member) { m.Weight = 0 }), true},
		{"replicas", with(func(m *Member) { m.Replicas = 2 }), true},
		{"a zone", with(func(m *Member) { m.Zone = "z" }), true},
		{"a URL", with(func(m *Member) { m.URL += "/x" }), false},
		{"the first one", first, false},
	} {
		require.Equal(t, c.warm, c.v.IsWarm(viewOf(10, "a", "b", "c")), c.what)
	}
	require.False(t, first.IsWarm(nil))
}

// What a member says about itself comes into the next view.
func TestMemberChanges(t *testing.T) {
	for what, change := range map[string]func(m *Member){
		"weight":   func(m *Member) { m.Weight = 2 },
		"leaving":  func(m *Member) { m.Weight = 0 },
		"replicas": func(m *Member) { m.Replicas = 7 },
		"zone":     func(m *Member) { m.Zone = "z" },
	} {
		l, _ := inView(t, "b", "a", "b", "c")
		self := memberOf("b")
		change(&self)
		l.n.SetSelf(self)
		l.sent = nil
		l.talk(100 * time.Millisecond)
		require.Equal(t, &self, l.one("a", join).member, what)

		l, v := inView(t, "a", "a", "b", "c")
		l.hear("b", &message{kind: join, lineage: 7, epoch: 10, member: &self})
		l.talk(200 * time.Millisecond)
		ballot := l.n.round.ballot
		l.sent = nil
		l.hear("b", &message{kind: promise, ok: true, lineage: 7, epoch: 11, ballot: ballot})
		l.pass(50 * time.Millisecond)
		next := l.one("b", accept).change.apply(v)
		require.Equal(t, []Member{memberOf("a"), self, memberOf("c")}, next.Members, what)
	}
}

// What nobody else would take alike is the same for this process, too: or else it would ask for a
// change of the view for ever.
func TestMemberIsBounded(t *testing.T) {
	l, _ := inView(t, "b", "a", "b", "c")
	l.sent = nil
	for _, replicas := range []int{-1, 0, 1} {
		self := memberOf("b")
		self.Replicas = replicas
		l.n.SetSelf(self)
		l.talk(time.Second)
		require.Empty(t, l.told("a", join), replicas)
	}
	self := memberOf("b")
	self.Weight, self.Replicas = maxWeight+1, maxReplicas+1
	l.n.SetSelf(self)
	l.talk(time.Second)
	require.NotEmpty(t, l.told("a", join))
}

// leaving returns a view in which those of weight 0 are marked by a capital letter.
func leaving(epoch uint64, names ...string) *View {
	v := viewOf(epoch)
	for _, name := range names {
		m := memberOf(strings.ToLower(name))
		if name != strings.ToLower(name) {
			m.Weight = 0
		}
		v.Members = append(v.Members, m)
	}
	v.index()
	return v
}

// Who is leaving proposes a view only if nobody else does.
func TestWhoIsLeavingProposesLast(t *testing.T) {
	for _, c := range []struct {
		self    string
		members []string
		rank    int
	}{
		{"a", []string{"A", "b", "c"}, 2},
		{"b", []string{"A", "b", "c"}, 0},
		{"c", []string{"A", "b", "c"}, 1},
		{"a", []string{"A", "b", "C", "d"}, 2},
		{"c", []string{"A", "b", "C", "d"}, 3},
		{"b", []string{"A", "B", "C"}, 1},
	} {
		l, v := inView(t, c.self, "a", "b", "c", "d")
		next := leaving(11, c.members...)
		l.hear(map[bool]string{true: "b", false: "a"}[c.self == "a"], &message{kind: learn, lineage: 7, epoch: 11, prev: v, view: next})
		require.Equal(t, next, l.n.view)
		require.Equal(t, c.rank, l.n.rank(l.now), "%v in %v", c.self, c.members)
	}
}

// Who is leaving founds nothing, takes part in no founding, and nobody waits for it there.
func TestWhoIsLeavingFoundsNothing(t *testing.T) {
	leaver := memberOf("b")
	leaver.Weight = 0
	l := newLone(t, "b")
	l.n.SetSelf(leaver)
	l.n.List(nil)
	l.pass(time.Second)
	require.Nil(t, l.n.view)
	l.n.LinkUp(memberOf("a").ID)
	l.sent = nil
	l.hear("a", &message{kind: seek, at: 77})
	answer := l.one("a", seekOK)
	require.False(t, answer.ok)

	l = newLone(t, "a")
	l.n.List([]Member{memberOf("b")})
	l.n.LinkUp(memberOf("b").ID)
	l.pass(100 * time.Millisecond)
	require.Nil(t, l.n.view)
	l.hear("b", &message{kind: seekOK, ok: true, at: int64(l.n.found.attempt), member: &leaver})
	l.pass(100 * time.Millisecond)
	require.Equal(t, []Member{memberOf("a")}, l.n.view.Members)
}

// warmed returns a node in a warm view that has just settled, of a group that warms up for a while.
func warmed(t *testing.T, name string, warmUp time.Duration) *lone {
	l, v := inView(t, name, "a", "b", "c")
	l.n.cfg.WarmUp = warmUp
	from := map[bool]string{true: "b", false: "a"}[name == "a"]
	l.n.LinkUp(memberOf("d").ID)
	l.hear(from, &message{kind: learn, lineage: 7, epoch: 11, prev: v, view: viewOf(11, "a", "b", "c", "d")})
	l.hear(from, &message{kind: settled, settled: true, lineage: 7, epoch: 11})
	l.promise()
	l.sent = nil
	return l
}

// When the members have warmed up a view follows in which nobody is a former owner. That changes
// nothing else.
func TestWarmViewEnds(t *testing.T) {
	const warmUp = 10 * time.Second
	l := warmed(t, "a", warmUp)
	l.talk(warmUp)
	require.Empty(t, l.told("b", prepare), "it has not warmed up")
	l.talk(200 * time.Millisecond)
	ballot := l.one("b", prepare).ballot
	for _, name := range []string{"b", "c"} {
		l.hear(name, &message{kind: promise, ok: true, lineage: 7, epoch: 11 + 1, ballot: ballot})
	}
	l.pass(50 * time.Millisecond)
	l.sent, l.adoptions = nil, nil
	for _, name := range []string{"b", "c"} {
		l.hear(name, &message{kind: accepted, ok: true, lineage: 7, epoch: 12, ballot: ballot})
	}
	require.Len(t, l.adoptions, 1)
	a := l.adoptions[0]
	require.EqualValues(t, 12, a.View.Epoch)
	require.Equal(t, a.Former.Members, a.View.Members)
	require.False(t, a.View.Abrupt || a.View.Reborn || a.Anew)
	require.Zero(t, a.Quiet)
	l.n.Released(12)
	for _, name := range []string{"b", "c", "d"} {
		l.hear(name, &message{kind: learnt, lineage: 7, epoch: 12})
	}
	require.True(t, l.n.settled)
	l.sent = nil
	l.talk(2 * warmUp)
	require.Empty(t, l.told("b", prepare), "that view is not warm")
}

// One member proposes that, the others in turn if it does not.
func TestWarmViewEndsInTurn(t *testing.T) {
	const warmUp = 10 * time.Second
	l := warmed(t, "c", warmUp)
	l.talk(warmUp + 2*nextRank)
	require.Empty(t, l.told("a", prepare))
	l.talk(gather + 100*time.Millisecond)
	require.NotEmpty(t, l.told("a", prepare))

	l = warmed(t, "a", 0)
	l.talk(time.Hour / 10)
	require.Empty(t, l.told("b", prepare), "there is no end to it")
}

// What else has to change goes along.
func TestWarmViewEndsWithChanges(t *testing.T) {
	const warmUp = 10 * time.Second
	l := warmed(t, "a", warmUp)
	l.talk(warmUp + 200*time.Millisecond)
	e := memberOf("e")
	l.n.LinkUp(e.ID)
	l.hear("e", &message{kind: join, member: &e})
	v := l.n.view
	for _, name := range []string{"b", "c"} {
		l.hear(name, &message{kind: promise, ok: true, lineage: 7, epoch: 12, ballot: l.n.round.ballot})
	}
	l.sent = nil
	l.pass(50 * time.Millisecond)
	require.Equal(t, viewOf(12, "a", "b", "c", "d", "e").Members, l.one("b", accept).change.apply(v).Members)
}
