package otelcovey

// metrics.go says which number becomes which metric.

import (
	"context"
	"errors"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/coveycache/covey"
)

// Attributes of many metrics and spans.
const (
	cacheKey  attribute.Key = "covey.cache"
	selfKey   attribute.Key = "covey.self"
	peerKey   attribute.Key = "covey.peer"
	resultKey attribute.Key = "covey.result"
	reasonKey attribute.Key = "covey.reason"
)

// A kind is what a number does.
type kind uint8

const (
	counter kind = iota // only grows
	level               // of something of which the processes' numbers can be added up
	gauge               // of which they cannot
	ratio               // a gauge that is not a whole number
)

// A measure is a metric of what a T says. Numbers of seconds are not whole, either.
type measure[T any] struct {
	kind       kind
	name, unit string
	help       string
	values     []value[T]
}

// A value is a number of a measure, told from its others by an attribute.
type value[T any] struct {
	attr attribute.KeyValue
	of   func(*T) float64
}

// only is for a measure that has one value.
func only[T any, N int | int64 | uint64 | float64](of func(*T) N) []value[T] {
	return []value[T]{{of: func(t *T) float64 { return float64(of(t)) }}}
}

func by[T any](key attribute.Key, name string, of func(*T) int64) value[T] {
	return value[T]{key.String(name), func(t *T) float64 { return float64(max(0, of(t))) }} // numbers are read one after another, and differences may be negative for a moment
}

