package sim

// sim_test.go compares the policies with naive versions of themselves, and all with the laws they
// have to keep.

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coveycache/covey/benchmarks/internal/trace"
)

// random makes a trace in which popular keys change now and then.
func random(seed uint64, requests, unique int) *trace.Trace {
	r := rand.New(rand.NewPCG(seed, 1))
	keys, sizes := make([]uint64, requests), make([]uint64, requests)
	for i := range keys {
		keys[i] = uint64(r.IntN(r.IntN(unique)+1) + i/200)
		sizes[i] = keys[i]*7919%1009 + 1 // all different, so that no two priorities are equal
	}
	return trace.New("random", keys, sizes)
}

// best tries everything: which keys to keep, and whether to keep the one just served.
func best(keys []uint32, capacity int) int {
	type state struct {
		at       int
		resident uint32 // a bit for each key
	}
	known := map[state]int{}
	var hits func(s state) int
	hits = func(s state) int {
		if s.at == len(keys) {
			return 0
		}
		if n, ok := known[s]; ok {
			return n
		}
		bit := uint32(1) << keys[s.at]
		n := 0
		if s.resident&bit != 0 {
			n = 1 + hits(state{s.at + 1, s.resident})
		} else {
			n = hits(state{s.at + 1, s.resident})
			held := 0
			for k := range 32 {
				if out := uint32(1) << k; s.resident&out != 0 {
					held++
					n = max(n, hits(state{s.at + 1, s.resident&^out | bit}))
				}
			}
			if held < capacity {
				n = max(n, hits(state{s.at + 1, s.resident | bit}))
			}
		}
		known[s] = n
		return n
	}
	return hits(state{})
}

func hitsOf(t *trace.Trace, p Policy) (hits []bool) {
	for _, k := range t.Keys {
		hits = append(hits, p.Access(k))
	}
	return hits
}

func count(hits []bool) (n int) {
	for _, h := range hits {
		if h {
			n++
		}
	}
	return n
}

func TestOptimumIsTheBestOfAllChoices(t *testing.T) {
	for seed := range uint64(40) {
		tr := random(seed, 40, 7)
		for capacity := 1; capacity <= 4; capacity++ {
			got, want := count(hitsOf(tr, newOptimum(tr, capacity))), best(tr.Keys, capacity)
			if got != want {
				t.Fatalf("seed %d, capacity %d: the optimum has %d hits, trying everything finds %d", seed, capacity, got, want)
			}
		}
	}
}

// A naive policy is a function from its state and a key to whether it is a hit.
type naive func(key uint32) bool

func naiveLRU(capacity int) naive {
	var q []uint32 // oldest first
	return func(key uint32) bool {
		i := slices.Index(q, key)
		if i >= 0 {
			q = slices.Delete(q, i, i+1)
		} else if len(q) == capacity {
			q = q[1:]
		}
		q = append(q, key)
		return i >= 0
	}
}

func naiveFIFO(capacity int) naive {
	var q []uint32
	return func(key uint32) bool {
		if slices.Contains(q, key) {
			return true
		}
		if len(q) == capacity {
			q = q[1:]
		}
		q = append(q, key)
		return false
	}
}

func naiveSieve(capacity int) naive {
	type object struct {
		key     uint32
		visited bool
	}
	var q []*object // oldest first
	hand := 0
	return func(key uint32) bool {
		for _, o := range q {
			if o.key == key {
				o.visited = true
				return true
			}
		}
		if len(q) == capacity {
			for hand %= len(q); q[hand].visited; hand = (hand + 1) % len(q) {
				q[hand].visited = false
			}
			q = slices.Delete(q, hand, hand+1)
			if hand == len(q) {
				hand = 0 // the newest left: the hand starts again, before anything newer comes
			}
		}
		q = append(q, &object{key: key})
		return false
	}
}

func naiveTwoQ(capacity int) naive {
	var in, out, main []uint32 // oldest first
	kin, kout := max(capacity/4, 1), max(capacity/2, 1)
	return func(key uint32) bool {
		if i := slices.Index(main, key); i >= 0 {
			main = append(slices.Delete(main, i, i+1), key)
			return true
		}
		if slices.Contains(in, key) {
			return true
		}
		again := slices.Index(out, key)
		if again >= 0 {
			out = slices.Delete(out, again, again+1)
		}
		if len(in)+len(main) >= capacity {
			if len(in) > kin || len(main) == 0 {
				out = append(out, in[0])
				in = in[1:]
				out = out[max(len(out)-kout, 0):]
			} else {
				main = main[1:]
			}
		}
		if again >= 0 {
			main = append(main, key)
		} else {
			in = append(in, key)
		}
		return false
	}
}

func naiveGDSF(t *trace.Trace, capacity int) naive {
	uses, priority := map[uint32]float64{}, map[uint32]float64{}
	clock, used := 0.0, 0
	return func(key uint32) bool {
		size := int(t.Sizes[key])
		_, hit := uses[key]
		if !hit {
			if size > capacity {
				return false
			}
			used += size
		}
		uses[key]++
		priority[key] = clock + uses[key]/float64(size)
		for used > capacity {
			lowest := key
			for k := range priority {
				if priority[k] < priority[lowest] {
					lowest = k
				}
			}
			clock = priority[lowest]
			used -= int(t.Sizes[lowest])
			delete(uses, lowest)
			delete(priority, lowest)
		}
		return hit
	}
}

