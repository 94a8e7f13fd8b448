package sim

// sieve.go is SIEVE (Zhang et al., "SIEVE is Simpler than LRU: an Efficient
// Turn-Key Eviction Algorithm for Web Caches", NSDI 2024).

import "github.com/coveycache/covey/benchmarks/internal/trace"

type sieve struct {
	*list
	visited  []bool
	hand     uint32
	capacity int
}

func newSieve(t *trace.Trace, capacity int) *sieve {
	return &sieve{newLists(t.Unique).new(), make([]bool, t.Unique), none, capacity}
}

func (s *sieve) Access(key uint32) bool {
	if s.where(key) != nil {
		s.visited[key] = true
		return true
	}
	if s.len == s.capacity {
		s.evict()
	}
	s.push(key)
	s.visited[key] = false
	return false
}

func (s *sieve) evict() {
	k := s.hand
	if k == none {
		k = s.oldest
	}
	for s.visited[k] {
		s.visited[k] = false
		if k = s.newer[k]; k == none {
			k = s.oldest
		}
	}
	s.hand = s.newer[k]
	s.remove(k)
}
