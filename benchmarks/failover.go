package main

// failover.go is the suite of what callers see when one of three processes crashes or stands still, or
// the server on which they all rely.

import (
	"runtime"
	"slices"
	"syscall"
	"time"
)

// A failure is something that happens to a system.
type failure struct {
	name   string
	stop   bool // for a while, else for good
	server bool // to its server, not to one of its processes
}

var failures = []failure{
	{name: "kill"},
	{name: "stop", stop: true},
	{name: "kill-server", server: true},
	{name: "stop-server", stop: true, server: true},
}

// A failoverPace is how long each part takes.
type failoverPace struct {
	warm  time.Duration // until hot keys are where they will be
	base  time.Duration // for comparison
	event time.Duration // of which the latencies are judged
	stop  time.Duration // for which a process stands still
	rest  time.Duration // after the event, or after the process goes on
	after time.Duration // how long it takes an operator to correct groupcache's list, or to start a server again
}

func failoverPaceOf(quick bool) failoverPace {
	if quick {
		return failoverPace{500 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 4 * time.Second, 500 * time.Millisecond, time.Second}
	}
	return failoverPace{4 * time.Second, 4 * time.Second, 5 * time.Second, 10 * time.Second, 7 * time.Second, 5 * time.Second}
}

// probedKeys are written by each process that is left.
const probedKeys = 20

var failoverMetrics = []metric{
	{name: "busy", unit: "% of the machine, before"},
	{name: "cpu", unit: "% of the machine, of this system's processes, before"},
	{name: "base_p99.9_ms", unit: "ms, of reads before"},
	{name: "p99.9_ms", unit: "ms, of reads in the event"},
	{name: "get_max_ms", unit: "ms, in the event", most: true},
	{name: "lookup_max_ms", unit: "ms, in the event", most: true},
	{name: "many_max_ms", unit: "ms, of GetManys in the event", most: true},
	{name: "write_max_ms", unit: "ms, in the event", most: true},
	{name: "lookup_misses", unit: "Lookups that found nothing, until the end", most: true},
	{name: "get_errors", unit: "of Get and GetMany, most", most: true},
	{name: "lookup_errors", unit: "most", most: true},
	{name: "write_errors", unit: "most", most: true},
	{name: "passed", unit: "failed reads that callers made up for by loads", most: true},
	{name: "its_keys", unit: "keys of the process that fails"},
	{name: "extra_loads", unit: "% of its keys, until all keys have been read again"},
	{name: "loads_in_event", unit: "loads until 12 s after"},
	{name: "most_loads", unit: "of one of its keys", most: true},
	{name: "other_loads", unit: "of keys of others"},
	{name: "writable_ms", unit: "ms until its keys can be written again"},
	{name: "stale", unit: "reads, most", most: true},
	{name: "skipped", unit: "calls that this machine was too slow to make", most: true},
}

func runFailover(r *run) error {
	found := findings{}
	var cases []trialCase
	for _, f := range failures {
		cases = append(cases, trialCase{f.name, func(s trialSystem) bool { return !f.server || s.server != "" }, func(s trialSystem, last bool) error {
			return withTrial(r, s, trialProcesses, nil, func(t *trial) error { return t.failover(r, f, found, last) })
		}})
	}
	names, err := r.try("failover", cases)
	if err != nil {
		return err
	}
	found.report(r, names, failoverMetrics)
	for _, name := range names {
		r.judgeFailover(name, found)
	}
	return runCost(r)
}

