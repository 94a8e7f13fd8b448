package covey

// histogram.go counts durations so that quantiles can be told of them.

import (
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/coveycache/covey/internal/timing"
)

// A Histogram is a snapshot of how long something took, how often. Its buckets are log-linear: four
// of equal width to each power of two from 4 µs on, and one for each microsecond below. It may be
// copied and compared. In JSON it has its sum in nanoseconds and the buckets that are not empty.
type Histogram struct {
	counts [timing.Buckets]int64
	count  int64
	sum    time.Duration
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
				start = timing.End(i - 1)
			}
			return (start + timing.End(i)) / 2
		}
	}
	return 0
}

// Buckets returns the buckets from the shortest durations to the longest: where each ends, and how
// many durations are in it.
func (h *Histogram) Buckets() iter.Seq2[time.Duration, int64] {
	return func(yield func(time.Duration, int64) bool) {
		for i, n := range h.counts {
			if !yield(timing.End(i), n) {
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

// Sub takes away the durations of earlier, which is of the same process and cache from some time
// before: what is left are those that have come since.
func (h *Histogram) Sub(earlier Histogram) {
	h.count = 0
	for i, n := range earlier.counts {
		h.counts[i] = max(0, h.counts[i]-n)
		h.count += h.counts[i]
	}
	h.sum = max(0, h.sum-earlier.sum)
}

// A histogramJSON is a Histogram in JSON.
type histogramJSON struct {
	Sum     time.Duration
	Buckets [][2]int64 // where each ends, in nanoseconds, and how many are in it
}

// MarshalJSON implements json.Marshaler.
func (h Histogram) MarshalJSON() ([]byte, error) {
	j := histogramJSON{Sum: h.sum, Buckets: [][2]int64{}}
	for i, n := range h.counts {
		if n != 0 {
			j.Buckets = append(j.Buckets, [2]int64{int64(timing.End(i)), n})
		}
	}
	return json.Marshal(j)
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *Histogram) UnmarshalJSON(b []byte) error {
	var j histogramJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*h = Histogram{sum: j.Sum}
	for _, one := range j.Buckets {
		i := timing.Bucket(time.Duration(one[0]) - 1)
		if one[1] < 0 || int64(timing.End(i)) != one[0] {
			return fmt.Errorf("covey: a histogram has no bucket that ends at %d ns with %d in it", one[0], one[1])
		}
		h.counts[i] += one[1]
		h.count += one[1]
	}
	return nil
}

// histogramOf makes a Histogram of what has been counted.
func histogramOf(c *timing.Counts) Histogram {
	return Histogram{counts: c.N, count: c.Count(), sum: c.Sum}
}

// A timer is a Histogram in the making.
type timer struct{ timing.Timer }

func (t *timer) add(d time.Duration) { t.Add(d) }

func (t *timer) snapshot() Histogram {
	var c timing.Counts
	t.AddTo(&c)
	return histogramOf(&c)
}
