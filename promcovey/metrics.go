package promcovey

// metrics.go says which number becomes which metric.

import (
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coveycache/covey"
)

type descs struct {
	all []*prometheus.Desc

	entries, bytes, maxEntries, maxBytes, l1Entries, l1Bytes, loading, breaker      *prometheus.Desc
	requests, coalesced                                                             *prometheus.Desc
	loads, loadSeconds, refused, refreshes, refreshSkips, softTimeouts, discarded   *prometheus.Desc
	peerErrors, loans, recalls, served, notOwner, alone, undecodable, unconfirmed   *prometheus.Desc
	replicas, replicaBytes, replicasSent, replicasRefused, replicasMissed           *prometheus.Desc
	replicaReads, hedges, hedgeWins, peeks, peekHits, checks, mismatches            *prometheus.Desc
	restored, aside, trusted, snapshots, snapshotFailed                             *prometheus.Desc
	snapshotEntries, snapshotBytes, snapshotTime                                    *prometheus.Desc
	puts, deletes, evictions, expirations, tooLarge, extraKeys                      *prometheus.Desc
	members, settled, acting, links, pursued, epoch                                 *prometheus.Desc
	ages, staleFor, invalidationLag, outdated                                       *prometheus.Desc
	views, requestSeconds                                                           *prometheus.Desc
	peerSeconds, peerFailures, peerSilent, peerLeaving, peerSince, peerInfo         *prometheus.Desc
	peerMember, peerUp, peerPlain, peerSameView, peerRoundTrip, peerShare, peerSelf *prometheus.Desc
}

