package main

// herd.go measures what happens when very many callers want one key.

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	herdCallers = 10_000
	herdLoad    = 100 * time.Millisecond // what the origin takes
	herdTTL     = 2 * time.Second
	herdRate    = 10_000 // gets per second
	hotKey      = "k"
)

// An origin takes its time, counts its loads, and returns values that know when their load began.
type origin struct {
	started time.Time
	loads   atomic.Int64
}

func (o *origin) load(string) []byte {
	o.loads.Add(1)
	began := time.Since(o.started)
	time.Sleep(herdLoad)
	return binary.LittleEndian.AppendUint64(nil, uint64(began))
}

// age returns how long ago the load of a value began.
func (o *origin) age(value []byte) time.Duration {
	return time.Since(o.started) - time.Duration(binary.LittleEndian.Uint64(value))
}

// herdFigures is what one measurement of a system finds, in microseconds and by metric.
type herdFigures map[string]float64

func runHerd(r *run) error {
	length := 3 * herdTTL
	if r.quick {
		length = herdTTL + herdTTL/2
	}
	cases := []struct {
		name    string
		measure func(system) (herdFigures, error)
		report  func(map[string][]float64)
	}{
		{fmt.Sprintf("cold/%d", herdCallers), coldKey, r.judgeCold},
		{fmt.Sprintf("expiry/%dqps", herdRate), func(s system) (herdFigures, error) { return hotKeyExpiry(s, length) }, r.judgeExpiry},
	}
	systems := r.chosen(func(s system) bool { return s.openLoading != nil })
	meter.steps(len(cases) * r.repeats * len(systems))
	for _, c := range cases {
		found := map[string]map[string][]float64{} // by system and metric
		for repeat := range r.repeats {
			for _, s := range systems {
				step("herd: %s, %s, repeat %d of %d", c.name, s.name, repeat+1, r.repeats)
				figures, err := c.measure(s)
				if err != nil {
					return fmt.Errorf("%s: %s: %w", c.name, s.name, err)
				}
				if found[s.name] == nil {
					found[s.name] = map[string][]float64{}
				}
				for metric, v := range figures {
					found[s.name][metric] = append(found[s.name][metric], v)
				}
			}
		}
		for _, m := range []struct{ name, unit string }{
			{"loads", "most"}, {"served_us", "us until the last was served"}, {"p50_us", "us"}, {"p99_us", "us"}, {"max_us", "us"}, {"oldest_ms", "ms since its load began"},
		} {
			for _, s := range systems {
				if vs := found[s.name][m.name]; len(vs) > 0 {
					of := median
					if m.name == "loads" || m.name == "oldest_ms" {
						of = slices.Max
					}
					r.addAll(c.name, s.name, m.name, vs, of, m.unit)
				}
			}
		}
		if covey := found["covey"]; covey != nil {
			c.report(covey)
		}
	}
	return runGroupHerd(r)
}

func (r *run) judgeCold(covey map[string][]float64) {
	loads, served := slices.Max(covey["loads"]), median(covey["served_us"])/1e3
	r.verdict(loads == 1, "cold key: %.0f load (1)", loads)
	r.verdict(served <= 120, "cold key: the last of %d was served after %.1f ms (at most 120)", herdCallers, served)
}

func (r *run) judgeExpiry(covey map[string][]float64) {
	p99, oldest := median(covey["p99_us"]), slices.Max(covey["oldest_ms"])
	r.verdict(p99 <= 1000, "expiry of a hot key: p99 of Get is %.0f us (at most 1000)", p99)
	// Covey counts a TTL from the end of the load; by default nothing stale is served. 10 ms are
	// for the load's own lateness.
	limit := float64((herdTTL + herdLoad + 10*time.Millisecond).Milliseconds())
	r.verdict(oldest <= limit, "expiry of a hot key: the oldest value was %.0f ms old (TTL and load: at most %.0f)", oldest, limit)
}

// coldKey lets all callers ask at once for a key that is not there.
func coldKey(s system) (herdFigures, error) {
	o := &origin{started: time.Now()}
	c := s.openLoading(time.Hour, o.load)
	defer c.close()
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	errs := make(chan error, herdCallers)
	ready.Add(herdCallers)
	for range herdCallers {
		done.Go(func() {
			ready.Done()
			<-begin
			if _, err := c.load(context.Background(), hotKey); err != nil {
				errs <- err
			}
		})
	}
	ready.Wait()
	start := time.Now()
	close(begin)
	done.Wait()
	took := time.Since(start)
	if len(errs) > 0 {
		return nil, fmt.Errorf("%d of %d callers failed, one with: %w", len(errs), herdCallers, <-errs)
	}
	return herdFigures{"loads": float64(o.loads.Load()), "served_us": float64(took.Microseconds())}, nil
}

// hotKeyExpiry gets a resident key at a fixed rate over several expiries. Each
// get has a goroutine of its own, as in a server: those who wait for a load
// hold nobody up, and all of them count.
func hotKeyExpiry(s system, length time.Duration) (herdFigures, error) {
	ctx := context.Background()
	o := &origin{started: time.Now()}
	c := s.openLoading(herdTTL, o.load)
	defer c.close()
	if _, err := c.load(ctx, hotKey); err != nil {
		return nil, err
	}
	total := int(length.Seconds() * herdRate)
	took, ages := make([]time.Duration, total), make([]time.Duration, total)
	errs := make(chan error, total)
	var done sync.WaitGroup
	start := time.Now()
	get := func(i int) {
		begin := time.Now()
		value, err := c.load(ctx, hotKey)
		took[i] = time.Since(begin)
		if err != nil {
			errs <- err
			return
		}
		ages[i] = o.age(value)
	}
	for sent := 0; sent < total; time.Sleep(time.Millisecond) {
		due := min(int(time.Since(start).Seconds()*herdRate)+1, total)
		for i := sent; i < due; i++ {
			done.Go(func() { get(i) })
		}
		sent = due
	}
	done.Wait()
	if len(errs) > 0 {
		return nil, fmt.Errorf("%d of %d gets failed, one with: %w", len(errs), total, <-errs)
	}
	slices.Sort(took)
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	return herdFigures{
		"loads":  float64(o.loads.Load()),
		"p50_us": us(took[total/2]), "p99_us": us(took[total*99/100]), "max_us": us(took[total-1]),
		"oldest_ms": us(slices.Max(ages)) / 1e3,
	}, nil
}
