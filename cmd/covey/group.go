package main

// group.go shows the members, the caches and the hot keys.

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/coveycache/covey"
)

func (c *call) peers() error {
	peers, err := c.client.peers(c.ctx)
	if err != nil {
		return err
	}
	if c.json {
		return c.print(peers)
	}
	reports, err := c.client.reports(c.ctx)
	if err != nil {
		return err
	}
	c.table(func(row func(...any)) {
		row("MEMBER", "STATE", "ZONE", "SHARE", "RTT", "UPTIME", "ENTRIES", "BYTES", "VERSION", "NOTES")
		for _, m := range members(peers, reports, nil) {
			row(shown(m.Name), m.State, or(shown(m.Zone), "-"), m.share(), m.rtt(), m.uptime(), m.entries(), m.bytes(), or(clean(m.Version), "-"), strings.Join(m.notes, "; "))
		}
	})
	return nil
}

// A member is a process of the group, by what the one that was asked knows of it, and by what it says
// about itself.
type member struct {
	covey.Peer
	said  *covey.Report // nil: nothing
	notes []string
	did   sums // of all its caches
	rates rates
}

func (m *member) share() string { return fmt.Sprintf("%.1f%%", 100*m.Share) }

func (m *member) rtt() string {
	if m.RTT == 0 {
		return "-"
	}
	return short(m.RTT)
}

func (m *member) uptime() string { return m.ifSaid(func() string { return short(m.said.Uptime) }) }
func (m *member) entries() string {
	return m.ifSaid(func() string { return fmt.Sprint(m.did.entries) })
}
func (m *member) bytes() string { return m.ifSaid(func() string { return size(m.did.bytes) }) }

func (m *member) ifSaid(text func() string) string {
	if m.said == nil {
		return "-"
	}
	return text()
}

// members returns what is known of all, sorted by name. Rates are those since a look before, if there
// is one.
func members(peers []covey.Peer, reports []covey.Report, since *look) []*member {
	var epoch uint64
	said := make(map[string]*covey.Report)
	for i := range reports {
		said[reports[i].Member] = &reports[i]
	}
	for _, p := range peers {
		if r := said[p.Name]; p.Self && r != nil {
			epoch = r.Group.Epoch
		}
	}
	var all []*member
	for _, p := range peers {
		m := &member{Peer: p, rates: noRates}
		note := func(yes bool, format string, args ...any) {
			if yes {
				m.notes = append(m.notes, fmt.Sprintf(format, args...))
			}
		}
		note(p.State == covey.PeerIsDown, "no link%s", because(p.LastErr))
		note(p.State == covey.PeerIsSilent, "nothing is heard of it")
		note(p.Err != nil, "is no member")
		note(p.Leaving, "is leaving")
		note(p.Plain != nil, "no links, plain HTTP only")
		switch r := said[p.Name]; {
		case r == nil:
		case r.Err != nil:
			note(true, "does not answer: %s", clean(r.Err.Error()))
		default:
			m.said = r
			m.Version = cmp.Or(r.Version, m.Version)
			note(!r.Group.Acting, "may not serve what it stores: it hears no quorum")
			note(r.Group.Epoch != epoch, "goes by another view")
			for i := range r.Caches {
				s := &r.Caches[i].Stats
				m.did.add(s)
				note(s.Breaker == covey.BreakerOpen || s.Breaker == covey.BreakerHalfOpen, "breaker of %s is %v", shown(r.Caches[i].Name), s.Breaker)
			}
			m.rates = since.ratesOf(r, "")
		}
		all = append(all, m)
	}
	return all
}

// because says why, if that is known.
func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + clean(err.Error())
}

// Sums are what caches, or one cache in all members, have done and hold.
type sums struct {
	members                                            int
	hits, l1, replicas, peers, stale, negative, misses int64
	loads, failed, refused, coalesced, loading         int64
	times                                              covey.Histogram
	entries, copies, kept, bytes, bound                int64
	evicted, expired, writes, unconfirmed              int64
}

func (s *sums) add(one *covey.Stats) {
	s.members++
	s.hits += one.Hits
	s.l1 += one.L1Hits
	s.replicas += one.ReplicaReads
	s.peers += one.PeerHits
	s.stale += one.StaleHits
	s.negative += one.NegativeHits
	s.misses += one.Misses
	s.loads += one.Loads
	s.failed += one.LoadErrors
	s.refused += one.Refused
	s.coalesced += one.Coalesced
	s.loading += one.Loading
	s.times.Add(one.LoadTimes)
	s.entries += one.Entries
	s.copies += one.L1Entries
	s.kept += one.Replicas
	s.bytes += one.Bytes + one.L1Bytes
	s.bound += one.MaxBytes
	s.evicted += one.Evictions
	s.expired += one.Expirations
	s.writes += one.Puts + one.Deletes
	s.unconfirmed += one.Unconfirmed
}

