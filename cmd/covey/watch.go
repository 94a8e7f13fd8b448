package main

// watch.go shows members and caches with their rates, again and again.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/coveycache/covey"
)

// A look is what the members have said at one time.
type look struct {
	At      time.Time
	Peers   []covey.Peer
	Reports []covey.Report
}

func (c *call) look() (*look, error) {
	l := &look{At: time.Now()}
	var err error
	if l.Peers, err = c.client.peers(c.ctx); err != nil {
		return nil, err
	}
	if l.Reports, err = c.client.reports(c.ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// Rates are what happens in a second; negative: it isn't known.
type rates struct {
	hits, l1, replicas, peers, stale, negative, misses, loads, failed float64
}

var noRates = rates{hits: -1}

func (r *rates) known() bool { return r.hits >= 0 }

func (r *rates) add(other rates) {
	if !other.known() {
		return
	}
	if !r.known() {
		*r = rates{}
	}
	r.hits += other.hits
	r.l1 += other.l1
	r.replicas += other.replicas
	r.peers += other.peers
	r.stale += other.stale
	r.negative += other.negative
	r.misses += other.misses
	r.loads += other.loads
	r.failed += other.failed
}

func (r *rates) requests() float64 {
	if !r.known() {
		return -1
	}
	return r.hits + r.l1 + r.replicas + r.peers + r.stale + r.negative + r.misses
}

// ratesOf returns what a member, or one of its caches, has done since the look. Where it was not heard
// of then, or has been started anew, they aren't known.
func (l *look) ratesOf(now *covey.Report, cache string) rates {
	if l == nil {
		return noRates
	}
	i := slices.IndexFunc(l.Reports, func(r covey.Report) bool { return r.Member == now.Member && r.Err == nil })
	if i < 0 {
		return noRates
	}
	took := (now.Uptime - l.Reports[i].Uptime).Seconds() // by the member's own clock
	if took <= 0 {
		return noRates
	}
	was, is := sumsOf(&l.Reports[i], cache), sumsOf(now, cache)
	if was.members == 0 {
		return noRates
	}
	per := func(of func(*sums) int64) float64 { return float64(max(0, of(is)-of(was))) / took }
	return rates{
		hits: per(func(s *sums) int64 { return s.hits }), l1: per(func(s *sums) int64 { return s.l1 }),
		replicas: per(func(s *sums) int64 { return s.replicas }), peers: per(func(s *sums) int64 { return s.peers }),
		stale: per(func(s *sums) int64 { return s.stale }), negative: per(func(s *sums) int64 { return s.negative }),
		misses: per(func(s *sums) int64 { return s.misses }), loads: per(func(s *sums) int64 { return s.loads }),
		failed: per(func(s *sums) int64 { return s.failed }),
	}
}

// sumsOf sums up what one process says of a cache; "": of all.
func sumsOf(r *covey.Report, cache string) *sums {
	s := new(sums)
	for i := range r.Caches {
		if cache == "" || r.Caches[i].Name == cache {
			s.add(&r.Caches[i].Stats)
		}
	}
	return s
}

const (
	everyFor    = 30 * time.Millisecond // for each member, between two looks: as the dashboard does
	mostMembers = 30                    // that are shown, those with troubles first
)

// watch looks until it is interrupted. What fails at the beginning is an error; later it may pass.
func (c *call) watch() error {
	last, err := c.look()
	if err != nil {
		return err
	}
	if err := c.show(last, nil, nil); err != nil {
		return err
	}
	for {
		select {
		case <-c.ctx.Done():
			return nil
		case <-time.After(max(c.every, time.Duration(len(last.Peers))*everyFor)):
		}
		now, err := c.look()
		if c.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			err = c.show(last, nil, err)
		} else {
			err, last = c.show(now, last, nil), now
		}
		if err != nil {
			return err
		}
	}
}

// show prints a look, with the rates since the one before, and what went wrong with the latest.
func (c *call) show(l, before *look, failed error) error {
	if c.json {
		if failed != nil {
			fmt.Fprintln(c.err, "covey:", failed)
			return nil
		}
		return json.NewEncoder(c.out).Encode(l)
	}
	var b strings.Builder
	if c.isTerminal {
		b.WriteString("\x1b[H\x1b[J") // the whole screen, in one write: it does not flicker
	}
	fmt.Fprintf(&b, "%s  %s\n", l.At.Format(time.DateTime), c.client.base)
	if failed != nil {
		fmt.Fprintf(&b, "covey: %v; this is the last that was heard\n", failed)
	}
	b.WriteString("\n")
	all := members(l.Peers, l.Reports, before)
	slices.SortStableFunc(all, func(x, y *member) int { return cmp.Compare(min(1, len(y.notes)), min(1, len(x.notes))) })
	table(&b, func(line func(...any)) {
		line("MEMBER", "STATE", "SHARE", "RTT", "UPTIME", "REQUESTS/s", "LOADS/s", "ENTRIES", "BYTES", "NOTES")
		for _, m := range all[:min(len(all), mostMembers)] {
			line(shown(m.Name), m.State, m.share(), m.rtt(), m.uptime(), rate(m.rates.requests()), m.rates.text(m.rates.loads), m.entries(), m.bytes(), strings.Join(m.notes, "; "))
		}
	})
	if more := len(all) - mostMembers; more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	b.WriteString("\n")
	table(&b, func(line func(...any)) {
		line("CACHE", "REQUESTS/s", "HITS", "COPIES", "REPLICAS", "PEERS", "STALE", "NEGATIVE", "MISSES", "LOADS/s", "FAILED", "ENTRIES", "BYTES")
		for _, r := range rows(l.Reports, c.cache, before) {
			x := &r.rates
			line(shown(r.name), rate(x.requests()), x.text(x.hits), x.text(x.l1), x.text(x.replicas), x.text(x.peers), x.text(x.stale), x.text(x.negative), x.text(x.misses),
				x.text(x.loads), x.text(x.failed), r.entries, size(r.bytes))
		}
	})
	if !c.isTerminal {
		b.WriteString("\n")
	}
	if _, err := io.WriteString(c.out, b.String()); err != nil {
		return errors.New("the output can't be written: " + err.Error())
	}
	return nil
}

func (r *rates) text(perSecond float64) string {
	if !r.known() {
		return "-"
	}
	return rate(perSecond)
}
