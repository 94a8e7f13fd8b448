package link_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

var groupSecret = [][]byte{[]byte("the secret of the whole group")}

func secretive(a, b *link.Config) { a.Secrets, b.Secrets = groupSecret, groupSecret }

// hello is what a well-behaved stranger says first to name, or as a Challenge.
func hello(typ wire.Type, own, target string, change func(h *wire.Hello)) []byte {
	h := wire.Hello{MinVersion: wire.MinVersion, MaxVersion: wire.MaxVersion, Name: own, Target: target, Instance: 77, MaxOps: 10, MaxValue: 1 << 20}
	if change != nil {
		change(&h)
	}
	return wire.AppendHello(nil, typ, &h)
}

// framed returns a frame with a body of any bytes.
func framed(typ wire.Type, length int, body []byte) []byte {
	b := make([]byte, wire.HeaderSize, wire.HeaderSize+len(body))
	binary.LittleEndian.PutUint32(b, uint32(length))
	b[4] = byte(typ)
	return append(b, body...)
}

func proof(value []byte) []byte {
	return wire.Append(nil, &wire.Frame{Type: wire.Proof, Value: value})
}

func patched(b []byte, at int, value byte) []byte {
	b[at] = value
	return b
}

// badStarts are first words that nobody gets through with, from either end.
func badStarts(typ wire.Type, own, target string) map[string][]byte {
	good := func(change func(h *wire.Hello)) []byte { return hello(typ, own, target, change) }
	return map[string][]byte{
		"nothing":        nil,
		"zeros":          make([]byte, 10_000),
		"text":           []byte(strings.Repeat("GET / HTTP/1.1\r\n", 100)),
		"cut short":      good(nil)[:50],
		"wrong magic":    patched(good(nil), wire.HeaderSize+3, 'x'),
		"wrong type":     patched(good(nil), 4, byte(wire.Get)),
		"oversize":       framed(typ, 5<<10, make([]byte, 5<<10)),
		"huge":           framed(typ, 1<<31, nil),
		"longest":        framed(typ, -1, nil),
		"no body":        framed(typ, 0, nil),
		"old version":    good(func(h *wire.Hello) { h.MinVersion, h.MaxVersion = 0, 0 }),
		"new version":    good(func(h *wire.Hello) { h.MinVersion, h.MaxVersion = wire.MaxVersion+1, wire.MaxVersion+9 }),
		"no version":     good(func(h *wire.Hello) { h.MinVersion, h.MaxVersion = 2, 1 }),
		"no name":        good(func(h *wire.Hello) { h.Name = "" }),
		"takes no ops":   good(func(h *wire.Hello) { h.MaxOps = 0 }),
		"takes no value": good(func(h *wire.Hello) { h.MaxValue = 0 }),
		"no proof":       append(good(nil), framed(wire.Proof, 0, nil)...),
		"wrong proof":    append(good(nil), proof(make([]byte, 32))...),
		"long proof":     append(good(nil), proof(make([]byte, 3000))...),
		"no answer":      append(good(nil), wire.Append(nil, &wire.Frame{Type: wire.KeepAlive})...),
		"two hellos":     append(good(nil), good(nil)...),
	}
}

// call sends bytes to b as somebody who wants to link up, and returns all that comes back until b hangs up.
func (w *world) call(t *testing.T, say []byte) []byte {
	t.Helper()
	conn, err := w.net.Dialer("x")(t.Context(), "tcp", "b:80")
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /v1/link HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: covey/1\r\n\r\n")
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	_, _ = conn.Write(say)
	start := time.Now()
	answer, _ := io.ReadAll(r)
	require.LessOrEqual(t, time.Since(start), 2*time.Second)
	return answer
}

// refusal returns the reason in the last frame of an answer.
func refusal(answer []byte) (code wire.Code, text string) {
	for len(answer) > 0 {
		n, err := wire.BodyLen(answer)
		if err != nil {
			return 0, ""
		}
		var f wire.Frame
		if wire.Parse(answer[:wire.HeaderSize+n], &f) == nil && f.Type == wire.Failed {
			return f.Code, f.Text
		}
		answer = answer[wire.HeaderSize+n:]
	}
	return 0, ""
}

// Strangers do not fill the log.
func TestRefusalsAreLoggedNowAndThen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log := make(lines, 1000)
		w := newWorld(t, func(a, b *link.Config) { b.Logger = log.logger() })
		defer w.close()
		for range 300 {
			w.call(t, make([]byte, 100))
			time.Sleep(100 * time.Millisecond)
		}
		require.Len(t, log, 3)
		require.Contains(t, <-log, "refused=1\n")
		require.Regexp(t, "refused=(99|100|101)\n", <-log)
	})
}

