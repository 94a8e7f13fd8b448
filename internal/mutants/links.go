package main

// links.go is about links, plain HTTP, bounds of what strangers and peers send.

var ofLinks = []mutant{
	{
		"a thousand that come at once don't drive each other out", "internal/link.TestThousandAtOnce",
		"internal/link/visitor.go", "if equals && v.since > lastDue {", "if equals && v.since-1<<62 > lastDue {",
	},
	{
		"who finds no place for its handshake comes again", "internal/link.TestThousandAtOnce",
		"internal/link/peer.go", "errors.Is(err, errBusy); pause", "false; pause",
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
		"who says goodbye still brings what it has loaded", "internal/link.TestFillsWhileLeaving",
		"internal/link/link.go", " && t != wire.Fill && t != wire.Recall", "",
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
		"strangers take no peer's place", "internal/link.TestCrowdsMakeRoom",
		"internal/link/visitor.go", "count[v.source] > count[w.source]", "count[v.source] < count[w.source]",
	},
	{
		"strangers take no member's place", "internal/link.TestMembersKeepTheirPlaces",
		"internal/link/visitor.go", "if v.member && !newcomer.member {", "if false {",
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
		"a request served apart hears that it is cancelled", "internal/link.TestServedApart",
		"internal/link/request.go", "\t\tgo cancelled(o)\n", "",
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
		"keep-alives of both ends go together", "internal/link.TestKeepAlivesGoTogether",
		"internal/link/lease.go", "follows := l.follows()", "follows := false",
	},
}