func newDescs(fixed prometheus.Labels) (d descs) {
	is := func(name, help string, labels ...string) *prometheus.Desc {
		one := prometheus.NewDesc("covey_"+name, help, labels, fixed)
		d.all = append(d.all, one)
		return one
	}
	cache := func(name, help string, labels ...string) *prometheus.Desc {
		return is(name, help, append([]string{"cache"}, labels...)...)
	}
	d.entries = cache("entries", "Entries stored, stale and negative ones included, without copies of other peers' keys.")
	d.bytes = cache("bytes", "Accounted bytes of the entries.")
	d.maxEntries = cache("capacity_entries", "The bound on the entries. 0 means none.")
	d.maxBytes = cache("capacity_bytes", "The bound on the bytes, copies of other peers' keys included. 0 means none.")
	d.l1Entries = cache("l1_entries", "Copies of other peers' keys.")
	d.l1Bytes = cache("l1_bytes", "Accounted bytes of the copies of other peers' keys.")
	d.loading = cache("loads_in_flight", "Loads in progress.")
	d.breaker = cache("breaker_state", "What the breaker does with loads. The series of the state is 1, the others are 0; all are if there is none.", "state")
	d.requests = cache("requests_total", "Requests of callers, by where the answer came from.", "result")
	d.coalesced = cache("loads_coalesced_total", "Misses that waited for a load that somebody else had started.")
	d.loads = cache("loads_total", "Loads that ran a loader, by what came of them.", "result")
	d.loadSeconds = cache("load_duration_seconds", "How long loads took.")
	d.refused = cache("loads_refused_total", "Loads that the protection of the origin refused.", "reason")
	d.refreshes = cache("refreshes_total", "Loads started in the background.")
	d.refreshSkips = cache("refreshes_skipped_total", "Refreshes not started because too many were running.")
	d.softTimeouts = cache("soft_timeouts_total", "Stale values served because the load took too long.")
	d.discarded = cache("fills_discarded_total", "Loaded values not stored, by what had come in between: a write of the key, a clear or another view, a higher version; or it was too late, or is not for this process to store.", "reason")
	d.ages = cache("entry_age_seconds", "How old values were that were served fresh, copies included; of one in 256 of them.")
	d.staleFor = cache("stale_age_seconds", "For how long the time of values had been over that were served stale.")
	d.invalidationLag = cache("invalidation_lag_seconds", "How long writes took until no other process held what was there before, counted at the owner where somebody held it; and clears.")
	d.outdated = cache("writes_outdated_total", "Writes refused since the cache knew a higher version.")
	d.peerErrors = cache("peer_errors_total", "Peers asked in vain.")
	d.loans = cache("loans_total", "Copies lent to other peers.")
	d.recalls = cache("recalls_total", "Requests to other peers to give copies back.")
	d.served = cache("served_total", "Gets and lookups answered for other peers.")
	d.notOwner = cache("not_owner_total", "Those of them for keys that this process does not own.")
	d.alone = cache("alone_total", "Answers of owners that have no such cache, or with another codec.")
	d.undecodable = cache("undecodable_total", "Values from peers that the codec did not understand.")
	d.unconfirmed = cache("writes_unconfirmed_total", "Writes of which it is not known whether they took effect everywhere.")
	d.replicas = cache("replicas", "Entries that this process keeps for their owners. They are among the entries.")
	d.replicaBytes = cache("replica_bytes", "Accounted bytes of the replicas. They are among the bytes.")
	d.replicasSent = cache("replicas_sent_total", "Values that other processes have kept for this one.")
	d.replicasRefused = cache("replicas_refused_total", "Values of others that this process has not kept: written since, or not its to keep.")
	d.replicasMissed = cache("replicas_missed_total", "Values not sent to other processes at once, since too many waited or the other took none; they are sent later.")
	d.replicaReads = cache("replica_reads_total", "Values, or that there is none, that other processes than the owner answered with.")
	d.hedges = cache("hedges_total", "Requests to replicas since the owner was slow.")
	d.hedgeWins = cache("hedges_won_total", "Those of them that were answered first.")
	d.peeks = cache("peeks_total", "Questions to others before a load of a key that has just moved here.")
	d.peekHits = cache("peeks_hit_total", "Those of them that found a value, so that nothing had to be loaded.")
	d.checks = cache("self_checks_total", "Replicas and copies compared with what their owners have.")
	d.mismatches = cache("self_check_mismatches_total", "Those of them that differed. There should be none.")
	d.restored = cache("snapshot_restored_entries", "Entries that came from a file when the cache was made.")
	d.aside = cache("snapshot_unconfirmed_entries", "Those of them, in a group, that nobody has asked for yet.")
	d.trusted = cache("snapshot_trusted_total", "Values that members' snapshots had, so that nothing had to be loaded.")
	d.snapshots = cache("snapshots_written_total", "Files written.")
	d.snapshotFailed = cache("snapshots_failed_total", "Files that could not be written.")
	d.snapshotEntries = cache("snapshot_entries", "Entries in the last file that was written.")
	d.snapshotBytes = cache("snapshot_bytes", "Length of the last file that was written.")
	d.snapshotTime = cache("snapshot_timestamp_seconds", "When the last file was written, in seconds since 1970. 0 means that none was.")
	d.puts = cache("puts_total", "Values put in this process.")
	d.deletes = cache("deletes_total", "Keys deleted in this process.")
	d.evictions = cache("evictions_total", "Live entries that left because the cache was full.")
	d.expirations = cache("expirations_total", "Entries whose time was over.")
	d.tooLarge = cache("too_large_total", "Values not stored because they were too large.")
	d.extraKeys = cache("extra_keys_total", "Keys that a bulk loader returned unasked.")

	group := func(name, help string, labels ...string) *prometheus.Desc {
		return is("group_"+name, help, append([]string{"self"}, labels...)...)
	}
	d.members = group("members", "Members of the group by the view that this process goes by.")
	d.settled = group("settled", "1 if all have given back what the view takes away from them.")
	d.acting = group("acting", "1 if this process may serve what it stores.")
	d.links = group("links", "Links that are up, in both directions.")
	d.pursued = group("writes_pursued", "Keys whose deletion could not be confirmed and goes on.")
	d.views = group("views_total", "Views that this process has gone by.")
	d.requestSeconds = group("request_duration_seconds", "How long requests to peers took, without those that had to wait for a load, by what they were for: reads, writes, what writes wait for (recall), and values sent or asked for when keys move (copy).", "purpose")
	d.epoch = group("view_epoch", "The view's number, which grows with each change. 0 means that there is no view.")

	peer := func(name, help string, labels ...string) *prometheus.Desc {
		return is("peer_"+name, help, append([]string{"self", "peer"}, labels...)...)
	}
	d.peerSeconds = peer("request_duration_seconds", "How long requests to the peer took, without those that had to wait for a load.")
	d.peerFailures = peer("request_failures_total", "Requests to the peer that got no answer.")
	d.peerSilent = peer("silent", "1 if there is a link to the peer, but nothing has come over it for a while.")
	d.peerLeaving = peer("leaving", "1 if the peer is being shut down.")
	d.peerSince = peer("state_timestamp_seconds", "When the link to the peer came up that there is, or the last one went down, in seconds since 1970. 0 means that there was none.")
	d.peerInfo = peer("info", "1. Which versions of covey and of its protocol the peer has; empty and 0 if that is not known.", "version", "protocol")
	d.peerMember = peer("member", "1 if the peer is a member, 0 if it is only listed.")
	d.peerUp = peer("up", "1 if there is a link to the peer.")
	d.peerPlain = peer("plain", "1 if the peer is asked by plain HTTP requests since it refuses links.")
	d.peerSameView = peer("same_view", "1 if the peer goes by the same view as this process, as far as it has said.")
	d.peerRoundTrip = peer("round_trip_seconds", "How long the peer took to answer last. 0 means that there is no link.")
	d.peerShare = peer("share_ratio", "The part of all keys that the peer owns.")
	d.peerSelf = peer("self", "1 if the peer is this process.")
	return d
}

