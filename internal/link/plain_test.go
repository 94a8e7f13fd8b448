package link_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
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

// refusing is a handler in front of a node that lets no upgrades through.
func refusing(n *link.Node) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n.ServeOps(w, r)
		} else {
			http.Error(w, "no upgrades here", http.StatusForbidden)
		}
	})
}

// newPlainWorld is newWorld where no upgrades are to be had.
func newPlainWorld(t *testing.T, serve func(*link.Request)) *world {
	return newPlainWorldOf(t, func(_, b *link.Config) { b.Serve = serve })
}

func newPlainWorldOf(t *testing.T, change func(a, b *link.Config)) *world {
	w := &world{t: t, net: netsim.New()}
	plain := func(string) bool { return true }
	a := link.Config{Name: "a", Instance: 1, Plain: plain}
	b := link.Config{Name: "b", Instance: 2, Plain: plain}
	change(&a, &b)
	w.a, w.b = w.start("a", a, refusing), w.start("b", b, refusing)
	var err error
	w.peer, err = w.a.Peer("b", "http://b:80")
	require.NoError(t, err)
	return w
}

func TestPlainCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newPlainWorld(t, serve)
		defer w.close()
		users, err := w.a.AddCache("users", "json")
		require.NoError(t, err)
		_, err = w.b.AddCache("users", "gob")
		require.NoError(t, err)
		l := w.link()
		require.Same(t, l, w.link())
		require.ErrorContains(t, l.Plain(), "its status is 403")
		codec, ok := l.Codec("users")
		require.True(t, ok)
		require.Equal(t, "gob", codec)
		answer, err := l.Call(t.Context(), &wire.Frame{Type: wire.Get, Cache: users, Key: "42"})
		require.NoError(t, err)
		require.Equal(t, "users/42", string(answer.Value))
		for _, n := range []int{0, 1, 20_000, 300_000, 5 << 20} {
			answer, err := l.Call(t.Context(), &wire.Frame{Type: wire.Put, Cache: users, Key: "k", Value: make([]byte, n)})
			require.NoError(t, err)
			require.EqualValues(t, n, answer.Count)
		}
		back, err := w.b.Peer("a", "http://a:80")
		require.NoError(t, err)
		w.b.SetRing(77)
		_, err = w.b.AddCache("orders", "json")
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.EqualValues(t, 77, l.Ring())
		_, ok = l.Codec("orders")
		require.True(t, ok)
		time.Sleep(time.Minute)
		require.NoError(t, l.Err())
		require.Same(t, l, w.link())

		// Who has been told has taken note.
		other, err := back.Link(t.Context())
		require.NoError(t, err)
		w.a.SetRing(78)
		_, err = w.a.AddCache("carts", "json")
		require.NoError(t, err)
		require.NoError(t, l.Announce(t.Context()))
		require.EqualValues(t, 78, other.Ring())
		_, ok = other.Codec("carts")
		require.True(t, ok)
	})
}

// Requests of callers that come together share a body; each is answered when its answer is there. A
// peer that is busy for a moment, or shuts down, does not refuse upgrades: links to it are not made
// over plain HTTP.
func TestNotPlainWhileBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var busy atomic.Bool
		busy.Store(true)
		w := &world{t: t, net: netsim.New()}
		plain := func(string) bool { return true }
		w.a = w.start("a", link.Config{Name: "a", Instance: 1, Plain: plain}, nil)
		w.b = w.start("b", link.Config{Name: "b", Instance: 2, Plain: plain, Serve: serve}, func(n *link.Node) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPost:
					n.ServeOps(rw, r)
				case busy.Load():
					http.Error(rw, "too many handshakes", http.StatusServiceUnavailable)
				default:
					n.ServeHTTP(rw, r)
				}
			})
		})
		defer w.close()
		var err error
		w.peer, err = w.a.Peer("b", "http://b:80")
		require.NoError(t, err)
		_, err = w.peer.Link(t.Context())
		require.ErrorContains(t, err, "its status is 503")
		busy.Store(false)
		time.Sleep(time.Second)
		require.NoError(t, w.link().Plain())
	})
}

