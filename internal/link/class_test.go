package link_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// A holder holds Gets of the key "slow" and keeps requests of the key "kept"; all others are
// answered at once.
type holder struct {
	held, kept chan *link.Op
}

func newHolder() *holder {
	return &holder{held: make(chan *link.Op, 20000), kept: make(chan *link.Op, 20000)}
}

func (h *holder) serve(r *link.Request) {
	switch {
	case r.Key == "slow" && r.Link().Crowded():
		r.Answer(&wire.Frame{Type: wire.Failed, Code: wire.CodeOverloaded})
	case r.Key == "slow":
		op := r.Keep(func(op *link.Op) { op.Answer(&wire.Frame{Type: wire.Done}) })
		op.Held()
		h.held <- op
	case r.Key == "kept":
		h.kept <- r.Keep(func(op *link.Op) { op.Answer(&wire.Frame{Type: wire.Done}) })
	default:
		r.Answer(&wire.Frame{Type: wire.Done})
	}
}

// each calls f where links have connections and where they have none.
func each(t *testing.T, change func(a, b *link.Config), f func(t *testing.T, w *world)) {
	for _, start := range []func(*testing.T, func(a, b *link.Config)) *world{newWorld, newPlainWorldOf} {
		bubble(t, func(t *testing.T) {
			w := start(t, change)
			defer w.close()
			f(t, w)
		})
	}
}

// promptly has a request answered without a wait.
func promptly(t *testing.T, l *link.Link, f *wire.Frame) {
	t.Helper()
	begin := time.Now()
	answer, err := l.Call(t.Context(), f)
	require.NoError(t, err, "type %d", f.Type)
	require.Equal(t, wire.Done, answer.Type)
	require.Less(t, time.Since(begin), time.Second)
}

// What is held takes nobody's room.
func TestHeldRequestsTakeNoRoom(t *testing.T) {
	h := newHolder()
	each(t, func(a, b *link.Config) { b.Serve, b.MaxOps, b.MaxHeld = h.serve, 4, 5000 }, func(t *testing.T, w *world) {
		h.held, h.kept = make(chan *link.Op, 20000), make(chan *link.Op, 20000)
		l := w.link()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() { _, _ = l.Call(ctx, get("slow")) })
			synctest.Wait() // so that each has a body of its own
		}
		for range 500 { // and that these share some
			wg.Go(func() { _, _ = l.Call(ctx, get("slow")) })
		}
		time.Sleep(time.Second)
		require.Len(t, h.held, 1000)
		for _, r := range []wire.Type{wire.Get, wire.Lookup, wire.Put, wire.Delete, wire.Clear} {
			promptly(t, l, &wire.Frame{Type: r, Key: "k"})
		}
		if l.Plain() == nil {
			promptly(t, l, &wire.Frame{Type: wire.Fill, Key: "k"})
			promptly(t, w.backLink(), &wire.Frame{Type: wire.Announce})
		}
		for range 10 {
			(<-h.held).Answer(&wire.Frame{Type: wire.Done})
		}
		cancel()
		wg.Wait()
		promptly(t, l, get("k"))
	})
}

