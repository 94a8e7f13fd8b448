package main

// restart.go is the suite of what the origin sees when all processes have ended and start again.

import (
	"path/filepath"
	"time"
)

// A restartCase is a way in which all processes end and start again.
type restartCase struct {
	name     string
	snapshot bool
	trust    bool
	alone    bool // one process without a group
	crash    bool // they are killed, else they end in good order
}

var restartCases = []restartCase{
	{name: "cold"},
	{name: "alone", alone: true, snapshot: true},
	{name: "snapshot", snapshot: true},
	{name: "trust", snapshot: true, trust: true},
	{name: "crash-trust", snapshot: true, trust: true, crash: true},
}

// can reports whether a system does what the case needs.
func (c *restartCase) can(s trialSystem) bool {
	switch {
	case s.server != "": // it has not ended
		return false
	case !s.isCovey():
		return c.name == "cold"
	case c.alone && s.replicas > 1, c.trust && !hasTrust():
		return false
	}
	return true
}

// A restartPace is how long each part takes.
type restartPace struct {
	warm time.Duration
	down time.Duration
	rest time.Duration // for which they are called after the restart
}

func restartPaceOf(quick bool) restartPace {
	if quick {
		return restartPace{500 * time.Millisecond, 100 * time.Millisecond, time.Second}
	}
	return restartPace{3*time.Second + snapshotEvery, 2 * time.Second, 10 * time.Second}
}

var restartMetrics = []metric{
	{name: "took_s", unit: "s from the first start until all may be called"},
	{name: "loads", unit: "% of those of a cold start, until all keys have been read once"},
	{name: "conditional", unit: "% of the loads"},
	{name: "hits_first", unit: "% of the keys read in the first second"},
	{name: "hits", unit: "% of the keys read in 10 s"},
	{name: "p99.9_ms", unit: "ms, of reads in 10 s"},
	{name: "read_errors", unit: "most", most: true},
	{name: "write_errors", unit: "most", most: true},
	{name: "stale", unit: "reads, most", most: true},
}

func runRestart(r *run) error {
	found := findings{}
	var cases []trialCase
	for _, c := range restartCases {
		n := trialProcesses
		if c.alone {
			n = 1
		}
		cases = append(cases, trialCase{c.name, c.can, func(s trialSystem, last bool) error {
			return withTrial(r, s, n, c.configure, func(t *trial) error { return t.restart(r, c, found, last) })
		}})
	}
	names, err := r.try("restart", cases)
	if err != nil {
		return err
	}
	found.report(r, names, restartMetrics)
	for _, c := range restartCases {
		r.judgeRestart(c, found)
	}
	return nil
}

func (c *restartCase) configure(config *trialConfig) {
	config.Alone, config.Trust = c.alone, c.trust
	if c.snapshot {
		config.Snapshot = filepath.Join(filepath.Dir(config.Ledger), "snapshot")
	}
}

// changedMeanwhile reports whether a key changes at the origin while all processes are down.
func changedMeanwhile(key int) bool { return key%100 == 3 }

// restart ends all processes and starts them again where they were.
func (t *trial) restart(r *run, c restartCase, found findings, show bool) error {
	say := func(metric string, v float64) { found.add(c.name, t.system.name, metric, v) }
	pace := restartPaceOf(r.quick)
	all := t.live()
	if err := t.drive(all, 0); err != nil {
		return err
	}
	time.Sleep(pace.warm)
	if c.crash {
		for place := range all {
			t.kill(place)
		}
	} else {
		if err := t.rest(all); err != nil {
			return err
		}
		if _, err := callAll(all, command{Op: "leave"}); err != nil {
			return err
		}
		for place := range all {
			t.kill(place)
		}
	}
	for key := range t.set.keys {
		if changedMeanwhile(key) {
			t.ledger.stored[key].Store(t.ledger.next[key].Add(1))
		}
	}
	time.Sleep(pace.down)
	t.forgetLoads()
	t.happened = map[int]string{}
	began := time.Now()
	for place, p := range all {
		if err := t.start(place, addressOf(p.url)); err != nil {
			return err
		}
	}
	if err := t.joinAll(); err != nil {
		return err
	}
	say("took_s", time.Since(began).Seconds())
	event := span{from: t.nextSlot()}
	if err := t.drive(t.live(), 0); err != nil {
		return err
	}
	time.Sleep(pace.rest)
	event.to = t.nextSlot()
	if err := t.rest(t.live()); err != nil {
		return err
	}
	first, y := t.tally(span{event.from, event.from + slotsOf(time.Second)}, everywhere...), t.tally(event, everywhere...)
	say("hits_first", first.hitRatio())
	say("hits", y.hitRatio())
	say("p99.9_ms", y.reads.quantile(0.999))
	say("read_errors", y.failed(opGet, opLookup, opMany))
	say("write_errors", y.failed(opWrite))
	if show {
		r.lines = append(r.lines, t.timeLine("restart", c.name, event, event.from, t.happened))
	}
	if err := t.getAll(t.live()); err != nil {
		return err
	}
	loads, _ := t.loadsOf(t.allKeys())
	say("loads", 100*loads/float64(t.set.keys))
	whole := t.tally(span{event.from, t.nextSlot()})
	say("conditional", 100*float64(whole.conditional)/max(1, float64(whole.loads)))
	stale, _, wrong, _ := t.violations()
	say("stale", stale)
	if c.crash {
		stale = 0 // what was written since the snapshot is gone, as is documented
	}
	t.mustNotBe(r, c.name, stale, wrong)
	return nil
}

// judgeRestart compares with what the project aims at.
func (r *run) judgeRestart(c restartCase, found findings) {
	found.judge(r, c.name, restartMetrics, func(s trialSystem, judge atMost) {
		judge("read_errors", 0, "errors of Get, Lookup and GetMany")
		if !c.crash || c.trust { // after a crash nothing is trusted
			judge("stale", 0, "stale reads")
		}
		switch {
		case c.alone || c.trust && !c.crash:
			judge("loads", 5, "% of the loads of a cold start")
		case c.snapshot:
			if vs := found[[3]string{c.name, s.name, "conditional"}]; len(vs) > 0 {
				r.verdict(median(vs) == 100, "%s, %s: %s %% of the loads were conditional (100)", c.name, s.name, number(median(vs)))
			}
		}
	})
}
