package covey

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// counting returns a loader that takes d and returns 1, 2, 3, …
func counting(d time.Duration) (load Loader[int], loads func() int) {
	var n atomic.Int64
	return func(context.Context, string) (int, error) {
		time.Sleep(d)
		return int(n.Add(1)), nil
	}, func() int { return int(n.Load()) }
}

// plain are options under which time alone decides.
func plain(ttl time.Duration) Options[int] {
	return Options[int]{TTL: ttl, TTLJitter: -1, EarlyRefresh: -1}
}

func TestStaleWhileRevalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := plain(time.Minute)
		o.StaleWhileRevalidate = 10 * time.Second
		c := newCache(t, o)
		load, loads := counting(time.Second)
		get := func() (int, time.Duration) {
			start := time.Now()
			v, err := c.Get(t.Context(), "k", load)
			require.NoError(t, err)
			return v, time.Since(start)
		}
		v, took := get()
		require.Equal(t, 1, v)
		require.Equal(t, time.Second, took)
		time.Sleep(time.Minute + 5*time.Second)
		v, took = get()
		require.Equal(t, 1, v, "the stale value, at once")
		require.Zero(t, took)
		v, _ = get()
		require.Equal(t, 1, v)
		time.Sleep(2 * time.Second)
		v, _ = get()
		require.Equal(t, 2, v, "the refreshed one")
		require.Equal(t, 2, loads())
		time.Sleep(time.Minute + 11*time.Second)
		v, took = get()
		require.Equal(t, 3, v, "beyond the window one waits")
		require.Equal(t, time.Second, took)
	})
}

func TestStaleIfErrorIsNotExtended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := plain(time.Minute)
		o.StaleIfError, o.ErrorThrottle = time.Minute, 10*time.Second
		c := newCache(t, o)
		down := errors.New("down")
		tries := 0
		fail := func(context.Context, string) (int, error) { tries++; return 0, down }
		load, _ := counting(0)
		_, err := c.Get(t.Context(), "k", load)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		for range 59 {
			v, err := c.Get(t.Context(), "k", fail)
			require.NoError(t, err)
			require.Equal(t, 1, v)
			time.Sleep(time.Second)
		}
		require.Equal(t, 6, tries, "one try each 10 s")
		time.Sleep(time.Second)
		_, err = c.Get(t.Context(), "k", fail)
		require.ErrorIs(t, err, down, "failed loads must not extend the window")
		require.EqualValues(t, 59, c.Stats().StaleHits)
	})
}

func TestDeleteIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := plain(time.Minute)
		o.StaleIfError, o.StaleWhileRevalidate = time.Hour, time.Hour
		c := newCache(t, o)
		require.NoError(t, c.Put(t.Context(), "k", 1))
		time.Sleep(2 * time.Minute)
		require.NoError(t, c.Delete(t.Context(), "k"))
		down := errors.New("down")
		_, err := c.Get(t.Context(), "k", func(context.Context, string) (int, error) { return 0, down })
		require.ErrorIs(t, err, down)
	})
}

func TestSoftTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := plain(time.Minute)
		o.StaleIfError, o.SoftTimeout = time.Hour, 100*time.Millisecond
		c := newCache(t, o)
		load, _ := counting(time.Second)
		_, err := c.Get(t.Context(), "k", load)
		require.NoError(t, err, "without a stale value a Get waits")
		time.Sleep(2 * time.Minute)
		start := time.Now()
		v, err := c.Get(t.Context(), "k", load)
		require.NoError(t, err)
		require.Equal(t, 1, v)
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		time.Sleep(time.Second)
		v, err = c.Get(t.Context(), "k", load)
		require.NoError(t, err)
		require.Equal(t, 2, v, "the load went on")
		require.EqualValues(t, 1, c.Stats().SoftTimeouts)
	})
}

func TestSoftTimeoutOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := plain(time.Minute)
		o.StaleIfError, o.SoftTimeout = time.Hour, 100*time.Millisecond
		c := newCache(t, o)
		var loads atomic.Int32
		load := func(ctx context.Context, keys []string) (map[string]int, error) {
			n := int(loads.Add(1))
			time.Sleep(time.Second)
			return map[string]int{"a": n, "b": n}, ctx.Err()
		}
		for _, step := range []struct {
			want int
			then time.Duration
		}{{1, 2 * time.Minute}, {1, time.Second}, {2, 0}} {
			got, err := c.GetMany(t.Context(), []string{"a", "b"}, load)
			require.NoError(t, err)
			require.Equal(t, map[string]int{"a": step.want, "b": step.want}, got)
			time.Sleep(step.then)
		}
		require.EqualValues(t, 2, loads.Load(), "the load went on")
	})
}

func TestLoadTimeoutDoesNotWaitForTheLoader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{LoadTimeout: time.Second})
		stuck := make(chan struct{})
		start := time.Now()
		_, err := c.Get(t.Context(), "k", func(context.Context, string) (int, error) { <-stuck; return 1, nil })
		require.ErrorIs(t, err, ErrLoadTimeout)
		require.Equal(t, time.Second, time.Since(start))
		v, err := c.Get(t.Context(), "k", func(context.Context, string) (int, error) { return 2, nil })
		require.NoError(t, err)
		require.Equal(t, 2, v)
		close(stuck)
		synctest.Wait()
		v, _ = c.Get(t.Context(), "k", nil)
		require.Equal(t, 2, v, "what comes too late is dropped")
	})
}

func TestNegative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := plain(time.Minute)
		o.NegativeTTL = 5 * time.Second
		c := newCache(t, o)
		loads := 0
		none := func(context.Context, string) (int, error) { loads++; return 0, fmt.Errorf("row: %w", ErrNotFound) }
		for range 3 {
			_, err := c.Get(t.Context(), "k", none)
			require.ErrorIs(t, err, ErrNotFound)
		}
		require.Equal(t, 1, loads)
		e, ok, err := c.Lookup(t.Context(), "k")
		require.NoError(t, err)
		require.False(t, ok)
		require.True(t, e.NotFound)
		for range c.All() {
			t.Error("All shows an entry without a value")
		}
		time.Sleep(5 * time.Second)
		_, err = c.Get(t.Context(), "k", none)
		require.ErrorIs(t, err, ErrNotFound)
		require.Equal(t, 2, loads)
		require.NoError(t, c.Put(t.Context(), "k", 7))
		v, err := c.Get(t.Context(), "k", none)
		require.NoError(t, err)
		require.Equal(t, 7, v, "a Put ends it")
	})
}

// A row is created while a load that did not see it is under way.
func TestNegativeDoesNotOutliveAPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, plain(time.Minute))
		go func() {
			_, err := c.Get(t.Context(), "k", func(context.Context, string) (int, error) {
				time.Sleep(time.Second)
				return 0, ErrNotFound
			})
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("got %v", err)
			}
		}()
		time.Sleep(time.Second / 2)
		require.NoError(t, c.Put(t.Context(), "k", 1))
		time.Sleep(time.Second)
		v, err := c.Get(t.Context(), "k", nil)
		require.NoError(t, err)
		require.Equal(t, 1, v)
	})
}

func TestUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := plain(time.Minute)
		o.StaleWhileRevalidate = time.Minute
		c := newCache(t, o)
		var seen []uint64
		load := func(ctx context.Context, _ string) (int, error) {
			info := LoadInfo(ctx)
			version, ok := info.StaleVersion()
			if ok {
				seen = append(seen, version)
				return 0, ErrUnchanged
			}
			info.SetVersion(42)
			return 1, nil
		}
		_, err := c.Get(t.Context(), "k", load)
		require.NoError(t, err)
		for range 3 {
			time.Sleep(90 * time.Second)
			v, err := c.Get(t.Context(), "k", load)
			require.NoError(t, err)
			require.Equal(t, 1, v)
			synctest.Wait()
		}
		require.Equal(t, []uint64{42, 42, 42}, seen)
		e, _, _ := c.Lookup(t.Context(), "k")
		require.EqualValues(t, 42, e.Version)
		require.Equal(t, time.Minute, e.TTL)
	})
}

func TestEarlyRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{TTL: 10 * time.Second, TTLJitter: -1})
		load, loads := counting(100 * time.Millisecond)
		_, err := c.Get(t.Context(), "k", load)
		require.NoError(t, err)
		for range 20_000 {
			start := time.Now()
			_, err := c.Get(t.Context(), "k", load)
			require.NoError(t, err)
			require.Zero(t, time.Since(start), "nobody waits at the expiry of a key that is in demand")
			time.Sleep(5 * time.Millisecond)
		}
		require.GreaterOrEqual(t, loads(), 10)
		require.LessOrEqual(t, loads(), 13, "a refresh comes at the end of the TTL, not all the time")
	})
}

// Refreshes that take longer than the TTL must neither pile up nor leave the value stale for ever.
func TestRefreshSlowerThanTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := plain(time.Second)
		o.StaleWhileRevalidate = time.Minute
		c := newCache(t, o)
		load, loads := counting(5 * time.Second)
		last := 0
		for range 100 {
			v, err := c.Get(t.Context(), "k", load)
			require.NoError(t, err)
			require.GreaterOrEqual(t, v, last)
			last = v
			require.LessOrEqual(t, c.Stats().Loading, int64(1))
			time.Sleep(time.Second)
		}
		require.InDelta(t, 17, loads(), 3)
		require.InDelta(t, loads(), last, 2)
		time.Sleep(10 * time.Second)
	})
}

func TestIdleTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := plain(time.Hour)
		o.IdleTTL = time.Minute
		c := newCache(t, o)
		load, loads := counting(0)
		for range 100 { // in use: it stays until the TTL ends it
			_, err := c.Get(t.Context(), "k", load)
			require.NoError(t, err)
			time.Sleep(50 * time.Second)
		}
		require.Equal(t, 2, loads())
		time.Sleep(62 * time.Second)
		require.Zero(t, c.Stats().Entries)
	})
}

func TestJitterOnlyShortens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{TTL: 100 * time.Second, TTLJitter: 0.2})
		least, most := time.Hour, time.Duration(0)
		for i := range 1000 {
			key := fmt.Sprint(i)
			require.NoError(t, c.Put(t.Context(), key, i))
			e, _, _ := c.Lookup(t.Context(), key)
			least, most = min(least, e.TTL), max(most, e.TTL)
		}
		require.LessOrEqual(t, most, 100*time.Second)
		require.GreaterOrEqual(t, least, 80*time.Second)
		require.Greater(t, most-least, 18*time.Second)
	})
}

func TestExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := plain(time.Hour)
		o.StaleIfError = time.Hour
		c := newCache(t, o)
		down := errors.New("down")
		require.NoError(t, c.Put(t.Context(), "k", 1))
		require.NoError(t, c.Expire(t.Context(), "k"))
		e, ok, _ := c.Lookup(t.Context(), "k")
		require.True(t, ok)
		require.True(t, e.Stale)
		v, err := c.Get(t.Context(), "k", func(context.Context, string) (int, error) { return 0, down })
		require.NoError(t, err)
		require.Equal(t, 1, v, "usable if the origin fails")
		time.Sleep(2 * time.Second)
		v, err = c.Get(t.Context(), "k", func(context.Context, string) (int, error) { return 2, nil })
		require.NoError(t, err)
		require.Equal(t, 2, v)
		require.NoError(t, c.Expire(t.Context(), "absent"))
	})
}

func TestVersions(t *testing.T) {
	c := newCache(t, Options[string]{})
	ctx := t.Context()
	require.NoError(t, c.Put(ctx, "k", "five", WithVersion(5)))
	require.ErrorIs(t, c.Put(ctx, "k", "four", WithVersion(4)), ErrOutdated)
	require.NoError(t, c.Put(ctx, "k", "five again", WithVersion(5)), "the same version does nothing")
	e, _, _ := c.Lookup(ctx, "k")
	require.Equal(t, "five", e.Value)
	require.NoError(t, c.Put(ctx, "k", "none"), "a Put without a version keeps the highest seen")
	require.ErrorIs(t, c.Put(ctx, "k", "four", WithVersion(4)), ErrOutdated)
	require.NoError(t, c.Delete(ctx, "k"))
	require.ErrorIs(t, c.Put(ctx, "k", "four", WithVersion(4)), ErrOutdated, "the tombstone remembers")
	v, err := c.Get(ctx, "k", func(ctx context.Context, _ string) (string, error) {
		LoadInfo(ctx).SetVersion(3)
		return "three", nil
	})
	require.NoError(t, err)
	require.Equal(t, "three", v, "who waited gets it")
	_, ok, _ := c.Lookup(ctx, "k")
	require.False(t, ok, "but it is not stored")
	require.NoError(t, c.Put(ctx, "k", "six", WithVersion(6)))
	require.ErrorIs(t, c.Delete(ctx, "k", DeletedAt(5)), ErrOutdated)
	require.NoError(t, c.Delete(ctx, "k", DeletedAt(9)))
	require.ErrorIs(t, c.Put(ctx, "k", "eight", WithVersion(8)), ErrOutdated)
	require.NoError(t, c.Put(ctx, "k", "ten", WithVersion(10)))
}

func TestNoStoreAndSetTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, plain(time.Hour))
		v, err := c.Get(t.Context(), "no", func(ctx context.Context, _ string) (int, error) { LoadInfo(ctx).NoStore(); return 1, nil })
		require.NoError(t, err)
		require.Equal(t, 1, v)
		_, ok, _ := c.Lookup(t.Context(), "no")
		require.False(t, ok)
		_, err = c.Get(t.Context(), "k", func(ctx context.Context, _ string) (int, error) {
			LoadInfo(ctx).SetTTL(time.Second)
			time.Sleep(10 * time.Second) // the TTL counts from here on, the age from the start
			return 1, nil
		})
		require.NoError(t, err)
		e, _, _ := c.Lookup(t.Context(), "k")
		require.Equal(t, time.Second, e.TTL)
		require.Equal(t, 10*time.Second, e.Age)
		require.NoError(t, c.Put(t.Context(), "p", 1, WithTTL(2*time.Second)))
		e, _, _ = c.Lookup(t.Context(), "p")
		require.Equal(t, 2*time.Second, e.TTL)
		LoadInfo(t.Context()).NoStore() // outside a loader: nothing happens
	})
}

func TestErrorsSayWhichLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{LoadTimeout: time.Second, MaxLoads: 1})
		wait := func(ctx context.Context, _ string) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		waitMany := func(ctx context.Context, _ []string) (map[string]int, error) { <-ctx.Done(); return nil, ctx.Err() }
		_, err := c.Get(t.Context(), "slow", wait)
		require.ErrorIs(t, err, ErrLoadTimeout)
		require.ErrorContains(t, err, `key "slow"`)
		_, err = c.GetMany(t.Context(), []string{"a", "b", "c"}, waitMany)
		require.ErrorIs(t, err, ErrLoadTimeout)
		require.ErrorContains(t, err, `key "a" and 2 more`)
		deaf := func(context.Context, string) (int, error) { time.Sleep(3 * time.Second); return 0, nil }
		_, err = c.Get(t.Context(), "deaf", deaf)
		require.ErrorIs(t, err, ErrLoadTimeout, "which holds its place until it returns")
		_, err = c.Get(t.Context(), "second", wait)
		require.ErrorIs(t, err, ErrOverloaded)
		require.ErrorContains(t, err, `key "second"`)
	})
}

// A remembered not-found leaves at its own time, though the value that it has replaced might have
// been served stale for longer.
func TestNegativeEntriesExpireAtTheirOwnTime(t *testing.T) {
	for name, idle := range map[string]time.Duration{"": 0, "with IdleTTL": 59 * time.Minute} {
		for how, write := range map[string]func(c *Cache[int]) error{
			"PutNotFound": func(c *Cache[int]) error { return c.PutNotFound(context.Background(), "k") },
			"load": func(c *Cache[int]) error {
				_ = c.Expire(context.Background(), "k")
				_, err := c.Get(context.Background(), "k", func(context.Context, string) (int, error) { return 0, ErrNotFound })
				if errors.Is(err, ErrNotFound) {
					return nil
				}
				return err
			},
		} {
			t.Run(how+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := plain(time.Minute)
					o.StaleIfError, o.IdleTTL, o.NegativeTTL = time.Hour, idle, 2*time.Minute
					c := newCache(t, o)
					require.NoError(t, c.Put(t.Context(), "k", 1))
					require.NoError(t, write(c))
					time.Sleep(2*time.Minute - time.Second)
					require.Equal(t, 1, c.Len())
					time.Sleep(3 * time.Second)
					require.Zero(t, c.Len())
				})
			})
		}
	}
}
