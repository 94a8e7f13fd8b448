package lincheck

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey"
	"github.com/stretchr/testify/require"
)

// sourced are the kinds that are tried with loaders. What a load brings is not linearizable, as
// nobody knows of it who has a copy from before. What is promised is that nobody gets what was
// there before a write that was confirmed before he came.
var sourced = map[string]kind{
	"versions that differ":                {faults: []fault{retypes}},
	"versions that differ, without links": {faults: []fault{retypes}, linkless: true},
	"versions and resets":                 {faults: []fault{retypes, resets}},
	"versions and cuts":                   {faults: []fault{retypes, cuts}, long: true},
	"versions and pauses":                 {faults: []fault{retypes, pauses}, long: true},
	"versions and shutdowns":              {faults: []fault{retypes, shutdowns}, long: true},
	"versions and crashes":                {faults: []fault{retypes, crashes}, long: true},
	"versions and anything":               {faults: []fault{retypes, retypes, resets, cuts, pauses, shutdowns, crashes}, peers: 5, long: true},

	"replicas":                         {replicas: []int{2}, readFrom: covey.ReadFromAny, faults: []fault{reopens}},
	"replicas, crashes":                {replicas: []int{3}, readFrom: covey.ReadFromAny, faults: []fault{crashes}, peers: 4, long: true, warmUp: 2 * time.Second},
	"replicas, shutdowns":              {replicas: []int{1, 2}, readFrom: covey.ReadFromAny, faults: []fault{shutdowns}, peers: 4, long: true, warmUp: 10 * time.Second},
	"replicas, versions that differ":   {replicas: []int{2}, readFrom: covey.ReadFromAny, faults: []fault{retypes, shutdowns}, long: true},
	"replicas, anything":               {replicas: []int{2, 3, 1}, readFrom: covey.ReadFromAny, zones: true, faults: []fault{retypes, reopens, resets, cuts, pauses, shutdowns, crashes}, peers: 5, long: true, warmUp: 3 * time.Second},
	"replicas, anything without links": {replicas: []int{2}, readFrom: covey.ReadFromAny, faults: []fault{reopens, resets, cuts, pauses, shutdowns, crashes}, linkless: true, long: true},
}

// A source is what the caches are in front of.
type source struct {
	now   [keys]atomic.Int64 // what each key has
	acked [keys]atomic.Int64 // what the last confirmed write has made of it
}

// load returns what a key had when the load began.
func (s *source) load(r *rand.Rand) covey.Loader[string] {
	takes := upTo(r, 20*time.Millisecond)
	return func(ctx context.Context, key string) (string, error) {
		var k int
		_, _ = fmt.Sscanf(key, "key%d", &k)
		v := fmt.Sprint(s.now[k].Load())
		select {
		case <-time.After(takes):
			return v, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

func (s *source) loadMany(r *rand.Rand) covey.BulkLoader[string] {
	one := s.load(r)
	return func(ctx context.Context, all []string) (map[string]string, error) {
		values := make(map[string]string)
		for _, k := range all {
			v, err := one(ctx, k)
			if err != nil {
				return values, err
			}
			values[k] = v
		}
		return values, nil
	}
}

func TestNothingOld(t *testing.T) {
	for name, k := range sourced {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var total covey.Stats
			var reads, writes int64
			for seed := *first; seed < *first+*seeds; seed++ {
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						stats, r, w := runSourced(t, rand.New(rand.NewPCG(seed, 3)), k)
						total.Recalls += stats.Recalls
						total.L1Hits += stats.L1Hits
						total.Alone += stats.Alone
						total.Unconfirmed += stats.Unconfirmed
						reads += r
						writes += w
					})
				})
			}
			t.Logf("reads %d, confirmed writes %d, unconfirmed %d, recalls %d, hits on copies %d, answers without a value %d", reads, writes, total.Unconfirmed, total.Recalls, total.L1Hits, total.Alone)
			if k.replicas == nil {
				require.NotZero(t, total.Alone)
			}
			require.Equal(t, k.linkless, total.L1Hits == 0)
		})
	}
}

