package link_test

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// A listener notes what it is told and asked.
type listener struct {
	mu    sync.Mutex
	heard []string
}

func (h *listener) note(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard = append(h.heard, s)
}

func (h *listener) all() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.heard
}

func (h *listener) told(l *link.Link, f *wire.Frame) {
	h.note(fmt.Sprintf("%s %d tells %s", l.Name(), l.Instance(), f.Value))
}

func view(s string) *wire.Frame { return &wire.Frame{Value: []byte(s)} }

// What is told waits for no room, and overtakes what was asked before but nothing that is asked later.
func TestTell(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h, k := new(listener), newKeeper()
		w := newWorld(t, func(a, b *link.Config) {
			b.MaxOps, b.Told = 1, h.told
			b.Serve = func(r *link.Request) {
				h.note("asked " + string([]byte(r.Key)))
				k.serve(r)
			}
			a.Told = h.told
		})
		defer w.close()
		l := w.link()
		var wg sync.WaitGroup
		call := func(key string) {
			wg.Go(func() {
				_, err := l.Call(t.Context(), get(key))
				require.NoError(t, err)
			})
			synctest.Wait()
		}
		call("1")
		call("2") // waits
		require.NoError(t, l.Tell(view("one")))
		require.NoError(t, l.Tell(view("two")))
		big := bytes.Repeat([]byte("v"), 150_000)
		require.NoError(t, l.Tell(&wire.Frame{Value: big}))
		require.NoError(t, w.backLink().Tell(view("back")))
		require.ElementsMatch(t, []string{"asked 1", "a 1 tells one", "a 1 tells two", "a 1 tells " + string(big), "b 2 tells back"}, h.all())
		(<-k.ops).Answer(&wire.Frame{Type: wire.Done})
		synctest.Wait()
		(<-k.ops).Answer(&wire.Frame{Type: wire.Done})
		wg.Wait()

		h.heard = nil
		var want []string
		for i := range 100 {
			require.NoError(t, l.Tell(view(fmt.Sprint(i))))
			_, err := l.Push(get(fmt.Sprint(i)), new(sink))
			require.NoError(t, err)
			if i == 0 {
				synctest.Wait()
			}
			want = append(want, fmt.Sprintf("a 1 tells %d", i), fmt.Sprintf("asked %d", i))
			synctest.Wait()
			(<-k.ops).Answer(&wire.Frame{Type: wire.Done})
			synctest.Wait()
		}
		require.Equal(t, want, h.all())

		require.ErrorIs(t, l.Tell(&wire.Frame{Value: make([]byte, wire.MaxBody)}), wire.ErrTooLarge)
		require.NoError(t, l.Err())
		l.Close()
		require.ErrorIs(t, l.Tell(view("late")), link.ErrClosed)
	})
}

// What is told to an end that reads nothing has a bound.
func TestTellIsBounded(t *testing.T) {
	for _, start := range []func(*testing.T, *listener) *world{
		func(t *testing.T, h *listener) *world {
			return newWorld(t, func(a, b *link.Config) { b.Told = h.told })
		},
		newPlainTellWorld,
	} {
		bubble(t, func(t *testing.T) {
			w := start(t, new(listener))
			defer w.close()
			l := w.link()
			w.net.Pause("b")
			n := 0
			var err error
			for ; err == nil && n < 1<<20; n += 10_000 {
				err = l.Tell(&wire.Frame{Value: make([]byte, 10_000)})
				synctest.Wait()
			}
			require.ErrorIs(t, err, link.ErrSlowPeer)
			require.Greater(t, n, 256_000)
			synctest.Wait()
			require.ErrorIs(t, l.Err(), link.ErrSlowPeer)
			w.net.Resume("b")
		})
	}
}

func newPlainTellWorld(t *testing.T, h *listener) *world {
	return newPlainWorldOf(t, func(_, b *link.Config) { b.Told = h.told })
}

