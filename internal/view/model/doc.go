// Command model plays histories of agreed views: processes whose clocks drift, that crash, start
// again under the same name, stand still and are cut off from each other, members that agree on one
// view after another, owners that act under the promises of a quorum, replicas, and copies that are
// lent. It looks for reads that return less than what had been acknowledged when they began.
//
// It is the specification of internal/view and of what a cache does under views: where words are
// vague, this holds, and a change of the protocol is tried here first. Each rule can be left out
// (-mutant), so that one sees what it is good for.
//
// A history is a sequence of events in one goroutine and a function of its seed. README.md says how
// to run it.
package main
