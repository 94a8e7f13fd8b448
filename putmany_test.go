package covey

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOptionsForEachKey(t *testing.T) {
	inWorld(t, 2, Options[string]{TTL: time.Hour, TTLJitter: -1}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		x, y, z := a.key(), b.key(), b.keys(2)[1]
		ctx := t.Context()
		require.NoError(t, a.cache.PutMany(ctx, map[string]string{x: "x", y: "y", z: "z"},
			WithTTL(time.Minute), WithTTLs(map[string]time.Duration{x: time.Second, y: Forever}), WithVersions(map[string]uint64{x: 1, y: 2})))
		for key, want := range map[string]Entry[string]{
			x: {Value: "x", Version: 1, TTL: time.Second},
			y: {Value: "y", Version: 2},
			z: {Value: "z", TTL: time.Minute},
		} {
			for _, p := range w.procs {
				e, ok, err := p.cache.Lookup(ctx, key)
				require.NoError(t, err)
				require.True(t, ok)
				e.Age, e.Source = 0, 0
				require.Equal(t, want, e)
			}
		}
		err := a.cache.DeleteMany(ctx, []string{x, y, z}, DeletedAtVersions(map[string]uint64{x: 3, y: 1}))
		require.ErrorIs(t, err, ErrOutdated)
		require.ErrorContains(t, err, y)
		for key, want := range map[string]bool{x: false, y: true, z: false} {
			_, ok, err := a.cache.Lookup(ctx, key)
			require.NoError(t, err)
			require.Equal(t, want, ok, key)
		}
		require.ErrorIs(t, b.cache.Put(ctx, x, "old", WithVersion(2)), ErrOutdated)
		require.NoError(t, b.cache.Put(ctx, z, "new", WithVersion(1)))
	})
}

func TestPutNotFound(t *testing.T) {
	inWorld(t, 2, Options[string]{TTL: time.Hour, TTLJitter: -1}, func(t *testing.T, w *world) {
		a, ctx := w.procs[0], t.Context()
		for _, key := range []string{a.key(), w.procs[1].key()} {
			has := func(want time.Duration) {
				t.Helper()
				for _, p := range w.procs {
					_, err := p.cache.Get(ctx, key, w.slow(0))
					require.ErrorIs(t, err, ErrNotFound)
					e, ok, err := p.cache.Lookup(ctx, key)
					require.NoError(t, err)
					require.False(t, ok)
					require.True(t, e.NotFound)
					require.Equal(t, want, e.TTL)
				}
			}
			require.NoError(t, a.cache.Put(ctx, key, "v", WithVersion(4)))
			require.ErrorIs(t, a.cache.PutNotFound(ctx, key, WithVersion(3)), ErrOutdated)
			require.NoError(t, a.cache.PutNotFound(ctx, key, WithVersion(5)))
			has(10 * time.Second)
			require.ErrorIs(t, a.cache.Put(ctx, key, "v", WithVersion(4)), ErrOutdated, "it has a version, too")
			require.NoError(t, a.cache.PutNotFound(ctx, key, WithTTL(time.Minute)))
			has(time.Minute)
			require.NoError(t, a.cache.PutNotFound(ctx, key, WithTTL(Forever)))
			has(0)
			require.NoError(t, a.cache.PutNotFound(ctx, key, WithTTL(-1)))
			e, ok, err := a.cache.Lookup(ctx, key)
			require.NoError(t, err)
			require.False(t, ok || e.NotFound)
		}
	})
}

func TestPutNotFoundWithoutNegativeTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{NegativeTTL: -1})
		require.NoError(t, c.Put(t.Context(), "k", 1))
		require.NoError(t, c.PutNotFound(t.Context(), "k"))
		e, ok := c.Peek("k")
		require.False(t, ok || e.NotFound, "the old value is gone, and nothing is remembered")
	})
}
