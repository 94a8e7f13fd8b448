package covey

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coveycache/covey/internal/wire"
)

// What is loaded and not stored is counted by what had come in between, once.
func TestDiscardedByReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{})
		ctx := t.Context()
		load := func(_ context.Context, _ string) (int, error) {
			time.Sleep(time.Second)
			return 1, nil
		}
		during := func(key string, load Loader[int], f func()) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = c.Get(ctx, key, load)
			}()
			time.Sleep(time.Millisecond)
			f()
			<-done
		}
		during("a", load, func() { require.NoError(t, c.Put(ctx, "a", 2)) })
		during("b", load, func() { require.NoError(t, c.Delete(ctx, "b")) })
		during("c", load, func() { require.NoError(t, c.Clear(ctx)) })
		require.NoError(t, c.Put(ctx, "d", 2, WithVersion(2)))
		require.NoError(t, c.Expire(ctx, "d"))
		during("d", func(ctx context.Context, _ string) (int, error) {
			LoadInfo(ctx).SetVersion(1)
			return 1, nil
		}, func() {})
		require.ErrorIs(t, c.Put(ctx, "d", 1, WithVersion(1)), ErrOutdated)
		own, cancel := context.WithCancel(ctx)
		go func() { _, _ = c.Get(own, "e", load) }()
		time.Sleep(time.Millisecond)
		cancel() // nobody waits any more: the load fails, and brings nothing that could be discarded
		time.Sleep(time.Minute)
		s := c.Stats()
		require.EqualValues(t, []int64{2, 1, 1, 0}, []int64{s.DiscardedWrite, s.DiscardedView, s.DiscardedVersion, s.DiscardedAway})
		require.Equal(t, s.Discarded, s.DiscardedWrite+s.DiscardedView+s.DiscardedVersion+s.DiscardedLate+s.DiscardedAway)
		require.EqualValues(t, 1, s.Outdated)
	})
}

// What this process may not store is counted, too.
func TestDiscardedAway(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		w.net.Partition("a", "b")
		time.Sleep(time.Minute)
		for _, p := range []*proc{a, b} {
			_, err := p.cache.Get(t.Context(), k, constant("v"))
			require.NoError(t, err)
		}
		require.EqualValues(t, 1, a.cache.Stats().DiscardedAway+b.cache.Stats().DiscardedAway, "the side without a quorum stores nothing")
		w.net.Heal("a", "b")
		time.Sleep(time.Minute)
	})
}

// Of fresh hits one in 256 is looked at, and of stale ones each.
func TestAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{TTL: time.Hour, TTLJitter: -1, EarlyRefresh: -1, StaleIfError: time.Hour})
		ctx := t.Context()
		require.NoError(t, c.Put(ctx, "k", 1))
		time.Sleep(10 * time.Minute)
		for range 64 * clockHits {
			_, err := c.Get(ctx, "k", nil)
			require.NoError(t, err)
		}
		s := c.Stats()
		require.InDelta(t, 64, s.Ages.Count(), 1)
		require.InDelta(t, 10*time.Minute, s.Ages.Quantile(0.5), float64(2*time.Minute))
		require.InDelta(t, 10*time.Minute, s.Ages.Sum()/time.Duration(s.Ages.Count()), float64(time.Second))
		require.Zero(t, s.StaleFor.Count())
		time.Sleep(time.Hour) // its TTL is over for 10 minutes
		for range 3 {
			_, err := c.Get(ctx, "k", func(context.Context, string) (int, error) { return 0, context.DeadlineExceeded })
			require.NoError(t, err)
		}
		s = c.Stats()
		require.EqualValues(t, 3, s.StaleFor.Count())
		require.EqualValues(t, s.StaleHits, s.StaleFor.Count())
		require.Equal(t, 30*time.Minute, s.StaleFor.Sum())
		require.InDelta(t, 64, s.Ages.Count(), 1)
	})
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) { // and of copies
		a, b := w.procs[0], w.procs[1]
		k := b.key()
		require.NoError(t, b.cache.Put(t.Context(), k, "v"))
		borrowAt(t, a, k)
		for range 4 * clockHits {
			_, err := a.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
		}
		s := a.cache.Stats()
		require.InDelta(t, 4, s.Ages.Count(), 1)
	})
}

// The lag of a write is how long it took until nobody else held the key, and is counted only where
// somebody did, at the owner.
func TestInvalidationTimes(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := b.key()
		lag := func(p *proc) Histogram { return p.cache.Stats().InvalidationTimes }
		require.NoError(t, b.cache.Put(t.Context(), k, "v"))
		require.NoError(t, b.cache.Delete(t.Context(), k))
		require.NoError(t, b.cache.Put(t.Context(), k, "v"))
		b.cache.peering.noteInvalidation(&change[string]{key: k, kind: wire.Delete}, false, time.Second) // it waited for the view
		require.Equal(t, Histogram{}, lag(b), "nobody held it")
		borrowAt(t, a, k)
		w.net.SetDelay(10 * time.Millisecond)
		require.NoError(t, b.cache.Put(t.Context(), k, "w"))
		h := lag(b)
		require.EqualValues(t, 1, h.Count())
		require.InDelta(t, 20*time.Millisecond, h.Sum(), float64(5*time.Millisecond))
		require.Equal(t, Histogram{}, lag(a))
		e := with(EventInvalidated, b.cache.Recent())
		require.Equal(t, h.Sum(), e[len(e)-1].Took)
		require.Equal(t, k, e[len(e)-1].Key)
		require.Len(t, with(EventRecalled, a.cache.Recent()), 1)
		require.Equal(t, b.url, with(EventRecalled, a.cache.Recent())[0].Peer)
		require.NoError(t, a.cache.Clear(t.Context()))
		h = lag(a)
		require.EqualValues(t, 1, h.Count())
	})
	inWorld(t, 2, Options[string]{Replicas: 2}, func(t *testing.T, w *world) {
		b := w.procs[1]
		w.net.SetDelay(10 * time.Millisecond)
		require.NoError(t, b.cache.Put(t.Context(), b.key(), "v"))
		h := b.cache.Stats().InvalidationTimes
		require.EqualValues(t, 1, h.Count(), "a custodian may hold it")
		require.InDelta(t, 20*time.Millisecond, h.Sum(), float64(5*time.Millisecond))
	})
}

// Histograms go through JSON, and what has come since an earlier one can be told.
func TestHistogramJSON(t *testing.T) {
	var one timer
	one.add(time.Millisecond)
	early := one.snapshot()
	one.add(time.Hour)
	h := one.snapshot()
	b, err := h.MarshalJSON()
	require.NoError(t, err)
	var back Histogram
	require.NoError(t, back.UnmarshalJSON(b))
	require.Equal(t, h, back)
	for _, bad := range []string{`[]`, `{"Buckets":[[5,-1]]}`, `{"Buckets":[[5,1]]}`, `{"Buckets":[[-9223372036854775808,1]]}`} {
		require.Error(t, back.UnmarshalJSON([]byte(bad)), bad)
	}
	h.Sub(early)
	require.EqualValues(t, 1, h.Count())
	require.Equal(t, time.Hour, h.Sum())
	require.InDelta(t, time.Hour, h.Quantile(0), float64(time.Hour/8))
}
