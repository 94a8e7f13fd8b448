package covey

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// bury deletes keys that are not there, with a version.
func bury[V any](t testing.TB, c *Cache[V], from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		require.NoError(t, c.Delete(t.Context(), fmt.Sprint("gone", i), DeletedAt(5)))
	}
}

// isBuried reports whether the cache remembers that key was deleted.
func isBuried[V any](c *Cache[V], i int) bool {
	_, ok := c.store.tombs.known(fmt.Sprint("gone", i))
	return ok
}

func TestTombstonesOfLongKeys(t *testing.T) {
	c := newCache(t, Options[int]{MaxBytes: 1 << 20})
	before := heapInUse()
	for i := range 1000 {
		key := fmt.Sprint(i, strings.Repeat("k", MaxKeyLen-8))
		require.NoError(t, c.Delete(t.Context(), key, DeletedAt(5)))
		require.ErrorIs(t, c.Put(t.Context(), key, 1, WithVersion(4)), ErrOutdated)
	}
	require.Less(t, heapInUse()-before, int64(1<<20))
	runtime.KeepAlive(c)
}

func TestTombstonesAgainstHeap(t *testing.T) {
	for _, n := range []int{1000, 20_000, 50_000, 200_000} {
		c := newCache(t, Options[int]{MaxEntries: 10})
		for i := range 2 * maxEvents { // the latest events take some memory, too
			require.NoError(t, c.Delete(t.Context(), fmt.Sprint("before", i)))
		}
		before := liveHeap()
		bury(t, c, 0, n)
		held := liveHeap() - before
		t.Logf("%d: %.0f B, accounted %d B", n, held, c.Stats().Bytes)
		require.InDelta(t, 1, held/float64(c.Stats().Bytes), 0.3)
		runtime.KeepAlive(c)
	}
}

// Tombstones make room for themselves, and leave the rest of the cache to entries.
func TestTombstonesWithinMaxBytes(t *testing.T) {
	const maxBytes = 1 << 16
	c := newCache(t, Options[int]{MaxBytes: maxBytes, Eviction: LRU})
	put := func() {
		for i := range 1000 {
			require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), i))
			require.LessOrEqual(t, c.Stats().Bytes, int64(maxBytes))
		}
	}
	put()
	full := c.Len()
	for i := range 1000 {
		bury(t, c, i, i+1)
		require.True(t, isBuried(c, i))
		require.LessOrEqual(t, c.Stats().Bytes, int64(maxBytes))
	}
	put()
	require.Less(t, c.Len(), full)
	require.Greater(t, c.Len(), full*(tombstoneShare-1)/tombstoneShare-2)
	require.Equal(t, maxBytes/tombstoneShare/tombstoneBytes, len(c.store.tombs.at))
	require.NoError(t, c.SetMaxBytes(maxBytes/2))
	require.LessOrEqual(t, c.Stats().Bytes, int64(maxBytes/2))
	n := maxBytes / 2 / tombstoneShare / tombstoneBytes
	require.True(t, isBuried(c, 1000-n))
	require.False(t, isBuried(c, 1000-n-1), "the oldest are forgotten")
	require.NoError(t, c.Clear(t.Context()))
	require.Zero(t, c.Stats().Bytes)
	require.NoError(t, c.SetMaxBytes(1))
	bury(t, c, 0, 9)
	require.Zero(t, c.Stats().Bytes)
}

func TestOldestTombstonesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{})
		bury(t, c, 0, maxTombstones)
		for i := range 10 { // these are now the newest ones
			require.NoError(t, c.Delete(t.Context(), fmt.Sprint("gone", i), DeletedAt(6)))
		}
		require.NoError(t, c.Put(t.Context(), "gone10", 1, WithVersion(6)), "and this one is free")
		require.False(t, isBuried(c, 10))
		bury(t, c, maxTombstones, maxTombstones+3)
		for i := range 10 {
			require.True(t, isBuried(c, i))
		}
		require.False(t, isBuried(c, 11))
		require.False(t, isBuried(c, 12))
		require.True(t, isBuried(c, 13))

		time.Sleep(time.Duration(tombstoneTime))
		require.False(t, isBuried(c, 13))
		bury(t, c, 0, 1)
		for i := range maxTombstones / buryAtOnce { // any writes
			require.NoError(t, c.Put(t.Context(), "k", i))
		}
		require.Len(t, c.store.tombs.at, 1)
		require.True(t, isBuried(c, 0))
		require.NoError(t, c.Put(t.Context(), "gone0", 1, WithVersion(6)))
		require.Zero(t, c.store.tombs.bytes.Load(), "the memory of the last one is given back")
	})
}

// A versioned Delete costs the same with as many tombstones as there can be.
func TestTombstonesCostNoMoreWhenThereAreMany(t *testing.T) {
	perBatch := func(c *Cache[int], from int) time.Duration {
		best := time.Hour
		for i := range 100 {
			keys := make([]string, 100)
			for j := range keys {
				keys[j] = fmt.Sprint("other", from+i*100+j)
			}
			begin := time.Now()
			for _, key := range keys {
				_ = c.Delete(t.Context(), key, DeletedAt(5))
			}
			best = min(best, time.Since(begin))
		}
		return best
	}
	few, many := newCache(t, Options[int]{}), newCache(t, Options[int]{})
	bury(t, many, 0, 2*maxTombstones)
	perBatch(few, 0)
	require.Less(t, perBatch(many, 0), 8*perBatch(few, 0)+50*time.Microsecond)
}
