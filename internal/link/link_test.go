package link_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/netsim"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// A world is two processes, a and b, of which a calls b.
type world struct {
	t    *testing.T
	net  *netsim.Network
	a, b *host
	peer *link.Peer // b, as a sees it
}

// A host is a process with a node in an HTTP server.
type host struct {
	*link.Node
	srv    *http.Server
	events chan string // "up NAME" and "down NAME: error"
	cfg    link.Config
}

// newWorld starts both; change may change their configurations.
func newWorld(t *testing.T, change func(a, b *link.Config)) *world {
	w := &world{t: t, net: netsim.New()}
	a := link.Config{Name: "a", Instance: 1}
	b := link.Config{Name: "b", Instance: 2, Serve: serve}
	if change != nil {
		change(&a, &b)
	}
	w.a, w.b = w.start("a", a, nil), w.start("b", b, nil)
	var err error
	w.peer, err = w.a.Peer("b", "http://b:80")
	require.NoError(t, err)
	return w
}

// start starts a process on a host, with a node inside of handler if that is not nil.
func (w *world) start(name string, cfg link.Config, handler func(*link.Node) http.Handler) *host {
	h := &host{events: make(chan string, 100)}
	cfg.Dial = w.net.Dialer(name)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	up, down := cfg.Up, cfg.Down
	cfg.Up = func(l *link.Link) {
		h.events <- "up " + l.Name()
		if up != nil {
			up(l)
		}
	}
	cfg.Down = func(l *link.Link, err error) {
		h.events <- fmt.Sprintf("down %s: %v", l.Name(), err)
		if down != nil {
			down(l, err)
		}
	}
	node, err := link.NewNode(cfg)
	require.NoError(w.t, err)
	h.Node, h.cfg = node, cfg
	listener, err := w.net.Listen(name + ":80")
	require.NoError(w.t, err)
	h.srv = &http.Server{Handler: node, ReadTimeout: time.Second, WriteTimeout: time.Second}
	if handler != nil {
		h.srv.Handler = handler(node)
	}
	go func() { _ = h.srv.Serve(listener) }()
	return h
}

// stop ends a process.
func (h *host) stop() {
	h.Close()
	_ = h.srv.Close()
}

// close ends everything; what is left over then, the bubble finds.
func (w *world) close() {
	w.a.stop()
	w.b.stop()
	synctest.Wait()
	require.Zero(w.t, w.net.Conns(), "open connections")
}

func (w *world) link() *link.Link {
	w.t.Helper()
	l, err := w.peer.Link(w.t.Context())
	require.NoError(w.t, err)
	return l
}

func (h *host) expect(t *testing.T, want string) {
	t.Helper()
	require.Equal(t, want, <-h.events)
}

// serve answers with the key, at once or later.
func serve(r *link.Request) {
	switch r.Type {
	case wire.Get:
		r.Answer(&wire.Frame{Type: wire.Hit, Value: []byte(r.CacheName() + "/" + r.Key)})
	case wire.Put:
		op, n := r.Keep(nil), len(r.Value)
		go func() { op.Answer(&wire.Frame{Type: wire.Done, Count: uint64(n)}) }()
	}
}

func get(key string) *wire.Frame { return &wire.Frame{Type: wire.Get, Key: key} }

func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func TestCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		require.Nil(t, w.peer.Up())
		require.Zero(t, w.net.Dials(), "dialled before its first use")
		users, err := w.a.AddCache("users", "json")
		require.NoError(t, err)
		l := w.link()
		require.Same(t, l, w.link())
		require.Equal(t, 1, w.net.Dials())
		w.a.expect(t, "up b")
		w.b.expect(t, "up a")
		require.Equal(t, "b", l.Name())
		require.Equal(t, uint64(2), l.Instance())

		answer, err := l.Call(t.Context(), &wire.Frame{Type: wire.Get, Cache: users, Key: "42"})
		require.NoError(t, err)
		require.Equal(t, wire.Hit, answer.Type)
		require.Equal(t, "users/42", string(answer.Value))

		answer, err = l.Call(t.Context(), &wire.Frame{Type: wire.Put, Cache: users, Key: "42", Value: []byte("abc")})
		require.NoError(t, err)
		require.Equal(t, wire.Done, answer.Type)
		require.Equal(t, uint64(3), answer.Count)

		answer, err = l.Call(t.Context(), &wire.Frame{Type: 0x3f})
		require.NoError(t, err)
		require.Equal(t, wire.Unsupported, answer.Type)

		// Caches that come and go while the link is up, and ask in the other direction.
		posts, err := w.a.AddCache("posts", "json")
		require.NoError(t, err)
		answer, err = l.Call(t.Context(), &wire.Frame{Type: wire.Get, Cache: posts, Key: "1"})
		require.NoError(t, err)
		require.Equal(t, "posts/1", string(answer.Value))
		w.a.RemoveCache("users")
		answer, err = l.Call(t.Context(), &wire.Frame{Type: wire.Get, Cache: users, Key: "1"})
		require.NoError(t, err)
		require.Equal(t, "/1", string(answer.Value))
		for back := range w.b.Links {
			codec, ok := back.Codec("posts")
			require.True(t, ok)
			require.Equal(t, "json", codec)
			_, ok = back.Codec("users")
			require.False(t, ok)
		}
	})
}

