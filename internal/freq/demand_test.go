package freq

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDemand(t *testing.T) {
	for _, bytes := range []int64{-1 << 63, -1, 0, 1, 1 << 10, 1 << 15, 1<<20 - 1, 1 << 20, 64 << 20, 1 << 40, 1<<63 - 1} {
		words := len(NewDemand(bytes).words)
		require.Equal(t, 0, words&(words-1), "%d is a power of two", words)
		require.GreaterOrEqual(t, words, 256)
		require.LessOrEqual(t, words, 1<<20)
		if bytes >= 1<<15 {
			require.LessOrEqual(t, int64(8*words), bytes/16)
		}
	}

	d := NewDemand(0)
	rng := rand.New(rand.NewPCG(3, 4))
	zipf := rand.NewZipf(rng, 1.2, 1, 1000)
	truth := make(map[uint32]uint32)
	for range demandAge*len(d.words) - 1 {
		hash := uint32(hashOf(fmt.Sprint(zipf.Uint64())))
		truth[hash]++
		require.GreaterOrEqual(t, d.Add(hash, 1), min(truth[hash], uint32(Max)), "it never says too little")
	}
	var over []uint32
	hottest := uint32(0)
	for hash, n := range truth {
		require.GreaterOrEqual(t, d.Of(hash), min(n, uint32(Max)))
		over = append(over, d.Of(hash)-min(n, uint32(Max)))
		if n > truth[hottest] {
			hottest = hash
		}
	}
	slices.Sort(over)
	require.LessOrEqual(t, over[len(over)/2], uint32(1), "nor far too much")
	require.EqualValues(t, Max, d.Of(hottest))
	d.bar.Store(100)
	d.Add(hottest, 1) // one more, and they age
	require.EqualValues(t, Max/2, d.Of(hottest))
	require.EqualValues(t, 50, d.bar.Load(), "the bar is in the same units")
	require.EqualValues(t, Max, d.Add(hottest, 1<<31))
	require.Zero(t, testing.AllocsPerRun(100, func() { d.Add(hottest, 1) }))
}

func TestDemandConcurrently(t *testing.T) {
	d := NewDemand(0)
	var wg sync.WaitGroup
	for caller := range 4 {
		wg.Go(func() {
			for i := range 100 * len(d.words) {
				d.Add(uint32(caller*i), 1)
				d.Leaves(uint32(i))
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, d.Bar(), uint32(Max+1))
}
