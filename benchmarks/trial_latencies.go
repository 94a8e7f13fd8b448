package main

// trial_latencies.go counts how long calls took, to a sixteenth.

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// latencyBuckets are enough for 2^27 us, which is two minutes.
const latencyBuckets = 16 * 24

type latencies struct {
	most   atomic.Int64 // us
	counts [latencyBuckets]atomic.Uint32
}

func (l *latencies) add(d time.Duration) {
	us := max(0, d.Microseconds())
	l.counts[latencyBucket(uint64(us))].Add(1)
	for {
		most := l.most.Load()
		if us <= most || l.most.CompareAndSwap(most, us) {
			return
		}
	}
}

// latencyBucket: below 16 us each has its own; above, 16 share each power of two.
func latencyBucket(us uint64) int {
	if us < 16 {
		return int(us)
	}
	k := bits.Len64(us) - 5
	return min(16*k+int(us>>k), latencyBuckets-1)
}

// latencyBound returns the longest time of a bucket, in us.
func latencyBound(bucket int) int64 {
	if bucket < 32 {
		return int64(bucket)
	}
	k := bucket/16 - 1
	return int64(bucket%16+17)<<k - 1
}

// A spread is the sum of latencies.
type spread struct {
	n, most int64
	counts  [latencyBuckets]int64
}

func (s *spread) add(l *latencies) {
	s.most = max(s.most, l.most.Load())
	for i := range l.counts {
		n := int64(l.counts[i].Load())
		s.n += n
		s.counts[i] += n
	}
}

// quantile returns a bound in ms that the share q of the calls have kept. 0 if there were none.
func (s *spread) quantile(q float64) float64 {
	rank, seen := int64(q*float64(s.n)), int64(0)
	for i, n := range s.counts {
		if seen += n; seen > rank {
			return float64(min(latencyBound(i), s.most)) / 1e3
		}
	}
	return float64(s.most) / 1e3
}
