package covey

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A key whose value is stale is asked for all the time while the breaker is open: each refresh is
// refused, and the next one waits for ErrorThrottle.
func TestRefusedRefreshIsThrottled(t *testing.T) {
	single := func(context.Context, string) (int, error) { return 2, nil }
	for name, get := range map[string]func(c *Cache[int]) (int, error){
		"Get": func(c *Cache[int]) (int, error) { return c.Get(context.Background(), "k", single) },
		"GetMany": func(c *Cache[int]) (int, error) {
			found, err := c.GetMany(context.Background(), []string{"k"}, func(context.Context, []string) (map[string]int, error) {
				return map[string]int{"k": 2}, nil
			})
			return found["k"], err
		},
		"GetMany, key by key": func(c *Cache[int]) (int, error) {
			found, err := c.GetMany(context.Background(), []string{"k"}, nil)
			return found["k"], err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := plain(time.Minute)
				o.Loader, o.StaleWhileRevalidate, o.ErrorThrottle = single, time.Hour, time.Second
				o.Breaker = &Breaker{MinLoads: 1, Cooldown: 10 * time.Second, Probes: 1}
				c := newCache(t, o)
				require.NoError(t, c.Put(t.Context(), "k", 1))
				time.Sleep(2 * time.Minute)
				_, err := c.Get(t.Context(), "other", func(context.Context, string) (int, error) { return 0, errors.New("down") })
				require.Error(t, err)
				for range 9000 { // in 9 s
					v, err := get(c)
					require.NoError(t, err)
					require.Equal(t, 1, v)
					time.Sleep(time.Millisecond)
				}
				require.EqualValues(t, 9, c.Stats().Refused, "one each second")
				require.EqualValues(t, 9, c.Stats().Refreshes)
				time.Sleep(2 * time.Second)
				_, err = get(c)
				require.NoError(t, err)
				synctest.Wait()
				v, err := get(c)
				require.NoError(t, err)
				require.Equal(t, 2, v, "the breaker lets it pass again")
			})
		})
	}
}

// The owner offers the right to refresh to whoever asks; each of them gives it back.
func TestRefusedRefreshUnderARightIsThrottled(t *testing.T) {
	for name, o := range map[string]Options[string]{
		"breaker":         {Breaker: &Breaker{MinLoads: 1, Cooldown: time.Hour}},
		"no refreshes":    {MaxRefreshes: 1},
		"refresh ends in": {LoadTimeout: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			o.TTL, o.StaleWhileRevalidate, o.ErrorThrottle, o.L1 = time.Minute, time.Hour, time.Second, -1
			inWorld(t, 2, o, func(t *testing.T, w *world) {
				a, b := w.procs[0], w.procs[1]
				keys := a.keys(2)
				require.NoError(t, a.cache.Put(t.Context(), keys[0], "old"))
				time.Sleep(2 * time.Minute)
				load := w.slow(0)
				switch name {
				case "breaker":
					_, err := b.cache.Get(t.Context(), keys[1], func(context.Context, string) (string, error) { return "", errors.New("down") })
					require.Error(t, err)
				case "no refreshes":
					require.True(t, b.cache.refreshes.TryAcquire(1))
					defer b.cache.refreshes.Release(1)
				default:
					load = w.slow(time.Second)
				}
				before := b.cache.Stats()
				for range 900 { // in 9 s
					v, err := b.cache.Get(t.Context(), keys[0], load)
					require.NoError(t, err)
					require.Equal(t, "old", v)
					time.Sleep(10 * time.Millisecond)
				}
				after := b.cache.Stats()
				tries := after.Refreshes - before.Refreshes + after.RefreshSkips - before.RefreshSkips
				require.InDelta(t, 9, tries, 1, "one each second")
			})
		})
	}
}
