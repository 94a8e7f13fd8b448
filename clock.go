package covey

// clock.go tells the time in two ways: exactly, and almost for free.

import (
	"sync/atomic"
	"time"
)

// A clock counts nanoseconds from a little before its start, so that a time is always positive, by
// the later of the monotonic clock and the wall clock. coarse is a time that was read before: a hit
// compares with it first, and reads the exact time only if its entry has less left than its guard
// (see guardOf).
//
// The janitor reads the time at every tick, and a few of the hits do. Where the janitor comes late,
// since there is too much to do or the process has stood still, anybody else who reads the time
// sets coarse, too.
type clock struct {
	start  time.Time
	skew   *skew // shared with the group, if there is one
	coarse atomic.Int64
}

// coarseStep is how far coarse has to be behind to be set, which others then have to read anew.
const coarseStep = int64(time.Millisecond)

func newClock(s *skew) *clock {
	if s == nil {
		s = newSkew()
	}
	c := &clock{start: time.Now().Add(-time.Second), skew: s}
	c.now()
	return c
}

// now returns the exact time.
func (c *clock) now() int64 {
	was := c.coarse.Load()
	now := c.steady() + c.skew.ahead.Load()
	if now-was >= coarseStep {
		c.coarse.CompareAndSwap(was, now) // if that fails, somebody else has set it
	}
	return now
}

// at returns what the wall clock was at a time of this clock, as far as it goes on as now.
func (c *clock) at(t int64) time.Time { return time.Now().Add(time.Duration(t - c.now())) }

// steady returns the exact time by the monotonic clock alone.
func (c *clock) steady() int64 { return int64(time.Since(c.start)) }
