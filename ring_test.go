package covey

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dgryski/go-farm"
	"github.com/stretchr/testify/require"
)

// All processes of a group have to agree on where a key lies, whatever version they run: these
// numbers never change. The first three are those of the documentation of BigQuery's
// FARM_FINGERPRINT.
func TestFingerprintGolden(t *testing.T) {
	for key, want := range map[string]int64{
		"1footrue":               -1541654101129638711,
		"2applefalse":            2794438866806483259,
		"3true":                  -4880158226897771312,
		"":                       -7286425919675154353,
		"a":                      -5528939962900187677,
		"user:42":                -8581797135469463611,
		"\xff\x00":               220203550205093463,
		strings.Repeat("k", 17):  5370583684318530380,
		strings.Repeat("k", 33):  6925554941576944858,
		strings.Repeat("k", 65):  8202223222095031418,
		strings.Repeat("k", 500): 5359982866208212135,
	} {
		require.Equal(t, want, int64(farm.Fingerprint64([]byte(key))), "%.20q", key)
		require.Equal(t, uint64(want), ringHash(key), "%.20q", key)
	}
}

func TestRingGolden(t *testing.T) {
	r := newRing([]Member{{Name: "a"}, {Name: "b", Weight: 2}, {URL: "http://c/"}, {Name: "asks only", Weight: -1}})
	require.Equal(t, uint64(0x7d771faa875886b6), r.fingerprint)
	require.Equal(t, uint64(0xb3b00941d162180d), newRing([]Member{{Name: "a"}}).fingerprint)
	var got []string
	for i := range 8 {
		var names []string
		for _, o := range r.find(ringHash(fmt.Sprint("user:", i)), 3, nil) {
			names = append(names, r.members[o].Name)
		}
		got = append(got, strings.Join(names, " "))
	}
	require.Equal(t, []string{
		"a b http://c/", "b http://c/ a", "http://c/ b a", "a http://c/ b", "a http://c/ b", "http://c/ a b", "b http://c/ a", "a b http://c/",
	}, got)
}

// A naiveRing is a ring that is searched from one end to the other.
type naiveRing []naivePoint

type naivePoint struct {
	hash uint64
	name string
}

// newNaiveRing makes one of members that have all different names.
func newNaiveRing(members []Member) (r naiveRing) {
	for _, m := range members {
		if m.Weight < 0 {
			continue
		}
		for i := range pointsPerWeight * max(1, m.Weight) {
			b := append(binary.LittleEndian.AppendUint32(nil, uint32(i)), m.Name...)
			r = append(r, naivePoint{farm.Fingerprint64(b), m.Name})
		}
	}
	slices.SortFunc(r, func(a, b naivePoint) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.name, b.name)) })
	return r
}

// find returns the owner of a hash and all other members in the order in which they come.
func (r naiveRing) find(hash uint64) (names []string) {
	first := 0
	for first < len(r) && r[first].hash < hash {
		first++
	}
	seen := make(map[string]bool)
	for i := range r {
		if p := r[(first+i)%len(r)]; !seen[p.name] {
			seen[p.name] = true
			names = append(names, p.name)
		}
	}
	return names
}

// randomMembers returns n members with different names, as likely ones and as odd ones.
func randomMembers(rng *rand.Rand, n int) (members []Member) {
	for i := range n {
		var name string
		switch rng.IntN(3) {
		case 0:
			name = fmt.Sprintf("http://10.0.%d.%d:8080/_covey/%d", rng.IntN(256), rng.IntN(256), i)
		case 1:
			name = fmt.Sprintf("cache-%d", i)
		default:
			name = fmt.Sprintf("%x\x00%d", rng.Uint64(), i)
		}
		members = append(members, Member{Name: name})
	}
	return members
}

func TestRingAgainstNaive(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		members := randomMembers(rng, rng.IntN(7))
		for i := range members {
			members[i].Weight = rng.IntN(5) - 1
		}
		r, naive := newRing(members), newNaiveRing(members)
		require.Len(t, r.hashes, len(naive))
		hashes := []uint64{0, math.MaxUint64}
		for range 20 {
			hashes = append(hashes, rng.Uint64())
		}
		for range min(20, len(naive)) {
			at := naive[rng.IntN(len(naive))].hash
			hashes = append(hashes, at-1, at, at+1)
		}
		if len(naive) > 0 {
			hashes = append(hashes, naive[0].hash, naive[len(naive)-1].hash, naive[len(naive)-1].hash+1)
		}
		for _, h := range hashes {
			want := naive.find(h)
			var got []string
			for _, i := range r.find(h, len(members)+1, nil) {
				got = append(got, r.members[i].Name)
			}
			require.Equal(t, want, got)
			for n := range len(want) {
				require.Len(t, r.find(h, n, nil), n)
			}
			if len(want) == 0 {
				require.Equal(t, -1, r.owner(h))
			} else {
				require.Equal(t, want[0], r.members[r.owner(h)].Name)
			}
		}
	}
}

