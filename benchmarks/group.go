package main

// group.go measures what it costs to get a value that another process holds: three peers, or a
// client and its servers, all real processes on loopback. What runs in each of them is in
// group_child.go.

import (
	"fmt"

	"slices"
	"strings"
	"time"
)

// groupPeers is how many processes share a cache.
const groupPeers = 3

// A groupSystem is a way to get values from other processes.
type groupSystem struct {
	name   string
	server string // program that has to run; "" = the processes serve each other
	single bool   // it has no calls for many keys
	many   bool   // it differs from the one above only in calls for many keys
}

var groupSystems = []groupSystem{
	{name: "covey"},
	{name: "groupcache", single: true},
	{name: "groupcache-tuned", single: true},
	{name: "redis+rueidis", server: "redis-server"},
	{name: "redis+rueidis-mget", server: "redis-server", many: true},
	{name: "redis+go-redis", server: "redis-server"},
	{name: "memcached+gomemcache", server: "memcached"},
}

var quickGroupSystems = []string{"covey", "groupcache", "redis+rueidis"}

// can reports whether the system is measured by that case, which was asked for.
func (s *groupSystem) can(c groupCase, r *run) bool {
	many := c.load.Batch > 0
	return r.cases.MatchString(c.name) && (c.only == "" || c.only == s.name) && (many && !s.single || !many && !s.many)
}

// A groupCase is one load on the askers.
type groupCase struct {
	name string
	load load
	only string // the one system that can do it
}

func groupCases() []groupCase {
	return []groupCase{
		{name: "remote/100B/c1", load: load{Callers: 1, Value: 100}},
		{name: "remote/100B/c256", load: load{Callers: 256, Value: 100}},
		{name: "remote/1KiB/c256", load: load{Callers: 256, Value: 1 << 10}},
		{name: "many64/100B/c1", load: load{Callers: 1, Value: 100, Batch: 64}},
		{name: "many64/100B/c16", load: load{Callers: 16, Value: 100, Batch: 64}},
		{name: "remote/100B/c256+16MiB", load: load{Callers: 256, Value: 100, Big: 16 << 20}, only: "covey"},
		{name: "zipf1.01/L1/1%puts", load: load{Callers: 64, Value: 100, Zipf: true, All: true}, only: "covey"},
	}
}

// wantsGroup reports whether a system of this suite was asked for.
func (s *settings) wantsGroup(name string) bool {
	if s.quick && slices.Equal(s.systems, quickSystems) {
		return slices.Contains(quickGroupSystems, name)
	}
	return len(s.systems) == 0 || slices.Contains(s.systems, name)
}

// zipfKeys is how many keys the Zipf load has: fewer where it is to be quick, as all have to be made
// resident first.
func (s *settings) zipfKeys() int {
	if s.quick {
		return zipfKeys / 5
	}
	return zipfKeys
}

