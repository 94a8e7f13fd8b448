package covey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type result struct {
	v   int
	err error
}

// get runs a Get on a goroutine of its own.
func get(ctx context.Context, c *Cache[int], load Loader[int]) <-chan result {
	ch := make(chan result, 1)
	go func() {
		v, err := c.Get(ctx, "k", load)
		ch <- result{v, err}
	}()
	return ch
}

func slow(v int, d time.Duration) Loader[int] {
	return func(ctx context.Context, _ string) (int, error) {
		select {
		case <-time.After(d):
			return v, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func TestLeaderLeavesWaiterStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{})
		ctx, cancel := context.WithCancel(t.Context())
		leader := get(ctx, c, slow(1, time.Second))
		synctest.Wait()
		waiter := get(t.Context(), c, slow(2, time.Second))
		synctest.Wait()
		cancel()
		require.ErrorIs(t, (<-leader).err, context.Canceled)
		require.Equal(t, result{1, nil}, <-waiter)
		require.EqualValues(t, 1, c.Stats().Loads)
	})
}

func TestLastWaiterCancelsAndNewcomerLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var cancelled atomic.Bool
		abandoned := get(ctx, c, func(ctx context.Context, _ string) (int, error) {
			<-ctx.Done()
			cancelled.Store(true)
			time.Sleep(time.Minute) // slow to notice
			return 1, nil
		})
		require.ErrorIs(t, (<-abandoned).err, context.DeadlineExceeded)
		require.Equal(t, result{2, nil}, <-get(t.Context(), c, slow(2, time.Second)), "nobody joins a cancelled load")
		time.Sleep(2 * time.Minute)
		require.True(t, cancelled.Load())
		v, err := c.Get(t.Context(), "k", nil)
		require.NoError(t, err)
		require.Equal(t, 2, v, "what the abandoned load returned is dropped")
	})
}

func TestFinishAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{FinishAbandoned: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, (<-get(ctx, c, slow(1, 20*time.Second))).err, context.DeadlineExceeded)
		time.Sleep(time.Hour)
		v, err := c.Get(t.Context(), "k", nil)
		require.NoError(t, err)
		require.Equal(t, 1, v)
	})
}

// Each write below comes while a load is under way; what that brings was read before the write.
func TestWritesVoidTheLoadUnderWay(t *testing.T) {
	for name, write := range map[string]func(*Cache[int]) error{
		"Put":        func(c *Cache[int]) error { return c.Put(context.Background(), "k", 100) },
		"Delete":     func(c *Cache[int]) error { return c.Delete(context.Background(), "k") },
		"DeleteMany": func(c *Cache[int]) error { return c.DeleteMany(context.Background(), []string{"x", "k"}) },
		"Expire":     func(c *Cache[int]) error { return c.Expire(context.Background(), "k") },
		"Clear":      func(c *Cache[int]) error { return c.Clear(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCache(t, Options[int]{})
				early := get(t.Context(), c, slow(1, 20*time.Second))
				synctest.Wait()
				require.NoError(t, write(c))
				late := get(t.Context(), c, slow(2, time.Second))
				want := 2
				if name == "Put" {
					want = 100
				}
				require.Equal(t, result{want, nil}, <-late)
				require.Equal(t, result{1, nil}, <-early, "who waited before the write may have the old value")
				v, err := c.Get(t.Context(), "k", nil)
				require.NoError(t, err)
				require.Equal(t, want, v, "the old value must not be stored")
				require.EqualValues(t, 1, c.Stats().Discarded)
			})
		})
	}
}

