package view

// node_test.go is about single rules, with a node whose neighbours are all the test's.

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A voter promises nothing to who goes by an earlier view: it may serve what a later one took away.
func TestNoPromiseToWhoIsBehind(t *testing.T) {
	l, v := inView(t, "a", "a", "b", "c")
	require.True(t, l.promises("b", 10))
	next := viewOf(11, "a", "b", "c", "d")
	l.hear("b", &message{kind: learn, lineage: 7, epoch: 11, prev: v, view: next})
	require.EqualValues(t, 11, l.n.view.Epoch)
	require.True(t, l.promises("b", 11))
	require.False(t, l.promises("c", 10))
	require.True(t, l.promises("c", 11))
}

// The voter's own vote is a vote like the others': it has none for itself when it has accepted a
// view without itself, or would have, were it not for a promise that runs.
func TestOwnVote(t *testing.T) {
	l, _ := inView(t, "a", "a", "b")
	require.True(t, l.acts())
	l.n.LinkDown(memberOf("b").ID)
	require.True(t, l.acts(), "half of the voters with the most senior one are a quorum")
	l.n.LinkUp(memberOf("b").ID)
	require.True(t, l.accept("b", 1, viewOf(11, "b"), message{}).ok)
	require.False(t, l.acts(), "it has accepted a view without itself")

	l, _ = inView(t, "a", "a", "b", "c")
	require.True(t, l.promises("c", 10))
	l.hear("c", &message{kind: grant, lineage: 7, epoch: 10})
	require.NotZero(t, l.accept("b", 1, viewOf(11, "b"), message{forced: true}).left)
	l.n.LinkDown(memberOf("c").ID)
	require.False(t, l.acts(), "a view without itself waits only for the promise to c")
}

// An acceptor takes a death for proven only if it knows of it, too: the proposer may be the one who
// is wrong.
func TestProofIsChecked(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c")
	require.True(t, l.promises("c", 10))
	proof := message{evidence: []evidence{{index: 2, dead: true}}}
	require.False(t, l.accept("b", 1, viewOf(11, "a", "b"), proof).ok, "it has promised to c, who lives")
	require.False(t, l.accept("b", 2, viewOf(11, "a", "b"), message{evidence: []evidence{{index: 2, left: time.Second}}}).ok)
	l.n.LinkEnded(memberOf("c").ID)
	l.n.Refused("c")
	require.False(t, l.accept("b", 3, viewOf(11, "a", "b"), message{}).ok, "the proposer has no proof")
	require.True(t, l.accept("b", 4, viewOf(11, "a", "b"), proof).ok)
}

// A view of an earlier round that has to wait for a promise to end is not forgotten meanwhile: who
// would be left out gets no new promises, or else it would wait for ever.
func TestBlockedIsNotForgotten(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c")
	without := viewOf(11, "a", "b")
	require.True(t, l.promises("c", 10))
	require.Zero(t, l.accept("b", 1, without, message{}).left, "nobody has to wait with a new value: another one may be chosen")
	require.True(t, l.promises("c", 10))
	answer := l.accept("b", 2, without, message{forced: true})
	require.False(t, answer.ok)
	require.InDelta(t, given, answer.left, float64(time.Millisecond))
	require.False(t, l.promises("c", 10))
	require.True(t, l.promises("b", 10))
	l.hear("b", &message{kind: prepare, lineage: 7, epoch: 11, ballot: 3 << 16})
	require.False(t, l.promises("c", 10), "nor after another round has begun")
	l.talk(answer.left)
	require.True(t, l.accept("b", 3, without, message{forced: true}).ok)
	require.False(t, l.promises("c", 10))
}

// But if nobody asks for that view any more all get promises again: it has not been chosen, and may
// never be.
func TestBlockedIsForgottenInTheEnd(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c")
	require.True(t, l.promises("c", 10))
	require.NotZero(t, l.accept("b", 1, viewOf(11, "a", "b"), message{forced: true}).left)
	l.talk(given + time.Second)
	require.False(t, l.promises("c", 10))
	l.talk(given)
	require.True(t, l.promises("c", 10))
}

