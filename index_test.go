package covey

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkIndex compares the index with what it should hold, and every bucket's count of passers-by
// with the truth.
func checkIndex(t *testing.T, x *index, want map[string]*node) {
	t.Helper()
	total := 0
	for i := range x.segments {
		s := &x.segments[i]
		tb := s.table.Load()
		if tb == nil {
			continue
		}
		passed := make([]uint64, len(tb.buckets))
		n := 0
		for at := range tb.buckets {
			for j := range tb.buckets[at].node {
				nd := tb.buckets[at].node[j].Load()
				tg := tb.buckets[at].meta.Load() >> (8 * j) & 0xff
				require.Equal(t, nd == nil, tg == 0)
				if nd == nil {
					continue
				}
				n++
				require.Equal(t, tag(nd.hash), tg)
				require.Same(t, want[nd.key], nd)
				for p := tb.home(nd.hash, x.shift); p != at; p = (p + 1) % len(tb.buckets) {
					passed[p]++
				}
			}
		}
		for at := range tb.buckets {
			require.Equal(t, passed[at], tb.buckets[at].meta.Load()>>56)
		}
		require.Equal(t, n, s.count)
		total += n
	}
	require.Equal(t, len(want), total)
}

func TestIndexAgainstMap(t *testing.T) {
	t.Parallel()
	for _, segmentBits := range []uint8{0, 3} {
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 1))
			x := newIndex(segmentBits)
			want := map[string]*node{}
			hash := func(key string) uint32 { // few distinct ones, so that buckets overflow and hashes collide
				h := uint32(2166136261)
				for _, c := range []byte(key) {
					h = (h ^ uint32(c)) * 16777619
				}
				return h % 97 * 44278013
			}
			for op := range 2000 {
				key := fmt.Sprint(r.IntN(300))
				h := hash(key)
				s := x.segment(h)
				old := x.find(h, key)
				require.Same(t, want[key], old)
				switch n := (&node{key: key, hash: h}); {
				case old == nil:
					s.insert(n, x.shift)
					want[key] = n
				case r.IntN(3) == 0:
					found, place := s.locate(h, key, x.shift)
					require.Same(t, old, found)
					place.Store(n)
					want[key] = n
				default:
					s.remove(old, x.shift)
					delete(want, key)
				}
				if op%50 == 0 {
					checkIndex(t, &x, want)
				}
			}
		}
	}
}

// Readers must always find a key that stays while others come and go around it.
func TestIndexReadersDuringWrites(t *testing.T) {
	x := newIndex(1)
	hash := func(i int) uint32 { return uint32(i) * 2654435761 }
	const stays, churn = 100, 3000
	for i := range stays {
		x.segment(hash(i)).insert(&node{key: fmt.Sprint(i), hash: hash(i)}, x.shift)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for i := 0; ; i = (i + 1) % stays {
				select {
				case <-done:
					return
				default:
				}
				if x.find(hash(i), fmt.Sprint(i)) == nil {
					t.Errorf("key %d was not found", i)
					return
				}
			}
		})
	}
	for round := range 5 {
		var ns []*node
		for i := range churn {
			n := &node{key: fmt.Sprint(stays + i), hash: hash(stays + i + round)}
			s := x.segment(n.hash)
			s.mu.Lock()
			s.insert(n, x.shift)
			s.mu.Unlock()
			ns = append(ns, n)
		}
		for _, n := range ns {
			s := x.segment(n.hash)
			s.mu.Lock()
			s.remove(n, x.shift)
			s.mu.Unlock()
		}
	}
	close(done)
	wg.Wait()
}
