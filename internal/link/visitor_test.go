package link_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// crowd opens n connections to b and says nothing on them; from names the host of the i-th.
// Whenever b hangs up it opens another, until it is told to leave.
func (w *world) crowd(t *testing.T, n int, from func(i int) string) (leave func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				conn, err := w.net.Dialer(from(i))(ctx, "tcp", "b:80")
				if err != nil {
					return
				}
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				_, _ = io.WriteString(conn, upgrade)
				_, _ = io.Copy(io.Discard, conn)
				stop()
				_ = conn.Close()
				time.Sleep(time.Millisecond)
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	return func() {
		cancel()
		wg.Wait()
	}
}

const upgrade = "GET /v1/link HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: covey/1\r\n\r\n"

// However many connections strangers open, from wherever, a peer gets its link at once.
func TestStrangersDoNotKeepPeersOut(t *testing.T) {
	for name, from := range map[string]func(i int) string{
		"one address":         func(int) string { return "x" },
		"many addresses":      func(i int) string { return fmt.Sprint("x", i) },
		"the peer's own":      func(int) string { return "a" },
		"one network of IPv6": func(i int) string { return fmt.Sprintf("[2001:db8::%x]", i+1) },
	} {
		// 150 ms take the peer longer than it is safe from those who are no better.
		for _, delay := range []time.Duration{time.Millisecond, 150 * time.Millisecond} {
			t.Run(fmt.Sprint(name, " ", delay), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					w := newWorld(t, func(a, b *link.Config) { b.Secrets, a.Secrets, b.MaxPending = groupSecret, groupSecret, 32 })
					defer w.close()
					w.net.SetDelay(delay)
					defer w.crowd(t, 40, from)()
					start := time.Now()
					w.link()
					require.Less(t, time.Since(start), 10*delay+90*time.Millisecond)
					require.LessOrEqual(t, w.net.Conns(), 41)
				})
			})
		}
	}
}

// door returns what knocks at b's, and what ends all that did.
func (w *world) door(t *testing.T) (knock func(from string) (status int, r *bufio.Reader), leave func()) {
	var conns []net.Conn
	knock = func(from string) (status int, r *bufio.Reader) {
		conn, err := w.net.Dialer(from)(t.Context(), "tcp", "b:80")
		require.NoError(t, err)
		conns = append(conns, conn)
		_, _ = io.WriteString(conn, upgrade)
		r = bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		return resp.StatusCode, r
	}
	return knock, func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

// hungUp reports whether b has ended what r reads.
func hungUp(r *bufio.Reader) bool {
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, r)
	}()
	synctest.Wait()
	select {
	case <-over:
		return true
	default:
		return false
	}
}

// Whose address has most places makes room first, however long others have been there.
func TestCrowdsMakeRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(a, b *link.Config) { b.MaxPending = 4 })
		defer w.close()
		knock, leave := w.door(t)
		defer leave()
		_, alone := knock("a")
		var crowd []*bufio.Reader
		for range 3 {
			_, r := knock("x")
			crowd = append(crowd, r)
		}
		for i, from := range []string{"y", "z"} {
			status, _ := knock(from)
			require.Equal(t, http.StatusSwitchingProtocols, status)
			require.True(t, hungUp(crowd[i]))
			require.False(t, hungUp(alone))
			time.Sleep(300 * time.Millisecond) // nobody is new any more
		}
		status, _ := knock("x")
		require.Equal(t, http.StatusSwitchingProtocols, status)
		require.True(t, hungUp(alone), "the oldest of equals")
	})
}

// A member's address does not make room for others, even if it has many handshakes under way.
func TestMembersKeepTheirPlaces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(a, b *link.Config) { b.MaxPending = 4 })
		defer w.close()
		_, err := w.b.Peer("a", "http://a:80")
		require.NoError(t, err)
		knock, leave := w.door(t)
		defer leave()
		_, stranger := knock("x")
		var ours []*bufio.Reader
		for range 4 { // the last one takes the stranger's place
			status, r := knock("a")
			require.Equal(t, http.StatusSwitchingProtocols, status)
			ours = append(ours, r)
		}
		require.True(t, hungUp(stranger))
		status, _ := knock("x")
		require.Equal(t, http.StatusServiceUnavailable, status)
		status, _ = knock("a")
		require.Equal(t, http.StatusServiceUnavailable, status, "those of its own may be about to get in")
		time.Sleep(250 * time.Millisecond)
		status, _ = knock("a")
		require.Equal(t, http.StatusSwitchingProtocols, status)
		require.True(t, hungUp(ours[0]), "the oldest of its own makes room")
		require.False(t, hungUp(ours[1]))
		start := time.Now()
		for !hungUp(ours[3]) { // who says nothing has a second
			time.Sleep(10 * time.Millisecond)
		}
		require.Equal(t, 750*time.Millisecond, time.Since(start))
		status, _ = knock("x")
		require.Equal(t, http.StatusSwitchingProtocols, status)
	})
}

// When a member has started, a thousand others may call it at once, more than there are places.
func TestThousandAtOnce(t *testing.T) {
	for name, secrets := range map[string][][]byte{"open": nil, "with a secret": groupSecret} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, func(a, b *link.Config) { a.Secrets, b.Secrets, b.MaxPending = secrets, secrets, 64 })
				over := make(chan struct{})
				defer close(over)
				go func() { // nobody looks at them
					for {
						select {
						case <-w.b.events:
						case <-over:
							return
						}
					}
				}()
				defer w.close()
				w.net.SetDelay(5 * time.Millisecond)
				var wg sync.WaitGroup
				for i := range 1000 {
					name := fmt.Sprint("m", i)
					n, err := link.NewNode(link.Config{Name: name, Instance: uint64(i) + 10, Secrets: secrets, Dial: w.net.Dialer(name), Logger: slog.New(slog.DiscardHandler)})
					require.NoError(t, err)
					defer n.Close()
					p, err := n.Peer("b", "http://b:80")
					require.NoError(t, err)
					wg.Go(func() {
						_, err := p.Link(t.Context())
						assert.NoError(t, err)
					})
				}
				start := time.Now()
				wg.Wait()
				t.Log(time.Since(start))
			})
		})
	}
}

// Who sends a byte now and then has no more time for its proof than who sends nothing.
func TestSlowHandshake(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, secretive)
		defer w.close()
		conn, _, _ := w.dial(t)
		defer conn.Close()
		start := time.Now()
		for _, err := conn.Write([]byte{0}); err == nil; _, err = conn.Write([]byte{0}) {
			time.Sleep(150 * time.Millisecond)
		}
		require.Less(t, time.Since(start), 1100*time.Millisecond)
	})
}
