package main

import "slices"

// list.go puts together what is changed, and the tests that have to see it: a file a topic.

// A mutant is one change that breaks an invariant.
type mutant struct {
	invariant, test string // a test outside the root package with its package: internal/link.TestCall
	file, old, new  string
}

var mutants = slices.Concat(
	ofStore,
	ofLoads,
	ofUsers,
	ofGroup,
	ofUpdates,
	ofMembers,
	ofCopies,
	ofReplicas,
	ofLinks,
	ofViews,
	ofSnapshots,
	ofOperators,
	ofTraces,
)
