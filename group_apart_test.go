package covey

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A process that is cut off from all others serves nothing from before for long, keeps what it
// loads for a short while only, and begins anew when it hears somebody.
func TestAlone(t *testing.T) {
	o := Options[string]{TTL: time.Hour, TTLJitter: -1, EarlyRefresh: -1, Loader: func(context.Context, string) (string, error) { return "loaded", nil }}
	inWorld(t, 3, o, func(t *testing.T, w *world) {
		c := w.procs[2]
		k := c.key()
		require.NoError(t, c.cache.Put(t.Context(), k, "put"))
		w.net.Partition("a", "c")
		time.Sleep(time.Minute)
		v, err := c.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "put", v, "it hears b")
		w.net.Partition("b", "c")
		time.Sleep(time.Second)
		v, err = c.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "put", v, "a lease lasts")
		time.Sleep(4 * time.Second)
		v, err = c.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "loaded", v)
		e, ok, err := c.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.True(t, ok)
		require.LessOrEqual(t, e.TTL, 10*time.Second)
		require.Greater(t, e.TTL, 9*time.Second)

		w.net.Heal("b", "c")
		for w.procs[2].group.Stats().Links == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		_, ok, err = c.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.False(t, ok, "what was loaded alone is gone")
		_, _ = c.cache.Get(t.Context(), k, nil)
		e, _, _ = c.cache.Lookup(t.Context(), k)
		require.Greater(t, e.TTL, 59*time.Minute)
		w.net.Heal("a", "c")
		time.Sleep(time.Minute)
	})
}

// The discovery drops a member that runs on, and of which it cannot be told. Writes are
// acknowledged without it. When it is listed again it has to drop what it has before it takes part.
func TestDroppedMemberReturns(t *testing.T) {
	inRosters(t, 3, "abc", Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		keys := c.keys(20)
		for _, k := range keys {
			require.NoError(t, c.cache.Put(t.Context(), k, "old"))
		}
		w.net.Partition("a", "c") // b and c hear each other
		time.Sleep(time.Second)
		a.list("ab")
		b.list("ab")
		time.Sleep(10 * time.Second)
		k := "" // which a owns now
		for _, k = range keys {
			if a.group.Owner(k) == a.url {
				break
			}
		}
		require.NoError(t, a.cache.Put(t.Context(), k, "new"))
		w.net.Heal("a", "c")
		a.list("abc")
		b.list("abc")
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			for _, p := range w.procs[:2] {
				e, ok, err := p.cache.Lookup(t.Context(), k)
				require.NoError(t, err)
				require.False(t, ok && e.Value == "old", "a deleted value is back")
			}
		}
		require.Len(t, a.group.view.Load().ring.members, 3)
		require.Len(t, b.group.view.Load().ring.members, 3)
		_, ok, err := c.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.False(t, ok)
	})
}
