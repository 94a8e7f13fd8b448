package covey

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A lfuTest is an lfu with its residents.
type lfuTest struct {
	*testing.T
	r *rand.Rand
	*lfu
	residents []uint32
	traits    func(*node) // sets size and cost of the next node
}

func newLFUTest(t *testing.T, r *rand.Rand) *lfuTest {
	return &lfuTest{T: t, r: r, lfu: newLFU(newTestSlots()), traits: func(n *node) { n.size = 100 }}
}

func (t *lfuTest) newNode() *node {
	n := &node{hash: t.r.Uint32() | 1}
	t.traits(n)
	return n
}

func (t *lfuTest) any() uint32 { return t.residents[t.r.IntN(len(t.residents))] }

func (t *lfuTest) addNew() uint32 {
	id := t.slots.admit(t.newNode())
	t.add(id)
	t.residents = append(t.residents, id)
	return id
}

func (t *lfuTest) leave(id uint32) {
	i := slices.Index(t.residents, id)
	require.GreaterOrEqual(t, i, 0, "it chose nobody")
	t.residents = slices.Delete(t.residents, i, i+1)
	t.check()
	t.slots.dismiss(id)
}

func (t *lfuTest) evictOne() {
	last := t.last
	id := t.evict()
	if id == last {
		require.Len(t, t.residents, 1, "the one added last left before others")
	}
	t.leave(id)
}

// step does one random operation.
func (t *lfuTest) step(bound int) {
	n := len(t.residents)
	if n == 0 || n < bound && t.r.IntN(3) == 0 {
		t.addNew()
		return
	}
	switch op := t.r.IntN(20); {
	case op < 9:
		t.hit(t.slots.node(t.any()))
	case op < 11: // replaced by one of the same size and cost
		id := t.any()
		old := t.slots.node(id)
		n := &node{size: old.size, cost: old.cost}
		n.mark.Store(old.mark.Load())
		t.slots.exchange(id, n)
	case op < 13: // replaced by another
		id := t.any()
		t.remove(id)
		t.slots.exchange(id, t.newNode())
		t.readd(id)
		require.Equal(t, id, t.last)
	case op < 15:
		id := t.any()
		t.remove(id)
		t.leave(id)
	case op < 16:
		t.resize(int64(t.r.IntN(2)*1000), t.r.IntN(100))
	default:
		t.evictOne()
	}
}

func (t *lfuTest) check() {
	t.Helper()
	found := map[uint32]bool{}
	for state, l := range map[uint8]*list{inWindow: &t.window, inMain: &t.main, inSafe: &t.safe} {
		var ids []uint32
		for id := l.head; id != 0; id = t.slots.queue(id).next {
			ids = append(ids, id)
			require.Equal(t, state, *t.slots.state(id))
			found[id] = true
		}
		slices.Reverse(ids)
		checkList(t.T, t.slots, l, ids)
	}
	checkValues(t, t.lfu, found)
	require.Len(t, found, len(t.residents))
	for _, id := range t.residents {
		require.True(t, found[id], "slot %d is in no queue", id)
	}
	require.Equal(t, len(t.residents), t.len())
	if t.last != 0 {
		require.True(t, found[t.last])
	}
	checkDuel(t, &t.duel)
}

func TestLFURandomOperations(t *testing.T) {
	serial(t)
	t.Parallel()
	r := newRand(t)
	weighed, unweighed := 0, 0
	for range 15 {
		m := newLFUTest(t, r)
		bound := 1 + r.IntN(60)
		for range 1000 {
			if r.IntN(100) == 0 { // the traffic changes
				spread := 1 + r.Uint32N(2)*r.Uint32N(10_000)
				m.traits = func(n *node) { n.size, n.cost = 100+r.Uint32N(spread), uint8(r.IntN(3)) }
				m.duel.lead.Store(r.Uint32N(uint32(modes)))
				m.values.due = 0
			}
			m.step(bound)
			m.check()
			if m.values.on && m.values.heap.len > 0 {
				weighed++
			} else if m.values.heap.len > 0 {
				unweighed++
			}
		}
		for len(m.residents) > 0 {
			m.evictOne()
		}
		require.Zero(t, m.evict())
	}
	require.Positive(t, weighed)
	require.Positive(t, unweighed, "it never moved residents from the heap back to the queues")
}

