package main

// group.go is about requests between members: rights, holds, writes, Clears, GetMany.

var ofGroup = []mutant{
	{
		"I2: a write ends the holds of its key in other processes", "TestWritesEndHolds",
		"singleflight.go", "\t\t\ts.c.peering.void(f)\n", "",
	},
	{
		"I2: a write ends the hold of a right", "TestWritesEndHolds",
		"peer_copy.go", "\tp.holds.void(r.Key)\n", "",
	},
	{
		"I2: a hold ends with its link", "TestHoldsEndWithTheLink",
		"peer_right.go", "\tp.holds.lost(l)\n", "",
	},
	{
		"I2: the end of a hold may come before the hold", "TestVoidOvertakesHold",
		"peer_held.go", "if h.voids.Load() != voids {", "if false {",
	},
	{
		"I10: a crash of the owner fails no Lookup", "TestLookupsAtACrash",
		"peer_lookup.go", "redial := attempt == 0 && isBroken(err)", "redial := false",
	},
	{
		"I10: a GetMany goes on with the next owner", "TestGetManyAtACrash",
		"peer_many.go", "redial := b.err != nil && r.attempt == 0 && isBroken(b.err)", "redial := false",
	},
	{
		"I12: a write of which the owner is not sure goes on", "TestDeleteThatReachesNobody",
		"peer_write.go", "case errors.Is(err, ErrUnconfirmed): // then what", "case how != answered: // then what",
	},
	{
		"I1: nobody has the answer to a request that was sent before he came", "TestFetchIsNotJoinedLate",
		"peer_fetch.go", "case !before.sent:", "case true:",
	},
	{
		"I5: a request of a peer is not passed on", "TestHazard15PlainHTTP",
		"group_http.go", "r.Header.Get(PeerHeader) != \"\" && owner != g.opt.Name", "owner == \"\"",
	},
	{
		"I6: a load under a right does not win over a write", "TestHazard02HolderKeepsLoading",
		"singleflight.go", "if f := s.flights[key]; f != nil {\n\t\tf.linked = false", "if f := s.flights[key]; f != nil && f.right == nil {\n\t\tf.linked = false",
	},
	{
		"I6: a caller who leaves does not take the recall along", "TestRecallWithoutTime",
		"peer_lend.go", "\t\t\tl.Close() // so that", "\t\t\t// so that",
	},
	{
		"I13: a Clear asks those who had no such cache", "TestClearAsksReopened",
		"peer_clear.go", "\tf := wire.Frame{Type: wire.Clear, Cache: p.id, Key: prefix, Clear: number}\n", "\tif _, shared := l.Codec(p.c.name); !shared {\n\t\treturn nil\n\t}\n\tf := wire.Frame{Type: wire.Clear, Cache: p.id}\n",
	},
	{
		"I13: who knows of no members has cleared nothing", "TestClearNeedsMembers",
		"peer_clear.go", "if len(v.peers) == 0 {", "if false {",
	},
	{
		"I11: Gets that wait for loads at the owner", "TestTooManyHeldGets",
		"peer_owner.go", "\t\tif from.Crowded() {\n\t\t\treturn failed(errCrowded)\n\t\t}\n\t\t// 3.", "\t\t// 3.",
	},
	{
		"a Fill that cannot be sent ends the right", "TestFillThatCannotBeSent",
		"peer_right.go", "\tif err != nil {\n\t\tl.Close()\n\t}\n", "\t_ = err\n",
	},
	{
		"a Fill that is too long ends the right", "TestFillThatIsTooLong",
		"peer_right.go", "\t\t_, err = l.Send(context.Background(), none, ignore{})\n", "\t\t_, err = none, nil\n",
	},
	{
		"I11: keys in a request", "TestTooManyKeysInARequest",
		"peer_many_owner.go", "err != nil || keys == wire.MaxItems {", "err != nil {",
	},
	{
		"I13: whoever clears takes back what he has lent", "TestHazard13ClearTakesBack",
		"peer_clear.go", "if err := p.recallAll(ctx, concerns); err != nil {", "_ = concerns\n\tif err := ctx.Err(); err != nil {",
	},
	{
		"loads under rights are let in and told, too", "TestRingOfLoads",
		"singleflight.go", "\t\tw.notice = c.peering.notify(ctx, l, f)\n", "",
	},
	{
		"values of another codec do not come from the owner", "TestCodecOfARequest",
		"peer_owner.go", "if r.Codec() != p.codec && p.serveAlone(r) {", "if false {",
	},
	{
		"values of another codec are not stored", "TestCodecOfARequest",
		"peer_write.go", "case r.Type == wire.Put && r.Codec() != p.codec:", "case false:",
	},
	{
		"I12: a Put is not repeated", "TestPutIsNotRepeated",
		"peer_write.go", "case how == lost && ch.isOnce():", "case false:",
	},
	{
		"I12: a Delete that is repeated undoes nothing that came later", "TestPursuitUndoesNothing",
		"write.go", "w.asOf != 0 && old != nil && old.born > w.asOf", "false",
	},
	{
		"I12: what could not be confirmed goes on", "TestPursuitUndoesNothing",
		"peer_write.go", "\t\tp.pursuits.add(ch.key, began)\n", "",
	},
	{
		"I12: pursuits end with the cache", "TestPursuitsEndAtClose",
		"peer_pursue.go", "\t\tcase <-p.c.stop:\n\t\t\tcancel()\n", "",
	},
	{
		"Close gives rights back", "TestCloseGivesRightsBack",
		"janitor.go", "p.c.wg.Go(func() { p.giveBack(r, f.key, closed) })", "_ = p",
	},
	{
		"H7: GetMany gives up an owner that is silent", "TestOwnerStandsStillUnderLoad",
		"peer_many.go", "if !q.s.hasHeard() && s.isLong(q.l) {", "if false {",
	},
	{
		"I2: a view ends the holds of the one before", "TestHoldsEndWithTheView",
		"peer_tenure.go", "\tp.holds.forget()\n", "",
	},
	{
		"I13: a Clear that is pursued voids loads", "TestPursuedClearVoidsLoads",
		"peer_clear.go", "keys := p.c.flightsIn(i)", "var keys []string",
	},
	{
		"I13: a Clear clears once where it is confirmed", "TestClearIsNotRepeatedWhereItWasConfirmed",
		"peer_clear.go", "if peer != nil && !done.is(i) {", "if peer != nil {",
	},
	{
		"I12: an Expire settles no Delete", "TestExpireSettlesNoDelete",
		"peer_write.go", "errors.Is(err, ErrNotReplicated)) && ch.kind != wire.Expire:", "errors.Is(err, ErrNotReplicated)):",
	},
	{
		"a GetMany takes in answers while it waits for loads", "TestGetManyLoadsAtOnceWhatItMayWhileOthersLoad",
		"bulk.go", "err := w.wait(soft, r.changed)", "err := w.wait(soft, nil)",
	},
	{
		"a GetMany loads at once what it gets the right to", "TestGetManyLoadsAtOnceWhatItMay",
		"peer_many.go", "\tr.startBulk()\n}\n\n// takeFrom", "\tif r.open == 0 {\n\t\tr.startBulk()\n\t}\n}\n\n// takeFrom",
	},
	{
		"a GetMany with a loader loads for itself in the end", "TestGetManyLoadsForItselfInTheEnd",
		"bulk.go", "\tcase !m.canLoad():", "\tcase true:",
	},
	{
		"what an owner cannot send ends no wait for other keys", "TestGetManyBesideAKeyThatCannotBeSent",
		"peer_many.go", "b.unshared, b.lacking = err, append(b.lacking, i)", "b.unshared, b.lacking = err, append(b.lacking, i)\n\tb.lack(0, len(b.keys), err)",
	},
	{
		"a right is known by its token when its cache is not", "TestCloseBesideAGrant",
		"peer_owner.go", "\t\t\tc.revoke(r.Key, r.Token, r.Link())\n", "\t\t\t_ = c\n",
	},
	{
		"nobody waits for the copies of a closed cache", "TestRecallFromClosedCache",
		"peer_owner.go", "case wire.Recall, wire.Drop: // it is closed, and what it had is gone", "case 0:",
	},
	{
		"a shutdown leaves before it drains", "TestShutdownWithASlowLoad",
		"peers.go", "\tg.leave(ctx)\n\tg.mu.Lock()\n", "\tg.mu.Lock()\n",
	},
}
