package covey

import (
	"testing"

	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// A peer asks for more keys at once than it may: those that are too many cost nothing.
func TestTooManyKeysInARequest(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		for n, served := range map[int]int{wire.MaxItems: wire.MaxItems, wire.MaxItems + 1: wire.MaxItems} {
			var items []byte
			for i := range n {
				items = wire.Append(items, &wire.Frame{Type: wire.Get, Op: uint32(i), Key: k})
			}
			before := a.cache.Stats().Served
			answer, err := linkOf(b, a).Call(t.Context(), &wire.Frame{Type: wire.GetMany, Cache: b.cache.peering.id, Items: items})
			require.NoError(t, err)
			require.Equal(t, wire.Many, answer.Type)
			require.EqualValues(t, served, a.cache.Stats().Served-before)
		}
	})
}
