package lincheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey"
	"github.com/stretchr/testify/require"
)

// blinks pauses a process for less time than it takes to be left out.
func blinks(r *rand.Rand, w *world) {
	a, _ := w.two(r)
	w.net.Pause(a.host)
	time.Sleep(upTo(r, 800*time.Millisecond))
	w.net.Resume(a.host)
}

// views returns how many views all processes have gone by.
func (w *world) views() (n int64) {
	for _, p := range w.procs {
		n += p.life.Load().group.Stats().Views
	}
	return n
}

// TestCounters adds to numbers while there is trouble that costs no values. What is confirmed has been
// added once, and what is not once at most.
func TestCounters(t *testing.T) {
	for name, k := range map[string]kind{
		"none":                  {},
		"resets":                {faults: []fault{resets}},
		"resets, without links": {faults: []fault{resets}, linkless: true},
		"cuts":                  {faults: []fault{cuts}},
		"pauses":                {faults: []fault{blinks}},
		"pauses, without links": {faults: []fault{blinks}, linkless: true},
		"replicas, resets":      {faults: []fault{resets}, replicas: []int{2}},
		"replicas, pauses":      {faults: []fault{blinks}, replicas: []int{2}},
		"resets, pauses":        {faults: []fault{resets, blinks}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			unsure := 0
			for seed := *first; seed < *first+*seeds; seed++ {
				synctest.Test(t, func(t *testing.T) { unsure += count(t, rand.New(rand.NewPCG(seed, 3)), k) })
			}
			t.Logf("%d were not confirmed", unsure)
		})
	}
}

func count(t *testing.T, r *rand.Rand, k kind) (unconfirmed int) {
	w := newWorld(t, r, k, covey.Options[string]{})
	defer w.close()
	var caches []*covey.Cache[int64]
	for _, p := range w.procs {
		o := covey.Options[int64]{Group: p.life.Load().group, Logger: slog.New(slog.DiscardHandler)}
		if len(k.replicas) > 0 {
			o.Replicas = k.replicas[0]
		}
		c, err := covey.New("numbers", o)
		require.NoError(t, err)
		caches = append(caches, c)
	}
	time.Sleep(time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	views := w.views()
	w.begin()
	trouble := w.trouble(ctx, r)
	var mu sync.Mutex
	sums, sure, unsure := make([][]int64, keys), make([]int64, keys), make([]int64, keys)
	var wg sync.WaitGroup
	for id := range clients {
		own := rand.New(rand.NewPCG(r.Uint64(), uint64(id)))
		wg.Go(func() {
			for range ops / clients {
				time.Sleep(upTo(own, 10*time.Millisecond))
				key := own.IntN(keys)
				n, err := covey.Incr(ctx, caches[own.IntN(len(caches))], fmt.Sprint("key", key), 1)
				mu.Lock()
				switch {
				case err == nil:
					sure[key]++
					sums[key] = append(sums[key], n)
				case errors.Is(err, covey.ErrUnconfirmed):
					unsure[key]++
				default:
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	cancel()
	trouble.Wait()
	time.Sleep(15 * time.Second)
	for key := range keys {
		n, err := covey.Incr(t.Context(), caches[0], fmt.Sprint("key", key), 0)
		require.NoError(t, err)
		if n < sure[key] { // what an owner had that was left out
			require.NotEqual(t, views, w.views(), "the sum is %d, %d are confirmed", n, sure[key])
			continue
		}
		require.LessOrEqual(t, n, sure[key]+unsure[key])
		slices.Sort(sums[key])
		require.Len(t, slices.Compact(slices.Clone(sums[key])), len(sums[key]), "two Incrs had the same sum: %v", sums[key])
		unconfirmed += int(unsure[key])
	}
	return unconfirmed
}
