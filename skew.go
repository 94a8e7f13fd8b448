package covey

// skew.go notices that the monotonic clock has stood still: in a machine that was suspended, or a
// virtual one that was paused. The wall clock is set right afterwards.

import (
	"sync"
	"sync/atomic"
	"time"
)

// A skew is by how much the wall clock has run ahead of the monotonic clock since start, in jumps.
// What ends by the later of the two clocks is counted in monotonic time plus ahead: TTLs and the
// leases that this process holds. What others rely on ends by monotonic time: a wall clock that
// somebody sets forward must not end it.
type skew struct {
	start time.Time
	ahead atomic.Int64

	mu   sync.Mutex
	seen int64 // by how much it was ahead when last looked at, jumps back included
}

const (
	leastJump = int64(50 * time.Millisecond) // what is less may be a correction of the wall clock
	mostJump  = int64(365 * 24 * time.Hour)  // a clock that was never set may jump by decades, and times would overflow
)

func newSkew() *skew {
	s := &skew{start: time.Now()}
	s.seen = s.look()
	return s
}

// now returns the time since start by the later clock.
func (s *skew) now() int64 { return int64(time.Since(s.start)) + s.ahead.Load() }

// follow looks for a jump. It is called at each keep-alive, and at each tick of a cache.
func (s *skew) follow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.look()
	if jump := seen - s.seen; jump >= leastJump {
		s.ahead.Add(min(jump, mostJump))
	}
	s.seen = seen
}

// look compares the clocks. time.Now reads the wall clock first: a thread that has to wait before
// it reads the other makes the difference too small. It does not have to each time.
func (s *skew) look() int64 {
	ahead := int64(-1 << 63)
	for range 3 {
		now := time.Now()
		ahead = max(ahead, now.UnixNano()-int64(now.Sub(s.start)))
	}
	return ahead
}
