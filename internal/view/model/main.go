package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	var o options
	seeds := flag.Uint64("seeds", 200, "how many histories")
	first := flag.Uint64("seed", 1, "the first history's seed")
	stop := flag.Int("max", 1, "violations to stop at")
	flag.IntVar(&o.nodes, "n", 5, "how many processes")
	flag.IntVar(&o.voters, "voters", 0, "how many of the senior members vote; 0: all")
	flag.Int64Var(&o.secs, "secs", 60, "length of a history")
	flag.Int64Var(&o.calm, "calm", 15, "seconds at its end in which nothing breaks")
	flag.StringVar(&o.mutant, "mutant", "", "the rule to leave out")
	flag.BoolVar(&o.trace, "trace", false, "print what happens, if it is one history or a violation")
	flag.Parse()
	total := map[string]int{}
	var recoveries []int64
	found := 0
	done := uint64(0)
	for ; done < *seeds && found < *stop; done++ {
		seed := *first + done
		w := simulate(seed, o)
		for k, v := range w.n {
			total[k] += v
		}
		recoveries = append(recoveries, w.recovery)
		if w.n["not whole"] > 0 {
			fmt.Printf("seed %d: not whole\n", seed)
		}
		if len(w.bad) > 0 {
			found++
			fmt.Printf("seed %d: %s\n", seed, w.bad[0])
		}
		if len(w.bad) > 0 || *seeds == 1 {
			fmt.Print(strings.Join(w.log, "\n"))
		}
	}
	fmt.Printf("%d violations in %d seeds\n", found, done)
	slices.Sort(recoveries)
	at := func(q int) float64 { return float64(recoveries[(len(recoveries)-1)*q/1000]) / 1e6 }
	fmt.Printf("whole after the last fault: median %.1f s, p99 %.1f s, p99.9 %.1f s, at most %.1f s\n",
		at(500), at(990), at(999), at(1000))
	for _, k := range slices.Sorted(maps.Keys(total)) {
		fmt.Printf("  %s %d", k, total[k])
	}
	fmt.Println()
	if found > 0 {
		os.Exit(1)
	}
}
