package link_test

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
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
func framed(typ wire.Type, length uint32, body []byte) []byte {
	b := make([]byte, wire.HeaderSize, wire.HeaderSize+len(body))
	binary.LittleEndian.PutUint32(b, length)
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
		"longest":        framed(typ, 1<<32-1, nil),
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

// proofOf is the proof of the end with the given role that it knows the secret of groupSecret.
func proofOf(role, group string, frames ...[]byte) []byte {
	return proof(macOf(role, group, frames...))
}

func macOf(role, group string, frames ...[]byte) []byte {
	h := hmac.New(sha256.New, groupSecret[0])
	_, _ = io.WriteString(h, "covey/1 "+role+string(rune(len(group)))+group)
	for _, f := range frames {
		_, _ = h.Write(f)
	}
	return h.Sum(nil)
}

// dial opens the connection of a link to b and returns b's challenge; what b sends is read from r.
func (w *world) dial(t *testing.T) (conn net.Conn, r *bufio.Reader, challenge []byte) {
	t.Helper()
	conn, err := w.net.Dialer("x")(t.Context(), "tcp", "b:80")
	require.NoError(t, err)
	_, err = io.WriteString(conn, upgrade)
	require.NoError(t, err)
	r = bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	return conn, r, readFrame(t, r)
}

func readFrame(t *testing.T, r io.Reader) []byte {
	t.Helper()
	b := make([]byte, wire.HeaderSize)
	_, err := io.ReadFull(r, b)
	require.NoError(t, err)
	n, err := wire.BodyLen(b)
	require.NoError(t, err)
	b = append(b, make([]byte, n)...)
	_, err = io.ReadFull(r, b[wire.HeaderSize:])
	require.NoError(t, err)
	return b
}

// call says to b, as somebody who wants to link up, what answers its challenge. It returns all that
// comes back until b hangs up.
func (w *world) call(t *testing.T, say func(challenge []byte) []byte) []byte {
	t.Helper()
	conn, r, challenge := w.dial(t)
	defer conn.Close()
	_, _ = conn.Write(say(challenge))
	start := time.Now()
	answer, _ := io.ReadAll(r)
	require.LessOrEqual(t, time.Since(start), 2*time.Second)
	return answer
}

// always answers every challenge with the same bytes.
func always(b []byte) func([]byte) []byte { return func([]byte) []byte { return b } }

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
			w.call(t, always(make([]byte, 100)))
			time.Sleep(100 * time.Millisecond)
		}
		require.Len(t, log, 1, "the same again is no news")
		require.Contains(t, <-log, "refused=1\n")
		time.Sleep(time.Hour)
		w.call(t, always(make([]byte, 100)))
		synctest.Wait()
		require.Len(t, log, 1)
		require.Contains(t, <-log, "refused=300\n")
	})
}

// TestStrangersLearnNothing: whatever somebody sends who does not know the
// secret, the link closes, the others go on, and the answer is always the same.
func TestStrangersLearnNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, secretive)
		defer w.close()
		l := w.link()
		w.b.expect(t, "up a")
		var same []byte
		nonces := make(map[string]bool)
		starts := badStarts(wire.HelloFrame, "x", "b")
		for name, h := range badHellos("x", "b") {
			starts[name] = append(h, proof(make([]byte, 32))...)
		}
		for name, say := range starts {
			answer := w.call(t, func(challenge []byte) []byte {
				require.Len(t, challenge, len(wire.Append(nil, &wire.Frame{Type: wire.Challenge, Value: make([]byte, wire.NonceSize)})), "nothing but a nonce")
				nonces[string(challenge)] = true
				return say
			})
			if len(answer) > 0 { // not only hung up after a while
				if same == nil {
					same = answer
				}
				require.Equal(t, same, answer, name)
			}
			answered, err := l.Call(t.Context(), get("k"))
			require.NoError(t, err, name)
			require.Equal(t, "/k", string(answered.Value))
		}
		require.Len(t, nonces, len(starts))
		code, text := refusal(same)
		require.Equal(t, wire.CodeRefused, code)
		require.Contains(t, text, "GroupOptions.Secrets")
		require.Empty(t, w.b.events, "nobody else has a link")
		synctest.Wait()
		require.Equal(t, 1, w.net.Conns())
	})
}

