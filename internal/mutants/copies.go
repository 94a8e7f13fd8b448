package main

// copies.go is about copies that are lent, loads under grants, and promises.

var ofCopies = []mutant{
	{
		"I3: copies are recalled before a write takes effect", "TestLoan",
		"peer_write.go", "err := p.recall(ctx, ch.key, ch.hash)", "err := ctx.Err()",
	},
	{
		"who has left or died uses no copies", "TestCopiesOfThoseWhoHaveLeft",
		"peer_lend.go", "!g.agreement.HasEnded(id)", "(id.Name != \"\")",
	},
	{
		"I3: an eviction forgets no loan", "TestLoanOutlivesEviction",
		"write.go", " || s.lent(w.key) || p", " || p",
	},
	{
		"I6: a load takes no copies back", "TestLoanOutlivesEviction",
		"load.go", "\tc.write(&w)\n\tif w.landed {", "\tgo func() { _ = c.peering.recall(context.Background(), f.key, f.hash) }()\n\tc.write(&w)\n\tif w.landed {",
	},
	{
		"what a Clear drops leaves the ring of copies", "TestClearDropsCopies",
		"clear.go", "\tc.copies.drop()\n", "",
	},
	{
		"I15: hits on copies are reported to the owner", "TestReportedHits",
		"peer_lend.go", "p.c.hot.Add(ringHash(key), key, min(hits, 1<<32), p.c.store.clock.now())", "_ = hits",
	},
	{
		"I3: leases that are held end by the later clock", "TestSuspendedBorrower",
		"peer_copy.go", "now < held+p.c.copies.offset", "now-p.c.store.clock.skew.ahead.Load() < held+p.c.copies.offset",
	},
	{
		"I3: a clock that is set forward ends no loan", "TestOwnersClockJumps",
		"peer_lend.go", "now := p.c.store.clock.steady()", "now := p.c.store.clock.now()",
	},
	{
		"I3: a recall voids the load under a grant", "TestWriteVoidsLoadAlone",
		"peer_copy.go", "if f := s.flights[key]; f != nil && f.grant != nil {", "if false {",
	},
	{
		"I3: so does a recall of everything", "TestOwnerClosesDuringLoadAlone",
		"peer_clear.go", "if f.grant != nil && f.grant.lender == lender {", "if f.grant != nil && lender == nil {",
	},
	{
		"I3: a recall may overtake a grant", "TestWriteOvertakesGrant",
		"request.go", " || q.grant != nil && !s.mayKeep(q.key, q.grant)", "",
	},
	{
		"I3: a recall of everything may overtake a grant", "TestRecallOfAllOvertakesGrant",
		"peer_alone.go", " && s.recalledAll < g.asked", "",
	},
	{
		"I3: a load whose grant is over is not joined", "TestGrantEnds",
		"singleflight.go", " || f.grant != nil && !s.c.inForce(f.grant)", "",
	},
	{
		"I3: what a load under a voided grant brings is not kept", "TestWriteVoidsLoadAlone",
		"peer_alone.go", "\tmay := f.linked && ", "\tmay := ",
	},
	{
		"I3: nothing is granted while a write waits", "TestNoGrantDuringAWrite",
		"peer_alone.go", " || s.writing[key] != nil", "",
	},
	{
		"I3: a grant is recorded", "TestOwnerWithoutTheCache",
		"peer_alone.go", "\tl.lend(loan{to, p.c.store.clock.steady() + int64(aloneFor), p.group.tokens.Add(1)})\n", "",
	},
	{
		"I3b: only who acts grants", "TestNoGrantWithoutPromises",
		"peer_alone.go", " || !p.acts(v, ringHash(key))", "",
	},
	{
		"I3: a cache takes over what its stand-in has granted", "TestOwnerGetsTheCache",
		"peers.go", "\t\tc.inherit(there.retire())\n", "\t\tthere.retire()\n",
	},
	{
		"I3: what is done for all caches is done for one that comes meanwhile", "TestStandInIsReplaced",
		"group_leave.go", "\t\tif g.caches.Load() == caches {\n\t\t\treturn\n\t\t}\n", "\t\treturn\n",
	},
	{
		"I3: a stand-in that has been replaced confirms nothing", "TestStandInIsReplaced",
		"peer_clear.go", "\tif p.c.closed.Load() { // what a stand-in had lent may be another cache's\n", "\tif false {\n",
	},
	{
		"nobody asks an owner again that does not share the key while it is loaded", "TestAloneTogether",
		"peer_alone.go", "if f == nil || f.grant == nil || f.gen != q.gen {", "if true {",
	},
	{
		"I3b: no hit without promises: at the owner", "TestNoHitWithoutPromises",
		"cache.go", "c.store.fresh(n) && (c.peering == nil || c.peering.group.isActing())", "c.store.fresh(n)",
	},
	{
		"I3b: no hit without promises: for a peer", "TestNoHitWithoutPromises",
		"peer_owner.go", "n.flags&flagBorrowed == 0 && p.group.isActing() {\n\t\tp.c.store.touch(n)", "n.flags&flagBorrowed == 0 {\n\t\tp.c.store.touch(n)",
	},
	{
		"I3b: no hit without promises: of many keys", "TestNoHitWithoutPromises",
		"bulk.go", "c.store.fresh(n) && (c.peering == nil || c.peering.group.isActing())", "c.store.fresh(n)",
	},
	{
		"I3b: no hit without promises: of many keys for a peer", "TestNoHitWithoutPromises",
		"peer_many_owner.go", "n.flags&flagBorrowed == 0 && p.group.isActing() {", "n.flags&flagBorrowed == 0 {",
	},
	{
		"I3b: no hit without promises: at a close look", "TestNoHitWithoutPromises",
		"fresh.go", "c.peering != nil && !c.peering.isActing(now) || ", "",
	},
	{
		"I3: no copy is used without promises", "TestNoHitWithoutPromises",
		"peer_copy.go", " && p.mayBorrow(now)", "",
	},
	{
		"I3: what goes to another owner is recalled before the view settles", "TestJoinOutwaitsSilentBorrower",
		"group_view.go", "err := c.recallAll(ctx, func(key string) bool { return !v.isOwn(key) })", "_, err := c, ctx.Err()",
	},
	{
		"I3: copies of the dead are outwaited", "TestCopiesOfTheDeadAreOutwaited",
		"peer_write.go", " && p.group.steady() >= v.quietUntil(place)\n", "\n",
	},
	{
		"I3: who goes by another view gets no lease", "TestNoTermForThoseBehind",
		"group_view.go", "v.tag == 0 || l.Ring() != v.tag", "v.tag == 0",
	},
	{
		"I3: Close takes back what the cache has lent", "TestCloseTakesBack",
		"peering.go", "\terr := p.recallAll(ctx, nil)\n", "\terr := ctx.Err()\n",
	},
	{
		"I3: Close waits for the leases of silent borrowers", "TestCloseOutwaitsSilentBorrower",
		"peering.go", "\t\t_ = p.group.outwait(ctx, l) // which is for 2 s\n", "\t\t_ = l\n",
	},
	{
		"I3: a copy ends when its key has another owner", "TestCopiesEndWithTheirOwner",
		"peer_tenure.go", "v.peers[i].Up() == borrowedOf[V](n).lender", "v.peers[i].Up() != nil",
	},
	{
		"I3: a copy ends when a view was missed", "TestCopiesEndWithTheirOwner",
		"peer_tenure.go", "\tif have < t.cleared.Load() {\n\t\treturn false\n\t}\n", "",
	},
	{
		"a change takes back only what it moves", "TestCopiesOutliveAChange",
		"peer_clear.go", "\t\t\tf.Items = namesOf(lent[l])\n", "\t\t\t_ = lent\n",
	},
	{
		"a recall that makes no sense takes everything", "TestRecallNamesKeys",
		"peer_clear.go", "if len(items) == 0 || !p.giveBackKeys(items) {", "if len(items) == 0 || p.giveBackKeys(items) && false {",
	},
}
