package freq

import "math"

// A Sketch estimates how often keys were asked for of late: a count-min sketch
// of four-bit counters with conservative update, whose counts are halved from
// time to time. It is not safe for concurrent use. The zero value has no room: call Resize first.
type Sketch struct {
	words []uint64 // sixteen counters each
	added int
	limit int // of added, until the counts are halved
}

// Resize makes room for n entries, forgetting what it knew if it has to grow:
// half a word for each, and a quarter more for what is to come.
func (s *Sketch) Resize(n int) {
	if 2*len(s.words) < n {
		s.words, s.added = make([]uint64, n/2+n/8+16), 0
	}
	s.limit = max(10*n, 100)
}

// cell returns where the i-th of a key's four counters is.
func (s *Sketch) cell(hash uint32, i uint32) (word int, shift uint32) {
	x := uint64(hash)*0x9E3779B97F4A7C15 + uint64(i)*0xC2B2AE3D27D4EB4F
	x = (x ^ x>>32) * 0xD6E8FEB86659FD93
	x ^= x >> 32
	return int(x & math.MaxUint32 * uint64(len(s.words)) >> 32), uint32(x>>60) * 4
}

// Count returns the estimate for a key, up to 15.
func (s *Sketch) Count(hash uint32) uint64 {
	least := uint64(15)
	for i := range uint32(4) {
		w, sh := s.cell(hash, i)
		least = min(least, s.words[w]>>sh&15)
	}
	return least
}

// Add counts n requests for a key.
func (s *Sketch) Add(hash uint32, n uint32) {
	to := min(s.Count(hash)+uint64(n), 15)
	for i := range uint32(4) {
		w, sh := s.cell(hash, i)
		if c := s.words[w] >> sh & 15; c < to {
			s.words[w] += (to - c) << sh
		}
	}
	if s.added += int(n); s.added >= s.limit {
		s.added /= 2
		for i := range s.words {
			s.words[i] = s.words[i] >> 1 & 0x7777777777777777
		}
	}
}

// Bytes returns what the sketch holds in memory.
func (s *Sketch) Bytes() int64 { return int64(8 * len(s.words)) }
