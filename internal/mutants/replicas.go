package main

// replicas.go is about replicas, hedges and what moves between owners.

var ofReplicas = []mutant{
	{
		"I13: DeletePrefix voids loads", "TestDeletePrefix",
		"clear_prefix.go", "range c.flightsIn(i) {", "range []string(nil) {",
	},
	{
		"I13: DeletePrefix takes back what is lent", "TestDeletePrefixTakesBack",
		"peer_clear.go", "return strings.HasPrefix(key, prefix) }", "return false }",
	},
	{
		"I13: what is deleted by prefix isn't restored from a snapshot", "TestSnapshotIsOlder",
		"snapshot_read.go", " || c.snapshots.leavesOut(e.key)", "",
	},
	{
		"I12: a DeletePrefix that is pursued removes nothing that has come since", "TestDeletePrefixIsPursued",
		"peer_pursue.go", "p.clearAgain(ctx, one.began, prefix, one.number)", "p.clearAgain(ctx, 0, prefix, one.number)",
	},
	{
		"I14: nothing comes while a DeletePrefix is being carried out", "TestDeletePrefixTakesItsTime",
		"clear_prefix.go", "mask, tag := p.hideLabel()", "mask, tag := uint64(0), p.tenures.view().tag",
	},
	{
		"I3: replicas are dropped before a write takes effect", "TestReplicas",
		"peer_write.go", "err = p.dropElsewhere(ctx, v, ch.key)", "err = ctx.Err()",
	},
	{
		"I14: a write waits where there are replicas", "TestReplicas",
		"write.go", " || p.isElsewhere(v, place)) {", ") {",
	},
	{
		"I14: custodians that have not cleared give nothing to those who have", "TestReplicasAtAClear",
		"replica_hold.go", "r.Clear != label || !v.hasSettled()", "!v.hasSettled()",
	},
	{
		"I14: nor does one that is about to, or is being, cleared", "TestClearThatTakesItsTime",
		"clear_label.go", "\tmask = newClear()\n", "",
	},
	{
		"I14: a Clear that has failed was none", "TestClearThatTakesItsTime",
		"peer_clear.go", "number, err == nil)", "number, true)",
	},
	{
		"I14: a cache that is opened takes nothing from before", "TestReplicaAtAnOpening",
		"peering.go", "forgotten.floor = math.MaxUint64", "forgotten.floor = min(math.MaxUint64, g.stamps.next())",
	},
	{
		"I9: a key's turn is over before Events.Removed is called", "TestRemovedWritesTheKey",
		"peer_write.go", "\t\tp.endWriting(ch.key, ch.hash, w)\n\t\tp.c.departed(ch.gone)", "\t\tp.c.departed(ch.gone)\n\t\tp.endWriting(ch.key, ch.hash, w)",
	},
	{
		"I9: a write does not wait for Events.Removed of who has a replica", "TestRemovedWritesTheKey",
		"replica_hold.go", "\tr.Answer(done)\n\tif len(gone) > 0 {", "\tp.c.departed(gone)\n\tr.Answer(done)\n\tif false {",
	},
	{
		"a replica that was late ends with its owner's entry", "TestReplicaThatWasLate",
		"replica_hold.go", " && old.expires <= w.e.expires)", ")",
	},
	{
		"replicas answer for an owner that is silent", "TestReplicasOfASilentOwner",
		"peer_ask.go", "if value, err, ok := p.getAtReplicas(q.ctx, v, i, q.key); ok {", "if value, err, ok := p.getAtReplicas(q.ctx, v, i, q.key); false && ok {",
	},
	{
		"replicas are in zones of their own", "TestZones",
		"ring.go", "apart && r.members[f].Zone == r.members[o].Zone", "false",
	},
	{
		"a change of the view is no use", "TestRelistedEntriesAreNotUsed",
		"handoff.go", "\t\te.used.Store(n.used.Load()) // nobody has used it\n", "",
	},
	{
		"a replica that differs is found", "TestSelfCheck",
		"replica_check.go", "if found == some && answer.Made != n.stamp &&", "if found == some && answer.Made == 0 &&",
	},
	{
		"a copy that differs is found", "TestSelfCheckOfCopies",
		"peer_copy.go", "\te.stamp = answer.Made\n", "",
	},
	{
		"hedges have a budget", "TestHedges",
		"peer_hedge.go", "if h.credit.Add(-hedgeShare) < 0 {", "if h.credit.Add(-hedgeShare) < -1<<62 {",
	},
	{
		"I14: replicas that are missing are made again", "TestReplicasAtACrash",
		"group_view.go", "g.spawn(func() { c.repair(v) })", "_ = c",
	},
	{
		"I14: owners peek for what has moved", "TestPeeks",
		"peer_peek.go", "\treturn v.former != nil && v.owns(place) &&", "\treturn false && v.owns(place) &&",
	},
	{
		"what a member missed it gets later", "TestReplicasOfABurst",
		"replica_catchup.go", "!missed.has(place)", "missed.has(place)",
	},
	{
		"who opens late gets its replicas", "TestReplicasComeToWhoOpensLate",
		"replica_catchup.go", "\tb.missLocked(b.keys...)\n", "",
	},
}
