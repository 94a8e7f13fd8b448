package covey

// peer_notice.go tells the peer that loads a key under a right which loads wait for it
// here, at the owner. So the peer lets the load in, and knows a load of its own
// that the owner's load waits for.

import (
	"context"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// A notice says that a load of this process waits, as long as the request is open.
type notice struct {
	link    *link.Link
	op      uint32
	refused chan struct{} // closed when the peer's load waits for that load
}

// notify tells the holder of f's right, which is another process, that l waits for f. It returns
// nil if there is nobody to tell.
func (p *peering[V]) notify(ctx context.Context, l *loading, f *flight[V]) *notice {
	if !l.isRunning() {
		return nil
	}
	s := p.c.lock(f.hash)
	r := f.right
	s.unlock()
	if r == nil {
		return nil // it has just ended
	}
	n := &notice{link: r.link, refused: make(chan struct{})}
	var err error
	req := &wire.Frame{Type: wire.Await, Cache: p.id, Key: f.key, Chain: l.chain(p.group)}
	if n.op, err = n.link.Send(ctx, req, n); err != nil {
		return nil // the link is down, and the right will pass on
	}
	return n
}

// end takes the notice back. n may be nil.
func (n *notice) end() {
	if n != nil {
		n.link.Cancel(n.op, n)
	}
}

// over returns what is closed when the peer's load waits for the one here.
func (n *notice) over() <-chan struct{} {
	if n == nil {
		return nil
	}
	return n.refused
}

// Answer implements link.Sink.
func (n *notice) Answer(f *wire.Frame, _ bool) {
	if f.Type == wire.Failed && f.Code == wire.CodeRecursive {
		close(n.refused)
	}
}

// Slow implements link.Sink.
func (n *notice) Slow() {}

// Fail implements link.Sink.
func (n *notice) Fail(error) {}

// serveAwait takes a notice of the owner of a key that this process loads, or soon
// will.
func (p *peering[V]) serveAwait(r *link.Request) {
	l := loadingOf(contextOf(context.Background(), p.group, &r.Frame))
	if l == nil || r.Link().Crowded() {
		r.Answer(&wire.Frame{Type: wire.Done})
		return
	}
	t := p.away(r.Key)
	if !l.enter(t) {
		r.Answer(failed(recursive(p.c.name, r.Key)))
		return
	}
	op := r.Keep(func(op *link.Op) {
		l.leave(t)
		op.Answer(&wire.Frame{Type: wire.Failed, Code: wire.CodeCancelled})
	})
	op.Held()
}
