package main

// local_puts.go measures how long single Puts take into a full cache whose entries were all used
// since they were stored: the worst case of policies that let hits leave marks and look at them
// when an entry has to leave.

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/coveycache/covey"
)

// maxPutTail is what the project aims at for the slowest Put of a thousand.
const maxPutTail = time.Millisecond

func (r *run) measurePuts() error {
	if !r.wants("covey") {
		return nil
	}
	entries, puts := 10_000_000, 500_000
	if r.quick {
		entries, puts = 200_000, 50_000
	}
	policies := []covey.Eviction{covey.LFU, covey.LRU, covey.FIFO}
	meter.steps(len(policies))
	for _, policy := range policies {
		step("local: %d puts into a full cache of %d entries, %v", puts, entries, policy)
		took, err := putsIntoFull(policy, entries, puts)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("put/full/%v", policy)
		for _, q := range []struct {
			metric string
			share  float64
		}{{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}} {
			d := took[min(int(q.share*float64(len(took))), len(took)-1)]
			r.add(name, "covey", "put_"+q.metric, float64(d)/1e3, "µs")
			if q.metric == "p99.9" {
				r.verdict(d <= maxPutTail, "%s of %d: p99.9 is %v (%v)", name, entries, d, maxPutTail)
			}
		}
	}
	return nil
}

// putsIntoFull fills a cache, hits every entry once and returns how long each of the Puts of new
// keys takes then, the shortest first.
func putsIntoFull(policy covey.Eviction, entries, puts int) ([]time.Duration, error) {
	ctx := context.Background()
	c, err := covey.New("full", covey.Options[int]{MaxEntries: entries, Eviction: policy, TTL: hour})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for i := range entries {
		if err := c.Put(ctx, numbered(i), i); err != nil {
			return nil, err
		}
	}
	for i := range entries {
		_, _, _ = c.Lookup(ctx, numbered(i*7919%entries)) // in another order than they came
	}
	runtime.GC()
	took := make([]time.Duration, puts)
	for i := range took {
		key := numbered(entries + i)
		start := time.Now()
		if err := c.Put(ctx, key, i); err != nil {
			return nil, err
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return took, nil
}

// numbered is a key of eight bytes.
func numbered(i int) string { return string(binary.LittleEndian.AppendUint64(nil, uint64(i))) }