// failover lets the last of the processes fail, or the server, while all are called.
func (t *trial) failover(r *run, f failure, found findings, show bool) error {
	say := func(metric string, v float64) { found.add(f.name, t.system.name, metric, v) }
	pace := failoverPaceOf(r.quick)
	all := t.live()
	place := len(all) - 1
	victim, left := all[place], all[:place]
	if f.server {
		left = all
	}
	if err := t.drive(all, 0); err != nil {
		return err
	}
	time.Sleep(pace.warm)
	owners, err := t.ownersOf(all[0])
	if err != nil {
		return err
	}
	its := heldBy(owners, victim)
	if f.server {
		its = t.allKeys()
	}
	base, before := span{from: t.nextSlot()}, machineBusy()
	cpu, err := t.cpu()
	if err != nil {
		return err
	}
	time.Sleep(pace.base)
	base.to = t.nextSlot()
	after, err := t.cpu()
	if err != nil {
		return err
	}
	say("busy", machineBusy().since(before))
	say("cpu", 100*(after-cpu)/pace.base.Seconds()/float64(runtime.NumCPU()))

	event := span{from: base.to, to: base.to + slotsOf(pace.event)}
	happened := map[int]string{event.from: f.name}
	end := event.from + slotsOf(pace.event+pace.rest)
	t.forgetLoads()
	proc := victim.cmd.Process
	if f.server {
		proc = t.server.cmd.Process
	}
	switch {
	case f.stop:
		err = proc.Signal(syscall.SIGSTOP)
	case f.server:
		t.server.stop()
	default:
		t.kill(place)
	}
	if err != nil {
		return err
	}
	probe := make(chan error, 1)
	if !f.server { // its callers go to the others
		if err := t.drive(left, 0); err != nil {
			return err
		}
	}
	go func() { probe <- t.probe(left, its, say) }()
	switch {
	case f.stop:
		end = event.from + slotsOf(pace.stop+pace.rest)
		time.Sleep(time.Until(t.timeOf(event.from).Add(pace.stop)))
		happened[t.ledger.slotAt(time.Now())] = "goes on"
		if err := proc.Signal(syscall.SIGCONT); err != nil {
			return err
		}
	case f.server:
		time.Sleep(pace.after)
		happened[t.ledger.slotAt(time.Now())] = "is started again, empty"
		if err := t.restartServer(); err != nil {
			return err
		}
	}
	if err := <-probe; err != nil {
		return err
	}
	if f.stop && !f.server {
		if err := t.drive(all, 0); err != nil {
			return err
		}
	}
	if t.system.name == "groupcache" && !f.stop { // a process that goes on needs no new list
		time.Sleep(time.Until(t.timeOf(event.from).Add(pace.after)))
		happened[t.ledger.slotAt(time.Now())] = "the lists are corrected"
		if err := t.list(left, left); err != nil {
			return err
		}
	}
	time.Sleep(time.Until(t.timeOf(end)))
	if err := t.rest(t.live()); err != nil {
		return err
	}
	if err := t.whole(); err != nil {
		return err
	}
	places := everywhere[:place]
	if f.server {
		places = everywhere
	}
	b, y := t.tally(base, everywhere...), t.tally(event, places...)
	say("base_p99.9_ms", b.reads.quantile(0.999))
	say("p99.9_ms", y.reads.quantile(0.999))
	for op, metric := range map[int]string{opGet: "get_max_ms", opLookup: "lookup_max_ms", opMany: "many_max_ms", opWrite: "write_max_ms"} {
		say(metric, float64(y.took[op].most)/1e3)
	}
	whole := t.tally(span{event.from, end}, places...)
	say("get_errors", whole.failed(opGet, opMany))
	say("lookup_errors", whole.failed(opLookup))
	say("write_errors", whole.failed(opWrite))
	say("lookup_misses", float64(whole.misses))
	say("passed", float64(whole.passed))
	say("loads_in_event", float64(whole.loads))
	if show {
		r.lines = append(r.lines, t.timeLine("failover", f.name, span{base.from, end}, event.from, happened))
	}
	if err := t.getAll(t.live()); err != nil {
		return err
	}
	loads, _ := t.loadsOf(t.allKeys())
	if len(its) > 0 {
		of, most := t.loadsOf(its)
		say("its_keys", float64(len(its)))
		say("extra_loads", 100*loads/float64(len(its)))
		say("most_loads", most)
		say("other_loads", loads-of)
	}
	stale, _, wrong, skipped := t.violations()
	say("stale", stale)
	if !f.stop {
		say("skipped", skipped)
	}
	t.mustNotBe(r, f.name, stale, wrong)
	return nil
}

// probe writes keys of the process that has failed, and says how long it took until all writes were
// confirmed.
func (t *trial) probe(by []*child, its []int, say func(string, float64)) error {
	if len(its) == 0 || t.system.readOnly {
		return nil
	}
	replies, err := callAllWith(by, func(c *child) (reply, error) {
		keys := writableBy(slices.Index(t.peers, c), its, probedKeys)
		return c.call(command{Op: "write", Trial: trialOrder{Keys: keys}})
	})
	longest := time.Duration(0)
	for _, r := range replies {
		longest = max(longest, r.Longest)
	}
	say("writable_ms", ms(longest))
	return err
}

// judgeFailover compares with what the project aims at.
func (r *run) judgeFailover(name string, found findings) {
	p999, extra := 100.0, 1.0
	if name == "stop" {
		p999 = 300
	}
	found.judge(r, name, failoverMetrics, func(s trialSystem, judge atMost) {
		judge("get_errors", 0, "errors of Get and GetMany")
		judge("stale", 0, "stale reads")
		if s.replicas > 1 {
			judge("lookup_errors", 0, "errors of Lookup")
			judge("p99.9_ms", p999, "ms is the p99.9 of reads in the event")
			judge("extra_loads", extra, "% of its keys were loaded")
			judge("writable_ms", 3000, "ms until its keys could be written")
		} else if name == "kill" {
			judge("most_loads", 1, "loads of one of its keys")
			judge("extra_loads", 100, "% of its keys were loaded")
		}
	})
}
