package link

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// fuzzNode returns a node that answers some requests at once, some later and some not at all.
func fuzzNode(f testing.TB, secrets ...[]byte) *Node {
	n, err := NewNode(Config{
		Name: "own", Instance: 1, Secrets: secrets, Logger: slog.New(slog.DiscardHandler), MaxOps: 8, MaxValue: 1 << 20, MaxQueue: 1 << 20,
		Serve: func(r *Request) {
			switch r.Type {
			case wire.Get:
				r.Answer(&wire.Frame{Type: wire.Hit, Value: []byte(r.CacheName() + r.Key)})
			case wire.Put:
				op := r.Keep(nil)
				go op.Answer(&wire.Frame{Type: wire.Done})
			case wire.Fill:
				r.Keep(func(op *Op) { op.Answer(&wire.Frame{Type: wire.Done}) })
			}
		},
		Told: func(l *Link, f *wire.Frame) { _ = l.Tell(&wire.Frame{Value: f.Value}) },
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(n.Close)
	return n
}

// FuzzHandshake says all kinds of things to both ends of a handshake.
// Nobody gets through without the secret, and with it only who gives a sound
// account of itself.
func FuzzHandshake(f *testing.F) {
	other := wire.Hello{MinVersion: wire.MinVersion, MaxVersion: wire.MaxVersion, Name: "other", Target: "own", Instance: 2, Called: 1, MaxOps: 1, MaxValue: 1}
	challenge := wire.Append(nil, &wire.Frame{Type: wire.Challenge, Value: make([]byte, wire.NonceSize)})
	failed := wire.Append(nil, &wire.Frame{Type: wire.Failed, Code: wire.CodeRefused, Text: "unknown secret"})
	for _, proof := range [][]byte{nil, make([]byte, 32)} {
		p := wire.Append(nil, &wire.Frame{Type: wire.Proof, Value: proof})
		f.Add(slices.Concat(wire.AppendHello(nil, wire.HelloFrame, &other), p))
		f.Add(slices.Concat(challenge, wire.AppendHello(nil, wire.Welcome, &other), p))
	}
	f.Add(failed)
	f.Add(slices.Concat(challenge, failed))
	f.Add(wire.AppendHello(nil, wire.HelloFrame, &other))
	f.Add(wire.AppendHello(nil, wire.Welcome, &other))
	n := fuzzNode(f, []byte("a secret of the group"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := receive(n, bytes.NewReader(data), io.Discard); err == nil {
			t.Fatal("a client got through without the secret")
		}
		if _, err := n.greet(bytes.NewReader(data), io.Discard, nil, "other"); err == nil {
			t.Fatal("a server got through without the secret")
		}
		// The same from somebody who knows the secret.
		m := &member{node: n, role: roleClient, says: data}
		client, err := receive(n, m, m)
		if err != nil {
			client = nil
		} else if client.Target != "own" {
			t.Fatalf("%+v got through", client)
		}
		m = &member{node: n, role: roleServer, says: data, frames: [][]byte{challenge}}
		_, _ = m.words.Write(challenge)
		server, err := n.greet(m, m, nil, "other")
		if err == nil && server.Name != "other" {
			t.Fatalf("%+v got through", server)
		}
		for _, peer := range []*wire.Hello{client, server} {
			if peer != nil && (peer.Name == "" || peer.Instance == 1 || peer.MaxOps == 0 || peer.MaxValue == 0) {
				t.Fatalf("%+v got through", peer)
			}
		}
	})
}

// receive is the server's whole side of a handshake.
func receive(n *Node, r io.Reader, w io.Writer) (*wire.Hello, error) {
	h, err := n.challenge(r, w)
	if err != nil {
		return nil, err
	}
	return &h.peer, n.welcome(context.Background(), w, nil, h)
}

// A member answers what the other end says with its own words and a good proof of them.
type member struct {
	node   *Node
	role   string
	says   []byte
	frames [][]byte
	words  bytes.Buffer
}

func (m *member) Read(b []byte) (int, error) { return m.words.Read(b) }

func (m *member) Write(b []byte) (int, error) {
	n, err := wire.BodyLen(b)
	if err != nil {
		return 0, err
	}
	m.frames = append(m.frames, b[:wire.HeaderSize+n], m.says) // without the other end's proof
	_, _ = m.words.Write(m.says)
	_, _ = m.words.Write(wire.Append(nil, m.node.prove(m.role, m.frames...)))
	return len(b), nil
}

// A finiteConn has nothing to read, and takes everything.
type finiteConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *finiteConn) Read([]byte) (int, error)         { return 0, io.EOF }
func (c *finiteConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c *finiteConn) SetDeadline(time.Time) error      { return nil }
func (c *finiteConn) SetWriteDeadline(time.Time) error { return nil }
func (c *finiteConn) SetReadDeadline(time.Time) error  { return nil }
func (c *finiteConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// fuzzFrames adds what may come over a link.
func fuzzFrames(f *testing.F) {
	frames := []*wire.Frame{
		{Type: wire.KeepAlive},
		{Type: wire.Caches, Items: wire.Append(nil, &wire.Frame{Type: wire.Caches, Cache: 1, Key: "users", Text: "json"})},
		{Type: wire.Get, Cache: 1, Op: 1, Key: "k"},
		{Type: wire.Put, Cache: 1, Op: 2, Key: "k", Value: []byte("v")},
		{Type: wire.Put, Cache: 1, Op: 3, Key: "k", Size: 20, Stream: 9},
		{Type: wire.Fill, Cache: 1, Op: 4, Key: "k"},
		{Type: wire.GetMany, Cache: 1, Op: 5, Items: wire.Append(nil, &wire.Frame{Type: wire.Get, Key: "k"})},
		{Type: wire.Hit, Op: 1, Value: []byte("v")},
		{Type: wire.Credit, Size: 1 << 40},
		{Type: wire.Cancel, Op: 4},
		{Type: wire.KeepAliveOK},
		{Type: wire.KeepAliveOK, Op: 1, TTL: time.Second},
		{Type: wire.View, Value: []byte("who is a member")},
		{Type: 0x3f, Op: 6},
		{Type: wire.GoAway},
	}
	var all []byte
	for _, frame := range frames {
		f.Add(wire.Append(nil, frame))
		all = wire.Append(all, frame)
	}
	f.Add(all)
	chunk := wire.Append(nil, &wire.Frame{Type: wire.Chunk, Op: 9, Value: []byte("0123456789")})
	f.Add(slices.Concat(all[:len(all)/2], chunk, chunk, all[len(all)/2:]))
}

// FuzzLink lets somebody who has got through send all kinds of things: the
// link ends, with everything that came over it.
func FuzzLink(f *testing.F) {
	fuzzFrames(f)
	n := fuzzNode(f)
	peer := wire.Hello{Name: "other", MaxOps: 8, MaxValue: 1 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		peer.Instance++
		conn := &finiteConn{closed: make(chan struct{})}
		l := newLink(n, conn, nil, &peer)
		if err := n.begin(l, data); err != nil {
			t.Fatal(err)
		}
		<-conn.closed
		select {
		case <-l.gone:
		case <-time.After(10 * time.Second):
			t.Fatal("the link has not ended")
		}
	})
}

// FuzzBody has all kinds of things in the bodies of requests and responses over plain HTTP: the one
// is answered, the other read, and nothing is left over.
func FuzzBody(f *testing.F) {
	fuzzFrames(f)
	n := fuzzNode(f)
	peer := wire.Hello{MinVersion: wire.MinVersion, MaxVersion: wire.MaxVersion, Name: "other", Target: "own", Instance: 2, Called: 1, MaxOps: 8, MaxValue: 1 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		peer.Seq++
		peer.Time = uint64(time.Now().UnixMilli())
		stranger := proof{hello: data, digest: make([]byte, sha256.Size), mac: make([]byte, macSize)}
		for _, proof := range []string{string(data), stranger.String(), n.proofOf(&peer, data).String()} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(data))
			r.Header.Set("Authorization", proof)
			answer := httptest.NewRecorder()
			n.ServeOps(answer, r)
			if ctx.Err() != nil {
				t.Fatal("the request has not ended")
			}
			cancel()
			switch answer.Code {
			case http.StatusOK, http.StatusBadRequest, http.StatusUnauthorized, http.StatusServiceUnavailable, http.StatusRequestEntityTooLarge:
			default:
				t.Fatalf("status %d", answer.Code)
			}
		}
		parent := newLink(n, noConn{}, nil, &peer)
		e := &exchange{Link: newLink(n, noConn{}, nil, &peer), plain: &plain{link: parent}, ctx: t.Context(), cancel: func() {}}
		e.exchange = e
		e.in.ready = true
		for range 3 {
			e.add(&wire.Frame{Type: wire.Get, Key: "k"}, ignoring{}, n.now(), 0)
		}
		if err := e.readBody(bytes.NewReader(data)); err == nil {
			t.Fatal("a body without an end")
		}
		e.mu.Lock()
		e.calls.drain()
		e.mu.Unlock()
		n.mu.Lock()
		defer n.mu.Unlock()
		if len(n.exchanges) > 0 {
			t.Fatal("an exchange is left over")
		}
	})
}

type ignoring struct{}

func (ignoring) Answer(*wire.Frame, bool) {}
func (ignoring) Slow()                    {}
func (ignoring) Fail(error)               {}
