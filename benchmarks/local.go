package main

// local.go measures operations per second when every key is resident.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coveycache/covey"
)

const localKeys = 1_000_000

func runLocal(r *run) error {
	n := localKeys
	if r.quick {
		n = 200_000
	}
	keys := make([]string, n)
	asked := make([]string, n) // equal keys, but other strings, as in a real server
	for i := range keys {
		keys[i] = fmt.Sprintf("user:%d", i)
		asked[i] = strings.Clone(keys[i])
	}
	mixed := make([]uint32, n) // which keys are popular has nothing to do with where they lie
	for i, j := range rand.New(rand.NewPCG(1, 7)).Perm(n) {
		mixed[i] = uint32(j)
	}
	sequences := make([][]uint32, 16)
	for g := range sequences {
		rnd := rand.New(rand.NewPCG(uint64(g), 7))
		z := newZipf(rnd, 1.01, n)
		s := make([]uint32, 1<<18)
		for i := range s {
			s[i] = mixed[z.next()]
		}
		sequences[g] = s
	}
	sizes, mixes, procs, perCore := []int{100, 1024}, []int{100, 75, 50}, []int{1, 2}, []int{1, 8}
	if r.quick {
		sizes, procs, perCore = sizes[:1], procs[1:], perCore[:1]
	}
	type system struct {
		name string
		make func(int) cache
	}
	var systems []system
	for _, m := range makers {
		if !r.wants(m.name) {
			continue
		}
		s := system{m.name, m.make}
		if m.name == "covey" {
			s.make = func(n int) cache { return coveyGetter{newCoveyBytes(n)} }
			systems = append(systems, system{"covey-closure", func(n int) cache { return coveyClosure{newCoveyBytes(n)} }})
		}
		systems = append(systems, s)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, size := range sizes {
		caches := map[string]cache{}
		for _, s := range systems {
			c := s.make(2 * n)
			for _, k := range keys {
				c.put(k, make([]byte, size))
			}
			c.settle()
			caches[s.name] = c
			allocs := testing.AllocsPerRun(1000, func() { c.get(asked[0]) })
			r.add(fmt.Sprintf("hit/%dB", size), s.name, "allocs_per_op", allocs, "allocations")
		}
		for _, mix := range mixes {
			for _, p := range procs {
				for _, g := range perCore {
					c := fmt.Sprintf("zipf/%dB/r%d/p%d/g%d", size, mix, p, g)
					rates := map[string][]float64{}
					for repeat := range r.repeats {
						progress("local: %s, repeat %d of %d", c, repeat+1, r.repeats)
						for _, s := range systems {
							if s.name == "map" && mix < 100 {
								continue
							}
							runtime.GC()
							runtime.GOMAXPROCS(p)
							rates[s.name] = append(rates[s.name], timeLocal(caches[s.name], asked, sequences, size, mix, p*g, r.duration))
						}
					}
					for _, s := range systems {
						if len(rates[s.name]) > 0 {
							r.add(c, s.name, "ops_per_s", median(rates[s.name]), "1/s")
						}
					}
					if covey, otter := median(rates["covey"]), median(rates["otter"]); otter > 0 {
						aim, goal := 1.1, 1.3
						if mix == 100 {
							aim, goal = 1.3, 1.5
						}
						r.verdict(covey >= aim*otter, "%s: %.2fx otter (at least %.1f, goal %.1f)", c, covey/otter, aim, goal)
					}
				}
			}
		}
		for _, c := range caches {
			c.close()
		}
	}
	return nil
}

func newCoveyBytes(n int) coveyCache {
	c, err := covey.New("bench", covey.Options[[]byte]{MaxBytes: 8 << 30, MaxEntries: n, TTL: ttl, Loader: noValue})
	if err != nil {
		panic(err)
	}
	return coveyCache{c}
}

var touched sync.Map // keeps the compiler from dropping the reads

// timeLocal returns operations per second of so many goroutines, of which
// mix percent are reads that touch every cache line of the value.
func timeLocal(c cache, keys []string, sequences [][]uint32, size, mix, goroutines int, d time.Duration) float64 {
	ctx, stop := context.WithTimeout(context.Background(), d)
	defer stop()
	counts := make([]int, goroutines)
	start := time.Now()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			seq := sequences[g%len(sequences)]
			sum, n, dice := 0, 0, uint32(g+1)
			for i := 0; ctx.Err() == nil; {
				for range 1000 {
					key := keys[seq[i&(len(seq)-1)]]
					i++
					dice ^= dice << 13
					dice ^= dice >> 17
					dice ^= dice << 5
					if int(dice%100) < mix {
						v, _ := c.get(key)
						for at := 0; at < len(v); at += 64 {
							sum += int(v[at])
						}
					} else {
						c.put(key, make([]byte, size))
					}
				}
				n += 1000
			}
			counts[g] = n
			touched.Store(g, sum)
		})
	}
	wg.Wait()
	took := time.Since(start)
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / took.Seconds()
}