// The one added last stays, in whichever mode and however often the cache evicts, until it is
// alone.
func TestLFUSparesTheLast(t *testing.T) {
	t.Parallel()
	r := newRand(t)
	for _, by := range []string{"frequency", "recency", "return", "value"} {
		t.Run(by, func(t *testing.T) {
			for residents := 1; residents <= 40; residents += 1 + residents/8 {
				m := newLFUTest(t, r)
				m.resize(1000, 0)
				m.duel.lead.Store(uint32(map[string]mode{"recency": byRecency, "return": byReturn}[by]))
				if by == "value" {
					m.traits = func(n *node) { n.size = 100 << r.IntN(10) }
				}
				for range 100 {
					m.addNew()
					if len(m.residents) > residents {
						m.evictOne()
					}
					for range 3 {
						m.hit(m.slots.node(m.any()))
					}
				}
				m.traits = func(n *node) { n.size = 1e6 } // the least worthy
				last := m.addNew()
				for len(m.residents) > 1 {
					m.evictOne()
				}
				require.Equal(t, []uint32{last}, m.residents)
			}
		})
	}
}

// However small the cache, it is filled to its bound and holds what was put last.
func TestLFUSmallCapacities(t *testing.T) {
	r := newRand(t)
	for capacity := 1; capacity <= 10; capacity++ {
		c := newCache(t, Options[int]{MaxEntries: capacity})
		keys := map[int]bool{}
		for i := range 500 {
			k := r.IntN(4 * capacity)
			keys[k] = true
			require.NoError(t, c.Put(t.Context(), fmt.Sprint(k), i))
			e, ok, err := c.Lookup(t.Context(), fmt.Sprint(k))
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, i, e.Value)
			require.LessOrEqual(t, c.Stats().Entries, int64(capacity))
			require.Equal(t, int64(min(len(keys), capacity)), c.Stats().Entries)
		}
	}
}

// A lfuCache has an lfu decide what stays in a cache of keys.
type lfuCache struct {
	*lfu
	ids             map[int]uint32
	keys            map[uint32]int
	maxBytes, bytes int
	maxEntries      int
	evicted         []int
	hits            int
}

func newLFUCache(maxBytes, maxEntries int) *lfuCache {
	c := &lfuCache{lfu: newLFU(newTestSlots()), ids: map[int]uint32{}, keys: map[uint32]int{}}
	c.setBounds(maxBytes, maxEntries)
	return c
}

func (c *lfuCache) setBounds(maxBytes, maxEntries int) {
	c.maxBytes, c.maxEntries = maxBytes, maxEntries
	c.resize(int64(maxBytes), maxEntries)
	c.trim()
}

// get is a lookup of key and, if it is not there, a Put.
func (c *lfuCache) get(key int, size uint32, cost uint8) {
	if id, ok := c.ids[key]; ok {
		c.hit(c.slots.node(id))
		c.hits++
		return
	}
	id := c.slots.admit(&node{hash: hashOf(key), size: size, cost: cost})
	c.ids[key], c.keys[id] = id, key
	c.bytes += int(size)
	c.add(id)
	c.trim()
}

func (c *lfuCache) trim() {
	for c.maxEntries > 0 && len(c.ids) > c.maxEntries || c.maxBytes > 0 && c.bytes > c.maxBytes {
		id := c.evict()
		key := c.keys[id]
		c.evicted = append(c.evicted, key)
		c.bytes -= int(c.slots.node(id).size)
		c.slots.dismiss(id)
		delete(c.ids, key)
		delete(c.keys, id)
	}
}

// hashOf mixes the key as splitmix64 does.
func hashOf(key int) uint32 {
	x := uint64(key+1) * 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return max(uint32((x^x>>31)>>32), 1)
}

// lruHits returns how many hits LRU has.
func lruHits(keys []int, capacity int) (hits int) {
	at, uses := map[int]int{}, []int{} // at: of a key's last use
	resident, oldest := map[int]bool{}, 0
	for _, k := range keys {
		if resident[k] {
			hits++
		}
		resident[k], at[k] = true, len(uses)
		uses = append(uses, k)
		for len(resident) > capacity {
			if k := uses[oldest]; at[k] == oldest {
				delete(resident, k)
			}
			oldest++
		}
	}
	return hits
}

func lfuHits(keys []int, capacity int) int {
	c := newLFUCache(0, capacity)
	for _, k := range keys {
		c.get(k, 100, 0)
	}
	return c.hits
}

// zipf returns a source of ranks whose probability is proportional to 1/rank^0.9.
func zipf(r *rand.Rand, n int) func() int {
	sums, sum := make([]float64, n), 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -0.9)
		sums[i] = sum
	}
	return func() int {
		i, _ := slices.BinarySearch(sums, r.Float64()*sum)
		return i
	}
}