func TestManyCallers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(a, b *link.Config) { b.MaxOps = 10 })
		defer w.close()
		l := w.link()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				for j := range 50 {
					key := fmt.Sprintf("%d.%d", i, j)
					typ := wire.Get
					if j%3 == 0 {
						typ = wire.Put
					}
					answer, err := l.Call(t.Context(), &wire.Frame{Type: typ, Key: key, Value: make([]byte, j)})
					require.NoError(t, err)
					if typ == wire.Get {
						require.Equal(t, "/"+key, string(answer.Value))
					} else {
						require.Equal(t, uint64(j), answer.Count)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestValuesOfAllSizes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		value := func(n int) []byte {
			v := make([]byte, n)
			for i := range v {
				v[i] = byte(i * i / 7)
			}
			return v
		}
		w := newWorld(t, func(a, b *link.Config) {
			b.Serve = func(r *link.Request) {
				v := r.Value
				if r.Size == 0 {
					v = append([]byte(nil), v...)
				}
				r.Answer(&wire.Frame{Type: wire.Hit, Key: r.Key, Value: v})
			}
		})
		defer w.close()
		l := w.link()
		var wg sync.WaitGroup
		for _, n := range []int{0, 1, 100, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20, 5<<20 + 1, 1 << 17, 3 << 16, 100000, 200000, 300000} {
			wg.Go(func() {
				answer, err := l.Call(t.Context(), &wire.Frame{Type: wire.Put, Key: fmt.Sprint(n), Value: value(n)})
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(n), answer.Key)
				require.Equal(t, string(value(n)), string(answer.Value))
			})
		}
		wg.Wait()
		_, err := l.Call(t.Context(), &wire.Frame{Type: wire.Put, Value: make([]byte, 64<<20+1)})
		require.ErrorIs(t, err, wire.ErrTooLarge)
		_, err = l.Call(t.Context(), get(strings.Repeat("k", wire.MaxKey+1)))
		require.ErrorIs(t, err, wire.ErrTooLarge)
		answer, err := l.Call(t.Context(), get(strings.Repeat("k", wire.MaxKey)))
		require.NoError(t, err)
		require.Len(t, answer.Key, wire.MaxKey)
	})
}

// Values that together are far over the bound for what arrives come one after the other, and short
// ones between them.
func TestLongValuesWaitForMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(a, b *link.Config) { b.MaxValue, b.MaxArriving = 16<<20, 20<<20 })
		defer w.close()
		w.net.SetDelay(time.Millisecond)
		var wg sync.WaitGroup
		for i := range 4 {
			name := fmt.Sprint("c", i)
			c := w.start(name, link.Config{Name: name, Instance: uint64(10 + i), OpTimeout: time.Minute}, nil)
			defer c.stop()
			p, err := c.Peer("b", "http://b:80")
			require.NoError(t, err)
			l, err := p.Link(t.Context())
			require.NoError(t, err)
			for range 3 {
				wg.Go(func() {
					answer, err := l.Call(t.Context(), &wire.Frame{Type: wire.Put, Key: "k", Value: make([]byte, 10<<20)})
					require.NoError(t, err)
					require.Equal(t, uint64(10<<20), answer.Count)
				})
			}
			wg.Go(func() {
				for range 100 {
					start := time.Now()
					_, err := l.Call(t.Context(), get("k"))
					require.NoError(t, err)
					require.Less(t, time.Since(start), 100*time.Millisecond)
					time.Sleep(time.Millisecond)
				}
			})
		}
		wg.Wait()
	})
}

// Who begins a value and does not go on with it loses the link, and the memory with it.
func TestUnfinishedValue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, secretive)
		defer w.close()
		conn, r, challenge := w.dial(t)
		defer conn.Close()
		h := hello(wire.HelloFrame, "x", "b", nil)
		say := func(frames ...*wire.Frame) {
			var b []byte
			for _, f := range frames {
				b = wire.Append(b, f)
			}
			_, _ = conn.Write(b)
		}
		_, err := conn.Write(slices.Concat(h, proofOf("client", "", challenge, h)))
		require.NoError(t, err)
		readFrame(t, r)
		readFrame(t, r)
		say(&wire.Frame{Type: wire.KeepAlive, Op: 1}, &wire.Frame{Type: wire.Put, Key: "k", Stream: 1, Size: 1 << 20},
			&wire.Frame{Type: wire.Chunk, Op: 1, Value: make([]byte, 1000)})
		w.b.expect(t, "up x")
		start := time.Now()
		go func() { // it is alive
			for {
				b := make([]byte, wire.HeaderSize)
				if _, err := io.ReadFull(r, b); err != nil {
					return
				}
				n, _ := wire.BodyLen(b)
				b = append(b, make([]byte, n)...)
				if _, err := io.ReadFull(r, b[wire.HeaderSize:]); err != nil {
					return
				}
				var f wire.Frame
				if wire.Parse(b, &f) == nil && f.Type == wire.KeepAlive {
					say(&wire.Frame{Type: wire.KeepAliveOK, Op: f.Op, TTL: time.Minute})
				}
			}
		}()
		w.b.expect(t, "down x: "+link.ErrSlowPeer.Error())
		require.Greater(t, time.Since(start), 5*time.Second)
		require.Less(t, time.Since(start), 6*time.Second)
	})
}
