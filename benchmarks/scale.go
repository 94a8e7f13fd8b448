package main

// scale.go measures what the size of a group costs. Four kinds of cases come as near to 1,000 whole
// processes as a small machine carries: the agreement alone, whole groups in one process, real
// processes, and one real process among many bare members.

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// A scaleCase is one way to measure a group of n processes.
type scaleCase struct {
	kind string
	n    int
}

func (c scaleCase) String() string { return fmt.Sprintf("%s/%d", c.kind, c.n) }

func scaleCases(quick bool) []scaleCase {
	if quick {
		return []scaleCase{{"agreement", 100}, {"groups", 12}, {"processes", 3}, {"voter", 60}}
	}
	return []scaleCase{
		{"agreement", 1000}, {"groups", 100}, {"groups", 300}, {"processes", 3}, {"processes", 10}, {"processes", 30}, {"voter", 300}, {"other", 60},
	}
}

// A measured is one figure: of a metric, and of which processes.
type measured struct {
	Metric, Who, Unit string
	Value             float64
}

// A sayer takes the figures of a case.
type sayer func(metric, who, unit string, value float64)

// Of whom figures are.
const (
	voters  = "worst voter" // of the members on which the agreement rests
	others  = "worst other"
	worst   = "worst"
	mean    = "mean"
	ofGroup = "group"
)

const (
	unitCPU  = "ms CPU of a process, beyond what it takes idle"
	unitIdle = "% of a core"
	unitTook = "ms until all act in the new view"
)

func runScale(r *run) error {
	cases := slices.DeleteFunc(scaleCases(r.quick), func(c scaleCase) bool { return !r.cases.MatchString(c.String()) })
	meter.steps(len(cases))
	for _, c := range cases {
		step("scale: %v", c)
		found := map[string]map[string]float64{}
		say := func(metric, who, unit string, value float64) {
			r.add(c.String(), who, metric, value, unit)
			if found[metric] == nil {
				found[metric] = map[string]float64{}
			}
			found[metric][who] = value
		}
		var err error
		switch c.kind {
		case "processes":
			err = measureProcesses(c.n, paceOf(r.quick), say)
		case "voter", "other":
			err = measureAmongBare(c.n, c.kind == "voter", paceOf(r.quick), say)
		default:
			err = measureInOne(c, say)
		}
		if err != nil {
			return fmt.Errorf("%v: %w", c, err)
		}
		r.judgeScale(c, found)
	}
	return nil
}

// judgeScale compares what was found with what the project aims at.
func (r *run) judgeScale(c scaleCase, found map[string]map[string]float64) {
	atMost := func(metric string, limit float64, what string) {
		for _, who := range []string{voters, others, worst, mean, ofGroup} {
			if v, ok := found[metric][who]; ok {
				r.verdict(v <= limit, "%v: %s, %s: %.3g (at most %g)", c, what, who, v, limit)
			}
		}
	}
	atMost("start_s", 30, "s until one view")
	for _, e := range []string{"join", "leave", "crash", "senior"} {
		atMost(e+"_cpu_ms", 20, "ms CPU of a "+e)
	}
	atMost("idle_percent", 1, "% of a core idle")
	atMost("talking_percent", 1, "% of a core idle, with links to those it has asked")
	atMost("link_kb", 20, "KB of a link at one end")
	atMost("lost_links", 0, "links lost for want of a keep-alive")
	atMost("joins_views", 10, "views of the joins within 10 s")
	atMost("loads_per_lost_key", 1, "loads of each key that was lost")
	atMost("errors", 0, "gets that failed")
}

// measureInOne measures a case that is one process.
func measureInOne(c scaleCase, say sayer) error {
	child, r, err := startChildOf([]string{scaleChild, c.kind, strconv.Itoa(c.n)})
	if err != nil {
		return err
	}
	child.stop()
	for _, f := range r.Figures {
		say(f.Metric, f.Who, f.Unit, f.Value)
	}
	return nil
}

