package main

// store.go is about what is stored, how much it takes, when it leaves, and who is told.

var ofStore = []mutant{
	{
		"I8: values are accounted", "TestAccountedBytesAgainstHeap",
		"entry.go", "sizeof.Class(int64(len(key))) + int64(size)", "sizeof.Class(int64(len(key))) + int64(size)/4",
	},
	{
		"I8: the walk of a value is bounded", "internal/sizeof.TestWalkIsBounded",
		"internal/sizeof/sizeof.go", "k < n && w.left > 0", "k < n",
	},
	{
		"I8: what a walk does not see is estimated", "internal/sizeof.TestSizeofArraysInSlices",
		"internal/sizeof/sizeof.go", "if !w.sample || k == 0", "if k >= 0",
	},
	{
		"I9: a callback runs without locks", "TestCallbacksMayCallTheCache",
		"write.go", "\t\tgone, more = c.store.trim(nil)\n\t\tc.store.mu.Unlock()\n\t}\n\tfor", "\t\tgone, more = c.store.trim(nil)\n\t\tc.departed(gone)\n\t\tc.store.mu.Unlock()\n\t}\n\tfor",
	},
	{
		"Close tells of every value", "TestRemovedIsToldOfEachValueOnce",
		"cache.go", "\tif c.opt.Events.RemovedAtClose {\n", "\tif false {\n",
	},
	{
		"Close does not wait for itself", "TestRemovedMisbehavesAtClose",
		"cache.go", "\t\tc.wg.Go(func() { c.departedIn(dropped, CauseClosed) })\n\t}\n", "\t\tc.departedIn(dropped, CauseClosed)\n\t}\n",
	},
	{
		"a value that stays is not reported", "TestRemovedIsToldOfEachValueOnce",
		"write.go", "keeps := w.stored && (w.expire || w.same)", "keeps := false",
	},
	{
		"a copy is the owner's to close", "TestShutdownTellsOfItsOwnValues",
		"clear.go", "if n.flags&flagBorrowed != 0 {\n\t\t\t\tcontinue", "if false {\n\t\t\t\tcontinue",
	},
	{
		"I1: an Expire revives nothing that has left since", "TestExpireRevivesNothingThatLeaves",
		"write.go", "\t\tw.e = nil // what the first look made may be of an entry that has left since\n", "",
	},
	{
		"an entry leaves at its own deadline", "TestNegativeEntriesExpireAtTheirOwnTime",
		"store.go", "s.deadline(n) >= s.deadline(old)", "n.expires >= old.expires",
	},
	{
		"All shows what is there", "TestAllLooksAgain",
		"cache.go", "\t\t\t\tn = c.store.index.find(n.hash, n.key) // as it is now: a larger table may have replaced this one\n", "",
	},
	{
		"tombstones count towards MaxBytes", "TestTombstonesWithinMaxBytes",
		"store.go", "s.bytes.Load() + s.tombs.bytes.Load()", "s.bytes.Load()",
	},
	{
		"a tombstone makes room for itself", "TestTombstonesWithinMaxBytes",
		"write.go", "\tmore := w.grown\n", "\tmore := false\n",
	},
	{
		"the oldest tombstone is forgotten", "TestOldestTombstonesAreForgotten",
		"tombstones.go", "len(t.at) > 0 && len(t.at) >= t.limit", "false",
	},
	{
		"I13: nothing from before a Clear is served after it", "TestHazard13ClearAgainstLoad",
		"clear.go", "func (c *Cache[V]) clearHere(number uint64) {\n", "func (c *Cache[V]) clearHere(number uint64) {\n\tif c.peering != nil {\n\t\treturn\n\t}\n",
	},
	{
		"what a Clear drops is told to Events.Removed", "TestRemovedIsToldOfEachValueOnce",
		"clear.go", "c.departedIn(dropped, CauseDeleted)", "_ = dropped",
	},
	{
		"what a Clear drops is forgotten by the policy and the wheel", "TestClearBesideOthers",
		"clear.go", "\t\tc.store.reset()\n", "",
	},
	{
		"what is stored expires by the later clock", "TestSuspended",
		"janitor.go", "\ts.clock.skew.follow()\n", "",
	},
	{
		"hits on short-lived entries read the exact time", "TestHitsAreNotLate",
		"fresh.go", "case life <= alwaysExact ||", "case",
	},
	{
		"hits set the coarse clock where the janitor does not run", "TestHitsSetTheCoarseClock",
		"clock.go", "\t\tc.coarse.CompareAndSwap(was, now)", "\t\t_ = was",
	},
	{
		"the janitor does not wait for Events.Removed", "TestTheClockGoesOnWhenRemovedHangs",
		"janitor.go", "\t\tc.wg.Go(func() {\n\t\t\tdefer c.sweeping.Store(false)\n\t\t\tc.expire(now)\n\t\t})", "\t\ts.mu.Unlock()\n\t\tc.expire(now)\n\t\ts.mu.Lock()\n\t\tc.sweeping.Store(false)",
	},
	{
		"an IdleTTL that is short is counted by the exact time", "TestShortIdleTTLs",
		"janitor.go", "{o.TTL, o.IdleTTL, o.NegativeTTL}", "{o.TTL, o.NegativeTTL}",
	},
	{
		"an eviction looks at so many entries and no more", "TestLRUAfterManyHits",
		"lru.go", "for range limit {", "for {",
	},
	{
		"bounds: what is over them leaves before a write returns", "TestBounds",
		"store.go", "s.maxEntries > 0 && s.entries.Load()+s.asides.Load() > s.maxEntries", "s.maxEntries > 0 && s.entries.Load() > s.maxEntries+1",
	},
}
