package covey

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A crash of the owner fails no Lookup that is on its way: the next owner answers.
func TestLookupsAtACrash(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a := w.procs[0]
		keys := a.keys(50)
		for _, k := range keys {
			require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		}
		for _, p := range w.procs[1:] {
			_, ok, err := p.cache.Lookup(t.Context(), keys[0])
			require.NoError(t, err)
			require.True(t, ok)
		}
		w.net.SetDelay(10 * time.Millisecond)
		var wg sync.WaitGroup
		for _, p := range w.procs[1:] {
			for _, k := range keys {
				wg.Go(func() {
					_, ok, err := p.cache.Lookup(t.Context(), k)
					require.NoError(t, err)
					require.False(t, ok, "it was lost with its owner")
				})
			}
		}
		time.Sleep(5 * time.Millisecond)
		a.crash()
		wg.Wait()
	})
}

// A crash of the owner fails no GetMany that waits for it, and what is loaded then has its next
// owner and is kept.
func TestGetManyAtACrash(t *testing.T) {
	for _, bulk := range []bool{false, true} {
		o := Options[string]{}
		var w *world
		load := func(ctx context.Context, key string) (string, error) { return w.slow(time.Second)(ctx, key) }
		if o.Loader = load; bulk {
			o.BulkLoader = func(ctx context.Context, keys []string) (map[string]string, error) {
				w.loads.Add(int64(len(keys)))
				time.Sleep(time.Second)
				found := make(map[string]string)
				for _, k := range keys {
					found[k] = "value of " + k
				}
				return found, ctx.Err()
			}
		}
		inWorld(t, 3, o, func(t *testing.T, the *world) {
			w = the
			a := w.procs[0]
			keys := a.keys(50)
			var wg sync.WaitGroup
			getAll := func(p *proc) {
				found, err := p.cache.GetMany(t.Context(), keys, nil)
				require.NoError(t, err)
				require.Len(t, found, len(keys))
			}
			for _, p := range w.procs[1:] {
				wg.Go(func() { getAll(p) })
			}
			time.Sleep(500 * time.Millisecond)
			require.EqualValues(t, len(keys), w.loads.Swap(0), "the owner loads")
			a.crash()
			wg.Wait()
			for _, p := range w.procs[1:] {
				getAll(p)
			}
			require.EqualValues(t, len(keys), w.loads.Load(), "each key once")
		})
	}
}
