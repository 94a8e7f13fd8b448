package sim

// s3fifo.go is S3-FIFO (Yang et al., "FIFO queues are all you need for cache
// eviction", SOSP 2023): a small queue of 10 %, a main one, and a ghost queue as long as main.

import "github.com/coveycache/covey/benchmarks/internal/trace"

type s3fifo struct {
	small, main, ghost               *list
	uses                             []uint8
	capacity, smallLimit, ghostLimit int
}

func newS3FIFO(t *trace.Trace, capacity int) *s3fifo {
	l := newLists(t.Unique)
	small := max(capacity/10, 1)
	return &s3fifo{l.new(), l.new(), l.new(), make([]uint8, t.Unique), capacity, small, capacity - small}
}

func (s *s3fifo) Access(key uint32) bool {
	in := s.small.where(key)
	if in == s.small || in == s.main {
		s.uses[key] = min(s.uses[key]+1, 3)
		return true
	}
	if in == s.ghost {
		s.ghost.remove(key)
	}
	for s.small.len+s.main.len >= s.capacity {
		if s.small.len == 0 || s.main.len > s.capacity-s.smallLimit {
			s.evictMain()
		} else {
			s.evictSmall()
		}
	}
	s.uses[key] = 0
	if in == s.ghost {
		s.main.push(key)
	} else {
		s.small.push(key)
	}
	return false
}

// evictSmall lets keys that were used twice move on to main, and then one leave.
func (s *s3fifo) evictSmall() {
	for s.small.len > 0 {
		key := s.small.pop()
		if s.uses[key] > 1 {
			s.uses[key] = 0
			s.main.push(key)
			continue
		}
		s.ghost.push(key)
		if s.ghost.len > s.ghostLimit {
			s.ghost.pop()
		}
		return
	}
}

// evictMain gives the oldest key as many more rounds as it was used.
func (s *s3fifo) evictMain() {
	for {
		key := s.main.oldest
		if s.uses[key] == 0 {
			s.main.pop()
			return
		}
		s.uses[key]--
		s.main.touch(key)
	}
}
