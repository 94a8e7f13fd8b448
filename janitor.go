package covey

// janitor.go is what a cache does on its own: it removes what has expired, and it ends.

import (
	"fmt"
	"sync"
	"time"
)

// wakeJanitor is called when there is something that will expire. A cache in which nothing expires needs no goroutine.
func (c *Cache[V]) wakeJanitor() {
	if c.closed.Load() {
		return
	}
	c.janitor.Do(func() { c.wg.Go(c.runJanitor) })
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// runJanitor ticks while there is something that will expire.
func (c *Cache[V]) runJanitor() {
	tick := tickFor(c.opt.TTL)
	for {
		select {
		case <-c.stop:
			return
		case <-c.wake:
		}
		ticker := time.NewTicker(tick)
		for timed := true; timed; {
			select {
			case <-c.stop:
				ticker.Stop()
				return
			case <-ticker.C:
				timed = c.tick()
			}
		}
		ticker.Stop()
	}
}

// tick sets the coarse clock and removes what has expired. It reports whether anything is left that will.
func (c *Cache[V]) tick() (timed bool) {
	s := c.store
	now := s.clock.tick()
	for {
		s.mu.Lock()
		if c.closed.Load() {
			s.mu.Unlock()
			return false
		}
		gone, more := s.expire(now, nil)
		if s.lru != nil {
			s.lru.refile(batch)
		}
		_, timed = s.wheel.next()
		s.mu.Unlock()
		c.departed(gone)
		if !more {
			return timed
		}
	}
}

// closeSegment ends the flights of a segment, which is locked.
func (c *Cache[V]) closeSegment(k *keyed[V]) {
	var open []*flight[V]
	for _, f := range k.flights {
		open = append(open, f)
	}
	for f := range k.detached {
		open = append(open, f)
	}
	var zero V
	for _, f := range open {
		c.end(f)
		c.land(f, zero, c.errClosed())
		if f.bulk != nil {
			f.bulk.cancel(c.errClosed())
		}
	}
}

// waitGoroutines waits for the janitor and the loads.
func (c *Cache[V]) waitGoroutines() error {
	if !waitGrace(&c.wg) {
		return fmt.Errorf("covey: cache %q: a loader still runs %v after Close has cancelled its context", c.name, closeGrace)
	}
	return nil
}

// waitGrace waits for goroutines that have been told to end, for closeGrace at most, and reports whether they have.
func waitGrace(wg *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