// What this process stored is worth nothing after a view that it may have missed, or in which it
// had no place.
func TestAnew(t *testing.T) {
	for _, c := range []struct {
		what    string
		members []string // of view 10
		next    *View
		anew    bool
	}{
		{"the next view", []string{"a", "b", "c"}, viewOf(11, "a", "b", "c", "d"), false},
		{"the one after it", []string{"a", "b", "c"}, viewOf(12, "a", "b", "c", "d"), true},
		{"it had no place", []string{"b", "c"}, viewOf(11, "a", "b", "c"), true},
		{"it has none", []string{"a", "b", "c"}, viewOf(11, "b", "c"), true},
	} {
		l, v := inView(t, "a", c.members...)
		l.adoptions = nil
		if c.next.Epoch != 11 {
			v = viewOf(11, c.members...)
		}
		l.hear("b", &message{kind: learn, lineage: 7, epoch: c.next.Epoch, prev: v, view: c.next})
		require.Len(t, l.adoptions, 1, c.what)
		require.Equal(t, c.anew, l.adoptions[0].Anew, c.what)
	}
}

// Nor is it after a view that was agreed upon by counting the dead, unless this process had a
// quorum's promises until they died: others may have gone on without it.
func TestAnewAfterTheDead(t *testing.T) {
	for _, kept := range []bool{true, false} {
		l, v := inView(t, "a", "a", "b", "c")
		if !kept {
			l.pass(Lease + time.Millisecond) // nobody has promised anything since
			require.False(t, l.acts())
		}
		for _, name := range []string{"b", "c"} {
			l.n.LinkEnded(memberOf(name).ID)
			l.n.Refused(name)
		}
		l.pass(10 * time.Millisecond)
		l.n.LinkUp(memberOf("d").ID)
		l.adoptions = nil
		reborn := viewOf(10+1+rebirth, "a")
		reborn.Lineage, reborn.Reborn, reborn.Parent, reborn.Fork = 8, true, 7, 10
		l.hear("d", &message{kind: learn, lineage: 8, epoch: reborn.Epoch, prev: v, view: reborn})
		require.Len(t, l.adoptions, 1)
		require.Equal(t, !kept, l.adoptions[0].Anew)
		require.NotZero(t, l.adoptions[0].Quiet, "the dead may have lent something")
	}
}

// Whoever has promised another one's round lets that one finish: its own turn counts from then. Or
// else all would propose in step and outbid each other for ever.
func TestProposersTakeTurns(t *testing.T) {
	l, _ := inView(t, "b", "a", "b", "c", "d")
	l.talk(2*suspect, "a", "d") // a and d are silent, and b is the next one to propose
	require.NotEmpty(t, l.told("c", prepare))
	first := l.n.promised
	l.hear("c", &message{kind: prepare, lineage: 7, epoch: 11, ballot: first + 1<<16})
	require.True(t, l.one("c", promise).ok)
	l.hear("c", &message{kind: promise, lineage: 7, epoch: 11, ballot: first + 1<<16}) // b has been outbid
	require.Nil(t, l.n.round)
	l.pass(gather / 2)
	require.Empty(t, l.told("c", prepare))
	l.talk(time.Second, "a", "d")
	require.NotEmpty(t, l.told("c", prepare), "its turn has come again")
}

// Two processes who both think theirs the greater view do not tell each other as fast as they can.
func TestViewsAreAnsweredNowAndThen(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c")
	l.n.LinkUp(memberOf("x").ID)
	other := viewOf(20, "x", "y")
	other.Lineage = 9
	l.sent = nil
	for range 20 {
		l.hear("x", &message{kind: tell, lineage: 9, epoch: 20, view: other, live: 2})
	}
	require.Len(t, l.told("x", tell), 1)
	l.pass(repeat)
	l.hear("x", &message{kind: tell, lineage: 9, epoch: 20, view: other, live: 2})
	require.Len(t, l.told("x", tell), 1)
}

