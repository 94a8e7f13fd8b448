package link_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/netsim"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

func TestReconnect(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var w *world
		w = newWorld(t, func(a, b *link.Config) {
			a.Down = func(*link.Link, error) {
				dials := w.net.Dials()
				time.Sleep(time.Second)
				require.Equal(t, dials, w.net.Dials(), "dialled before Down had returned")
			}
		})
		defer w.close()
		first := w.link()
		time.Sleep(time.Minute)
		w.net.Reset("a", "b")
		synctest.Wait()
		require.Nil(t, w.peer.Up())
		require.ErrorIs(t, first.Err(), syscall.ECONNRESET)
		_, err := first.Call(t.Context(), get("k"))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		second := w.link() // waits
		require.NotSame(t, first, second)
		require.Equal(t, 2, w.net.Dials())
		_, err = second.Call(t.Context(), get("k"))
		require.NoError(t, err)
		for _, want := range []string{"up b", "down b: connection reset by peer", "up b"} {
			w.a.expect(t, want)
		}

		// A link that does not last is not dialled again and again without a pause.
		before := w.net.Dials()
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			w.net.Reset("a", "b")
		}
		require.Less(t, w.net.Dials()-before, 60)
	})
}

func TestBackoff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		synctest.Wait() // b listens
		w.b.stop()
		_, err := w.peer.Link(t.Context())
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		var dial *link.DialError
		require.ErrorAs(t, err, &dial)
		require.Equal(t, "b", dial.Peer)
		require.Equal(t, "http://b:80/v1/link", dial.URL)
		for range 1000 {
			time.Sleep(100 * time.Millisecond)
			begin := time.Now()
			_, err := w.peer.Link(t.Context())
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			require.Zero(t, time.Since(begin), "waited for a peer that refuses")
		}
		require.Greater(t, w.net.Dials(), 100/5)
		require.Less(t, w.net.Dials(), 10+100*2/5)

		w.b = w.start("b", w.b.cfg, nil)
		w.a.expect(t, "up b") // nobody has to ask for it
		synctest.Wait()
		require.NotNil(t, w.peer.Up())
	})
}

// A peer shows that it is there while what comes of dialling it before is still on its way.
func TestRetryWhileDialling(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var w *world
		failed := 0
		w = newWorld(t, func(a, b *link.Config) {
			a.Failed = func(p *link.Peer, _ error) {
				failed++
				require.False(t, p.Shown())
				w.b = w.start("b", w.b.cfg, nil)
				p.Retry()
				require.True(t, p.Shown())
			}
		})
		defer w.close()
		synctest.Wait() // b listens
		w.b.stop()
		begin := time.Now()
		w.link()
		require.Equal(t, 1, failed)
		require.Zero(t, time.Since(begin), "it is dialled again at once")
		require.False(t, w.peer.Shown())
	})
}

func TestDialTakesNoLongerThanItMay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		w.net.Partition("a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := w.peer.Link(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begin))
		_, err = w.peer.Link(t.Context())
		require.ErrorIs(t, err, link.ErrTimeout)
		require.Equal(t, 2*time.Second, time.Since(begin))
	})
}

func TestClose(t *testing.T) {
	t.Run("node", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, nil)
			l := w.link()
			w.close()
			require.ErrorIs(t, l.Err(), link.ErrClosed)
			_, err := w.peer.Link(t.Context())
			require.ErrorIs(t, err, link.ErrClosed)
			p, err := w.a.Peer("b", "http://b:80")
			require.NoError(t, err)
			_, err = p.Link(t.Context())
			require.ErrorIs(t, err, link.ErrClosed)
			w.close()
		})
	})
	t.Run("peer", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, nil)
			defer w.close()
			l := w.link()
			w.peer.Close()
			synctest.Wait()
			require.ErrorIs(t, l.Err(), link.ErrClosed)
			_, err := w.peer.Link(t.Context())
			require.ErrorIs(t, err, link.ErrClosed)
			require.Zero(t, w.net.Conns())
		})
	})
	t.Run("while dialling", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, nil)
			w.net.Partition("a", "b")
			failed := make(chan error)
			go func() {
				_, err := w.peer.Link(context.Background())
				failed <- err
			}()
			synctest.Wait()
			w.close()
			require.ErrorIs(t, <-failed, link.ErrClosed)
		})
	})
}

func TestPeerURL(t *testing.T) {
	n, err := link.NewNode(link.Config{Name: "a", Instance: 1})
	require.NoError(t, err)
	defer n.Close()
	for _, bad := range []string{"", "b:80", "ftp://b", "http://", "http://[::1", "/x"} {
		_, err := n.Peer("b", bad)
		require.Error(t, err, bad)
	}
	for _, bad := range []link.Config{{Name: "a"}, {Instance: 1}, {Name: string(make([]byte, wire.MaxName+1)), Instance: 1}} {
		_, err := link.NewNode(bad)
		require.Error(t, err)
	}
}

