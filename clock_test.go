package covey

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// No hit is late by more than a twentieth of its TTL or 50 ms, even if the janitor does not run at
// all for a second, or longer if the TTL is short: there is too much to do, or the process stands
// still.
func TestHitsAreNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ttl := range []time.Duration{
			time.Nanosecond, 10 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 2*time.Second + 1, 5 * time.Second, time.Minute, time.Hour,
		} {
			c := newCache(t, plain(ttl))
			c.janitor.Do(func() {}) // there is none
			require.NoError(t, c.Put(t.Context(), "k", 1))
			stored := c.store.clock.now()
			time.Sleep(ttl - 1)
			_, err := c.Get(t.Context(), "k", nil)
			require.NoError(t, err, ttl)
			time.Sleep(1 * time.Nanosecond)
			behind := ttl
			if ttl > 2*time.Second {
				behind = max(time.Second, min(ttl/4, 4*time.Second))
			}
			c.store.clock.coarse.Store(stored + int64(ttl-behind))
			_, err = c.Get(t.Context(), "k", nil)
			require.ErrorIs(t, err, ErrNoLoader, ttl)
		}
	})
}

// Whoever reads the exact time sets the coarse one, and hits do so now and then.
func TestHitsSetTheCoarseClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, plain(time.Minute))
		c.janitor.Do(func() {})
		require.NoError(t, c.Put(t.Context(), "k", 1))
		time.Sleep(2 * time.Minute)
		late := 0
		for range 100 * sampleHits {
			if _, err := c.Get(t.Context(), "k", nil); err != nil {
				break
			}
			late++
		}
		require.Less(t, late, 20*sampleHits)

		require.NoError(t, c.Put(t.Context(), "k", 1))
		time.Sleep(2 * time.Minute)
		_, _ = c.GetMany(t.Context(), []string{"k"}, nil)
		_, err := c.Get(t.Context(), "k", nil)
		require.ErrorIs(t, err, ErrNoLoader)
	})
}

// GetMany is not late by its own doing: it compares with a time from after the call.
func TestGetManyReadsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, plain(time.Minute))
		c.janitor.Do(func() {})
		require.NoError(t, c.Put(t.Context(), "k", 1))
		time.Sleep(time.Minute)
		got, err := c.GetMany(t.Context(), []string{"k"}, nil)
		require.ErrorIs(t, err, ErrNoLoader)
		require.Empty(t, got)
	})
}

// Events.Removed may hang: the coarse clock goes on.
func TestTheClockGoesOnWhenRemovedHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := plain(time.Minute)
		hang := make(chan struct{})
		o.Events.Removed = func(Removal[int]) { <-hang }
		c := newCache(t, o)
		require.NoError(t, c.Put(t.Context(), "short", 1, WithTTL(time.Second)))
		require.NoError(t, c.Put(t.Context(), "k", 1))
		time.Sleep(time.Minute)
		_, err := c.Get(t.Context(), "k", nil)
		require.ErrorIs(t, err, ErrNoLoader)
		require.EqualValues(t, 1, c.Stats().Entries)
		close(hang)
		time.Sleep(time.Second)
		require.Zero(t, c.Stats().Entries)
	})
}

// What is used more often than IdleTTL stays, and what is not used leaves soon after, however short
// IdleTTL is.
func TestShortIdleTTLs(t *testing.T) {
	for _, idle := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, time.Second, 2 * time.Second, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			o := plain(time.Hour)
			o.IdleTTL = idle
			c := newCache(t, o)
			require.NoError(t, c.Put(t.Context(), "k", 1))
			for range 1000 {
				time.Sleep(5 * time.Millisecond)
				_, err := c.Get(t.Context(), "k", nil)
				require.NoError(t, err, idle)
			}
			time.Sleep(idle - maxTick)
			if idle > maxTick {
				require.EqualValues(t, 1, c.Stats().Entries, idle)
			}
			time.Sleep(min(idle, maxTick) + max(idle/20, 50*time.Millisecond))
			_, err := c.Get(t.Context(), "k", nil)
			require.ErrorIs(t, err, ErrNoLoader, idle)
			time.Sleep(50 * time.Millisecond)
			require.Zero(t, c.Stats().Entries, idle)
		})
	}
}

// Ticks follow the shortest life that the options give, so that what has expired does not stay in
// memory.
func TestTicksFollowTheShortestLife(t *testing.T) {
	for _, set := range []func(o *Options[int]){
		func(o *Options[int]) { o.TTL = 100 * time.Millisecond },
		func(o *Options[int]) { o.IdleTTL = 100 * time.Millisecond },
		func(o *Options[int]) { o.NegativeTTL = 100 * time.Millisecond },
	} {
		synctest.Test(t, func(t *testing.T) {
			o := plain(time.Hour)
			set(&o)
			c := newCache(t, o)
			_, err := c.Get(t.Context(), "k", func(context.Context, string) (int, error) { return 0, ErrNotFound })
			require.ErrorIs(t, err, ErrNotFound)
			require.NoError(t, c.Put(t.Context(), "other", 1, WithTTL(100*time.Millisecond)))
			time.Sleep(190 * time.Millisecond)
			require.Zero(t, c.Stats().Entries)
		})
	}
	for _, o := range []Options[int]{{}, {NegativeTTL: -1}, {TTL: maxTTL}} {
		require.Equal(t, maxTick, o.tick())
	}
	require.Equal(t, minTick, (&Options[int]{TTL: 1}).tick())
}
