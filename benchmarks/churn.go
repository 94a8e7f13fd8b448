package main

// churn.go is the suite of what callers and the origin see when processes come and go in good order: one
// joins, one leaves, all are replaced one after another. Meanwhile a hundredth of the keys is deleted.

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A churnCase is a change of who there is.
type churnCase struct {
	name  string
	named bool // the processes have names of their own, and keep them
	all   bool // all are replaced, so loads are compared with those of a cold start
	do    func(*trial) error
}

var churnCases = []churnCase{
	{name: "join", do: (*trial).joinOne},
	{name: "leave", do: (*trial).leaveOne},
	{name: "replace", named: true, all: true, do: (*trial).replaceInPlace},
	{name: "replace-renamed", all: true, do: (*trial).replaceByNew},
}

// A churnPace is how long each part takes.
type churnPace struct {
	warm  time.Duration // until hot keys are where they will be
	base  time.Duration // for comparison
	pause time.Duration // between the replacements of two processes
	rest  time.Duration // after the last change
}

func churnPaceOf(quick bool) churnPace {
	if quick {
		return churnPace{500 * time.Millisecond, 500 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond}
	}
	return churnPace{4 * time.Second, 4 * time.Second, 3 * time.Second, 10 * time.Second}
}

var churnMetrics = []metric{
	{name: "busy", unit: "% of the machine, before"},
	{name: "took_s", unit: "s for all changes"},
	{name: "moved_keys", unit: "keys that another process holds afterwards, or one that was started anew"},
	{name: "loads", unit: "% of these, until all keys have been read again"},
	{name: "loads_in_event", unit: "loads until 10 s after the last change"},
	{name: "hits_before", unit: "% of the keys read"},
	{name: "hits_during", unit: "% of the keys read, until 10 s after"},
	{name: "hits_worst", unit: "%, of a second"},
	{name: "hits_lost", unit: "points"},
	{name: "base_p99.9_ms", unit: "ms, of reads before"},
	{name: "p99.9_ms", unit: "ms, of reads meanwhile"},
	{name: "read_max_ms", unit: "ms, most", most: true},
	{name: "write_max_ms", unit: "ms, most", most: true},
	{name: "read_errors", unit: "most", most: true},
	{name: "write_errors", unit: "most", most: true},
	{name: "deleted", unit: "keys meanwhile"},
	{name: "undead", unit: "reads of what was deleted, most", most: true},
	{name: "stale", unit: "reads, most", most: true},
	{name: "skipped", unit: "calls that this machine was too slow to make", most: true},
}

func runChurn(r *run) error {
	found := findings{}
	var cases []trialCase
	for _, c := range churnCases {
		cases = append(cases, trialCase{c.name, func(s trialSystem) bool { return s.server == "" }, func(s trialSystem, last bool) error {
			named := func(config *trialConfig) {
				if c.named && s.isCovey() {
					config.Name = "member"
				}
			}
			return withTrial(r, s, trialProcesses, named, func(t *trial) error { return t.churn(r, c, found, last) })
		}})
	}
	names, err := r.try("churn", cases)
	if err != nil {
		return err
	}
	found.report(r, names, churnMetrics)
	for _, c := range churnCases {
		r.judgeChurn(c, found)
	}
	return nil
}

// churn makes a change while all are called and keys are deleted.
func (t *trial) churn(r *run, c churnCase, found findings, show bool) error {
	say := func(metric string, v float64) { found.add(c.name, t.system.name, metric, v) }
	pace := churnPaceOf(r.quick)
	if err := t.drive(t.live(), 0); err != nil {
		return err
	}
	time.Sleep(pace.warm)
	owners, err := t.ownersOf(t.peers[1])
	if err != nil {
		return err
	}
	base, before := span{from: t.nextSlot()}, machineBusy()
	time.Sleep(pace.base)
	base.to = t.nextSlot()
	say("busy", machineBusy().since(before))

	t.forgetLoads()
	event := span{from: base.to}
	if !t.system.readOnly { // so fast that all are gone before the end of the shortest case
		t.deletes = 2 * float64(t.set.keys) / 100 / pace.rest.Seconds()
		if c.all {
			t.deletes /= 2
		}
		if err := t.drive(t.live(), t.deletes); err != nil {
			return err
		}
	}
	t.happened = map[int]string{}
	began := time.Now()
	if err := c.do(t); err != nil {
		return err
	}
	say("took_s", time.Since(began).Seconds())
	time.Sleep(pace.rest)
	event.to = t.nextSlot()
	if err := t.rest(t.live()); err != nil {
		return err
	}
	if err := t.whole(); err != nil {
		return err
	}
	after, err := t.ownersOf(t.peers[1])
	if err != nil {
		return err
	}
	b, y := t.tally(base, everywhere...), t.tally(event, everywhere...)
	say("base_p99.9_ms", b.reads.quantile(0.999))
	say("p99.9_ms", y.reads.quantile(0.999))
	say("read_max_ms", float64(y.reads.most)/1e3)
	say("write_max_ms", float64(y.took[opWrite].most)/1e3)
	say("read_errors", y.failed(opGet, opLookup, opMany))
	say("write_errors", y.failed(opWrite))
	say("loads_in_event", float64(y.loads))
	say("hits_before", b.hitRatio())
	say("hits_during", y.hitRatio())
	say("hits_lost", b.hitRatio()-y.hitRatio())
	worst := 100.0
	for from := event.from; from+slotsOf(time.Second) <= event.to; from++ {
		s := t.tally(span{from, from + slotsOf(time.Second)}, everywhere...)
		if float64(s.keys) > t.set.rate/2 { // else calls wait, and their loads come later
			worst = min(worst, s.hitRatio())
		}
	}
	say("hits_worst", worst)
	if show {
		r.lines = append(r.lines, t.timeLine("churn", c.name, span{base.from, event.to}, event.from, t.happened))
	}
	if err := t.getAll(t.live()); err != nil {
		return err
	}
	loads, _ := t.loadsOf(t.allKeys())
	moved := 0
	for key := range owners {
		if c.all || owners[key] != after[key] {
			moved++
		}
	}
	say("moved_keys", float64(moved))
	say("loads", 100*loads/float64(moved))
	deleted := 0
	for key := range t.set.keys {
		if g := t.ledger.gone[key].Load(); g != 0 && t.ledger.acknowledged[key].Load() >= g {
			deleted++
		}
	}
	stale, undead, wrong, skipped := t.violations()
	say("deleted", float64(deleted))
	say("stale", stale)
	say("undead", undead)
	say("skipped", skipped)
	t.mustNotBe(r, c.name, stale, wrong)
	return nil
}

