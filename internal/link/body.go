package link

// body.go is the HTTP part of links whose frames travel in bodies.

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

func newClient(cfg *Config) *http.Client {
	t := &http.Transport{
		DialContext: cfg.dial,
		DialTLSContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return cfg.dialTLS(ctx, address, "h2", "http/1.1")
		},
		ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// plainHello returns this end's hello for a body to a peer of which instance has been called.
func (n *Node) plainHello(target string, instance, seq, since uint64) *wire.Hello {
	h := n.hello(target)
	h.Called, h.Seq, h.Since = instance, seq, since
	h.Time = uint64(time.Now().UnixMilli())
	return &h
}

func (n *Node) ownCaches() *wire.Frame {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cachesFrame()
}

// request sends a peer a body with a proof, or an empty one without.
func (n *Node) request(ctx context.Context, p *Peer, proof string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.ops, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Covey-Peer", url.QueryEscape(n.cfg.Name))
	if proof != "" {
		req.Header.Set("Content-Type", "application/octet-stream")
		req.Header.Set("Authorization", proof)
	}
	return n.client.Do(req)
}

// who asks for the instance of the process that answers at a peer's URL. Nothing proves the answer:
// it is good for a proof only.
func (n *Node) who(ctx context.Context, p *Peer) (instance uint64, err error) {
	resp, err := n.request(ctx, p, "", nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	instance, ok := challenged(resp)
	if !ok {
		return 0, fmt.Errorf("over plain HTTP: no challenge: %w", statusError(resp))
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<10) // the connection can be used again
	return instance, nil
}

// post sends a body to a peer and returns the response, behind the hello with which it begins.
func (n *Node) post(ctx context.Context, p *Peer, h *wire.Hello, body []byte) (*http.Response, *wire.Hello, error) {
	proof := n.proofOf(h, body)
	resp, err := n.request(ctx, p, proof.String(), body)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		err := statusError(resp)
		if instance, ok := challenged(resp); ok && instance == h.Called { // else it was for a former process
			err = fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return nil, nil, fmt.Errorf("over plain HTTP: %w", err)
	}
	resp.Body = &unsealer{node: n, last: proof.mac, ReadCloser: resp.Body}
	peer, err := n.greeted(resp, p.name)
	if err != nil {
		_ = resp.Body.Close()
		return nil, nil, fmt.Errorf("over plain HTTP: %w", err)
	}
	return resp, peer, nil
}

// statusError says what the status of a response is, and how its body begins.
func statusError(resp *http.Response) error {
	var text []byte
	if resp.StatusCode != http.StatusSwitchingProtocols { // whose body is the bare connection
		text, _ = io.ReadAll(io.LimitReader(resp.Body, 200))
	}
	return fmt.Errorf("link: its status is %d (%.200q)", resp.StatusCode, strings.TrimSpace(string(text)))
}

// greeted reads the hello with which a response begins.
func (n *Node) greeted(resp *http.Response, name string) (*wire.Hello, error) {
	b, err := readHandshake(resp.Body)
	if err != nil {
		return nil, err
	}
	var peer wire.Hello
	if err := wire.ParseHello(b, wire.Welcome, &peer); err != nil {
		return nil, err
	}
	own := n.hello(name)
	if err := n.acquainted(&own, &peer, resp.TLS); err != nil {
		return nil, err
	}
	if peer.Name != name {
		return nil, &HandshakeError{wire.CodeIdentity, fmt.Sprintf("the peer's name is %q, not %q: check the list of members", peer.Name, name)}
	}
	return &peer, nil
}

// unlimited lets pieces of long values follow each other without waiting for credit, which the
// other end cannot give.
func (q *queue) unlimited() { q.window, q.credit = math.MaxInt, math.MaxInt }

// all appends everything that is queued to dst.
func (q *queue) all(dst []byte) []byte {
	var b batch
	for !q.empty() {
		q.take(&b)
		for _, p := range b.pieces {
			dst = append(dst, p...)
		}
	}
	q.bytes = 0
	return dst
}

// noConn is the connection of links that have none.
type noConn struct{}

func (noConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (noConn) Write(b []byte) (int, error)      { return len(b), nil }
func (noConn) Close() error                     { return nil }
func (noConn) LocalAddr() net.Addr              { return nil }
func (noConn) RemoteAddr() net.Addr             { return nil }
func (noConn) SetDeadline(time.Time) error      { return nil }
func (noConn) SetReadDeadline(time.Time) error  { return nil }
func (noConn) SetWriteDeadline(time.Time) error { return nil }
