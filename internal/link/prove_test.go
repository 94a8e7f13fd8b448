package link_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/netsim"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// provenBy returns a request to b with a proof of groupSecret for that hello, which may be
// anything, and body.
func provenBy(hello, body []byte) *http.Request {
	digest := sha256.Sum256(body)
	proof := slices.Concat(hello, digest[:], macOf("plain client", "", hello, digest[:]))
	r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
	r.Header.Set("Authorization", "Covey "+base64.StdEncoding.EncodeToString(proof))
	return r
}

// proven is provenBy with a good hello from x to b, of instance 2, that change may change. Each is
// the first of a new process.
func proven(body []byte, change func(h *wire.Hello)) *http.Request {
	return provenBy(hello(wire.HelloFrame, "x", "b", func(h *wire.Hello) {
		h.Called, h.Seq, h.Time = 2, 1, uint64(time.Now().UnixMilli())
		h.Instance = instances.Add(1)
		if change != nil {
			change(h)
		}
	}), body)
}

var instances atomic.Uint64 // that proven has used, besides 1 and 2 of others

func init() { instances.Store(100) }

// macIn returns the MAC in a header with a proof.
func macIn(t *testing.T, header string) []byte {
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(header, "Covey "))
	require.NoError(t, err)
	return b[len(b)-sha256.Size:]
}

// record returns the first record of the answer to a request with that MAC.
func record(mac, data []byte) []byte {
	return slices.Concat(binary.LittleEndian.AppendUint32(nil, uint32(len(data))), macOf("plain server", "", mac, data), data)
}

// A sighting is what somebody on the wire has seen of a request.
type sighting struct {
	header       http.Header
	body, answer []byte
}

func (s *sighting) request() *http.Request {
	r := httptest.NewRequest("POST", "/", bytes.NewReader(s.body))
	r.Header = s.header.Clone()
	return r
}

// A meddler stands between a and b: it refuses upgrades, sees what goes over the wire and may
// change it.
type meddler struct {
	sync.Mutex
	b       *link.Node
	seen    []sighting          // that have been answered
	held    []sighting          // that have not
	hold    bool                // requests with a proof
	replace func([]byte) []byte // the next answer
	stall   chan struct{}       // until it is closed the next answer does not go on
}

