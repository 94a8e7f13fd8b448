package covey

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An owner that stands still is no reason to load anything, nor to wait for long: those who have
// replicas answer.
func TestReplicasOfASilentOwner(t *testing.T) {
	var w *world
	o := Options[string]{Replicas: 2, L1: -1, Loader: func(ctx context.Context, key string) (string, error) {
		w.loads.Add(1)
		return "loaded", nil
	}}
	inWorld(t, 4, o, func(t *testing.T, in *world) {
		w = in
		a, b := w.procs[0], w.procs[1]
		keys := b.keys(60)
		for _, key := range keys {
			require.NoError(t, a.cache.Put(t.Context(), key, "put"))
		}
		time.Sleep(time.Second)
		w.net.Pause("b")
		began := time.Now()
		for i := 0; time.Since(began) < 4*time.Second; i++ {
			key := keys[i%len(keys)]
			for _, p := range []*proc{a, w.procs[2], w.procs[3]} {
				before := time.Now()
				v, err := p.cache.Get(t.Context(), key, nil)
				require.NoError(t, err)
				require.Equal(t, "put", v)
				require.Less(t, time.Since(before), 310*time.Millisecond)
				before = time.Now()
				e, ok, err := p.cache.Lookup(t.Context(), key)
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, "put", e.Value)
				require.Less(t, time.Since(before), 310*time.Millisecond)
			}
			before := time.Now()
			got, err := a.cache.GetMany(t.Context(), keys, nil)
			require.NoError(t, err)
			require.Len(t, got, len(keys))
			require.Less(t, time.Since(before), 310*time.Millisecond)
			time.Sleep(20 * time.Millisecond)
		}
		require.Zero(t, w.loads.Load())
		require.Equal(t, 3, len(a.group.view.Load().ring.members))
		require.NoError(t, a.cache.Put(t.Context(), keys[0], "new"))
		w.net.Resume("b")
		time.Sleep(10 * time.Second)
		for _, p := range w.procs {
			v, err := p.cache.Get(t.Context(), keys[0], nil)
			require.NoError(t, err)
			require.Equal(t, "new", v, "at %s", p.name)
		}
	})
}

// Of requests that take long some are hedged, one of twenty in all, and the estimate follows.
func TestHedges(t *testing.T) {
	var h hedges
	h.init()
	slow := func(every int) (hedged int) {
		for i := range 100_000 {
			h.request()
			if i%every == 0 && h.slow() {
				hedged++
			}
		}
		return hedged
	}
	require.InDelta(t, 5000, slow(2), 100)
	require.Equal(t, hedgeLatest, h.after.Load())
	h.init()
	require.InDelta(t, 500, slow(200), 1)
	require.Equal(t, hedgeSoonest, h.after.Load(), "fewer than one of a hundred takes longer")
}

// Whoever reads from any custodian gets what the owner has, or asks it.
func TestReadFromAny(t *testing.T) {
	inWorld(t, 4, Options[string]{Replicas: 2, L1: -1, ReadFrom: ReadFromAny}, func(t *testing.T, w *world) {
		for round := range 3 {
			for i := range 60 {
				key, value := fmt.Sprint("key", i), fmt.Sprint("value ", round)
				require.NoError(t, w.procs[i%4].cache.Put(t.Context(), key, value))
				for _, p := range w.procs {
					v, err := p.cache.Get(t.Context(), key, constant("loaded"))
					require.NoError(t, err)
					require.Equal(t, value, v)
				}
			}
			time.Sleep(time.Second)
			for i := range 60 {
				for _, p := range w.procs {
					v, err := p.cache.Get(t.Context(), fmt.Sprint("key", i), nil)
					require.NoError(t, err)
					require.Equal(t, fmt.Sprint("value ", round), v)
				}
			}
		}
		reads, served := int64(0), int64(0)
		for _, p := range w.procs {
			s := p.cache.Stats()
			reads += s.ReplicaReads
			served += s.Served
		}
		require.Greater(t, reads, served/8)
	})
}
