package main

// traces.go is about what a Tracer is told.

var ofTraces = []mutant{
	{
		"requests carry what tells about their spans", "TestTraceAcrossProcesses",
		"peer_trace.go", "\t\tf.Trace = s.carried\n", "",
	},
	{
		"what is too long to be carried is not sent", "TestTraceOfOthers",
		"trace.go", "if len(one.carried) > MaxCarried {", "if len(one.carried) > 2*MaxCarried {",
	},
	{
		"a request that carries nothing is served without a span", "TestTraceOfOthers",
		"peer_trace.go", "p.c.tracer != nil && len(r.Trace) > 0 &&", "p.c.tracer != nil &&",
	},
	{
		"the span of a request that is served ends with it", "TestTraceAcrossProcesses",
		"internal/link/request.go", "return queued, l.maybeGone(), o.answered", "return queued, l.maybeGone(), nil",
	},
	{
		"whoever a load was started for is not told that it has waited for it", "TestTraceOfLoads",
		"trace.go", "if l.within == nil || !bytes.Equal(t.user.Carry(l.within), t.user.Carry(ctx)) {", "{",
	},
	{
		"who leaves before the load ends is told which it was", "TestTraceOfLoads",
		"singleflight.go", "w.c.tracer != nil && w.f.joined.Load()", "w.c.tracer != nil && w.f.joined.Load() && w.f.isDone()",
	},
	{
		"who joins a refresh is told of it", "TestTraceOfLoads",
		"waits.go", "if f.waiters > 0 || f.refresh {", "if f.waiters > 0 {",
	},
	{
		"the owner's answer tells about the load", "TestWaitersAreTold",
		"peer_trace.go", "\tanswer.Trace = l.load\n", "",
	},
	{
		"so does the fill of who has loaded", "TestWaitersAreTold",
		"peer_right.go", "\t\tfill.Trace = t.load\n", "\t\t_ = t\n",
	},
	{
		"a request that waits at the owner is told of the load", "TestWaitersAreTold",
		"peer_trace.go", "\t\ts.loads = append(s.loads, l)\n", "",
	},
	{
		"a load in the background is told as one", "TestTraceOfLoads",
		"trace.go", "\t\ts.Kind = SpanRefresh\n", "",
	},
	{
		"no Tracer keeps a link from being read", "TestTracerHangs",
		"serve.go", "\tif p.isTraced(r) {\n\t\treturn true\n\t}\n", "\tif p.isTraced(r) {\n\t\tp.c.tracer.start(p.group.ctx, Span{Kind: SpanServe})\n\t\treturn true\n\t}\n",
	},
}