func TestPlainGathers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeeper()
		w := newPlainWorld(t, k.serve)
		defer w.close()
		l := w.link()
		w.net.SetDelay(time.Millisecond)
		before := w.net.Dials()
		const n = 3000
		answers := make(chan string, n)
		for i := range n {
			go func() {
				answer, err := l.Call(t.Context(), get(fmt.Sprint(i)))
				answers <- fmt.Sprint(answer.Type, err)
			}()
		}
		var ops []*link.Op
		for range n {
			ops = append(ops, <-k.ops)
		}
		require.Less(t, w.net.Dials()-before, 100, "connections")
		rand.Shuffle(n, func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
		for _, op := range ops {
			require.Empty(t, answers)
			op.Answer(&wire.Frame{Type: wire.Done})
			require.Equal(t, fmt.Sprint(wire.Done, nil), <-answers)
		}
	})
}

// A load takes longer than the server lets a response take, and than an operation; another one is
// given up.
func TestPlainHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeeper()
		w := newPlainWorld(t, k.serve)
		defer w.close()
		l := w.link()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := l.Call(t.Context(), get("held"))
			require.NoError(t, err)
		})
		held := <-k.ops
		held.Held()
		time.Sleep(time.Minute)
		held.Answer(&wire.Frame{Type: wire.Done})
		wg.Wait()

		_, err := l.Call(t.Context(), get("late"))
		require.ErrorIs(t, err, link.ErrTimeout)
		<-k.ops
		synctest.Wait()
		require.Len(t, k.cancelled, 1, "nobody else waits for anything that was in the body")
		<-k.cancelled

		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			_, err := l.Call(ctx, get("cancelled"))
			require.ErrorIs(t, err, context.Canceled)
		})
		<-k.ops
		cancel()
		wg.Wait()
		synctest.Wait()
		require.Len(t, k.cancelled, 1)
		require.NoError(t, l.Err())
	})
}

// Who comes after a request that has been given up before it was sent is not given up with it.
func TestPlainGivenUpAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newPlainWorld(t, serve)
		defer w.close()
		l := w.link()
		for range 100 {
			s := new(sink)
			op, err := l.Send(t.Context(), get("given up"), s)
			require.NoError(t, err)
			l.Cancel(op, s) // or it has just been answered
			answer, err := l.Call(t.Context(), get("k"))
			require.NoError(t, err)
			require.Equal(t, "/k", string(answer.Value))
		}
	})
}

// A write that has been given up has no effect any more when a later one has: it has ended before
// that is served, or never begins.
func TestPlainLateWrite(t *testing.T) {
	put := func(key string) *wire.Frame { return &wire.Frame{Type: wire.Put, Key: key} }
	bubble(t, func(t *testing.T) { // it is under way, and something else in the body is still waited for
		served := make(chan string, 10)
		ops := make(chan *link.Op, 10)
		w := newPlainWorld(t, func(r *link.Request) {
			served <- strings.Clone(r.Key)
			if strings.HasPrefix(r.Key, "kept") {
				ops <- r.Keep(nil)
			} else {
				r.Answer(&wire.Frame{Type: wire.Done})
			}
		})
		defer w.close()
		l := w.link()
		other, write := new(sink), new(sink)
		_, err := l.Send(t.Context(), put("kept"), other)
		require.NoError(t, err)
		op, err := l.Send(t.Context(), put("kept, too"), write)
		require.NoError(t, err)
		synctest.Wait()
		require.True(t, l.Cancel(op, write))
		require.False(t, l.Cancel(op, write))
		_, err = l.Call(t.Context(), get("a read does not matter"))
		require.NoError(t, err)
		require.Empty(t, other.all())
		later := make(chan error)
		go func() {
			_, err := l.Call(t.Context(), put("later"))
			later <- err
		}()
		synctest.Wait()
		require.Len(t, served, 3, "the later one is not served yet")
		for range 2 {
			op := <-ops
			require.False(t, op.Live())
			op.Answer(&wire.Frame{Type: wire.Done})
		}
		require.NoError(t, <-later)
		require.NotEmpty(t, other.all())
		require.Empty(t, write.all())
	})
	bubble(t, func(t *testing.T) { // it was held up on its way
		served := make(chan string, 10)
		b, err := link.NewNode(link.Config{Name: "b", Instance: 2, Secrets: groupSecret, Serve: func(r *link.Request) {
			served <- strings.Clone(r.Key)
			r.Answer(&wire.Frame{Type: wire.Done})
		}})
		require.NoError(t, err)
		defer b.Close()
		for _, test := range []struct {
			seq, since uint64
			status     int
		}{{1, 1, 200}, {5, 4, 200}, {3, 2, 503}, {4, 4, 200}, {6, 0, 200}} {
			hello := func(h *wire.Hello) { h.Instance, h.Seq, h.Since = 9, test.seq, test.since }
			answer := httptest.NewRecorder()
			b.ServeOps(answer, proven(wire.Append(nil, put(fmt.Sprint(test.seq))), hello))
			require.Equal(t, test.status, answer.Code)
		}
		close(served)
		var all []string
		for key := range served {
			all = append(all, key)
		}
		require.Equal(t, []string{"1", "5", "4", "6"}, all)
	})
}

