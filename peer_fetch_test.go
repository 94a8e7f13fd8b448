package covey

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/freq"
	"github.com/stretchr/testify/require"

	"github.com/coveycache/covey/internal/link"
)

// However many want a key that is not lent, one request at a time is on its way for all of them,
// and the owner hears how many they are.
func TestFetch(t *testing.T) {
	const callers, rounds = 100, 10
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		notLent(a, k, 1<<30)
		wanted(t, b, k)
		w.net.SetDelay(time.Millisecond)
		for _, p := range w.procs { // what is counted begins here
			p.cache.hot = freq.NewTop(p.cache.store.clock.now())
		}
		begun := time.Now()
		before := a.cache.Stats().Served
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range rounds {
					begin := time.Now()
					v, err := b.cache.Get(context.Background(), k, nil)
					require.NoError(t, err)
					require.Equal(t, "v", v)
					require.LessOrEqual(t, time.Since(begin), 4*time.Millisecond, "nobody waits for more than two requests")
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, a.cache.Stats().Served-before, int64(2*rounds))
		time.Sleep(5 * time.Second)
		hot := a.cache.peering.hotKeys(1)
		require.NotEmpty(t, hot)
		require.InDelta(t, callers*rounds, hot[0].Rate*time.Since(begun).Seconds(), callers*rounds*0.1)
	})
}

// Whoever comes when a request has been sent must not have its answer: a write may have been
// acknowledged after the owner gave it.
func TestFetchIsNotJoinedLate(t *testing.T) { // H1
	for late := range 6 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 2, Options[string]{})
			a, b := w.procs[0], w.procs[1]
			k := a.key()
			require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
			notLent(a, k, 1<<30)
			wanted(t, b, k)
			w.net.SetDelay(10 * time.Millisecond)
			var wg sync.WaitGroup
			get := func(want ...string) {
				wg.Go(func() {
					v, err := b.cache.Get(context.Background(), k, nil)
					require.NoError(t, err)
					require.Contains(t, want, v)
				})
				synctest.Wait()
			}
			get("v1", "v2")
			get("v1", "v2")
			time.Sleep(time.Duration(late) * 4 * time.Millisecond)
			require.NoError(t, a.cache.Put(t.Context(), k, "v2"))
			get("v2")
			get("v2")
			wg.Wait()
			w.close()
		})
	}
}

// Who leaves a fetch, or fails in it, takes nobody along.
func TestFetchIsLeft(t *testing.T) { // I4
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		notLent(a, k, 1<<30)
		wanted(t, b, k)
		w.net.SetDelay(10 * time.Millisecond)
		var wg sync.WaitGroup
		var leave []context.CancelFunc
		for caller := range 8 {
			ctx, cancel := context.WithCancel(t.Context())
			leave = append(leave, cancel)
			wg.Go(func() {
				v, err := b.cache.Get(ctx, k, nil)
				if caller < 4 { // the first leads one fetch, the second the next, of which the others are part
					require.ErrorIs(t, err, context.Canceled)
				} else {
					require.NoError(t, err)
					require.Equal(t, "v", v)
				}
			})
			synctest.Wait()
		}
		for _, cancel := range []int{2, 1, 0, 3} {
			time.Sleep(time.Millisecond)
			leave[cancel]()
		}
		wg.Wait()
		for _, cancel := range leave {
			cancel()
		}
		require.Zero(t, fetches(b))
	})
}

// Those who want a key of an owner that stands still do not wait for it one after the other.
func TestFetchFromASlowOwner(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		notLent(a, k, 1<<30)
		wanted(t, b, k)
		w.net.Pause("a")
		begin := time.Now()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := b.cache.Get(context.Background(), k, func(context.Context, string) (string, error) { return "here", nil })
				require.NoError(t, err)
				require.LessOrEqual(t, time.Since(begin), 3*time.Second, "the link is found dead after 2 s")
			})
		}
		time.Sleep(3 * fetchPatience)
		require.Zero(t, fetches(b), "each asks for himself now")
		wg.Wait()
		w.net.Resume("a")
	})
}

// A loader's error ends the flight for all who wait, and the origin is asked once.
func TestFetchOfALoad(t *testing.T) {
	for _, bound := range []bool{true, false} {
		down := errors.New("the database is down")
		t.Run(fmt.Sprint(bound), func(t *testing.T) {
			var load Loader[string]
			o := Options[string]{}
			loads := 0
			var mu sync.Mutex
			fails := func(context.Context, string) (string, error) {
				mu.Lock()
				loads++
				mu.Unlock()
				time.Sleep(time.Second)
				return "", down
			}
			if bound {
				o.Loader = fails
			} else {
				load = fails
			}
			inWorld(t, 2, o, func(t *testing.T, w *world) {
				a, b := w.procs[0], w.procs[1]
				k := a.key()
				require.NoError(t, a.cache.Put(t.Context(), k, "v"))
				notLent(a, k, 1<<30)
				wanted(t, b, k)
				require.NoError(t, a.cache.Delete(t.Context(), k))
				w.net.SetDelay(time.Millisecond)
				var wg sync.WaitGroup
				for range 100 {
					wg.Go(func() {
						_, err := b.cache.Get(context.Background(), k, load)
						require.ErrorContains(t, err, down.Error())
					})
				}
				wg.Wait()
				require.Equal(t, 1, loads)
			})
		})
	}
}

// When the ring changes under the callers, those who go by the new one do not take an answer from
// the old owner.
func TestFetchOfAnotherOwner(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		c := w.procs[2].cache
		linkTo := func(p *proc) *link.Link {
			v := c.peering.tenures.view()
			l, err := c.peering.linkTo(t.Context(), v.peers[v.owner(p.key())])
			require.NoError(t, err)
			return l
		}
		a, b := linkTo(w.procs[0]), linkTo(w.procs[1])
		first, leads := c.peering.joinFetch(t.Context(), a, "k", 1)
		require.True(t, leads)
		var next *fetch[string]
		go func() {
			next, _ = c.peering.joinFetch(context.Background(), a, "k", 1)
			time.Sleep(time.Second)
			c.peering.endFetch("k", 1, next, "v", nil)
		}()
		synctest.Wait() // next is not sent
		f, leads := c.peering.joinFetch(t.Context(), b, "k", 1)
		require.True(t, f == nil && !leads)
		c.peering.abandonFetch("k", 1, first)
		time.Sleep(2 * time.Second)
		require.Zero(t, fetches(w.procs[2]))
	})
}
