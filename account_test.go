package covey

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func liveHeap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

type person struct {
	Name, Mail string
	Tags       map[string]string
}

// I8: the live heap is at most 1.3 times the accounted bytes with the cache full, also after three
// times as much has passed through.
func TestAccountedBytesAgainstHeap(t *testing.T) {
	if testing.Short() {
		t.Skip("fills megabytes")
	}
	sized := func(size func(r *rand.Rand) int) func(*rand.Rand) any {
		return func(r *rand.Rand) any { return make([]byte, size(r)) }
	}
	for name, value := range map[string]func(*rand.Rand) any{
		"100B":  sized(func(*rand.Rand) int { return 100 }),
		"10KB":  sized(func(*rand.Rand) int { return 10_000 }),
		"mixed": sized(func(r *rand.Rand) int { return int(100 + r.ExpFloat64()*2000) }),
	} {
		t.Run(name, func(t *testing.T) {
			testAccounting(t, func(r *rand.Rand) []byte { return value(r).([]byte) })
		})
	}
	t.Run("struct", func(t *testing.T) {
		testAccounting(t, func(r *rand.Rand) person {
			p := person{Name: strings.Repeat("n", r.IntN(40)), Mail: strings.Repeat("m", 20), Tags: map[string]string{}}
			for i := range r.IntN(12) {
				p.Tags[fmt.Sprint("tag", i)] = strings.Repeat("v", r.IntN(20))
			}
			return p
		})
	})
}

func testAccounting[V any](t *testing.T, value func(*rand.Rand) V) {
	const limit = 8 << 20
	r := rand.New(rand.NewPCG(1, 2))
	before := liveHeap()
	c := newCache(t, Options[V]{MaxBytes: limit, TTL: time.Hour})
	put := func(i int) { require.NoError(t, c.Put(t.Context(), fmt.Sprintf("key:%d", i), value(r))) }
	i := 0
	for ; c.Stats().Evictions == 0; i++ {
		put(i)
	}
	check := func(when string) {
		s := c.Stats()
		require.LessOrEqual(t, s.Bytes, int64(limit))
		ratio := (liveHeap() - before) / float64(s.Bytes)
		t.Logf("%s: the heap is %.2f of %d accounted bytes", when, ratio, s.Bytes)
		require.LessOrEqual(t, ratio, 1.3)
		require.GreaterOrEqual(t, ratio, 0.7)
	}
	check("full")
	for end := 4 * i; i < end; i++ {
		put(i)
	}
	check("after churn")
	runtime.KeepAlive(c)
}

// Random operations against a map of what should be there; accounting and bounds are checked after
// each.
func TestRandomOperations(t *testing.T) {
	t.Parallel()
	for _, ev := range []Eviction{LFU, LRU, FIFO} {
		for seed := range uint64(2) {
			r := rand.New(rand.NewPCG(seed, 3))
			c := newCache(t, Options[string]{MaxBytes: 20_000, Eviction: ev})
			truth := map[string]string{} // what was put last; the cache may have dropped it
			for range 3000 {
				key := fmt.Sprint(r.IntN(200))
				switch op := r.IntN(10); {
				case op < 4:
					v := strings.Repeat(fmt.Sprint(r.IntN(1000)), 1+r.IntN(60))
					require.NoError(t, c.Put(t.Context(), key, v))
					truth[key] = v
				case op < 5:
					require.NoError(t, c.Delete(t.Context(), key))
					delete(truth, key)
				case op < 6 && r.IntN(100) == 0:
					require.NoError(t, c.Clear(t.Context()))
					clear(truth)
				default:
					e, ok, err := c.Lookup(t.Context(), key)
					require.NoError(t, err)
					if ok {
						require.Equal(t, truth[key], e.Value)
					}
				}
				checkStore(t, c)
			}
			require.Positive(t, c.Stats().Evictions)
		}
	}
}

func checkStore[V any](t *testing.T, c *Cache[V]) {
	t.Helper()
	var entries, bytes int64
	for i := range c.store.index.segments {
		for n := range c.store.index.segments[i].table.Load().all {
			entries++
			bytes += int64(n.size)
			require.Same(t, n, c.store.slots.node(n.slot))
		}
	}
	s := c.Stats()
	require.Equal(t, entries, s.Entries)
	require.Equal(t, bytes, s.Bytes)
	require.LessOrEqual(t, bytes, s.MaxBytes)
	if p := c.store.lfu; p != nil {
		require.Equal(t, int(entries), p.len())
	}
}

func TestCallbacksMayCallTheCache(t *testing.T) {
	var c *Cache[int]
	calls := 0
	o := Options[int]{MaxEntries: 2, Events: Events[int]{
		Removed: func(r Removal[int]) {
			calls++
			_, _, _ = c.Lookup(context.Background(), r.Key)
			if calls < 10 {
				_ = c.Put(context.Background(), "again", calls)
				_ = c.Delete(context.Background(), "again")
			}
		},
		Loaded: func(r LoadResult) { _, _, _ = c.Lookup(context.Background(), r.Key) },
	}}
	c = newCache(t, o)
	for i := range 10 {
		_, err := c.Get(t.Context(), fmt.Sprint(i), func(context.Context, string) (int, error) { return i, nil })
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, calls, 8)
}
