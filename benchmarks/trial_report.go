package main

// trial_report.go adds up what a trial's processes and origin have counted, and shows it over time.

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A span is some slots of the time line.
type span struct{ from, to int }

func slotsOf(d time.Duration) int { return int(d / slotLength) }

// A tally is what was counted in a span.
type tally struct {
	took        [opKinds]spread
	reads       spread // Gets, Lookups and GetManys
	keys        int64  // that were read
	misses      int64  // of Lookups
	passed      int64  // failures that callers have made up for by a load
	errors      [opKinds][failureKinds]int64
	loads       int64
	conditional int64
}

func (t *trial) tally(w span, places ...int) (sum tally) {
	for s := w.from; s < min(w.to, trialSlots); s++ {
		sum.loads += int64(t.ledger.slots[s].loads.Load())
		sum.conditional += int64(t.ledger.slots[s].conditional.Load())
		for _, place := range places {
			sum.add(&t.ledger.of[place].slots[s])
		}
	}
	return sum
}

func (y *tally) add(s *slot) {
	y.keys += int64(s.keys.Load())
	y.misses += int64(s.misses.Load())
	y.passed += int64(s.passed.Load())
	for op := range s.errors {
		y.took[op].add(&s.took[op])
		if op != opWrite {
			y.reads.add(&s.took[op])
		}
		for kind := range s.errors[op] {
			y.errors[op][kind] += int64(s.errors[op][kind].Load())
		}
	}
}

// hitRatio is the share of the keys read that did not have to be loaded, in percent.
func (y *tally) hitRatio() float64 {
	return 100 * (1 - float64(y.loads)/float64(max(1, y.keys)))
}

// failed returns how many operations of some kinds have failed.
func (y *tally) failed(ops ...int) (n float64) {
	for _, op := range ops {
		for _, of := range y.errors[op] {
			n += float64(of)
		}
	}
	return n
}

// failures names what went wrong.
func (y *tally) failures() string {
	var all []string
	for kind, name := range failureNames {
		reads := y.errors[opGet][kind] + y.errors[opLookup][kind] + y.errors[opMany][kind]
		if reads > 0 {
			all = append(all, fmt.Sprintf("%d reads %s", reads, name))
		}
		if n := y.errors[opWrite][kind]; n > 0 {
			all = append(all, fmt.Sprintf("%d writes %s", n, name))
		}
	}
	if y.passed > 0 {
		all = append(all, fmt.Sprintf("%d made up for by loads", y.passed))
	}
	return strings.Join(all, ", ")
}

// timeLine shows what was counted, and what happened when, by slot. zero is the slot from which times
// count.
func (t *trial) timeLine(suite, name string, w span, zero int, happened map[int]string) timeLine {
	msOf := func(slot int) int { return int(time.Duration(slot-zero) * slotLength / time.Millisecond) }
	l := timeLine{
		Suite: suite, Case: name, System: t.system.name, Rate: t.set.rate, FromMs: msOf(w.from), StepMs: int(slotLength / time.Millisecond),
		text: t.seconds(name, w, happened),
	}
	for s := w.from; s < w.to; s++ {
		y := t.tally(span{s, s + 1}, everywhere...)
		l.Keys = append(l.Keys, y.keys)
		l.Loads = append(l.Loads, y.loads)
		l.Errors = append(l.Errors, int64(y.failed(opGet, opLookup, opMany, opWrite)))
		l.P99 = append(l.P99, y.reads.quantile(0.99))
		if what := happened[s]; what != "" {
			l.Events = append(l.Events, happening{msOf(s), what})
		}
	}
	return l
}

// seconds is a table of the time line.
func (t *trial) seconds(name string, w span, happened map[int]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s: second by second\n\n", name, t.system.name)
	b.WriteString("| s | keys read/s | loads/s | hits % | p50 ms | p99 ms | p99.9 ms | max ms | writes/s | write max ms | errors | |\n")
	b.WriteString("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---|\n")
	step := slotsOf(time.Second)
	for from := w.from; from < w.to; from += step {
		y := t.tally(span{from, from + step}, everywhere...)
		var what []string
		for s := from; s < from+step; s++ {
			if h := happened[s]; h != "" {
				what = append(what, h)
			}
		}
		fmt.Fprintf(&b, "| %d | %d | %d | %.1f | %.1f | %.1f | %.1f | %.1f | %d | %.1f | %s | %s |\n", (from-w.from)/step, y.keys, y.loads, y.hitRatio(),
			y.reads.quantile(0.5), y.reads.quantile(0.99), y.reads.quantile(0.999), float64(y.reads.most)/1e3,
			y.took[opWrite].n, float64(y.took[opWrite].most)/1e3, y.failures(), strings.Join(what, ", "))
	}
	return b.String()
}

// everywhere is all places.
var everywhere = []int{0, 1, 2, 3}

// A metric is a kind of figure, and how those of several trials become one.
type metric struct {
	name, unit string
	most       bool // else their median
}

// findings are the figures of trials, by case, system and metric.
type findings map[[3]string][]float64

func (f findings) add(c, system, metric string, v float64) {
	k := [3]string{c, system, metric}
	f[k] = append(f[k], v)
}

// report adds the figures to the run, in the order of the metrics.
func (f findings) report(r *run, cases []string, metrics []metric) {
	for _, m := range metrics {
		for _, c := range cases {
			for _, s := range trialSystems {
				if vs := f[[3]string{c, s.name, m.name}]; len(vs) > 0 {
					r.addAll(c, s.name, m.name, vs, m.of, m.unit)
				}
			}
		}
	}
}

func (m metric) of(vs []float64) float64 {
	if m.most {
		return slices.Max(vs)
	}
	return median(vs)
}

// atMost judges a metric of one system in one case by what it is to be at most.
type atMost func(metric string, limit float64, what string)

// judge has Covey's figures of a case judged.
func (f findings) judge(r *run, c string, metrics []metric, of func(s trialSystem, judge atMost)) {
	for _, s := range trialSystems {
		if !s.isCovey() {
			continue
		}
		of(s, func(name string, limit float64, what string) {
			m := metrics[slices.IndexFunc(metrics, func(m metric) bool { return m.name == name })]
			f.atMost(r, c, s.name, m, limit, what)
		})
	}
}

// atMost judges a metric of a system, and shows all figures if there are several.
func (f findings) atMost(r *run, c, system string, m metric, limit float64, what string) {
	vs := f[[3]string{c, system, m.name}]
	if len(vs) == 0 {
		return
	}
	all := ""
	if len(vs) > 1 {
		all = fmt.Sprintf("; all: %s", strings.Join(texts(vs), ", "))
	}
	r.verdict(m.of(vs) <= limit, "%s, %s: %s %s (at most %s%s)", c, system, number(m.of(vs)), what, number(limit), all)
}

func texts(vs []float64) (all []string) {
	for _, v := range vs {
		all = append(all, number(v))
	}
	return all
}