func (c *Collector) collectCache(ch chan<- prometheus.Metric, name string, s covey.Stats) {
	gauge := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), append([]string{name}, labels...)...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(max(v, 0)), append([]string{name}, labels...)...)
	}
	d := &c.d
	gauge(d.entries, s.Entries)
	gauge(d.bytes, s.Bytes)
	gauge(d.maxEntries, s.MaxEntries)
	gauge(d.maxBytes, s.MaxBytes)
	gauge(d.l1Entries, s.L1Entries)
	gauge(d.l1Bytes, s.L1Bytes)
	gauge(d.loading, s.Loading)
	for _, state := range []covey.BreakerState{covey.BreakerClosed, covey.BreakerHalfOpen, covey.BreakerOpen} {
		gauge(d.breaker, one(s.Breaker == state), state.String())
	}

	counter(d.requests, s.Hits, "hit")
	counter(d.requests, s.L1Hits, "hit_l1")
	counter(d.requests, s.PeerHits, "hit_peer")
	counter(d.requests, s.ReplicaReads, "hit_replica")
	counter(d.requests, s.StaleHits, "stale")
	counter(d.requests, s.NegativeHits, "negative")
	counter(d.requests, s.Misses, "miss")
	counter(d.coalesced, s.Coalesced)

	// The numbers are read one after another, so that a difference may be less than 0 for a moment.
	counter(d.loads, s.Loads-s.LoadErrors-s.LoadNotFound, "ok")
	counter(d.loads, s.LoadNotFound, "not_found")
	counter(d.loads, s.LoadErrors-s.LoadTimeouts-s.LoadPanics, "error")
	counter(d.loads, s.LoadTimeouts, "timeout")
	counter(d.loads, s.LoadPanics, "panic")
	ch <- c.histogram(d.loadSeconds, &s.LoadTimes, longest, name)
	counter(d.refused, s.RefusedSlots, "slots")
	counter(d.refused, s.RefusedRate, "rate")
	counter(d.refused, s.RefusedOpen, "breaker")
	counter(d.refreshes, s.Refreshes)
	counter(d.refreshSkips, s.RefreshSkips)
	counter(d.softTimeouts, s.SoftTimeouts)
	counter(d.discarded, s.DiscardedWrite, "write")
	counter(d.discarded, s.DiscardedView, "view")
	counter(d.discarded, s.DiscardedVersion, "version")
	counter(d.discarded, s.DiscardedLate, "late")
	counter(d.discarded, s.DiscardedAway, "away")
	ch <- c.histogram(d.ages, &s.Ages, old, name)
	ch <- c.histogram(d.staleFor, &s.StaleFor, old, name)
	ch <- c.histogram(d.invalidationLag, &s.InvalidationTimes, longest, name)
	counter(d.outdated, s.Outdated)

	counter(d.peerErrors, s.PeerErrors)
	counter(d.loans, s.Loans)
	counter(d.recalls, s.Recalls)
	counter(d.served, s.Served)
	counter(d.notOwner, s.NotOwner)
	counter(d.alone, s.Alone)
	counter(d.undecodable, s.Undecodable)
	counter(d.unconfirmed, s.Unconfirmed)

	gauge(d.replicas, s.Replicas)
	gauge(d.replicaBytes, s.ReplicaBytes)
	counter(d.replicasSent, s.ReplicasSent)
	counter(d.replicasRefused, s.ReplicasRefused)
	counter(d.replicasMissed, s.ReplicasMissed)
	counter(d.replicaReads, s.ReplicaReads)
	counter(d.hedges, s.Hedges)
	counter(d.hedgeWins, s.HedgeWins)
	counter(d.peeks, s.Peeks)
	counter(d.peekHits, s.PeekHits)
	counter(d.checks, s.Checks)
	counter(d.mismatches, s.Mismatches)

	gauge(d.restored, s.Snapshot.Restored)
	gauge(d.aside, s.Snapshot.Aside)
	counter(d.trusted, s.Trusted)
	counter(d.snapshots, s.Snapshot.Written)
	counter(d.snapshotFailed, s.Snapshot.Failed)
	gauge(d.snapshotEntries, s.Snapshot.Entries)
	gauge(d.snapshotBytes, s.Snapshot.Bytes)
	written := 0.0
	if at := s.Snapshot.At; !at.IsZero() {
		written = float64(at.UnixMilli()) / 1000
	}
	ch <- prometheus.MustNewConstMetric(d.snapshotTime, prometheus.GaugeValue, written, name)

	counter(d.puts, s.Puts)
	counter(d.deletes, s.Deletes)
	counter(d.evictions, s.Evictions)
	counter(d.expirations, s.Expirations)
	counter(d.tooLarge, s.TooLarge)
	counter(d.extraKeys, s.ExtraKeys)
}

