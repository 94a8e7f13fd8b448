package main

// list.go is what is changed, and the test that has to see it.

// A mutant is one change that breaks an invariant.
type mutant struct {
	invariant, test string // a test outside the root package with its package: internal/link.TestCall
	file, old, new  string
}

var mutants = []mutant{
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
		"I1: a write of the known version unlinks the key's flight", "TestWritesOfAKnownVersionVoidTheLoadUnderWay",
		"write.go", "\t\ts.unlink(w.key)\n", "\t\tif !w.versioned || !hasKnown || w.version != known {\n\t\t\ts.unlink(w.key)\n\t\t}\n",
	},
	{
		"I1: what is loaded without a version has none", "TestLoadsWithoutAVersionInheritNone",
		"write.go", "if hasKnown && (w.versioned || w.f == nil && !w.expire) {", "if hasKnown {",
	},
	{
		"I12: a write of which the owner is not sure goes on", "TestDeleteThatReachesNobody",
		"peer_write.go", "case errors.Is(err, ErrUnconfirmed): // then what", "case how != answered: // then what",
	},
	{
		"I4: a load does not run on the first caller's context", "TestLeaderLeavesWaiterStays",
		"load.go", "lctx := context.WithoutCancel(ctx)", "lctx := ctx",
	},
	{
		"I1: nobody has the answer to a request that was sent before he came", "TestFetchIsNotJoinedLate",
		"peer_fetch.go", "case !before.sent:", "case true:",
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
		"I3: copies are recalled before a write takes effect", "TestLoan",
		"peer_write.go", "err := p.recall(ctx, ch.key, ch.hash)", "err := ctx.Err()",
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
		"replica_hold.go", "r.Clear != label || ", "",
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
		"who is replaced uses no copies", "TestTwoOfOneName",
		"group_view.go", "\t\tg.retired.Store(true) // before", "\t\t// before",
	},
	{
		"who has left or died uses no copies", "TestCopiesOfThoseWhoHaveLeft",
		"peer_lend.go", "!g.agreement.HasEnded(id)", "(id.Name != \"\")",
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
		"a replica that differs is found", "TestSelfCheck",
		"replica_check.go", "if ok && answer.Made != n.stamp &&", "if ok && answer.Made == 0 &&",
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
		"handoff.go", "\treturn v.hasMoved(place) && v.owns(place)", "\treturn false && v.owns(place)",
	},
	{
		"I3: an eviction forgets no loan", "TestLoanOutlivesEviction",
		"write.go", " || s.lent(w.key) || p", " || p",
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
		"I6: a load takes no copies back", "TestLoanOutlivesEviction",
		"load.go", "\tc.write(&w)\n\tif w.landed {", "\tgo func() { _ = c.peering.recall(context.Background(), f.key, f.hash) }()\n\tc.write(&w)\n\tif w.landed {",
	},
	{
		"I6: a caller who leaves does not take the recall along", "TestRecallWithoutTime",
		"peer_lend.go", "\t\t\tl.Close() // so that", "\t\t\t// so that",
	},
	{
		"I13: a Clear asks those who had no such cache", "TestClearAsksReopened",
		"peer_clear.go", "\tf := wire.Frame{Type: wire.Clear, Cache: p.id, Clear: number}\n", "\tif _, shared := l.Codec(p.c.name); !shared {\n\t\treturn nil\n\t}\n\tf := wire.Frame{Type: wire.Clear, Cache: p.id}\n",
	},
	{
		"I13: who knows of no members has cleared nothing", "TestClearNeedsMembers",
		"peer_clear.go", "if len(v.peers) == 0 {", "if false {",
	},
	{
		"I11: the length of a frame", "internal/link.TestBoundsComeBeforeMemory",
		"internal/wire/decode.go", "if n > MaxBody {", "if n > MaxBody+1 {",
	},
	{
		"I11: the length of a key", "internal/wire.TestMalformed",
		"internal/wire/decode.go", "return len(p) <= MaxKey", "return true",
	},
	{
		"I11: the size of a value that comes in pieces", "internal/link.TestBoundsComeBeforeMemory",
		"internal/link/arrival.go", "f.Size > uint64(cfg.MaxValue) || ", "",
	},
	{
		"I11: memory for such a value grows with its pieces", "internal/link.TestMemoryGrowsWithTheBytes",
		"internal/link/arrival.go", "max(roomGrowth*a.room, firstRoom, need)", "int(a.frame.Size)",
	},
	{
		"I11: the memory of all such values", "internal/link.TestArrivalsWait",
		"internal/link/arrival.go", "if s.bytes > s.max && first", "if false && first",
	},
	{
		"I11: what is told to a link that does not take it", "internal/link.TestTellIsBounded",
		"internal/link/tell.go", "waiting > 0 && waiting+n > maxTold", "false",
	},
	{
		"what is told over plain HTTP arrives", "internal/link.TestTellPlain",
		"internal/link/tell.go", "if !e.whole {", "if false {",
	},
	{
		"what is told over plain HTTP arrives in order", "internal/link.TestLateBodiesTellNothing",
		"internal/link/tell.go", "l.served.seq >= c.told", "true",
	},
	{
		"what callers over plain HTTP are told arrives in order", "internal/link.TestTellCallerOvertakes",
		"internal/link/tell.go", "case number >= p.heard:", "case true:",
	},
	{
		"what callers over plain HTTP are told is not sent where it would be overtaken", "internal/link.TestTellCallerInReply",
		"internal/link/accepted.go", "if l.served.number < a.used {", "if false {",
	},
	{
		"what callers over plain HTTP are told in reply waits for no other body", "internal/link.TestTellCallerInReply",
		"internal/link/tell.go", "\t\t\tfrom.accepted.carryIn(l) // what", "\t\t\t// what",
	},
	{
		"what callers over plain HTTP are told goes to the process that has proved its name", "internal/link.TestTellCallerReplays",
		"internal/link/accepted.go", "case l.peer.Name != peer.Name:", "case false:",
	},
	{
		"I11: what waits for a caller over plain HTTP", "internal/link.TestTellCallersIsBounded",
		"internal/link/accepted.go", "b.trim(a, len(a.waiting)-max(maxTold, len(frame)))", "",
	},
	{
		"I11: what waits for all callers over plain HTTP", "internal/link.TestTellCallersIsBounded",
		"internal/link/accepted.go", "for b.bytes > maxBacklog {", "for false {",
	},
	{
		"a caller over plain HTTP is there until nothing has come from it for a lease", "internal/link.TestCallerUpAndDown",
		"internal/link/accepted.go", "l.lease.alive.Store(n.later() + int64(n.cfg.Lease))", "",
	},
	{
		"a lease that was granted does not become shorter", "internal/link.TestTerm",
		"internal/link/lease.go", "l.lease.held.Store(max(l.lease.held.Load(), asked+int64(min(term, lease))))", "l.lease.held.Store(asked + int64(min(term, lease)))",
	},
	{
		"requests live as long as their link, whatever the term of its lease", "internal/link.TestTerm",
		"internal/link/request.go", "o.link.lease.alive.Load()", "o.link.lease.held.Load()",
	},
	{
		"what is held leaves the room of its class", "internal/link.TestHeldRequestsTakeNoRoom",
		"internal/link/call.go", "\t\tl.calls.hold(c.class)\n", "",
	},
	{
		"what is held leaves the room of its class, at the other end", "internal/link.TestHeldRequestsTakeNoRoom",
		"internal/link/request.go", "\tl.rooms.hold(o.class)\n", "",
	},
	{
		"over plain HTTP what is held leaves its slot", "internal/link.TestHeldRequestsTakeNoRoom",
		"internal/link/call.go", "if l.exchange != nil && l.calls.quick() == 0 {", "if false {",
	},
	{
		"classes have rooms of their own", "internal/link.TestRoomsAreSeparate",
		"internal/link/class.go", "\t\treturn writes\n", "\t\treturn reads\n",
	},
	{
		"writes wait for recalls, which have a room of their own", "internal/link.TestWritesOfBothEndsWaitForNoRoom",
		"internal/link/class.go", "return prompt // ", "return writes // ",
	},
	{
		"I11: requests that are held", "internal/link.TestHeldRequestsAreBounded",
		"internal/link/request.go", "return l.rooms.held >= l.node.cfg.MaxHeld", "return false",
	},
	{
		"I11: bodies whose requests are held", "internal/link.TestHeldRequestsAreBounded",
		"internal/link/request.go", "l.served.caller.holding.Load() >= maxHolding", "false",
	},
	{
		"I11: Gets that wait for loads at the owner", "TestTooManyHeldGets",
		"peer_owner.go", "\t\tif from.Crowded() {\n\t\t\treturn failed(errCrowded)\n\t\t}\n\t\t// 3.", "\t\t// 3.",
	},
	{
		"who says goodbye still brings what it has loaded", "internal/link.TestFillsWhileLeaving",
		"internal/link/link.go", " && t != wire.Fill && t != wire.Recall", "",
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
		"I11: links that all wait for memory go on in turn", "internal/link.TestLongValuesWaitForMemory",
		"internal/link/arrival.go", "\t\tfirst.giveCredit()\n\t\tif s.bytes > s.max && first.share.bytes > littleRoom {\n\t\t\treturn\n\t\t}\n", "\t\tif s.bytes > s.max && first.share.bytes > littleRoom {\n\t\t\treturn\n\t\t}\n\t\tfirst.giveCredit()\n",
	},
	{
		"I11: the number of such values", "internal/link.TestBoundsComeBeforeMemory",
		"internal/link/arrival.go", "len(l.in.streams) >= cfg.maxStreams || ", "",
	},
	{
		"I11: requests in flight", "internal/link.TestBoundsComeBeforeMemory",
		"internal/link/request.go", "if twice || full {", "if twice || full && twice {",
	},
	{
		"I11: keys in a request", "TestTooManyKeysInARequest",
		"peer_many_owner.go", "err != nil || keys == wire.MaxItems {", "err != nil {",
	},
	{
		"a stranger is told nothing", "internal/link.TestStrangersLearnNothing",
		"internal/link/handshake.go", "_, _ = w.Write(refusal)\n\t\treturn nil, err", "return nil, refuse(w, err)",
	},
	{
		"a proof is for one link", "internal/link.TestProofIsForOneLink",
		"internal/link/handshake.go", "\tfor _, f := range frames {\n", "\tfor _, f := range frames[1:] {\n",
	},
	{
		"a proof is for one group", "internal/link.TestGroups",
		"internal/link/handshake.go", "\t_, _ = io.WriteString(h, n.cfg.Group)\n", "",
	},
	{
		"a group without secrets answers only to a loopback Host", "TestHazard15OpenDoors",
		"group_http.go", "!isLoopbackHost(asked)", "asked == \"\"",
	},
	{
		"a certificate goes with one name", "TestCertificateOfAnotherMember",
		"group_verify.go", "return state.PeerCertificates[0].VerifyHostname(cmp.Or(g.opt.TLS.ServerName, host))", "_ = cmp.Or(host, \"\")\n\treturn nil",
	},
	{
		"I11: bodies over plain HTTP share a bound", "internal/link.TestBodiesShareABound",
		"internal/link/bodies.go", "s.bytes+n > s.max && s.over != h", "false",
	},
	{
		"I11: a body over the bound goes on", "internal/link.TestBodiesShareABound",
		"internal/link/bodies.go", "if s.over == nil {", "if false {",
	},
	{
		"I11: a body's memory grows as it comes", "internal/link.TestBodiesShareABound",
		"internal/link/bodies.go", "size := min(limit, max(roomGrowth*had, firstRoom))", "size := limit",
	},
	{
		"I11: values in answers over plain HTTP share a bound", "internal/link.TestAnswersShareTheBound",
		"internal/link/arrival.go", "l.exchange.memory.take(l.exchange.ctx, grown)", "l.exchange.memory.take(l.exchange.ctx, 0)",
	},
	{
		"a body over plain HTTP comes, or its request ends", "internal/link.TestBodiesThatDoNotCome",
		"internal/link/bodies.go", "SetReadDeadline(time.Now().Add(patience))", "SetReadDeadline(time.Time{})",
	},
	{
		"nobody keeps a connection for nothing: idle", "TestListenerWaitsForNobody",
		"group_listen.go", ", IdleTimeout: 2 * time.Minute", "",
	},
	{
		"nobody keeps a connection for nothing: a body", "TestListenerWaitsForNobody",
		"group_http.go", "_ = control.SetReadDeadline(at)", "",
	},
	{
		"nobody keeps a connection for nothing: a refusal", "TestListenerWritesToNobody",
		"group_http.go", "_ = control.SetWriteDeadline(at)", "",
	},
	{
		"nobody keeps a connection for nothing: a value", "TestListenerWritesToNobody",
		"internal/link/bodies.go", "SetWriteDeadline(time.Now().Add(n.cfg.OpTimeout))", "SetWriteDeadline(time.Time{})",
	},
	{
		"whoever is admitted may wait for a load", "TestListenerWaitsForLoads",
		"group_http.go", "_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})", "",
	},
	{
		"no deadline for what has come", "TestListenerWaitsForLoads",
		"group_http.go", "if r.ContentLength != 0 {", "if true {",
	},
	{
		"a request over plain HTTP is from a peer", "internal/link.TestPlainReplays",
		"internal/link/prove.go", "if !n.proved(p.mac, rolePlainClient, p.hello, p.digest) {", "if false {",
	},
	{
		"the body of a request is the one that was sent", "internal/link.TestPlainAlteredRequests",
		"internal/link/serveplain.go", "!proof.covers(body.Bytes)", "false",
	},
	{
		"a request is for one process", "internal/link.TestPlainReplays",
		"internal/link/prove.go", "if peer.Called != n.cfg.Instance {", "if false {",
	},
	{
		"a request is served soon", "internal/link.TestPlainReplays",
		"internal/link/prove.go", "late.Abs() > maxSkew", "false",
	},
	{
		"a request is served once", "internal/link.TestPlainReplays",
		"internal/link/prove.go", "if before || seq <= c.floor {", "if before && false || seq <= c.floor {",
	},
	{
		"a number that may have been forgotten is not taken", "internal/link.TestCallersNumbers",
		"internal/link/prove.go", "if before || seq <= c.floor {", "if before {",
	},
	{
		"an answer is from the peer", "internal/link.TestPlainAlteredAnswers",
		"internal/link/seal.go", "if !u.node.proved(mac, rolePlainServer, u.last, data) {", "if false {",
	},
	{
		"an answer is to one request", "internal/link.TestPlainAlteredAnswers",
		"internal/link/handshake.go", "\tfor _, f := range frames {\n", "\tif role == rolePlainServer {\n\t\tframes = frames[1:]\n\t}\n\tfor _, f := range frames {\n",
	},
	{
		"I11: what is queued for a peer has a bound", "internal/link.TestAnswersAreBounded",
		"internal/link/queue.go", "4*min(q.maxValue, q.cfg.MaxValue)", "4*q.maxValue",
	},
	{
		"strangers take no peer's place", "internal/link.TestStrangersDoNotKeepPeersOut",
		"internal/link/visitor.go", "count[v.source] > count[w.source]", "count[v.source] < count[w.source]",
	},
	{
		"strangers take no member's place", "internal/link.TestMembersKeepTheirPlaces",
		"internal/link/visitor.go", "if v.member && !forMember {", "if false {",
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
		"what a Clear drops leaves the ring of copies", "TestClearDropsCopies",
		"clear.go", "\tc.copies.drop()\n", "",
	},
	{
		"I13: whoever clears takes back what he has lent", "TestHazard13ClearTakesBack",
		"peer_clear.go", "if err := p.recallAll(ctx, nil); err != nil {", "if err := ctx.Err(); err != nil {",
	},
	{
		"plain HTTP: a write that was given up comes to nothing", "internal/link.TestPlainLateWrite",
		"internal/link/serveplain.go", "case peer.Seq < c.since:", "case false:",
	},
	{
		"plain HTTP: no rights are given", "TestPlainPassedLoader",
		"internal/link/serveplain.go", "f.Flags &^= wire.Borrow | wire.CanLoad", "f.Flags &^= wire.Borrow",
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
		"I16: a panic of a codec is an error", "TestCodecMisbehaves",
		"peer_codec.go", "err := guard(\"Codec.Decode\", func() (err error) {\n\t\tv, err = p.c.opt.Codec.Decode(b)\n\t\treturn err\n\t})", "var err error\n\tv, err = p.c.opt.Codec.Decode(b)",
	},
	{
		"I16: Goexit in Options.Size does not end a load", "TestSizeMisbehaves",
		"load.go", "c.measure(f.key, o.value, false)", "c.measure(f.key, o.value, true)",
	},
	{
		"I16: a panic of an event's function is logged", "TestEventsMisbehave",
		"load.go", "err := guard(\"Events.Loaded\", func() error {\n\t\tc.opt.Events.Loaded(r)\n\t\treturn nil\n\t})", "c.opt.Events.Loaded(r)\n\tvar err error",
	},
	{
		"I16: a panic of a logger's handler loses a line", "TestLoggerMisbehaves",
		"log.go", "_ = guard(\"the Logger's handler\", func() error {", "_ = func(_ string, f func() error) error { return f() }(\"\", func() error {",
	},
	{
		"I16: nobody waits for a logger's handler", "TestLoggerHangs",
		"log.go", "\t\tgo q.run()\n", "\t\tq.mu.Unlock()\n\t\tq.run()\n\t\tq.mu.Lock()\n",
	},
	{
		"I16: a discovery that panics is watched again", "TestDiscoveryMisbehaves",
		"group_discovery.go", "guard(\"Discovery.Watch\", func() error { return g.opt.Discovery.Watch(g.ctx, g.update) })", "g.opt.Discovery.Watch(g.ctx, g.update)",
	},
	{
		"I16: a panic of Dial is an error", "TestDialMisbehaves",
		"internal/link/dial.go", "return c.Guard(ctx, \"GroupOptions.Dial\", func() (net.Conn, error) { return c.Dial(ctx, network, address) })", "return c.Dial(ctx, network, address)",
	},
	{
		"I16: a panic in a function of TLS is an error", "TestTLSMisbehaves",
		"internal/link/dial.go", "_, err = c.Guard(ctx, \"a function of GroupOptions.TLS\", func() (net.Conn, error) { return secure, secure.HandshakeContext(ctx) })", "err = secure.HandshakeContext(ctx)",
	},
	{
		"I16: functions of TLS are guarded over plain HTTP, too", "TestTLSMisbehaves",
		"internal/link/body.go", "\t\tDialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {\n\t\t\treturn cfg.dialTLS(ctx, address, \"h2\", \"http/1.1\")\n\t\t},\n", "\t\tTLSClientConfig: cfg.TLS,\n",
	},
	{
		"I16: an error that panics when it is looked at is a panic of its function", "TestErrorMisbehaves",
		"guard.go", "\t\t_ = failed.Error()\n", "",
	},
	{
		"HTTP clients get no text of users' functions", "TestHTTPClientsSeeNoErrors",
		"group_http_errors.go", "refused = &refusal{status: s.status, text: s.err.Error()}", "refused = &refusal{status: s.status, text: err.Error()}",
	},
	{
		"I16: what is logged keeps nothing of a link's memory", "TestLinesAreQueued",
		"log.go", "slog.StringValue(strings.Clone(a.Value.String()))", "slog.StringValue(a.Value.String())",
	},
	{
		"I16: no codec runs on the goroutine that reads a link", "TestCodecHangs",
		"serve.go", "return p.c.userCodec\n", "return false\n",
	},
	{
		"I16: no Size runs on the goroutine that reads a link", "TestCodecHangs",
		"serve.go", "return p.c.userCodec || p.c.userSize", "return p.c.userCodec",
	},
	{
		"I16: a codec that hangs keeps no other request waiting", "TestCodecHangs",
		"internal/link/apart.go", "\t\tgo a.run(a.era)\n\t}\n\ta.watch()\n}\n\nfunc (a *apart) run", "\t}\n\ta.watch()\n}\n\nfunc (a *apart) run",
	},
	{
		"a request served apart hears that it is cancelled", "internal/link.TestServedApart",
		"internal/link/request.go", "\t\tgo cancelled(o)\n", "",
	},
	{
		"no line is lost unseen", "TestLinesAreDropped",
		"log.go", "\t\tq.dropped++\n", "",
	},
	{
		"what goes wrong for many keys is logged every ten seconds", "TestFailedRefreshesAreLoggedOnce",
		"log.go", "now.Sub(k.at) < warnEvery {", "now.Sub(k.at) < 0 {",
	},
	{
		"I16: a codec is called without locks", "TestCodecCallsTheCache",
		"peer_owner.go", "\t\ts.unlock()\n\t\tp.addOld(answer, old)", "\t\tp.addOld(answer, old)\n\t\ts.unlock()",
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
	{
		"loads under rights are let in and told, too", "TestRingOfLoads",
		"singleflight.go", "\t\tw.notice = c.peering.notify(ctx, l, f)\n", "",
	},
	{
		"an eviction looks at so many entries and no more", "TestLRUAfterManyHits",
		"lru.go", "for range limit {", "for {",
	},
	{
		"bounds: what is over them leaves before a write returns", "TestBounds",
		"store.go", "s.maxEntries > 0 && s.entries.Load()+s.asides.Load() > s.maxEntries", "s.maxEntries > 0 && s.entries.Load() > s.maxEntries+1",
	},
	{
		"lists that spell addresses in different ways make one ring: IPv6", "TestSpellingsMakeOneRing",
		"group_address.go", "return ip.Unmap().String(), nil", "return host + ip.Zone(), nil",
	},
	{
		"lists that spell addresses in different ways make one ring: localhost", "TestSpellingsMakeOneRing",
		"group_address.go", "err != nil || u.Hostname() != \"localhost\"", "err != nil || u.Host != \"\"",
	},
	{
		"a process that has an IPv4 and an IPv6 address is one member", "TestDNSPeersForms",
		"group_discovery.go", "ip.Unmap().Is4() != is4", "ip.Is6() && is4 && false",
	},
	{
		"nobody waits for a DNS that has no members yet", "TestGroupIsFirstInDNS",
		"group_discovery.go", "errors.As(err, &e) && e.IsNotFound", "errors.As(err, &e) && e.IsTimeout",
	},
	{
		"a start warns of nothing: links", "TestStartWarnsOfNothing",
		"internal/link/peer.go", "level = slog.LevelInfo\n", "_ = 0\n",
	},
	{
		"who refuses a peer says so once", "TestMissingMembersAreLoggedOnce",
		"internal/link/accept.go", "&& now >= n.refusals.told[kind]", "",
	},
	{
		"a refusal is told from a failure", "internal/link.TestBadServers",
		"internal/link/config.go", "case wire.CodeRefused, wire.CodeIdentity, wire.CodeVersion:", "case wire.CodeRefused:",
	},
	{
		"the default codec's name holds the fields", "TestCodecNameHoldsTheShape",
		"codec_shape.go", "s.write(\"%q\", f.name)", "",
	},
	{
		"the default codec's name holds the kinds", "TestCodecNameHoldsTheShape",
		"codec_shape.go", "s.write(\"%v\", k)", "",
	},
	{
		"what would not come back from JSON as it was is refused: interfaces", "TestCodecRefusesWhatWouldChange",
		"codec.go", "c.shape().dynamic || ", "",
	},
	{
		"what would not come back from JSON as it was is refused: strings", "TestCodecRefusesWhatWouldChange",
		"codec_shape.go", "!utf8.ValidString(v.String())", "!utf8.ValidString(\"\")",
	},
	{
		"values of another Version are not shared", "TestCodecsThatDiffer",
		"peering.go", "name += \"@\" + c.opt.Version", "",
	},
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
		"a process looks who is at its address", "TestTwoOfOneNameAlone",
		"group_links.go", "\t\tg.agreement.Reached(true)\n", "\t\tg.agreement.Reached(true)\n\t\tgo p.Close()\n",
	},
	{
		"views: the older process of a name stops at once", "internal/view.TestOlderInstanceGivesWay",
		"internal/view/node.go", "\tn.leave(false)\n", "",
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
		"peers.go", "\t\tif g.caches.Load() == caches {\n\t\t\treturn\n\t\t}\n", "\t\treturn\n",
	},
	{
		"I3: a stand-in that has been replaced confirms nothing", "TestStandInIsReplaced",
		"peer_clear.go", "\tif p.c.closed.Load() { // what a stand-in had lent may be another cache's\n", "\tif false {\n",
	},
	{
		"users do not see stand-ins", "TestStandInIsReplaced",
		"group_http.go", "if c == nil || c.isStandIn() {", "if c == nil {",
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
		"I3b: a new owner acts when the view has settled", "TestJoinOutwaitsSilentBorrower",
		"group_view.go", "return v.owns(place) && (v.hasSettled() || v.prev != nil && v.prev.owns(place))", "return v.owns(place)",
	},
	{
		"I3: what goes to another owner is recalled before the view settles", "TestJoinOutwaitsSilentBorrower",
		"group_view.go", "err := c.recallAll(ctx, func(key string) bool { return !v.isOwn(key) })", "_, err := c, ctx.Err()",
	},
	{
		"what stays with its owner is written while a view settles", "TestJoinOutwaitsSilentBorrower",
		"group_view.go", "\t\tv.prev = old.bare()\n", "",
	},
	{
		"I3: copies of the dead are outwaited", "TestCopiesOfTheDeadAreOutwaited",
		"peer_write.go", " && p.group.steady() >= v.quietUntil(place)\n", "\n",
	},
	{
		"keep-alives of both ends go together", "internal/link.TestKeepAlivesGoTogether",
		"internal/link/lease.go", "follows := l.follows()", "follows := false",
	},
	{
		"who is not asked along with keep-alives any more is asked by itself", "internal/view.TestRenew",
		"internal/view/promise.go", "p.renewed != 0 && now-p.renewed >=", "false && now-p.renewed >=",
	},
	{
		"a member and a voter have one link", "TestOneLinkToEachVoter",
		"group_view.go", "return l.Plain() == nil && l.Err() == nil })", "return false })",
	},
	{
		"all members make the same ring, whatever they had before", "TestRingFromAnother",
		"ring.go", "at >= 0 && old.pointsOf(at) == points", "at >= 0",
	},
	{
		"I3: who goes by another view gets no lease", "TestNoTermForThoseBehind",
		"group_view.go", "v.tag == 0 || l.Ring() != v.tag", "v.tag == 0",
	},
	{
		"I12: a Put is not repeated", "TestPutIsNotRepeated",
		"peer_write.go", "case how == lost && ch.kind == wire.Put:", "case false:",
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
		"I3: Close takes back what the cache has lent", "TestCloseTakesBack",
		"peering.go", "\terr := p.recallAll(ctx, nil)\n", "\terr := ctx.Err()\n",
	},
	{
		"I3: Close waits for the leases of silent borrowers", "TestCloseOutwaitsSilentBorrower",
		"peering.go", "\t\t_ = p.group.outwait(ctx, l) // which is for 2 s\n", "\t\t_ = l\n",
	},
	{
		"Close gives rights back", "TestCloseGivesRightsBack",
		"janitor.go", "p.c.wg.Go(func() { p.giveBack(r, f.key, closed) })", "_ = p",
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
		"peer_clear.go", "\t\tfor key := range s.flights {\n\t\t\tkeys = append(keys, key)\n\t\t}\n", "",
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
		"a file is replaced as a whole", "internal/snapfile.TestFilesAreReplacedWhole",
		"internal/snapfile/write.go", "\tif err := w.file.Sync(); err != nil {\n\t\treturn w.fail(err)\n\t}\n", "",
	},
	{
		"a block of another file is none of this", "internal/snapfile.TestBlocksOfOthers",
		"internal/snapfile/write.go", "binary.LittleEndian.PutUint32(place[:], salt)", "_ = salt",
	},
	{
		"two of one name: the older one says so once", "TestTwoOfOneName",
		"group_discovery.go", " || g.replaced.Load()", "",
	},
}
