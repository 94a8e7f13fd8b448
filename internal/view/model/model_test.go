package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// violations returns what is wrong in the first history in which something is.
func violations(o options, seeds uint64) []string {
	for seed := uint64(1); seed <= seeds; seed++ {
		if w := simulate(seed, o); len(w.bad) > 0 {
			return w.bad
		}
	}
	return nil
}

func TestNoStaleReads(t *testing.T) {
	require.Empty(t, violations(options{nodes: 5, secs: 15}, 20))
}

// Without one of its rules the protocol gives stale reads, so the model can see them.
func TestRulesAreNeeded(t *testing.T) {
	for _, rule := range []string{"hitlease", "wait", "replicas"} {
		o := options{nodes: 5, secs: 30, mutant: rule}
		require.NotEmpty(t, violations(o, 20), "without %s", rule)
	}
}

func TestSeedsReproduce(t *testing.T) {
	o := options{nodes: 5, secs: 10, trace: true}
	require.Equal(t, simulate(7, o).log, simulate(7, o).log)
}