func is[T any](of func(*T) bool) []value[T] {
	return []value[T]{{of: func(t *T) float64 { return one(of(t)) }}}
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

type stats = covey.Stats

// times are the measures of durations.
func times[T any](name, unit, help string, of func(*T) *covey.Histogram) []measure[T] {
	return []measure[T]{
		{counter, name + ".count", unit, help + " How many.", only(func(t *T) int64 { return of(t).Count() })},
		{counter, name + ".sum", "s", help + " All together.", only(func(t *T) float64 { return of(t).Sum().Seconds() })},
	}
}

var cacheMeasures = slices.Concat([]measure[stats]{
	{level, "covey.entry.count", "{entry}", "Entries stored, stale and negative ones included, without copies of other peers' keys.", only(func(s *stats) int64 { return s.Entries })},
	{level, "covey.entry.size", "By", "Accounted bytes of the entries.", only(func(s *stats) int64 { return s.Bytes })},
	{level, "covey.entry.limit", "{entry}", "The bound on the entries. 0 means none.", only(func(s *stats) int64 { return s.MaxEntries })},
	{level, "covey.size.limit", "By", "The bound on the bytes, copies of other peers' keys included. 0 means none.", only(func(s *stats) int64 { return s.MaxBytes })},
	{level, "covey.l1.entry.count", "{entry}", "Copies of other peers' keys.", only(func(s *stats) int64 { return s.L1Entries })},
	{level, "covey.l1.entry.size", "By", "Accounted bytes of the copies of other peers' keys.", only(func(s *stats) int64 { return s.L1Bytes })},
	{level, "covey.load.active", "{load}", "Loads in progress.", only(func(s *stats) int64 { return s.Loading })},
	{gauge, "covey.breaker.state", "1", "What the breaker does with loads. That of the state is 1, the others are 0; all are if there is none.", []value[stats]{breaker(covey.BreakerClosed), breaker(covey.BreakerHalfOpen), breaker(covey.BreakerOpen)}},
	{counter, "covey.requests", "{request}", "Requests of callers, by where the answer came from.", []value[stats]{
		by(resultKey, "hit", func(s *stats) int64 { return s.Hits }),
		by(resultKey, "hit_l1", func(s *stats) int64 { return s.L1Hits }),
		by(resultKey, "hit_peer", func(s *stats) int64 { return s.PeerHits }),
		by(resultKey, "hit_replica", func(s *stats) int64 { return s.ReplicaReads }),
		by(resultKey, "stale", func(s *stats) int64 { return s.StaleHits }),
		by(resultKey, "negative", func(s *stats) int64 { return s.NegativeHits }),
		by(resultKey, "miss", func(s *stats) int64 { return s.Misses }),
	}},
	{counter, "covey.loads", "{load}", "Loads that ran a loader, by what came of them.", []value[stats]{
		by(resultKey, "ok", func(s *stats) int64 { return s.Loads - s.LoadErrors - s.LoadNotFound }),
		by(resultKey, "not_found", func(s *stats) int64 { return s.LoadNotFound }),
		by(resultKey, "error", func(s *stats) int64 { return s.LoadErrors - s.LoadTimeouts - s.LoadPanics }),
		by(resultKey, "timeout", func(s *stats) int64 { return s.LoadTimeouts }),
		by(resultKey, "panic", func(s *stats) int64 { return s.LoadPanics }),
	}},
	{counter, "covey.load.coalesced", "{request}", "Misses that waited for a load that somebody else had started.", only(func(s *stats) int64 { return s.Coalesced })},
	{counter, "covey.load.time", "s", "Time spent in loaders.", only(func(s *stats) float64 { return s.LoadTime.Seconds() })},
	{counter, "covey.load.refused", "{load}", "Loads that the protection of the origin refused.", []value[stats]{
		by(reasonKey, "slots", func(s *stats) int64 { return s.RefusedSlots }),
		by(reasonKey, "rate", func(s *stats) int64 { return s.RefusedRate }),
		by(reasonKey, "breaker", func(s *stats) int64 { return s.RefusedOpen }),
	}},
	{counter, "covey.refreshes", "{load}", "Loads started in the background.", only(func(s *stats) int64 { return s.Refreshes })},
	{counter, "covey.refresh.skipped", "{load}", "Refreshes not started because too many were running.", only(func(s *stats) int64 { return s.RefreshSkips })},
	{counter, "covey.soft_timeouts", "{request}", "Stale values served because the load took too long.", only(func(s *stats) int64 { return s.SoftTimeouts })},
	{counter, "covey.fill.discarded", "{fill}", "Loaded values not stored, by what had come in between: a write of the key, a clear or another view, a higher version; or it was too late, or is not for this process to store.", []value[stats]{
		by(reasonKey, "write", func(s *stats) int64 { return s.DiscardedWrite }),
		by(reasonKey, "view", func(s *stats) int64 { return s.DiscardedView }),
		by(reasonKey, "version", func(s *stats) int64 { return s.DiscardedVersion }),
		by(reasonKey, "late", func(s *stats) int64 { return s.DiscardedLate }),
		by(reasonKey, "away", func(s *stats) int64 { return s.DiscardedAway }),
	}},
	{counter, "covey.write.outdated", "{write}", "Writes refused since the cache knew a higher version.", only(func(s *stats) int64 { return s.Outdated })},
	{counter, "covey.write.unconfirmed", "{write}", "Writes of which it is not known whether they took effect everywhere.", only(func(s *stats) int64 { return s.Unconfirmed })},
	{counter, "covey.peer.errors", "{request}", "Peers asked in vain.", only(func(s *stats) int64 { return s.PeerErrors })},
	{counter, "covey.loans", "{copy}", "Copies lent to other peers.", only(func(s *stats) int64 { return s.Loans })},
	{counter, "covey.recalls", "{request}", "Requests to other peers to give copies back.", only(func(s *stats) int64 { return s.Recalls })},
	{counter, "covey.served", "{request}", "Gets and lookups answered for other peers.", only(func(s *stats) int64 { return s.Served })},
	{counter, "covey.served.not_owner", "{request}", "Those of them for keys that this process does not own.", only(func(s *stats) int64 { return s.NotOwner })},
	{counter, "covey.alone", "{request}", "Answers of owners that have no such cache, or with another codec.", only(func(s *stats) int64 { return s.Alone })},
	{counter, "covey.undecodable", "{value}", "Values from peers that the codec did not understand.", only(func(s *stats) int64 { return s.Undecodable })},
	{level, "covey.replica.count", "{entry}", "Entries that this process keeps for their owners. They are among the entries.", only(func(s *stats) int64 { return s.Replicas })},
	{level, "covey.replica.size", "By", "Accounted bytes of the replicas. They are among the bytes.", only(func(s *stats) int64 { return s.ReplicaBytes })},
	{counter, "covey.replica.sent", "{value}", "Values that other processes have kept for this one.", only(func(s *stats) int64 { return s.ReplicasSent })},
	{counter, "covey.replica.refused", "{value}", "Values of others that this process has not kept: written since, or not its to keep.", only(func(s *stats) int64 { return s.ReplicasRefused })},
	{counter, "covey.replica.missed", "{value}", "Values not sent to other processes at once, since too many waited or the other took none; they are sent later.", only(func(s *stats) int64 { return s.ReplicasMissed })},
	{counter, "covey.zone.io", "By", "Of values that members in other zones have answered with.", only(func(s *stats) int64 { return s.OtherZoneBytes })},
	{counter, "covey.hedges", "{request}", "Requests to replicas since the owner was slow.", only(func(s *stats) int64 { return s.Hedges })},
	{counter, "covey.hedge.won", "{request}", "Those of them that were answered first.", only(func(s *stats) int64 { return s.HedgeWins })},
	{counter, "covey.peeks", "{request}", "Questions to others before a load of a key that has just moved here.", only(func(s *stats) int64 { return s.Peeks })},
	{counter, "covey.peek.hit", "{request}", "Those of them that found a value, so that nothing had to be loaded.", only(func(s *stats) int64 { return s.PeekHits })},
	{counter, "covey.self_checks", "{check}", "Replicas compared with what their owners have.", only(func(s *stats) int64 { return s.Checks })},
	{counter, "covey.self_check.mismatches", "{check}", "Those of them that differed. There should be none.", only(func(s *stats) int64 { return s.Mismatches })},
	{level, "covey.snapshot.restored", "{entry}", "Entries that came from a file when the cache was made.", only(func(s *stats) int64 { return s.Snapshot.Restored })},
	{level, "covey.snapshot.unconfirmed", "{entry}", "Those of them, in a group, that nobody has asked for yet.", only(func(s *stats) int64 { return s.Snapshot.Aside })},
	{counter, "covey.snapshot.trusted", "{value}", "Values that members' snapshots had, so that nothing had to be loaded.", only(func(s *stats) int64 { return s.Trusted })},
	{counter, "covey.snapshot.written", "{file}", "Files written.", only(func(s *stats) int64 { return s.Snapshot.Written })},
	{counter, "covey.snapshot.failed", "{file}", "Files that could not be written.", only(func(s *stats) int64 { return s.Snapshot.Failed })},
	{level, "covey.snapshot.entry.count", "{entry}", "Entries in the last file that was written.", only(func(s *stats) int64 { return s.Snapshot.Entries })},
	{level, "covey.snapshot.size", "By", "Length of the last file that was written.", only(func(s *stats) int64 { return s.Snapshot.Bytes })},
	{gauge, "covey.snapshot.timestamp", "s", "When the last file was written, in seconds since 1970. 0 means that none was.", only(func(s *stats) float64 { return seconds(s.Snapshot.At) })},
	{counter, "covey.puts", "{write}", "Values put in this process.", only(func(s *stats) int64 { return s.Puts })},
	{counter, "covey.deletes", "{write}", "Keys deleted in this process.", only(func(s *stats) int64 { return s.Deletes })},
	{counter, "covey.evictions", "{entry}", "Live entries that left because the cache was full.", only(func(s *stats) int64 { return s.Evictions })},
	{counter, "covey.expirations", "{entry}", "Entries whose time was over.", only(func(s *stats) int64 { return s.Expirations })},
	{counter, "covey.too_large", "{value}", "Values not stored because they were too large.", only(func(s *stats) int64 { return s.TooLarge })},
	{counter, "covey.extra_keys", "{key}", "Keys that a bulk loader returned unasked.", only(func(s *stats) int64 { return s.ExtraKeys })},
},
	times("covey.entry.age", "{value}", "How old values were that were served fresh, copies included; of one in 256 of them.", func(s *stats) *covey.Histogram { return &s.Ages }),
	times("covey.entry.stale_age", "{value}", "For how long the time of values had been over that were served stale.", func(s *stats) *covey.Histogram { return &s.StaleFor }),
	times("covey.invalidation.lag", "{write}", "How long writes took until no other process held what was there before, counted at the owner where somebody held it; and clears.", func(s *stats) *covey.Histogram { return &s.InvalidationTimes }),
)

func breaker(state covey.BreakerState) value[stats] {
	return value[stats]{attribute.String("covey.state", state.String()), func(s *stats) float64 { return one(s.Breaker == state) }}
}

type group = covey.GroupStats

var groupMeasures = []measure[group]{
	{gauge, "covey.group.members", "{member}", "Members of the group by the view that this process goes by.", only(func(s *group) int { return s.Members })},
	{gauge, "covey.group.settled", "1", "1 if all have given back what the view takes away from them.", is(func(s *group) bool { return s.Settled })},
	{gauge, "covey.group.acting", "1", "1 if this process may serve what it stores.", is(func(s *group) bool { return s.Acting })},
	{level, "covey.group.link.count", "{link}", "Links that are up, in both directions.", only(func(s *group) int { return s.Links })},
	{level, "covey.group.pursued", "{write}", "Keys whose deletion could not be confirmed and goes on.", only(func(s *group) int { return s.Pursued })},
	{counter, "covey.group.views", "{view}", "Views that this process has gone by.", only(func(s *group) int64 { return s.Views })},
	{gauge, "covey.group.view.epoch", "1", "The view's number, which grows with each change. 0 means that there is no view.", only(func(s *group) uint64 { return s.Epoch })},
	{counter, "covey.group.request.count", "{request}", "Requests to peers, without those that had to wait for a load, by what they were for: reads, writes, what writes wait for (recall), and values sent or asked for when keys move (copy).", []value[group]{
		by("covey.purpose", "read", func(s *group) int64 { return s.ReadTimes.Count() }),
		by("covey.purpose", "write", func(s *group) int64 { return s.WriteTimes.Count() }),
		by("covey.purpose", "recall", func(s *group) int64 { return s.RecallTimes.Count() }),
		by("covey.purpose", "copy", func(s *group) int64 { return s.CopyTimes.Count() }),
	}},
	{counter, "covey.group.request.sum", "s", "How long these took, all together.", []value[group]{
		purpose("read", func(s *group) *covey.Histogram { return &s.ReadTimes }),
		purpose("write", func(s *group) *covey.Histogram { return &s.WriteTimes }),
		purpose("recall", func(s *group) *covey.Histogram { return &s.RecallTimes }),
		purpose("copy", func(s *group) *covey.Histogram { return &s.CopyTimes }),
	}},
}

func purpose(name string, of func(*group) *covey.Histogram) value[group] {
	return value[group]{attribute.String("covey.purpose", name), func(s *group) float64 { return of(s).Sum().Seconds() }}
}

type peer = covey.Peer

var peerMeasures = slices.Concat([]measure[peer]{
	{counter, "covey.peer.request.failed", "{request}", "Requests to the peer that got no answer.", only(func(p *peer) int64 { return p.Failures })},
	{gauge, "covey.peer.silent", "1", "1 if there is a link to the peer, but nothing has come over it for a while.", is(func(p *peer) bool { return p.State == covey.PeerIsSilent })},
	{gauge, "covey.peer.leaving", "1", "1 if the peer is being shut down.", is(func(p *peer) bool { return p.Leaving })},
	{gauge, "covey.peer.state.timestamp", "s", "When the link to the peer came up that there is, or the last one went down, in seconds since 1970. 0 means that there was none.", only(func(p *peer) float64 { return seconds(p.Since) })},
	{gauge, "covey.peer.member", "1", "1 if the peer is a member, 0 if it is only listed.", is(func(p *peer) bool { return p.Err == nil })},
	{gauge, "covey.peer.up", "1", "1 if there is a link to the peer.", is(func(p *peer) bool { return p.Up })},
	{gauge, "covey.peer.plain", "1", "1 if the peer is asked by plain HTTP requests since it refuses links.", is(func(p *peer) bool { return p.Plain != nil })},
	{gauge, "covey.peer.same_view", "1", "1 if the peer goes by the same view as this process, as far as it has said.", is(func(p *peer) bool { return p.SameView || p.Self })},
	{gauge, "covey.peer.round_trip", "s", "How long the peer took to answer last. 0 means that there is no link.", only(func(p *peer) float64 { return p.RTT.Seconds() })},
	{ratio, "covey.peer.share", "1", "The part of all keys that the peer owns.", only(func(p *peer) float64 { return p.Share })},
	{gauge, "covey.peer.self", "1", "1 if the peer is this process.", is(func(p *peer) bool { return p.Self })},
	{gauge, "covey.peer.protocol", "1", "Which version of covey's protocol the two speak. 0 means that there is no link.", only(func(p *peer) int { return p.Protocol })},
},
	times("covey.peer.request", "{request}", "Requests to the peer, without those that had to wait for a load.", func(p *peer) *covey.Histogram { return &p.Times }),
)

func seconds(at interface {
	IsZero() bool
	UnixMilli() int64
}) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixMilli()) / 1000
}

