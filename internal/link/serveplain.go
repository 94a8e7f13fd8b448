package link

// serveplain.go answers requests that come in the bodies of POST requests; see plain.go.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// served is what a link has that is one exchange, at the end that answers.
type served struct {
	caller *caller
	from   *Link  // that stands for the caller; nil: it has left
	seq    uint64 // of its hello
	number uint64 // of the hello in the answer
	over   bool   // all has been answered; guarded by the link's mutex
}

// ServeOps answers the requests in the body of r, if it comes from a process that has proved that
// it knows one of the secrets. It does not check the path: whoever mounts it does.
func (n *Node) ServeOps(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "covey: this is where peers send their requests, by POST", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	var c *caller
	proof, peer, err := n.know(r.Header.Get("Authorization"))
	if err == nil {
		c, err = n.enterBody(&peer)
	}
	if err != nil {
		n.refusePlain(w, r, err)
		return
	}
	defer n.exitBody(c)
	// All of it is read first, since what is in between may let no answers through before.
	body := n.ReadBody(w, r, n.cfg.MaxValue+2*n.cfg.MaxQueue)
	if body == nil {
		return
	}
	defer body.Release()
	if !proof.covers(body.Bytes) {
		n.refusePlain(w, r, fmt.Errorf("%w: the body of a request of %q is not the one that it has sent", ErrRefused, peer.Name))
		return
	}
	if err := whole(body.Bytes); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep answers back
	conn := &responseConn{sealed: sealer{node: n, last: proof.mac, w: w}, rc: http.NewResponseController(w), patience: n.cfg.OpTimeout}
	own := n.hello("")
	if err := n.acquainted(&own, &peer, r.TLS); err != nil {
		n.logRefusal(r.RemoteAddr, refuse(conn, err))
		return
	}
	if peer.Target != own.Name {
		_ = refuse(conn, &HandshakeError{wire.CodeIdentity, fmt.Sprintf("this is %q, not %q: check the list of members", own.Name, peer.Target)})
		return
	}
	l := newLink(n, conn, nil, &peer)
	from, err := n.callerLink(c, &peer)
	if err == nil {
		l.served = &served{caller: c, from: from, seq: peer.Seq}
		err = n.admit(r.Context(), l, c, &peer)
	}
	if err != nil {
		if errors.Is(err, ErrRefused) {
			n.logRefusal(r.RemoteAddr, err)
		}
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer n.remove(l)
	n.heard(&peer, nil)
	l.serveBody(r.Context(), body)
}

// whole makes sure that the last frame of a body is whole.
func whole(body []byte) error {
	for len(body) > 0 {
		if len(body) < wire.HeaderSize {
			return wire.ErrMalformed
		}
		n, err := wire.BodyLen(body)
		if err != nil {
			return err
		}
		if n += wire.HeaderSize; n > len(body) {
			return wire.ErrMalformed
		}
		body = body[n:]
	}
	return nil
}

// admit makes l one of the exchanges that are served. First it waits until the exchanges have ended
// that the same process has given up.
func (n *Node) admit(ctx context.Context, l *Link, c *caller, peer *wire.Hello) error {
	n.mu.Lock()
	c.since = max(c.since, peer.Since)
	switch {
	case n.closed:
		n.mu.Unlock()
		return ErrGoingAway
	case peer.Seq < c.since:
		n.mu.Unlock()
		return ErrReplaced
	}
	c.running[peer.Seq] = l
	n.exchanges[l] = struct{}{}
	var old []*Link
	for seq, other := range c.running {
		if seq < c.since {
			old = append(old, other)
		}
	}
	n.mu.Unlock()
	for _, other := range old {
		other.fail(ErrReplaced)
	}
	for _, other := range old {
		select {
		case <-other.gone:
		case <-ctx.Done():
		}
	}
	return nil
}

// heard takes note that a process is there, of its ring, and of its caches unless they are nil.
func (n *Node) heard(peer *wire.Hello, caches *cacheNames) {
	n.mu.Lock()
	var links []*Link
	for l := range n.links {
		if l.plain != nil && l.peer.Instance == peer.Instance {
			links = append(links, l)
		}
	}
	n.mu.Unlock()
	for _, l := range links {
		l.plain.hear(peer, caches)
	}
	if p := n.peerNamed(peer.Name); p != nil {
		p.Retry()
	}
}

// peerNamed returns the peer of that name, nil if links are not dialled to it.
func (n *Node) peerNamed(name string) *Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.peers {
		if p.name == name {
			return p
		}
	}
	return nil
}

