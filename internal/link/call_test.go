package link_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// keeper is a handler that keeps every request and notes who is cancelled.
type keeper struct {
	ops       chan *link.Op
	cancelled chan *link.Op
}

func newKeeper() *keeper {
	return &keeper{ops: make(chan *link.Op, 10000), cancelled: make(chan *link.Op, 10000)}
}

func (k *keeper) serve(r *link.Request) {
	k.ops <- r.Keep(func(op *link.Op) {
		k.cancelled <- op
		op.Answer(&wire.Frame{Type: wire.Done})
	})
}

// A sink notes what it is told.
type sink struct {
	mu   sync.Mutex
	got  []string
	slow []time.Time
}

func (s *sink) Answer(f *wire.Frame, last bool) {
	s.add(fmt.Sprintf("%s last=%v", f.Key, last))
}

func (s *sink) Slow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = append(s.slow, time.Now())
}

func (s *sink) slowAt() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slow
}

func (s *sink) Fail(err error) { s.add(err.Error()) }

func (s *sink) add(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, what)
}

func (s *sink) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.got, ", ")
}

func TestDeadline(t *testing.T) {
	for _, test := range []struct {
		name     string
		deadline time.Duration // of the context
		own      time.Duration // of the frame
		held     bool
		want     time.Duration
		err      error
		seen     time.Duration // by the server; 0: none
	}{
		{"none", 0, 0, false, 5 * time.Second, link.ErrTimeout, 0},
		{"context", 3 * time.Second, 0, false, 3 * time.Second, context.DeadlineExceeded, 3 * time.Second},
		{"long context", 20 * time.Second, 0, false, 5 * time.Second, link.ErrTimeout, 20 * time.Second},
		{"long context, held", 20 * time.Second, 0, true, 20 * time.Second, context.DeadlineExceeded, 20 * time.Second},
		{"frame", 0, time.Second, false, time.Second, link.ErrTimeout, time.Second},
		{"both", 4 * time.Second, time.Second, true, time.Second, link.ErrTimeout, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				k := newKeeper()
				w := newWorld(t, func(a, b *link.Config) { b.Serve = k.serve })
				defer w.close()
				l := w.link()
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				begin := time.Now()
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, err := l.Call(ctx, &wire.Frame{Type: wire.Get, Key: "k", Deadline: test.own})
					require.ErrorIs(t, err, test.err)
					require.Equal(t, test.want, time.Since(begin))
				}()
				op := <-k.ops
				at, ok := op.Deadline()
				require.Equal(t, test.seen != 0, ok)
				if ok {
					require.Equal(t, test.seen, at.Sub(begin))
				}
				if test.held {
					op.Held()
				}
				<-done
				require.Same(t, op, <-k.cancelled, "the server was not told")
				require.Equal(t, test.want, time.Since(begin))
			})
		})
	}
}

// TestFarDeadlines: a deadline beyond what an int64 counts in nanoseconds is none, at either end.
func TestFarDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeeper()
		w := newWorld(t, func(a, b *link.Config) { a.OpTimeout, b.Serve = math.MaxInt64, k.serve })
		defer w.close()
		l := w.link()
		ctx, cancel := context.WithDeadline(t.Context(), time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC))
		defer cancel()
		for _, far := range []func() (wire.Frame, error){
			func() (wire.Frame, error) { return l.Call(t.Context(), get("k")) },
			func() (wire.Frame, error) { return l.Call(ctx, get("k")) },
			func() (wire.Frame, error) {
				return l.Call(t.Context(), &wire.Frame{Type: wire.Get, Key: "k", Deadline: math.MaxInt64})
			},
		} {
			done := make(chan error)
			go func() {
				_, err := far()
				done <- err
			}()
			op := <-k.ops
			at, ok := op.Deadline()
			require.True(t, !ok || time.Until(at) > 1000*time.Hour)
			time.Sleep(time.Minute)
			op.Answer(&wire.Frame{Type: wire.Done})
			require.NoError(t, <-done)
		}
	})
}

func TestSlow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeeper()
		w := newWorld(t, func(a, b *link.Config) { b.Serve = k.serve })
		defer w.close()
		l := w.link()
		begin := time.Now()
		var first, quick, third sink
		send := func(s *sink) *link.Op {
			_, err := l.Send(t.Context(), &wire.Frame{Type: wire.Get, Key: "k"}, s)
			require.NoError(t, err)
			return <-k.ops
		}
		op := send(&first)
		time.Sleep(time.Millisecond)
		send(&quick).Answer(&wire.Frame{Type: wire.Done})
		time.Sleep(2 * time.Millisecond)
		send(&third)
		time.Sleep(time.Second)
		require.Len(t, first.slowAt(), 1)
		require.LessOrEqual(t, first.slowAt()[0].Sub(begin), 4*time.Millisecond)
		require.Empty(t, quick.slowAt())
		require.Len(t, third.slowAt(), 1)
		require.InDelta(t, 3, third.slowAt()[0].Sub(begin.Add(3*time.Millisecond)).Milliseconds(), 1)
		op.Answer(&wire.Frame{Type: wire.Done})
		time.Sleep(time.Second)
		require.Equal(t, " last=true", first.all())
		require.Len(t, first.slowAt(), 1)
	})
}

func TestHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeeper()
		w := newWorld(t, func(a, b *link.Config) { b.Serve = k.serve })
		defer w.close()
		l := w.link()
		go func() {
			op := <-k.ops
			op.Held()
			time.Sleep(time.Hour)
			op.Answer(&wire.Frame{Type: wire.Hit, Value: []byte("late")})
		}()
		answer, err := l.Call(t.Context(), get("k"))
		require.NoError(t, err)
		require.Equal(t, "late", string(answer.Value))
	})
}

func TestCancelFreesTheOp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeeper()
		w := newWorld(t, func(a, b *link.Config) { b.Serve = k.serve; b.MaxOps = 8 })
		defer w.close()
		l := w.link()
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := l.Call(ctx, get("k"))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		synctest.Wait()
		require.Len(t, k.cancelled, 100)
		ctx, cancel := context.WithDeadline(t.Context(), time.Now())
		defer cancel()
		_, err := l.Call(ctx, get("k"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, k.ops, 100, "what is too late is not sent")
	})
}

func TestSend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeeper()
		w := newWorld(t, func(a, b *link.Config) { b.Serve = k.serve })
		defer w.close()
		l := w.link()
		var s1, s2, s3 sink
		_, err := l.Send(t.Context(), get("1"), &s1)
		require.NoError(t, err)
		op2, err := l.Send(t.Context(), get("2"), &s2)
		require.NoError(t, err)
		_, err = l.Push(get("3"), &s3)
		require.NoError(t, err)
		kept1, kept2 := <-k.ops, <-k.ops
		kept2.Answer(&wire.Frame{Type: wire.Hit, Flags: wire.More, Key: "a"})
		kept1.Answer(&wire.Frame{Type: wire.Hit, Key: "b"})
		kept2.Answer(&wire.Frame{Type: wire.Hit, Flags: wire.More, Key: "c"})
		synctest.Wait()
		require.Equal(t, "b last=true", s1.all())
		require.Equal(t, "a last=false, c last=false", s2.all())
		require.True(t, l.Cancel(op2, &s2))
		require.False(t, l.Cancel(op2, &s2))
		synctest.Wait()
		require.Same(t, kept2, <-k.cancelled)
		kept2.Answer(&wire.Frame{Type: wire.Hit, Key: "d"})
		l.Close()
		synctest.Wait()
		require.Equal(t, "a last=false, c last=false", s2.all(), "told after it was cancelled")
		require.Equal(t, "link: closed", s3.all())
		require.False(t, l.Cancel(op2, &s2))
		_, err = l.Push(get("4"), &s1)
		require.ErrorIs(t, err, link.ErrClosed)
	})
}

// Who gives up a request that has just been answered does not give up the one that has its number
// by now.
func TestCancelTooLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeeper()
		w := newWorld(t, func(a, b *link.Config) { b.Serve = k.serve })
		defer w.close()
		l := w.link()
		var first, second sink
		op, err := l.Send(t.Context(), get("1"), &first)
		require.NoError(t, err)
		(<-k.ops).Answer(&wire.Frame{Type: wire.Hit, Key: "a"})
		synctest.Wait()
		again, err := l.Send(t.Context(), get("2"), &second)
		require.NoError(t, err)
		require.Equal(t, op, again)
		require.False(t, l.Cancel(op, &first))
		(<-k.ops).Answer(&wire.Frame{Type: wire.Hit, Key: "b"})
		synctest.Wait()
		require.Equal(t, "b last=true", second.all())
	})
}

// TestAskBack: the end that was dialled asks, as an owner does that recalls a loan.
func TestAskBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(a, b *link.Config) { a.Serve = serve })
		defer w.close()
		w.link()
		w.b.expect(t, "up a")
		answer, err := w.backLink().Call(t.Context(), get("k"))
		require.NoError(t, err)
		require.Equal(t, "/k", string(answer.Value))
	})
}

// TestOverflow: who cannot wait ends a link whose other end does not keep up.
func TestOverflow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeeper()
		w := newWorld(t, func(a, b *link.Config) { a.Serve = k.serve; a.MaxOps = 100 })
		defer w.close()
		w.link()
		w.b.expect(t, "up a")
		back := w.backLink()
		var s sink
		for range 100 {
			_, err := back.Push(&wire.Frame{Type: wire.Recall, Key: "k"}, &s)
			require.NoError(t, err)
		}
		_, err := back.Push(&wire.Frame{Type: wire.Recall, Key: "k"}, &s)
		require.ErrorIs(t, err, link.ErrSlowPeer)
		w.b.expect(t, "down a: link: peer does not keep up")
		synctest.Wait()
		require.Len(t, strings.Split(s.all(), ", "), 100)
	})
}

