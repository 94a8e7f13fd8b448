package link

// accept.go is the server's way to a connection: a handler that takes it from
// whatever server it is mounted in.

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"strings"
	"time"
)

// ServeHTTP takes a link in. It looks at no path: whoever mounts it does. It
// returns as soon as the connection is the node's own.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.ProtoMajor != 1:
		http.Error(w, "covey: links need HTTP/1.1, without HTTP/2 in between", http.StatusHTTPVersionNotSupported)
		return
	case r.Method != http.MethodGet || !strings.EqualFold(r.Header.Get("Upgrade"), protocol):
		w.Header().Set("Upgrade", protocol)
		w.Header().Set("Connection", "Upgrade")
		http.Error(w, "covey: this is where peers open links, with Upgrade: covey/1", http.StatusUpgradeRequired)
		return
	}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		http.Error(w, "covey: this process is shutting down", http.StatusServiceUnavailable)
		return
	}
	v := n.enter(r.RemoteAddr)
	if v == nil {
		n.mu.Unlock()
		w.Header().Set("Retry-After", "1")
		http.Error(w, "covey: too many handshakes are under way, try again", http.StatusServiceUnavailable)
		return
	}
	n.wg.Add(1)
	n.mu.Unlock()
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		n.exit(v)
		n.wg.Done()
		if _, before := n.hijacks.LoadOrStore(err.Error(), true); !before { // the others try again and again
			n.cfg.Logger.Error("covey: cannot accept links: a middleware wraps the ResponseWriter without an Unwrap method; give it one, or mount the group outside of it", "err", err)
		}
		http.Error(w, "the server does not let connections be upgraded", http.StatusNotImplemented)
		return
	}
	go func() {
		defer n.wg.Done()
		if err := n.accept(v, conn, rw.Reader, r.TLS); err != nil {
			_ = conn.Close()
			if n.ctx.Err() == nil {
				n.logRefusal(r.RemoteAddr, err)
			}
		}
	}()
}

// accept does the handshake on a connection that came with a request, of which
// r has read ahead.
func (n *Node) accept(v *visitor, conn net.Conn, r *bufio.Reader, state *tls.ConnectionState) error {
	var h *handshake
	err := n.within(v.ctx, n.cfg.HandshakeTimeout/2, conn, func(context.Context) error {
		_, err := conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"))
		if err == nil {
			h, err = n.challenge(r, conn)
		}
		return err
	})
	n.exit(v)
	if err == nil {
		err = n.within(n.ctx, n.cfg.HandshakeTimeout, conn, func(ctx context.Context) error { return n.welcome(ctx, conn, state, h) })
	}
	if err != nil {
		return err
	}
	early, err := r.Peek(r.Buffered())
	if err != nil {
		return err
	}
	return n.begin(newLink(n, conn, nil, &h.peer), bytes.Clone(early))
}

// within does a part of a handshake on a connection, until ctx ends and for d at
// most.
func (n *Node) within(ctx context.Context, d time.Duration, conn net.Conn, part func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d, ErrTimeout)
	defer cancel()
	if err := conn.SetDeadline(time.Time{}); err != nil { // the server's are still on it
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(aLongTimeAgo) })
	err := part(ctx)
	if !stop() {
		return cmp.Or(context.Cause(ctx), err)
	}
	return err
}

// A refusal is logged once, and again only after refusalEvery, as the other end tries again and
// again. So many are remembered.
const (
	refusalEvery = time.Hour
	maxRefusals  = 256
)

// logRefusal logs why a link was refused, unless it has just logged another: anybody can make it
// refuse links.
func (n *Node) logRefusal(from string, err error) {
	if errors.Is(err, ErrSelf) { // a process may try whether it reaches itself
		return
	}
	n.mu.Lock()
	n.refusals.unlogged++
	refused := n.refusals.unlogged
	now := n.now()
	host, _, _ := net.SplitHostPort(from)
	kind := [2]string{host, reasonOf(err)}
	due := now >= n.refusals.next && now >= n.refusals.told[kind]
	if due {
		n.refusals.next, n.refusals.unlogged = now+int64(logEvery), 0
		n.rememberRefusal(kind, now)
	}
	n.mu.Unlock()
	if due {
		n.cfg.Logger.Warn("covey: refused a link", "from", from, "err", err, "refused", refused)
	}
}

// rememberRefusal notes what is being logged. The node is locked.
func (n *Node) rememberRefusal(kind [2]string, now int64) {
	told := n.refusals.told
	if told == nil {
		told = make(map[[2]string]int64)
		n.refusals.told = told
	}
	if len(told) >= maxRefusals {
		maps.DeleteFunc(told, func(_ [2]string, again int64) bool { return now >= again })
	}
	if len(told) < maxRefusals {
		told[kind] = now + int64(refusalEvery)
	}
}