func (c *Collector) collectGroup(ch chan<- prometheus.Metric, g *covey.Group) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{g.Name()}, labels...)...)
	}
	d, s := &c.d, g.Stats()
	gauge(d.members, float64(s.Members))
	gauge(d.settled, float64(one(s.Settled)))
	gauge(d.acting, float64(one(s.Acting)))
	gauge(d.links, float64(s.Links))
	gauge(d.pursued, float64(s.Pursued))
	gauge(d.epoch, float64(s.Epoch))
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{g.Name()}, labels...)...)
	}
	counter(d.views, s.Views)
	ch <- c.histogram(d.requestSeconds, &s.ReadTimes, longest, g.Name(), "read")
	ch <- c.histogram(d.requestSeconds, &s.WriteTimes, longest, g.Name(), "write")
	ch <- c.histogram(d.requestSeconds, &s.RecallTimes, longest, g.Name(), "recall")
	ch <- c.histogram(d.requestSeconds, &s.CopyTimes, longest, g.Name(), "copy")
	last := ""
	for i, p := range g.Peers() { // sorted by name; a list may have one twice, which Prometheus would refuse
		if i > 0 && p.Name == last {
			continue
		}
		last = p.Name
		gauge(d.peerMember, float64(one(p.Err == nil)), p.Name)
		gauge(d.peerUp, float64(one(p.Up)), p.Name)
		gauge(d.peerPlain, float64(one(p.Plain != nil)), p.Name)
		gauge(d.peerSameView, float64(one(p.SameView || p.Self)), p.Name)
		gauge(d.peerRoundTrip, p.RTT.Seconds(), p.Name)
		gauge(d.peerShare, p.Share, p.Name)
		gauge(d.peerSelf, float64(one(p.Self)), p.Name)
		gauge(d.peerSilent, float64(one(p.State == covey.PeerIsSilent)), p.Name)
		gauge(d.peerLeaving, float64(one(p.Leaving)), p.Name)
		since := 0.0
		if !p.Since.IsZero() {
			since = float64(p.Since.UnixMilli()) / 1000
		}
		gauge(d.peerSince, since, p.Name)
		gauge(d.peerInfo, 1, p.Name, p.Version, strconv.Itoa(p.Protocol))
		counter(d.peerFailures, p.Failures, p.Name)
		// A summary without quantiles: a histogram of each peer would be too many series.
		ch <- prometheus.MustNewConstSummary(d.peerSeconds, uint64(p.Times.Count()), p.Times.Sum().Seconds(), nil, g.Name(), p.Name)
	}
}

func one(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

const (
	schema  = 2                // of native histograms: four buckets for each doubling, as covey's own
	zero    = time.Microsecond // what is shorter counts as 0
	classic = 4                // the factor between the ends of two classic buckets
	longest = 3 * time.Minute  // that has a classic bucket of its own
	old     = 48 * time.Hour   // the same, of ages
)

// histogram makes a metric of h. Every classic bucket ends where one of covey's does. Of a native
// one the buckets are those that have the middle of covey's: as there are four for each doubling in
// both, what is off is within one of them.
func (c *Collector) histogram(d *prometheus.Desc, h *covey.Histogram, longest time.Duration, labels ...string) prometheus.Metric {
	if !c.native {
		buckets := make(map[float64]uint64)
		total, end := uint64(0), time.Duration(16*time.Microsecond)
		for at, n := range h.Buckets() {
			if total += uint64(n); at == end && end < longest {
				buckets[at.Seconds()] = total
				end *= classic
			}
		}
		return prometheus.MustNewConstHistogram(d, total, h.Sum().Seconds(), buckets, labels...)
	}
	buckets := make(map[int]int64)
	var total, zeros, start = uint64(0), uint64(0), time.Duration(0)
	for end, n := range h.Buckets() {
		if total += uint64(n); start < zero {
			zeros += uint64(n)
		} else if n > 0 {
			middle := math.Sqrt(start.Seconds() * end.Seconds())
			buckets[int(math.Ceil(math.Log2(middle)*4))] += n
		}
		start = end
	}
	return prometheus.MustNewConstNativeHistogram(d, total, h.Sum().Seconds(), buckets, nil, zeros, schema, zero.Seconds(), time.Time{}, labels...)
}
