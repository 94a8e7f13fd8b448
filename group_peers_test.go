package covey

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// peerOf returns how a process sees another one.
func (p *proc) peerOf(other *proc) *Peer {
	for _, one := range p.group.Peers() {
		if one.Name == other.url {
			return &one
		}
	}
	return nil
}

// The health of a peer: what became of requests to it, how long they took, and since when it can be
// asked or not.
func TestPeerHealth(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		started := time.Now().Add(-10 * time.Second)
		w.net.SetDelay(2 * time.Millisecond)
		before := a.peerOf(b)
		require.Equal(t, PeerIsUp, before.State)
		require.True(t, before.Up)
		require.WithinDuration(t, started, before.Since, 2*time.Second)
		require.Equal(t, buildVersion(), before.Version)
		require.Equal(t, 1, before.Protocol)
		require.Equal(t, PeerIsSelf, a.peerOf(a).State)
		k := b.key()
		stats := a.group.Stats()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		for range 5 {
			_, err := a.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
		}
		after := a.peerOf(b)
		require.Greater(t, after.Requests, before.Requests+1)
		require.Zero(t, after.Failures)
		now := a.group.Stats()
		reads, writes := now.ReadTimes, now.WriteTimes
		reads.Sub(stats.ReadTimes)
		writes.Sub(stats.WriteTimes)
		require.EqualValues(t, 1, writes.Count())
		require.Positive(t, reads.Count())
		require.InDelta(t, 4*time.Millisecond, writes.Quantile(0.5), float64(time.Millisecond))
		times := after.Times
		times.Sub(before.Times)
		require.EqualValues(t, after.Requests-before.Requests, times.Count())

		died := time.Now()
		c.crash()
		time.Sleep(time.Minute)
		gone := a.peerOf(c)
		require.Equal(t, PeerIsDown, gone.State)
		require.False(t, gone.Up)
		require.WithinDuration(t, died, gone.Since, time.Second)
		require.Error(t, gone.LastErr)
		require.WithinDuration(t, time.Now(), gone.LastErrAt, 10*time.Second, "it is still being dialled")
		require.Error(t, gone.Err)
		require.Nil(t, a.peerOf(b).Err)
	})
}

// A peer that says nothing any more is silent, before it is down; requests that get no answer are
// failures, and those that were held count without their time.
func TestPeerIsSilent(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := b.key()
		before := a.peerOf(b)
		_, err := a.cache.Get(t.Context(), k, w.slow(10*time.Second))
		require.NoError(t, err)
		go func() { _, _ = b.cache.Get(t.Context(), b.keys(2)[1], w.slow(10*time.Second)) }()
		time.Sleep(time.Second)
		_, err = a.cache.Get(t.Context(), b.keys(2)[1], w.slow(0))
		require.NoError(t, err)
		after := a.peerOf(b)
		times := after.Times
		times.Sub(before.Times)
		require.Less(t, times.Quantile(1), time.Second, "what was held is not counted with its time")
		require.Less(t, times.Count(), after.Requests-before.Requests)
		w.net.Pause("b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() { _, _, _ = a.cache.Lookup(ctx, k) }()
		time.Sleep(1500 * time.Millisecond)
		require.Equal(t, PeerIsSilent, a.peerOf(b).State)
		time.Sleep(10 * time.Second)
		require.Equal(t, PeerIsDown, a.peerOf(b).State)
		require.Positive(t, a.peerOf(b).Failures)
		require.Error(t, a.peerOf(b).LastErr)
		w.net.Resume("b")
		time.Sleep(20 * time.Second)
		require.Equal(t, PeerIsUp, a.peerOf(b).State)
	})
}

// What was counted of a peer that has gone stays in the group's counters, which only grow.
func TestTimesOutliveThePeer(t *testing.T) {
	inRosters(t, 2, "ab", Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := b.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		before := a.group.Stats().WriteTimes
		require.EqualValues(t, 1, before.Count())
		b.stop()
		a.list("a")
		time.Sleep(time.Minute)
		require.Nil(t, a.peerOf(b))
		after := a.group.Stats().WriteTimes
		require.EqualValues(t, 1, after.Count())
	})
}
