package main

// users.go is about what users supply: functions, codecs, events, loggers.

var ofUsers = []mutant{
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
		"queue.go", "\t\tgo q.run()\n", "\t\tq.mu.Unlock()\n\t\tq.run()\n\t\tq.mu.Lock()\n",
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
		"no line is lost unseen", "TestLinesAreDropped",
		"queue.go", "\t\tq.dropped++\n", "",
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
}
