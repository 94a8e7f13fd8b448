package main

// operators.go is about what operators are told.

var ofOperators = []mutant{
	{
		"many events of one class push out none of another", "TestJournalIsBounded",
		"journal.go", "j.histories[class].add(e, class != ofGroup)", "j.histories[ofGroup].add(e, class != ofGroup)",
	},
	{
		"changes of the group are remembered however many come at once", "TestJournalIsBounded",
		"journal.go", "j.histories[class].add(e, class != ofGroup)", "j.histories[class].add(e, true)",
	},
	{
		"events that are not remembered are counted", "TestJournalIsBounded",
		"journal.go", "\te.Skipped = h.skipped.Swap(0)\n", "",
	},
	{
		"an event's key is in memory of its own", "TestJournalKeepsNoMemory",
		"journal.go", "\te.Key = strings.Clone(e.Key) // its memory", "\t_ = strings.Clone(e.Key) // its memory",
	},
	{
		"a process that loses its right to act says so", "TestGroupEvents",
		"group_view.go", "if acts := g.isActing(); acts != acted {", "if acts := g.isActing(); acts && !acted {",
	},
	{
		"a peer is up with its first link", "TestGroupEvents",
		"group_up.go", "return u.byName[l.Name()] == 1", "return true",
	},
	{
		"what was held is not counted with its time", "TestPeerIsSilent",
		"internal/link/health.go", "\tcase held:\n", "\tcase false:\n",
	},
	{
		"counters outlive the peer", "TestTimesOutliveThePeer",
		"internal/link/health.go", "\t\t\tt.AddTo(&n.gone[p])\n", "",
	},
	{
		"the lag of a write is counted where somebody held the key", "TestInvalidationTimes",
		"peer_write.go", "\tif held {\n\t\tp.c.n.invalidations", "\tif true {\n\t\tp.c.n.invalidations",
	},
	{
		"what others may hold in custody counts", "TestInvalidationTimes",
		"peer_write.go", "return lent || p.isElsewhere(v, ringHash(key))", "return lent",
	},
	{
		"a discarded load is counted by its reason", "TestDiscardedByReason",
		"singleflight.go", "\tcase f.gen != gen:\n\t\treturn byView\n", "",
	},
	{
		"a refused write is no discarded load", "TestDiscardedByReason",
		"write.go", "\t\t} else if w.sent == 0 {\n\t\t\ts.c.n.outdated.Add(1)\n", "\t\t} else {\n\t\t\ts.c.n.discard(byVersion)\n",
	},
	{
		"copies are among the ages", "TestAges",
		"peer_copy.go", "\tif c.n.localHits.inc()%clockHits == 0 {\n", "\tif c.n.localHits.inc() < 0 {\n",
	},
	{
		"Explain counts for nothing", "TestExplain",
		"explain.go", "\t\tst := c.judge(n, now)\n", "\t\tst := c.judge(n, now)\n\t\tc.count(n, st)\n",
	},
	{
		"Explain asks who has borrowed", "TestExplain",
		"explain.go", "\task(borrowers)\n", "",
	},
	{
		"a load that a write has made obsolete is shown as such", "TestInFlight",
		"inflight.go", "Void: !f.linked", "Void: false",
	},
	{
		"advice: the corner", "TestAdviceOnCaches",
		"advise.go", "o.SoftTimeout >= o.LoadTimeout", "o.SoftTimeout > o.LoadTimeout",
	},
	{
		"what operators ask for over HTTP takes a secret", "TestHTTPReportsNeedTheSecret",
		"group_http.go", "case !g.admits(w, r, path != \"ops\"):\n", "case !forOperators && !g.admits(w, r, path != \"ops\"):\n",
	},
	{
		"it is off in a group without secrets", "TestHTTPReportsNeedTheSecret",
		"group_http.go", "\tcase !g.admits(w, r, path != \"ops\"):\n", "\tcase forOperators && !g.opt.authenticated():\n\t\tg.serveOperator(w, r, path)\n\tcase !g.admits(w, r, path != \"ops\"):\n",
	},
	{
		"errors of loaders are withheld from reports over HTTP", "TestHTTPReportsWithholdErrors",
		"group_http_reports.go", "\t\t\t\te.Err = errWithheld // of", "\t\t\t\t_ = errWithheld // of",
	},
	{
		"errors of the network are withheld from what is said of peers over HTTP", "TestHTTPReportsWithholdErrors",
		"group_http_reports.go", "p.Err, p.Plain, p.LastErr = told(p.Err), told(p.Plain), told(p.LastErr)", "_ = p",
	},
}