func (s *sums) requests() int64 {
	return s.hits + s.l1 + s.replicas + s.peers + s.stale + s.negative + s.misses
}

// A row is a cache in all members.
type row struct {
	name string
	sums
	rates rates
}

// rows returns what is known of the caches, or of the one that is named, sorted by name.
func rows(reports []covey.Report, only string, since *look) []*row {
	byName := make(map[string]*row)
	var all []*row
	for i := range reports {
		for k := range reports[i].Caches {
			one := &reports[i].Caches[k]
			if only != "" && one.Name != only {
				continue
			}
			r := byName[one.Name]
			if r == nil {
				r = &row{name: one.Name, rates: noRates}
				byName[one.Name] = r
				all = append(all, r)
			}
			r.add(&one.Stats)
			r.rates.add(since.ratesOf(&reports[i], one.Name))
		}
	}
	slices.SortFunc(all, func(a, b *row) int { return strings.Compare(a.name, b.name) })
	return all
}

func (c *call) stats() error {
	reports, err := c.client.reports(c.ctx)
	if err != nil {
		return err
	}
	all := rows(reports, c.cache, nil)
	if len(all) == 0 && c.cache != "" {
		return fmt.Errorf("-cache: no member that answers has a cache %s", shown(c.cache))
	}
	if c.json {
		for i := range reports {
			reports[i].Caches = slices.DeleteFunc(reports[i].Caches, func(one covey.CacheReport) bool { return c.cache != "" && one.Name != c.cache })
		}
		return c.print(reports)
	}
	c.table(func(line func(...any)) {
		line("CACHE", "MEMBERS", "REQUESTS", "HITS", "COPIES", "REPLICAS", "PEERS", "STALE", "NEGATIVE", "MISSES")
		for _, r := range all {
			line(shown(r.name), r.members, r.requests(), r.hits, r.l1, r.replicas, r.peers, r.stale, r.negative, r.misses)
		}
	})
	fmt.Fprintln(c.out)
	c.table(func(line func(...any)) {
		line("CACHE", "LOADS", "FAILED", "REFUSED", "IN FLIGHT", "COALESCED", "MEDIAN", "P99", "WRITES", "UNCONFIRMED")
		for _, r := range all {
			line(shown(r.name), r.loads, r.failed, r.refused, r.loading, r.coalesced, short(r.times.Quantile(0.5)), short(r.times.Quantile(0.99)), r.writes, r.unconfirmed)
		}
	})
	fmt.Fprintln(c.out)
	c.table(func(line func(...any)) {
		line("CACHE", "ENTRIES", "COPIES", "REPLICAS", "BYTES", "BOUND", "EVICTED", "EXPIRED")
		for _, r := range all {
			bound := "-"
			if r.bound > 0 {
				bound = size(r.bound)
			}
			line(shown(r.name), r.entries, r.copies, r.kept, size(r.bytes), bound, r.evicted, r.expired)
		}
	})
	c.nameSilent(reports)
	return nil
}

// nameSilent says who is not in the sums.
func (c *call) nameSilent(reports []covey.Report) {
	for _, r := range reports {
		if r.Err != nil {
			fmt.Fprintf(c.err, "covey: %s is not in this, it does not answer: %s\n", shown(r.Member), clean(r.Err.Error()))
		}
	}
}

func (c *call) hot() error {
	reports, err := c.client.reports(c.ctx)
	if err != nil {
		return err
	}
	all := hotKeys(reports, c.cache)
	if c.json {
		return c.print(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(c.err, "covey: no key is asked for often enough")
	} else {
		c.table(func(line func(...any)) {
			line("REQUESTS/s", "CACHE", "KEY", "NOTES")
			for _, h := range all {
				note := ""
				if h.TooLarge {
					note = "too large for copies"
				}
				line(rate(h.Rate), shown(h.Cache), shown(h.Key), note)
			}
		})
	}
	c.nameSilent(reports)
	return nil
}

// hotKeys returns the keys that are asked for most, the hottest first. More than its owner may answer
// for a key: their rates are added up.
func hotKeys(reports []covey.Report, only string) []covey.HotKey {
	type name struct{ cache, key string }
	sums := make(map[name]covey.HotKey)
	for i := range reports {
		for _, h := range reports[i].HotKeys {
			if only == "" || h.Cache == only {
				n := name{h.Cache, h.Key}
				sum := sums[n]
				sums[n] = covey.HotKey{Cache: h.Cache, Key: h.Key, Rate: sum.Rate + h.Rate, TooLarge: sum.TooLarge || h.TooLarge}
			}
		}
	}
	all := slices.AppendSeq([]covey.HotKey{}, maps.Values(sums))
	slices.SortFunc(all, func(a, b covey.HotKey) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), strings.Compare(a.Cache, b.Cache), strings.Compare(a.Key, b.Key))
	})
	return all
}
