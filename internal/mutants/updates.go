package main

// updates.go is about conditional writes.

var ofUpdates = []mutant{
	{
		"an Update goes by stamps", "TestUpdateComparesStamps",
		"conditional.go", " && s.c.current(old) && old.stamp == w.stamp):", " && s.c.current(old)):",
	},
	{
		"an Update goes by nodes where there are no stamps", "TestUpdateComparesStamps",
		"conditional.go", "(old == w.node || !there)):", "true):",
	},
	{
		"an Incr does not prolong its number's life", "TestIncr",
		"counter.go", "byNode: true, keep: there}", "byNode: true}",
	},
	{
		"an Update does not prolong its value's life", "TestUpdate",
		"peer_update.go", "up.keep = up.stamp != 0 && !ch.put.hasTTL", "up.keep = false",
	},
	{
		"a Delete that is tried again removes what was made of the old value", "TestDeletesAndWhatIsMadeOfTheOld",
		"write.go", "\t\t\te.born = old.born\n", "",
	},
	{
		"a condition is checked when the write takes effect", "TestIncr",
		"write.go", "if w.cond != nil && !s.holds(w.cond, old) {", "if w.cond != nil && w.writing == nil && !s.holds(w.cond, old) {",
	},
	{
		"what was not answered is not sent again", "TestUpdatesAreSentOnce",
		"conditional.go", "return ch.kind == wire.Put || ch.up != nil", "return ch.kind == wire.Put",
	},
	{
		"nothing is removed after a conditional write that is not confirmed", "TestUpdatesAreSentOnce",
		"peer_write.go", "\tcase ch.up != nil: // either", "\tcase false: // either",
	},
	{
		"an Update does not take a guess for what is there", "TestUpdateDoesNotTrustGuesses",
		"update.go", "\t\t\tif !isGuess {\n", "\t\t\tif true {\n",
	},
	{
		"a function that hangs keeps nobody else from an Update", "TestUpdateFunctionMisbehaves",
		"update.go", "\t\tif now == passed {\n", "\t\tif now == passed && false {\n",
	},
	{
		"a conditional Put that fails changes nothing", "TestConditionalWrites",
		"write.go", "if tooLarge && ch.up != nil {", "if false {",
	},
}
