package trace

// generate.go makes traces that need no file: the same ones every time.

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// A Zipf draws the ranks 0 to n-1, the rank r with a probability that is
// proportional to 1/(r+1)^s. Unlike math/rand's it allows any s.
type Zipf struct {
	r   *rand.Rand
	cdf []float64
}

// NewZipf makes a Zipf. Several can be drawn from at once if each has its own r.
func NewZipf(r *rand.Rand, s float64, n int) *Zipf {
	z := &Zipf{r, make([]float64, n)}
	sum := 0.0
	for i := range z.cdf {
		sum += math.Pow(float64(i+1), -s)
		z.cdf[i] = sum
	}
	return z
}

// With returns the same distribution drawn with another source.
func (z *Zipf) With(r *rand.Rand) *Zipf { return &Zipf{r, z.cdf} }

// Next draws a rank.
func (z *Zipf) Next() int {
	x := z.r.Float64() * z.cdf[len(z.cdf)-1]
	low, high := 0, len(z.cdf)-1
	for low < high {
		if middle := (low + high) / 2; z.cdf[middle] < x {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// A source returns the key of the i-th request.
type source func(i int) int

const keys = 20_000 // in the generators' main working set

// generators are the shapes of traffic that a policy meets, each with what it asks of the policy.
var generators = []struct {
	name   string
	source func(r *rand.Rand, requests int) source
}{
	// Stable popularity: frequency is all that counts, the more so the lower the skew.
	{"zipf-0.7", zipfian(0.7)},
	{"zipf-0.9", zipfian(0.9)},
	{"zipf-1.01", zipfian(1.01)},
	{"zipf-1.2", zipfian(1.2)},
	// A loop that is larger than the cache: LRU has no hit at all.
	{"loop", func(*rand.Rand, int) source {
		return func(i int) int { return i % keys }
	}},
	// Every fifth thousand requests are a scan of keys never seen before.
	{"zipf+scan", func(r *rand.Rand, _ int) source {
		z, scanned := NewZipf(r, 1.01, keys), keys
		return func(i int) int {
			if i/1000%5 == 4 {
				scanned++
				return scanned
			}
			return z.Next()
		}
	}},
	// Two programs share a cache: one loops, one has favourites.
	{"zipf+loop", func(r *rand.Rand, _ int) source {
		z := NewZipf(r, 0.9, keys)
		return func(i int) int {
			if i%3 == 0 {
				return keys + i/3%(keys/4)
			}
			return z.Next()
		}
	}},
	// Five phases, in each of which half the keys are new and all ranks are others: old favourites
	// must be let go.
	{"phases", func(r *rand.Rand, requests int) source {
		z := NewZipf(r, 1.01, keys)
		return func(i int) int { return z.Next() + i/(requests/5)*keys/2 }
	}},
	// A working set that moves on a little with every request: recency is all that counts.
	{"drift", func(r *rand.Rand, _ int) source {
		z := NewZipf(r, 0.9, 3000)
		return func(i int) int { return z.Next() + i/20 }
	}},
	// What is right in one quarter is wrong in the next.
	{"loop-then-drift", func(r *rand.Rand, requests int) source {
		z := NewZipf(r, 0.9, 3000)
		return func(i int) int {
			if i/(requests/4)%2 == 0 {
				return i % 8000
			}
			return z.Next() + i/20
		}
	}},
}

func zipfian(s float64) func(*rand.Rand, int) source {
	return func(r *rand.Rand, _ int) source {
		z := NewZipf(r, s, keys)
		return func(int) int { return z.Next() }
	}
}

// Generate returns the built-in traces, each of so many requests.
func Generate(requests int) (traces []*Trace) {
	for g, generator := range generators {
		next := generator.source(rand.New(rand.NewPCG(1, uint64(g))), requests)
		ks := make([]uint64, requests)
		for i := range ks {
			ks[i] = uint64(next(i))
		}
		traces = append(traces, New(generator.name, ks, nil))
	}
	return traces
}

// GenerateSized returns built-in traces with sizes, of so many requests each.
// They resemble a web cache's: object sizes are log-normal with a heavy tail
// and have nothing to do with popularity, and a share of the requests is for objects
// that are never asked for again (Breslau et al. 1999, Arlitt and Jin 2000).
func GenerateSized(requests int) (traces []*Trace) {
	for g, c := range []struct {
		skew   float64
		oneOff int // in 12 requests
		sigma  float64
	}{
		{0.8, 4, 1.8},
		{1.0, 2, 1.2},
		{0.7, 6, 2.2},
	} {
		r := rand.New(rand.NewPCG(2, uint64(g)))
		z := NewZipf(r, c.skew, 50_000)
		ks, sizes := make([]uint64, requests), make([]uint64, requests)
		for i := range ks {
			if r.IntN(12) < c.oneOff {
				ks[i] = uint64(1_000_000 + i)
			} else {
				ks[i] = uint64(z.Next())
			}
			own := rand.New(rand.NewPCG(ks[i], 3)) // the size is the key's
			sizes[i] = uint64(math.Exp(9 + c.sigma*own.NormFloat64()))
		}
		traces = append(traces, New(fmt.Sprintf("web-%d", g+1), ks, sizes))
	}
	return traces
}
