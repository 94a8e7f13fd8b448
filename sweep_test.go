package covey

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Nothing waits for the sweep after a change of the ring: neither readiness nor whoever meets what
// has got another owner meanwhile. Here it lasts as long as the test.
func TestNothingWaitsForTheSweep(t *testing.T) {
	hang := make(chan struct{})
	var hangs atomic.Bool
	o := Options[string]{TTL: time.Hour, Events: Events[string]{Removed: func(Removal[string]) {
		if !hangs.Swap(true) {
			<-hang
		}
	}}}
	inWorld(t, 1, o, func(t *testing.T, w *world) {
		hang = make(chan struct{}) // of the bubble
		defer close(hang)
		a := w.procs[0]
		var keys, moved []string
		for i := range 200 {
			keys = append(keys, fmt.Sprint("key", i))
			require.NoError(t, a.cache.Put(t.Context(), keys[i], "old"))
		}
		get := func(p *proc, key, loads string) string {
			v, err := p.cache.Get(t.Context(), key, constant(loads))
			require.NoError(t, err)
			return v
		}
		a.group.keeps.Store(true) // b gets nothing but what it asks for
		b := w.start("b", StaticPeers("http://a", "http://b"))
		w.ready()
		require.True(t, a.cache.peering.tenures.sweeping)
		begin := time.Now()
		for i, k := range keys {
			switch {
			case a.group.Owner(k) == a.url:
				require.Equal(t, "old", get(a, k, "loaded"), "the owner has stayed")
				continue
			case i%2 == 0:
				require.Equal(t, "loaded", get(a, k, "loaded"))
			default:
				require.NoError(t, b.cache.Put(t.Context(), k, "new"))
				require.Equal(t, "new", get(a, k, "loaded"))
			}
			moved = append(moved, k)
		}
		require.Zero(t, time.Since(begin))
		require.Greater(t, a.cache.store.entries.Load(), int64(len(keys)-len(moved)), "the test needs it")
		b.crash()
		time.Sleep(5 * time.Second)
		require.True(t, a.cache.peering.tenures.sweeping)
		for _, k := range moved {
			require.Equal(t, "again", get(a, k, "again"), "b may have written it")
		}
	})
}
