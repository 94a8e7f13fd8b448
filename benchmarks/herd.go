package main

// herd.go measures what happens when everybody wants the same key at once.

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey"
	"github.com/maypok86/otter/v2"
)

const (
	herdLoad = 100 * time.Millisecond
	herdTTL  = 2 * time.Second
)

// stamped is a value that knows when it was loaded.
type stamped struct{ at time.Time }

func runHerd(r *run) error {
	callers := 10_000
	var cold, coldLoads, p99, oldest []float64
	for i := range r.repeats {
		progress("herd: repeat %d of %d", i+1, r.repeats)
		took, loads, err := coldKey(callers)
		if err != nil {
			return err
		}
		cold, coldLoads = append(cold, float64(took.Microseconds())), append(coldLoads, float64(loads))
		q, age, err := hotExpiry(r.quick)
		if err != nil {
			return err
		}
		p99, oldest = append(p99, float64(q.Microseconds())), append(oldest, float64(age.Microseconds()))
	}
	c := fmt.Sprintf("cold/%d", callers)
	r.add(c, "covey", "loads", slices.Max(coldLoads), "")
	r.add(c, "covey", "all_served_us", median(cold), "us")
	r.verdict(slices.Max(coldLoads) == 1, "cold key: %.0f load (1)", slices.Max(coldLoads))
	r.verdict(median(cold) <= 120_000, "cold key: all served within %.1f ms (120)", median(cold)/1000)
	r.add("expiry/10000qps", "covey", "p99_us", median(p99), "us")
	r.add("expiry/10000qps", "covey", "oldest_us", slices.Max(oldest), "us")
	r.verdict(median(p99) <= 1000, "expiry of a hot key: p99 %.0f us (1000)", median(p99))
	limit := float64((herdTTL + herdLoad + 10*time.Millisecond).Microseconds())
	r.verdict(slices.Max(oldest) <= limit, "expiry of a hot key: oldest value %.0f ms after its load began (TTL and the load itself: %.0f)", slices.Max(oldest)/1000, limit/1000)
	if r.wants("otter") {
		took, loads := coldOtter(callers)
		r.add(c, "otter", "loads", float64(loads), "")
		r.add(c, "otter", "all_served_us", float64(took.Microseconds()), "us")
	}
	return nil
}

// herd runs get in so many goroutines at once and returns when the last was served.
func herd(callers int, get func() error) (time.Duration, error) {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	var failed atomic.Pointer[error]
	ready.Add(callers)
	for range callers {
		done.Go(func() {
			ready.Done()
			<-begin
			if err := get(); err != nil {
				failed.Store(&err)
			}
		})
	}
	ready.Wait()
	start := time.Now()
	close(begin)
	done.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return time.Since(start), nil
}

func coldKey(callers int) (time.Duration, int64, error) {
	var loads atomic.Int64
	c, err := covey.New("herd", covey.Options[stamped]{Loader: func(context.Context, string) (stamped, error) {
		loads.Add(1)
		time.Sleep(herdLoad)
		return stamped{}, nil
	}})
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	took, err := herd(callers, func() error {
		_, err := c.Get(context.Background(), "k", nil)
		return err
	})
	return took, loads.Load(), err
}

func coldOtter(callers int) (time.Duration, int64) {
	var loads atomic.Int64
	c := otter.Must(&otter.Options[string, stamped]{MaximumSize: 1000})
	load := otter.LoaderFunc[string, stamped](func(context.Context, string) (stamped, error) {
		loads.Add(1)
		time.Sleep(herdLoad)
		return stamped{}, nil
	})
	took, _ := herd(callers, func() error {
		_, err := c.Get(context.Background(), "k", load)
		return err
	})
	return took, loads.Load()
}

// hotExpiry gets one key 10,000 times a second over several expiries and
// returns the 99th percentile of a Get and the age of the oldest value served.
func hotExpiry(quick bool) (p99, oldest time.Duration, err error) {
	c, err := covey.New("hot", covey.Options[stamped]{TTL: herdTTL, Loader: func(context.Context, string) (stamped, error) {
		v := stamped{time.Now()}
		time.Sleep(herdLoad)
		return v, nil
	}})
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	ctx := context.Background()
	if _, err := c.Get(ctx, "k", nil); err != nil {
		return 0, 0, err
	}
	length := 3 * herdTTL
	if quick {
		length = herdTTL + herdTTL/2
	}
	const workers, rate = 10, 10_000
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	end := time.Now().Add(length)
	for range workers {
		wg.Go(func() {
			var mine []time.Duration
			var age time.Duration
			tick := time.NewTicker(time.Millisecond) // and ten gets at each, as no ticker is finer
			defer tick.Stop()
			for time.Now().Before(end) {
				<-tick.C
				for range rate / workers / 1000 {
					start := time.Now()
					v, e := c.Get(ctx, "k", nil)
					if e != nil {
						mu.Lock()
						err = e
						mu.Unlock()
						return
					}
					now := time.Now()
					mine = append(mine, now.Sub(start))
					age = max(age, now.Sub(v.at))
				}
			}
			mu.Lock()
			took = append(took, mine...)
			oldest = max(oldest, age)
			mu.Unlock()
		})
	}
	wg.Wait()
	if err != nil {
		return 0, 0, err
	}
	slices.Sort(took)
	return took[len(took)*99/100], oldest, nil
}
