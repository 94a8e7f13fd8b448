package covey

// clock.go tells the time in two ways: exactly, and almost for free.

import (
	"sync/atomic"
	"time"
)

// A clock counts nanoseconds on the monotonic clock from a little before its
// start, so that a time is always positive. coarse is what now returned at the
// last tick of the janitor: a hit compares with it first, and calls now only
// when its entry has less time left than the slack that covers a late tick.
type clock struct {
	start  time.Time
	coarse atomic.Int64
}

func newClock() *clock {
	c := &clock{start: time.Now().Add(-time.Second)}
	c.tick()
	return c
}

func (c *clock) now() int64 { return int64(time.Since(c.start)) }

func (c *clock) tick() int64 {
	now := c.now()
	c.coarse.Store(now)
	return now
}
