package covey

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkValues adds the residents of the heap to found.
func checkValues(t testing.TB, p *lfu, found map[uint32]bool) {
	t.Helper()
	checkHeap(t, &p.values.heap, func(f filing[float32]) {
		require.Equal(t, uint8(inValues), *p.slots.state(f.slot))
		require.False(t, found[f.slot])
		found[f.slot] = true
	})
}

// mixedTrace asks for popular keys and for some that never come again.
func mixedTrace(t *testing.T, requests int) []int {
	r := newRand(t)
	popular := zipf(r, 3000)
	keys := make([]int, requests)
	for i := range keys {
		keys[i] = popular()
		if r.IntN(10) == 0 {
			keys[i] = 1_000_000 + i
		}
	}
	return keys
}

// What cannot or need not be weighed does not change a single decision.
func TestWeighingChangesNothingAmongEquals(t *testing.T) {
	serial(t)
	t.Parallel()
	keys := mixedTrace(t, 50_000)
	evicted := func(maxBytes int, size func(key int) uint32, cost func(key int) uint8) []int {
		c := newLFUCache(maxBytes, 300)
		for _, k := range keys {
			c.get(k, size(k), cost(k))
		}
		require.False(t, c.values.on)
		return c.evicted
	}
	size := func(int) uint32 { return 200 }
	noCost := func(int) uint8 { return 0 }
	want := evicted(0, size, noCost)
	require.NotEmpty(t, want)
	const bound = 1 << 30 // entries bind, but sizes count
	require.Equal(t, want, evicted(bound, size, noCost), "equal sizes, equal costs")
	require.Equal(t, want, evicted(300*200, size, noCost), "bytes bind")
	require.Equal(t, want, evicted(bound, size, func(int) uint8 { return 20 }), "all costs high")
	require.Equal(t, want, evicted(bound, func(k int) uint32 { return 210 + hashOf(k)%50 }, noCost), "sizes differ a little")
	require.Equal(t, want, evicted(bound, size, func(k int) uint8 { return uint8(hashOf(k) % 4) }), "noise in the costs")
	require.Equal(t, want, evicted(0, func(k int) uint32 { return 100 << (k % 8) }, noCost), "bytes are not bounded")
}

// Objects that are small or dear to load are kept rather than others, for as long as objects
// differ.
func TestWeighingKeepsWhatIsDense(t *testing.T) {
	serial(t)
	t.Parallel()
	keys := mixedTrace(t, 50_000)
	half := func(k int) bool { return hashOf(k)%2 == 0 }
	for _, c := range []struct {
		name                 string
		maxBytes, maxEntries int
		size                 func(k int) uint32
		cost                 func(k int) uint8
	}{
		{"size", 600_000, 0,
			func(k int) uint32 {
				if half(k) {
					return 200
				}
				return 5000
			},
			func(int) uint8 { return 0 }},
		{"cost", 0, 300,
			func(int) uint32 { return 200 },
			func(k int) uint8 {
				if half(k) {
					return 20
				}
				return 0
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newLFUCache(c.maxBytes, c.maxEntries)
			run := func(weigh bool) (dense int) {
				m.evicted = nil
				for _, k := range keys {
					if weigh {
						m.get(k, c.size(k), c.cost(k))
					} else {
						m.get(10_000_000+k, 1000, 10)
					}
				}
				for k := range m.ids {
					if half(k) {
						dense++
					}
				}
				return 100 * dense / len(m.ids)
			}
			require.Greater(t, run(true), 80)
			require.True(t, m.values.on)
			require.Equal(t, len(m.ids), m.values.heap.len, "all queues are in the heap")
			run(false)
			require.False(t, m.values.on, "it goes back when all are alike")
			require.Zero(t, m.values.heap.len, "the heap is empty again")
			require.Greater(t, run(true), 80)
		})
	}
}

// Few residents that are much bigger than the rest hold much of the memory; a few that cost a
// little more don't matter.
func TestSpread(t *testing.T) {
	spread := func(bySize bool, n int, traits func(i int, n *node)) float64 {
		m := newLFUTest(t, newRand(t))
		m.values.bySize = bySize
		i := 0
		m.traits = func(n *node) { traits(i, n); i++ }
		for range n {
			m.addNew()
		}
		return m.spread()
	}
	every := func(k, i int, a, b uint32) uint32 { // a once in k times
		if i%k == 0 {
			return a
		}
		return b
	}
	for _, n := range []int{1, 2, 10, 1000, 5000} {
		require.EqualValues(t, 1, spread(true, n, func(_ int, n *node) { n.size, n.cost = 300, 7 }))
	}
	require.InDelta(t, 100, spread(true, 1000, func(i int, n *node) { n.size = every(20, i, 10_000, 100) }), 0.1, "a few big ones")
	require.InDelta(t, 1, spread(false, 1000, func(i int, n *node) { n.size = every(20, i, 10_000, 100) }), 0.1, "sizes don't count")
	require.InDelta(t, 1, spread(true, 1000, func(i int, n *node) { n.size, n.cost = 100, uint8(every(20, i, 20, 0)) }), 0.1, "a few dear ones")
	require.InDelta(t, 32, spread(false, 1000, func(i int, n *node) { n.size, n.cost = 100, uint8(every(3, i, 10, 0)) }), 0.1, "many dear ones")
	require.InDelta(t, 1, spread(true, 1000, func(i int, n *node) { n.size, n.cost = every(2, i, 3200, 100), uint8(every(2, i, 10, 0)) }), 0.1, "big, but as dear")
	require.Less(t, spread(true, 1000, func(i int, n *node) { n.size = 210 + hashOf(i)%50 }), 1.3)
}

// Between the two bounds it stays as it is.
func TestSurveyHysteresis(t *testing.T) {
	m := newLFUTest(t, newRand(t))
	m.resize(1, 0)
	for range 100 {
		m.addNew()
	}
	survey := func(size uint32) bool {
		for i, id := range m.residents {
			m.remove(id)
			n := &node{size: 100}
			if i%2 == 0 {
				n.size = size
			}
			m.slots.exchange(id, n)
			m.readd(id)
		}
		m.values.due = 0
		m.survey()
		return m.values.on
	}
	for _, s := range []struct {
		size uint32
		on   bool
	}{{100, false}, {300, false}, {390, false}, {450, true}, {300, true}, {210, true}, {190, false}, {300, false}, {20, true}} {
		require.Equal(t, s.on, survey(s.size), "sizes 100 and %d", s.size)
		m.check()
	}
}

// The clock does not grow for ever, and setting it back changes no order.
func TestValuesSetTheClockBack(t *testing.T) {
	t.Parallel()
	r := newRand(t)
	m := newLFUTest(t, r)
	m.resize(1, 0)
	next := 0 // in turn: by chance, the first ten might be too much alike to be weighed
	m.traits = func(n *node) { n.size = 100 << (next % 8); next++ }
	for range 10 {
		m.addNew()
	}
	m.evictOne()
	require.True(t, m.values.on)
	back := 0
	for range 100_000 {
		m.addNew()
		before := m.values.clock
		id := m.evict()
		m.residents = slices.DeleteFunc(m.residents, func(other uint32) bool { return other == id })
		m.slots.dismiss(id)
		if m.values.clock < before {
			back++
			m.check()
		}
	}
	require.Positive(t, back)
}