// The exact shares are those that a sample of keys shows, and in proportion to the weights.
func TestRingShares(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	members := randomMembers(rng, 5)
	total := 0.0
	for i := range members {
		members[i].Weight = 1 + i
		total += float64(1 + i)
	}
	r := newRing(members)
	const keys = 200_000
	count := make([]float64, len(members))
	for i := range keys {
		count[r.owner(ringHash(fmt.Sprint("user:", i)))]++
	}
	sum := 0.0
	for i, s := range r.shares() {
		sum += s
		require.InDelta(t, s, count[i]/keys, 0.005)
		require.InEpsilon(t, float64(r.members[i].Weight)/total, s, 0.15)
	}
	require.InDelta(t, 1, sum, 1e-9)
	require.InDeltaSlice(t, []float64{1}, newRing(members[:1]).shares(), 1e-9)
	require.Empty(t, newRing(nil).shares())
}

func TestRingBalance(t *testing.T) {
	serial(t)
	t.Parallel()
	for _, test := range []struct{ peers, sets int }{{3, 100}, {10, 100}, {100, 10}, {1000, 1}} {
		t.Run(fmt.Sprint(test.peers), func(t *testing.T) {
			if testing.Short() && test.peers > 100 {
				t.Skip("many points")
			}
			rng := rand.New(rand.NewPCG(5, uint64(test.peers)))
			var fullest []float64
			for range test.sets {
				fullest = append(fullest, slices.Max(newRing(randomMembers(rng, test.peers)).shares())*float64(test.peers))
			}
			slices.Sort(fullest)
			p99 := fullest[(len(fullest)*99+99)/100-1]
			t.Logf("of %d sets the 99th percentile of the fullest peer's share is %.3f times the fair one", test.sets, p99)
			require.LessOrEqual(t, p99, 1.15)
		})
	}
}

// A ring that is made from the one before it is the ring that its members have.
func TestRingFromAnother(t *testing.T) {
	serial(t)
	t.Parallel()
	rng := rand.New(rand.NewPCG(15, 16))
	pool := randomMembers(rng, 12)
	heavy := int(maxPoints / pointsPerWeight)
	r := newRing(nil)
	for i := range 30 {
		var members []Member
		for _, j := range rng.Perm(len(pool))[:rng.IntN(len(pool)+1)] {
			m := pool[j]
			m.Weight = rng.IntN(3)
			members = append(members, m)
		}
		if i == 14 && !testing.Short() { // so that all have fewer points
			members = append(members, Member{Name: "heavy", Weight: heavy})
		}
		if i%7 == 6 { // all stay, and have moved
			members = slices.Clone(r.members)
			for j := range members {
				members[j].URL = fmt.Sprint("http://", i)
			}
		}
		r = r.with(members)
		want := newRing(members)
		require.Equal(t, want.members, r.members)
		require.Equal(t, want.fingerprint, r.fingerprint)
		require.True(t, slices.Equal(want.hashes, r.hashes) && slices.Equal(want.owners, r.owners) && slices.Equal(want.start, r.start))
	}
}

// A new peer takes its share from all others, who keep what they had otherwise.
func TestRingMovement(t *testing.T) {
	serial(t)
	rng := rand.New(rand.NewPCG(7, 8))
	for _, test := range []struct{ peers, draws int }{{2, 20}, {4, 20}, {11, 20}, {101, 5}} {
		moved := 0.0
		for range test.draws {
			members := randomMembers(rng, test.peers)
			joiner := members[rng.IntN(len(members))].Name
			without := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.Name == joiner })
			before, after := newRing(without), newRing(members)
			require.NotEqual(t, before.fingerprint, after.fingerprint)
			moved += after.shares()[after.index(joiner)] / float64(test.draws)
			for range 10_000 {
				h := rng.Uint64()
				old, now := before.members[before.owner(h)].Name, after.members[after.owner(h)].Name
				if now != joiner {
					require.Equal(t, old, now)
				} else {
					require.Equal(t, old, after.members[after.find(h, 2, nil)[1]].Name, "the old owner comes next")
				}
			}
		}
		require.LessOrEqual(t, moved*float64(test.peers), 1.1, "%d peers", test.peers)
	}
}

