package main

// snapshots.go is about snapshots.

var ofSnapshots = []mutant{
	{
		"a snapshot is older than a write, though nothing is left of that", "TestSnapshotIsOlder",
		"write.go", "\ts.hasWritten(w.key, w.hash)\n", "",
	},
	{
		"a snapshot is older than a Clear", "TestSnapshotIsOlder",
		"clear.go", "\t\ts.wrote = nil // what is still to be restored is from before\n", "",
	},
	{
		"a snapshot is older than what is there", "TestSnapshotIsOlder",
		"snapshot_read.go", "wrote || store.index.find(e.hash, e.key) != nil {", "wrote && store.index.find(e.hash, e.key) != nil {",
	},
	{
		"the time between two processes counts", "TestSnapshotRestart",
		"snapshot_read.go", "s.c.store.clock.now() - int64(age)}", "s.c.store.clock.now()}",
	},
	{
		"a wall clock that was set back does not prolong lives", "TestSnapshotClocks",
		"snapshot_read.go", "\t\tage = max(age, up-h.Uptime)\n", "\t\t_ = up\n",
	},
	{
		"a file from the future is not used", "TestSnapshotClocks",
		"snapshot_read.go", "\tif age < 0 {\n", "\tif false {\n",
	},
	{
		"what is restored takes nobody's place", "TestSnapshotWithinBounds",
		"snapshot_read.go", "store.closed || !store.fits(int64(e.size))", "store.closed",
	},
	{
		"what was used most leaves last after a restart", "TestSnapshotHottestFirst",
		"lfu.go", "p.window.pushTail(p.slots, id)", "p.window.pushHead(p.slots, id)",
	},
	{
		"what is kept aside is served to nobody", "TestSnapshotInGroupIsUnverified",
		"snapshot_read.go", "\t\tc.aside.add(e)\n", "\t\te.gen.Store(c.store.gen.Load())\n\t\tstore.restore(s.segment, &e.node, uses, of)\n",
	},
	{
		"a write ends what is kept aside", "TestSnapshotInGroupIsUnverified",
		"snapshot_read.go", "\ts.c.aside.drop(key)\n", "",
	},
	{
		"a Clear ends what is kept aside", "TestSnapshotInGroupIsUnverified",
		"clear.go", "\tc.aside.clear()\n", "",
	},
	{
		"a seal is good for one start", "TestSnapshotTrustIsMissing",
		"snapshot_trust.go", "if gone := snapfile.Remove(path); gone != nil {", "if gone := err; gone != nil {",
	},
	{
		"whoever was a member in the end has to be back", "TestSealsAreWeighed",
		"snapshot_trust.go", "\t\t\treturn nothingCounts\n\t\tdefault:", "\t\tdefault:",
	},
	{
		"what somebody who has left may have written does not count", "TestSealsAreWeighed",
		"snapshot_trust.go", "\t\t\tfrom = max(from, epoch)\n", "",
	},
	{
		"seals of several groups say nothing together", "TestSealsAreWeighed",
		"snapshot_trust.go", "if s.lineage != seals[0].lineage {", "if false {",
	},
	{
		"seals end with a member that has written since", "TestSnapshotTrustEnds",
		"snapshot_trust.go", "\tif v.ended {\n", "\tif false {\n",
	},
	{
		"what was written since the start counts", "TestSnapshotTrustEnds",
		"snapshot_trust.go", "\tif t.moments[at].Load() != 0 {\n", "\tif false {\n",
	},
	{
		"what comes from two snapshots in turn is not trusted", "TestSnapshotTrustEnds",
		"snapshot_trust.go", "n.flags&flagUnsure != 0 || ", "",
	},
	{
		"what others have written after a process had ended counts", "TestSnapshotTrust",
		"snapshot_trust.go", "f.Count = max(past.floor, past.moments[at]/2)", "f.Count = past.floor",
	},
	{
		"a snapshot lacks what is written after it", "TestSnapshotTrustDuringTheLast",
		"snapshot_trust.go", "past.moments[at] > 2*past.asOf || ", "",
	},
	{
		"a snapshot of a replica lacks what its owner writes after it", "TestSnapshotTrustForgetsLate",
		"replica_hold.go", "\tp.trust.note(r.Key)\n", "",
	},
	{
		"what is dropped as the last snapshot begins is noted when it has gone", "TestSnapshotTrustForgetsLate",
		"replica_hold.go", "\tw := write[V]{key: r.Key, hash: hash, drop: true}\n\tgone := p.c.writeQuietly(&w)\n\t// Before the removal, the last snapshot might begin after this and yet find the key.\n\tp.trust.note(r.Key)\n", "\tp.trust.note(r.Key)\n\tw := write[V]{key: r.Key, hash: hash, drop: true}\n\tgone := p.c.writeQuietly(&w)\n",
	},
	{
		"a Clear counts that a process which leaves has not heard of", "TestSnapshotTrustIsMissing",
		"peer_clear.go", "	p.trust.cleared() // who", "	// who",
	},
	{
		"a group that members of the last one have founded meanwhile may have written", "TestSnapshotTrustIsMissing",
		"snapshot_trust.go", "p.group.lacks(v, seals)", "p.group.lacks(v, nil)",
	},
	{
		"a snapshot is from before a Clear", "TestSnapshotTrustDuringTheLast",
		"clear.go", "\t\tc.peering.trust.cleared()\n", "",
	},
	{
		"a file is replaced as a whole", "internal/snapfile.TestFilesAreReplacedWhole",
		"internal/snapfile/write.go", "\tif err := w.file.Sync(); err != nil {\n\t\treturn w.fail(err)\n\t}\n", "",
	},
	{
		"a block of another file is none of this", "internal/snapfile.TestBlocksOfOthers",
		"internal/snapfile/write.go", "binary.LittleEndian.PutUint32(place[:], salt)", "_ = salt",
	},
}
