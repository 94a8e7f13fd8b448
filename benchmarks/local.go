package main

// local.go measures operations per second when every key is resident.

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coveycache/covey/benchmarks/internal/trace"
)

const (
	zipfSkew    = 1.01
	cacheLine   = 64
	opsPerCheck = 1000 // operations between two looks at whether time is up
)

// localShape is how many goroutines run on how many processors.
type localShape struct{ procs, goroutines int }

// A localCase is one row of the table.
type localCase struct {
	size, reads int // bytes of a value; percent of the operations
	localShape
}

func (c localCase) String() string {
	return fmt.Sprintf("zipf/%dB/r%d/p%d/g%d", c.size, c.reads, c.procs, c.goroutines)
}

// A workload is what all systems get to do.
type workload struct {
	keys   []string // as they are inserted
	asked  []string // equal to keys, but other strings: in a server no request comes with the pointer that was stored
	values [][]byte // of each key; a write stores it again, so that it allocates what the system itself needs
	plans  [][]operation
}

// An operation is a key's number and, in the upper 8 bits, a die of 100 sides: below the share of
// reads it is a read.
type operation uint32

func (o operation) key() int  { return int(o & (1<<24 - 1)) }
func (o operation) dice() int { return int(o >> 24) }

// newWorkload makes the keys and, for each goroutine, its operations, so that none of it is
// measured.
func newWorkload(keys, goroutines, operations int) *workload {
	w := &workload{values: make([][]byte, keys)}
	for i := range keys {
		k := fmt.Sprintf("user:%06d", i)
		w.keys = append(w.keys, k)
		w.asked = append(w.asked, strings.Clone(k))
	}
	// Which keys are popular has nothing to do with where they lie in memory.
	popularity := rand.New(rand.NewPCG(1, 0)).Perm(keys)
	zipf := trace.NewZipf(nil, zipfSkew, keys)
	w.plans = make([][]operation, goroutines)
	var wg sync.WaitGroup
	for g := range w.plans {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(g+1)))
			z := zipf.With(r)
			w.plans[g] = make([]operation, operations)
			for i := range w.plans[g] {
				w.plans[g][i] = operation(popularity[z.Next()] | r.IntN(100)<<24)
			}
		})
	}
	wg.Wait()
	return w
}

// setSize gives every key a value of so many bytes.
func (w *workload) setSize(size int) {
	for i := range w.values {
		w.values[i] = make([]byte, size)
		w.values[i][0] = byte(i)
	}
}

// fill makes a cache that holds all keys, with room to spare.
func (w *workload) fill(s system) (cache, error) {
	c := s.open(config{entries: 2 * len(w.keys)})
	for i, k := range w.keys {
		c.put(k, w.values[i])
		if i%10_000 == 0 {
			c.settle() // ristretto drops what it has no time for
		}
	}
	c.settle()
	missing := 0
	for _, k := range w.asked {
		if _, ok := c.get(k); !ok {
			missing++
		}
	}
	if missing > len(w.keys)/1000 {
		c.close()
		return nil, fmt.Errorf("%s lost %d of %d keys although there is room for twice as many", s.name, missing, len(w.keys))
	}
	return c, nil
}

