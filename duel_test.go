package covey

import (
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"
)

func checkDuel(t testing.TB, d *duel) {
	t.Helper()
	for _, m := range []*mini{&d.lru, &d.lfu} {
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
	require.Zero(t, d.lru.main.len+d.lru.safe.len)
}

func TestDuelRandomOperations(t *testing.T) {
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
				if d.size > 0 {
					require.LessOrEqual(t, len(d.lru.places), d.size)
					require.LessOrEqual(t, len(d.lfu.places), d.size)
				}
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
		require.Less(t, d.size, 2*duelSize)
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

// Each side wins where it is the better one, and loses its lead when the traffic changes.
func TestDuelLead(t *testing.T) {
	r := newRand(t)
	moving := zipf(r, 3000)
	var d duel
	d.resize(2000)
	ask := func(k int) {
		if h := hashOf(k); d.samples(h) {
			d.observe(h)
		}
	}
	for range 3 {
		for i := range 30_000 {
			ask(i % 4000)
		}
		require.False(t, d.recency(), "in a loop")
		for i := range 60_000 {
			ask(10_000 + i/5 + moving())
		}
		require.True(t, d.recency(), "in a drift")
	}
}