// A voter promises nothing to whom it has accepted a view without.
func TestNoPromiseToWhoIsLeftOut(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c")
	require.True(t, l.accept("b", 1, viewOf(11, "a", "b"), message{}).ok)
	require.True(t, l.promises("b", 10))
	require.False(t, l.promises("c", 10))
}

// A promise lasts from when it was asked for, however long it was on its way.
func TestPromiseLastsFromTheAsking(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c")
	asked := l.now + int64(100*time.Millisecond)
	l.pass(time.Second)
	l.hear("b", &message{kind: grant, ok: true, lineage: 7, epoch: 10, at: asked})
	require.Equal(t, asked+int64(Lease), l.n.Until())
	l.hear("b", &message{kind: grant, ok: true, lineage: 7, epoch: 10, at: l.now + 1})
	require.Equal(t, asked+int64(Lease), l.n.Until(), "nobody has asked for that one")
}

// The dead count as such when what they have promised is over: until then somebody else may act by
// their promises.
func TestTheDeadCountAfterALease(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c")
	for _, name := range []string{"b", "c"} {
		l.n.LinkEnded(memberOf(name).ID)
		l.n.Refused(name)
	}
	l.pass(given)
	require.EqualValues(t, 10, l.n.view.Epoch)
	l.pass(roundFor + time.Second)
	require.Equal(t, []Member{memberOf("a")}, l.n.view.Members)
	require.True(t, l.n.view.Reborn)
}

// An acceptor that has promised a round its vote gives none to an earlier one.
func TestEarlierRoundsAreRefused(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c")
	l.hear("c", &message{kind: prepare, lineage: 7, epoch: 11, ballot: 5 << 16})
	answer := l.accept("b", 4, viewOf(11, "a", "b"), message{})
	require.False(t, answer.ok)
	require.EqualValues(t, 5<<16, answer.accepted)
	require.True(t, l.accept("c", 5, viewOf(11, "a", "c"), message{}).ok)
}

// A view that somebody has accepted in an earlier round may have been chosen: the next round is for
// the same view.
func TestWhatMayBeChosenBinds(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c", "d", "e")
	l.talk(2*suspect, "e")
	ballot := l.n.round.ballot
	l.sent = nil
	for i, name := range []string{"b", "c"} {
		bound := viewOf(11, "a", "b", "c", "d", string(rune('x'+i)))
		l.hear(name, &message{
			kind: promise, ok: true, lineage: 7, epoch: 11, ballot: ballot, accepted: uint64(1+i) << 8, view: bound,
			evidence: []evidence{{index: 4}},
		})
	}
	l.pass(50 * time.Millisecond)
	m := l.one("b", accept)
	m.view = m.change.apply(l.n.view)
	require.Equal(t, viewOf(11, "a", "b", "c", "d", "y").Members, m.view.Members, "the one of the later round")
	require.True(t, m.forced)
}

// Who has no place in a view tells those who go by an earlier one: all others may have gone.
func TestWhoHasNoPlaceTells(t *testing.T) {
	l, v := inView(t, "c", "a", "b", "c")
	l.hear("a", &message{kind: learn, lineage: 7, epoch: 11, prev: v, view: viewOf(11, "a", "b")})
	l.sent = nil
	l.hear("b", &message{kind: ask, lineage: 7, epoch: 10, settled: true, at: 5})
	require.EqualValues(t, 11, l.one("b", tell).epoch)
}

