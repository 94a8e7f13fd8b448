package covey

// inflight.go shows the loads in progress, to find those that are stuck.

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A Flight is a load in progress of one key; see [Cache.InFlight].
type Flight struct {
	Key     string        // or its first 128 bytes
	Age     time.Duration // since somebody missed the key; the loader may have begun later (see Options.MaxLoads)
	Waiters int           // calls that wait for it, here and in other processes
	Refresh bool          // it refreshes a value in the background
	Bulk    bool          // it is part of a load of many keys
	// Peer is the other process that takes part, if there is one: that which loads the key for this
	// one, its owner, or the owner for which this process loads it.
	Peer string
	// Void says that a write, a Clear or a change of the members has come in between: only those who
	// wait already get what it brings.
	Void bool
}

// maxFlights bounds what InFlight returns.
const maxFlights = 1000

// InFlight returns the loads in progress that this process runs, or waits for as the owner of their
// keys: the oldest first, 1,000 of them at most. Stats.Loading is how many there are. A call that
// waits for another process is among the waiters there, not here. Nobody is asked, and nothing waits
// for it for long, however many there are.
func (c *Cache[V]) InFlight() []Flight { return c.inFlight(maxFlights) }

func (c *Cache[V]) inFlight(n int) []Flight {
	all := []Flight{}
	now := c.store.clock.now()
	for i := range c.shards {
		s := c.lockAt(i)
		for _, f := range s.flights {
			all = append(all, f.shown(now))
		}
		for f := range s.detached {
			all = append(all, f.shown(now))
		}
		s.unlock()
	}
	slices.SortFunc(all, func(a, b Flight) int { return cmp.Or(cmp.Compare(b.Age, a.Age), cmp.Compare(a.Key, b.Key)) })
	all = all[:min(n, len(all))]
	for i := range all {
		all[i].Key = strings.Clone(all[i].Key)
	}
	return all
}

// shown describes the flight. Its segment is locked.
func (f *flight[V]) shown(now int64) Flight {
	one := Flight{
		Key: f.key[:min(len(f.key), maxShownKey)], Age: time.Duration(max(0, now-f.began)), Waiters: f.waiters,
		Refresh: f.refresh, Bulk: f.bulk != nil, Void: !f.linked,
	}
	switch {
	case f.right != nil:
		one.Peer = f.right.link.Name()
	case f.grant != nil:
		one.Peer = f.grant.lender.Name()
	}
	return one
}
