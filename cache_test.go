package covey

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// newCache returns a cache that is closed at the end of the test.
func newCache[V any](t testing.TB, o Options[V]) *Cache[V] {
	t.Helper()
	c, err := New(t.Name(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestGetLoadsOnce(t *testing.T) {
	c := newCache(t, Options[string]{})
	loads := 0
	load := func(_ context.Context, key string) (string, error) {
		loads++
		return "value of " + key, nil
	}
	for range 3 {
		v, err := c.Get(t.Context(), "k", load)
		require.NoError(t, err)
		require.Equal(t, "value of k", v)
	}
	require.Equal(t, 1, loads)
	s := c.Stats()
	require.EqualValues(t, 1, s.Misses)
	require.EqualValues(t, 2, s.Hits)
	require.EqualValues(t, 1, s.Loads)
	require.EqualValues(t, 1, s.Entries)
}

func TestHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{})
		var loads atomic.Int64
		load := func(context.Context, string) (int, error) {
			time.Sleep(100 * time.Millisecond)
			return int(loads.Add(1)), nil
		}
		start := time.Now()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				v, err := c.Get(t.Context(), "k", load)
				if v != 1 || err != nil {
					t.Errorf("got %d, %v; want 1", v, err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		require.EqualValues(t, 1, loads.Load())
		require.EqualValues(t, 999, c.Stats().Coalesced)
		require.EqualValues(t, 0, c.Stats().Loading)
	})
}

func TestPutDeleteLookup(t *testing.T) {
	c := newCache(t, Options[string]{})
	ctx := t.Context()
	_, ok, err := c.Lookup(ctx, "k")
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, c.Put(ctx, "k", "a"))
	require.NoError(t, c.Put(ctx, "k", "b"))
	e, ok, err := c.Lookup(ctx, "k")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "b", e.Value)
	require.Equal(t, SourceMain, e.Source)
	require.NoError(t, c.Delete(ctx, "k"))
	_, ok, _ = c.Lookup(ctx, "k")
	require.False(t, ok)
	require.Zero(t, c.Stats().Entries)
	require.Zero(t, c.Stats().Bytes)
}

func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{TTL: time.Minute, TTLJitter: -1, EarlyRefresh: -1})
		loads := 0
		load := func(context.Context, string) (int, error) { loads++; return loads, nil }
		get := func() int {
			v, err := c.Get(t.Context(), "k", load)
			require.NoError(t, err)
			return v
		}
		require.Equal(t, 1, get())
		time.Sleep(time.Minute - 1)
		require.Equal(t, 1, get())
		time.Sleep(time.Nanosecond)
		require.Equal(t, 2, get())
		time.Sleep(10 * time.Minute)
		require.Zero(t, c.Stats().Entries, "an expired entry leaves without being asked for")
		require.NotZero(t, c.Stats().Expirations)
	})
}

func TestHitDoesNotAllocate(t *testing.T) {
	c := newCache(t, Options[[]byte]{TTL: time.Hour, Loader: func(context.Context, string) ([]byte, error) { return make([]byte, 100), nil }})
	ctx := t.Context()
	_, err := c.Get(ctx, "k", nil)
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = c.Get(ctx, "k", nil) }))
}

func TestPanicAndGoexit(t *testing.T) {
	c := newCache(t, Options[int]{})
	cause := errors.New("boom")
	_, err := c.Get(t.Context(), "k", func(context.Context, string) (int, error) { panic(cause) })
	var p *PanicError
	require.ErrorAs(t, err, &p)
	require.ErrorIs(t, err, cause)
	require.Contains(t, string(p.Stack), "TestPanicAndGoexit")
	_, err = c.Get(t.Context(), "k", func(context.Context, string) (int, error) { runtime.Goexit(); return 0, nil })
	require.ErrorAs(t, err, &p)
	require.Nil(t, p.Stack)
	v, err := c.Get(t.Context(), "k", func(context.Context, string) (int, error) { return 7, nil })
	require.NoError(t, err)
	require.Equal(t, 7, v)
	require.EqualValues(t, 2, c.Stats().LoadPanics)
}

func TestBounds(t *testing.T) {
	for _, ev := range []Eviction{LFU, LRU, FIFO} {
		for _, n := range []int{1, 2, 10, 1000} {
			t.Run(fmt.Sprint(ev, n), func(t *testing.T) {
				c := newCache(t, Options[int]{MaxEntries: n, Eviction: ev})
				for i := range 3 * n {
					key := fmt.Sprint(i)
					require.NoError(t, c.Put(t.Context(), key, i))
					_, ok, _ := c.Lookup(t.Context(), key)
					require.True(t, ok, "a Put is seen by the next Lookup")
					require.LessOrEqual(t, c.Stats().Entries, int64(n))
				}
				require.EqualValues(t, n, c.Stats().Entries)
				require.EqualValues(t, 2*n, c.Stats().Evictions)
			})
		}
	}
}

func TestGetMany(t *testing.T) {
	c := newCache(t, Options[string]{})
	var asked [][]string
	load := func(_ context.Context, keys []string) (map[string]string, error) {
		asked = append(asked, keys)
		m := map[string]string{"extra": "x"}
		for _, k := range keys {
			if k != "none" {
				m[k] = "v" + k
			}
		}
		return m, nil
	}
	got, err := c.GetMany(t.Context(), []string{"a", "b", "a", "none"}, load)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "va", "b": "vb"}, got)
	got, err = c.GetMany(t.Context(), []string{"b", "c", "none"}, load)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"b": "vb", "c": "vc"}, got)
	require.Equal(t, [][]string{{"a", "b", "none"}, {"c"}}, asked)
	require.EqualValues(t, 2, c.Stats().ExtraKeys)
}
