package covey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPeekIsNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{TTL: time.Hour, IdleTTL: time.Minute, StaleIfError: time.Hour, TTLJitter: -1})
		ctx := t.Context()
		require.False(t, c.Contains(""))
		require.NoError(t, c.Put(ctx, "k", 1, WithVersion(7)))
		_, err := c.Get(ctx, "no", func(context.Context, string) (int, error) { return 0, ErrNotFound })
		require.ErrorIs(t, err, ErrNotFound)
		before := c.Stats()
		time.Sleep(30 * time.Second)
		e, ok := c.Peek("k")
		require.True(t, ok)
		require.Equal(t, Entry[int]{Value: 1, Version: 7, Age: 30 * time.Second, TTL: time.Hour - 30*time.Second, Source: SourceMain}, e)
		require.True(t, c.Contains("k"))
		require.Equal(t, []string{"k"}, slices.Collect(c.Keys()))
		after := c.Stats()
		before.Entries, after.Entries, before.Bytes, after.Bytes, before.Expirations, after.Expirations = 0, 0, 0, 0, 0, 0
		require.Equal(t, before, after)
		time.Sleep(31 * time.Second)
		_, ok = c.Peek("k")
		require.False(t, ok, "peeking does not keep it")

		require.NoError(t, c.Put(ctx, "k", 2))
		for range 4 {
			time.Sleep(30 * time.Second)
			ok, err := c.Touch(ctx, "k")
			require.NoError(t, err)
			require.True(t, ok, "touching does")
		}
		require.NoError(t, c.Expire(ctx, "k"))
		e, ok = c.Peek("k")
		require.True(t, ok)
		require.True(t, e.Stale)
		require.False(t, c.Contains("k"), "it is stale")
		require.Empty(t, slices.Collect(c.Keys()))
	})
}

func TestPeekAtNotFound(t *testing.T) {
	c := newCache(t, Options[int]{})
	_, err := c.Get(t.Context(), "no", func(context.Context, string) (int, error) { return 0, ErrNotFound })
	require.ErrorIs(t, err, ErrNotFound)
	e, ok := c.Peek("no")
	require.False(t, ok)
	require.True(t, e.NotFound)
	require.False(t, c.Contains("no"))
	require.Equal(t, 1, c.Len())
}

func TestPeekInAGroup(t *testing.T) {
	inWorld(t, 2, Options[string]{TTL: time.Hour}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := b.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		require.False(t, a.cache.Contains(k), "the value is at b")
		require.True(t, b.cache.Contains(k))
		for range 8 {
			_, err := a.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
		}
		e, ok := a.cache.Peek(k)
		require.True(t, ok, "now there is a copy")
		require.Equal(t, SourceL1, e.Source)
		require.Equal(t, 1, a.cache.Len())
		ok, err := a.cache.Touch(t.Context(), b.keys(2)[1])
		require.NoError(t, err)
		require.False(t, ok)
	})
}

func TestSetMaxEntries(t *testing.T) {
	c := newCache(t, Options[int]{MaxEntries: 100})
	for i := range 100 {
		require.NoError(t, c.Put(t.Context(), string(rune('a'+i)), i))
	}
	require.NoError(t, c.SetMaxEntries(10))
	require.LessOrEqual(t, c.Len(), 10)
	require.EqualValues(t, 10, c.Stats().MaxEntries)
	require.ErrorContains(t, c.SetMaxEntries(-1), "MaxEntries is -1, it must not be negative")
	require.ErrorContains(t, c.SetMaxEntries(0), "a cache needs a bound")
	require.NoError(t, c.SetMaxBytes(1<<20))
	require.NoError(t, c.SetMaxEntries(0))
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.SetMaxEntries(5), ErrClosed)
}

func TestLoaderTTL(t *testing.T) {
	c := newCache(t, Options[string]{TTL: time.Hour, TTLJitter: -1})
	down := errors.New("down")
	load := LoaderTTL(func(_ context.Context, key string) (string, time.Duration, error) {
		switch key {
		case "stale":
			return "v", -time.Second, nil
		case "fails":
			return "", -time.Second, down
		}
		return "v", time.Minute, nil
	})
	for _, key := range []string{"k", "stale"} {
		v, err := c.Get(t.Context(), key, load)
		require.NoError(t, err)
		require.Equal(t, "v", v)
	}
	e, ok := c.Peek("k")
	require.True(t, ok)
	require.InDelta(t, time.Minute, e.TTL, float64(time.Second))
	require.False(t, c.Contains("stale"))
	_, err := c.Get(t.Context(), "fails", load)
	require.ErrorIs(t, err, down)
}

// All shows what is there when an entry's turn comes, also while it walks a table that has been
// replaced by a larger one.
func TestAllLooksAgain(t *testing.T) {
	t.Parallel()
	grow := func(c *Cache[int]) {
		for i := range 10_000 {
			require.NoError(t, c.Put(t.Context(), fmt.Sprint("more", i), i))
		}
	}
	for name, change := range map[string]func(c *Cache[int], key string){
		"deleted":   func(c *Cache[int], key string) { require.NoError(t, c.Delete(t.Context(), key)) },
		"replaced":  func(c *Cache[int], key string) { require.NoError(t, c.Put(t.Context(), key, 2)) },
		"expired":   func(c *Cache[int], key string) { require.NoError(t, c.Expire(t.Context(), key)) },
		"not found": func(c *Cache[int], key string) { require.NoError(t, c.PutNotFound(t.Context(), key)) },
		"cleared":   func(c *Cache[int], _ string) { require.NoError(t, c.Clear(t.Context())) },
		"closed":    func(c *Cache[int], _ string) { require.NoError(t, c.Close()) },
		"its time is over": func(c *Cache[int], _ string) {
			time.Sleep(time.Hour)
		},
		"deleted and put": func(c *Cache[int], key string) {
			require.NoError(t, c.Delete(t.Context(), key))
			require.NoError(t, c.Put(t.Context(), key, 2))
		},
	} {
		for how, before := range map[string]func(c *Cache[int]){"": func(*Cache[int]) {}, ", the table has grown": grow} {
			t.Run(name+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCache(t, Options[int]{TTL: time.Hour, TTLJitter: -1, StaleIfError: time.Hour})
					const n = 1000
					keys := make(map[string]bool)
					for i := range n {
						keys[fmt.Sprint("k", i)] = true
						require.NoError(t, c.Put(t.Context(), fmt.Sprint("k", i), 1))
					}
					first, shown := true, 0
					for key, v := range c.All() {
						if first {
							first = false
							before(c)
							for other := range keys {
								if other != key {
									change(c, other)
									if name == "cleared" || name == "closed" || name == "its time is over" {
										break
									}
								}
							}
							continue
						}
						if keys[key] {
							require.Equal(t, 2, v, "it is what replaced the first value")
							shown++
						}
					}
					switch name {
					case "replaced":
						require.Equal(t, n-1, shown)
					case "deleted and put":
					default:
						require.Zero(t, shown)
					}
				})
			})
		}
	}
}
