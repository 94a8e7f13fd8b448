package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

func main() {
	var o options
	seeds := flag.Uint64("seeds", 200, "how many histories")
	first := flag.Uint64("seed", 1, "the first history's seed")
	stop := flag.Int("max", 1, "violations to stop at")
	flag.IntVar(&o.nodes, "n", 5, "how many processes")
	flag.IntVar(&o.clients, "clients", 0, "how many of them only ask")
	flag.Int64Var(&o.start, "start", 2000, "milliseconds within which they start")
	flag.IntVar(&o.voters, "voters", 0, "how many of the senior members vote; 0: all")
	flag.Int64Var(&o.secs, "secs", 60, "length of a history")
	flag.Int64Var(&o.calm, "calm", 15, "seconds at its end in which nothing breaks")
	flag.StringVar(&o.mutant, "mutant", "", "the rule to leave out")
	flag.BoolVar(&o.trace, "trace", false, "print what happens in one history, or in a bad one")
	lists := flag.Int("lists", 0, "play every assignment of lists to up to so many processes")
	faults := flag.Bool("faults", false, "with -lists: things break")
	flag.Parse()
	debug.SetGCPercent(400) // histories live short
	sum := summary{total: map[string]int{}, verbose: *seeds == 1 && *lists == 0}
	if *lists > 0 {
		o.quiet = !*faults
		enumerate(*lists, o, *first, func(w *world) { sum.add(*first, w) })
	} else {
		for i := uint64(0); i < *seeds && sum.found < *stop; i++ {
			sum.add(*first+i, simulate(*first+i, o))
		}
	}
	sum.print()
	if sum.found > 0 {
		os.Exit(1)
	}
}

// summary adds histories up.
type summary struct {
	histories  int
	found      int
	total      map[string]int
	recoveries []int64
	verbose    bool
}

func (s *summary) add(seed uint64, w *world) {
	s.histories++
	s.recoveries = append(s.recoveries, w.recovery)
	for k, v := range w.n {
		s.total[k] += v
	}
	if w.n["not whole"] > 0 {
		fmt.Printf("seed %d, lists %v: not whole\n", seed, w.lists)
	}
	if len(w.bad) > 0 {
		s.found++
		fmt.Printf("seed %d, lists %v: %s\n", seed, w.lists, w.bad[0])
	}
	if len(w.bad) > 0 || s.verbose {
		fmt.Print(strings.Join(w.log, "\n"))
	}
}

func (s *summary) print() {
	fmt.Printf("%d violations in %d histories\n", s.found, s.histories)
	slices.Sort(s.recoveries)
	at := func(q int) float64 { return float64(s.recoveries[(len(s.recoveries)-1)*q/1000]) / 1e6 }
	fmt.Printf("whole after the last fault: median %.1f, p99 %.1f, p99.9 %.1f, at most %.1f s\n",
		at(500), at(990), at(999), at(1000))
	for _, k := range slices.Sorted(maps.Keys(s.total)) {
		fmt.Printf("  %s %d", k, s.total[k])
	}
	fmt.Println()
}
