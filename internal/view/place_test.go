package view

import (
	"testing"
	"time"
)

// started returns a simulation of a group of n processes that has become whole.
func started(t *testing.T, n int, prepare func(s *sim)) *sim {
	s := newSim(t, 1, n)
	s.idle = true
	if prepare != nil {
		prepare(s)
	}
	for i, list := range all(n) {
		s.start(i, list)
	}
	s.at(0, s.breakSilent)
	if s.soon(3*time.Second) < 0 {
		t.Fatal(s.whole())
	}
	return s
}

// A process of whose name there is a newer one stops at once, says so once and never comes back;
// somebody who sees both says so, too, and the newer one gets the place.
func TestOlderInstanceGivesWay(t *testing.T) {
	for n := 2; n <= 4; n++ {
		for i := range n {
			s := started(t, n, nil)
			older := s.hosts[i]
			older.place, older.hears = n+1, false // its address leads to the newer one
			newer := s.start(i, all(n)[i])
			for !newer.hears {
				s.until(time.Duration(s.now) + time.Millisecond)
			}
			s.until(time.Duration(s.now) + 300*time.Millisecond)
			if older.leased() {
				t.Errorf("%v of %d acts still", older.id, n)
			}
			if s.soon(5*time.Second) < 0 {
				t.Errorf("%d processes, two named %s: %s", n, older.name, s.whole())
			}
			for range 200 { // it goes on asking
				s.until(time.Duration(s.now) + 100*time.Millisecond)
				if older.leased() || older.view.Has(older.id) {
					t.Fatalf("%v is back", older.id)
				}
			}
			doubled := 0
			for _, h := range s.hosts {
				doubled += h.notes[Doubled]
			}
			if older.notes[Replaced] != 1 || newer.notes[Replaced] != 0 || doubled == 0 {
				t.Errorf("the older one notes %v, the newer one %v, and %d others that there are two",
					older.notes, newer.notes, doubled)
			}
			if s.bad != "" {
				t.Error(s.bad)
			}
		}
	}
}

// Who only asks follows the views within a second, and is never a member.
func TestObserver(t *testing.T) {
	const n = 4
	s := started(t, n, func(s *sim) { s.observes[n-1] = true })
	observer := s.hosts[n-1]
	follows := func(what string) {
		t.Helper()
		since, last := time.Duration(s.now), uint64(0)
		for end := time.Duration(s.now) + 6*time.Second; time.Duration(s.now) < end; {
			s.until(time.Duration(s.now) + 10*time.Millisecond)
			for _, h := range s.all {
				if h != observer && h.view.Has(h.id) && h.view.Epoch > last {
					since, last = time.Duration(s.now), h.view.Epoch
				}
			}
			if observer.view.Has(observer.id) || observer.leased() {
				t.Fatalf("%s: it has a place", what)
			}
			if (observer.view.Epoch < last || !observer.settled) && time.Duration(s.now) > since+time.Second {
				t.Fatalf("%s: it goes by %d (settled %v), the others by %d", what, observer.view.Epoch, observer.settled, last)
			}
		}
		if why := s.whole(); why != "" {
			t.Fatalf("%s: %s", what, why)
		}
	}
	follows("at rest")
	s.hosts[1].crash()
	s.never[1] = true
	follows("after a crash")
	delete(s.never, 1)
	s.start(1, all(n)[1])
	follows("after a start")
	first := s.byID[observer.view.Members[0].ID]
	s.leave(first)
	s.never[first.i] = true
	follows("after the most senior one has left")
}