// serveBody serves the requests in body and waits for their answers.
func (l *Link) serveBody(ctx context.Context, body *Body) {
	l.in.ready = true
	l.lease.held.Store(math.MaxInt64) // it ends with the request
	l.lease.alive.Store(math.MaxInt64)
	l.out.unlimited()
	own := l.node.hello("")
	own.Seq = l.node.seq.Add(1)
	l.served.number = own.Seq
	l.out.ctl = wire.Append(wire.AppendHello(nil, wire.Welcome, &own), l.node.ownCaches())
	l.out.ctl = wire.Append(l.out.ctl, &wire.Frame{Type: wire.KeepAliveOK, TTL: l.term()})
	l.out.bytes += len(l.out.ctl)
	if from := l.served.from; from != nil {
		from.accepted.carryIn(l)
		defer from.accepted.carried(l)
	}
	l.wg.Go(l.write)
	stop := context.AfterFunc(ctx, func() { l.fail(ErrClosed) })
	if err := l.readBody(bytes.NewReader(body.Bytes)); err != io.EOF {
		l.fail(err)
	}
	body.Release()
	l.readNoMore()
	select {
	case <-l.gone:
	case <-l.down:
	}
	l.mu.Lock()
	l.served.over = true
	l.maybeServed()
	l.mu.Unlock()
	<-l.down
	stop()
	l.wg.Wait()
	l.mu.Lock()
	ops := slices.Collect(maps.Values(l.ops))
	for _, op := range ops {
		l.removeOp(op)
		op.over.Store(true)
	}
	l.out.drop()
	l.mu.Unlock()
	for _, op := range ops {
		op.tellCancelled()
	}
}

// maybeServed ends the exchange when its answers have been written. The link is locked.
func (l *Link) maybeServed() {
	if l.served != nil && l.served.over && !l.writing && l.out.empty() {
		l.failLocked(ErrClosed)
	}
}

// restrict reduces a request to what may be asked over plain HTTP, where nothing can be lent and no
// right given. It reports whether anything is left.
func (s *served) restrict(f *wire.Frame) bool {
	switch f.Type {
	case wire.Get, wire.GetMany:
		f.Flags &^= wire.Borrow | wire.CanLoad
	case wire.Fill, wire.Recall:
		return false
	}
	return true
}

// hearPlain takes note of the other end's ring. That takes a way to reach the other end from here.
func (l *Link) hearPlain(r *Request) {
	op := r.Keep(nil)
	n, caches := l.node, l.caches.Load()
	l.wg.Go(func() {
		if back := n.peerNamed(l.peer.Name); back != nil {
			ctx, cancel := context.WithTimeout(n.ctx, n.cfg.HandshakeTimeout)
			defer cancel()
			_, _ = back.Link(ctx)
			n.heard(&l.peer, caches)
		}
		op.Answer(&wire.Frame{Type: wire.Done})
	})
}

// callerLeft ends the links to a process that has said that it is shutting down.
func (n *Node) callerLeft(instance uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.links {
		if l.plain != nil && l.peer.Instance == instance {
			l.fail(ErrGoingAway)
		}
	}
	c := n.callers[instance]
	c.left = true
	if c.link != nil {
		c.link.fail(ErrGoingAway)
	}
}

// responseConn is the connection of an exchange: what is written to it goes into the response,
// sealed.
type responseConn struct {
	noConn
	sealed   sealer
	rc       *http.ResponseController
	patience time.Duration // with a client that does not read
}

func (c *responseConn) Write(b []byte) (int, error) {
	_ = c.rc.SetWriteDeadline(time.Now().Add(c.patience))
	defer func() { _ = c.rc.SetWriteDeadline(time.Time{}) }() // nothing is written while a load runs
	n, err := c.sealed.Write(b)
	if err == nil {
		if err = c.rc.Flush(); errors.Is(err, http.ErrNotSupported) {
			err = nil // a middleware without Unwrap: the answers come with the last one
		}
	}
	return n, err
}
