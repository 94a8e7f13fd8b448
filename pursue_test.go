package covey

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A Delete or Clear that could not be confirmed goes on, and undoes nothing that was written later.
func TestPursuitUndoesNothing(t *testing.T) {
	for _, all := range []bool{false, true} {
		for _, writer := range []int{0, 1, 2} {
			inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
				a, b := w.procs[0], w.procs[1]
				keys := b.keys(60)
				for _, k := range keys {
					require.NoError(t, a.cache.Put(t.Context(), k, "old"))
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				w.net.Partition("a", "b")
				w.net.Reset("a", "b") // nothing of a's is on its way
				synctest.Wait()
				if all {
					require.ErrorIs(t, a.cache.Clear(ctx), ErrUnconfirmed)
				} else {
					require.ErrorIs(t, a.cache.DeleteMany(ctx, keys), ErrUnconfirmed)
					require.Equal(t, len(keys), a.group.Stats().Pursued)
				}
				time.Sleep(10 * time.Millisecond)
				half := keys[:len(keys)/2]
				if writer == 0 {
					w.net.Heal("a", "b")
				}
				for _, k := range half {
					require.NoError(t, w.procs[writer].cache.Put(t.Context(), k, "new"))
				}
				w.net.Heal("a", "b")
				time.Sleep(10 * time.Second)
				for _, k := range half {
					for _, p := range w.procs {
						v, err := p.cache.Get(t.Context(), k, nil)
						require.NoError(t, err, "all=%v writer=%d", all, writer)
						require.Equal(t, "new", v)
					}
				}
				require.Zero(t, a.group.Stats().Pursued)
				for _, k := range keys[len(keys)/2:] {
					_, ok, err := w.procs[2].cache.Lookup(t.Context(), k)
					require.NoError(t, err)
					require.False(t, ok)
				}
			})
		}
	}
}

// Pursuits end with the cache.
func TestPursuitsEndAtClose(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := b.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		w.net.Partition("a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, a.cache.Delete(ctx, k), ErrUnconfirmed)
		require.EqualValues(t, 1, a.group.Stats().Pursued)
		start := time.Now()
		require.NoError(t, a.cache.Close())
		require.Less(t, time.Since(start), 10*time.Millisecond)
		w.net.Heal("a", "b")
		time.Sleep(5 * time.Second)
		require.Zero(t, a.group.Stats().Pursued)
		a.open(t)
		require.NoError(t, a.group.Ready(t.Context()))
	})
}

// A Put of which the answer is lost is not repeated: somebody else may have written since.
func TestPutIsNotRepeated(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := b.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		require.NoError(t, c.cache.Put(t.Context(), k, "older"))
		w.net.SetDelay(10 * time.Millisecond)
		ended := make(chan error, 1)
		go func() { ended <- a.cache.Put(t.Context(), k, "first") }()
		time.Sleep(15 * time.Millisecond)
		w.net.Reset("a", "b")
		w.net.SetDelay(0)
		require.NoError(t, c.cache.Put(t.Context(), k, "second"))
		require.ErrorIs(t, <-ended, ErrUnconfirmed)
		time.Sleep(5 * time.Second)
		for _, p := range w.procs {
			v, err := p.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
			require.Equal(t, "second", v)
		}
	})
}

// An Expire that is confirmed must not end the Delete that goes on in the background.
func TestExpireSettlesNoDelete(t *testing.T) {
	inWorld(t, 3, Options[string]{TTL: time.Hour, StaleWhileRevalidate: 10 * time.Hour}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := b.key()
		require.NoError(t, b.cache.Put(t.Context(), k, "old"))
		w.net.Partition("a", "b")
		time.Sleep(3 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, a.cache.Delete(ctx, k), ErrUnconfirmed)
		require.Equal(t, 1, a.group.Stats().Pursued)
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(10 * time.Millisecond)
			w.net.Heal("a", "b")
		})
		var err error
		for range 10 {
			if err = a.cache.Expire(t.Context(), k); err == nil {
				break
			}
		}
		require.NoError(t, err)
		wg.Wait()
		time.Sleep(time.Minute)
		require.Zero(t, a.group.Stats().Pursued)
		_, ok, err := b.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.False(t, ok)
	})
}

// A write returns within OpTimeout, says its documentation.
func TestWritesEndWithinOpTimeout(t *testing.T) {
	inWorld(t, 4, Options[string]{}, func(t *testing.T, w *world) {
		a, c, d := w.procs[0], w.procs[2], w.procs[3]
		k := c.key()
		w.net.Partition("a", "c") // b and d hear both
		time.Sleep(3 * time.Second)
		require.NoError(t, c.cache.Put(t.Context(), k, "v"))
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(4300 * time.Millisecond)
			borrowAt(t, d, k)
			time.Sleep(10 * time.Millisecond)
			w.net.Pause("d")
			w.net.Heal("a", "c")
			time.Sleep(10 * time.Second)
			w.net.Resume("d")
		})
		start := time.Now()
		_ = a.cache.Put(t.Context(), k, "new")
		require.LessOrEqual(t, time.Since(start), a.group.opt.OpTimeout+100*time.Millisecond)
		wg.Wait()
	})
}
