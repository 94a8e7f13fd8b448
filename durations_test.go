package covey

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever the TTL, β, load time and jitter, an entry stops being fresh within its TTL, and is
// looked at closely from well before that.
func FuzzDurations(f *testing.F) {
	f.Add(int64(time.Second), 1.0, int64(0), 0.1)
	f.Add(int64(2*365*24*time.Hour), 1.0, int64(time.Minute), 0.0)
	f.Add(int64(maxTTL), 100.0, int64(maxTTL), 0.9)
	f.Add(int64(1), 100.0, int64(math.MaxInt64), 0.5)
	f.Add(int64(math.MaxInt64), 0.0, int64(1), 0.9)
	f.Add(int64(maxTTL)+1, 1.0, int64(1), 0.1)
	f.Fuzz(func(t *testing.T, ttl int64, beta float64, took int64, jitter float64) {
		o := Options[int]{EarlyRefresh: beta, TTLJitter: jitter}
		if o.validate("fuzz") != nil {
			return
		}
		c := newCache(t, o)
		jitter = c.opt.TTLJitter
		begin := c.store.clock.now()
		end := begin + min(max(took, 0), int64(maxTTL)) // a fill's age may be as long
		meta := loadMeta{ttl: time.Duration(ttl), hasTTL: true}
		if meta.isStale() || checkTTL(meta.ttl) != nil {
			return
		}
		e := c.newEntry("k", c.store.hash("k"), 0, outcome[int]{value: 1, begin: begin, end: end, meta: meta})
		require.NotNil(t, e)
		if meta.ttl == Forever {
			require.Equal(t, int64(never), e.expires)
			return
		}
		shortest := int64(float64(ttl) * (1 - jitter) * (1 - 1e-9))
		require.GreaterOrEqual(t, e.expires, end+shortest)
		require.LessOrEqual(t, e.expires, end+ttl+ttl>>50) // a float64 is not exact to the nanosecond
		guard := c.store.guards[e.guard%guardClasses]
		require.GreaterOrEqual(t, guard, int64(leastGuard))
		require.GreaterOrEqual(t, guard, min(c.earlyAt(&e.node), e.expires))
		require.Equal(t, fresh, c.judge(&e.node, e.expires-1))
		require.NotEqual(t, fresh, c.judge(&e.node, e.expires))
		c.refreshDue(&e.node, begin)
	})
}

func TestLongTTLs(t *testing.T) {
	years := 365 * 24 * time.Hour
	c := newCache(t, Options[int]{StaleIfError: maxTTL, StaleWhileRevalidate: maxTTL, EarlyRefresh: 100, TTLJitter: -1})
	ctx := t.Context()
	for _, ttl := range []time.Duration{25 * 24 * time.Hour, 50 * 24 * time.Hour, 2 * years, 10 * years, 100 * years} {
		require.NoError(t, c.Put(ctx, "put", 1, WithTTL(ttl)))
		e, ok, err := c.Lookup(ctx, "put")
		require.NoError(t, err)
		require.True(t, ok)
		require.InDelta(t, ttl, e.TTL, float64(time.Minute))
		_, err = c.Get(ctx, ttl.String(), func(ctx context.Context, _ string) (int, error) { LoadInfo(ctx).SetTTL(ttl); return 2, nil })
		require.NoError(t, err)
		e, ok, _ = c.Lookup(ctx, ttl.String())
		require.True(t, ok)
		require.InDelta(t, ttl, e.TTL, float64(time.Minute))
	}
	over := 100*years + 1
	require.ErrorContains(t, c.Put(ctx, "put", 3, WithTTL(over)), "the limit is 876000h0m0s")
	_, err := c.Get(ctx, "over", func(ctx context.Context, _ string) (int, error) { LoadInfo(ctx).SetTTL(over); return 2, nil })
	require.ErrorContains(t, err, `key "over": its loader called SetTTL: the TTL is 876000h0m0.000000001s, the limit is`)
	require.NoError(t, c.Put(ctx, "put", 4, WithTTL(Forever)))
	e, ok, _ := c.Lookup(ctx, "put")
	require.True(t, ok)
	require.Zero(t, e.TTL)
	require.Equal(t, 4, e.Value)
}

