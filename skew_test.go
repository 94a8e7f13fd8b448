package covey

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// step sets the wall clock forward by d, as s sees it, or back.
func (s *skew) step(d time.Duration) {
	s.mu.Lock()
	s.seen -= int64(d)
	s.mu.Unlock()
}

// What is stored expires by the later clock: the machine was suspended for a minute.
func TestSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := plain(time.Hour)
		o.IdleTTL = 30 * time.Minute
		c := newCache(t, o)
		left := func(key string) time.Duration {
			time.Sleep(maxTick)
			e, ok, err := c.Lookup(t.Context(), key)
			require.NoError(t, err)
			if !ok {
				return 0
			}
			return e.TTL
		}
		ctx := t.Context()
		require.NoError(t, c.Put(ctx, "short", 1, WithTTL(time.Minute)))
		require.NoError(t, c.Put(ctx, "long", 1))
		c.store.clock.skew.step(time.Minute)
		time.Sleep(maxTick)
		_, err := c.Get(ctx, "short", nil)
		require.ErrorIs(t, err, ErrNoLoader)
		require.EqualValues(t, 1, c.Stats().Entries)
		require.InDelta(t, 59*time.Minute, left("long"), float64(2*time.Second))
		c.store.clock.skew.step(-20 * time.Minute) // the other clock is the later one
		require.InDelta(t, 59*time.Minute, left("long"), float64(2*time.Second))
		c.store.clock.skew.step(10 * time.Minute) // suspended again, whatever the wall clock says
		require.InDelta(t, 49*time.Minute, left("long"), float64(2*time.Second))
		for range 100 { // corrections of the wall clock
			c.store.clock.skew.step(time.Duration(leastJump) / 2)
			time.Sleep(maxTick)
		}
		require.InDelta(t, 48*time.Minute+30*time.Second, left("long"), float64(10*time.Second))
		c.store.clock.skew.step(29 * time.Minute)
		require.NotZero(t, left("long"))
		c.store.clock.skew.step(31 * time.Minute) // nobody has used it
		require.Zero(t, left("long"))

		c.store.clock.skew.step(56 * 365 * 24 * time.Hour) // the wall clock had never been set
		time.Sleep(maxTick)
		require.NoError(t, c.Put(ctx, "long", 2))
		c.store.clock.skew.step(56 * 365 * 24 * time.Hour)
		require.Zero(t, left("long"))
		for range 6 { // beyond what fits into 32 bits
			c.store.clock.skew.step(365 * 24 * time.Hour)
			require.Zero(t, left("long"))
			require.NoError(t, c.Put(ctx, "long", 3))
			time.Sleep(29 * time.Minute)
			require.NotZero(t, left("long"))
			time.Sleep(30*time.Minute + 50*time.Millisecond)
			require.Zero(t, left("long"))
			require.NoError(t, c.Put(ctx, "long", 3))
		}
	})
}

// The borrower's machine is suspended: its leases are over, and the owner may have written without
// it.
func TestSuspendedBorrower(t *testing.T) {
	inWorld(t, 2, Options[string]{TTL: time.Hour}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
		borrowAt(t, b, k)
		only := *b.group.view.Load() // by which b owns nothing, so that it has no promises that end as well
		only.self = -1
		b.cache.peering.adopt(&only, false)
		_, ok := b.cache.Peek(k)
		require.True(t, ok)
		b.group.skew.step(time.Minute)
		b.group.skew.follow()
		before := b.cache.n.localHits.sum()
		v, err := b.cache.Get(t.Context(), k, constant("v2"))
		require.NoError(t, err)
		require.Contains(t, []string{"v1", "v2"}, v)
		require.Equal(t, before, b.cache.n.localHits.sum(), "no copy outlives its lease")
		time.Sleep(5 * time.Second)
		borrowAt(t, b, k)
	})
}

// The owner's wall clock is set forward: neither its loans nor the leases that it gave are over for
// that.
func TestOwnersClockJumps(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context, p *proc, key string) error{
		"put":   func(ctx context.Context, p *proc, key string) error { return p.cache.Put(ctx, key, "v2") },
		"clear": func(ctx context.Context, p *proc, _ string) error { return p.cache.Clear(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2, Options[string]{TTL: time.Hour}, func(t *testing.T, w *world) {
				a, b := w.procs[0], w.procs[1]
				k := a.key()
				require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
				borrowAt(t, b, k)
				a.group.skew.step(2 * time.Hour)
				a.group.skew.follow()
				_ = write(t.Context(), a, k)
				v, err := b.cache.Get(t.Context(), k, constant("v2"))
				require.NoError(t, err)
				require.Equal(t, "v2", v)
			})
		})
	}
}
