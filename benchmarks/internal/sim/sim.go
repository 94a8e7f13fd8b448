// Package sim simulates eviction policies on keys that are small numbers. It
// stands in for what a cache could do: no locks, no sketches, nothing approximate.
package sim

import "github.com/coveycache/covey/benchmarks/internal/trace"

// A Policy is a simulated cache.
type Policy interface {
	// Access asks for key, stores it as the policy sees fit, and reports whether it was there.
	Access(key uint32) bool
}

// Optimum is the name of the policy that knows the future.
const Optimum = "optimum"

// A Maker makes a policy for a trace: of so many entries, or of so many bytes if the trace has
// sizes.
type Maker struct {
	Name string
	New  func(t *trace.Trace, capacity int) Policy
}

// Makers returns the policies for traces without sizes.
func Makers() []Maker {
	return []Maker{
		{Optimum, func(t *trace.Trace, n int) Policy { return newOptimum(t, n) }},
		{"LRU", func(t *trace.Trace, n int) Policy { return newLRU(t, n) }},
		{"FIFO", func(t *trace.Trace, n int) Policy { return newFIFO(t, n) }},
		{"SIEVE", func(t *trace.Trace, n int) Policy { return newSieve(t, n) }},
		{"S3-FIFO", func(t *trace.Trace, n int) Policy { return newS3FIFO(t, n) }},
		{"ARC", func(t *trace.Trace, n int) Policy { return newARC(t, n) }},
		{"2Q", func(t *trace.Trace, n int) Policy { return newTwoQ(t, n) }},
		{"W-TinyLFU", func(t *trace.Trace, n int) Policy { return newTinyLFU(t, n) }},
	}
}

// SizedMakers returns the policies for traces with sizes.
func SizedMakers() []Maker {
	return []Maker{
		{"GDSF", func(t *trace.Trace, n int) Policy { return newGDSF(t, n) }},
		{"LRU", func(t *trace.Trace, n int) Policy { return newSizedLRU(t, n) }},
	}
}

// HitRatio runs the trace and returns the share of requests that were hits.
func HitRatio(t *trace.Trace, p Policy) float64 {
	hits := 0
	for _, key := range t.Keys {
		if p.Access(key) {
			hits++
		}
	}
	return float64(hits) / float64(max(len(t.Keys), 1))
}