// Who is left out soon after a change of the view may have lent by the promises of voters that are
// none any more: then others have to wait for the end of that, too.
func TestLoansByTheVotersBefore(t *testing.T) {
	for _, soon := range []bool{true, false} {
		l, _ := inView(t, "a", "a", "b", "c", "d", "e")
		if !soon {
			l.talk(given)
		}
		l.talk(suspect+200*time.Millisecond, "e")
		ballot := l.n.round.ballot
		l.sent = nil
		for _, name := range []string{"b", "c"} {
			l.hear(name, &message{kind: promise, ok: true, lineage: 7, epoch: 11, ballot: ballot, evidence: []evidence{{index: 4}}})
		}
		l.pass(50 * time.Millisecond)
		next := l.one("b", accept).change.apply(l.n.view)
		require.Equal(t, viewOf(11, "a", "b", "c", "d").Members, next.Members)
		require.Equal(t, soon, next.Abrupt)
	}
}

// That an address refuses connections, or leads to a newer process, does not prove that the one
// that was there has died: it may be cut off. It has if its own end has closed the link, too, or
// after a long silence.
func TestProofOfDeath(t *testing.T) {
	dead := func(l *lone) bool {
		for _, e := range l.n.evidence(l.now) {
			if e.index == 2 {
				return e.dead
			}
		}
		t.Fatal("it is not even silent")
		return false
	}
	refused := func(l *lone) { l.n.Refused("c") }
	newer := func(l *lone) { l.n.LinkUp(memberOf("c2").ID) }
	for _, away := range []func(l *lone){refused, newer} {
		l, _ := inView(t, "a", "a", "b", "c")
		require.True(t, l.promises("c", 10))
		l.n.LinkDown(memberOf("c").ID)
		away(l)
		require.False(t, dead(l))
		require.False(t, l.accept("b", 1, viewOf(11, "a", "b"), message{evidence: []evidence{{index: 2, dead: true}}}).ok)
		l.talk(orphaned+time.Second, "c")
		require.True(t, dead(l))

		l, _ = inView(t, "a", "a", "b", "c")
		l.n.LinkEnded(memberOf("c").ID)
		require.Empty(t, l.n.evidence(l.now))
		away(l)
		require.True(t, dead(l))

		l, _ = inView(t, "a", "a", "b", "c")
		away(l)
		l.n.LinkDown(memberOf("c").ID)
		require.False(t, dead(l))
	}
	l, _ := inView(t, "a", "a", "b", "c")
	refused(l) // while there is a link, the end of which has not been noticed yet
	require.Empty(t, l.n.evidence(l.now))
	l.n.LinkEnded(memberOf("c").ID)
	require.True(t, dead(l))
}

// A member that has no view has given it up only if it says so, after it last asked as a member: it
// may not have learnt of it when it spoke.
func TestWhoHasGivenUpItsPlace(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c")
	gone := func() bool { return len(l.n.evidence(l.now)) > 0 }
	l.hear("b", &message{kind: ask, at: 5})
	require.False(t, gone(), "it had not learnt of the view then")
	require.True(t, l.promises("b", 10)) // asked at 5
	l.hear("b", &message{kind: ask, at: 4, ballot: 7})
	require.False(t, gone(), "it has come back since")
	l.hear("b", &message{kind: ask, at: 6, ballot: 9})
	require.False(t, gone(), "it has given up another lineage")
	l.hear("b", &message{kind: ask, at: 6, ballot: 7})
	require.True(t, gone())
	require.False(t, l.promises("b", 10))
	b := memberOf("b")
	l.hear("b", &message{kind: join, at: 8, member: &b})
	require.False(t, gone())
	l.hear("b", &message{kind: ask, at: 7, ballot: 7})
	require.False(t, gone())
}

