package covey

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRefreshKeepsTheOldUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var fails atomic.Pointer[error]
		var n atomic.Int64
		c := newCache(t, Options[string]{TTL: time.Hour, Loader: func(context.Context, string) (string, error) {
			time.Sleep(time.Second)
			if err := fails.Load(); err != nil {
				return "", *err
			}
			return fmt.Sprint("v", n.Add(1)), nil
		}})
		v, err := c.Refresh(ctx, "k")
		require.NoError(t, err, "there need be nothing yet")
		require.Equal(t, "v1", v)
		done := make(chan string)
		go func() { v, _ := c.Refresh(ctx, "k"); done <- v }()
		synctest.Wait()
		v, err = c.Get(ctx, "k", nil)
		require.NoError(t, err)
		require.Equal(t, "v1", v, "the old one is served meanwhile")
		require.Equal(t, "v2", <-done)
		v, _ = c.Get(ctx, "k", nil)
		require.Equal(t, "v2", v)

		down := errors.New("down")
		fails.Store(&down)
		_, err = c.Refresh(ctx, "k")
		require.ErrorIs(t, err, down)
		v, err = c.Get(ctx, "k", nil)
		require.NoError(t, err)
		require.Equal(t, "v2", v)
		gone := error(ErrNotFound)
		fails.Store(&gone)
		_, err = c.Refresh(ctx, "k")
		require.ErrorIs(t, err, ErrNotFound)
		_, err = c.Get(ctx, "k", nil)
		require.ErrorIs(t, err, ErrNotFound, "that is an answer, too")

		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err = c.Refresh(short, "k")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	c := newCache(t, Options[int]{})
	_, err := c.Refresh(t.Context(), "k")
	require.ErrorIs(t, err, ErrNoLoader)
	_, err = c.Refresh(t.Context(), "")
	require.ErrorIs(t, err, ErrInvalidKey)
}

// A load that is under way may have read the origin before the caller changed it.
func TestRefreshBeginsAfterTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var origin, loads atomic.Int64
		c := newCache(t, Options[int64]{Loader: func(context.Context, string) (int64, error) {
			loads.Add(1)
			v := origin.Load()
			time.Sleep(time.Second)
			return v, nil
		}})
		go func() { _, _ = c.Get(t.Context(), "k", nil) }()
		synctest.Wait()
		origin.Store(1)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				v, err := c.Refresh(t.Context(), "k")
				if err != nil || v != 1 {
					t.Errorf("got %v, %v", v, err)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 2, loads.Load(), "those who come during a load share the next one")
	})
}

func TestRefreshInsideItsOwnLoad(t *testing.T) {
	var c *Cache[int]
	c = newCache(t, Options[int]{Loader: func(ctx context.Context, key string) (int, error) { return c.Refresh(ctx, key) }})
	_, err := c.Refresh(t.Context(), "k")
	require.ErrorIs(t, err, ErrRecursiveLoad)
}

func TestRefreshInAGroup(t *testing.T) {
	var n atomic.Int64
	o := Options[string]{TTL: time.Hour, Loader: func(_ context.Context, key string) (string, error) {
		time.Sleep(10 * time.Second) // longer than OpTimeout
		if n.Add(1) == 3 {
			return "", errors.New("down")
		}
		return fmt.Sprint("v", n.Load()), nil
	}}
	inWorld(t, 3, o, func(t *testing.T, w *world) {
		a, b, ctx := w.procs[0], w.procs[1], t.Context()
		k := b.key()
		has := func(want string) {
			t.Helper()
			for _, p := range w.procs {
				v, err := p.cache.Get(ctx, k, nil)
				require.NoError(t, err)
				require.Equal(t, want, v)
			}
		}
		for range 8 { // until there are copies
			has("v1")
		}
		require.Positive(t, b.cache.Stats().Loans)
		require.True(t, a.cache.Contains(k))
		v, err := a.cache.Refresh(ctx, k)
		require.NoError(t, err)
		require.Equal(t, "v2", v)
		has("v2")
		_, err = a.cache.Refresh(ctx, k)
		require.ErrorContains(t, err, "down")
		has("v2")
		b.crash()
		_, err = a.cache.Refresh(ctx, k)
		var peer *PeerError
		if err != nil {
			require.ErrorAs(t, err, &peer)
		}
	})
}

// A Refresh that waits for a load while its key gets another owner does not load for an owner that
// this process is no more: what it stored would outlive the new owner's writes.
func TestRefreshWhileTheOwnerChanges(t *testing.T) {
	o := Options[string]{Loader: func(_ context.Context, key string) (string, error) {
		time.Sleep(2 * time.Second)
		return "value of " + key, nil
	}}
	inWorld(t, 2, o, func(t *testing.T, the *world) {
		a := the.procs[0]
		var wg sync.WaitGroup
		c := the.at("c", StaticPeers("http://a", "http://b", "http://c"))
		ring := newRing([]Member{{Name: a.url}, {Name: the.procs[1].url}, {Name: c.url}})
		k := ""
		for i := 0; k == "" || ring.members[ring.owner(ringHash(k))].Name != c.url; i++ {
			k = a.keys(i + 1)[i]
		}
		wg.Go(func() { _, _ = a.cache.Get(t.Context(), k, nil) })
		time.Sleep(time.Second)
		wg.Go(func() {
			_, err := a.cache.Refresh(t.Context(), k)
			require.NoError(t, err)
		})
		c.run()
		time.Sleep(10 * time.Second)
		wg.Wait()
		require.NoError(t, c.cache.Put(t.Context(), k, "new"))
		v, err := a.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "new", v)
	})
}