func (m *meddler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "no upgrades here", http.StatusBadRequest)
		return
	}
	body, _ := io.ReadAll(r.Body)
	s := sighting{header: r.Header.Clone(), body: body}
	m.Lock()
	defer m.Unlock()
	if m.hold && r.Header.Get("Authorization") != "" {
		m.held = append(m.held, s)
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	answer := httptest.NewRecorder()
	m.b.ServeOps(answer, s.request())
	s.answer = bytes.Clone(answer.Body.Bytes())
	m.seen = append(m.seen, s)
	sent := s.answer
	if m.replace != nil && answer.Code == http.StatusOK {
		sent, m.replace = m.replace(bytes.Clone(sent)), nil
	}
	if stall := m.stall; stall != nil {
		m.stall = nil
		m.Unlock()
		<-stall
		m.Lock()
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(sent)
}

// newMeddledWorld is a world with a meddler. served counts what b serves.
func newMeddledWorld(t *testing.T, served *atomic.Int64, change ...func(a, b *link.Config)) (*world, *meddler) {
	m := new(meddler)
	w := &world{t: t, net: netsim.New()}
	plain := func(string) bool { return true }
	a := link.Config{Name: "a", Instance: 1, Secrets: groupSecret, Plain: plain}
	count := func(r *link.Request) { served.Add(1); serve(r) }
	b := link.Config{Name: "b", Instance: 2, Secrets: groupSecret, Serve: count}
	for _, f := range change {
		f(&a, &b)
	}
	w.a = w.start("a", a, nil)
	w.b = w.start("b", b, func(n *link.Node) http.Handler {
		m.b = n
		return m
	})
	var err error
	w.peer, err = w.a.Peer("b", "http://b:80")
	require.NoError(t, err)
	return w, m
}

// status is that of the answer to a request, which refused ones have in common with all others.
func status(t *testing.T, n *link.Node, r *http.Request) int {
	answer := httptest.NewRecorder()
	n.ServeOps(answer, r)
	if answer.Code != http.StatusOK {
		require.Equal(t, http.StatusUnauthorized, answer.Code)
		require.True(t, strings.HasPrefix(answer.Body.String(), "covey: not proved to be of the same group"))
	}
	return answer.Code
}

// Somebody in the middle who refuses the upgrade sees no secret, and what he has seen gets him
// nothing, from anybody.
func TestPlainReplays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var served atomic.Int64
		w, m := newMeddledWorld(t, &served)
		defer w.close()
		l := w.link()
		put := &wire.Frame{Type: wire.Put, Key: "k", Value: []byte("v")}
		_, err := l.Call(t.Context(), put)
		require.NoError(t, err)
		_, err = l.Call(t.Context(), get("k"))
		require.NoError(t, err)
		secret := groupSecret[0]
		for _, s := range m.seen {
			all := slices.Concat(s.body, s.answer)
			for _, values := range s.header {
				for _, v := range values {
					decoded, _ := base64.StdEncoding.DecodeString(v[strings.LastIndex(v, " ")+1:])
					all = append(append(all, v...), decoded...)
				}
			}
			require.NotContains(t, string(all), string(secret))
			require.NotContains(t, string(all), hex.EncodeToString(secret))
			require.NotContains(t, string(all), base64.RawStdEncoding.EncodeToString(secret))
		}
		holds := func(hold bool) {
			m.Lock()
			defer m.Unlock()
			m.hold = hold
		}
		holds(true)
		_, err = l.Call(t.Context(), put)
		require.ErrorContains(t, err, "502")
		synctest.Wait() // until a has been refused in its next tries to meet b, too
		holds(false)
		time.Sleep(time.Second) // longer than the pause before a tries again
		w.link()                // a meets b again
		synctest.Wait()

		nodes := map[string]*link.Node{"the same process": m.b}
		for name, cfg := range map[string]link.Config{
			"another member":   {Name: "c", Instance: 3},
			"restarted":        {Name: "b", Instance: 4},
			"another group":    {Name: "b", Instance: 2, Group: "another"},
			"another secret":   {Name: "b", Instance: 2, Secrets: [][]byte{[]byte("what they have there is another one")}},
			"without a secret": {Name: "b", Instance: 2, Secrets: [][]byte{}},
			"itself":           {Name: "a", Instance: 1},
		} {
			cfg.Serve, cfg.Logger = func(*link.Request) { served.Add(1) }, slog.New(slog.DiscardHandler)
			if cfg.Secrets == nil {
				cfg.Secrets = groupSecret
			}
			nodes[name], err = link.NewNode(cfg)
			require.NoError(t, err)
			defer nodes[name].Close()
		}
		before := served.Load()
		for name, n := range nodes {
			for i, s := range m.seen {
				require.Equal(t, http.StatusUnauthorized, status(t, n, s.request()), "%d to %s", i, name)
			}
			if name != "the same process" {
				require.Equal(t, http.StatusUnauthorized, status(t, n, m.held[0].request()), name)
			}
		}
		require.Equal(t, before, served.Load())

		require.Equal(t, http.StatusOK, status(t, m.b, m.held[0].request()), "as after a slow network")
		require.Equal(t, before+1, served.Load())
		require.Equal(t, http.StatusUnauthorized, status(t, m.b, m.held[0].request()))
		time.Sleep(31 * time.Second)
		for _, s := range m.held[1:] {
			require.Equal(t, http.StatusUnauthorized, status(t, m.b, s.request()), "held back too long")
		}
		require.Equal(t, before+1, served.Load())
		_, err = w.link().Call(t.Context(), get("k"))
		require.NoError(t, err)
	})
}

// Nothing in a request can be changed.
func TestPlainAlteredRequests(t *testing.T) {
	bubble(t, func(t *testing.T) {
		served := 0
		b, err := link.NewNode(link.Config{Name: "b", Instance: 2, Secrets: groupSecret, Logger: slog.New(slog.DiscardHandler), Serve: func(r *link.Request) { served++; serve(r) }})
		require.NoError(t, err)
		defer b.Close()
		one := wire.Append(nil, get("k"))
		require.Equal(t, http.StatusOK, status(t, b, proven(one, nil)))
		require.Equal(t, 1, served)
		for i := range one {
			r := proven(one, nil)
			changed := bytes.Clone(one)
			changed[i] ^= 1
			r.Body = io.NopCloser(bytes.NewReader(changed))
			require.Equal(t, http.StatusUnauthorized, status(t, b, r), "byte %d of the body", i)
		}
		for _, body := range [][]byte{nil, one[:len(one)-1], slices.Concat(one, one)} {
			r := proven(one, nil)
			r.Body = io.NopCloser(bytes.NewReader(body))
			require.Equal(t, http.StatusUnauthorized, status(t, b, r))
		}
		good, err := base64.StdEncoding.DecodeString(proven(one, nil).Header.Get("Authorization")[len("Covey "):])
		require.NoError(t, err)
		for i := range good {
			changed := bytes.Clone(good)
			changed[i] ^= 1
			for _, proof := range [][]byte{changed, good[:i]} {
				r := proven(one, nil)
				r.Header.Set("Authorization", "Covey "+base64.StdEncoding.EncodeToString(proof))
				require.Equal(t, http.StatusUnauthorized, status(t, b, r), "byte %d of the proof", i)
			}
		}
		for _, header := range []string{"Covey", "Covey ", "Covey x", "Bearer " + string(groupSecret[0]), string(groupSecret[0])} {
			r := proven(one, nil)
			r.Header.Set("Authorization", header)
			require.Equal(t, http.StatusUnauthorized, status(t, b, r), header)
		}
		require.Equal(t, 1, served)

		now := uint64(time.Now().UnixMilli())
		for at, want := range map[uint64]int{
			0: 401, now - 31_000: 401, now - 30_000: 200, now: 200, now + 30_000: 200, now + 31_000: 401, math.MaxInt64: 401, math.MaxInt64 + 1: 401, math.MaxUint64: 401,
		} {
			require.Equal(t, want, status(t, b, proven(one, func(h *wire.Hello) { h.Called, h.Seq, h.Time = 2, at, at })), at)
		}
	})
}