// note says in the time line what happens now.
func (t *trial) note(format string, args ...any) {
	s := t.ledger.slotAt(time.Now())
	t.happened[s] = strings.TrimPrefix(t.happened[s]+", "+fmt.Sprintf(format, args...), ", ")
}

// joinOne has a fourth process join.
func (t *trial) joinOne() error {
	there := t.live()
	if err := t.start(len(there), ""); err != nil {
		return err
	}
	t.note("joins")
	if err := t.join(t.peers[len(there)], t.live()); err != nil {
		return err
	}
	if err := t.whole(); err != nil {
		return err
	}
	t.note("is ready")
	return t.drive(t.live(), t.deletes)
}

// join makes a process one of those that are there then, which hear of it.
func (t *trial) join(p *child, there []*child) error {
	if _, err := p.call(command{Op: "join", Peers: urlsOf(there)}); err != nil {
		return err
	}
	return t.list(there, there)
}

// leaveOne has the last process leave.
func (t *trial) leaveOne() error {
	all := t.live()
	place := len(all) - 1
	return t.leave(place, all[:place])
}

// leave ends the process at a place in good order. Its callers go to the others first.
func (t *trial) leave(place int, others []*child) error {
	p := t.peers[place]
	if err := t.rest([]*child{p}); err != nil {
		return err
	}
	if err := t.drive(others, t.deletes); err != nil {
		return err
	}
	return t.retire(place, p, others)
}

// retire ends a process that nobody calls.
func (t *trial) retire(place int, p *child, others []*child) error {
	t.note("leaves")
	if !t.system.isCovey() { // its list has to be right before
		if err := t.list(others, others); err != nil {
			return err
		}
	}
	if _, err := p.call(command{Op: "leave"}); err != nil {
		return err
	}
	t.note("has left")
	if t.peers[place] == p {
		t.peers[place] = nil
	}
	p.stop()
	if t.system.isCovey() {
		return t.list(others, others)
	}
	return nil
}

// replaceInPlace restarts one process after another under its name and at its address.
func (t *trial) replaceInPlace() error {
	for place := range t.live() {
		p := t.peers[place]
		others := slices.DeleteFunc(t.live(), func(o *child) bool { return o == p })
		if err := t.leave(place, others); err != nil {
			return err
		}
		if err := t.start(place, addressOf(p.url)); err != nil {
			return err
		}
		t.note("comes back")
		if err := t.join(t.peers[place], t.live()); err != nil {
			return err
		}
		if err := t.whole(); err != nil {
			return err
		}
		t.note("is ready")
		if err := t.drive(t.live(), t.deletes); err != nil {
			return err
		}
		time.Sleep(churnPaceOf(t.set.quick).pause)
	}
	return nil
}

// replaceByNew starts a new process for each before that one leaves.
func (t *trial) replaceByNew() error {
	for place := range t.live() {
		old := t.peers[place]
		if err := t.start(place, ""); err != nil {
			return err
		}
		t.note("a new one comes")
		t.leaving = old
		if err := t.join(t.peers[place], append(t.live(), old)); err != nil {
			return err
		}
		if err := t.whole(old); err != nil {
			return err
		}
		t.note("is ready")
		if err := t.rest([]*child{old}); err != nil {
			return err
		}
		if err := t.drive(t.live(), t.deletes); err != nil {
			return err
		}
		if err := t.retire(place, old, t.live()); err != nil {
			return err
		}
		t.leaving = nil
		if err := t.whole(); err != nil {
			return err
		}
		time.Sleep(churnPaceOf(t.set.quick).pause)
	}
	return nil
}

// judgeChurn compares with what the project aims at.
func (r *run) judgeChurn(c churnCase, found findings) {
	of := "% of the keys that moved were loaded"
	if c.all {
		of = "% of the loads of a cold start"
	}
	found.judge(r, c.name, churnMetrics, func(s trialSystem, judge atMost) {
		judge("read_errors", 0, "errors of Get, Lookup and GetMany")
		judge("undead", 0, "reads of deleted keys")
		judge("stale", 0, "stale reads")
		judge("loads", 2, of)
		judge("hits_lost", 1, "points less hit ratio")
		if c.all {
			judge("write_max_ms", 1000, "ms is the slowest write")
		}
	})
}
