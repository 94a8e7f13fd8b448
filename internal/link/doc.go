// Package link keeps the connections between peers: long-lived, authenticated
// once, with many requests in flight on each.
//
// A process has one [Node]. It is an http.Handler that takes links in (GET
// with Upgrade: covey/1, answered with 101, from then on the frames of
// package wire both ways over the same connection), and it dials links out:
// [Node.Peer] names a peer, [Peer.Link] dials it on first use and again
// whenever the link has gone down.
//
// A [Link] is the same at both ends: either may ask and answer.
//
//	answer, err := l.Call(ctx, &wire.Frame{Type: wire.Get, Cache: node.CacheID("users"), Key: "42"})
//	op, err := l.Send(ctx, &request, sink)  // the same without a goroutine that waits: sink.Answer is called
//	op, err := l.Push(&request, sink)       // never waits, for use under a lock: a full queue ends the link
//	l.Cancel(op, sink)                      // nobody waits for it any more
//
// Requests from the other end arrive at [Config.Serve], one after the other,
// on the goroutine that reads the link. What can be answered at once is
// answered there, which is what makes small requests cheap:
//
//	func serve(r *link.Request) {
//		switch r.Type {
//		case wire.Get:
//			r.Answer(&wire.Frame{Type: wire.Hit, Value: v}) // never blocks: may be called under a lock
//		case wire.Put:
//			op := r.Keep(cancelled) // the answer comes later, from wherever
//			go func() { ...; op.Answer(&wire.Frame{Type: wire.Done}) }()
//		}
//	} // neither answered nor kept: the answer is wire.Unsupported
//
// What has no answer, and must not wait for anything, is told:
//
//	err := l.Tell(&wire.Frame{Value: b}) // Config.Told gets it
//
// Every kept op is ended by exactly one last Answer, even if it was cancelled
// or its link is gone. Until then the handshake of the same process's next
// link waits. A write asks [Op.Live] in the critical section in which it
// takes effect.
//
// Each link carries a lease both ways, see [Link.Alive] and [Link.GivenUntil].
// Its term may be shorter than Config.Lease, or 0: see [Config.Term]. A link
// goes down when the other end has been silent for Config.Lease, breaks the
// protocol or does not read what it is sent. [Config.Down] has returned
// before the next link to the same peer is dialled, and before the next hello
// of the same process is answered.
//
// Two goroutines serve a link: one reads, one writes. The writer takes all
// that is queued in one write, without timers. Values over 16 KiB travel in
// pieces between which everything else overtakes them.
//
// Where something in between refuses upgrades, and Config.Plain allows it, a
// link has no connection of its own: its frames travel in the bodies of POST
// requests to v1/ops. It is used like any other; see [Link.Plain].
package link
