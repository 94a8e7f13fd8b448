package view

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// founder returns a process that lists others and would found a view with them.
func founder(t *testing.T, name string, listed ...string) *lone {
	l := newLone(t, name)
	var list []Member
	for _, other := range listed {
		list = append(list, memberOf(other))
	}
	l.n.List(list)
	l.pass(50 * time.Millisecond)
	require.NotZero(t, l.n.found.attempt)
	return l
}

// agree has somebody take part in the founding that is under way.
func (l *lone) agree(from string) {
	m := memberOf(from)
	l.hear(from, &message{kind: seekOK, ok: true, at: int64(l.n.found.attempt), member: &m})
}

// A founder goes by what it hears while it tries: who took part some time ago may be bound to
// another one, and an address that refused may be a process's again.
func TestFounderNeedsFreshWords(t *testing.T) {
	t.Run("refusal", func(t *testing.T) {
		l := newLone(t, "a")
		l.n.Refused("b")
		l.pass(time.Second)
		l.n.List([]Member{memberOf("b")})
		l.pass(time.Second)
		require.Nil(t, l.n.view, "it refused before the attempt")
		_, missing := l.n.Missing()
		require.Equal(t, []string{"b"}, missing)
		l.n.Refused("b")
		l.pass(50 * time.Millisecond)
		require.NotNil(t, l.n.view)
	})
	t.Run("pause", func(t *testing.T) {
		l := founder(t, "a", "b", "c")
		l.n.Refused("b")
		l.n.LinkUp(memberOf("c").ID)
		l.now += int64(time.Second) // it stands still
		l.pass(10 * time.Millisecond)
		l.agree("c")
		l.pass(50 * time.Millisecond)
		require.Nil(t, l.n.view, "b may have been started meanwhile")
		l.n.Refused("b")
		l.pass(50 * time.Millisecond)
		require.Len(t, l.n.view.Members, 2)
	})
	t.Run("consent", func(t *testing.T) {
		l := founder(t, "a", "b", "c")
		l.n.LinkUp(memberOf("b").ID)
		l.n.LinkUp(memberOf("c").ID)
		l.agree("b")
		l.pass(boundFor)
		l.agree("c")
		l.pass(50 * time.Millisecond)
		require.Nil(t, l.n.view, "b may be bound to another founder by now")
		l.agree("b")
		l.pass(50 * time.Millisecond)
		require.Len(t, l.n.view.Members, 3)
	})
}

// A founder asks whoever would found a view himself at once: that one is able to take part only
// now.
func TestFounderAsksWhoIsReady(t *testing.T) {
	l := founder(t, "a", "b")
	l.n.LinkUp(memberOf("b").ID)
	l.pass(10 * time.Millisecond)
	l.sent = nil
	l.hear("b", &message{kind: seek, at: 77})
	require.True(t, slices.ContainsFunc(l.sent, func(s sent) bool { return s.m.kind == seekNo && s.m.ok }))
	require.EqualValues(t, l.n.found.attempt, l.one("b", seek).at)
	l.hear("A", &message{kind: seek, at: 78}) // which comes first by its name
	require.Zero(t, l.n.found.attempt)
}

// A view that was founded has settled when all its members go by it, not before: one of them may
// have found a place elsewhere.
func TestFoundedViewNeedsAll(t *testing.T) {
	l := founder(t, "a", "b", "c", "d")
	for _, name := range []string{"b", "c", "d"} {
		l.n.LinkUp(memberOf(name).ID)
		l.agree(name)
	}
	l.pass(50 * time.Millisecond)
	v := l.n.view
	require.Len(t, v.Members, 4)
	l.n.Released(v.Epoch)
	for _, name := range []string{"b", "c", "d"} {
		if l.pass(50 * time.Millisecond); name == "d" {
			l.pass(given)
		}
		require.False(t, l.n.settled)
		require.Zero(t, l.n.live(), "it does not count against another lineage yet")
		l.hear(name, &message{kind: learnt, lineage: v.Lineage, epoch: v.Epoch})
	}
	require.True(t, l.n.settled)
}

// When two lineages meet the one with fewer members gives way, and drops what it has.
func TestLesserLineageGivesWay(t *testing.T) {
	l, _ := inView(t, "a", "a", "b")
	other, before := viewOf(5, "x", "y", "z"), viewOf(4, "x", "y")
	other.Lineage, before.Lineage = 9, 9
	l.n.LinkUp(memberOf("x").ID)
	l.adoptions = nil
	l.hear("x", &message{kind: tell, lineage: 9, epoch: 5, view: other, live: 1})
	require.Empty(t, l.adoptions)
	l.hear("x", &message{kind: tell, lineage: 9, epoch: 5, prev: before, view: other, live: 3})
	require.Len(t, l.adoptions, 2)
	require.Nil(t, l.adoptions[0].View)
	require.True(t, l.adoptions[0].Anew)
	require.Equal(t, other.Members, l.adoptions[1].View.Members)
	require.True(t, l.adoptions[1].Anew)
	require.False(t, l.acts())
	require.NotEmpty(t, l.told("b", bye))
}
