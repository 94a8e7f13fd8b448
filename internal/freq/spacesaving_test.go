package freq

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// check compares the counters with the true numbers of requests, and the heap with its rules.
func (s *spaceSaving) check(t *testing.T, truth map[uint64]uint64) {
	t.Helper()
	all, sum := uint64(0), uint64(0)
	for _, n := range truth {
		all += n
	}
	require.LessOrEqual(t, len(s.counters), counters)
	require.Len(t, s.index, len(s.counters))
	require.Len(t, s.heap, len(s.counters))
	for i, c := range s.counters {
		require.Equal(t, i, s.index[c.hash])
		require.EqualValues(t, i, s.heap[c.at])
		require.False(t, c.at > 0 && c.count < s.counters[s.heap[(c.at-1)/2]].count, "the smallest is first")
		require.LessOrEqual(t, truth[c.hash], c.count)
		require.GreaterOrEqual(t, truth[c.hash]+c.err, c.count)
		require.LessOrEqual(t, c.err, all/counters)
		sum += c.count
	}
	require.Equal(t, all, sum)
	for hash, n := range truth {
		if _, counted := s.index[hash]; n > all/counters {
			require.True(t, counted, "%d of %d requests are not counted", n, all)
		}
	}
}

func TestSpaceSaving(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		zipf := rand.NewZipf(rng, 1.01+float64(seed)/2, 1, 20*counters)
		var s spaceSaving
		truth := make(map[uint64]uint64)
		for i := range 20_000 {
			hash, n := zipf.Uint64()*7919, uint64(1)
			if rng.IntN(10) == 0 {
				n = rng.Uint64N(64)
			}
			s.add(hash, fmt.Sprint(hash), n)
			truth[hash] += n
			if i%5000 == 100 {
				s.check(t, truth)
			}
		}
		s.check(t, truth)
		for _, c := range s.counters {
			require.Equal(t, fmt.Sprint(c.hash), c.key)
		}
	}
}