// There is a bound for what is held, which does not keep out what can be answered at once.
func TestHeldRequestsAreBounded(t *testing.T) {
	h := newHolder()
	each(t, func(a, b *link.Config) { b.Serve, b.MaxOps, b.MaxHeld = h.serve, 4, 10 }, func(t *testing.T, w *world) {
		h.held, h.kept = make(chan *link.Op, 20000), make(chan *link.Op, 20000)
		l := w.link()
		bound := 10
		if l.Plain() != nil {
			bound = 1024 // bodies with one request each
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range bound {
			wg.Go(func() { _, _ = l.Call(ctx, get("slow")) })
			synctest.Wait()
		}
		require.Len(t, h.held, bound)
		for range 20 {
			answer, err := l.Call(t.Context(), get("slow"))
			require.NoError(t, err)
			require.Equal(t, wire.CodeOverloaded, answer.Code)
		}
		promptly(t, l, get("k"))
		(<-h.held).Answer(&wire.Frame{Type: wire.Done})
		time.Sleep(time.Millisecond)
		wg.Go(func() { _, _ = l.Call(ctx, get("slow")) })
		synctest.Wait()
		require.Len(t, h.held, bound, "there is room again")
		cancel()
		wg.Wait()
		synctest.Wait()
		for range bound {
			(<-h.held).Answer(&wire.Frame{Type: wire.Done})
		}
		ctx, cancel = context.WithCancel(t.Context())
		wg.Go(func() { _, _ = l.Call(ctx, get("slow")) })
		synctest.Wait()
		require.Len(t, h.held, 1, "also by those who have left")
		cancel()
		wg.Wait()
	})
}

// Whatever fills its own room leaves the others theirs.
func TestRoomsAreSeparate(t *testing.T) {
	kinds := [][]wire.Type{
		{wire.Fill, wire.Recall, wire.Announce},
		{wire.Put, wire.Delete, wire.Clear, wire.Expire},
		{wire.Get, wire.GetMany, wire.Lookup, wire.Peek, wire.Reload, wire.Top},
	}
	for i, full := range kinds {
		t.Run(fmt.Sprint(full), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHolder()
				w := newWorld(t, func(a, b *link.Config) { b.Serve, b.MaxOps = h.serve, 4 })
				defer w.close()
				l := w.link()
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for n := range 20 {
					kind := full[n%len(full)]
					if kind == wire.Announce {
						continue // which b answers by itself
					}
					wg.Go(func() { _, _ = l.Call(ctx, &wire.Frame{Type: kind, Key: "kept"}) })
				}
				synctest.Wait()
				require.Len(t, h.kept, 4)
				for j, others := range kinds {
					for _, other := range others {
						if i != j {
							promptly(t, l, &wire.Frame{Type: other, Key: "k"})
							continue
						}
						late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
						_, err := l.Call(late, &wire.Frame{Type: other, Key: "k"})
						require.ErrorIs(t, err, context.DeadlineExceeded)
						cancel()
					}
				}
				cancel()
				wg.Wait()
				synctest.Wait()
				for _, others := range kinds {
					promptly(t, l, &wire.Frame{Type: others[0], Key: "k"})
				}
			})
		})
	}
}

// Two processes fill each other's rooms with writes of which each waits for a recall at the other.
func TestWritesOfBothEndsWaitForNoRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		serve := func(r *link.Request) {
			if r.Type != wire.Put {
				r.Answer(&wire.Frame{Type: wire.Done})
				return
			}
			op := r.Keep(nil)
			go func() {
				time.Sleep(time.Millisecond) // until both are full
				_, err := op.Link().Call(context.Background(), &wire.Frame{Type: wire.Recall, Key: "k"})
				if err != nil {
					op.Answer(&wire.Frame{Type: wire.Failed, Text: err.Error()})
				} else {
					op.Answer(&wire.Frame{Type: wire.Done})
				}
			}()
		}
		w := newWorld(t, func(a, b *link.Config) {
			a.Serve, b.Serve = serve, serve
			a.MaxOps, b.MaxOps = 8, 8
		})
		defer w.close()
		l := w.link()
		back := w.backLink()
		var wg sync.WaitGroup
		for range 100 {
			for _, end := range []*link.Link{l, back} {
				wg.Go(func() { promptly(t, end, &wire.Frame{Type: wire.Put, Key: "k"}) })
			}
		}
		wg.Wait()
	})
}

// Who says goodbye still brings what it has loaded, and gives back what it has borrowed.
func TestFillsWhileLeaving(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHolder()
		w := newWorld(t, func(a, b *link.Config) { a.Serve, b.Serve = h.serve, h.serve })
		defer w.close()
		l := w.link()
		back := w.backLink()
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = back.Call(t.Context(), get("slow")) }) // which a answers before it goes
		held := <-h.held
		wg.Go(func() { _ = w.a.Shutdown(t.Context()) })
		synctest.Wait()
		_, err := l.Call(t.Context(), get("k"))
		require.ErrorIs(t, err, link.ErrGoingAway)
		_, err = back.Call(t.Context(), get("k"))
		require.ErrorIs(t, err, link.ErrGoingAway)
		promptly(t, l, &wire.Frame{Type: wire.Fill, Key: "k"})
		promptly(t, back, &wire.Frame{Type: wire.Recall, Key: "k"})
		require.NoError(t, l.Err())
		held.Answer(&wire.Frame{Type: wire.Done})
		wg.Wait()
		require.ErrorIs(t, l.Err(), link.ErrGoingAway)
	})
}
