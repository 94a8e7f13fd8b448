package covey

// bits_test.go tests what could overflow an int of 32 bits; `make test-386` runs it where it has so
// many.

import (
	"math"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLargestSizes(t *testing.T) {
	sizes := map[string]int{"largest": math.MaxInt32, "beyond": math.MaxInt, "one": 1}
	c := newCache(t, Options[string]{
		MaxBytes: 5 << 30, MaxValueBytes: math.MaxInt32,
		Size: func(key, _ string) int { return sizes[key] },
	})
	put := func(key string) error { return c.Put(t.Context(), key, "v") }
	require.NoError(t, put("largest"))
	require.Greater(t, c.Stats().Bytes, int64(math.MaxInt32))
	require.Less(t, c.Stats().Bytes, int64(math.MaxInt32)+1000)
	if math.MaxInt > math.MaxInt32 {
		require.ErrorIs(t, put("beyond"), ErrTooLarge)
	}
	require.NoError(t, put("one"))
	require.True(t, c.Contains("largest"))
	require.NoError(t, c.SetMaxBytes(math.MaxInt32))
	require.False(t, c.Contains("largest"))
	require.True(t, c.Contains("one"))
}

// A value that is too large to be borrowed does not push out what is.
func TestLargestCopy(t *testing.T) {
	var size atomic.Int64
	o := Options[string]{Size: func(string, string) int { return int(size.Load()) }}
	inWorld(t, 2, o, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		keys := a.keys(2)
		small, large := keys[0], keys[1]
		require.NoError(t, a.cache.Put(t.Context(), small, "v"))
		require.NoError(t, a.cache.Put(t.Context(), large, "v"))
		borrowAt(t, b, small)
		size.Store(math.MaxInt)
		for range 100 {
			_, err := b.cache.Get(t.Context(), large, nil)
			require.NoError(t, err)
		}
		require.True(t, b.cache.Contains(small))
		require.False(t, b.cache.Contains(large))
	})
}

func TestLongestAgeOverHTTP(t *testing.T) {
	w := httptest.NewRecorder()
	(&plainEntry{age: maxTTL, ttl: maxTTL}).head(w.Header())
	require.Equal(t, "3153600000", w.Header().Get("Age"))
	require.Equal(t, "max-age=3153600000", w.Header().Get("Cache-Control"))
}
