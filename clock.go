package covey

// clock.go tells the time in two ways: exactly, and almost for free.

import (
	"sync/atomic"
	"time"
)

// A clock counts nanoseconds on the monotonic clock from a little before its start, so that a time is
// always positive. coarse is a time that was read before: a hit compares with it first, and reads the
// exact time only if its entry has less left than its guard (see guardOf).
//
// The janitor reads the time at every tick, and a few of the hits do. Where the janitor comes late, since
// there is too much to do or the process has stood still, anybody else who reads the time sets coarse, too.
type clock struct {
	start  time.Time
	coarse atomic.Int64
}

// coarseStep is how far coarse has to be behind to be set, which others then have to read anew.
const coarseStep = int64(time.Millisecond)

func newClock() *clock {
	c := &clock{start: time.Now().Add(-time.Second)}
	c.now()
	return c
}

// now returns the exact time.
func (c *clock) now() int64 {
	was := c.coarse.Load()
	now := int64(time.Since(c.start))
	if now-was >= coarseStep {
		c.coarse.CompareAndSwap(was, now) // if that fails, somebody else has set it
	}
	return now
}