// Who has gone over to a lineage that continues another one has given up its place in that one, even
// if the new one comes to nothing: those who have not gone over must not wait for it.
func TestWhoHasGoneOverToARebornLineage(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c")
	for _, name := range []string{"b", "c"} {
		l.n.LinkEnded(memberOf(name).ID)
		l.n.Refused(name)
	}
	l.pass(given + roundFor + time.Second)
	require.True(t, l.n.view.Reborn)
	l.n.LinkUp(memberOf("a2").ID) // and a is alone, so that it has no view any more
	require.Nil(t, l.n.view)
	l.n.LinkUp(memberOf("b").ID) // which was not dead
	l.hear("b", &message{kind: ask, lineage: 7, epoch: 10, at: 5})
	l.sent = nil
	l.pass(askEvery)
	for _, m := range l.told("b", ask) {
		require.EqualValues(t, 7, m.ballot)
	}

	l, v := inView(t, "a", "a", "b", "c")
	reborn := viewOf(10+1+rebirth, "a", "b")
	reborn.Lineage, reborn.Reborn, reborn.Parent, reborn.Fork = 8, true, 7, 10
	l.hear("b", &message{kind: learn, lineage: 8, epoch: reborn.Epoch, prev: v, view: reborn})
	l.n.mu.Lock()
	l.n.dissolve()
	l.n.mu.Unlock()
	l.sent = nil
	l.hear("c", &message{kind: tell, lineage: 7, epoch: 10, prev: viewOf(9, "a", "b", "c"), view: v, live: 1})
	require.Nil(t, l.n.view, "it has voted there, and has forgotten how")
	require.EqualValues(t, 7, l.one("c", ask).ballot)
}

// Whoever gives up its lineage says so when what it has borrowed is of no use to it any more: others
// write then without waiting for it.
func TestByeComesLast(t *testing.T) {
	l, _ := inView(t, "a", "a", "b")
	other, before := viewOf(5, "x", "y", "z"), viewOf(4, "x", "y")
	other.Lineage, before.Lineage = 9, 9
	l.n.LinkUp(memberOf("x").ID)
	l.sent = nil
	adopts := l.n.cfg.Adopt
	l.n.cfg.Adopt = func(a Adoption) {
		if a.View == nil {
			require.Empty(t, l.told("b", bye))
		}
		adopts(a)
	}
	l.hear("x", &message{kind: tell, lineage: 9, epoch: 5, prev: before, view: other, live: 3})
	require.Nil(t, l.adoptions[len(l.adoptions)-2].View)
	require.EqualValues(t, 7, l.one("b", bye).lineage)
}

// One change at a time: what a view takes away has to be given back before the next one.
func TestOneChangeAtATime(t *testing.T) {
	l := unsettled(t)
	l.talk(2*suspect, "e")
	require.Empty(t, l.told("b", prepare))
	l.hear("b", &message{kind: settled, settled: true, lineage: 7, epoch: 11})
	l.talk(time.Second, "e")
	require.NotEmpty(t, l.told("b", prepare))
}

// A view has settled when all have given back what it takes away from them, or when a quorum has
// and what the others have lent is over.
func TestSettlesWhenAllHaveGivenBack(t *testing.T) {
	gives := func(l *lone, names ...string) {
		for _, name := range names {
			l.hear(name, &message{kind: learnt, lineage: 7, epoch: 11})
		}
		l.talk(100 * time.Millisecond)
	}
	l := unsettled(t)
	gives(l, "b", "c", "d")
	require.False(t, l.n.settled, "e may have lent what is no longer its own")
	l.talk(given - 200*time.Millisecond)
	require.False(t, l.n.settled)
	l.talk(300 * time.Millisecond)
	require.True(t, l.n.settled)
	require.NotEmpty(t, l.told("e", settled))

	l = unsettled(t)
	gives(l, "b", "c", "d", "e")
	require.True(t, l.n.settled)

	l = unsettled(t)
	gives(l, "b")
	l.talk(2 * given)
	require.False(t, l.n.settled, "no quorum has")
}

// A view is given up when so many voters have died that the others are no quorum, and this process
// may have missed something since.
func TestViewWithoutVotersIsGivenUp(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c")
	l.pass(Lease + time.Millisecond)
	for _, name := range []string{"b", "c"} {
		l.n.LinkEnded(memberOf(name).ID)
		l.n.Refused(name)
	}
	l.pass(given)
	require.NotNil(t, l.n.view)
	l.pass(time.Second)
	require.Nil(t, l.n.view)
	require.False(t, l.acts())
}

