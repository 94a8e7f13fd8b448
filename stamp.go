package covey

// stamp.go numbers what is stored in a group, by hybrid logical time (Kulkarni et al., "Logical
// Physical Clocks", 2014): a stamp is greater than any that its process has given or seen before,
// and close to the time by its clock.

import (
	"sync/atomic"
	"time"
)

// stamps gives stamps: nanoseconds since 1970, but for the low byte, which tells processes apart
// whose clocks agree.
type stamps struct {
	last atomic.Uint64
	low  uint64 // of the instance
}

const stampStep = 1 << 8

// next returns a stamp that is greater than all before.
func (s *stamps) next() uint64 {
	now := uint64(max(time.Now().UnixNano(), 0))&^(stampStep-1) | s.low
	for {
		last := s.last.Load()
		next := now
		if next <= last {
			next = last&^(stampStep-1) + stampStep | s.low
		}
		if s.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// maxAhead is how far the stamps of another process may be ahead of this one's clock, in
// nanoseconds: a peer whose clock is wrong must not carry this process's stamps away for good.
const maxAhead = uint64(time.Hour)

// isAhead reports whether a stamp is so far ahead that it is not seen.
func isAhead(stamp uint64) bool { return stamp > uint64(max(time.Now().UnixNano(), 0))+maxAhead }

// see takes note of a stamp that another process has given.
func (s *stamps) see(stamp uint64) {
	if isAhead(stamp) {
		return
	}
	for {
		last := s.last.Load()
		if stamp <= last || s.last.CompareAndSwap(last, stamp) {
			return
		}
	}
}