func TestDurationsOfOptionsAreBounded(t *testing.T) {
	over := time.Duration(maxTTL) + 1
	_, err := New("c", Options[int]{TTL: over, IdleTTL: over, Breaker: &Breaker{Window: over, Cooldown: over}})
	for _, field := range []string{"Options.TTL", "Options.IdleTTL", "Breaker.Window", "Breaker.Cooldown"} {
		require.ErrorContains(t, err, field)
	}
	_, err = NewGroup(GroupOptions{OpTimeout: over})
	require.ErrorContains(t, err, "OpTimeout is")
	_, err = New("c", Options[int]{TTL: Forever, IdleTTL: time.Second})
	require.ErrorContains(t, err, "Options.IdleTTL is 1s, it needs a TTL")
	c := newCache(t, Options[int]{TTL: Forever})
	require.NoError(t, c.Put(t.Context(), "k", 1))
	e, _, _ := c.Lookup(t.Context(), "k")
	require.Zero(t, e.TTL)
}

// What remains of a TTL may have become 0 or less on the way: then nothing is kept.
func TestNoTTLLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{TTL: time.Hour})
		ctx := t.Context()
		for _, ttl := range []time.Duration{0, -1, math.MinInt64} {
			require.NoError(t, c.Put(ctx, "k", 1, WithVersion(7)))
			require.NoError(t, c.Put(ctx, "k", 2, WithTTL(ttl), WithVersion(8)))
			_, ok, err := c.Lookup(ctx, "k")
			require.NoError(t, err)
			require.False(t, ok, ttl)
			require.ErrorIs(t, c.Put(ctx, "k", 3, WithVersion(7)), ErrOutdated, "it was a write all the same")
			v, err := c.Get(ctx, "loaded", func(ctx context.Context, _ string) (int, error) { LoadInfo(ctx).SetTTL(ttl); return 4, nil })
			require.NoError(t, err)
			require.Equal(t, 4, v)
			_, ok, _ = c.Lookup(ctx, "loaded")
			require.False(t, ok, ttl)
			require.NoError(t, c.Delete(ctx, "k", DeletedAt(9)))
			time.Sleep(10 * time.Minute) // versions of deleted keys are forgotten
		}
	})
}

// The same in a group: the owner gets what remains, from whomever it comes.
func TestGroupDurations(t *testing.T) {
	inWorld(t, 2, Options[string]{TTL: time.Hour, TTLJitter: -1, EarlyRefresh: 100}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		ctx, k := t.Context(), b.key()
		loader := func(ttl time.Duration) Loader[string] {
			return func(ctx context.Context, _ string) (string, error) { LoadInfo(ctx).SetTTL(ttl); return "v", nil }
		}
		for _, test := range []struct{ given, want time.Duration }{
			{Forever, 0}, {maxTTL, maxTTL}, {2 * 365 * 24 * time.Hour, 2 * 365 * 24 * time.Hour}, {time.Second, time.Second},
		} {
			require.NoError(t, a.cache.Put(ctx, k, "v", WithTTL(test.given)))
			e, ok, _ := b.cache.Lookup(ctx, k)
			require.True(t, ok)
			require.Equal(t, test.want, e.TTL)
			for range 4 { // so often that it is lent
				_, err := a.cache.Get(ctx, k, nil)
				require.NoError(t, err)
			}
			require.NoError(t, a.cache.Delete(ctx, k))
			_, err := a.cache.Get(ctx, k, loader(test.given))
			require.NoError(t, err)
			synctest.Wait()
			e, ok, _ = b.cache.Lookup(ctx, k)
			require.True(t, ok)
			require.InDelta(t, test.want, e.TTL, float64(time.Second)/2)
		}
		for _, ttl := range []time.Duration{0, -time.Second} {
			require.NoError(t, a.cache.Put(ctx, k, "gone", WithTTL(ttl)))
			_, ok, _ := b.cache.Lookup(ctx, k)
			require.False(t, ok)
			v, err := a.cache.Get(ctx, k, loader(ttl))
			require.NoError(t, err)
			require.Equal(t, "v", v)
			synctest.Wait()
			_, ok, _ = b.cache.Lookup(ctx, k)
			require.False(t, ok)
		}
		_, err := a.cache.Get(ctx, k, loader(maxTTL+1))
		require.ErrorContains(t, err, "SetTTL")
		_, err = a.cache.Get(ctx, k, func(context.Context, string) (string, error) { return "", ErrNotFound })
		require.ErrorIs(t, err, ErrNotFound)
		for _, p := range w.procs {
			e, ok, err := p.cache.Lookup(ctx, k)
			require.NoError(t, err)
			require.False(t, ok)
			require.True(t, e.NotFound)
		}
	})
}