// An instrument observes what a measure says.
type instrument[T any] struct {
	*measure[T]
	whole      metric.Int64Observable
	fractional metric.Float64Observable
}

func instrumentsOf[T any](meter metric.Meter, measures []measure[T], all *[]metric.Observable) (made []instrument[T], err error) {
	for i := range measures {
		m := &measures[i]
		one := instrument[T]{measure: m}
		var e error
		help, unit := metric.WithDescription(m.help), metric.WithUnit(m.unit)
		fractional := m.unit == "s" || m.kind == ratio
		switch {
		case fractional && m.kind == counter:
			one.fractional, e = meter.Float64ObservableCounter(m.name, help, unit)
		case fractional:
			one.fractional, e = meter.Float64ObservableGauge(m.name, help, unit)
		case m.kind == counter:
			one.whole, e = meter.Int64ObservableCounter(m.name, help, unit)
		case m.kind == level:
			one.whole, e = meter.Int64ObservableUpDownCounter(m.name, help, unit)
		default:
			one.whole, e = meter.Int64ObservableGauge(m.name, help, unit)
		}
		if err = errors.Join(err, e); e != nil {
			continue
		}
		if fractional {
			*all = append(*all, one.fractional)
		} else {
			*all = append(*all, one.whole)
		}
		made = append(made, one)
	}
	return made, err
}