func TestRingOddMembers(t *testing.T) {
	empty := newRing(nil)
	for _, r := range []*ring{empty, newRing([]Member{{Name: "asks only", Weight: -1}, {Name: "another", Weight: math.MinInt}})} {
		require.Zero(t, r.fingerprint)
		require.Empty(t, r.members)
		require.Equal(t, -1, r.owner(1))
		require.Empty(t, r.find(1, 3, nil))
		require.Equal(t, -1, r.index("asks only"))
	}

	one := newRing([]Member{{Name: "a"}})
	for _, h := range []uint64{0, 1, 1 << 63, math.MaxUint64} {
		require.Equal(t, 0, one.owner(h))
		require.Equal(t, []int{7, 0}, one.find(h, 3, []int{7}))
		require.Empty(t, one.find(h, 0, nil))
		require.Empty(t, one.find(h, -1, nil))
	}
	for _, same := range [][]Member{
		{{Name: "a", Weight: 1}},
		{{Name: "a"}, {Name: "a", Weight: 5}, {Name: "a", Weight: -1}},
		{{URL: "a"}, {Name: "a", URL: "b"}},
		{{Name: "b", Weight: -1}, {Name: "a", URL: "elsewhere", Zone: "z"}},
	} {
		require.Equal(t, one.fingerprint, newRing(same).fingerprint)
		require.Len(t, newRing(same).members, 1)
	}

	// The order in which the members are told does not matter, what they are does.
	ab := newRing([]Member{{Name: "a"}, {Name: "b"}})
	require.Equal(t, ab.fingerprint, newRing([]Member{{Name: "b"}, {Name: "a"}}).fingerprint)
	prints := map[uint64]bool{0: true}
	for _, other := range [][]Member{{{Name: "a"}, {Name: "b"}}, {{Name: "ab"}}, {{Name: "a"}}, {{Name: "b"}}, {{Name: "a", Weight: 2}, {Name: "b"}}, {{Name: "a"}, {Name: "b", Weight: 2}}} {
		f := newRing(other).fingerprint
		require.False(t, prints[f], "%v", other)
		prints[f] = true
	}
	require.Equal(t, 1, ab.index("b"))
	require.Equal(t, -1, ab.index("c"))
}

// The points are bounded, whatever the weights.
func TestRingHugeWeights(t *testing.T) {
	serial(t)
	if testing.Short() {
		t.Skip("many points")
	}
	t.Parallel()
	r := newRing([]Member{{Name: "a", Weight: math.MaxInt}, {Name: "b", Weight: math.MaxInt}, {Name: "c"}})
	require.LessOrEqual(t, len(r.hashes), maxPoints+3)
	s := r.shares()
	require.InEpsilon(t, s[0], s[1], 0.01)
	require.Positive(t, s[2])
	require.Less(t, s[2], 1e-4)
}

func TestRingLookupAllocatesNothing(t *testing.T) {
	r := newRing(randomMembers(rand.New(rand.NewPCG(9, 10)), 50))
	key, found := "user:42", 0
	room := make([]int, 0, 3)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		h := ringHash(key)
		found += r.owner(h) + len(r.find(h, 3, room))
	}))
	require.Positive(t, found)
}

// Whatever the members are, the ring agrees with the naive one.
func FuzzRing(f *testing.F) {
	f.Add([]byte(""), "user:1", 1)
	f.Add([]byte("\x00a"), "", 2)
	f.Add([]byte("\x00a\x01a\x02b\xffc\x03"), "user:42", 3)
	f.Fuzz(func(t *testing.T, list []byte, key string, n int) {
		var members, distinct []Member
		for ; len(list) > 1 && len(members) < 8; list = list[2:] {
			m := Member{Weight: int(int8(list[0])) % 4, Name: string(list[1:2])}
			members = append(members, m)
			if m.Weight >= 0 && !slices.ContainsFunc(distinct, func(d Member) bool { return d.Name == m.Name }) {
				distinct = append(distinct, m)
			}
		}
		r := newRing(members)
		want := newNaiveRing(distinct).find(ringHash(key))
		var got []string
		for _, i := range r.find(ringHash(key), n, nil) {
			got = append(got, r.members[i].Name)
		}
		want = want[:max(0, min(n, len(want)))]
		if !slices.Equal(want, got) {
			t.Fatalf("got %q; want %q of %v", got, want, members)
		}
		switch o := r.owner(ringHash(key)); {
		case len(distinct) == 0 && o != -1 || o >= len(distinct) || o < -1:
			t.Fatalf("owner %d of %d", o, len(distinct))
		case n > 0 && len(distinct) > 0 && r.members[o].Name != want[0]:
			t.Fatalf("owner %d is not %q", o, want[0])
		}
	})
}

func BenchmarkRingOwner(b *testing.B) {
	r := newRing(randomMembers(rand.New(rand.NewPCG(11, 12)), 1000))
	keys := make([]string, 1<<16)
	for i := range keys {
		keys[i] = fmt.Sprint("user:", i)
	}
	b.ReportAllocs()
	sum := 0
	for i := 0; b.Loop(); i++ {
		sum += r.owner(ringHash(keys[i%len(keys)]))
	}
	if sum == 0 {
		b.Error("one member owns everything")
	}
}

func BenchmarkRingUpdate(b *testing.B) {
	members := randomMembers(rand.New(rand.NewPCG(13, 14)), 1001)
	r := newRing(members[:1000])
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			newRing(members)
		}
	})
	b.Run("join", func(b *testing.B) {
		for b.Loop() {
			r.with(members)
		}
	})
	b.Run("leave", func(b *testing.B) {
		for b.Loop() {
			r.with(members[1:1000])
		}
	})
}