func runLocal(r *run) error {
	keys, operations := 1_000_000, 1<<20
	sizes, mixes := []int{100, 1024}, []int{100, 75, 50}
	shapes := []localShape{{1, 1}, {1, 8}, {2, 2}, {2, 16}}
	if r.quick {
		keys, operations = 100_000, 1<<18
		sizes, shapes = sizes[:1], shapes[2:3]
	}
	progress("local: drawing %d operations for each of %d goroutines", operations, shapes[len(shapes)-1].goroutines)
	w := newWorkload(keys, shapes[len(shapes)-1].goroutines, operations)
	systems := r.chosen(func(system) bool { return true })
	meter.steps(len(sizes) * len(shapes) * r.repeats)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, size := range sizes {
		w.setSize(size)
		for _, shape := range shapes {
			rates := map[localCase]map[string][]float64{}
			for repeat := range r.repeats {
				step("local: %d B, %d goroutines on %d processors, repeat %d of %d", size, shape.goroutines, shape.procs, repeat+1, r.repeats)
				// Each system has the heap to itself: nobody's collections look at another's
				// entries.
				for _, s := range systems {
					runtime.GC()
					runtime.GOMAXPROCS(max(shape.procs, 2)) // for what fills and settles behind the scenes
					c, err := w.fill(s)
					if err != nil {
						return err
					}
					if repeat == 0 && shape == shapes[0] {
						r.add(fmt.Sprintf("hit/%dB", size), s.name, "allocs_per_op", w.allocations(c), "allocations")
					}
					runtime.GOMAXPROCS(shape.procs)
					for _, reads := range mixes {
						if reads < 100 && (s.readOnly || s.variant) {
							continue
						}
						lc := localCase{size, reads, shape}
						if rates[lc] == nil {
							rates[lc] = map[string][]float64{}
						}
						rates[lc][s.name] = append(rates[lc][s.name], w.run(c, lc, r.duration))
					}
					c.close()
				}
			}
			for _, reads := range mixes {
				r.reportLocal(localCase{size, reads, shape}, systems, rates[localCase{size, reads, shape}])
			}
		}
	}
	r.reportAllocations()
	return r.measurePuts()
}

// allocations returns what a hit allocates.
func (w *workload) allocations(c cache) float64 {
	i := 0
	return testing.AllocsPerRun(1000, func() {
		c.get(w.asked[i])
		i++
	})
}

// run returns the operations per second of a case.
func (w *workload) run(c cache, lc localCase, d time.Duration) float64 {
	var over atomic.Bool
	var total, touched atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	timer := time.AfterFunc(d, func() { over.Store(true) })
	defer timer.Stop()
	for g := range lc.goroutines {
		wg.Go(func() {
			n, sum := w.work(c, w.plans[g], lc.reads, &over)
			total.Add(n)
			touched.Add(sum) // so that no compiler can leave the reading out
		})
	}
	wg.Wait()
	return float64(total.Load()) / time.Since(start).Seconds()
}

// work carries out the plan, again and again, until time is over. It returns
// the number of operations and the sum of a byte of each cache line of each value that it read.
func (w *workload) work(c cache, plan []operation, reads int, over *atomic.Bool) (n, sum int64) {
	for at := 0; !over.Load(); n += opsPerCheck {
		for range opsPerCheck {
			op := plan[at]
			if at++; at == len(plan) {
				at = 0
			}
			key := w.asked[op.key()]
			if op.dice() >= reads {
				c.put(key, w.values[op.key()])
				continue
			}
			value, _ := c.get(key)
			for i := 0; i < len(value); i += cacheLine {
				sum += int64(value[i])
			}
		}
	}
	return n, sum
}

func (r *run) reportLocal(lc localCase, systems []system, rates map[string][]float64) {
	for _, s := range systems {
		if len(rates[s.name]) > 0 {
			r.addAll(lc.String(), s.name, "ops_per_s", rates[s.name], median, "1/s")
		}
	}
	least, goal := 1.1, 1.3
	if lc.reads == 100 {
		least, goal = 1.3, 1.5
	}
	if ratio := medianRatio(rates["covey"], rates["otter"]); ratio > 0 {
		r.verdict(ratio >= least, "%s: %.2fx otter (at least %.1f, goal %.1f)", lc, ratio, least, goal)
	}
}

func (r *run) reportAllocations() {
	for _, f := range r.figures {
		if f.Metric == "allocs_per_op" && f.System == "covey" {
			r.verdict(f.Value == 0, "%s: %.0f allocations (0)", f.Case, f.Value)
		}
	}
}
