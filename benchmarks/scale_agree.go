package main

// scale_agree.go runs the agreement on the view alone, of as many processes as the suite asks for, in
// virtual time: each message takes half a millisecond. What is measured is the CPU time within the
// agreement, for each process.

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/coveycache/covey/internal/view"
)

// An assembly is the processes and the network between them.
type assembly struct {
	now   time.Duration
	seq   int
	queue eventQueue
	rand  *rand.Rand
	list  []view.Member
	nodes []*assembled // by number; nil: it does not run
	byID  map[view.ID]*assembled
}

// An assembled is a process.
type assembled struct {
	of    *assembly
	id    view.ID
	i     int
	node  *view.Node
	view  *view.View
	links map[view.ID]*assembled
	out   []letter
	due   []uint64 // epochs for which it has to give back what it has lent
	dead  bool
	spent time.Duration
	sent  int
	gone  <-chan struct{}
}

type letter struct {
	to view.ID
	b  []byte
}

type event struct {
	at  time.Duration
	seq int
	f   func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	return e
}

func newAssembly(n int) *assembly {
	a := &assembly{rand: rand.New(rand.NewPCG(3, 4)), nodes: make([]*assembled, n), byID: make(map[view.ID]*assembled)}
	for i := range n {
		name := fmt.Sprintf("http://10.0.%d.%d:8080/_covey/", i/250, i%250)
		a.list = append(a.list, view.Member{ID: view.ID{Name: name}, URL: name, Weight: 1})
	}
	return a
}

// after has f happen after a while.
func (a *assembly) after(d time.Duration, f func()) {
	a.seq++
	heap.Push(&a.queue, event{a.now + d, a.seq, f})
}

func (a *assembly) run(d time.Duration) {
	end := a.now + d
	for len(a.queue) > 0 && a.queue[0].at <= end {
		e := heap.Pop(&a.queue).(event)
		a.now = e.at
		e.f()
	}
	a.now = end
}

const letterTakes = 500 * time.Microsecond

// start starts the process of that number.
func (a *assembly) start(i int) {
	p := &assembled{of: a, i: i, id: view.ID{Name: a.list[i].Name, Instance: uint64(a.seq + 1)}, links: make(map[view.ID]*assembled)}
	clock := func() int64 { return int64(time.Second + a.now) }
	self := a.list[i]
	self.ID = p.id
	p.node = view.New(view.Config{
		Self: self, Now: clock, Held: clock, Wall: func() uint64 { return 1_000_000 + uint64(a.now/time.Millisecond) }, Random: a.rand.Uint64,
		Send:    func(to view.ID, b []byte) { p.out = append(p.out, letter{to, b}) },
		Adopt:   func(ad view.Adoption) { p.view = ad.View },
		Settled: func(uint64) {}, Note: func(view.Event) {},
		Release: func(epoch uint64) { p.due = append(p.due, epoch) },
	})
	p.node.List(a.list)
	a.nodes[i], a.byID[p.id] = p, p
	var tick, dial func()
	tick = func() {
		next := view.TickEvery
		p.do(func() { next = p.node.Tick() })
		a.after(next, tick)
	}
	dial = func() {
		var wanted []view.Member
		p.do(func() {
			if wanted = p.node.Wanted(); p.view == nil {
				p.node.Reached(true)
			}
		})
		for _, m := range wanted {
			p.dial(m.Name)
		}
		a.after(2*view.TickEvery, dial)
	}
	a.after(a.upTo(view.TickEvery), tick)
	a.after(a.upTo(2*view.TickEvery), dial)
}

func (a *assembly) upTo(d time.Duration) time.Duration { return time.Duration(a.rand.Int64N(int64(d))) }

// do runs a part of the process, and sends what it has to say.
func (p *assembled) do(f func()) {
	if p.dead {
		return
	}
	began := threadCPU()
	f()
	p.spent += threadCPU() - began
	a := p.of
	for _, l := range p.out {
		to := p.links[l.to]
		p.sent++
		if to == nil {
			continue
		}
		a.after(letterTakes, func() {
			if to.links[p.id] == p {
				to.do(func() { must(0, to.node.Receive(p.id, l.b)) })
			}
		})
	}
	clear(p.out)
	p.out = p.out[:0]
	for _, epoch := range p.due {
		a.after(10*time.Millisecond, func() { p.do(func() { p.node.Released(epoch) }) })
	}
	p.due = p.due[:0]
}

func (p *assembled) dial(name string) {
	i := slices.IndexFunc(p.of.list, func(m view.Member) bool { return m.Name == name })
	to := p.of.nodes[i]
	switch {
	case p.dead || to == p || to != nil && p.links[to.id] != nil:
	case to == nil:
		p.do(func() { p.node.Refused(name) })
	default:
		p.links[to.id], to.links[p.id] = to, p
		p.do(func() { p.node.LinkUp(to.id) })
		to.do(func() { to.node.LinkUp(p.id) })
	}
}

// crash ends the process, as a kill does.
func (p *assembled) crash() {
	p.dead = true
	a := p.of
	a.nodes[p.i] = nil
	for _, o := range p.links {
		a.after(letterTakes, func() {
			delete(o.links, p.id)
			o.do(func() { o.node.LinkEnded(p.id) })
		})
	}
}

