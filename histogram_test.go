package covey

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/coveycache/covey/internal/timing"
	"github.com/stretchr/testify/require"
)

func TestHistogramAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var one timer
		var all []time.Duration
		var sum time.Duration
		for range 1 + r.IntN(1000) {
			d := time.Duration(math.Exp(r.Float64() * 30)) // up to three hours
			one.add(d)
			all = append(all, d)
			sum += d
		}
		slices.Sort(all)
		h := one.snapshot()
		require.EqualValues(t, len(all), h.Count())
		require.Equal(t, sum, h.Sum())
		for _, q := range []float64{-1, 0, 0.1, 0.5, 0.9, 0.99, 1, 2} {
			at := int(math.Ceil(min(max(q, 0), 1) * float64(len(all))))
			want := all[max(at-1, 0)]
			require.InDelta(t, want, h.Quantile(q), float64(want)/8+float64(time.Microsecond)/2, q)
		}
		twice := h
		twice.Add(h)
		require.Equal(t, 2*h.Count(), twice.Count())
		require.Equal(t, h.Quantile(1), twice.Quantile(1))
	}
}

func TestHistogramBuckets(t *testing.T) {
	var h Histogram
	require.Zero(t, h.Quantile(0.5))
	i, last := 0, time.Duration(0)
	for end := range h.Buckets() {
		require.Greater(t, end, last)
		require.Equal(t, i, timing.Bucket(end-1))
		require.Equal(t, min(i+1, timing.Buckets-1), timing.Bucket(end))
		i, last = i+1, end
	}
	require.Equal(t, timing.Buckets, i)
	require.Zero(t, timing.Bucket(-time.Second))
	require.Equal(t, timing.Buckets-1, timing.Bucket(math.MaxInt64))
}
