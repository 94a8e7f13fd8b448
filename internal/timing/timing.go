// Package timing counts durations by how long they are: log-linear buckets, four of equal width to
// each power of two from 4 µs on, and one for each microsecond below.
package timing

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets is how many there are. They reach up to 38 hours; the last one has everything from there
// on.
const Buckets = 4 * 36

// Bucket returns the bucket of d.
func Bucket(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < 4 {
		return int(us)
	}
	power := bits.Len64(us) - 1
	quarter := us >> (power - 2) & 3
	return min(4*(power-1)+int(quarter), Buckets-1)
}

// End returns the duration at which bucket i ends; that itself is in the next one.
func End(i int) time.Duration {
	if i < 4 {
		return time.Duration(i+1) * time.Microsecond
	}
	return time.Duration(4+i%4+1) << (i/4 - 1) * time.Microsecond
}

// Counts are durations that have been counted.
type Counts struct {
	N   [Buckets]int64 // by bucket
	Sum time.Duration  // of all
}

// Count returns how many there are.
func (c *Counts) Count() (n int64) {
	for _, one := range c.N {
		n += one
	}
	return n
}

// A Timer counts durations. Its methods may be called concurrently; the zero value is ready.
type Timer struct {
	counts [Buckets]atomic.Int64
	sum    atomic.Int64
}

// Add counts a duration.
func (t *Timer) Add(d time.Duration) {
	t.counts[Bucket(d)].Add(1)
	t.sum.Add(int64(d))
}

// AddTo adds what has been counted to c.
func (t *Timer) AddTo(c *Counts) {
	for i := range t.counts {
		c.N[i] += t.counts[i].Load()
	}
	c.Sum += time.Duration(t.sum.Load())
}