// Where LRU does badly the policy does well, and where nothing beats LRU it is close to it.
func TestLFUAdapts(t *testing.T) {
	serial(t)
	t.Parallel()
	r := newRand(t)
	const requests = 100_000
	popular, moving := zipf(r, 20_000), zipf(r, 3000)
	for _, c := range []struct {
		name        string
		capacity    int
		atLeast     float64 // points above LRU
		key         func(i int) int
		lruIsUsable bool
	}{
		{"loop", 2500, 45, func(i int) int { return i % 5000 }, false},
		{"small loop", 50, 40, func(i int) int { return i % 100 }, false},
		{"popularity", 1000, 5, func(int) int { return popular() }, true},
		{"popularity and scans", 1000, 5, func(i int) int {
			if i/1000%4 == 0 {
				return 1_000_000 + i
			}
			return popular()
		}, true},
		{"drift", 1000, -2, func(i int) int { return i/20 + moving() }, true},
		{"drift of a small set", 50, -2, func(i int) int { return i/20 + moving()/60 }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			keys := make([]int, requests)
			for i := range keys {
				keys[i] = c.key(i)
			}
			lru, lfu := lruHits(keys, c.capacity), lfuHits(keys, c.capacity)
			above := 100 * float64(lfu-lru) / requests
			t.Logf("LRU %.2f %%, LFU %+.2f points", 100*float64(lru)/requests, above)
			require.GreaterOrEqual(t, above, c.atLeast)
			require.Equal(t, c.lruIsUsable, lru > 0)
		})
	}
}

// A cache whose bound changes works as one that always had the new bound.
func TestLFUResize(t *testing.T) {
	serial(t)
	t.Parallel()
	r := newRand(t)
	popular := zipf(r, 20_000)
	keys := make([]int, 40_000)
	for i := range keys {
		keys[i] = popular()
	}
	for _, from := range []int{10, 100, 10_000} {
		c := newLFUCache(0, from)
		for _, k := range keys {
			c.get(k, 100, 0)
		}
		c.setBounds(0, 1000)
		require.Equal(t, min(from, 1000), c.len())
		for range 2 { // the first time to settle
			c.hits = 0
			for _, k := range keys {
				c.get(k, 100, 0)
			}
		}
		require.Equal(t, 1000, c.len())
		require.GreaterOrEqual(t, c.hits, lfuHits(keys, 1000), "from %d entries", from)
	}
}

// An eviction harvests so many entries and no more, however many were used.
func TestLFUAfterManyHits(t *testing.T) {
	serial(t)
	t.Parallel()
	for by := range modes {
		for _, weighs := range []bool{false, true} {
			m := newLFUTest(t, newRand(t))
			if weighs {
				m.traits = func(n *node) { n.size, n.cost = 100, uint8(m.r.IntN(30)) }
			}
			for range 20 * maxSpared {
				m.addNew()
			}
			for range 100 {
				m.evictOne()
			}
			require.Equal(t, weighs, m.values.on)
			m.duel.lead.Store(uint32(by))
			for _, id := range m.residents {
				m.hit(m.slots.node(id))
			}
			marked := func() (n int) {
				for _, id := range m.residents {
					n += min(int(m.slots.node(id).mark.Load()), 1)
				}
				return n
			}
			for before := marked(); before > 10*maxSpared; before = marked() {
				m.evictOne()
				require.LessOrEqual(t, before-marked(), maxSpared+moves+4)
			}
		}
	}
}

// A hit allocates nothing, whether or not the duel takes note of it.
func TestLFUHitAllocatesNothing(t *testing.T) {
	for _, capacity := range []int{100, 5000} {
		c := newLFUCache(0, capacity)
		for k := range 10 * capacity {
			c.get(k, 100, 0)
		}
		var nodes []*node
		for id := range c.keys {
			nodes = append(nodes, c.slots.node(id))
		}
		i := 0
		require.Zero(t, testing.AllocsPerRun(10_000, func() {
			n := nodes[i%len(nodes)]
			n.mark.Store(0)
			c.hit(n)
			i++
		}))
	}
}

func TestCostClass(t *testing.T) {
	require.Equal(t, costClass(0), costClass(1e6), "floored at 1 ms")
	for d := 1e6; d < 1e15; d *= 1.1 {
		c := costOf(costClass(time.Duration(d)))
		if costClass(time.Duration(d)) < 63 {
			require.InEpsilon(t, d, float64(c), 0.2)
		}
	}
}