// Both ends are told of a shutdown; what is under way is answered.
func TestPlainShutdown(t *testing.T) {
	for _, who := range []string{"caller", "callee"} {
		bubble(t, func(t *testing.T) {
			k := newKeeper()
			w := newPlainWorld(t, k.serve)
			defer w.close()
			back, err := w.b.Peer("a", "http://a:80")
			require.NoError(t, err)
			l := w.link()
			other, err := back.Link(t.Context())
			require.NoError(t, err)
			answered := make(chan error, 1)
			go func() {
				_, err := l.Call(context.Background(), get("k"))
				answered <- err
			}()
			op := <-k.ops
			down := make(chan error)
			go func() {
				h := map[string]*host{"caller": w.a, "callee": w.b}[who]
				down <- h.Shutdown(context.Background())
			}()
			synctest.Wait()
			if who == "caller" {
				_, err := l.Call(t.Context(), get("k"))
				require.ErrorIs(t, err, link.ErrGoingAway)
				require.ErrorIs(t, other.Err(), link.ErrGoingAway, "b has been told")
			}
			time.Sleep(time.Second)
			op.Answer(&wire.Frame{Type: wire.Done})
			if who == "caller" {
				require.NoError(t, <-answered)
			} else {
				<-answered // a has been told that b goes, and waits no more
				require.ErrorIs(t, l.Err(), link.ErrGoingAway)
			}
			require.NoError(t, <-down)
		})
	}
}

// What is no body gets a status that says so, and nothing of it is served that comes behind what is
// wrong.
func TestBadBodies(t *testing.T) {
	one := wire.Append(nil, get("k"))
	served := 0
	b, err := link.NewNode(link.Config{Name: "b", Instance: 2, Secrets: groupSecret, MaxValue: 1000, MaxQueue: 1000, Logger: slog.New(slog.DiscardHandler),
		Serve: func(r *link.Request) { served++; serve(r) }})
	require.NoError(t, err)
	defer b.Close()
	type test struct {
		request *http.Request
		status  int
		text    string
		served  int
	}
	body := func(frames ...[]byte) *http.Request { return proven(slices.Concat(frames...), nil) }
	from := func(change func(h *wire.Hello)) *http.Request { return proven(one, change) }
	tests := map[string]test{
		"nothing":                {body(), 200, "", 0},
		"text":                   {body([]byte("key=value&key=value&key=value")), 400, "wire: ", 0},
		"one request":            {body(one), 200, "/k", 1},
		"half a request":         {body(one, one[:len(one)-1]), 400, "malformed", 0},
		"half a header":          {body(one, one[:3]), 400, "malformed", 0},
		"an endless frame":       {body(one, []byte("\xff\xff\xff\x7f\x01\x00\x00\x00\x01\x00\x00\x00")), 400, "over the limit", 0},
		"too much":               {body(make([]byte, 3001)), 413, "more than 3000 bytes", 0},
		"a field that is wrong":  {body(one, framed(wire.Get, 1, []byte{1<<2 + 2}), one), 200, "", 1},
		"an answer":              {body(one, wire.Append(nil, &wire.Frame{Type: wire.Hit, Op: 1}), one), 200, "", 1},
		"a piece of nothing":     {body(one, wire.Append(nil, &wire.Frame{Type: wire.Chunk, Op: 1, Value: []byte("x")}), one), 200, "", 1},
		"a value without an end": {body(one, wire.Append(nil, &wire.Frame{Type: wire.Put, Key: "k", Size: 900, Stream: 1})), 200, "", 1},
		"too long a value":       {body(one, wire.Append(nil, &wire.Frame{Type: wire.Put, Key: "k", Size: 1001, Stream: 1})), 200, "", 1},
		"a recall":               {body(wire.Append(nil, &wire.Frame{Type: wire.Recall, Key: "k"})), 200, "", 0},
		"to somebody else":       {from(func(h *wire.Hello) { h.Target = "c" }), 200, "this is \"b\", not \"c\"", 0},
		"from itself":            {from(func(h *wire.Hello) { h.Instance = 2 }), 200, "this process itself", 0},
		"of another version":     {from(func(h *wire.Hello) { h.MinVersion, h.MaxVersion = 0, 0 }), 200, "no common version", 0},
		"takes no ops":           {from(func(h *wire.Hello) { h.MaxOps = 0 }), 200, "malformed", 0},
		"no name":                {from(func(h *wire.Hello) { h.Name = "" }), 401, "not proved", 0},
		"a hello and a half":     {provenBy(append(hello(wire.HelloFrame, "x", "b", nil), "half"...), one), 401, "not proved", 0},
		"half a hello":           {provenBy(hello(wire.HelloFrame, "x", "b", nil)[:40], one), 401, "not proved", 0},
		"no hello":               {provenBy(nil, one), 401, "not proved", 0},
		"a long hello":           {provenBy(framed(wire.HelloFrame, 5<<10, make([]byte, 5<<10)), one), 401, "not proved", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			served = 0
			answer := httptest.NewRecorder()
			b.ServeOps(answer, test.request)
			require.Equal(t, test.status, answer.Code, answer.Body)
			require.Contains(t, answer.Body.String(), test.text)
			require.Equal(t, test.served, served)
		})
	}
	answer := httptest.NewRecorder()
	b.ServeOps(answer, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, 405, answer.Code)
}