// Over plain HTTP everything that is told arrives as well, in order, when connections break on the
// way; only what the last body has told may come again.
func TestTellPlain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h, k := new(listener), newKeeper()
		w := newPlainWorldOf(t, func(a, b *link.Config) {
			b.MaxOps, b.Told, b.Serve = 1, h.told, k.serve
		})
		defer w.close()
		w.net.SetDelay(time.Millisecond)
		l := w.link()
		failed := make(chan error, 1)
		go func() {
			_, err := l.Call(t.Context(), get("held"))
			failed <- err
		}()
		held := <-k.ops
		held.Held()
		begin := time.Now()
		require.NoError(t, l.Tell(view("0")))
		for len(h.all()) == 0 {
			time.Sleep(time.Millisecond)
		}
		require.Less(t, time.Since(begin), 20*time.Millisecond)

		w.b.srv.SetKeepAlivesEnabled(false) // each body has a connection of its own
		n := 1
		for i := range 50 {
			for range 10 {
				require.NoError(t, l.Tell(view(fmt.Sprint(n))))
				n++
				time.Sleep(500 * time.Microsecond)
			}
			time.Sleep(time.Duration(i%25) * 500 * time.Microsecond)
			w.net.Reset("a", "b")
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		require.NoError(t, l.Err())
		require.Error(t, <-failed, "a connection was reset")
		held.Answer(&wire.Frame{Type: wire.Done})
		last := -1
		again := 0
		for _, s := range h.all() {
			var i int
			_, err := fmt.Sscanf(s, "a 1 tells %d", &i)
			require.NoError(t, err)
			if i <= last {
				again++
				require.Less(t, last-i, 100, "what had been answered came again")
			} else {
				require.Equal(t, last+1, i)
			}
			last = i
		}
		require.Equal(t, n-1, last)
		require.NotZero(t, again, "no connection broke between a body and its answer")
	})
}

// Without a lease the link lives on, and so do its requests. A lease that was granted before does
// not become shorter.
func TestTerm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		start := time.Now()
		k := newKeeper()
		var term atomic.Int64
		w := newWorld(t, func(a, b *link.Config) {
			a.Start, b.Start = start, start
			a.Term = func(*link.Link) time.Duration { return time.Duration(term.Load()) }
			b.Serve = k.serve
		})
		defer w.close()
		l := w.link()
		back := w.backLink()
		now := func() int64 { return int64(time.Since(start)) }
		go func() { _, _ = l.Call(t.Context(), get("k")) }()
		op := <-k.ops
		op.Held()
		for range 10 {
			time.Sleep(time.Second)
			require.NoError(t, back.Err())
			require.False(t, back.Alive())
			require.Zero(t, back.HeldUntil())
			require.True(t, op.Live(), "who asks gives up no link that lives")
			require.True(t, l.Alive(), "b grants it as ever")
			require.Greater(t, l.GivenUntil(), now()+int64(3*time.Second/2))
		}
		term.Store(int64(700 * time.Millisecond))
		time.Sleep(510 * time.Millisecond)
		require.True(t, back.Alive())
		require.LessOrEqual(t, back.HeldUntil(), now()+term.Load())
		term.Store(int64(time.Hour))
		time.Sleep(510 * time.Millisecond)
		require.Greater(t, back.HeldUntil(), now()+int64(3*time.Second/2))
		require.LessOrEqual(t, back.HeldUntil(), now()+int64(2*time.Second))
		before := back.HeldUntil()
		term.Store(int64(100 * time.Millisecond))
		time.Sleep(510 * time.Millisecond)
		require.Equal(t, before, back.HeldUntil())
		term.Store(int64(-time.Second))
		time.Sleep(510 * time.Millisecond)
		require.Equal(t, before, back.HeldUntil())
		time.Sleep(time.Second)
		require.False(t, back.Alive())
		require.True(t, op.Live())

		lost := time.Now()
		w.net.Partition("a", "b")
		for op.Live() {
			time.Sleep(time.Millisecond)
		}
		require.LessOrEqual(t, time.Since(lost), 2*time.Second)
		time.Sleep(time.Millisecond)
		require.ErrorIs(t, back.Err(), link.ErrLeaseLost)
		op.Answer(&wire.Frame{Type: wire.Done})
	})
}

func TestTermPlain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		start := time.Now()
		var term atomic.Int64
		w := newPlainWorldOf(t, func(a, b *link.Config) {
			a.Start = start
			b.Serve = serve
			b.Term = func(l *link.Link) time.Duration {
				require.Equal(t, "a", l.Name())
				return time.Duration(term.Load())
			}
		})
		defer w.close()
		l := w.link()
		time.Sleep(10 * time.Second)
		require.NoError(t, l.Err())
		require.Zero(t, l.HeldUntil())
		term.Store(int64(time.Second))
		_, err := l.Call(t.Context(), get("k"))
		require.NoError(t, err)
		require.Equal(t, int64(time.Since(start)+time.Second), l.HeldUntil())
		term.Store(int64(0))
		time.Sleep(time.Second)
		require.False(t, l.Alive())
		require.NoError(t, l.Err())
	})
}
