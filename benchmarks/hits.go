package main

// hits.go measures hit ratios: of the systems as they are, and of simulated policies.

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/coveycache/covey/benchmarks/internal/sim"
	"github.com/coveycache/covey/benchmarks/internal/trace"
)

// capacities are in percent of a trace's keys, or of its bytes.
var (
	capacities      = [...]int{1, 5, 10, 25}
	sizedCapacities = [...]int{1, 5}
)

const leastEntries = 10 // smaller caches than this say little

// A contest is one trace at one capacity, for all systems.
type contest struct {
	name    string
	systems []string // in the order of the columns
	ratios  []float64
}

// best returns the highest hit ratio of those that don't know the future.
func (c *contest) best() (best float64) {
	for i, s := range c.systems {
		if s != sim.Optimum {
			best = max(best, c.ratios[i])
		}
	}
	return best
}

// of returns a system's hit ratio, NaN if it took no part.
func (c *contest) of(system string) float64 {
	if i := slices.Index(c.systems, system); i >= 0 {
		return c.ratios[i]
	}
	return math.NaN()
}

// A job is one system's part in a contest. Nothing in this suite is timed, so jobs run at the same
// time.
type job struct {
	requests int
	run      func()
}

func runHits(r *run) error {
	traces := append(trace.Generate(r.requests), trace.GenerateSized(r.requests)...)
	loaded, err := trace.Load(r.traces)
	if err != nil {
		return err
	}
	var plain, sized []*contest
	var jobs []job
	for _, t := range append(traces, loaded...) {
		c, j := r.contests(t)
		jobs = append(jobs, j...)
		if t.Sizes == nil {
			plain = append(plain, c...)
		} else {
			sized = append(sized, c...)
		}
	}
	runJobs(jobs)
	r.reportHits(plain)
	r.reportSized(sized)
	return nil
}

// contests returns the contests over a trace, and the jobs that fill in their ratios.
func (r *run) contests(t *trace.Trace) (contests []*contest, jobs []job) {
	percents, total, makers, unit := capacities[:], t.Unique, sim.Makers(), "%"
	if t.Sizes != nil {
		percents, total, makers, unit = sizedCapacities[:], int(t.TotalBytes()), sim.SizedMakers(), "%bytes"
	}
	names := keyNames(t.Unique)
	for _, percent := range percents {
		capacity := total * percent / 100
		if capacity < leastEntries {
			continue
		}
		c := &contest{name: fmt.Sprintf("%s/%d%s", t.Name, percent, unit)}
		enter := func(name string, measure func() float64) {
			at := len(c.systems)
			c.systems = append(c.systems, name)
			jobs = append(jobs, job{len(t.Keys), func() { c.ratios[at] = measure() }})
		}
		for _, m := range makers {
			if r.wantsPolicy(m.Name) {
				enter(m.Name, func() float64 { return sim.HitRatio(t, m.New(t, capacity)) })
			}
		}
		for _, s := range r.chosen(func(s system) bool { return s.floor == "" && !s.variant }) {
			switch {
			case t.Sizes == nil:
				enter(s.name, func() float64 { return hitRatio(t, names, s.open(config{capacity, true})) })
			case s.openSized != nil:
				enter(s.name, func() float64 { return hitRatio(t, names, openSized(s, t, int64(capacity))) })
			}
		}
		c.ratios = make([]float64, len(c.systems))
		contests = append(contests, c)
	}
	return contests, jobs
}

// wantsPolicy reports whether a simulated policy takes part: all do unless -systems names some of
// them.
func (r *run) wantsPolicy(name string) bool {
	named := slices.ContainsFunc(r.systems, func(s string) bool { return slices.Contains(policyNames(), s) })
	return !named || slices.Contains(r.systems, name)
}

// policyNames returns the names of the simulated policies.
func policyNames() (names []string) {
	for _, m := range append(sim.Makers(), sim.SizedMakers()...) {
		if !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}
	return names
}

func keyNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}

func openSized(s system, t *trace.Trace, bytes int64) cache {
	return s.openSized(bytes, func(key string) int { return int(t.Sizes[must(strconv.Atoi(key))]) })
}

// hitRatio runs a trace against a cache, which it then closes: each request is a get and, on a
// miss, a put.
func hitRatio(t *trace.Trace, names []string, c cache) float64 {
	defer c.close()
	hits := 0
	for _, k := range t.Keys {
		if _, ok := c.get(names[k]); ok {
			hits++
			continue
		}
		c.put(names[k], nil)
		c.settle()
	}
	return float64(hits) / float64(max(len(t.Keys), 1))
}

// runJobs runs them all, the long ones first so that no core idles at the end.
func runJobs(jobs []job) {
	slices.SortStableFunc(jobs, func(a, b job) int { return cmp.Compare(b.requests, a.requests) })
	meter.steps(len(jobs))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(jobs) {
					return
				}
				step("hits")
				jobs[i].run()
			}
		})
	}
	wg.Wait()
}

// A summary is a system's record over all contests, in points.
type summary struct{ mean, regret, worst float64 }

// summarise gives a system's mean hit ratio and its regret: the distance to
// the best of each contest that doesn't know the future.
func summarise(contests []*contest, system string) (s summary) {
	for _, c := range contests {
		ratio := c.of(system)
		regret := 100 * (c.best() - ratio)
		s.mean += 100 * ratio / float64(len(contests))
		s.regret += regret / float64(len(contests))
		s.worst = max(s.worst, regret)
	}
	return s
}

func (r *run) reportHits(contests []*contest) {
	for _, c := range contests {
		for i, s := range c.systems {
			r.add(c.name, s, "hit_ratio", 100*c.ratios[i], "%")
		}
	}
	all := fmt.Sprintf("all %d", len(contests))
	for _, s := range contests[0].systems {
		sum := summarise(contests, s)
		r.add(all, s, "mean_hit_ratio", sum.mean, "%")
		r.add(all, s, "mean_regret", sum.regret, "points")
		r.add(all, s, "worst_regret", sum.worst, "points")
	}
	covey, otter := summarise(contests, "covey"), summarise(contests, "otter")
	if math.IsNaN(covey.mean) {
		return
	}
	r.verdict(covey.regret <= 0.9, "mean regret is %.2f points (at most 0.9, goal 0.5)", covey.regret)
	r.verdict(covey.worst <= 5, "worst regret is %.2f points (at most 5, goal 3)", covey.worst)
	if !math.IsNaN(otter.mean) {
		r.verdict(covey.mean > otter.mean, "mean hit ratio is %.2f %%, otter's is %.2f %%", covey.mean, otter.mean)
	}
}

func (r *run) reportSized(contests []*contest) {
	for _, c := range contests {
		for i, s := range c.systems {
			r.add(c.name, s, "object_hit_ratio", 100*c.ratios[i], "%")
		}
		if below := 100 * (c.of("GDSF") - c.of("covey")); !math.IsNaN(below) {
			r.verdict(below <= 1, "%s: %.2f points below GDSF (at most 1)", c.name, below)
		}
	}
}