// Servers that answer a body with something else: nobody waits for long, and the reason is told.
func TestBadAnswers(t *testing.T) {
	good := hello(wire.Welcome, "b", "", nil)
	request := wire.Append(nil, get("k"))
	for name, test := range map[string]struct {
		status int
		body   []byte
		sealed bool
		want   string
	}{
		"refused":              {401, []byte("who are you?"), false, "who are you?"},
		"refused again":        {403, nil, false, "its status is 401"}, // by the peer, and not by what is in between
		"a page":               {200, []byte("<html>welcome</html>"), false, "not a covey peer"},
		"a reason from nobody": {200, wire.Append(nil, &wire.Frame{Type: wire.Failed, Code: wire.CodeIdentity, Text: "not me"}), false, "EOF"},
		"nothing":              {200, nil, false, "EOF"},
		"moved":                {307, nil, false, "307"},
		"another one":          {200, hello(wire.Welcome, "c", "", nil), true, `the peer's name is "c", not "b"`},
		"itself":               {200, hello(wire.Welcome, "b", "", func(h *wire.Hello) { h.Instance = 1 }), true, "this process itself"},
		"a reason":             {200, wire.Append(nil, &wire.Frame{Type: wire.Failed, Code: wire.CodeIdentity, Text: "not me"}), true, "not me"},
		"a request":            {200, slices.Concat(good, request), true, "broke the protocol"},
		"half a frame":         {200, slices.Concat(good, request[:5]), true, "unexpected EOF"},
		"a stray answer":       {200, slices.Concat(good, wire.Append(nil, &wire.Frame{Type: wire.Hit, Op: 1})), true, "broke the protocol"},
		"an endless frame":     {200, slices.Concat(good, []byte("\xff\xff\xff\x7f\x01\x00\x00\x00\x01\x00\x00\x00")), true, "over the limit"},
		"too long a stream":    {200, slices.Concat(good, wire.Append(nil, &wire.Frame{Type: wire.Hit, Op: 1, Size: 1 << 30, Stream: 1})), true, "broke the protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := &world{t: t, net: netsim.New()}
				w.a = w.start("a", link.Config{Name: "a", Instance: 1, Secrets: groupSecret, Plain: func(string) bool { return true }}, nil)
				w.b = w.start("b", link.Config{Name: "b", Instance: 2}, func(*link.Node) http.Handler {
					return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
						if r.Method != http.MethodPost {
							http.Error(rw, "no upgrades here", http.StatusForbidden)
							return
						}
						proof := r.Header.Get("Authorization")
						switch {
						case proof == "" || test.status == 403:
							rw.Header().Set("WWW-Authenticate", "Covey 2")
							rw.WriteHeader(401)
						case test.status == 200 && test.sealed:
							_, _ = rw.Write(record(macIn(t, proof), test.body))
						default:
							rw.WriteHeader(test.status)
							_, _ = rw.Write(test.body)
						}
					})
				})
				defer w.close()
				p, err := w.a.Peer("b", "http://b:80")
				require.NoError(t, err)
				_, err = p.Link(t.Context())
				require.ErrorContains(t, err, test.want)
				require.ErrorContains(t, err, "no upgrades here")
				require.Equal(t, slices.Contains([]string{"refused again", "another one", "a reason"}, name), errors.Is(err, link.ErrRefused))
			})
		})
	}
}
