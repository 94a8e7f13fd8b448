package covey

// stats.go counts what a cache does.

import (
	"math"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// Stats is a snapshot of the counters and gauges of a cache in this process. Counters start at 0
// with the cache and only grow. They are read one after another, not at one instant.
type Stats struct {
	// Gauges. Copies of other peers' keys are not in Entries and Bytes, but in L1Entries and
	// L1Bytes.
	Entries    int64 // entries stored, stale and negative ones included
	Bytes      int64 // accounted bytes of keys, values, entries and index, of the versions of what was deleted, and of Snapshot.Aside
	MaxBytes   int64 // the bound on Bytes; 0 = none
	MaxEntries int64 // the bound on Entries; 0 = none
	Loading    int64 // loads in progress

	// What callers in this process got, and other peers that asked for keys that it owns.
	Hits         int64 // values served fresh
	StaleHits    int64 // values served after their TTL (see Options.StaleWhileRevalidate, StaleIfError)
	NegativeHits int64 // ErrNotFound served from the cache
	Misses       int64 // none of these: the key had to be loaded, or a Lookup found nothing
	Coalesced    int64 // misses that waited for a load that somebody else had started

	// Loads, by result.
	Loads        int64         // loads that ran a loader
	LoadErrors   int64         // those that failed: errors other than ErrNotFound, panics, timeouts
	LoadNotFound int64         // those that returned ErrNotFound
	LoadTimeouts int64         // those that ran into LoadTimeout
	LoadPanics   int64         // those that panicked or called Goexit
	LoadTime     time.Duration // spent in loaders, all together; of one that hangs until its load ends
	LoadTimes    Histogram     // how long loads took, Refused ones apart
	Refused      int64         // loads that the protection of the origin refused, not in Loads
	RefusedSlots int64         // those of them because of Options.MaxLoads
	RefusedRate  int64         // because of Options.LoadRate
	RefusedOpen  int64         // because the breaker was open, or half-open with all its probes under way
	Breaker      BreakerState  // of Options.Breaker; a gauge
	Refreshes    int64         // loads that were started in the background, before or after expiry
	RefreshSkips int64         // refreshes not started because MaxRefreshes were running
	SoftTimeouts int64         // stale values served because the load took longer than SoftTimeout

	// Loaded values that were not stored, as something had come in between.
	Discarded        int64 // all of them
	DiscardedWrite   int64 // because of a Put, Delete or Expire of the key
	DiscardedView    int64 // because of a Clear, or a change of the members
	DiscardedVersion int64 // because the cache knows a higher version of the key
	DiscardedLate    int64 // because nobody waited any more, or the load had been given up
	DiscardedAway    int64 // because this process may not store the key: it does not own it, or hears no quorum

	// How old what was served was.
	Ages     Histogram // of values served fresh, copies included, since their Put or load began: of one in 256 of them
	StaleFor Histogram // of values served after their TTL, since its end: of all of them

	// Between peers.
	PeerHits        int64 // values, or ErrNotFound, that the owners of the keys answered with at once
	PeerErrors      int64 // peers that were asked in vain
	L1Hits          int64 // answers from copies of other peers' keys
	L1Entries       int64 // those copies; a gauge
	L1Bytes         int64 // their accounted bytes, which count towards MaxBytes; a gauge
	Loans           int64 // copies lent to other peers
	Replicas        int64 // entries that this process keeps for their owners, in Entries, too; a gauge
	ReplicaBytes    int64 // their accounted bytes, in Bytes, too; a gauge
	ReplicasSent    int64 // values that other processes have kept for this one
	ReplicasRefused int64 // values of others that this process has not kept: written since, or not its to keep
	ReplicasMissed  int64 // values not sent at once since too many waited, or the other did not take any; they are sent later
	ReplicaReads    int64 // values, or ErrNotFound, that other processes than the owner answered with
	OtherZoneBytes  int64 // of values that members in other zones have answered with
	Hedges          int64 // requests to replicas since the owner was slow
	HedgeWins       int64 // those of them that were answered first
	Checks          int64 // replicas and copies that Options.SelfCheck has compared with what their owners have
	Mismatches      int64 // those of them that differed, and were dropped; there should be none
	Peeks           int64 // questions to others before a load of a key that has just moved here
	PeekHits        int64 // those of them that had it, so that nothing had to be loaded
	Trusted         int64 // values that members' snapshots had, so that nothing had to be loaded; see Snapshot.Trust
	Recalls         int64 // requests to other peers to give copies back, because of a write
	Served          int64 // gets and lookups answered for other peers
	NotOwner        int64 // those of them for keys that this process does not own
	Alone           int64 // answers of owners that have no such cache, or with another codec: this process loads for itself
	Undecodable     int64 // values from peers that the codec did not understand
	Unconfirmed     int64 // writes that returned ErrUnconfirmed

	// How long writes took, from when they began until no other process held what was there before,
	// or a Clear until all members had carried it out. Of writes that is counted at the owner of the
	// key, and only where somebody else held it.
	InvalidationTimes Histogram

	// What was stored and what left.
	Puts        int64 // calls of Put, Update and Incr in this process, one for each item of a PutMany
	Deletes     int64 // calls of Delete in this process, one for each key of a DeleteMany
	Outdated    int64 // writes refused by ErrOutdated, other processes' included
	Evictions   int64 // live entries that left because the cache was full
	Expirations int64 // entries whose time was over
	TooLarge    int64 // values not stored because they were over Options.MaxValueBytes
	ExtraKeys   int64 // keys that a bulk loader returned without having been asked for them

	Snapshot SnapshotStats // what became of Options.Snapshot
}

// HitRatio returns the share of the requests that were answered from the memory of this process,
// stale values and remembered ErrNotFounds included; 0 if there were none. A request that another
// peer answered counts there.
func (s Stats) HitRatio() float64 {
	hits := s.Hits + s.L1Hits + s.StaleHits + s.NegativeHits
	if hits+s.Misses == 0 {
		return 0
	}
	return float64(hits) / float64(hits+s.Misses)
}

// Stats returns the cache's counters and gauges, those of this process alone. A closed cache keeps
// its counters.
func (c *Cache[V]) Stats() Stats {
	n, s := &c.n, c.store
	loadTimes := n.loadTimes.snapshot()
	replicas, replicaBytes := s.replicas()
	slots, rate, open := c.origin.refused.slots.Load(), c.origin.refused.rate.Load(), c.origin.refused.open.Load()
	all := Stats{
		Entries: s.entries.Load(), Bytes: s.bytes.Load() + s.tombs.bytes.Load() + s.aside.Load(), MaxBytes: c.maxBytes.Load(), MaxEntries: c.maxEntries.Load(),
		Loading: n.loading.Load(),

		Hits: c.hits.sum(), StaleHits: n.staleHits.Load(), NegativeHits: n.negativeHits.Load(),
		Misses: n.misses.Load(), Coalesced: n.coalesced.Load(),

		Loads: n.loads.Load(), LoadErrors: n.loadErrors.Load(), LoadNotFound: n.loadNotFound.Load(),
		LoadTimeouts: n.loadTimeouts.Load(), LoadPanics: n.loadPanics.Load(), LoadTime: loadTimes.Sum(), LoadTimes: loadTimes,
		Refused: slots + rate + open, RefusedSlots: slots, RefusedRate: rate, RefusedOpen: open, Breaker: c.origin.state(),
		Refreshes: n.refreshes.Load(), RefreshSkips: n.refreshSkips.Load(),
		SoftTimeouts:   n.softTimeouts.Load(),
		DiscardedWrite: n.discarded[byWrite].Load(), DiscardedView: n.discarded[byView].Load(), DiscardedVersion: n.discarded[byVersion].Load(),
		DiscardedLate: n.discarded[tooLate].Load(), DiscardedAway: n.discarded[notHere].Load(),
		Ages: n.ages.snapshot(), StaleFor: n.staleFor.snapshot(), InvalidationTimes: n.invalidations.snapshot(),

		L1Hits: n.localHits.sum(), L1Entries: c.copies.count.Load(), L1Bytes: c.copies.bytes.Load(), Loans: n.loans.Load(), Recalls: n.recalls.Load(),
		Replicas: replicas, ReplicaBytes: replicaBytes, ReplicasSent: n.replicasSent.Load(), ReplicasRefused: n.replicasRefused.Load(), ReplicasMissed: n.replicasMissed.Load(),
		OtherZoneBytes: n.otherZones.Load(),
		Checks:         n.checks.Load(), Mismatches: n.mismatches.Load(),
		ReplicaReads: n.replicaReads.Load(), Hedges: n.hedges.Load(), HedgeWins: n.hedgeWins.Load(),
		Peeks: n.peeks.Load(), PeekHits: n.peekHits.Load(), Trusted: n.trusted.Load(),
		PeerHits: n.peerHits.Load(), PeerErrors: n.peerErrors.Load(), Served: n.served.sum(), NotOwner: n.notOwner.Load(),
		Alone: n.alone.Load(), Undecodable: n.undecodable.Load(), Unconfirmed: n.unconfirmed.Load(),

		Puts: c.puts.sum(), Deletes: n.deletes.Load(), Outdated: n.outdated.Load(), Evictions: s.evictions.Load(), Expirations: s.expirations.Load(),
		TooLarge: n.tooLarge.Load(), ExtraKeys: n.extra.Load(),

		Snapshot: c.snapshots.stats(),
	}
	for i := range n.discarded {
		all.Discarded += n.discarded[i].Load()
	}
	return all
}

// counters are those that change on rare paths, and those that are striped.
type counters struct {
	staleHits, negativeHits, misses, coalesced    atomic.Int64
	loads, loadErrors, loadNotFound, loadTimeouts atomic.Int64
	loadPanics, refreshes                         atomic.Int64
	loadTimes                                     timer
	refreshSkips, softTimeouts, outdated          atomic.Int64
	discarded                                     [discardings]atomic.Int64
	ages, staleFor, invalidations                 timer
	deletes, tooLarge, extra                      atomic.Int64
	loading                                       atomic.Int64
	peerHits, peerErrors, notOwner                atomic.Int64
	undecodable, unconfirmed, alone               atomic.Int64
	loans, recalls                                atomic.Int64
	replicasSent, replicasMissed, replicasRefused atomic.Int64
	peeks, peekHits, trusted                      atomic.Int64
	checks, mismatches                            atomic.Int64
	otherZones                                    atomic.Int64
	replicaReads, hedges, hedgeWins               atomic.Int64
	served, localHits                             striped
}

// A discarding is why a loaded value was not stored.
type discarding uint8

const (
	byWrite discarding = iota
	byView
	byVersion
	tooLate
	notHere
	discardings
)

func (n *counters) discard(why discarding) { n.discarded[why].Add(1) }

// sampleAge counts one of clockHits values that were served fresh, and sets the coarse clock, should the
// janitor be late.
func (c *Cache[V]) sampleAge(n *node) { c.n.ages.add(time.Duration(c.store.clock.now() - n.born)) }

// A striped counter is for the path of a hit: goroutines on different
// processors mostly add to different cache lines.
type striped struct {
	cells []stripe
	shift uint8
}

type stripe struct {
	n atomic.Int64
	_ [56]byte
}

func newStriped() striped {
	shift := uint8(64)
	for n := 4 * runtime.GOMAXPROCS(0); n > 1; n = (n + 1) / 2 {
		shift--
	}
	return striped{cells: make([]stripe, 1<<(64-shift)), shift: shift}
}

// inc adds one and returns the cell's count. The cell is picked by the address of the goroutine's
// stack, which costs nothing to find out and rarely changes.
func (s *striped) inc() int64 {
	var here byte
	at := uint64(uintptr(unsafe.Pointer(&here))) >> 11
	return s.cells[at*0x9E3779B97F4A7C15>>s.shift].n.Add(1)
}

// sampled picks, on average, one of every so many values of a counter; every is a power of two. It
// has no rhythm that could coincide with the caller's.
func sampled(n int64, every uint64) bool { return uint64(n)*0x9E3779B97F4A7C15 < math.MaxUint64/every }

func (s *striped) sum() (n int64) {
	for i := range s.cells {
		n += s.cells[i].n.Load()
	}
	return n
}
