package covey

// janitor.go is what a cache does on its own: it removes what has expired, and it ends.

import (
	"fmt"
	"sync"
	"time"
)

// wakeJanitor is called when there is something that will expire. A cache in which nothing expires
// needs no goroutine.
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

// A tick is how often the coarse clock is set and what has expired is removed: a small part of the
// shortest life that the options give to an entry, within bounds.
const (
	ticksOfLife = 64
	minTick     = 16 * time.Millisecond
	maxTick     = 256 * time.Millisecond
)

func (o *Options[V]) tick() time.Duration {
	tick := maxTick
	for _, life := range []time.Duration{o.TTL, o.IdleTTL, o.NegativeTTL} {
		if life > 0 {
			tick = min(tick, life/ticksOfLife)
		}
	}
	return max(tick, minTick)
}

// runJanitor ticks while there is something that will expire.
func (c *Cache[V]) runJanitor() {
	for {
		select {
		case <-c.stop:
			return
		case <-c.wake:
		}
		ticker := time.NewTicker(c.opt.tick())
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

// tick sets the coarse clock and has what has expired removed. It reports whether anything is left
// that will expire. It waits for no function of the user's: the clock would stand still.
func (c *Cache[V]) tick() (timed bool) {
	s := c.store
	s.clock.skew.follow()
	now := s.clock.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.lru != nil {
		s.lru.refile(batch)
	}
	at, timed := s.wheel.next()
	if timed && at <= now && c.sweeping.CompareAndSwap(false, true) {
		c.wg.Go(func() {
			defer c.sweeping.Store(false)
			c.expire(now)
		})
	}
	return timed
}

// expire removes what has expired by now, a batch at a time.
func (c *Cache[V]) expire(now int64) {
	for more := true; more; {
		var gone []departure
		c.store.mu.Lock()
		gone, more = c.store.expire(now, nil)
		c.store.mu.Unlock()
		c.departed(gone)
	}
}

// empty takes everything out of a cache that is closed, for good, and returns the tables that have
// had it.
func (c *Cache[V]) empty() (dropped []*table) {
	store := c.store
	store.mu.Lock()
	store.closed = true
	for i := range c.shards {
		s := c.lockAt(i)
		s.close()
		s.unlock()
	}
	dropped = c.drop()
	store.tombs.clear()
	store.mu.Unlock()
	store.gen.Add(1)
	c.copies.empty()
	return dropped
}

// close ends all flights.
func (s *shard[V]) close() {
	var open []*flight[V]
	for _, f := range s.flights {
		open = append(open, f)
	}
	for f := range s.detached {
		open = append(open, f)
	}
	var zero V
	closed := s.c.errClosed()
	for _, f := range open {
		s.end(f)
		if r := f.right; r != nil && r.isHolder { // others wait for what it was to bring
			p := s.c.peering
			p.c.wg.Go(func() { p.giveBack(r, f.key, closed) })
		}
		s.c.land(f, zero, closed)
		if f.bulk != nil {
			f.bulk.cancel(closed)
		}
	}
}

// waitGoroutines waits for the janitor and the loads, and then for what they have logged.
func (c *Cache[V]) waitGoroutines() error {
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	if !waitGrace(&c.wg, timer) {
		return fmt.Errorf("covey: cache %q: a loader or a function of Events still runs %v after Close", c.name, closeGrace)
	}
	if c.breakers != nil {
		if err := c.breakers.flush("Events.Breaker", timer); err != nil {
			return err
		}
	}
	return flushLogs(c.opt.Logger, timer)
}

// waitGrace waits for goroutines that have been told to end, until the timer fires at most, and
// reports whether they have.
func waitGrace(wg *sync.WaitGroup, timer *time.Timer) bool {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
