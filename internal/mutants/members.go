package main

// members.go is about who is a member and what is open to strangers: addresses, discovery, listeners, rings.

var ofMembers = []mutant{
	{
		"who is replaced uses no copies", "TestTwoOfOneName",
		"group_notes.go", "\t\tg.retired.Store(true) // before", "\t\t// before",
	},
	{
		"the last one to leave waits for nobody", "TestShutdownOfAll",
		"group_leave.go", "len(now.ring.members) < 2 { // all", "len(now.ring.members) < 0 { // all",
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
		"a process looks who is at its address", "TestTwoOfOneNameAlone",
		"group_links.go", "\t\tg.agreement.Reached(true)\n", "\t\tg.agreement.Reached(true)\n\t\tgo p.Close()\n",
	},
	{
		"users do not see stand-ins", "TestStandInIsReplaced",
		"group_http.go", "if c == nil || c.isStandIn() {", "if c == nil {",
	},
	{
		"I3b: a new owner acts when the view has settled", "TestJoinOutwaitsSilentBorrower",
		"group_view.go", "return v.owns(place) && (v.hasSettled() || v.prev != nil && v.prev.owns(place))", "return v.owns(place)",
	},
	{
		"what stays with its owner is written while a view settles", "TestJoinOutwaitsSilentBorrower",
		"group_view.go", "\t\tv.prev = old.bare()\n", "",
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
		"two of one name: the older one says so once", "TestTwoOfOneName",
		"group_discovery.go", " || g.replaced.Load()", "",
	},
}
