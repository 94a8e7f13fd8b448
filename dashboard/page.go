package dashboard

// page.go makes what the page shows of what the members have said.

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coveycache/covey"
)

// A page is all that the page shows. Times are in seconds.
type page struct {
	At      time.Time // when the members were asked
	Every   float64   // until they are asked again
	Self    string    // this process's name; "" if there is no group
	Epoch   uint64
	Actions bool
	Explain []string // caches whose keys can be explained

	Members []member
	Caches  []cacheRow
	History history
	Hot     []covey.HotKey
	Flights []flight
	Events  []event
}

// A member is a process of the group, by what this one knows of it and what it says.
type member struct {
	Name, URL, Zone, Version string
	State                    string // self, up, idle, silent, down
	Troubles                 []string
	Since                    float64 // in that state
	Share, RTT, Uptime       float64
	Requests, Failures       int64 // of this process to it
	Answers, Loads           int64 // to callers there, and loads there, all caches, since it started
	Entries, Bytes           int64
}

// A cacheRow is a cache, summed up over all members.
type cacheRow struct {
	Name                                               string
	Members                                            int // that have it
	Hits, L1, Peers, Replicas, Stale, Negative, Misses int64
	Loads, LoadErrors, Refused, Coalesced, Loading     int64
	Median, P99                                        float64 // of loads since the processes started
	Entries, Bytes, MaxBytes, L1Entries, ReplicaCopies int64
	Evictions, Expirations, Writes, Unconfirmed        int64
	Open                                               int // breakers that are open or half-open
}

// A history has the samples of each cache, one array for each number.
type history struct {
	At     []float64 // seconds before the page's At
	For    []float64
	Caches map[string]*series
}

type series struct {
	Hits, L1, Peers, Replicas, Stale, Negative, Misses []float64 // a second
	Loads, LoadErrors, Evictions, Writes               []float64 // a second
	P99                                                []float64 // of loads, in seconds; 0 if there was none
	Bytes                                              []float64
}

type flight struct {
	Member, Cache, Key, Peer string
	Age                      float64
	Waiters                  int
	Refresh, Void            bool
}

type event struct {
	At                     time.Time
	Member                 string // that has said so
	Kind                   string
	Cache, Peer, Key, Text string
	Took                   float64
}

// Of these, the page has so many at most.
const (
	shownFlights = 50
	shownKeys    = 25
	shownEvents  = 200
)

func (d *Dashboard) page(ctx context.Context) *page {
	at, reports, samples := d.watch.look(ctx)
	p := &page{
		At: at, Every: interval(len(reports)).Seconds(), Actions: d.opt.Actions, Explain: []string{},
		Members: []member{}, Caches: []cacheRow{}, Hot: []covey.HotKey{}, Flights: []flight{}, Events: []event{},
	}
	for _, c := range d.opt.Caches {
		p.Explain = append(p.Explain, c.Name())
	}
	slices.Sort(p.Explain)
	if g := d.opt.Group; g != nil {
		p.Self, p.Epoch = g.Name(), g.Stats().Epoch
		p.Members = members(g.Peers(), reports, p.Epoch)
	}
	p.Caches = cacheRows(reports)
	p.History = historyOf(at, samples, p.Caches)
	for i := range reports {
		p.addOf(&reports[i])
	}
	p.Hot = addedUp(p.Hot)
	slices.SortStableFunc(p.Flights, func(a, b flight) int { return cmp.Compare(b.Age, a.Age) })
	slices.SortStableFunc(p.Events, func(a, b event) int { return b.At.Compare(a.At) })
	p.Hot = p.Hot[:min(len(p.Hot), shownKeys)]
	p.Flights = p.Flights[:min(len(p.Flights), shownFlights)]
	p.Events = p.Events[:min(len(p.Events), shownEvents)]
	return p
}