func observeAll[T any](o metric.Observer, all []instrument[T], t *T, attrs ...attribute.KeyValue) {
	for _, i := range all {
		for _, v := range i.values {
			with := attrs
			if v.attr.Valid() {
				with = append(slices.Clip(attrs), v.attr)
			}
			if i.fractional != nil {
				o.ObserveFloat64(i.fractional, v.of(t), metric.WithAttributes(with...))
			} else {
				o.ObserveInt64(i.whole, int64(v.of(t)), metric.WithAttributes(with...))
			}
		}
	}
}

// instruments are those that are read when somebody asks.
type instruments struct {
	ofCaches []instrument[stats]
	ofGroups []instrument[group]
	ofPeers  []instrument[peer]
}

// observe makes the instruments, which all are read at once.
func (t *Telemetry) observe(meter metric.Meter) error {
	var all []metric.Observable
	var errs [4]error
	t.ofCaches, errs[0] = instrumentsOf(meter, cacheMeasures, &all)
	t.ofGroups, errs[1] = instrumentsOf(meter, groupMeasures, &all)
	t.ofPeers, errs[2] = instrumentsOf(meter, peerMeasures, &all)
	_, errs[3] = meter.RegisterCallback(t.read, all...)
	return errors.Join(errs[:]...)
}

func (t *Telemetry) read(_ context.Context, o metric.Observer) error {
	t.mu.Lock()
	caches, groups := slices.Clone(t.caches), slices.Clone(t.groups)
	t.mu.Unlock()
	for _, c := range caches {
		s := c.Stats()
		observeAll(o, t.ofCaches, &s, cacheKey.String(c.Name()))
	}
	for _, g := range groups {
		s := g.Stats()
		observeAll(o, t.ofGroups, &s, selfKey.String(g.Name()))
		last := ""
		for i, p := range g.Peers() { // sorted by name; a list may have one twice
			if i > 0 && p.Name == last {
				continue
			}
			last = p.Name
			observeAll(o, t.ofPeers, &p, selfKey.String(g.Name()), peerKey.String(p.Name))
		}
	}
	return nil
}
