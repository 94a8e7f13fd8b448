package covey

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFIFOAgainstModel(t *testing.T) {
	r := newRand(t)
	for range 20 {
		s := newTestSlots()
		p := newFIFO(s)
		m := &policyTest{T: t, r: r, slots: s, policy: p}
		m.check = func() { t.Helper(); checkList(t, s, &p.queue, m.model.order) }
		bound := 1 + r.IntN(50)
		for range 1000 {
			m.step(bound)
			m.check()
		}
		m.drain()
	}
}

// checkList compares a list with what it should hold, oldest first.
func checkList(t *testing.T, s *slots, l *list, want []uint32) {
	t.Helper()
	var newer uint32
	var bytes int64
	id := l.head
	for i := len(want) - 1; i >= 0; i-- {
		if id != want[i] || s.queue(id).prev != newer {
			require.FailNow(t, "wrong link", "slot %d, want %d; prev %d, want %d", id, want[i], s.queue(id).prev, newer)
		}
		bytes += int64(s.node(id).size)
		newer, id = id, s.queue(id).next
	}
	require.Zero(t, id)
	require.Equal(t, newer, l.tail)
	require.Equal(t, len(want), l.len)
	require.Equal(t, bytes, l.bytes)
}