func runGroup(r *run) error {
	var systems []groupSystem
	for _, s := range groupSystems {
		switch {
		case !r.wantsGroup(s.name):
		case s.server != "" && !installed(s.server):
			r.verdicts = append(r.verdicts, s.name+" is absent: there is no "+s.server+" on this machine")
		default:
			systems = append(systems, s)
		}
	}
	found := map[string]map[string]map[string][]float64{} // by case, system and metric
	for _, s := range systems {
		for _, c := range groupCases() {
			if s.can(c, r) {
				meter.steps(r.repeats)
			}
		}
	}
	for repeat := range r.repeats {
		for _, s := range systems {
			err := withPeers(s, r.zipfKeys(), func(peers []*child) error {
				for _, c := range groupCases() {
					if !s.can(c, r) {
						continue
					}
					step("group: %s, %s, repeat %d of %d", c.name, s.name, repeat+1, r.repeats)
					c.load.For = r.duration
					figures, err := r.measureGroup(s, peers, c.load)
					if err != nil {
						return fmt.Errorf("%s: %w", c.name, err)
					}
					if found[c.name] == nil {
						found[c.name] = map[string]map[string][]float64{}
					}
					if found[c.name][s.name] == nil {
						found[c.name][s.name] = map[string][]float64{}
					}
					for metric, v := range figures {
						found[c.name][s.name][metric] = append(found[c.name][s.name][metric], v)
					}
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	for _, m := range []struct{ name, unit string }{
		{"ops_per_s", "gets/s"}, {"cpu_us_per_op", "us, all processes"}, {"p50_us", "us"}, {"p90_us", "us"}, {"p99_us", "us"},
		{"left_percent", "% of gets that left the process"}, {"errors", "most"}, {"stale", "most"},
	} {
		for _, c := range groupCases() {
			for _, s := range systems {
				if vs := found[c.name][s.name][m.name]; len(vs) > 0 {
					of := median
					if m.unit == "most" {
						of = slices.Max
					}
					r.addAll(c.name, s.name, m.name, vs, of, m.unit)
				}
			}
		}
	}
	r.judgeGroup(found)
	return runGroupHot(r)
}

// measureGroup runs a load. CPU is that of all processes, of the system's server, too, and none of
// this one.
func (r *run) measureGroup(s groupSystem, peers []*child, l load) (map[string]float64, error) {
	askers := peers[:1]
	if l.All {
		askers = peers
	}
	if _, err := callAll(peers, command{Op: "value", Load: l}); err != nil {
		return nil, err
	}
	for _, p := range peers {
		if _, err := p.call(command{Op: "prepare", Load: l}); err != nil {
			return nil, err
		}
	}
	if l.Zipf { // until the local copies are those that are worth it
		if _, err := callAll(askers, command{Op: "run", Load: l}); err != nil {
			return nil, err
		}
	}
	if r.profile != "" {
		if _, err := callAll(peers, command{Op: "profile", File: r.profile}); err != nil {
			return nil, err
		}
	}
	before, err := cpuOf(peers)
	if err != nil {
		return nil, err
	}
	served, err := servedBy(peers)
	if err != nil {
		return nil, err
	}
	replies, err := callAll(askers, command{Op: "run", Load: l})
	if err != nil {
		return nil, err
	}
	after, err := cpuOf(peers)
	if err != nil {
		return nil, err
	}
	servedAfter, err := servedBy(peers)
	if err != nil {
		return nil, err
	}
	if r.profile != "" {
		if _, err := callAll(peers, command{Op: "end"}); err != nil {
			return nil, err
		}
	}
	f := map[string]float64{}
	var ops float64
	for _, a := range replies {
		ops += float64(a.Ops)
		f["ops_per_s"] += float64(a.Ops) / a.Seconds
		f["errors"] += float64(a.Errors)
		f["stale"] += float64(a.Stale)
		f["p50_us"] = max(f["p50_us"], a.P50)
		f["p90_us"] = max(f["p90_us"], a.P90)
		f["p99_us"] = max(f["p99_us"], a.P99)
	}
	f["cpu_us_per_op"] = 1e6 * (after - before) / max(ops, 1)
	if s.name == "covey" {
		f["left_percent"] = 100 * float64(servedAfter-served) / max(ops, 1)
	}
	return f, nil
}

// judgeGroup compares what was found with what the project aims at; cases and systems that were
// left out are not judged.
func (r *run) judgeGroup(found map[string]map[string]map[string][]float64) {
	const (
		one, many, large = "remote/100B/c1", "remote/100B/c256", "remote/1KiB/c256"
		big, zipf        = "remote/100B/c256+16MiB", "zipf1.01/L1/1%puts"
	)
	compare := func(c, metric, system, baseCase, base string, ok func(float64) bool, what string) {
		vs, bs := found[c][system][metric], found[baseCase][base][metric]
		if len(vs) > 0 && len(bs) > 0 {
			v := medianRatio(vs, bs)
			r.verdict(ok(v), what, v)
		}
	}
	rate := func(c, rival string, want float64, goal string) {
		compare(c, "ops_per_s", "covey", c, rival, func(v float64) bool { return v >= want },
			fmt.Sprintf("%s: %%.2fx %s (at least %g%s)", c, rival, want, goal))
	}
	figure := func(c, metric string, ok func(float64) bool, what string) {
		if vs := found[c]["covey"][metric]; len(vs) > 0 {
			v := median(vs)
			r.verdict(ok(v), "%s: "+what, c, v)
		}
	}
	figure(many, "cpu_us_per_op", func(v float64) bool { return v <= 5 }, "%.2f us CPU a get over all processes (at most 5)")
	figure(many, "left_percent", func(v float64) bool { return v > 99 && v < 101 }, "the owners served %.1f %% of the gets (100)")
	rate(many, "groupcache", 40, "")
	rate(many, "groupcache-tuned", 12, "")
	rate(many, "redis+rueidis", 1.7, ", goal 2")
	compare(many, "p99_us", "covey", many, "redis+rueidis", func(v float64) bool { return v <= 1 }, many+": p99 is %.2fx that of redis+rueidis (at most 1)")
	rate(one, "groupcache", 3, "")
	for _, batches := range []string{"many64/100B/c1", "many64/100B/c16"} {
		rate(batches, "redis+rueidis", 1.5, ", goal 2.5")
	}
	compare(large, "ops_per_s", "covey", many, "covey", func(v float64) bool { return v >= 0.8 }, "1 KiB values: %.2fx the rate of 100 B (at least 0.8)")
	compare(big, "p99_us", "covey", many, "covey", func(v float64) bool { return v <= 2 }, "16 MiB values under way: p99 of small gets is %.2fx (at most 2)")
	figure(zipf, "ops_per_s", func(v float64) bool { return v >= 2e6 }, "%.0f gets/s (at least 2M)")
	figure(zipf, "left_percent", func(v float64) bool { return v < 15 }, "%.1f %% left the process (under 15)")
	if vs := found[zipf]["covey"]["stale"]; len(vs) > 0 {
		r.verdict(slices.Max(vs) == 0, "%s: %.0f stale reads (0)", zipf, slices.Max(vs))
	}
}

// runGroupHerd is the part of the suite herd that takes three processes.
func runGroupHerd(r *run) error {
	if !r.wants("covey") {
		return nil
	}
	kinds := []string{"bound", "passed", "bound+kill", "passed+kill"}
	meter.steps(len(kinds) * r.repeats)
	for _, kind := range kinds {
		name := "group/3x1000/" + kind
		var loads, failed, took []float64
		for repeat := range r.repeats {
			step("herd: %s, covey, repeat %d of %d", name, repeat+1, r.repeats)
			err := withPeers(groupSystem{name: "covey"}, zipfKeys, func(peers []*child) error {
				l := load{Callers: 1000, Value: 100, Takes: herdLoad, Key: fmt.Sprint("herd", repeat), Passed: strings.HasPrefix(kind, "passed"), Owner: len(peers) - 1}
				if _, err := callAll(peers, command{Op: "value", Load: l}); err != nil {
					return err
				}
				cold, err := peers[0].call(command{Op: "key", Load: l})
				if err != nil {
					return err
				}
				l.Key = cold.Key
				askers := peers
				kill := strings.HasSuffix(kind, "kill")
				if kill {
					askers = peers[:len(peers)-1]
					time.AfterFunc(60*time.Millisecond, func() { _ = peers[len(peers)-1].cmd.Process.Kill() })
				}
				replies, err := callAll(askers, command{Op: "herd", Load: l})
				if err != nil {
					return err
				}
				var n, errs, longest float64
				for _, reply := range replies {
					n += float64(reply.Loads)
					errs += float64(reply.Errors)
					longest = max(longest, 1e6*reply.Seconds)
				}
				if kill { // the one that was killed had begun one, if it was to load
					n += float64(map[bool]int{true: 0, false: 1}[l.Passed])
				}
				loads, failed, took = append(loads, n), append(failed, errs), append(took, longest)
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		r.add(name, "covey", "loads", slices.Max(loads), "most")
		r.add(name, "covey", "errors", slices.Max(failed), "most")
		r.add(name, "covey", "served_us", median(took), "us until the last was served")
		most := 1.0
		if strings.HasSuffix(kind, "kill") {
			most = 2
		}
		r.verdict(slices.Max(loads) <= most, "%s: %.0f loads (at most %.0f)", name, slices.Max(loads), most)
		r.verdict(slices.Max(failed) == 0, "%s: %.0f errors (0)", name, slices.Max(failed))
	}
	return nil
}
