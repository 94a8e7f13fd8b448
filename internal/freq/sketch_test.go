package freq

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSketch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var s Sketch
	s.Resize(1000)
	counts := map[uint32]uint64{}
	for range 3000 {
		h := uint32(hashOf(fmt.Sprint(r.IntN(1000))))
		s.Add(h, 1)
		counts[h]++
	}
	for h, n := range counts {
		require.GreaterOrEqual(t, s.Count(h), min(n, 15), "a count-min sketch never counts too few")
	}
	over := 0
	for k := range 1000 {
		if s.Count(uint32(hashOf(fmt.Sprint(k+1e6)))) > 2 {
			over++
		}
	}
	require.Less(t, over, 100, "of a thousand keys never seen")
	sum := func() (sum uint64) {
		for h := range counts {
			sum += s.Count(h)
		}
		return sum
	}
	before := sum()
	s.limit = s.added + 1
	s.Add(uint32(hashOf(fmt.Sprint(1e7))), 1)
	require.InEpsilon(t, before/2, sum(), 0.3, "counts are halved")
	require.Equal(t, s.limit/2, s.added)
	require.Equal(t, int64(8*len(s.words)), s.Bytes())
}
