package main

// loads.go is about loads, those who wait for them, and what a write does to them.

var ofLoads = []mutant{
	{
		"I1: a load that a write has voided stores nothing", "TestWritesVoidTheLoadUnderWay",
		"write.go", "case !f.linked || f.gen != store.gen.Load():", "case f.gen != store.gen.Load():",
	},
	{
		"I1: a negative result is guarded like a value", "TestNegativeDoesNotOutliveAPut",
		"write.go", "case !f.linked || f.gen != store.gen.Load():", "case !f.linked && w.e.flags&flagNegative == 0:",
	},
	{
		"I2: a write unlinks the key's flight", "TestWritesVoidTheLoadUnderWay",
		"write.go", "\t\ts.unlink(w.key)\n", "",
	},
	{
		"I1: a write of the known version unlinks the key's flight", "TestWritesOfAKnownVersionVoidTheLoadUnderWay",
		"write.go", "\t\ts.unlink(w.key)\n", "\t\tif !w.versioned || !hasKnown || w.version != known {\n\t\t\ts.unlink(w.key)\n\t\t}\n",
	},
	{
		"I1: what is loaded without a version has none", "TestLoadsWithoutAVersionInheritNone",
		"write.go", "if hasKnown && (w.versioned || w.f == nil && !w.expire) {", "if hasKnown {",
	},
	{
		"I4: a load does not run on the first caller's context", "TestLeaderLeavesWaiterStays",
		"load.go", "lctx := context.WithoutCancel(ctx)", "lctx := ctx",
	},
	{
		"I4: the last waiter takes the flight along", "TestLastWaiterCancelsAndNewcomerLoads",
		"singleflight.go", "if abandoned && f.linked {", "if false {",
	},
	{
		"I4: Goexit in a loader frees the waiters", "TestPanicAndGoexit",
		"guard.go", "\tdefer func() { done(v, err) }()\n", "\tdefer func() {\n\t\tif _, bad := err.(*PanicError); !bad {\n\t\t\tdone(v, err)\n\t\t}\n\t}()\n",
	},
	{
		"a load that its loader outlives is reported once", "TestHungLoadsAreReportedAtTheTimeout",
		"load.go", "\t\tif stop() {\n", "\t\tif stop() || true {\n",
	},
	{
		"a loader that hangs keeps its slot", "TestHungLoaderKeepsItsSlot",
		"load.go", "\t\tp.report(err)\n", "\t\tp.report(err)\n\t\tp.release()\n\t\tp.release = func() {}\n",
	},
	{
		"a GetMany runs so many single loads at once", "TestGetManyLoadsSingleKeysInTurn",
		"bulk.go", "context.AfterFunc(p.f.ctx, m.places.free)", "m.places.free()",
	},
	{
		"a bulk loader is given so many keys at once", "TestGetManyInBatches",
		"bulk.go", "if r.missing == c.opt.BulkSize {", "if false {",
	},
	{
		"a load that a running load waits for is let in", "TestQueuedLoadsAreLetIn",
		"waits.go", "\tt.want()\n", "",
	},
	{
		"no other load passes the cap", "TestOnlyWantedLoadsPassTheCap",
		"origin.go", "l.whenWanted(letIn)", "letIn()",
	},
	{
		"loads that wait for each other are told", "TestRingOfLoads",
		"waits.go", "if l.mayBeWaitedFor() && l.isWaitedForBy(t) {", "if false {",
	},
	{
		"what outlives its load waits on nobody's behalf", "TestOnlyWantedLoadsPassTheCap",
		"waits.go", "\tl.ended, l.waits = true, nil", "\tl.waits = nil",
	},
}
