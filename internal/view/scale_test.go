package view

// scale_test.go simulates large groups.

import (
	"flag"
	"math"
	"runtime"
	"testing"
	"time"
)

var (
	scaleNodes = flag.Int("view.nodes", 200, "processes in TestScale")
	scaleCPU   = flag.Bool("view.cpu", false, "TestScale bounds the time that nodes take: not on a busy machine")
)

// load returns what the hosts did since the last call, without what they do in the simulation only.
type load struct {
	cpu      time.Duration // of the process that took the most
	messages int
	bytes    int
}

func (s *sim) load() (sum, most load) {
	for _, h := range s.all {
		most.cpu = max(most.cpu, h.cpu)
		most.messages = max(most.messages, h.messages)
		most.bytes = max(most.bytes, h.bytes)
		sum.cpu += h.cpu
		sum.messages += h.messages
		sum.bytes += h.bytes
		h.cpu, h.messages, h.bytes = 0, 0, 0
	}
	return sum, most
}

// soon runs the simulation until the group is whole, and returns how long that took; -1: it has not
// become whole within the bound.
func (s *sim) soon(bound time.Duration) time.Duration {
	began := time.Duration(s.now)
	for time.Duration(s.now) < began+bound {
		s.until(time.Duration(s.now) + 50*time.Millisecond)
		if s.bad != "" {
			s.t.Fatal(s.bad)
		}
		if s.whole() == "" {
			return time.Duration(s.now) - began
		}
	}
	return -1
}

// A large group is whole soon after its start, and does little when it changes and when it does not.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n := *scaleNodes
	more := max(1, n/10) // who join later
	s := newSim(t, *simSeed, n+more)
	s.idle, s.measures = true, true
	lists := all(n + more)
	for i := range more {
		s.never[n+i] = true
	}
	for i := range n {
		s.at(s.rand(5*time.Second), func() { s.start(i, lists[i]) })
	}
	s.at(0, s.breakSilent)
	s.until(5*time.Second + 250*time.Millisecond)
	took := s.soon(30 * time.Second)
	if took < 0 {
		t.Fatalf("not whole: %s", s.whole())
	}
	report := func(what string, took time.Duration) (most load) {
		sum, most := s.load()
		t.Logf("%s: %v; CPU %v at most and %v in all; messages %d at most and %d in all; bytes %d at most and %d in all",
			what, took, most.cpu, sum.cpu, most.messages, sum.messages, most.bytes, sum.bytes)
		return most
	}
	report("start", took)
	s.until(time.Duration(s.now) + 5*time.Second)
	report("settling down", 5*time.Second)
	epoch := s.hosts[0].view.Epoch
	s.until(time.Duration(s.now) + 10*time.Second)
	idle := report("idle", 10*time.Second)
	if e := s.hosts[0].view.Epoch; e != epoch {
		t.Errorf("the view has changed although nothing happened: from %d to %d", epoch, e)
	}
	limit := func(what string, took time.Duration, cpu time.Duration) {
		most := report(what, took)
		over := most.cpu - idle.cpu*took/(10*time.Second)
		if took < 0 {
			t.Errorf("%s: not whole: %s", what, s.whole())
		} else if *scaleCPU && over > cpu {
			t.Errorf("%s takes a process %v; want at most %v", what, over, cpu)
		}
	}
	join := func(i int) {
		delete(s.never, i)
		s.start(i, lists[i])
	}
	join(n)
	limit("a join", s.soon(10*time.Second), 20*time.Millisecond)
	s.hosts[n/2].crash()
	s.never[n/2] = true
	limit("a crash", s.soon(10*time.Second), 20*time.Millisecond)
	s.leave(s.hosts[n/3])
	s.never[n/3] = true
	limit("a leave", s.soon(10*time.Second), 20*time.Millisecond)
	first := s.hosts[0].view.Members[0].ID
	s.byID[first].crash()
	s.never[s.byID[first].i] = true
	limit("a crash of the most senior member", s.soon(10*time.Second), 20*time.Millisecond)

	var anyone *simHost
	for i, h := range s.hosts {
		if h != nil && !s.never[i] {
			anyone = h
			break
		}
	}
	epoch = anyone.view.Epoch
	began := time.Duration(s.now)
	for i := 1; i < more; i++ {
		s.at(time.Duration(i)*10*time.Second/time.Duration(more), func() { join(n + i) })
	}
	s.until(began + 10*time.Second)
	took = s.soon(10 * time.Second)
	limit("joins within 10 s", 10*time.Second+took, math.MaxInt64)
	if made := anyone.view.Epoch - epoch; made > 10 {
		t.Errorf("%d joins within 10 s made %d views; want at most 10", more-1, made)
	}
	if took < 0 {
		t.Errorf("not whole after the joins: %s", s.whole())
	}
}