// TestHelloWaits: what came over an earlier link of the same process has ended
// before a newer link is up, so that it cannot undo what comes over that.
func TestHelloWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ops := make(chan *link.Op, 1)
		cancelled := make(chan *link.Op, 1)
		w := newWorld(t, func(a, b *link.Config) {
			b.Serve = func(r *link.Request) {
				ops <- r.Keep(func(op *link.Op) { cancelled <- op })
			}
		})
		defer w.close()
		l := w.link()
		failed := make(chan error, 1)
		go func() {
			_, err := l.Call(context.Background(), get("k"))
			failed <- err
		}()
		op := <-ops
		require.True(t, op.Live())
		w.net.Reset("a", "b")
		require.ErrorIs(t, <-failed, syscall.ECONNRESET)
		require.Same(t, op, <-cancelled)
		require.False(t, op.Live())
		time.Sleep(500 * time.Millisecond)
		require.Nil(t, w.peer.Up())
		op.Answer(&wire.Frame{Type: wire.Done})
		op.Answer(&wire.Frame{Type: wire.Done}) // once too often is harmless
		synctest.Wait()
		require.NotNil(t, w.peer.Up())
		w.b.expect(t, "up a")
		// The next link may come before this end has noticed what became of the first.
		require.Contains(t, []string{"down a: connection reset by peer", "down a: link: replaced by a newer link"}, <-w.b.events)
		w.b.expect(t, "up a")

		// When it does not end, the other end hears why there is no link.
		go func() { _, _ = w.peer.Up().Call(context.Background(), get("k")) }()
		op = <-ops
		w.net.Reset("a", "b")
		time.Sleep(10 * time.Second)
		_, err := w.peer.Link(t.Context())
		var refused *link.HandshakeError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, wire.CodeBusy, refused.Code)
		op.Answer(&wire.Frame{Type: wire.Done})
		time.Sleep(10 * time.Second)
		require.NotNil(t, w.peer.Up())
	})
}

// TestReplaced: a process has given up its link while the other end has not
// noticed, and opens another one.
func TestReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		block := make(chan struct{})
		w := newWorld(t, func(a, b *link.Config) { b.Serve = func(*link.Request) { <-block } })
		defer w.close()
		l := w.link()
		_, err := l.Send(t.Context(), get("k"), new(sink))
		require.NoError(t, err)
		synctest.Wait()
		w.peer.Close()
		w.peer, err = w.a.Peer("b", "http://b:80")
		require.NoError(t, err)
		up := make(chan struct{})
		go func() {
			defer close(up)
			w.link()
		}()
		time.Sleep(500 * time.Millisecond)
		w.b.expect(t, "up a")
		require.Empty(t, w.b.events)
		close(block)
		<-up
		w.b.expect(t, "down a: link: replaced by a newer link")
		w.b.expect(t, "up a")
	})
}

// A lines is a writer for a log that gives its lines to a test.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

func (l lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Why there is no link is logged when it changes, however often it is tried in vain, and not more
// often than it pays to read.
func TestReasonsAreLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log := make(lines, 1000)
		var status atomic.Int32
		w := &world{t: t, net: netsim.New()}
		w.a = w.start("a", link.Config{Name: "a", Instance: 1, Logger: log.logger()}, nil)
		defer func() { w.close() }()
		p, err := w.a.Peer("b", "http://b:80")
		require.NoError(t, err)
		expect := func(want ...string) {
			t.Helper()
			time.Sleep(time.Minute)
			require.Len(t, log, len(want))
			for _, w := range want {
				require.Contains(t, <-log, w)
			}
		}
		_, err = p.Link(t.Context())
		require.Error(t, err)
		expect(`level=INFO msg="covey: no link to a peer, trying again" peer=b url=http://b:80/v1/link err="dial tcp b:80: connection refused"`)
		expect(`level=WARN msg="covey: no link to a peer, trying again" peer=b url=http://b:80/v1/link err="dial tcp b:80: connection refused"`)
		expect()
		w.b = w.start("b", link.Config{Name: "b", Instance: 2}, func(n *link.Node) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				switch s := status.Load(); s {
				case 0:
					n.ServeHTTP(rw, r)
				case 1: // a new one each time
					http.Error(rw, fmt.Sprint(status.Load()), 500+int(time.Now().UnixNano()%100))
				default:
					http.Error(rw, "no", int(s))
				}
			})
		})
		status.Store(404)
		expect("its status is 404")
		status.Store(503)
		expect("its status is 503")
		expect()
		status.Store(1)
		time.Sleep(10 * time.Minute)
		require.Greater(t, len(log), 10)
		require.LessOrEqual(t, len(log), 61)
		for len(log) > 0 {
			<-log
		}
		status.Store(0)
		expect("link is up again")
		status.Store(404)
		w.net.Reset("a", "b")
		expect("link is down", "its status is 404")
		status.Store(0)
		expect("link is up again")
		require.NoError(t, w.b.Shutdown(t.Context()))
		w.b.stop()
		expect("link is down")
	})
}

// A server that cannot take links in says so once, not whenever somebody tries.
func TestUnhijackableIsLoggedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log := make(lines, 1000)
		w := &world{t: t, net: netsim.New()}
		w.a = w.start("a", link.Config{Name: "a", Instance: 1}, nil)
		w.b = w.start("b", link.Config{Name: "b", Instance: 2, Logger: log.logger()}, func(n *link.Node) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				n.ServeHTTP(struct{ http.ResponseWriter }{rw}, r)
			})
		})
		defer w.close()
		p, err := w.a.Peer("b", "http://b:80")
		require.NoError(t, err)
		before := w.net.Dials()
		_, err = p.Link(t.Context())
		require.ErrorContains(t, err, "does not let connections be upgraded")
		time.Sleep(time.Minute)
		require.Greater(t, w.net.Dials()-before, 5)
		require.Len(t, log, 1)
		require.Contains(t, <-log, "without an Unwrap method")
	})
}