// badHellos are hellos that are refused even with a good proof.
func badHellos(own, target string) map[string][]byte {
	good := func(change func(h *wire.Hello)) []byte { return hello(wire.HelloFrame, own, target, change) }
	return map[string][]byte{
		"to somebody else": hello(wire.HelloFrame, own, "c", nil),
		"from itself":      good(func(h *wire.Hello) { h.Name, h.Instance = target, 2 }),
		"old version":      good(func(h *wire.Hello) { h.MinVersion, h.MaxVersion = 0, 0 }),
		"new version":      good(func(h *wire.Hello) { h.MinVersion, h.MaxVersion = wire.MaxVersion+1, wire.MaxVersion+9 }),
		"takes no ops":     good(func(h *wire.Hello) { h.MaxOps = 0 }),
		"takes no value":   good(func(h *wire.Hello) { h.MaxValue = 0 }),
	}
}

// TestMistakesOfMembers: who knows the secret is told what is wrong with the hello.
func TestMistakesOfMembers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, secretive)
		defer w.close()
		for name, h := range badHellos("x", "b") {
			code, text := refusal(w.call(t, func(challenge []byte) []byte {
				return slices.Concat(h, proofOf("client", "", challenge, h))
			}))
			switch name {
			case "old version", "new version":
				require.Equal(t, wire.CodeVersion, code, name)
				require.Contains(t, text, "no common version")
			case "to somebody else":
				require.Equal(t, wire.CodeIdentity, code)
				require.Contains(t, text, `this is "b", not "c": check the list of members`)
			case "from itself":
				require.Equal(t, wire.CodeSelf, code)
			default:
				require.Contains(t, text, "malformed", name)
			}
		}
		require.Empty(t, w.b.events)
	})
}

// TestProofIsForOneLink: a proof is good for one link and one direction, and a
// server that passes a client's proof off as its own is found out.
func TestProofIsForOneLink(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, secretive)
		defer w.close()
		h := hello(wire.HelloFrame, "x", "b", nil)
		var replay []byte
		code, _ := refusal(w.call(t, func(challenge []byte) []byte {
			replay = slices.Concat(h, proofOf("server", "", challenge, h))
			return replay
		}))
		require.Equal(t, wire.CodeRefused, code, "of the other role")
		conn, r, challenge := w.dial(t)
		defer conn.Close()
		replay = slices.Concat(h, proofOf("client", "", challenge, h))
		_, err := conn.Write(replay)
		require.NoError(t, err)
		welcome := readFrame(t, r)
		require.Equal(t, proofOf("server", "", challenge, h, welcome), readFrame(t, r))
		code, _ = refusal(w.call(t, always(replay)))
		require.Equal(t, wire.CodeRefused, code, "of another link")

		x := w.serve(t, "x:80")
		p, err := w.a.Peer("x", "http://x:80")
		require.NoError(t, err)
		x <- script{challenge: challenge, answer: func(_, client, proof []byte) []byte {
			return slices.Concat(hello(wire.Welcome, "x", "", nil), proof)
		}}
		_, err = p.Link(t.Context())
		require.ErrorIs(t, err, link.ErrRefused)
	})
}

// TestGroups: processes of different groups do not link up, with the same secret or none.
func TestGroups(t *testing.T) {
	for _, secrets := range [][][]byte{nil, groupSecret} {
		for _, groups := range [][2]string{{"", "x"}, {"x", ""}, {"x", "y"}, {"x", "x"}} {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, func(a, b *link.Config) {
					a.Secrets, b.Secrets = secrets, secrets
					a.Group, b.Group = groups[0], groups[1]
				})
				defer w.close()
				_, err := w.peer.Link(t.Context())
				if groups[0] == groups[1] {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, link.ErrRefused)
				require.ErrorContains(t, err, "GroupName")
				require.Empty(t, w.b.events)
			})
		}
	}
	_, err := link.NewNode(link.Config{Name: "a", Instance: 1, Group: strings.Repeat("x", wire.MaxName+1)})
	require.ErrorContains(t, err, "longer than 255 bytes")
}

