package covey

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// So it is with copies, whatever else has happened to their keys.
func TestSelfCheckOfCopies(t *testing.T) {
	load := func(context.Context, string) (string, error) { return "loaded", nil }
	o := Options[string]{SelfCheck: 100, TTL: 20 * time.Second, TTLJitter: -1, Loader: load}
	inWorld(t, 3, o, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		keys := a.keys(20)
		use := func() {
			for range 5 {
				for _, key := range keys {
					_, err := b.cache.Get(t.Context(), key, nil)
					require.NoError(t, err)
				}
			}
		}
		for i := range 40 { // over more than a TTL
			use()
			require.NoError(t, w.procs[2].cache.Put(t.Context(), keys[i%20], "put"))
			_, err := w.procs[2].cache.Refresh(t.Context(), keys[(i+7)%20])
			require.NoError(t, err)
			require.NoError(t, a.cache.Expire(t.Context(), keys[(i+13)%20]))
			time.Sleep(time.Second)
		}
		use()
		s := b.cache.Stats()
		require.Greater(t, s.Checks, int64(100))
		require.Greater(t, s.L1Entries, int64(10))
		require.Zero(t, s.Mismatches)

		n := b.cache.store.index.find(b.cache.store.hash(keys[0]), keys[0])
		require.NotZero(t, n.flags&flagBorrowed)
		synctest.Wait()
		n.stamp++ // as if a recall had not reached it
		for range 10 {
			use()
			time.Sleep(time.Second)
		}
		require.EqualValues(t, 1, b.cache.Stats().Mismatches)
		require.NotEqual(t, n, b.cache.store.index.find(n.hash, n.key))
	})
}

// A replica that differs from what its owner has is found and dropped, and no other.
func TestSelfCheck(t *testing.T) {
	inWorld(t, 3, Options[string]{Replicas: 2, L1: -1, SelfCheck: 100}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		key := replicatedTo(a, b)
		for i := range 100 {
			require.NoError(t, a.cache.Put(t.Context(), fmt.Sprint("key", i), "put"))
		}
		require.NoError(t, a.cache.Put(t.Context(), key, "put"))
		time.Sleep(time.Second)
		use := func() {
			for range 3 {
				for i := range 100 {
					_, err := b.cache.Get(t.Context(), fmt.Sprint("key", i), nil)
					require.NoError(t, err)
				}
				v, err := b.cache.Get(t.Context(), key, nil)
				require.NoError(t, err)
				require.Equal(t, "put", v)
			}
		}
		use()
		time.Sleep(10 * time.Second)
		s := b.cache.Stats()
		require.Greater(t, s.Checks, int64(20))
		require.Zero(t, s.Mismatches)

		n := b.cache.store.index.find(b.cache.store.hash(key), key)
		synctest.Wait()
		n.stamp++ // as if a write had not reached it
		use()
		time.Sleep(10 * time.Second)
		require.EqualValues(t, 1, b.cache.Stats().Mismatches)
		require.Nil(t, b.cache.store.index.find(b.cache.store.hash(key), key))
	})
}
