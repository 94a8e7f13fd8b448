package covey

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// The ring may change again while the cache is being swept after the change before.
func TestSweepsOverlap(t *testing.T) {
	inWorld(t, 1, Options[string]{}, func(t *testing.T, w *world) {
		c := w.procs[0].cache
		v := w.procs[0].group.view.Load()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 200 {
					c.peering.adopt(v, false)
					c.peering.sweep()
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		require.Len(t, *c.peering.tenures.list.Load(), 1)
	})
}