// Who has no place in a view may found one as soon as all members of it have said that they have
// gone over to another one, or have none.
func TestMembersWhoHaveGoneOver(t *testing.T) {
	l, _ := inView(t, "a", "b", "c")
	l.n.List(nil)
	for _, name := range []string{"b", "c"} {
		require.False(t, l.n.isMember())
		l.hear(name, &message{kind: ask, at: 5})
		l.pass(50 * time.Millisecond)
	}
	require.True(t, l.n.isMember())
}

// What others say about the next view counts only if they are members of this one: a newer process
// of a member's name has no vote.
func TestOnlyMembersVote(t *testing.T) {
	l, _ := inView(t, "a", "a", "b", "c", "d", "e")
	l.talk(2*suspect, "e")
	require.NotNil(t, l.n.round)
	l.n.round = nil
	l.n.propose(l.now)
	ballot := l.n.promised
	for _, name := range []string{"b2", "c2", "d2"} {
		l.n.LinkUp(memberOf(name).ID)
		l.hear(name, &message{kind: promise, ok: true, lineage: 7, epoch: 11, ballot: ballot})
		l.hear(name, &message{kind: promise, lineage: 7, epoch: 11, ballot: ballot + 1})
	}
	require.NotNil(t, l.n.round)
	require.Zero(t, l.n.round.dueAt)
	l.n.round.view = viewOf(11, "a", "b", "c", "d")
	l.n.proposeView()
	for _, name := range []string{"b2", "c2", "d2"} {
		l.hear(name, &message{kind: accepted, ok: true, lineage: 7, epoch: 11, ballot: ballot})
		l.hear(name, &message{kind: accepted, lineage: 7, epoch: 11, ballot: ballot, accepted: ballot + 1})
	}
	require.EqualValues(t, 10, l.n.view.Epoch)
	for _, name := range []string{"b", "c"} {
		l.hear(name, &message{kind: accepted, ok: true, lineage: 7, epoch: 11, ballot: ballot})
	}
	require.EqualValues(t, 11, l.n.view.Epoch)
}

// A process speaks for its name, when a view is founded, only as long as it reaches itself: a newer
// one that is at its URL may have a place in a view.
func TestWhoSpeaksForAName(t *testing.T) {
	seeks := func(l *lone) []*message {
		l.sent = nil
		l.n.LinkUp(memberOf("a").ID)
		l.hear("a", &message{kind: seek, at: 77})
		l.n.LinkDown(memberOf("a").ID)
		return l.told("a", seekOK)
	}
	t.Run("reached", func(t *testing.T) {
		l := newLone(t, "b")
		require.NotEmpty(t, seeks(l))
		l.pass(shownFor)
		require.Empty(t, seeks(l))
		l.n.List([]Member{memberOf("c")})
		l.n.Refused("c")
		l.pass(50 * time.Millisecond)
		require.Zero(t, l.n.found.attempt)
		l.n.Reached(true)
		require.NotEmpty(t, seeks(l))
		l.pass(boundFor)
		require.NotZero(t, l.n.found.attempt)
	})
	t.Run("at first", func(t *testing.T) {
		l := newLone(t, "b")
		l.n.found.reached, l.n.found.finds = -1, false
		l.n.List(nil)
		l.pass(time.Second)
		require.Empty(t, seeks(l))
		require.Nil(t, l.n.view)
		l.n.Reached(true)
		l.pass(time.Second)
		require.NotNil(t, l.n.view)
	})
	t.Run("by others", func(t *testing.T) {
		l := newLone(t, "b")
		l.n.found.finds = false // it has never been able to reach itself
		l.pass(2 * shownFor)
		require.NotEmpty(t, seeks(l))
	})
	t.Run("replaced", func(t *testing.T) {
		l := newLone(t, "b")
		l.n.LinkUp(memberOf("b2").ID)
		require.Empty(t, seeks(l))
	})
}