// addedUp returns the hot keys, the hottest first. More than its owner answers for a key.
func addedUp(all []covey.HotKey) []covey.HotKey {
	at := make(map[covey.HotKey]int) // without rates
	sums := all[:0]
	for _, h := range all {
		key := covey.HotKey{Cache: h.Cache, Key: h.Key}
		if i, ok := at[key]; ok {
			sums[i].Rate += h.Rate
			sums[i].TooLarge = sums[i].TooLarge || h.TooLarge
			continue
		}
		at[key] = len(sums)
		sums = append(sums, h)
	}
	slices.SortStableFunc(sums, func(a, b covey.HotKey) int { return cmp.Compare(b.Rate, a.Rate) })
	return sums
}

// addOf adds what there is of each member.
func (p *page) addOf(r *covey.Report) {
	p.Hot = append(p.Hot, r.HotKeys...)
	for _, c := range r.Caches {
		for _, f := range c.InFlight {
			p.Flights = append(p.Flights, flight{r.Member, c.Name, f.Key, f.Peer, f.Age.Seconds(), f.Waiters, f.Refresh, f.Void})
		}
	}
	for _, e := range r.Recent {
		p.Events = append(p.Events, eventOf(r.Member, &e))
	}
}

// members returns what is known of the peers, those with the worst troubles first.
func members(peers []covey.Peer, reports []covey.Report, epoch uint64) []member {
	said := make(map[string]*covey.Report)
	for i := range reports {
		said[reports[i].Member] = &reports[i]
	}
	all := make([]member, 0, len(peers))
	worst := make(map[string]int)
	for _, peer := range peers {
		m := member{
			Name: peer.Name, URL: peer.URL, Zone: peer.Zone, Version: peer.Version, State: peer.State.String(),
			Share: peer.Share, RTT: peer.RTT.Seconds(), Requests: peer.Requests, Failures: peer.Failures,
		}
		if !peer.Since.IsZero() {
			m.Since = time.Since(peer.Since).Seconds()
		}
		trouble := func(weight int, text string) {
			m.Troubles = append(m.Troubles, text)
			worst[m.Name] = max(worst[m.Name], weight)
		}
		if r := said[peer.Name]; r != nil {
			m.add(r, epoch, trouble)
		}
		switch peer.State {
		case covey.PeerIsDown:
			trouble(5, "no link: "+text(peer.LastErr))
		case covey.PeerIsSilent:
			trouble(5, "nothing is heard of it")
		}
		if peer.Err != nil {
			trouble(4, "is no member: "+peer.Err.Error())
		}
		if peer.Plain != nil {
			trouble(1, "asked by plain HTTP: "+peer.Plain.Error())
		}
		if peer.Leaving {
			trouble(1, "is leaving")
		}
		all = append(all, m)
	}
	slices.SortStableFunc(all, func(a, b member) int {
		return cmp.Or(cmp.Compare(worst[b.Name], worst[a.Name]), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// add adds what a member says about itself.
func (m *member) add(r *covey.Report, epoch uint64, trouble func(int, string)) {
	if r.Err != nil {
		trouble(3, "does not answer: "+r.Err.Error())
		return
	}
	m.Uptime = r.Uptime.Seconds()
	m.Version = cmp.Or(r.Version, m.Version)
	if !r.Group.Acting {
		trouble(4, "may not serve what it stores: it hears no quorum")
	}
	if r.Group.Epoch != epoch {
		trouble(3, "goes by another view")
	}
	for _, c := range r.Caches {
		s := &c.Stats
		m.Answers += s.Hits + s.L1Hits + s.PeerHits + s.ReplicaReads + s.StaleHits + s.NegativeHits + s.Misses
		m.Loads += s.Loads
		m.Entries += s.Entries + s.L1Entries
		m.Bytes += s.Bytes + s.L1Bytes
		if s.Breaker == covey.BreakerOpen || s.Breaker == covey.BreakerHalfOpen {
			trouble(2, "breaker of "+c.Name+" is "+s.Breaker.String())
		}
	}
}

func cacheRows(reports []covey.Report) []cacheRow {
	rows := make(map[string]*cacheRow)
	times := make(map[string]*covey.Histogram)
	names := []string{}
	for i := range reports {
		for k := range reports[i].Caches {
			c := &reports[i].Caches[k]
			row := rows[c.Name]
			if row == nil {
				row = &cacheRow{Name: c.Name}
				rows[c.Name], times[c.Name] = row, new(covey.Histogram)
				names = append(names, c.Name)
			}
			row.add(&c.Stats)
			times[c.Name].Add(c.Stats.LoadTimes)
		}
	}
	slices.Sort(names)
	all := make([]cacheRow, 0, len(names))
	for _, name := range names {
		row, t := rows[name], times[name]
		row.Median, row.P99 = t.Quantile(0.5).Seconds(), t.Quantile(0.99).Seconds()
		all = append(all, *row)
	}
	return all
}

func (c *cacheRow) add(s *covey.Stats) {
	c.Members++
	c.Hits += s.Hits
	c.L1 += s.L1Hits
	c.Peers += s.PeerHits
	c.Replicas += s.ReplicaReads
	c.Stale += s.StaleHits
	c.Negative += s.NegativeHits
	c.Misses += s.Misses
	c.Loads += s.Loads
	c.LoadErrors += s.LoadErrors
	c.Refused += s.Refused
	c.Coalesced += s.Coalesced
	c.Loading += s.Loading
	c.Entries += s.Entries
	c.Bytes += s.Bytes + s.L1Bytes
	c.MaxBytes += s.MaxBytes
	c.L1Entries += s.L1Entries
	c.ReplicaCopies += s.Replicas
	c.Evictions += s.Evictions
	c.Expirations += s.Expirations
	c.Writes += s.Puts + s.Deletes
	c.Unconfirmed += s.Unconfirmed
	if s.Breaker == covey.BreakerOpen || s.Breaker == covey.BreakerHalfOpen {
		c.Open++
	}
}

func historyOf(at time.Time, samples []sample, rows []cacheRow) history {
	h := history{At: []float64{}, For: []float64{}, Caches: make(map[string]*series)}
	for _, row := range rows {
		h.Caches[row.Name] = new(series)
	}
	for i := range samples {
		s := &samples[i]
		h.At = append(h.At, at.Sub(s.At).Seconds())
		h.For = append(h.For, s.For.Seconds())
		for name, of := range h.Caches {
			d := s.Caches[name]
			if d == nil {
				d = new(done)
			}
			of.add(d, s.For.Seconds())
		}
	}
	return h
}

func (s *series) add(d *done, took float64) {
	rate := func(to *[]float64, n int64) { *to = append(*to, float64(n)/took) }
	rate(&s.Hits, d.Hits)
	rate(&s.L1, d.L1)
	rate(&s.Peers, d.Peers)
	rate(&s.Replicas, d.Replicas)
	rate(&s.Stale, d.Stale)
	rate(&s.Negative, d.Negative)
	rate(&s.Misses, d.Misses)
	rate(&s.Loads, d.Loads)
	rate(&s.LoadErrors, d.LoadErrors)
	rate(&s.Evictions, d.Evictions)
	rate(&s.Writes, d.Writes)
	s.P99 = append(s.P99, d.loadTimes.Quantile(0.99).Seconds())
	s.Bytes = append(s.Bytes, float64(d.Bytes))
}

func eventOf(from string, e *covey.Event) event {
	one := event{At: e.At, Member: from, Kind: e.Kind.String(), Cache: e.Cache, Peer: e.Peer, Key: e.Key, Text: text(e.Err), Took: e.Took.Seconds()}
	switch e.Kind {
	case covey.EventViewChanged:
		one.Text = viewText(e)
	case covey.EventBreaker:
		one.Text = e.Breaker.String()
	}
	return one
}

func viewText(e *covey.Event) string {
	s := "1 member"
	if e.Members != 1 {
		s = fmt.Sprintf("%d members", e.Members)
	}
	if len(e.Came) > 0 {
		s += ", came: " + strings.Join(e.Came, " ")
	}
	if len(e.Left) > 0 {
		s += ", left: " + strings.Join(e.Left, " ")
	}
	return s
}

// maxText bounds what is shown of an error, in bytes: so much comes from other members.
const maxText = 4096

// text returns the text of an error, which may be a user's: fmt says so if its Error panics.
func text(err error) string {
	if err == nil {
		return ""
	}
	s := fmt.Sprint(err)
	return s[:min(len(s), maxText)]
}
