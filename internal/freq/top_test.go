package freq

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hashOf is the same in every run.
func hashOf(key string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	return h.Sum64() * 0x9E3779B97F4A7C15
}

// At one owner of a million keys that are asked for as Zipf's law says, the top is known, and how
// often it is asked for.
func TestTopUnderZipf(t *testing.T) {
	const (
		keys   = 1_000_000
		skew   = 1.01
		second = int64(time.Second)
		perSec = 30_000
		lasts  = 13 // s: the last window has been counted for 3 s
	)
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), skew, 1, keys-1)
	h := NewTop(0)
	asked := make([]float64, 100) // within what the rates are about: the window before and the current one
	for i := range int64(perSec * lasts) {
		k, now := zipf.Uint64(), i*second/perSec
		key := fmt.Sprint("user:", k)
		h.Add(hashOf(key), key, 1, now)
		if k < uint64(len(asked)) && now >= 5*second {
			asked[k] += 1 / float64(lasts-5)
		}
	}
	top := h.Top(20, lasts*second)
	require.Len(t, top, 20)
	found := 0
	for i, hot := range top {
		if i > 0 {
			require.GreaterOrEqual(t, top[i-1].Rate, hot.Rate)
		}
		for k, rate := range asked[:20] {
			if hot.Key == fmt.Sprint("user:", k) {
				found++
				require.InEpsilon(t, rate, hot.Rate, 0.2, "%s", hot.Key)
			}
		}
	}
	t.Logf("%d of the top 20", found)
	require.GreaterOrEqual(t, found, 18)
}

func TestTopWindows(t *testing.T) {
	const second = int64(time.Second)
	h := NewTop(100 * second)
	at := func(s float64) int64 { return 100*second + int64(s*float64(second)) }
	ask := func(key string, perSec int, from, to float64) {
		for s := from; s < to; s += 0.1 {
			h.Add(hashOf(key), key, uint64(perSec)/10, at(s))
		}
	}
	require.Empty(t, h.Top(10, at(0)))
	ask("a", 100, 0, 1)
	require.InDelta(t, 100, h.Top(1, at(1))[0].Rate, 10)
	ask("a", 100, 1, 7)
	require.InDelta(t, 100, h.Top(1, at(7))[0].Rate, 10, "a new window has begun")
	ask("b", 1000, 7, 8)
	top := h.Top(10, at(8))
	require.Equal(t, []string{"b", "a"}, []string{top[0].Key, top[1].Key})
	require.Len(t, top, 2)
	require.Len(t, h.Top(1, at(8)), 1)
	require.Empty(t, h.Top(0, at(8)))
	ask("a", 100, 8, 16)
	require.Equal(t, "a", h.Top(10, at(16))[0].Key, "b is of the past")
	require.InDelta(t, 100, h.Top(10, at(16))[0].Rate, 10)
	require.Empty(t, h.Top(10, at(30)), "there has been silence")
	h.Add(1, "c", 1, at(29)) // the clocks of the callers are read before the lock is taken
	require.Len(t, h.Top(10, at(29)), 1)

	long := strings.Repeat("k", 1000)
	h.Add(hashOf(long), long, 1000, at(32))
	require.Equal(t, long[:MaxKey], h.Top(1, at(32))[0].Key)
}

func TestTopMemory(t *testing.T) {
	const n = 20
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var all []*Top
	for range n {
		h := NewTop(0)
		for i := range 8 * counters {
			key := fmt.Sprintf("%0200d", i)
			h.Add(hashOf(key), key, 1, int64(i)*2*window/(8*counters))
		}
		require.Len(t, h.before, counters)
		require.Len(t, h.now.counters, counters)
		all = append(all, h)
	}
	each := int64(heap()-before) / n
	t.Logf("%d bytes", each)
	require.LessOrEqual(t, each, int64(256<<10))
	runtime.KeepAlive(all)
}

func TestTopConcurrently(t *testing.T) {
	h := NewTop(0)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 1000 {
				key := fmt.Sprint(j % (50 * (i + 1)))
				h.Add(hashOf(key), key, 1, int64(j)*window/2000)
				if j%100 == 0 {
					_ = h.Top(10, int64(j)*window/2000)
				}
			}
		})
	}
	wg.Wait()
	total := 0.0
	for _, hot := range h.Top(1000, window/2) {
		total += hot.Rate
	}
	require.Positive(t, total)
}
