package covey

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// check compares the counters with the true numbers of requests, and the heap with its rules.
func (s *spaceSaving) check(t *testing.T, truth map[uint64]uint64) {
	t.Helper()
	all, sum := uint64(0), uint64(0)
	for _, n := range truth {
		all += n
	}
	require.LessOrEqual(t, len(s.counters), hotCounters)
	require.Len(t, s.index, len(s.counters))
	require.Len(t, s.heap, len(s.counters))
	for i, c := range s.counters {
		require.Equal(t, i, s.index[c.hash])
		require.EqualValues(t, i, s.heap[c.at])
		require.False(t, c.at > 0 && c.count < s.counters[s.heap[(c.at-1)/2]].count, "the smallest is first")
		require.LessOrEqual(t, truth[c.hash], c.count)
		require.GreaterOrEqual(t, truth[c.hash]+c.err, c.count)
		require.LessOrEqual(t, c.err, all/hotCounters)
		sum += c.count
	}
	require.Equal(t, all, sum)
	for hash, n := range truth {
		if _, counted := s.index[hash]; n > all/hotCounters {
			require.True(t, counted, "%d of %d requests are not counted", n, all)
		}
	}
}

func TestSpaceSaving(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		zipf := rand.NewZipf(rng, 1.01+float64(seed)/2, 1, 20*hotCounters)
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

// At one owner of a million keys that are asked for as Zipf's law says, the top is known, and how often it is asked for.
func TestHotKeysUnderZipf(t *testing.T) {
	const (
		keys   = 1_000_000
		skew   = 1.01
		second = int64(time.Second)
		perSec = 30_000
		lasts  = 13 // s: the last window has been counted for 3 s
	)
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), skew, 1, keys-1)
	h := newHotKeys(0)
	asked := make([]float64, 100) // within what the rates are about: the window before and the current one
	for i := range int64(perSec * lasts) {
		k, now := zipf.Uint64(), i*second/perSec
		key := fmt.Sprint("user:", k)
		h.add(ringHash(key), key, 1, now)
		if k < uint64(len(asked)) && now >= 5*second {
			asked[k] += 1 / float64(lasts-5)
		}
	}
	top := h.top(20, lasts*second)
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

func TestHotKeysWindows(t *testing.T) {
	const second = int64(time.Second)
	h := newHotKeys(100 * second)
	at := func(s float64) int64 { return 100*second + int64(s*float64(second)) }
	ask := func(key string, perSec int, from, to float64) {
		for s := from; s < to; s += 0.1 {
			h.add(ringHash(key), key, uint64(perSec)/10, at(s))
		}
	}
	require.Empty(t, h.top(10, at(0)))
	ask("a", 100, 0, 1)
	require.InDelta(t, 100, h.top(1, at(1))[0].Rate, 10)
	ask("a", 100, 1, 7)
	require.InDelta(t, 100, h.top(1, at(7))[0].Rate, 10, "a new window has begun")
	ask("b", 1000, 7, 8)
	top := h.top(10, at(8))
	require.Equal(t, []string{"b", "a"}, []string{top[0].Key, top[1].Key})
	require.Len(t, top, 2)
	require.Len(t, h.top(1, at(8)), 1)
	require.Empty(t, h.top(0, at(8)))
	ask("a", 100, 8, 16)
	require.Equal(t, "a", h.top(10, at(16))[0].Key, "b is of the past")
	require.InDelta(t, 100, h.top(10, at(16))[0].Rate, 10)
	require.Empty(t, h.top(10, at(30)), "there has been silence")
	h.add(1, "c", 1, at(29)) // the clocks of the callers are read before the lock is taken
	require.Len(t, h.top(10, at(29)), 1)

	for i := range 3 * hotShown {
		h.add(uint64(i), fmt.Sprint(i), 1, at(31))
	}
	require.Len(t, h.top(1000, at(32)), hotShown)
	long := strings.Repeat("k", 1000)
	h.add(ringHash(long), long, 1000, at(32))
	require.Equal(t, long[:hotKeyLen], h.top(1, at(32))[0].Key)
}