// leave has the process say goodbye, and end when the others go on without it.
func (p *assembled) leave() {
	p.do(func() { p.gone = p.node.Leave(true) })
	var look func()
	look = func() {
		select {
		case <-p.gone:
			p.crash()
		default:
			p.of.after(5*time.Millisecond, look)
		}
	}
	look()
}

// running returns the processes that run.
func (a *assembly) running() []*assembled {
	return slices.DeleteFunc(slices.Clone(a.nodes), func(p *assembled) bool { return p == nil })
}

// isWhole reports whether all act in one view that has settled.
func (a *assembly) isWhole() bool {
	all := a.running()
	for _, p := range all {
		v, settled := p.node.View()
		if v == nil || !settled || len(v.Members) != len(all) || v.Epoch != all[0].view.Epoch || !v.Has(p.id) || p.node.Until() <= int64(time.Second+a.now) {
			return false
		}
	}
	return true
}

func (a *assembly) whole(bound time.Duration) (time.Duration, error) {
	for began := a.now; ; a.run(10 * time.Millisecond) {
		if a.isWhole() {
			return a.now - began, nil
		}
		if a.now-began > bound {
			return 0, fmt.Errorf("%d processes do not agree after %v", len(a.running()), bound)
		}
	}
}

// spent returns what each process has spent since the last call: a voter at the most, another process at
// the most, and all on average.
func (a *assembly) spent() (voter, other, mean time.Duration) {
	all := a.running()
	for _, p := range all {
		if p.view.Index(p.id) < len(p.view.Voters()) {
			voter = max(voter, p.spent)
		} else {
			other = max(other, p.spent)
		}
		mean += p.spent / time.Duration(len(all))
		p.spent = 0
	}
	return voter, other, mean
}

// measureAgreement runs so many processes through what may happen to a group.
func measureAgreement(n int, say sayer) error {
	runtime.LockOSThread() // its CPU time is measured
	defer runtime.UnlockOSThread()
	more := max(2, n/10) // who join later, and who crash
	a := newAssembly(n + more)
	var last time.Duration
	for i := range n {
		at := a.upTo(5 * time.Second)
		last = max(last, at)
		a.after(at, func() { a.start(i) })
	}
	a.run(last)
	took, err := a.whole(time.Minute)
	if err != nil {
		return err
	}
	voter, other, _ := a.spent()
	say("start_s", ofGroup, "s from the last start until all act in one view", took.Seconds())
	say("start_cpu_ms", voters, "ms CPU of a process", ms(voter))
	say("start_cpu_ms", others, "ms CPU of a process", ms(other))
	a.run(10 * time.Second)
	a.spent()
	epoch := a.running()[0].view.Epoch
	const idle = 20 * time.Second
	a.run(idle)
	voter, other, average := a.spent()
	say("idle_percent", voters, unitIdle, 100*voter.Seconds()/idle.Seconds())
	say("idle_percent", others, unitIdle, 100*other.Seconds()/idle.Seconds())
	say("idle_percent", mean, unitIdle, 100*average.Seconds()/idle.Seconds())
	say("idle_views", ofGroup, "views made while idle", float64(a.running()[0].view.Epoch-epoch))
	perVoter, per := voter/20, other/20 // a second

	event := func(what string, do func()) error {
		a.spent()
		began := a.now
		do()
		took, err := a.whole(30 * time.Second)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		a.run(began + window - a.now)
		voter, other, _ := a.spent()
		say(what+"_ms", ofGroup, unitTook, ms(took))
		say(what+"_cpu_ms", voters, unitCPU, ms(voter-perVoter*window/time.Second))
		say(what+"_cpu_ms", others, unitCPU, ms(other-per*window/time.Second))
		return nil
	}
	for _, e := range []struct {
		what string
		do   func()
	}{
		{"join", func() { a.start(n) }},
		{"crash", func() { a.running()[n/2].crash() }},
		{"leave", func() { a.running()[n/3].leave(); a.run(500 * time.Millisecond) }},
		{"senior", func() { a.byID[a.running()[0].view.Members[0].ID].crash() }},
	} {
		if err := event(e.what, e.do); err != nil {
			return err
		}
	}
	epoch = a.running()[0].view.Epoch
	for i := 1; i < more; i++ {
		a.start(n + i)
		a.run(10 * time.Second / time.Duration(more))
	}
	if _, err := a.whole(30 * time.Second); err != nil {
		return err
	}
	say("joins", ofGroup, "processes that join within 10 s", float64(more-1))
	say("joins_views", ofGroup, "views that they make", float64(a.running()[0].view.Epoch-epoch))
	epoch = a.running()[0].view.Epoch
	for range more {
		all := a.running()
		all[a.rand.IntN(len(all))].crash()
	}
	if took, err = a.whole(30 * time.Second); err != nil {
		return err
	}
	say("crashes", ofGroup, "processes that crash at once", float64(more))
	say("crashes_ms", ofGroup, unitTook, ms(took))
	say("crashes_views", ofGroup, "views that the crashes make", float64(a.running()[0].view.Epoch-epoch))
	return nil
}