func TestPoliciesDecideLikeNaiveOnes(t *testing.T) {
	for seed := range uint64(20) {
		tr := random(seed, 3000, 60)
		for _, capacity := range []int{1, 2, 5, 16, 40} {
			for _, c := range []struct {
				name string
				p    Policy
				n    naive
			}{
				{"LRU", newLRU(tr, capacity), naiveLRU(capacity)},
				{"FIFO", newFIFO(tr, capacity), naiveFIFO(capacity)},
				{"SIEVE", newSieve(tr, capacity), naiveSieve(capacity)},
				{"2Q", newTwoQ(tr, capacity), naiveTwoQ(capacity)},
				{"GDSF", newGDSF(tr, capacity*400), naiveGDSF(tr, capacity*400)},
			} {
				for i, key := range tr.Keys {
					if got, want := c.p.Access(key), c.n(key); got != want {
						t.Fatalf("%s of %d, seed %d: request %d (key %d) is a hit: %v, naively %v", c.name, capacity, seed, i, key, got, want)
					}
				}
			}
		}
	}
}

func TestNoPolicyBeatsTheOptimum(t *testing.T) {
	for seed := range uint64(10) {
		tr := random(seed, 5000, 300)
		for _, capacity := range []int{1, 3, 20, 100} {
			limit := count(hitsOf(tr, newOptimum(tr, capacity)))
			for _, m := range Makers() {
				if n := count(hitsOf(tr, m.New(tr, capacity))); n > limit {
					t.Errorf("%s of %d, seed %d: %d hits, the optimum is %d", m.Name, capacity, seed, n, limit)
				}
			}
		}
	}
}

func TestAllThatFitsIsAHitFromTheSecondTime(t *testing.T) {
	tr := random(1, 5000, 300)
	for _, m := range Makers() {
		if m.Name == "W-TinyLFU" || m.Name == "S3-FIFO" || m.Name == "2Q" {
			continue // their parts are bounded each by itself
		}
		if n := count(hitsOf(tr, m.New(tr, tr.Unique))); n != len(tr.Keys)-tr.Unique {
			t.Errorf("%s: %d hits of %d requests for %d keys", m.Name, n, len(tr.Keys), tr.Unique)
		}
	}
	for _, m := range SizedMakers() {
		if n := count(hitsOf(tr, m.New(tr, int(tr.TotalBytes())))); n != len(tr.Keys)-tr.Unique {
			t.Errorf("%s: %d hits of %d requests for %d keys", m.Name, n, len(tr.Keys), tr.Unique)
		}
	}
}

func TestPoliciesStayWithinTheirCapacity(t *testing.T) {
	tr := random(2, 5000, 300)
	for _, capacity := range []int{1, 2, 7, 50} {
		s3, arc, two, tiny := newS3FIFO(tr, capacity), newARC(tr, capacity), newTwoQ(tr, capacity), newTinyLFU(tr, capacity)
		sized, greedy := newSizedLRU(tr, capacity*400), newGDSF(tr, capacity*400)
		for i, key := range tr.Keys {
			for _, p := range []Policy{s3, arc, two, tiny, sized, greedy} {
				p.Access(key)
			}
			for name, ok := range map[string]bool{
				"S3-FIFO":           s3.small.len+s3.main.len <= capacity,
				"S3-FIFO's ghosts":  s3.ghost.len <= s3.ghostLimit,
				"ARC":               arc.recent.len+arc.frequent.len <= capacity,
				"ARC's T1 and B1":   arc.recent.len+arc.recentGhosts.len <= capacity,
				"ARC's ghosts":      arc.recent.len+arc.frequent.len+arc.recentGhosts.len+arc.frequentGone.len <= 2*capacity,
				"ARC's target":      0 <= arc.target && arc.target <= capacity,
				"2Q":                two.in.len+two.main.len <= capacity,
				"2Q's ghosts":       two.out.len <= two.kout,
				"W-TinyLFU":         tiny.window.len+tiny.probation.len+tiny.protected.len <= capacity,
				"W-TinyLFU's parts": tiny.window.len <= tiny.windowLimit && tiny.protected.len <= max(tiny.protectedLimit, 0),
				"LRU by size":       sized.used <= sized.capacity,
				"GDSF":              greedy.used <= greedy.capacity,
			} {
				if !ok {
					t.Fatalf("%s is over its capacity of %d after request %d", name, capacity, i)
				}
			}
		}
	}
}

// Favourites that were asked for often survive a scan of keys that are asked for once.
func TestScanResistance(t *testing.T) {
	var keys []uint64
	for range 20 {
		for k := range uint64(50) {
			keys = append(keys, k)
		}
	}
	warm := len(keys)
	for k := range uint64(2000) {
		keys = append(keys, 1000+k)
	}
	scanned := len(keys)
	for k := range uint64(50) {
		keys = append(keys, k)
	}
	tr := trace.New("scan", keys, nil)
	// One favourite may be in W-TinyLFU's window, which is an LRU.
	want := map[string][2]int{"S3-FIFO": {50, 50}, "W-TinyLFU": {49, 50}, "ARC": {50, 50}, "LRU": {0, 0}, "FIFO": {0, 0}}
	for _, m := range Makers() {
		hits := hitsOf(tr, m.New(tr, 100))
		if n := count(hits[warm:scanned]); n != 0 {
			t.Errorf("%s: %d hits during the scan", m.Name, n)
		}
		if w, ok := want[m.Name]; ok {
			if n := count(hits[scanned:]); n < w[0] || n > w[1] {
				t.Errorf("%s: %d of 50 favourites survived the scan, want %d to %d", m.Name, n, w[0], w[1])
			}
		}
	}
}