func TestHotKeysMemory(t *testing.T) {
	const n = 20
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var all []*hotKeys
	for range n {
		h := newHotKeys(0)
		for i := range 8 * hotCounters {
			key := fmt.Sprintf("%0200d", i)
			h.add(ringHash(key), key, 1, int64(i)*2*hotWindow/(8*hotCounters))
		}
		require.Len(t, h.before, hotCounters)
		require.Len(t, h.now.counters, hotCounters)
		all = append(all, h)
	}
	each := int64(heap()-before) / n
	t.Logf("%d bytes", each)
	require.LessOrEqual(t, each, int64(256<<10))
	runtime.KeepAlive(all)
}

func TestHotKeysConcurrently(t *testing.T) {
	h := newHotKeys(0)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 1000 {
				key := fmt.Sprint(j % (50 * (i + 1)))
				h.add(ringHash(key), key, 1, int64(j)*hotWindow/2000)
				if j%100 == 0 {
					_ = h.top(10, int64(j)*hotWindow/2000)
				}
			}
		})
	}
	wg.Wait()
	total := 0.0
	for _, hot := range h.top(hotShown, hotWindow/2) {
		total += hot.Rate
	}
	require.Positive(t, total)
}

func TestDemand(t *testing.T) {
	for _, bytes := range []int64{-1 << 63, -1, 0, 1, 1 << 10, 1 << 15, 1<<20 - 1, 1 << 20, 64 << 20, 1 << 40, 1<<63 - 1} {
		words := len(newDemand(bytes).words)
		require.Equal(t, 0, words&(words-1), "%d is a power of two", words)
		require.GreaterOrEqual(t, words, 256)
		require.LessOrEqual(t, words, 1<<20)
		if bytes >= 1<<15 {
			require.LessOrEqual(t, int64(8*words), bytes/16)
		}
	}

	d := newDemand(0)
	rng := rand.New(rand.NewPCG(3, 4))
	zipf := rand.NewZipf(rng, 1.2, 1, 1000)
	truth := make(map[uint32]uint32)
	for range demandAge*len(d.words) - 1 {
		hash := uint32(ringHash(fmt.Sprint(zipf.Uint64())))
		truth[hash]++
		require.GreaterOrEqual(t, d.add(hash, 1), min(truth[hash], maxDemand), "it never says too little")
	}
	var over []uint32
	hottest := uint32(0)
	for hash, n := range truth {
		require.GreaterOrEqual(t, d.of(hash), min(n, maxDemand))
		over = append(over, d.of(hash)-min(n, maxDemand))
		if n > truth[hottest] {
			hottest = hash
		}
	}
	slices.Sort(over)
	require.LessOrEqual(t, over[len(over)/2], uint32(1), "nor far too much")
	require.EqualValues(t, maxDemand, d.of(hottest))
	d.bar.Store(100)
	d.add(hottest, 1) // one more, and they age
	require.EqualValues(t, maxDemand/2, d.of(hottest))
	require.EqualValues(t, 50, d.bar.Load(), "the bar is in the same units")
	require.EqualValues(t, maxDemand, d.add(hottest, 1<<31))
	require.Zero(t, testing.AllocsPerRun(100, func() { d.add(hottest, 1) }))
}

