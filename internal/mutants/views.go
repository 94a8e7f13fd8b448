package main

// views.go is about views of the group, promises and foundings.

var ofViews = []mutant{
	{
		"views: a voter promises nothing to whom it has left out", "internal/view.TestNoPromiseToWhoIsLeftOut",
		"internal/view/promise.go", "!n.leftOut(from) && ", "",
	},
	{
		"views: a promise counts from when it was asked for", "internal/view.TestPromiseLastsFromTheAsking",
		"internal/view/promise.go", "p.promise = max(p.promise, m.at+int64(Lease))", "p.promise = max(p.promise, held+int64(Lease))",
	},
	{
		"views: no view without somebody to whom a promise runs", "internal/view.TestProofIsChecked",
		"internal/view/agree.go", "if p == n.me || now >= p.given ||", "if true || p == n.me || now >= p.given ||",
	},
	{
		"views: one change at a time", "internal/view.TestOneChangeAtATime",
		"internal/view/agree.go", "case !n.settled: // one change at a time", "case !n.settled && now-n.adopted < int64(10*time.Millisecond): // one change at a time",
	},
	{
		"views: a view settles when all have given back what they lent", "internal/view.TestSettlesWhenAllHaveGivenBack",
		"internal/view/settle.go", "l.missing > 0 && (", "false && (",
	},
	{
		"views: or when a quorum has, and a lease later", "internal/view.TestSettlesWhenAllHaveGivenBack",
		"internal/view/settle.go", "(l.quorum == 0 || now <= l.quorum+int64(given))", "l.quorum == 0",
	},
	{
		"views: the dead count a lease after their death", "internal/view.TestTheDeadCountAfterALease",
		"internal/view/agree.go", "now > p.dead+int64(given)", "now >= p.dead",
	},
	{
		"views: a view that may have been chosen binds", "internal/view.TestWhatMayBeChosenBinds",
		"internal/view/agree.go", "p != nil && p.accepted > best", "false && p != nil && p.accepted > best",
	},
	{
		"views: an acceptor keeps its promise", "internal/view.TestEarlierRoundsAreRefused",
		"internal/view/agree.go", "\tif m.ballot < n.promised {\n\t\tanswer.accepted = n.promised\n\t\treturn\n\t}\n", "",
	},
	{
		"views: a view that nobody can change is given up", "internal/view.TestViewWithoutVotersIsGivenUp",
		"internal/view/agree.go", "if n.isOver(now) {", "if false {",
	},
	{
		"views: who has no place tells of the view, too", "internal/view.TestWhoHasNoPlaceTells",
		"internal/view/promise.go", "\tcase m.epoch < n.view.Epoch: // even if", "\tcase m.epoch < n.view.Epoch && n.isMember(): // even if",
	},
	{
		"views: a member that has gone over keeps nobody from a new start", "internal/view.TestMembersWhoHaveGoneOver",
		"internal/view/node.go", "(!p.said || p.lineage == n.view.Lineage)", "true",
	},
	{
		"views: a founder has reached itself first", "internal/view.TestWhoSpeaksForAName",
		"internal/view/found.go", "return f.reached >= 0 && ", "return ",
	},
	{
		"views: a founder asks everybody", "internal/view.TestFounderNeedsFreshWords",
		"internal/view/found.go", "missing > 0 && (", "false && (",
	},
	{
		"views: who only asks is no member", "internal/view.TestObserver",
		"internal/view/node.go", "case n.observes() || n.leaving:", "case n.leaving:",
	},
	{
		"views: the proof of a death: the end of the link", "internal/view.TestProofOfDeath",
		"internal/view/agree.go", "(p.ended || now-p.heard > int64(orphaned))", "true",
	},
	{
		"views: the proof of a death: where it was", "internal/view.TestProofOfDeath",
		"internal/view/agree.go", "return p.gone || p.isAway() && (p.ended", "return p.gone || p.links == 0 && (p.ended",
	},
	{
		"views: what was lent under the promises of earlier voters", "internal/view.TestLoansByTheVotersBefore",
		"internal/view/agree.go", "next.Abrupt || n.cfg.Now() < n.settledAt+int64(given)", "next.Abrupt || false",
	},
	{
		"views: who has no view may not have learnt of it", "internal/view.TestWhoHasGivenUpItsPlace",
		"internal/view/promise.go", "m.lineage == 0 && m.ballot == n.view.Lineage && m.at > p.asked && ", "m.lineage == 0 && ",
	},
	{
		"views: nor if it had given it up before it came back", "internal/view.TestWhoHasGivenUpItsPlace",
		"internal/view/promise.go", "m.ballot == n.view.Lineage && m.at > p.asked && ", "m.ballot == n.view.Lineage && ",
	},
	{
		"views: who has gone over to a lineage that continues another one never goes back", "internal/view.TestWhoHasGoneOverToARebornLineage",
		"internal/view/settle.go", "n.quit[old.Lineage] = true", "_ = now",
	},
	{
		"views: a bye is said when copies are worthless", "internal/view.TestByeComesLast",
		"internal/view/settle.go", "\t\tdefer n.sayBye(", "\t\tn.sayBye(",
	},
	{
		"views: and says so to those who have not", "internal/view.TestWhoHasGoneOverToARebornLineage",
		"internal/view/promise.go", "\t\t\tquit = goesBy\n", "",
	},
	{
		"views: promises that ended before the deaths are worth nothing", "internal/view.TestAnewAfterTheDead",
		"internal/view/settle.go", "return p.dead == 0 || p.kept > p.dead", "return p.dead == 0 || p.kept > 0",
	},
	{
		"views: a founded view settles when all go by it", "internal/view.TestFoundedViewNeedsAll",
		"internal/view/settle.go", "\tif v.First { // whoever", "\tif v.First && v.Members[0].ID != n.self.ID { // whoever",
	},
	{
		"views: of two lineages the greater one goes on", "internal/view.TestLesserLineageGivesWay",
		"internal/view/view.go", "return liveA > liveB", "return liveA < liveB",
	},
	{
		"views: no promise to who is behind", "internal/view.TestNoPromiseToWhoIsBehind",
		"internal/view/promise.go", " && m.epoch >= n.view.Epoch", "",
	},
	{
		"views: a voter's own vote is one like the others", "internal/view.TestOwnVote",
		"internal/view/promise.go", "case id == n.self.ID && n.leftOut(id):", "case false:",
	},
	{
		"views: an acceptor knows of the death itself", "internal/view.TestProofIsChecked",
		"internal/view/agree.go", "if proven && p.isDead(now) {", "if proven {",
	},
	{
		"views: a death is proven by the proposer, too", "internal/view.TestProofIsChecked",
		"internal/view/agree.go", "if proven && p.isDead(now) {", "if (proven || true) && p.isDead(now) {",
	},
	{
		"views: who would be left out by a view that waits gets no promise", "internal/view.TestBlockedIsNotForgotten",
		"internal/view/promise.go", " || isBlocked && !n.blocked.Has(id)", " || isBlocked && false",
	},
	{
		"views: that outlasts the round", "internal/view.TestBlockedIsNotForgotten",
		"internal/view/agree.go", "\t\tanswer.ballot, answer.ok = m.ballot, true\n", "\t\tanswer.ballot, answer.ok, n.blocked = m.ballot, true, nil\n",
	},
	{
		"views: but not for ever", "internal/view.TestBlockedIsForgottenInTheEnd",
		"internal/view/promise.go", "n.blocked != nil && n.cfg.Now() < n.blockedAt+2*int64(given)", "n.blocked != nil",
	},
	{
		"views: what was stored before a view that was missed is worth nothing", "internal/view.TestAnew",
		"internal/view/settle.go", "a.Anew = skipped || ", "a.Anew = ",
	},
	{
		"views: nor what was stored without a place in the view", "internal/view.TestAnew",
		"internal/view/settle.go", "!v.Has(n.self.ID) || !old.Has(n.self.ID) || ", "!v.Has(n.self.ID) || ",
	},
	{
		"views: nor what others may have written before the dead were counted", "internal/view.TestAnewAfterTheDead",
		"internal/view/settle.go", " || counted && !n.keptThrough(old)", "",
	},
	{
		"views: what was lent outlives the dead who were counted", "internal/view.TestAnewAfterTheDead",
		"internal/view/settle.go", "case v.Abrupt || counted:", "case v.Abrupt:",
	},
	{
		"views: proposers take turns", "internal/view.TestProposersTakeTurns",
		"internal/view/agree.go", "if from != n.self.ID && n.need != 0 {", "if false {",
	},
	{
		"views: two lineages do not tell each other as fast as they can", "internal/view.TestViewsAreAnsweredNowAndThen",
		"internal/view/settle.go", "if now < p.reacted+int64(repeat) {", "if false {",
	},
	{
		"views: who is no member prepares nothing", "internal/view.TestOnlyMembersVote",
		"internal/view/agree.go", "if r == nil || !n.isNext(m) || n.view.Index(from) < 0 {", "if r == nil || !n.isNext(m) {",
	},
	{
		"views: who is no member accepts nothing", "internal/view.TestOnlyMembersVote",
		"internal/view/agree.go", "r.ballot != m.ballot || !n.isNext(m) || n.view.Index(from) < 0:", "r.ballot != m.ballot || !n.isNext(m):",
	},
	{
		"views: an address that refused before the founding may be a process's now", "internal/view.TestFounderNeedsFreshWords",
		"internal/view/found.go", "at >= max(f.began, n.lateAt) && ", "at >= n.lateAt && ",
	},
	{
		"views: and one that refused before this process stood still", "internal/view.TestFounderNeedsFreshWords",
		"internal/view/found.go", "at >= max(f.began, n.lateAt) && ", "at >= f.began && ",
	},
	{
		"views: who took part in a founding may be bound to another one", "internal/view.TestFounderNeedsFreshWords",
		"internal/view/found.go", "return ok && now-c.at < int64(boundFor)", "return ok && now-c.at < 1<<62",
	},
	{
		"views: who no longer reaches itself does not speak for its name", "internal/view.TestWhoSpeaksForAName",
		"internal/view/found.go", "(!f.finds || now-f.reached < int64(shownFor))", "true",
	},
	{
		"views: nor who has been replaced", "internal/view.TestWhoSpeaksForAName",
		"internal/view/found.go", " && !n.me.replaced\n", "\n",
	},
	{
		"views: the one before a view is known to all who go by it", "internal/view.TestFormer",
		"internal/view/settle.go", "if m.view.First || m.prev != nil ||", "if true || m.view.First || m.prev != nil ||",
	},
	{
		"views: it goes with each view", "internal/view.TestFormer",
		"internal/view/promise.go", "\t\t\tm.prev = n.prev\n", "\t\t\tm.prev = nil\n",
	},
	{
		"views: it always fits into the message", "internal/view.TestFormerOfLongViews",
		"internal/view/agree.go", "room := roomBeside(n.view.Members)", "room := roomBeside(next.Members)",
	},
	{
		"views: what a member says of itself is what all take it for", "internal/view.TestMemberIsBounded",
		"internal/view/node.go", "n.self = self.bounded()", "n.self = self",
	},
	{
		"views: who is leaving proposes last", "internal/view.TestWhoIsLeavingProposesLast",
		"internal/view/agree.go", "\t\t\tbefore = leaves\n", "\t\t\tbefore = i < at\n",
	},
	{
		"views: who is leaving founds nothing", "internal/view.TestWhoIsLeavingFoundsNothing",
		"internal/view/found.go", "n.self.isLeaving() || !n.speaks(now)", "!n.speaks(now)",
	},
	{
		"views: nor does it take part in a founding", "internal/view.TestWhoIsLeavingFoundsNothing",
		"internal/view/found.go", " || n.leaving || n.self.isLeaving():", " || n.leaving:",
	},
	{
		"views: nor is it counted in one", "internal/view.TestWhoIsLeavingFoundsNothing",
		"internal/view/found.go", "m.ok && !m.member.isLeaving()", "m.ok",
	},
	{
		"views: a warm view ends", "internal/view.TestWarmViewEnds",
		"internal/view/agree.go", " && n.settled && !n.hasWarmed(now) {", " && n.settled {",
	},
	{
		"views: when it has settled for so long", "internal/view.TestWarmViewEnds",
		"internal/view/agree.go", "now-n.settledAt >= int64(n.cfg.WarmUp)", "true",
	},
	{
		"views: the older process of a name stops at once", "internal/view.TestOlderInstanceGivesWay",
		"internal/view/node.go", "\tn.leave(false)\n", "",
	},
	{
		"who is not asked along with keep-alives any more is asked by itself", "internal/view.TestRenew",
		"internal/view/promise.go", "p.renewed != 0 && now-p.renewed >=", "false && now-p.renewed >=",
	},
}
