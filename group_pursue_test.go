package covey

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What could not be written at a process that has just been started again is not forgotten with
// what the process before it had to drop.
func TestPursuedAfterRestart(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := b.key()
		w.net.Partition("a", "b")
		a.group.pursuits.add(b.url, "test", "of the process before")
		time.Sleep(10 * time.Second)
		b.stop()
		b.run()
		time.Sleep(10 * time.Second)
		require.NoError(t, b.cache.Put(t.Context(), k, "old"))
		require.Error(t, a.cache.Delete(t.Context(), k))
		w.net.Heal("a", "b")
		time.Sleep(20 * time.Second)
		_, ok, err := b.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.False(t, ok)
	})
}

// What has to be dropped once more while the word is on its way that it has been, is.
func TestPursuedAgain(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		p := &a.group.pursuits
		w.net.SetDelay(10 * time.Millisecond)
		p.add(b.url, "test", "key")
		time.Sleep(15 * time.Millisecond)
		p.add(b.url, "test", "key")
		time.Sleep(10 * time.Millisecond)
		require.Equal(t, 1, p.len(), "the second has not been answered")
		time.Sleep(20 * time.Millisecond)
		require.Zero(t, p.len())
	})
}