// A fleet is the children of a case, each of them a process of the group.
type fleet struct {
	all  []*child
	urls []string // of all that will ever run
}

func (f *fleet) stop() {
	for _, c := range f.all {
		c.stop()
	}
}

// whole waits until all act in one view, of so many members, that has settled.
func whole(all []*child, members int, bound time.Duration) (epoch uint64, took time.Duration, err error) {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		states, err := callAll(all, command{Op: "state"})
		if err != nil {
			return 0, 0, err
		}
		if !slices.ContainsFunc(states, func(r reply) bool { return r.Members != members || r.Epoch != states[0].Epoch }) {
			return states[0].Epoch, time.Since(began), nil
		}
		if time.Since(began) > bound {
			return 0, 0, fmt.Errorf("%d processes are not one group of %d after %v: %+v", len(all), members, bound, states[0])
		}
	}
}

// spent returns how much CPU time each child uses while do runs and until the time has passed.
func spent(all []*child, d time.Duration, do func() error) (most, average time.Duration, err error) {
	began := time.Now()
	before, err := callAll(all, command{Op: "cpu"})
	if err == nil && do != nil {
		err = do()
	}
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(time.Until(began.Add(d)))
	after, err := callAll(all, command{Op: "cpu"})
	if err != nil {
		return 0, 0, err
	}
	for i := range all {
		cpu := time.Duration((after[i].CPU - before[i].CPU) * float64(time.Second))
		most = max(most, cpu)
		average += cpu / time.Duration(len(all))
	}
	return most, average, nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

const (
	window   = 3 * time.Second // of virtual time, in which the cost of an event falls
	patience = time.Minute
)

// A pace is how long real processes are watched.
type pace struct {
	settle time.Duration // after the start
	idle   time.Duration
	window time.Duration // in which the cost of an event falls
	joins  time.Duration // in which many join
	gets   time.Duration // in which all keys are asked for
}

func paceOf(quick bool) pace {
	if quick {
		return pace{500 * time.Millisecond, time.Second, 500 * time.Millisecond, time.Second, 300 * time.Millisecond}
	}
	return pace{5 * time.Second, 20 * time.Second, window, 10 * time.Second, 2 * time.Second}
}

// idle measures what the children take while nothing happens.
func idle(all []*child, pace pace, metric string, say sayer) (most, average time.Duration, err error) {
	d := pace.idle
	if most, average, err = spent(all, d, nil); err != nil {
		return 0, 0, err
	}
	say(metric, worst, unitIdle, 100*most.Seconds()/d.Seconds())
	say(metric, mean, unitIdle, 100*average.Seconds()/d.Seconds())
	return most * pace.window / d, average * pace.window / d, nil
}

// measureProcesses runs so many real processes through what may happen to a group.
func measureProcesses(n int, pace pace, say sayer) error {
	f := &fleet{}
	defer f.stop()
	for range n + 1 {
		c, err := startChild([]string{scaleChild, "member"})
		if err != nil {
			return err
		}
		f.all = append(f.all, c)
		f.urls = append(f.urls, c.url)
	}
	all, last := slices.Clone(f.all[:n]), f.all[n]
	join := command{Op: "join", Peers: f.urls[:n]} // the last one is not listed until it comes: its port does not refuse
	before, err := callAll(all, command{Op: "cpu"})
	if err != nil {
		return err
	}
	if _, err := callAll(all, join); err != nil {
		return err
	}
	_, took, err := whole(all, n, patience)
	if err != nil {
		return err
	}
	after, err := callAll(all, command{Op: "cpu"})
	if err != nil {
		return err
	}
	say("start_s", ofGroup, "s from the last start until all act in one view", took.Seconds())
	var cpu []float64
	for i := range all {
		cpu = append(cpu, 1e3*(after[i].CPU-before[i].CPU))
	}
	say("start_cpu_ms", worst, "ms CPU of a process", slices.Max(cpu))
	time.Sleep(pace.settle)
	idleMost, idleMean, err := idle(all, pace, "idle_percent", say)
	if err != nil {
		return err
	}
	event := func(what string, do func() error) error {
		var took time.Duration
		watch := slices.Clone(all) // without who joins or goes
		most, average, err := spent(watch, pace.window, func() (err error) {
			if err = do(); err == nil {
				_, took, err = whole(all, len(all), patience)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		say(what+"_ms", ofGroup, unitTook, ms(took))
		say(what+"_cpu_ms", worst, unitCPU, ms(most-idleMost))
		say(what+"_cpu_ms", mean, unitCPU, ms(average-idleMean))
		return nil
	}
	if err := event("join", func() error {
		_, err := last.call(command{Op: "join", Peers: f.urls})
		all = append(all, last)
		return err
	}); err != nil {
		return err
	}
	leaver := all[0]
	all = all[1:]
	if err := event("leave", func() error { _, err := leaver.call(command{Op: "leave"}); return err }); err != nil {
		return err
	}
	if err := measureKills(&all, max(1, n/10), pace, say); err != nil {
		return err
	}
	if _, _, err := idle(all, pace, "talking_percent", say); err != nil {
		return err
	}
	states, err := callAll(all, command{Op: "state"})
	if err != nil {
		return err
	}
	most := slices.MaxFunc(states, func(a, b reply) int { return cmp.Compare(a.RSS, b.RSS) })
	say("rss_mb", worst, "MB of a process, with Go's runtime and the keys of the last case", most.RSS/1e6)
	say("links", worst, "links of a process", float64(slices.MaxFunc(states, func(a, b reply) int { return cmp.Compare(a.Links, b.Links) }).Links))
	return nil
}

// measureKills kills processes while the others ask for all keys.
func measureKills(all *[]*child, kills int, pace pace, say sayer) error {
	var keys []string
	for i := range 50 * len(*all) {
		keys = append(keys, fmt.Sprint("key", i))
	}
	if _, err := callAll(*all, command{Op: "get", Keys: keys, Load: load{For: pace.gets / 2}}); err != nil {
		return err
	}
	gone, mine := (*all)[:kills], (*all)[kills:]
	*all = mine
	owners, err := mine[0].call(command{Op: "owners", Keys: keys})
	if err != nil {
		return err
	}
	lost := 0
	for _, o := range owners.Owners {
		if slices.ContainsFunc(gone, func(c *child) bool { return c.url == o }) {
			lost++
		}
	}
	if _, err := callAll(mine, command{Op: "loads"}); err != nil {
		return err
	}
	for _, c := range gone {
		if err := c.cmd.Process.Kill(); err != nil {
			return err
		}
	}
	asked := make(map[*child][]string) // each key by three processes
	for _, key := range keys {
		for _, i := range rand.Perm(len(mine))[:min(3, len(mine))] {
			asked[mine[i]] = append(asked[mine[i]], key)
		}
	}
	gets := make(chan error, 1)
	failed := int64(0)
	go func() {
		replies, err := callAllWith(mine, func(c *child) (reply, error) {
			return c.call(command{Op: "get", Keys: asked[c], Load: load{For: pace.gets}})
		})
		for _, r := range replies {
			failed += r.Errors
		}
		gets <- err
	}()
	if err := <-gets; err != nil {
		return err
	}
	if _, _, err := whole(mine, len(mine), patience); err != nil {
		return err
	}
	replies, err := callAll(mine, command{Op: "loads"})
	if err != nil {
		return err
	}
	total, most := 0.0, 0.0
	counts := map[string]float64{}
	for _, r := range replies {
		for key, n := range r.Rates {
			counts[key] += n
			total += n
			most = max(most, counts[key])
		}
	}
	say("crashes", ofGroup, "processes that crash at once", float64(kills))
	say("lost_keys", ofGroup, "keys that they owned", float64(lost))
	say("loads_per_lost_key", ofGroup, "all loads afterwards, of any key, for each of them", total/float64(max(lost, 1)))
	say("most_loads", ofGroup, "of one key", most)
	say("errors", ofGroup, "gets that failed", float64(failed))
	return nil
}

// measureAmongBare measures one whole process, with real connections, in a group of n of which the
// others are bare members in one other process.
func measureAmongBare(n int, votes bool, pace pace, say sayer) error {
	f := &fleet{}
	defer f.stop()
	subject, err := startChild([]string{scaleChild, "member"})
	if err != nil {
		return err
	}
	f.all = append(f.all, subject)
	bare, err := startChild([]string{scaleChild, "bare"})
	if err != nil {
		return err
	}
	f.all = append(f.all, bare)
	size := 0
	come := func(n int, within time.Duration, peers ...string) (string, error) {
		size += n
		r, err := bare.call(command{Op: "join", Count: n, Peers: peers, Load: load{For: within}})
		return r.URL, err
	}
	subjectComes := func(peers ...string) error {
		size++
		_, err := subject.call(command{Op: "join", Peers: append(peers, subject.url)})
		return err
	}
	spread := time.Duration(n) * 20 * time.Millisecond
	first := subject.url
	if votes {
		err = subjectComes()
	} else {
		if first, err = come(1, 0); err == nil {
			time.Sleep(time.Second)
			_, err = come(n-2, spread, first)
		}
		err = cmp.Or(err, subjectComes(first))
	}
	if err != nil {
		return err
	}
	if votes {
		if _, _, err = whole([]*child{subject}, 1, patience); err != nil {
			return err
		}
		if _, err := come(n-1, spread, first); err != nil {
			return err
		}
	}
	both := []*child{subject, bare}
	if _, _, err := whole(both, size, patience); err != nil {
		return err
	}
	time.Sleep(pace.settle)
	who := others
	if votes {
		who = voters
	}
	rename := func(metric, _, unit string, value float64) { say(metric, who, unit, value) }
	epoch, _, err := whole(both, size, patience)
	if err != nil {
		return err
	}
	idleMost, _, err := idle([]*child{subject}, pace, "idle_percent", rename)
	if err != nil {
		return err
	}
	state, err := subject.call(command{Op: "state"})
	if err != nil {
		return err
	}
	if state.Epoch != epoch {
		return errors.New("the view has changed although nothing happened")
	}
	say("links", who, "links of a process", float64(state.Links))
	say("rss_mb", who, "MB of a process, with Go's runtime", state.RSS/1e6)
	event := func(what string, do func() error) error {
		var took time.Duration
		most, _, err := spent([]*child{subject}, pace.window, func() (err error) {
			if err = do(); err == nil {
				_, took, err = whole(both, size, patience)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		say(what+"_ms", ofGroup, unitTook, ms(took))
		say(what+"_cpu_ms", who, unitCPU, ms(most-idleMost))
		return nil
	}
	go1 := func(op string, count int) error {
		size -= count
		_, err := bare.call(command{Op: op, Count: count})
		return err
	}
	if err := event("join", func() error { _, err := come(1, 0, first); return err }); err != nil {
		return err
	}
	if err := event("leave", func() error { return go1("leave", 1) }); err != nil {
		return err
	}
	if err := event("crash", func() error { return go1("crash", 1) }); err != nil {
		return err
	}
	more := max(2, n/10)
	if epoch, _, err = whole(both, size, patience); err != nil {
		return err
	}
	if _, err := come(more, pace.joins, first); err != nil {
		return err
	}
	after, _, err := whole(both, size, patience)
	if err != nil {
		return err
	}
	say("joins", ofGroup, "processes that join within 10 s", float64(more))
	say("joins_views", ofGroup, "views that they make", float64(after-epoch))
	return event("crashes", func() error { return go1("crash", more) })
}
