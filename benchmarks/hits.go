package main

// hits.go measures hit ratios: of the caches as they are, and of textbook policies.

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/coveycache/covey"
	"github.com/maypok86/otter/v2"
)

// real are the systems whose hit ratio is measured. sturdyc evicts at random
// per shard and groupcache is LRU: they would only repeat others.
var realSystems = []string{"covey", "otter", "theine", "ristretto", "golang-lru-2q", "golang-lru-arc"}

func runHits(r *run) error {
	length := 1_000_000
	if r.quick {
		length = 100_000
	}
	traces := generated(length)
	sized := []*trace{generatedSized(length)}
	if r.traces != "" {
		more, err := loadTraces(r.traces)
		if err != nil {
			return err
		}
		for _, t := range more {
			if t.sizes != nil {
				sized = append(sized, t)
			} else {
				traces = append(traces, t)
			}
		}
	}
	var jobs []func() // independent of one another; nothing here is timed
	var mu sync.Mutex
	ratios := map[string]map[string]float64{} // by case and system
	record := func(c, system string, ratio float64) {
		mu.Lock()
		defer mu.Unlock()
		if ratios[c] == nil {
			ratios[c] = map[string]float64{}
		}
		ratios[c][system] = ratio
	}
	var cases, sizedCases []string
	for _, t := range traces {
		for _, percent := range []int{1, 5, 10, 25} {
			capacity := t.n * percent / 100
			if capacity < 10 {
				continue
			}
			c := fmt.Sprintf("%s/%d%%", t.name, percent)
			cases = append(cases, c)
			for _, p := range policies {
				if r.wants(p.name) {
					jobs = append(jobs, func() { record(c, p.name, simulate(t, p.make(t, capacity))) })
				}
			}
			for _, m := range makers {
				if slices.Contains(realSystems, m.name) && r.wants(m.name) {
					jobs = append(jobs, func() { record(c, m.name, drive(t, m.make(capacity))) })
				}
			}
		}
	}
	for _, t := range sized {
		total := int64(0)
		for _, s := range t.sizes {
			total += int64(s)
		}
		for _, percent := range []int64{1, 5} {
			capacity := total * percent / 100
			c := fmt.Sprintf("%s/%d%%bytes", t.name, percent)
			sizedCases = append(sizedCases, c)
			jobs = append(jobs, func() { record(c, "GDSF", simulate(t, newGDSF(t, capacity))) })
			jobs = append(jobs, func() { record(c, "covey", driveSized(t, newCoveySized(t, capacity))) })
			jobs = append(jobs, func() { record(c, "otter", driveSized(t, newOtterSized(t, capacity))) })
		}
	}
	work := make(chan func())
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for job := range work {
				job()
			}
		})
	}
	for i, job := range jobs {
		if i%50 == 0 {
			progress("hits: %d of %d simulations", i, len(jobs))
		}
		work <- job
	}
	close(work)
	wg.Wait()
	r.report(cases, ratios)
	for _, c := range sizedCases {
		for _, system := range []string{"GDSF", "covey", "otter"} {
			r.add(c, system, "object_hit_ratio", 100*ratios[c][system], "%")
		}
		d := 100 * (ratios[c]["GDSF"] - ratios[c]["covey"])
		r.verdict(d <= 1, "%s: covey is %.2f points below GDSF (at most 1)", c, d)
	}
	return nil
}

func simulate(t *trace, p policy) float64 {
	hits := 0
	for _, k := range t.keys {
		if p.access(k) {
			hits++
		}
	}
	return float64(hits) / float64(len(t.keys))
}

func names(t *trace) []string {
	ns := make([]string, t.n)
	for i := range ns {
		ns[i] = strconv.Itoa(i)
	}
	return ns
}

func drive(t *trace, c cache) float64 {
	defer c.close()
	ns := names(t)
	hits := 0
	for _, k := range t.keys {
		if _, ok := c.get(ns[k]); ok {
			hits++
		} else {
			c.put(ns[k], nil)
			c.settle()
		}
	}
	return float64(hits) / float64(len(t.keys))
}

type sizedCache struct {
	get   func(key string) bool
	put   func(key string, size uint32)
	close func()
}

func driveSized(t *trace, c sizedCache) float64 {
	defer c.close()
	ns := names(t)
	hits := 0
	for _, k := range t.keys {
		if c.get(ns[k]) {
			hits++
		} else {
			c.put(ns[k], t.sizes[k])
		}
	}
	return float64(hits) / float64(len(t.keys))
}

// newCoveySized makes Covey count an object's own size only, as the others do.
func newCoveySized(_ *trace, capacity int64) sizedCache {
	ctx := context.Background()
	probe, _ := covey.New("probe", covey.Options[uint32]{Size: func(string, uint32) int { return 0 }})
	_ = probe.Put(ctx, "key", 0)
	overhead := int(probe.Stats().Bytes)
	_ = probe.Close()
	c, err := covey.New("sized", covey.Options[uint32]{
		MaxBytes: capacity, MaxValueBytes: math.MaxInt32,
		Size: func(_ string, size uint32) int { return max(int(size)-overhead, 0) },
	})
	if err != nil {
		panic(err)
	}
	return sizedCache{
		get:   func(key string) bool { _, ok, _ := c.Lookup(ctx, key); return ok },
		put:   func(key string, size uint32) { _ = c.Put(ctx, key, size) },
		close: func() { _ = c.Close() },
	}
}

func newOtterSized(_ *trace, capacity int64) sizedCache {
	c := otter.Must(&otter.Options[string, uint32]{
		MaximumWeight: uint64(capacity),
		Weigher:       func(_ string, size uint32) uint32 { return size },
	})
	return sizedCache{
		get:   func(key string) bool { _, ok := c.GetIfPresent(key); return ok },
		put:   func(key string, size uint32) { c.Set(key, size); c.CleanUp() },
		close: func() { c.StopAllGoroutines() },
	}
}

// report gives the ratios, and for each system its mean and its regret: the
// distance to the best system of each case that does not know the future.
func (r *run) report(cases []string, ratios map[string]map[string]float64) {
	var systems []string
	for _, p := range policies {
		if r.wants(p.name) {
			systems = append(systems, p.name)
		}
	}
	for _, s := range realSystems {
		if r.wants(s) {
			systems = append(systems, s)
		}
	}
	best := map[string]float64{}
	for _, c := range cases {
		for _, s := range systems {
			if s != "optimum" {
				best[c] = max(best[c], ratios[c][s])
			}
			r.add(c, s, "hit_ratio", 100*ratios[c][s], "%")
		}
	}
	type summary struct{ mean, regret, worst float64 }
	sums := map[string]summary{}
	for _, s := range systems {
		var sum summary
		for _, c := range cases {
			regret := 100 * (best[c] - ratios[c][s])
			sum.mean += 100 * ratios[c][s] / float64(len(cases))
			sum.regret += regret / float64(len(cases))
			sum.worst = max(sum.worst, regret)
		}
		sums[s] = sum
		r.add("all", s, "mean_hit_ratio", sum.mean, "%")
		r.add("all", s, "mean_regret", sum.regret, "points")
		r.add("all", s, "worst_regret", sum.worst, "points")
	}
	covey, otter := sums["covey"], sums["otter"]
	r.verdict(covey.regret <= 0.9, "mean regret %.2f (at most 0.9, goal 0.5)", covey.regret)
	r.verdict(covey.worst <= 5, "worst regret %.2f (at most 5, goal 3)", covey.worst)
	r.verdict(covey.mean > otter.mean, "mean hit ratio %.2f %% against otter's %.2f %%", covey.mean, otter.mean)
}
