package covey

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
		n.stamp++ // as if a write had not reached it
		use()
		time.Sleep(10 * time.Second)
		require.EqualValues(t, 1, b.cache.Stats().Mismatches)
		require.Nil(t, b.cache.store.index.find(b.cache.store.hash(key), key))
	})
}
