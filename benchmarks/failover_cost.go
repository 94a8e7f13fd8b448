package main

// failover_cost.go measures what replicas cost while nothing fails: memory, and the time of a write.

import (
	"time"
)

const (
	costCase  = "cost"
	costDelay = 2 * time.Millisecond // each way, beside which nothing else counts
	timedKeys = 100
)

var costMetrics = []metric{
	{name: "entry_bytes", unit: "bytes of heap for each key, in all processes"},
	{name: "round_trip_us", unit: "us, median of Lookups of what another process holds"},
	{name: "write_own_us", unit: "us, median of writes of what the process holds"},
	{name: "write_away_us", unit: "us, median of writes of what another process holds"},
}

// runCost measures Covey with and without replicas. Nobody else calls meanwhile.
func runCost(r *run) error {
	found := findings{}
	names, err := r.try("failover", []trialCase{{costCase, func(s trialSystem) bool { return s.isCovey() }, func(s trialSystem, _ bool) error {
		err := withTrial(r, s, trialProcesses, func(c *trialConfig) { c.Empty = true }, func(t *trial) error { return t.memory(found) })
		if err != nil {
			return err
		}
		return withTrial(r, s, trialProcesses, func(c *trialConfig) { c.Delay = costDelay }, func(t *trial) error { return t.writes(found) })
	}}})
	if err != nil {
		return err
	}
	found.report(r, names, costMetrics)
	of := func(system, metric string) float64 { return median(found[[3]string{costCase, system, metric}]) }
	one, two := trialSystems[0].name, trialSystems[1].name
	if of(one, "entry_bytes") == 0 || of(two, "entry_bytes") == 0 {
		return nil
	}
	more := of(two, "entry_bytes") - 2*of(one, "entry_bytes")
	r.verdict(more <= 16, "%s: a replica takes %.0f bytes more than an entry (at most 16)", costCase, more)
	trip := of(one, "round_trip_us") // with replicas many a Lookup need not go anywhere
	for _, metric := range []string{"write_own_us", "write_away_us"} {
		longer := (of(two, metric) - of(one, metric)) / trip
		r.verdict(longer <= 1.1, "%s: %s is %.2f round trips longer with a replica (at most 1, and a tenth for the machine)", costCase, metric, longer)
	}
	return nil
}

// memory measures what entries take.
func (t *trial) memory(found findings) error {
	before, err := t.heap()
	if err != nil {
		return err
	}
	if err := t.getAll(t.live()); err != nil {
		return err
	}
	time.Sleep(time.Second) // until replicas are where they belong
	after, err := t.heap()
	if err != nil {
		return err
	}
	found.add(costCase, t.system.name, "entry_bytes", (after-before)/float64(t.set.keys))
	return nil
}

// writes measures single calls between processes that are some way apart.
func (t *trial) writes(found findings) error {
	time.Sleep(time.Second) // until replicas are where they belong
	owners, err := t.ownersOf(t.peers[0])
	if err != nil {
		return err
	}
	own := writableBy(0, heldBy(owners, t.peers[0]), timedKeys)
	away := writableBy(0, heldBy(owners, t.peers[1]), timedKeys)
	for _, m := range []struct {
		metric, op string
		keys       []int
	}{{"round_trip_us", "time lookups", away}, {"write_own_us", "time writes", own}, {"write_away_us", "time writes", away}} {
		r, err := t.peers[0].call(command{Op: m.op, Trial: trialOrder{Keys: m.keys}})
		if err != nil {
			return err
		}
		found.add(costCase, t.system.name, m.metric, float64(r.Median.Nanoseconds())/1e3)
	}
	return nil
}

// heap returns the bytes that live in all processes.
func (t *trial) heap() (bytes float64, err error) {
	replies, err := callAll(t.live(), command{Op: "heap"})
	for _, r := range replies {
		bytes += r.Heap
	}
	return bytes, err
}