func TestRecursiveLoad(t *testing.T) {
	c := newCache(t, Options[int]{})
	_, err := c.Get(t.Context(), "a", func(ctx context.Context, _ string) (int, error) {
		return c.Get(ctx, "b", func(ctx context.Context, _ string) (int, error) {
			return c.Get(ctx, "a", slow(1, 0))
		})
	})
	require.ErrorIs(t, err, ErrRecursiveLoad)
	_, err = c.GetMany(t.Context(), []string{"a", "b"}, func(ctx context.Context, _ []string) (map[string]int, error) {
		return c.GetMany(ctx, []string{"b"}, nil)
	})
	require.ErrorIs(t, err, ErrNoLoader)
	_, err = c.GetMany(t.Context(), []string{"a", "b"}, func(ctx context.Context, _ []string) (map[string]int, error) {
		return c.GetMany(ctx, []string{"b"}, func(context.Context, []string) (map[string]int, error) { return nil, nil })
	})
	require.ErrorIs(t, err, ErrRecursiveLoad)
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New("c", Options[int]{TTL: time.Minute})
		require.NoError(t, err)
		require.NoError(t, c.Put(t.Context(), "x", 1))
		waiting := get(t.Context(), c, slow(1, time.Hour))
		detached := func() <-chan result {
			synctest.Wait()
			require.NoError(t, c.Delete(t.Context(), "k"))
			return get(t.Context(), c, slow(1, time.Hour))
		}()
		synctest.Wait()
		require.NoError(t, c.Close())
		require.NoError(t, c.Close(), "again")
		require.ErrorIs(t, (<-waiting).err, ErrClosed)
		require.ErrorIs(t, (<-detached).err, ErrClosed)
		_, err = c.Get(t.Context(), "x", slow(1, 0))
		require.ErrorIs(t, err, ErrClosed)
		_, _, err = c.Lookup(t.Context(), "x")
		require.ErrorIs(t, err, ErrClosed)
		_, err = c.GetMany(t.Context(), []string{"x"}, nil)
		require.ErrorIs(t, err, ErrClosed)
		for _, err := range []error{
			c.Put(t.Context(), "x", 1), c.Delete(t.Context(), "x"), c.Expire(t.Context(), "x"), c.Clear(t.Context()), c.SetMaxBytes(1 << 20),
		} {
			require.ErrorIs(t, err, ErrClosed)
		}
		require.Zero(t, c.Stats().Entries)
	})
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New("c", Options[int]{})
		require.NoError(t, err)
		stuck := make(chan struct{})
		waiting := get(t.Context(), c, func(context.Context, string) (int, error) { <-stuck; return 1, nil })
		synctest.Wait()
		start := time.Now()
		require.ErrorContains(t, c.Close(), "still runs")
		require.Equal(t, closeGrace, time.Since(start))
		require.ErrorIs(t, (<-waiting).err, ErrClosed)
		close(stuck)
	})
}

func TestBadInput(t *testing.T) {
	c := newCache(t, Options[string]{MaxBytes: 1 << 20, MaxValueBytes: 1000})
	ctx := t.Context()
	long := strings.Repeat("x", MaxKeyLen+1)
	for _, key := range []string{"", long} {
		_, err := c.Get(ctx, key, func(context.Context, string) (string, error) { return "", nil })
		require.ErrorIs(t, err, ErrInvalidKey)
		require.ErrorIs(t, c.Put(ctx, key, "v"), ErrInvalidKey)
		require.ErrorIs(t, c.Delete(ctx, key), ErrInvalidKey)
		require.ErrorIs(t, c.Expire(ctx, key), ErrInvalidKey)
		_, _, err = c.Lookup(ctx, key)
		require.ErrorIs(t, err, ErrInvalidKey)
		got, err := c.GetMany(ctx, []string{"a", key}, func(context.Context, []string) (map[string]string, error) { return map[string]string{"a": "va"}, nil })
		require.ErrorIs(t, err, ErrInvalidKey)
		require.Equal(t, map[string]string{"a": "va"}, got)
	}
	_, err := c.Get(ctx, "k", nil)
	require.ErrorIs(t, err, ErrNoLoader)
	require.NoError(t, c.Put(ctx, "k", "small"))
	err = c.Put(ctx, "k", strings.Repeat("v", 2000))
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorContains(t, err, "1000")
	require.ErrorContains(t, err, `"k"`)
	_, ok, _ := c.Lookup(ctx, "k")
	require.False(t, ok, "the old value is gone")
	v, err := c.Get(ctx, "k", func(context.Context, string) (string, error) { return strings.Repeat("v", 2000), nil })
	require.NoError(t, err)
	require.Len(t, v, 2000, "a loaded value is served, but not stored")
	_, ok, _ = c.Lookup(ctx, "k")
	require.False(t, ok)
	require.EqualValues(t, 2, c.Stats().TooLarge)

	_, err = New("", Options[int]{MaxBytes: -1, MaxEntries: -1, TTL: -1, TTLJitter: 2, LoadRate: -1, MaxLoads: -1, Eviction: 9, IdleTTL: time.Second, Breaker: &Breaker{FailureRatio: 2}})
	for _, field := range []string{"name", "MaxBytes", "MaxEntries", "TTL", "TTLJitter", "LoadRate", "MaxLoads", "Eviction", "IdleTTL", "Breaker.FailureRatio"} {
		require.ErrorContains(t, err, field)
	}
}

func TestBulkFailureIsItsCallersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{})
		down := errors.New("down")
		done := make(chan struct{})
		go func() {
			defer close(done)
			got, err := c.GetMany(t.Context(), []string{"k", "found"}, func(context.Context, []string) (map[string]int, error) {
				time.Sleep(time.Second)
				return map[string]int{"found": 5}, down
			})
			if !errors.Is(err, down) || got["found"] != 5 || len(got) != 1 {
				t.Errorf("got %v, %v", got, err)
			}
		}()
		synctest.Wait()
		require.Equal(t, result{7, nil}, <-get(t.Context(), c, slow(7, time.Second)), "who joined loads for himself")
		<-done
	})
}

// Two calls want each other's keys; each must publish what it loads before it waits.
func TestGetManyDoesNotDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{})
		load := func(_ context.Context, keys []string) (map[string]int, error) {
			time.Sleep(time.Second)
			m := map[string]int{}
			for _, k := range keys {
				m[k] = int(k[0])
			}
			return m, nil
		}
		start := time.Now()
		done := make(chan error, 2)
		for _, keys := range [][]string{{"a", "b", "c"}, {"c", "b", "a", "d"}} {
			go func() {
				got, err := c.GetMany(t.Context(), keys, load)
				if err == nil && len(got) != len(keys) {
					err = fmt.Errorf("got %v for %v", got, keys)
				}
				done <- err
			}()
		}
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestOriginLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{MaxLoads: 2, LoadTimeout: 10 * time.Second})
		var running, most atomic.Int64
		load := func(ctx context.Context, key string) (int, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(3 * time.Second)
			return 1, nil
		}
		errs := make(chan error, 10)
		for i := range 10 {
			go func() {
				_, err := c.Get(t.Context(), fmt.Sprint(i), load)
				errs <- err
			}()
		}
		refused := 0
		for range 10 {
			if err := <-errs; errors.Is(err, ErrOverloaded) {
				refused++
			} else {
				require.True(t, err == nil || errors.Is(err, ErrLoadTimeout), err)
			}
		}
		require.EqualValues(t, 2, most.Load())
		require.Positive(t, refused)
	})
}

func TestNestedLoadsPassTheCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{MaxLoads: 1})
		v, err := c.Get(t.Context(), "outer", func(ctx context.Context, _ string) (int, error) {
			return c.Get(ctx, "inner", slow(3, time.Second))
		})
		require.NoError(t, err)
		require.Equal(t, 3, v)
	})
}

func TestLoadRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{LoadRate: 10, LoadBurst: 1, LoadTimeout: time.Second})
		start := time.Now()
		for i := range 11 {
			_, err := c.Get(t.Context(), fmt.Sprint(i), slow(1, 0))
			require.NoError(t, err)
		}
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{NegativeTTL: -1, Breaker: &Breaker{MinLoads: 10, Cooldown: time.Minute}})
		n := 0
		load := func(err error) error {
			n++
			_, err = c.Get(t.Context(), fmt.Sprint(n), func(context.Context, string) (int, error) { return 1, err })
			return err
		}
		for range 100 { // misses are no failures
			require.ErrorIs(t, load(ErrNotFound), ErrNotFound)
		}
		down := errors.New("down")
		for range 99 {
			require.ErrorIs(t, load(down), down)
		}
		require.ErrorIs(t, load(down), down)
		require.ErrorIs(t, load(nil), ErrOverloaded, "it is open")
		time.Sleep(time.Minute + time.Second)
		require.NoError(t, load(nil))
		require.ErrorIs(t, load(down), down)
		require.ErrorIs(t, load(nil), ErrOverloaded, "a failed probe opens it again")
		time.Sleep(time.Minute + time.Second)
		for range 3 {
			require.NoError(t, load(nil))
		}
		require.ErrorIs(t, load(down), down)
		require.NoError(t, load(nil), "it is closed")
	})
}

func TestBreakerReleasesAbandonedProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{Breaker: &Breaker{MinLoads: 1, Cooldown: time.Minute, Probes: 1}})
		_, err := c.Get(t.Context(), "a", func(context.Context, string) (int, error) { return 0, errors.New("down") })
		require.Error(t, err)
		time.Sleep(2 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, (<-get(ctx, c, slow(1, time.Hour))).err, context.DeadlineExceeded)
		synctest.Wait()
		v, err := c.Get(t.Context(), "b", slow(2, time.Second))
		require.NoError(t, err)
		require.Equal(t, 2, v)
	})
}
