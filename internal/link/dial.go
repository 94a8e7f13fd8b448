package link

// dial.go is the client's way to a connection: plain HTTP/1.1, so that it
// works with every server, and asks that for an upgrade.

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// protocol is the token of the HTTP upgrade.
const protocol = "covey/1"

var aLongTimeAgo = time.Unix(1, 0)

// dial brings up a link to p, which takes it over when it is ready.
func (n *Node) dial(ctx context.Context, p *Peer) error {
	conn, err := n.connect(ctx, p.url)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	if a := conn.RemoteAddr(); a != nil { // a Dial of the user's may make anything
		n.mu.Lock()
		p.source = sourceOf(a.String())
		n.mu.Unlock()
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(aLongTimeAgo) })
	l, early, err := n.open(conn, p)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = n.begin(l, early)
	}
	if err != nil {
		_ = conn.Close()
		return err
	}
	select {
	case <-l.ready:
		return nil
	case <-l.down:
	case <-ctx.Done():
		if p.Up() == l { // who shuts down lets it answer what is in flight
			return nil
		}
		l.fail(context.Cause(ctx))
	}
	<-l.gone
	if l.in.ready { // just in time: p has been told of both
		return nil
	}
	return l.Err()
}

// refusedByTLS makes an error that says ErrRefused, too, of one that says that one of the ends does
// not accept the other's certificate. The other end may say so after the handshake of TLS, when the
// first answer is read.
func refusedByTLS(err error) error {
	var cert *tls.CertificateVerificationError
	var op *net.OpError
	if errors.As(err, &cert) || errors.As(err, &op) && op.Op == "remote error" {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// connect returns a connection to the host of u, of TLS for https.
func (n *Node) connect(ctx context.Context, u *url.URL) (net.Conn, error) {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	address := net.JoinHostPort(u.Hostname(), port)
	if u.Scheme == "http" {
		return n.cfg.dial(ctx, "tcp", address)
	}
	return n.cfg.dialTLS(ctx, address, "http/1.1") // no upgrades over HTTP/2
}

func (c *Config) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.Guard(ctx, "GroupOptions.Dial", func() (net.Conn, error) { return c.Dial(ctx, network, address) })
}

// dialTLS returns a connection of TLS for one of the protocols.
func (c *Config) dialTLS(ctx context.Context, address string, protocols ...string) (net.Conn, error) {
	conn, err := c.dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{}
	if c.TLS != nil {
		cfg = c.TLS.Clone()
	}
	cfg.NextProtos = protocols
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(address)
	}
	secure := tls.Client(conn, cfg)
	_, err = c.Guard(ctx, "a function of GroupOptions.TLS", func() (net.Conn, error) { return secure, secure.HandshakeContext(ctx) })
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// open upgrades a connection and does the handshake. early is what has been
// read from the connection behind it.
func (n *Node) open(conn net.Conn, p *Peer) (l *Link, early []byte, err error) {
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\nCovey-Peer: %s\r\n\r\n",
		p.url.RequestURI(), p.url.Host, protocol, url.QueryEscape(n.cfg.Name))
	if err != nil {
		return nil, nil, err
	}
	limited := &io.LimitedReader{R: conn, N: 64 << 10}
	r := bufio.NewReader(limited)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("link: no HTTP answer to the request for an upgrade: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || !strings.EqualFold(resp.Header.Get("Upgrade"), protocol) {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "" {
			return nil, nil, errBusy
		}
		if resp.StatusCode == http.StatusServiceUnavailable { // it is busy or shutting down, but refuses no upgrades for ever
			return nil, nil, fmt.Errorf("link: the server takes no links for now, its status is 503 (%.200q)", strings.TrimSpace(string(text)))
		}
		return nil, nil, &UpgradeError{Status: resp.StatusCode, Text: strings.TrimSpace(string(text))}
	}
	limited.N = math.MaxInt64
	peer, err := n.greet(r, conn, stateOf(conn), p.name)
	if err != nil {
		return nil, nil, err
	}
	early, err = r.Peek(r.Buffered())
	return newLink(n, conn, p, peer), bytes.Clone(early), err
}

// stateOf returns the state of a connection's TLS, nil if it has none.
func stateOf(conn net.Conn) *tls.ConnectionState {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	state := secure.ConnectionState()
	return &state
}
