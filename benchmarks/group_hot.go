package main

// group_hot.go compares the keys that a group shows as its hottest with those that its processes
// have asked for most.

import (
	"cmp"
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	hotCase  = "hotkeys/1M"
	hotTotal = 1_000_000
	hotTop   = 20
	hotRun   = 12 * time.Second // Group.HotKeys speaks of the last 5 to 10 s
)

// hot lets the callers ask for the keys of a Zipf distribution, and returns how often in a second
// they have asked for those that may be the hottest.
func (p *groupProcess) hot(l load) (reply, error) {
	keys := make([]string, hotTotal)
	for i := range keys {
		keys[i] = zipfKey(i)
	}
	p.value.Store(int64(l.Value))
	var counts [10 * hotTop]atomic.Int64
	var errs atomic.Int64
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	start := time.Now()
	for caller := range l.Callers {
		wg.Go(func() {
			zipf := rand.NewZipf(rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(caller))), 1.01, 1, hotTotal-1)
			for n := 0; n%256 != 0 || time.Since(start) < l.For; n++ {
				i := zipf.Uint64()
				if _, err := p.client.get(ctx, keys[i]); err != nil {
					errs.Add(1)
				}
				if i < uint64(len(counts)) {
					counts[i].Add(1)
				}
			}
		})
	}
	wg.Wait()
	r := reply{Errors: errs.Load(), Rates: make(map[string]float64)}
	for i := range counts {
		r.Rates[keys[i]] = float64(counts[i].Load()) / time.Since(start).Seconds()
	}
	return r, nil
}

// shown returns what the group shows.
func (p *groupProcess) shown() reply {
	r := reply{Rates: make(map[string]float64)}
	for _, h := range p.client.(*coveyPeer).group.HotKeys() {
		if h.Cache == "shared" {
			r.Rates[h.Key] = h.Rate
		}
	}
	return r
}

func hottest(rates map[string]float64) []string {
	keys := slices.SortedFunc(maps.Keys(rates), func(a, b string) int { return cmp.Compare(rates[b], rates[a]) })
	return keys[:min(hotTop, len(keys))]
}

// runGroupHot is the case of the suite group that asks for the hottest keys.
func runGroupHot(r *run) error {
	if r.quick || !r.wantsGroup("covey") || !r.cases.MatchString(hotCase) {
		return nil
	}
	meter.steps(1)
	step("group: %s, covey", hotCase)
	return withPeers(groupSystem{name: "covey"}, zipfKeys, func(peers []*child) error {
		truth := make(map[string]float64)
		for range 2 { // the first time until the local copies are those that are worth it
			clear(truth)
			replies, err := callAll(peers, command{Op: "hot", Load: load{Callers: 64, Value: 100, For: hotRun}})
			if err != nil {
				return err
			}
			for _, a := range replies {
				for key, rate := range a.Rates {
					truth[key] += rate
				}
			}
		}
		shown, err := peers[0].call(command{Op: "shown"})
		if err != nil {
			return err
		}
		top := hottest(shown.Rates)
		found, worst := 0, 0.0
		for _, key := range hottest(truth) {
			if slices.Contains(top, key) {
				found++
				worst = max(worst, 100*math.Abs(shown.Rates[key]/truth[key]-1))
			}
		}
		r.add(hotCase, "covey", "found", float64(found), "of the top 20")
		r.add(hotCase, "covey", "rate_error", worst, "%, most")
		r.verdict(found >= 18, "%s: %.0f of the top 20 (at least 18)", hotCase, float64(found))
		r.verdict(worst <= 20, "%s: rates are off by %.1f %% at most (20)", hotCase, worst)
		return nil
	})
}