// Nothing in an answer can be changed, nor can another one be put in its place.
func TestPlainAlteredAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, m := newMeddledWorld(t, new(atomic.Int64))
		defer w.close()
		ask := func(replace func([]byte) []byte) (wire.Frame, error) {
			l := w.link() // the call itself gets what is replaced
			m.Lock()
			m.replace = replace
			m.Unlock()
			return l.Call(t.Context(), get("k"))
		}
		answer, err := ask(bytes.Clone)
		require.NoError(t, err)
		require.Equal(t, "/k", string(answer.Value))
		synctest.Wait()
		m.Lock()
		one := m.seen[len(m.seen)-1].answer
		m.Unlock()
		cases := map[string]func([]byte) []byte{
			"of an earlier request": func([]byte) []byte { return one },
			"nothing":               func([]byte) []byte { return nil },
			"unsealed": func([]byte) []byte {
				return wire.Append(hello(wire.Welcome, "b", "", nil), &wire.Frame{Type: wire.Hit, Value: []byte("x")})
			},
			"an unsealed reason":        func([]byte) []byte { return wire.Append(nil, &wire.Frame{Type: wire.Failed, Code: wire.CodeSelf}) },
			"the first record is gone":  func(b []byte) []byte { return b[36+binary.LittleEndian.Uint32(b):] },
			"the records are exchanged": func(b []byte) []byte { n := 36 + binary.LittleEndian.Uint32(b); return slices.Concat(b[n:], b[:n]) },
			"the first record, twice":   func(b []byte) []byte { n := 36 + binary.LittleEndian.Uint32(b); return slices.Concat(b[:n], b[:n]) },
			"an empty record":           func(b []byte) []byte { return slices.Concat(make([]byte, 36), b) },
			"a huge record":             func(b []byte) []byte { return slices.Concat([]byte{255, 255, 255, 255}, b) },
		}
		for i := range one {
			cases[fmt.Sprint("a bit of byte ", i)] = func(b []byte) []byte { b[i] ^= 1; return b }
			cases[fmt.Sprint("cut at byte ", i)] = func(b []byte) []byte { return b[:i] }
		}
		for name, replace := range cases {
			_, err := ask(replace)
			require.Error(t, err, name)
			require.NotErrorIs(t, err, link.ErrSelf, name)
		}
		_, err = ask(bytes.Clone)
		require.NoError(t, err)
	})
}

// While a secret is being replaced processes know each other that have it in different places;
// nobody else does.
func TestPlainRotation(t *testing.T) {
	older, newer := []byte("the secret of the last year"), []byte("the secret of the next year")
	for name, test := range map[string]struct {
		a, b  [][]byte
		group string
		ok    bool
	}{
		"first and second": {[][]byte{newer, older}, [][]byte{older, newer}, "", true},
		"added":            {[][]byte{older}, [][]byte{older, newer}, "", true},
		"removed":          {[][]byte{newer, older}, [][]byte{newer}, "", true},
		"none":             {nil, nil, "", true},
		"another one":      {[][]byte{newer}, [][]byte{older}, "", false},
		"one has none":     {nil, [][]byte{older}, "", false},
		"not yet known":    {[][]byte{newer, older}, [][]byte{older}, "", false},
		"another group":    {[][]byte{newer}, [][]byte{newer}, "another", false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := &world{t: t, net: netsim.New()}
				plain := func(string) bool { return true }
				w.a = w.start("a", link.Config{Name: "a", Instance: 1, Plain: plain, Secrets: test.a, Serve: serve}, refusing)
				w.b = w.start("b", link.Config{Name: "b", Instance: 2, Plain: plain, Secrets: test.b, Serve: serve, Group: test.group}, refusing)
				defer w.close()
				for node, url := range map[*link.Node]string{w.a.Node: "http://b:80", w.b.Node: "http://a:80"} {
					p, err := node.Peer(url[7:8], url)
					require.NoError(t, err)
					l, err := p.Link(t.Context())
					if !test.ok {
						require.Error(t, err)
						continue
					}
					require.NoError(t, err)
					answer, err := l.Call(t.Context(), get("k"))
					require.NoError(t, err)
					require.Equal(t, "/k", string(answer.Value))
				}
			})
		})
	}
}