// TestBadServers: whatever the other end answers, the link does not come up,
// the caller hears why in time, and other links go on.
func TestBadServers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, secretive)
		defer w.close()
		x := w.serve(t, "x:80")
		challenge := wire.Append(nil, &wire.Frame{Type: wire.Challenge, Value: make([]byte, wire.NonceSize)})
		// proven returns the answer of somebody who knows the secret.
		proven := func(welcome []byte) script {
			return script{challenge, func(challenge, client, _ []byte) []byte {
				return slices.Concat(welcome, proofOf("server", "", challenge, client, welcome))
			}}
		}
		hi := func(change func(h *wire.Hello)) []byte { return hello(wire.Welcome, "x", "", change) }
		starts := map[string]script{
			"another name": proven(hello(wire.Welcome, "y", "", nil)),
			"itself":       proven(hi(func(h *wire.Hello) { h.Instance = 1 })),
			"old version":  proven(hi(func(h *wire.Hello) { h.MinVersion, h.MaxVersion = 0, 0 })),
			"new version":  proven(hi(func(h *wire.Hello) { h.MinVersion, h.MaxVersion = wire.MaxVersion+1, wire.MaxVersion+9 })),
			"takes no ops": proven(hi(func(h *wire.Hello) { h.MaxOps = 0 })),
			"another group": {challenge, func(challenge, client, _ []byte) []byte {
				return slices.Concat(hi(nil), proofOf("server", "y", challenge, client, hi(nil)))
			}},
			"refusal": {challenge, func(_, _, _ []byte) []byte {
				return wire.Append(nil, &wire.Frame{Type: wire.Failed, Code: wire.CodeRefused, Text: "unknown secret"})
			}},
			"refusal at once": {wire.Append(nil, &wire.Frame{Type: wire.Failed, Code: wire.CodeRefused, Text: "unknown secret"}), nil},
			"no nonce":        {wire.Append(nil, &wire.Frame{Type: wire.Challenge}), nil},
			"text":            {[]byte("There is no covey here."), nil},
			"silence":         {},
		}
		for name, b := range badStarts(wire.Welcome, "x", "") {
			starts["hello: "+name] = script{challenge, func(_, _, _ []byte) []byte { return b }}
		}
		wants := map[string]error{
			"hello: no proof": link.ErrRefused, "hello: wrong proof": link.ErrRefused, "hello: long proof": link.ErrRefused, "another group": link.ErrRefused,
			"refusal": link.ErrRefused, "refusal at once": link.ErrRefused, "itself": link.ErrSelf, "silence": link.ErrTimeout, "hello: nothing": link.ErrTimeout,
			"another name": link.ErrRefused, "old version": link.ErrRefused, "new version": link.ErrRefused,
			"hello: cut short": link.ErrTimeout, "hello: wrong magic": wire.ErrMagic, "hello: oversize": wire.ErrMagic, "no nonce": wire.ErrMagic, "text": wire.ErrMagic,
		}
		for name, say := range starts {
			p, err := w.a.Peer("x", "http://x:80")
			require.NoError(t, err)
			x <- say
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
			require.Equal(t, wants[name] == link.ErrRefused, errors.Is(err, link.ErrRefused), name)
			var refused *link.HandshakeError
			switch name {
			case "another name":
				require.ErrorContains(t, err, `the peer's name is "y", not "x": check the list of members`)
			case "old version", "new version":
				require.ErrorAs(t, err, &refused, name)
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

// A script is what a server says in a handshake: first, and if answer is not nil, to the client's
// hello and proof.
type script struct {
	challenge []byte
	answer    func(challenge, client, proof []byte) []byte
}

// serve upgrades the connections that come to an address and follows the script that the test sends
// for each.
func (w *world) serve(t *testing.T, address string) chan<- script {
	l, err := w.net.Listen(address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	say := make(chan script, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go follow(conn, say)
		}
	}()
	return say
}

func follow(conn net.Conn, say <-chan script) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	if _, err := http.ReadRequest(r); err != nil {
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: covey/1\r\n\r\n")
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	select {
	case s := <-say:
		_, _ = conn.Write(s.challenge)
		if s.answer == nil {
			break
		}
		var frames [2][]byte
		for i := range frames {
			b := make([]byte, wire.HeaderSize)
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			n, err := wire.BodyLen(b)
			if err != nil {
				return
			}
			b = append(b, make([]byte, n)...)
			if _, err := io.ReadFull(r, b[wire.HeaderSize:]); err != nil {
				return
			}
			frames[i] = b
		}
		_, _ = conn.Write(s.answer(s.challenge, frames[0], frames[1]))
	case <-ctx.Done(): // a's second try
	}
	_, _ = io.Copy(io.Discard, r)
}
