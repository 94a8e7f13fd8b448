package dashboard

// watch.go asks the members for their reports while somebody looks, and remembers what has changed
// from one to the next.

import (
	"context"
	"sync"
	"time"

	"github.com/coveycache/covey"
)

const (
	// every is how often the members are asked, while somebody looks; every so much less often for
	// each member, so that a group of 1,000 is asked twice a minute.
	every      = 2 * time.Second
	everyFor   = 30 * time.Millisecond
	remembered = 10 * time.Minute
)

// A watch has what the members have said lately.
type watch struct {
	ask func(context.Context) []covey.Report

	mu      sync.Mutex
	last    []covey.Report
	at      time.Time                         // when they were asked
	had     map[string]map[string]covey.Stats // by member and cache: the last that each has said
	history []sample
}

// A sample is what the caches of all members did between two times.
type sample struct {
	At     time.Time
	For    time.Duration // since the sample before
	Caches map[string]*done
}

// done is what a cache did in that time, in all members.
type done struct {
	Hits, L1, Peers, Replicas, Stale, Negative, Misses int64
	Loads, LoadErrors, Refused, Evictions, Writes      int64
	loadTimes                                          covey.Histogram
	Bytes                                              int64 // at the end of it
}

func (d *done) add(now, before *covey.Stats) {
	since := func(of func(*covey.Stats) int64) int64 { return max(0, of(now)-of(before)) }
	d.Hits += since(func(s *covey.Stats) int64 { return s.Hits })
	d.L1 += since(func(s *covey.Stats) int64 { return s.L1Hits })
	d.Peers += since(func(s *covey.Stats) int64 { return s.PeerHits })
	d.Replicas += since(func(s *covey.Stats) int64 { return s.ReplicaReads })
	d.Stale += since(func(s *covey.Stats) int64 { return s.StaleHits })
	d.Negative += since(func(s *covey.Stats) int64 { return s.NegativeHits })
	d.Misses += since(func(s *covey.Stats) int64 { return s.Misses })
	d.Loads += since(func(s *covey.Stats) int64 { return s.Loads })
	d.LoadErrors += since(func(s *covey.Stats) int64 { return s.LoadErrors })
	d.Refused += since(func(s *covey.Stats) int64 { return s.Refused })
	d.Evictions += since(func(s *covey.Stats) int64 { return s.Evictions })
	d.Writes += since(func(s *covey.Stats) int64 { return s.Puts + s.Deletes })
	times := now.LoadTimes
	if times.Count() >= before.LoadTimes.Count() {
		times.Sub(before.LoadTimes)
	}
	d.loadTimes.Add(times)
}

// interval is how often so many members are asked.
func interval(members int) time.Duration { return max(every, time.Duration(members)*everyFor) }

// look returns the last reports and the samples, and asks for new ones if it is time.
func (w *watch) look(ctx context.Context) (at time.Time, reports []covey.Report, history []sample) {
	w.mu.Lock()
	defer w.mu.Unlock() // others wait: then they need not ask
	if time.Since(w.at) >= interval(len(w.last)) {
		began := time.Now()
		// Whoever asked first may leave: what is learned is for all.
		w.note(began, w.ask(context.WithoutCancel(ctx)))
	}
	return w.at, w.last, w.history
}

// note remembers reports. What a process counted before it was first heard of, or before a silence of
// more than a minute, is in no sample, nor is what one that restarts had counted.
func (w *watch) note(at time.Time, reports []covey.Report) {
	took := at.Sub(w.at)
	one := sample{At: at, For: took, Caches: make(map[string]*done)}
	had := make(map[string]map[string]covey.Stats)
	for i := range reports {
		r := &reports[i]
		if r.Err != nil {
			had[r.Member] = w.had[r.Member]
			continue
		}
		had[r.Member] = make(map[string]covey.Stats)
		for k := range r.Caches {
			now := &r.Caches[k].Stats
			name := r.Caches[k].Name
			had[r.Member][name] = *now
			d := one.Caches[name]
			if d == nil {
				d = new(done)
				one.Caches[name] = d
			}
			d.Bytes += now.Bytes + now.L1Bytes
			if before, ok := w.had[r.Member][name]; ok {
				if now.Hits < before.Hits || now.Misses < before.Misses { // it has restarted
					before = covey.Stats{}
				}
				d.add(now, &before)
			}
		}
	}
	if !w.at.IsZero() && took < time.Minute {
		w.history = append(w.history, one)
	}
	for len(w.history) > 0 && at.Sub(w.history[0].At) > remembered {
		w.history = w.history[1:]
	}
	w.at, w.last, w.had = at, reports, had
}
