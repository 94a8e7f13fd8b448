package covey

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A Clear that has to leave what has come since goes through what is stored. While it does so there is
// something from before it still, which must not go to somebody who has carried it out; and some of
// it is gone already, and must not come back from somebody who has not.
func TestClearThatTakesItsTime(t *testing.T) {
	var mu sync.Mutex
	var labels []uint64 // while something is being removed
	var clearing *proc
	o := Options[string]{Replicas: 2, L1: -1}
	o.Events.Removed = func(Removal[string]) {
		mu.Lock()
		defer mu.Unlock()
		if clearing != nil {
			labels = append(labels, clearing.cache.peering.clears.label.Load())
		}
	}
	inWorld(t, 3, o, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		p := a.cache.peering
		set := func(of *proc) {
			mu.Lock()
			defer mu.Unlock()
			clearing, labels = of, labels[:0]
		}
		put := func() {
			for range 3 {
				require.NoError(t, a.cache.Put(t.Context(), replicatedTo(a, b), "old"))
			}
			time.Sleep(time.Second)
		}
		put()
		before := newClear()
		require.NoError(t, p.clearOwn(t.Context(), 0, "", before))
		require.Equal(t, before, p.clears.label.Load())
		put()

		set(a)
		number := newClear()
		require.NoError(t, p.clearOlder(t.Context(), a.cache.store.clock.steady(), "", number))
		require.NotEmpty(t, labels)
		for _, label := range labels {
			require.NotContains(t, []uint64{0, before, before + number}, label)
		}
		set(nil)
		require.Equal(t, before+number, p.clears.label.Load())
		require.NoError(t, p.clearOlder(t.Context(), a.cache.store.clock.steady(), "", number))
		require.Equal(t, before+number, p.clears.label.Load(), "the same Clear counts once")

		put()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, p.clearOlder(ctx, a.cache.store.clock.steady(), "", newClear()))
		require.Equal(t, before+number, p.clears.label.Load(), "that one has not been carried out")
	})
}

// A DeletePrefix always goes through what is stored.
func TestDeletePrefixTakesItsTime(t *testing.T) {
	var removing *clears
	var labels []uint64 // while something is being removed
	o := Options[string]{Events: Events[string]{Removed: func(Removal[string]) { labels = append(labels, removing.label.Load()) }}}
	inWorld(t, 1, o, func(t *testing.T, w *world) {
		p := w.procs[0].cache.peering
		removing = p.clears
		for i := range 3 {
			require.NoError(t, w.procs[0].cache.Put(t.Context(), fmt.Sprint("key", i), "old"))
		}
		number := newClear()
		require.NoError(t, p.clearOwn(t.Context(), 0, "key", number))
		require.Len(t, labels, 3)
		for _, label := range labels {
			require.NotContains(t, []uint64{0, number}, label)
		}
		require.Equal(t, number, p.clears.label.Load())
	})
}

// What is known of the Clears of a view is bounded, and the label goes on all the same.
func TestManyClears(t *testing.T) {
	var c clears
	sum := uint64(0)
	for range 3 * maxClears {
		number := newClear()
		sum += number
		c.add(number, 7)
		c.add(number, 7)
	}
	require.Equal(t, sum, c.label.Load())
	require.Len(t, c.done, maxClears)
	mask, number := c.hide(7), newClear()
	c.begin(8)
	c.reveal(mask, 7, number, true)
	require.Zero(t, c.label.Load(), "it was another view")
}