// TestBadClients: whatever somebody sends who wants to link up, the link
// closes and the others go on.
func TestBadClients(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, secretive)
		defer w.close()
		l := w.link()
		w.b.expect(t, "up a")
		starts := badStarts(wire.HelloFrame, "x", "b")
		starts["to somebody else"] = hello(wire.HelloFrame, "x", "c", nil)
		starts["from itself"] = hello(wire.HelloFrame, "b", "b", func(h *wire.Hello) { h.Instance = 2 })
		for name, say := range starts {
			code, text := refusal(w.call(t, say))
			switch name {
			case "old version", "new version":
				require.Equal(t, wire.CodeVersion, code, name)
				require.Contains(t, text, "no common version")
			case "to somebody else":
				require.Equal(t, wire.CodeIdentity, code)
				require.Contains(t, text, `this is "b", not "c": check the list of members`)
			case "from itself":
				require.Equal(t, wire.CodeSelf, code)
			case "no proof", "wrong proof", "long proof":
				require.Equal(t, wire.CodeRefused, code, name)
			case "takes no ops", "takes no value":
				require.Contains(t, text, "malformed", name)
			default: // that is no peer to talk to
				require.Zero(t, code, "%s: %s", name, text)
			}
			answer, err := l.Call(t.Context(), get("k"))
			require.NoError(t, err, name)
			require.Equal(t, "/k", string(answer.Value))
		}
		require.Empty(t, w.b.events, "nobody else has a link")
		synctest.Wait()
		require.Equal(t, 1, w.net.Conns())
	})
}

// TestReflectedProof: a server's proof is not good as a client's.
func TestReflectedProof(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, secretive)
		defer w.close()
		conn, err := w.net.Dialer("x")(t.Context(), "tcp", "b:80")
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET /v1/link HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: covey/1\r\n\r\n")
		require.NoError(t, err)
		r := bufio.NewReader(conn)
		_, err = http.ReadResponse(r, nil)
		require.NoError(t, err)
		_, err = conn.Write(hello(wire.HelloFrame, "x", "b", nil))
		require.NoError(t, err)
		var last []byte
		for range 2 { // Challenge, Proof
			last = make([]byte, wire.HeaderSize)
			_, err = io.ReadFull(r, last)
			require.NoError(t, err)
			n, err := wire.BodyLen(last)
			require.NoError(t, err)
			last = append(last, make([]byte, n)...)
			_, err = io.ReadFull(r, last[wire.HeaderSize:])
			require.NoError(t, err)
		}
		_, err = conn.Write(last)
		require.NoError(t, err)
		answer, _ := io.ReadAll(r)
		code, _ := refusal(answer)
		require.Equal(t, wire.CodeRefused, code)
		require.Empty(t, w.b.events)
	})
}

// TestBadServers: whatever the other end answers, the link does not come up,
// the caller hears why in time, and other links go on.
func TestBadServers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, secretive)
		defer w.close()
		say := make(chan []byte, 1)
		listener, err := w.net.Listen("x:80")
		require.NoError(t, err)
		defer listener.Close()
		go answerAll(listener, say)

		starts := badStarts(wire.Challenge, "x", "")
		starts["another name"] = hello(wire.Challenge, "y", "", nil)
		starts["itself"] = hello(wire.Challenge, "x", "", func(h *wire.Hello) { h.Instance = 1 })
		starts["refusal"] = wire.Append(nil, &wire.Frame{Type: wire.Failed, Code: wire.CodeRefused, Text: "unknown secret"})
		starts["welcome at once"] = append(hello(wire.Challenge, "x", "", nil), framed(wire.Welcome, 0, nil)...)
		wants := map[string]error{
			"no proof": link.ErrRefused, "wrong proof": link.ErrRefused, "long proof": link.ErrRefused, "refusal": link.ErrRefused,
			"itself": link.ErrSelf, "nothing": link.ErrTimeout, "cut short": link.ErrTimeout, "wrong magic": wire.ErrMagic, "oversize": wire.ErrMagic,
		}
		for name, bytes := range starts {
			p, err := w.a.Peer("x", "http://x:80")
			require.NoError(t, err)
			say <- bytes
			start := time.Now()
			_, err = p.Link(t.Context())
			require.Error(t, err, name)
			require.LessOrEqual(t, time.Since(start), 2*time.Second, name)
			var dial *link.DialError
			require.ErrorAs(t, err, &dial, name)
			require.Equal(t, "x", dial.Peer)
			if want := wants[name]; want != nil {
				require.ErrorIs(t, err, want, name)
			}
			var refused *link.HandshakeError
			switch name {
			case "another name":
				require.ErrorContains(t, err, `the peer's name is "y", not "x": check the list of members`)
			case "old version", "new version":
				require.True(t, errors.As(err, &refused))
				require.Equal(t, wire.CodeVersion, refused.Code)
			}
			p.Close()
			_, err = w.link().Call(t.Context(), get("k"))
			require.NoError(t, err, name)
		}
		w.a.expect(t, "up b")
		require.Empty(t, w.a.events)
	})
}

// answerAll upgrades the connections that come and says to each what the test wants.
func answerAll(l net.Listener, say <-chan []byte) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: covey/1\r\n\r\n")
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			select {
			case bytes := <-say:
				_, _ = conn.Write(bytes)
			case <-ctx.Done(): // a's second try
			}
			_, _ = io.Copy(io.Discard, conn)
		}()
	}
}
