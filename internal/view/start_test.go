package view

// start_test.go simulates starts: whoever lists whom, and whenever they start, they come to one
// view.

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var startSeeds = flag.Int("view.starts", 60, "starts of each kind to simulate")

// A start is who lists whom, and when each begins.
type start struct {
	lists   [][]int
	at      []time.Duration // negative: it never runs
	again   int             // who crashes and is started again; -1: nobody
	crashes time.Duration   // when
	back    time.Duration   // when it is
	apart   bool            // some know of each other only through others: until these run each has its own truth
}

// run simulates a start. It returns how long after the last server listened the group was
// whole for good, and at the end of the simulation what is wrong.
func (st *start) run(t *testing.T, seed uint64, bound time.Duration) (took time.Duration, bad string) {
	s := newSim(t, seed, len(st.lists))
	s.apart = st.apart
	var last time.Duration
	for i, at := range st.at {
		if at < 0 {
			s.never[i] = true
			continue
		}
		last = max(last, at)
		s.at(at, func() { s.start(i, st.lists[i]) })
	}
	if st.again >= 0 {
		s.at(st.crashes, func() { s.hosts[st.again].crash() })
		s.at(st.back, func() { s.start(st.again, st.lists[st.again]) })
		last = max(last, st.back)
	}
	s.at(0, s.breakSilent)
	s.until(last)
	for { // listening takes a moment
		all := true
		for i, h := range s.hosts {
			all = all && (s.never[i] || h != nil && h.hears)
		}
		if all || s.bad != "" {
			break
		}
		s.until(time.Duration(s.now) + 10*time.Millisecond)
	}
	listens := time.Duration(s.now)
	took = -1
	changes := 0
	for time.Duration(s.now) < listens+bound+3*time.Second && s.bad == "" {
		s.until(time.Duration(s.now) + 20*time.Millisecond)
		if why := s.whole(); why != "" {
			took = -1
			bad = why
		} else if took < 0 {
			took = time.Duration(s.now) - listens
			bad, changes, s.apart = "", 0, false
			for _, h := range s.hosts {
				if h != nil {
					changes += h.changes
					clear(h.entries)
					clear(h.copies)
					for k := range simKeys { // nor what is on the way
						h.recalled[k] = h.now()
					}
				}
			}
		}
	}
	for _, h := range s.hosts {
		if h != nil {
			changes -= h.changes
		}
	}
	switch {
	case s.bad != "":
		bad = s.bad
	case bad != "":
		s.dump()
	case changes != 0:
		bad = "the view has changed again"
	case took > bound:
		bad = "whole only after " + took.String()
	}
	return took, bad
}

// runStarts simulates so many starts, each drawn by its seed.
func runStarts(t *testing.T, bound time.Duration, draw func(r *rand.Rand, n int) *start) {
	var longest, sum time.Duration
	for seed := *simSeed; seed < *simSeed+uint64(*startSeeds); seed++ {
		n := 2 + int(seed%4)
		st := draw(rand.New(rand.NewPCG(seed, 11)), n)
		took, bad := st.run(t, seed, bound)
		if bad != "" {
			t.Errorf("seed %d (%d processes, %+v): %s", seed, n, *st, bad)
		}
		longest = max(longest, took)
		sum += took
	}
	t.Logf("whole after %v on average, %v at most", sum/time.Duration(*startSeeds), longest)
}

func all(n int) (lists [][]int) {
	for range n {
		var list []int
		for j := range n {
			list = append(list, j)
		}
		lists = append(lists, list)
	}
	return lists
}

// Where all list all, the group is whole within two seconds after the last one listens.
func TestStart(t *testing.T) {
	for _, within := range []time.Duration{0, 300 * time.Millisecond, 5 * time.Second} {
		t.Run(within.String(), func(t *testing.T) {
			runStarts(t, 2*time.Second, func(r *rand.Rand, n int) *start {
				st := &start{lists: all(n), again: -1}
				for range n {
					st.at = append(st.at, time.Duration(r.Int64N(int64(within)+1)))
				}
				return st
			})
		})
	}
}

// listsOf returns the assignment of lists that a number stands for: one bit for each of two
// processes, whether the one lists the other.
func listsOf(n int, number uint64) [][]int {
	lists := make([][]int, n)
	for i := range n {
		for j := range n {
			if i == j {
				continue
			}
			if number&1 == 1 {
				lists[i] = append(lists[i], j)
			}
			number >>= 1
		}
	}
	return lists
}

// connected reports whether the processes that run are connected by who lists whom.
func connected(lists [][]int, runs func(i int) bool) bool {
	set := make([]int, len(lists)) // the least that each is known to be connected with
	for i := range set {
		set[i] = i
	}
	for range lists {
		for i, list := range lists {
			for _, j := range list {
				if runs(i) && runs(j) {
					set[i], set[j] = min(set[i], set[j]), min(set[i], set[j])
				}
			}
		}
	}
	first := -1
	for i, s := range set {
		if !runs(i) {
			continue
		}
		if first >= 0 && s != first {
			return false
		}
		first = s
	}
	return first >= 0
}

// Whoever lists whom, as long as the lists connect all, all come to one view within ten seconds
// after the last one listens, and stay there.
func TestListsDiffer(t *testing.T) {
	for n := 2; n <= 5; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			count := uint64(1) << (n * (n - 1))
			few := uint64(*startSeeds)
			sum, longest, runs := time.Duration(0), time.Duration(0), 0
			for k := range min(count, few) {
				number := k
				seed := *simSeed + k
				r := rand.New(rand.NewPCG(seed, 13))
				if count > few {
					number = r.Uint64N(count)
					if n == 5 && seed%2 == 0 { // long lists connect all too easily
						number &= r.Uint64N(count)
					}
				}
				st := &start{lists: listsOf(n, number), again: -1, apart: true}
				within := []time.Duration{0, time.Second, 6 * time.Second}[seed%3]
				for range n {
					st.at = append(st.at, time.Duration(r.Int64N(int64(within)+1)))
				}
				switch r.IntN(4) {
				case 0: // somebody never starts
					st.at[r.IntN(n)] = -1
				case 1: // somebody starts twice
					st.again = r.IntN(n)
					st.crashes = st.at[st.again] + time.Duration(1+r.Int64N(int64(4*time.Second)))
					st.back = st.crashes + time.Duration(r.Int64N(int64(4*time.Second)))
				}
				if !connected(st.lists, func(i int) bool { return st.at[i] >= 0 }) {
					continue
				}
				runs++
				took, bad := st.run(t, seed, 10*time.Second)
				if bad != "" {
					t.Errorf("seed %d (%d processes, %+v): %s", seed, n, *st, bad)
				}
				longest = max(longest, took)
				sum += took
			}
			t.Logf("%d starts, whole after %v on average, %v at most", runs, sum/time.Duration(runs), longest)
		})
	}
}
