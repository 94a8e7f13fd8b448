package covey

// histogram.go counts durations so that quantiles can be told of them.

import (
	"iter"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// A Histogram is a snapshot of how long something took, how often. Its buckets are log-linear: four
// of equal width to each power of two from 4 µs on, and one for each microsecond below. It may be
// copied and compared.
type Histogram struct {
	counts [buckets]int64
	count  int64
	sum    time.Duration
}

// buckets reach up to 38 hours; the last one has everything from there on.
const buckets = 4 * 36

// bucketOf returns the bucket of d.
func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < 4 {
		return int(us)
	}
	power := bits.Len64(us) - 1
	quarter := us >> (power - 2) & 3
	return min(4*(power-1)+int(quarter), buckets-1)
}

// bucketEnd returns the duration at which bucket i ends; that itself is in the next one.
func bucketEnd(i int) time.Duration {
	if i < 4 {
		return time.Duration(i+1) * time.Microsecond
	}
	return time.Duration(4+i%4+1) << (i/4 - 1) * time.Microsecond
}

// Count returns how many durations there are.
func (h *Histogram) Count() int64 { return h.count }

// Sum returns the sum of all durations.
func (h *Histogram) Sum() time.Duration { return h.sum }

// Quantile returns the duration that a share q of all durations does not exceed, 0.99 for the 99th
// percentile, to within an eighth of itself or half a microsecond. q below 0 is 0, and above 1 it
// is 1. If there are no durations the quantile is 0.
func (h *Histogram) Quantile(q float64) time.Duration {
	left := int64(math.Ceil(min(max(q, 0), 1) * float64(h.count)))
	for i, n := range h.counts {
		if left -= n; n > 0 && left <= 0 {
			start := time.Duration(0)
			if i > 0 {
				start = bucketEnd(i - 1)
			}
			return (start + bucketEnd(i)) / 2
		}
	}
	return 0
}

// Buckets returns the buckets from the shortest durations to the longest: where each ends, and how
// many durations are in it.
func (h *Histogram) Buckets() iter.Seq2[time.Duration, int64] {
	return func(yield func(time.Duration, int64) bool) {
		for i, n := range h.counts {
			if !yield(bucketEnd(i), n) {
				return
			}
		}
	}
}

// Add adds the durations of other, of another process or cache.
func (h *Histogram) Add(other Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.count += other.count
	h.sum += other.sum
}

// A timer is a Histogram in the making.
type timer struct {
	counts [buckets]atomic.Int64
	sum    atomic.Int64
}

func (t *timer) add(d time.Duration) {
	t.counts[bucketOf(d)].Add(1)
	t.sum.Add(int64(d))
}

func (t *timer) snapshot() (h Histogram) {
	for i := range t.counts {
		h.counts[i] = t.counts[i].Load()
		h.count += h.counts[i]
	}
	h.sum = time.Duration(t.sum.Load())
	return h
}