// runSourced has clients read and write, each key by one of them. Whoever writes changes the source
// first, and then tells the cache.
func runSourced(t *testing.T, r *rand.Rand, k kind) (stats covey.Stats, reads, writes int64) {
	w := newWorld(t, r, k, covey.Options[string]{})
	ctx, cancel := context.WithCancel(t.Context())
	w.begin()
	trouble := w.trouble(ctx, r)
	var s source
	var old []string
	var mu sync.Mutex
	var wg sync.WaitGroup
	for id := range clients {
		own := rand.New(rand.NewPCG(r.Uint64(), uint64(id)))
		wg.Go(func() {
			for range ops / clients {
				rest := 3 * time.Millisecond
				if k.long && own.IntN(10) == 0 {
					rest = 3 * time.Second
				}
				time.Sleep(upTo(own, rest))
				p := w.procs[own.IntN(len(w.procs))]
				l := p.life.Load()
				if l == nil {
					continue
				}
				c := l.cache.Load()
				if id < keys && own.IntN(8) == 0 {
					v := s.now[id].Add(1)
					err := s.tell(ctx, own, c, fmt.Sprint("key", id), fmt.Sprint(v))
					if err == nil && !l.crashed.Load() {
						s.acked[id].Store(v)
						mu.Lock()
						writes++
						mu.Unlock()
					}
					continue
				}
				began := time.Since(w.start)
				var floors [keys]int64
				for i := range floors {
					floors[i] = s.acked[i].Load()
				}
				found := s.read(ctx, own, c)
				if l.crashed.Load() {
					continue
				}
				mu.Lock()
				for key, v := range found {
					reads++
					if v < floors[key] {
						old = append(old, fmt.Sprintf("%v to %v: key %d at %s has %d, and %d was confirmed before", began, time.Since(w.start), key, p.host, v, floors[key]))
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	cancel()
	trouble.Wait()
	within := 15 * time.Second
	if k.linkless {
		within *= 2
	}
	w.whole(within)
	stats = w.close()
	if old != nil {
		t.Errorf("%s\n%s", strings.Join(old[:min(10, len(old))], "\n"), strings.Join(w.events, "\n"))
	}
	return stats, reads, writes
}

// tell tells the cache of a write.
func (s *source) tell(ctx context.Context, r *rand.Rand, c *covey.Cache[string], key, v string) error {
	switch r.IntN(8) {
	case 0, 1, 2:
		return c.Put(ctx, key, v)
	case 3:
		return clearAll(ctx, c, r.IntN(2))
	}
	return c.Delete(ctx, key)
}

// clearAll clears a cache, or deletes by the prefix that all keys have.
func clearAll(ctx context.Context, c *covey.Cache[string], how int) error {
	if how%2 == 0 {
		return c.Clear(ctx)
	}
	return c.DeletePrefix(ctx, "key")
}

// read reads one key, or all of them, and returns what it has found.
func (s *source) read(ctx context.Context, r *rand.Rand, c *covey.Cache[string]) map[int]int64 {
	found := make(map[int]int64)
	note := func(key int, v string) {
		var n int64
		_, _ = fmt.Sscan(v, &n)
		found[key] = n
	}
	key := r.IntN(keys)
	switch r.IntN(10) {
	case 0:
		var all []string
		for k := range keys {
			all = append(all, fmt.Sprint("key", k))
		}
		values, _ := c.GetMany(ctx, all, s.loadMany(r))
		for k := range keys {
			if v, ok := values[all[k]]; ok {
				note(k, v)
			}
		}
	case 1:
		if e, ok, _ := c.Lookup(ctx, fmt.Sprint("key", key)); ok {
			note(key, e.Value)
		}
	default:
		if v, err := c.Get(ctx, fmt.Sprint("key", key), s.load(r)); err == nil {
			note(key, v)
		}
	}
	return found
}