// TestCallersWait: while the other end does not read, requests wait outside
// of the queue and leave it when their time is over.
func TestCallersWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		block := make(chan struct{})
		w := newWorld(t, func(a, b *link.Config) {
			a.Lease, b.Lease = time.Hour, time.Hour
			a.MaxQueue = 1 << 20
			b.Serve = func(r *link.Request) {
				<-block
				serve(r)
			}
		})
		defer w.close()
		l := w.link()
		value := make([]byte, 2000)
		queued, refused := 0, 0
		for range 2000 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			var s sink
			_, err := l.Send(ctx, &wire.Frame{Type: wire.Put, Key: "k", Value: value, Deadline: time.Hour}, &s)
			if err == nil {
				queued++
			} else {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				refused++
			}
			cancel()
		}
		// What is queued, what is being written and the buffers of the network.
		require.Less(t, queued*len(value), 3<<20)
		require.NotZero(t, refused)
		done := make(chan error)
		begin := time.Now()
		go func() {
			_, err := l.Call(context.Background(), get("k"))
			done <- err
		}()
		require.ErrorIs(t, <-done, link.ErrTimeout)
		require.Equal(t, 5*time.Second, time.Since(begin), "nobody waits longer than OpTimeout")
		go func() {
			_, err := l.Call(context.Background(), get("k"))
			done <- err
		}()
		time.Sleep(time.Second)
		close(block)
		require.NoError(t, <-done)
	})
}

// TestSmallOvertakesBig: while a long value is under way, short answers are
// held up by no more than the window of its pieces, which takes the network of
// this test 15 ms, on top of the round trip of 10 ms. All of it takes a second.
func TestSmallOvertakesBig(t *testing.T) {
	bubble(t, func(t *testing.T) {
		big := make([]byte, 16<<20)
		w := newWorld(t, func(a, b *link.Config) {
			b.Serve = func(r *link.Request) {
				f := wire.Frame{Type: wire.Hit}
				if r.Key == "big" {
					f.Value = big
				}
				r.Answer(&f)
			}
		})
		defer w.close()
		l := w.link()
		w.net.SetDelay(5 * time.Millisecond)
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		begin := time.Now()
		for range 3 {
			wg.Go(func() {
				answer, err := l.Call(context.Background(), get("big"))
				require.NoError(t, err)
				require.Len(t, answer.Value, len(big))
			})
		}
		smalls := 0
		for wait := begin; time.Since(wait) < 500*time.Millisecond; smalls++ {
			begin := time.Now()
			_, err := l.Call(t.Context(), get("small"))
			require.NoError(t, err)
			require.LessOrEqual(t, time.Since(begin), 25*time.Millisecond)
		}
		require.Greater(t, smalls, 10)
		wg.Wait()
		require.Greater(t, time.Since(begin), 500*time.Millisecond, "the long ones were done before the short ones were tried")
	})
}

func TestShutdown(t *testing.T) {
	for _, who := range []string{"caller", "callee", "both"} {
		t.Run(who, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				k := newKeeper()
				w := newWorld(t, func(a, b *link.Config) { b.Serve = k.serve })
				defer w.close()
				l := w.link()
				answered := make(chan error, 1)
				go func() {
					_, err := l.Call(context.Background(), get("k"))
					answered <- err
				}()
				op := <-k.ops
				var wg sync.WaitGroup
				begin := time.Now()
				for name, h := range map[string]*host{"caller": w.a, "callee": w.b} {
					if who == name || who == "both" {
						wg.Go(func() {
							require.NoError(t, h.Shutdown(context.Background()))
							require.Equal(t, 3*time.Second, time.Since(begin))
						})
					}
				}
				synctest.Wait()
				_, err := l.Call(t.Context(), get("k"))
				require.ErrorIs(t, err, link.ErrGoingAway)
				_, err = w.backLink().Push(get("k"), new(sink))
				require.ErrorIs(t, err, link.ErrGoingAway)
				time.Sleep(3 * time.Second)
				op.Answer(&wire.Frame{Type: wire.Done})
				require.NoError(t, <-answered)
				wg.Wait()
				require.ErrorIs(t, l.Err(), link.ErrGoingAway)
				require.Empty(t, k.cancelled)
			})
		})
	}
}

// A link is in use before the dialling goroutine hears of it.
func TestShutdownOfAYoungLink(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for range 100 {
			w := newWorld(t, nil)
			go func() { _, _ = w.peer.Link(t.Context()) }()
			for w.peer.Up() == nil {
				runtime.Gosched()
			}
			l := w.peer.Up()
			require.NoError(t, w.a.Shutdown(t.Context()))
			require.ErrorIs(t, l.Err(), link.ErrGoingAway)
			w.close()
		}
	})
}

func TestShutdownInVain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		k := newKeeper()
		w := newWorld(t, func(a, b *link.Config) { b.Serve = k.serve })
		defer w.close()
		l := w.link()
		failed := make(chan error)
		go func() {
			_, err := l.Call(context.Background(), get("k"))
			failed <- err
		}()
		<-k.ops
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, w.b.Shutdown(ctx), context.DeadlineExceeded)
		require.Error(t, <-failed)
		require.Len(t, k.cancelled, 1)
	})
}
