package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// violations returns what is wrong in the first history in which something is.
func violations(o options, first, seeds uint64) []string {
	for seed := first; seed < first+seeds; seed++ {
		if w := simulate(seed, o); len(w.bad) > 0 {
			return w.bad
		}
	}
	return nil
}

func TestNoStaleReads(t *testing.T) {
	require.Empty(t, violations(options{nodes: 5, secs: 15, start: 2000}, 1, 20))
}

// Without one of its rules the protocol gives stale reads, so the model can see them.
func TestRulesAreNeeded(t *testing.T) {
	for rule, first := range map[string]uint64{ // a seed that is soon followed by one that shows it
		"hitlease": 1, "wait": 1, "replicas": 1, "silent": 1, "ended": 27, "formerdrop": 1, "samesetsformer": 45,
		"peekcustody": 1, "copystamp": 1, "pushstamp": 22, "donestamp": 22, "clocks": 8, "cleardrop": 1,
	} {
		o := options{nodes: 5, secs: 60, calm: 15, start: 2000, mutant: rule}
		require.NotEmpty(t, violations(o, first, 20), "without %s", rule)
	}
}

// Wherever lists connect processes that start at once they found one view, and all come into it.
func TestFoundings(t *testing.T) {
	o := options{secs: 4, quiet: true}
	enumerate(3, o, 1, func(w *world) {
		require.Empty(t, w.bad, "lists %v", w.lists)
		require.Equal(t, 1, w.n["foundings"], "lists %v", w.lists)
		require.Zero(t, w.n["not whole"], "lists %v", w.lists)
	})
}

func TestSeedsReproduce(t *testing.T) {
	o := options{nodes: 5, secs: 10, trace: true}
	require.Equal(t, simulate(7, o).log, simulate(7, o).log)
}