func TestDemandConcurrently(t *testing.T) {
	d := newDemand(0)
	var wg sync.WaitGroup
	for caller := range 4 {
		wg.Go(func() {
			for i := range 100 * len(d.words) {
				d.add(uint32(caller*i), 1)
				d.leaves(uint32(i))
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, d.bar.Load()>>barBits, uint32(maxDemand+1))
}

// Everybody in the group sees the same top, of the keys of all owners and of what is asked at all of them.
func TestGroupHotKeys(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		const hot, perSec = 9, 2000 // of the hottest
		owners := make(map[string]bool)
		for i := range 3 * hot {
			k := fmt.Sprint("user:", i)
			require.NoError(t, w.procs[0].cache.Put(t.Context(), k, "v"))
			if i < hot {
				owners[w.procs[0].group.Owner(k)] = true
			}
		}
		require.Greater(t, len(owners), 1, "the test needs it")
		rng := rand.New(rand.NewPCG(5, 6))
		for range 12 * 20 {
			for i := range 3 * hot {
				for range perSec / 20 / (i + 1) {
					v, err := w.procs[rng.IntN(3)].cache.Get(t.Context(), fmt.Sprint("user:", i), nil)
					require.NoError(t, err)
					require.Equal(t, "v", v)
				}
			}
			time.Sleep(time.Second / 20)
		}
		time.Sleep(time.Second) // all is reported
		synctest.Wait()
		first := w.procs[0].group.HotKeys()
		for _, p := range w.procs[1:] {
			for i, h := range p.group.HotKeys()[:hot] {
				require.Equal(t, first[i].Key, h.Key, "all see the same")
				require.InEpsilon(t, first[i].Rate, h.Rate, 0.001)
			}
		}
		for i, h := range first[:3] {
			require.Equal(t, HotKey{"test", fmt.Sprint("user:", i), h.Rate}, h)
			require.InEpsilon(t, perSec/(i+1), h.Rate, 0.2)
		}
		var top []string
		for _, h := range first[:hot] {
			top = append(top, h.Key)
		}
		for i := range hot - 2 {
			require.Contains(t, top, fmt.Sprint("user:", i))
		}

		// One that is silent is not waited for.
		gone := w.procs[0].group.Owner("user:0")
		for _, p := range w.procs {
			if p.url == gone {
				w.net.Pause(p.name)
				defer time.Sleep(10 * time.Second)
				defer w.net.Resume(p.name)
			}
		}
		for _, p := range w.procs {
			if p.url != gone {
				start := time.Now()
				require.NotContains(t, fmt.Sprint(p.group.HotKeys()), "user:0 ")
				require.LessOrEqual(t, time.Since(start), time.Second)
			}
		}
	})
}

// What an owner hears first is which copies are used most, however many there are, and of those that have left all there is to hear.
func TestReportsOfHits(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		owner, c := w.procs[0], w.procs[1].cache
		keys := owner.keys(20)
		get := func(key string, times int) {
			for range times {
				_, err := c.Get(t.Context(), key, func(context.Context, string) (string, error) { return "v", nil })
				require.NoError(t, err)
			}
		}
		for _, key := range keys {
			get(key, 10)
		}
		require.EqualValues(t, len(keys), c.Stats().L1Entries)
		l, err := w.procs[1].group.view.Load().peers[w.procs[1].group.view.Load().ring.owner(ringHash(keys[0]))].Link(t.Context())
		require.NoError(t, err)
		report := func(most int) map[string]uint64 {
			got := make(map[string]uint64)
			c.reportHits(l, func(_ uint16, key string, hits uint64) bool {
				if len(got) == most {
					return false
				}
				got[key] += hits
				return true
			})
			return got
		}
		all := report(100)
		require.Len(t, all, len(keys))
		require.Empty(t, report(100))

		for _, key := range keys {
			get(key, 2)
		}
		hot := keys[7]
		get(hot, 2*reportFrom)
		first := report(1)
		require.Contains(t, first, hot)
		require.GreaterOrEqual(t, first[hot], uint64(reportFrom))
		first = report(100)
		require.Len(t, first, len(keys), "the others, and the rest of it")

		get(keys[3], 5)
		require.NoError(t, owner.cache.Put(t.Context(), keys[3], "new"))
		require.Equal(t, map[string]uint64{keys[3]: 5}, report(1))
		require.Empty(t, report(100))
	})
}
