package main

// progress.go shows how far a run is: on a terminal one line with a bar, elsewhere a line for each step.

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// meter is that of this process. Those that it starts have one each, which never has a bar.
var meter = newProgress(os.Stderr, isTerminal(os.Stderr), time.Now)

// step says that the suite's next step begins, and what it is.
func step(format string, args ...any) { meter.step(fmt.Sprintf(format, args...)) }

// progress is for what is no step.
func progress(format string, args ...any) { meter.say(fmt.Sprintf(format, args...)) }

// barWidth and lineWidth are in characters.
const (
	barWidth  = 24
	lineWidth = 79
)

// A progressMeter knows how many steps there are and how many have begun.
type progressMeter struct {
	out io.Writer
	bar bool
	now func() time.Time

	mu     sync.Mutex
	plan   []float64 // what each suite takes, in whatever unit; empty = there is but one
	suites int       // that have begun
	began  time.Time // the first of them
	name   string    // of the suite that runs; "" = none
	what   string    // the step that runs
	begun  int       // steps of the suite
	total  int
	stop   chan struct{} // of the goroutine that draws the bar anew each second
}

func newProgress(out io.Writer, bar bool, now func() time.Time) *progressMeter {
	return &progressMeter{out: out, bar: bar, now: now}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "" && os.Getenv("TERM") != "dumb"
}

// expect says that suites follow one another, and what each takes in relation to the others.
func (p *progressMeter) expect(plan []float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan, p.suites = plan, 0
}

// suite says that a suite begins.
func (p *progressMeter) suite(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.suites == 0 {
		p.began = p.now()
	}
	p.suites++
	p.name, p.what, p.begun, p.total = name, "", 0, 0
	if p.bar {
		p.stop = make(chan struct{})
		go p.redraw(p.stop)
	}
}

// end says that the suite has ended.
func (p *progressMeter) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name = ""
	if p.stop != nil {
		close(p.stop)
		p.stop = nil
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// steps says that the suite has so many more.
func (p *progressMeter) steps(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total += n
}

func (p *progressMeter) step(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun++
	p.what = strings.TrimPrefix(strings.TrimPrefix(what, p.name), ": ") // "" = one of many short ones
	switch {
	case p.bar && p.name != "":
		p.draw()
	case p.what != "" || p.begun%50 == 1:
		fmt.Fprintf(p.out, "%s (%s)\n", what, p.state())
	}
}

func (p *progressMeter) say(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar && p.name != "" {
		fmt.Fprintf(p.out, "\r\x1b[K%s\n", what)
		p.draw()
		return
	}
	fmt.Fprintln(p.out, what)
}

func (p *progressMeter) redraw(stop chan struct{}) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
			p.mu.Lock()
			if p.stop == stop {
				p.draw()
			}
			p.mu.Unlock()
		}
	}
}

func (p *progressMeter) draw() {
	full := int(p.share() * barWidth)
	line := fmt.Sprintf("[%s%s] %s: %s  %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), p.name, p.state(), p.what)
	if r := []rune(line); len(r) > lineWidth {
		line = string(r[:lineWidth])
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s", line)
}

// state is the step's number, how long all has taken, and how long it will take.
func (p *progressMeter) state() string {
	took := p.now().Sub(p.began)
	s := fmt.Sprintf("%d/%d, %v", p.begun, p.total, took.Round(time.Second))
	if share := p.share(); share > 0 && p.began != (time.Time{}) {
		s += fmt.Sprintf(", about %v left", time.Duration(float64(took)*(1-share)/share).Round(time.Second))
	}
	return s
}

// share is how much is done, from 0 to 1. The step that runs is not.
func (p *progressMeter) share() float64 {
	suite := 0.0
	if p.total > 0 {
		suite = float64(min(max(p.begun-1, 0), p.total)) / float64(p.total)
	}
	if p.suites == 0 || p.suites > len(p.plan) {
		return suite
	}
	done, all := p.plan[p.suites-1]*suite, 0.0
	for i, weight := range p.plan {
		all += weight
		if i < p.suites-1 {
			done += weight
		}
	}
	return done / all
}
