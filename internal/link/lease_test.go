package link_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// backLink returns the end of w's link that b has.
func (w *world) backLink() *link.Link {
	synctest.Wait()
	var back *link.Link
	for l := range w.b.Links {
		back = l
	}
	require.NotNil(w.t, back)
	return back
}

func TestLeaseIsRenewed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		start := time.Now()
		w := newWorld(t, func(a, b *link.Config) { a.Start, b.Start = start, start })
		defer w.close()
		w.net.SetDelay(100 * time.Millisecond)
		l := w.link()
		time.Sleep(time.Second)
		back := w.backLink()
		for range 1000 {
			time.Sleep(37 * time.Millisecond)
			now := int64(time.Since(start))
			for _, ends := range [][2]*link.Link{{l, back}, {back, l}} {
				require.True(t, ends[0].Alive())
				held, given := ends[0].HeldUntil(), ends[1].GivenUntil()
				require.Greater(t, held, now)
				require.LessOrEqual(t, held, now+int64(2*time.Second))
				require.Greater(t, given, held, "the giver must not forget a lease that the asker still has")
			}
			require.Equal(t, 200*time.Millisecond, l.RTT())
		}
	})
}

func TestSilentPeer(t *testing.T) {
	for _, cut := range []string{"partition", "pause a", "pause b"} {
		t.Run(cut, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				start := time.Now()
				w := newWorld(t, func(a, b *link.Config) {
					a.Start, b.Start = start, start
					b.Serve = func(r *link.Request) {
						r.Keep(func(op *link.Op) { op.Answer(&wire.Frame{Type: wire.Done}) })
					}
				})
				defer w.close()
				l := w.link()
				failed := make(chan error, 1)
				go func() {
					_, err := l.Call(context.Background(), get("k"))
					failed <- err
				}()
				time.Sleep(9*time.Second + 123*time.Millisecond)
				<-failed // by the op's timeout
				go func() {
					_, err := l.Call(context.Background(), get("k"))
					failed <- err
				}()
				back := w.backLink()
				switch cut {
				case "partition":
					w.net.Partition("a", "b")
				case "pause a":
					w.net.Pause("a")
				case "pause b":
					w.net.Pause("b")
				}
				lost := time.Now()
				require.ErrorIs(t, <-failed, link.ErrLeaseLost)
				require.LessOrEqual(t, time.Since(lost), 2*time.Second)
				require.False(t, l.Alive())
				require.Zero(t, l.HeldUntil())
				require.Greater(t, back.GivenUntil(), int64(time.Since(start)))
				w.a.expect(t, "up b")
				w.a.expect(t, "down b: link: peer is silent")
				w.b.expect(t, "up a")
				w.b.expect(t, "down a: link: peer is silent")
				require.LessOrEqual(t, time.Since(lost), 2*time.Second)

				// Nobody waits for a peer that was silent a moment ago.
				begin := time.Now()
				_, err := w.peer.Link(t.Context())
				require.ErrorIs(t, err, link.ErrLeaseLost)
				require.Zero(t, time.Since(begin))
				w.net.Heal("a", "b")
				w.net.Resume("a")
				w.net.Resume("b")
				w.a.expect(t, "up b")
				synctest.Wait()
				require.NotNil(t, w.peer.Up())
			})
		})
	}
}

func TestReports(t *testing.T) {
	bubble(t, func(t *testing.T) {
		type hit struct {
			cache, key string
			n          uint64
		}
		got := make(chan hit, 10)
		var users uint16
		w := newWorld(t, func(a, b *link.Config) {
			a.Report = func(l *link.Link, add func(uint16, string, uint64) bool) {
				require.True(t, add(users, "k1", 7))
				require.True(t, add(99, "of no cache", 1))
				require.True(t, add(users, "k2", 1<<40))
				for add(0, "filler", 1) {
				}
			}
			b.Reported = func(l *link.Link, cache, key string, n uint64) { got <- hit{cache, string([]byte(key)), n} }
		})
		defer w.close()
		users, _ = w.a.AddCache("users", "")
		w.a.SetRing(4711)
		l := w.link()
		synctest.Wait()
		w.a.SetRing(4712)
		w.b.SetRing(1)
		require.Equal(t, uint64(4711), w.backLink().Ring())
		time.Sleep(510 * time.Millisecond)
		require.Equal(t, hit{"users", "k1", 7}, <-got)
		require.Equal(t, hit{"users", "k2", 1 << 40}, <-got)
		require.Empty(t, got)
		require.Equal(t, uint64(4712), w.backLink().Ring())
		require.Equal(t, uint64(1), l.Ring())
	})
}

// On a link that does nothing else the ends ask for their leases together, whoever has dialled: three
// writes for each pause between keep-alives, and a report of either end goes along.
func TestKeepAlivesGoTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var reports atomic.Int64
		w := newWorld(t, func(a, b *link.Config) {
			for _, c := range []*link.Config{a, b} {
				c.Report = func(*link.Link, func(uint16, string, uint64) bool) { reports.Add(1) }
			}
		})
		defer w.close()
		w.net.SetDelay(time.Millisecond)
		w.link()
		for _, phase := range []time.Duration{0, 123 * time.Millisecond} {
			time.Sleep(time.Second + phase)
			before := w.net.Writes()
			reports.Store(0)
			const pauses = 20
			time.Sleep(pauses * 500 * time.Millisecond)
			require.LessOrEqual(t, w.net.Writes()-before, 3*(pauses+1))
			require.GreaterOrEqual(t, reports.Load(), int64(2*(pauses-2)), "each end asks at each pause")
		}
	})
}
