package covey

import (
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"
)

func checkDuel(t testing.TB, d *duel) {
	t.Helper()
	for by := range modes {
		m := &d.minis[by]
		found := 0
		for in := range uint8(3) {
			l := m.list(in)
			length, prev := 0, uint32(0)
			for at := l.head; at != 0; at = m.elems[at].next {
				e := m.elems[at]
				require.Equal(t, in, e.in)
				require.Equal(t, prev, e.prev)
				require.Equal(t, at, m.places[e.hash])
				require.True(t, d.samples(e.hash))
				prev = at
				length++
			}
			require.Equal(t, prev, l.tail)
			require.Equal(t, length, l.len)
			found += length
		}
		require.Len(t, m.places, found)
		free := 0
		for at := m.free; at != 0; at = m.elems[at].next {
			free++
		}
		require.Equal(t, max(len(m.elems)-1, 0), found+free)
	}
	lru := &d.minis[byRecency]
	require.Zero(t, lru.main.len+lru.safe.len)
}

func TestDuelRandomOperations(t *testing.T) {
	serial(t)
	t.Parallel()
	r := newRand(t)
	for range 10 {
		var d duel
		capacity := 1
		for range 3000 {
			switch r.IntN(200) {
			case 0:
				capacity = 1 + r.IntN(20_000)
				d.resize(capacity)
			case 1:
				capacity += capacity/10 + 1
				d.resize(capacity)
			default:
				h := hashOf(r.IntN(1 + 2*capacity))
				if !d.samples(h) {
					continue
				}
				d.observe(h)
			}
			for by := range d.minis {
				require.LessOrEqual(t, len(d.minis[by].places), d.size)
			}
			checkDuel(t, &d)
		}
	}
}

// The small caches have the real one's size, times the share of the keys that is sampled.
func TestDuelProportion(t *testing.T) {
	for capacity := 1; capacity < 10_000_000; capacity += capacity + 1 {
		var d duel
		d.resize(capacity)
		share := 1 << bits.OnesCount32(d.mask.Load())
		require.Equal(t, max(capacity/share, 1), d.size)
		require.Less(t, d.size, duelMax)
		require.True(t, share == 1 || d.size >= duelMin)
		sampled := 0
		const keys = 1 << 18
		for k := range keys {
			if d.samples(hashOf(k)) {
				sampled++
			}
		}
		if share <= 256 {
			require.InEpsilon(t, keys/share, sampled, 0.2)
		}
	}
}

// Each mode leads where it is the best one, and loses the lead when the traffic changes.
func TestDuelLead(t *testing.T) {
	r := newRand(t)
	moving, fast := zipf(r, 3000), zipf(r, 500)
	var d duel
	d.resize(2000)
	after := func(requests int, key func(i int) int) mode {
		for i := range requests {
			if h := hashOf(key(i)); d.samples(h) {
				d.observe(h)
			}
		}
		return mode(d.lead.Load())
	}
	scans := 1_000_000
	for range 3 {
		require.Equal(t, byFrequency, after(30_000, func(i int) int { return i % 4000 }), "in a loop")
		require.Equal(t, byRecency, after(60_000, func(i int) int { return 10_000 + i/5 + moving() }), "in a drift")
		require.Equal(t, byReturn, after(120_000, func(i int) int {
			if i%2 == 0 {
				scans++
				return scans
			}
			return 500_000 + i/50 + 4*fast()
		}), "in a drift with scans")
	}
}
