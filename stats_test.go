package covey

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStatsOfTheOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{
			MaxLoads: 1, LoadRate: 0.5, LoadBurst: 3, LoadTimeout: time.Second,
			Breaker: &Breaker{MinLoads: 2, FailureRatio: 1, Probes: 1},
		})
		ctx := t.Context()
		require.Equal(t, BreakerClosed, c.Stats().Breaker)
		take := func(d time.Duration, err error) Loader[int] {
			return func(context.Context, string) (int, error) { time.Sleep(d); return 1, err }
		}
		go func() { _, _ = c.Get(ctx, "slow", take(900*time.Millisecond, nil)) }()
		synctest.Wait()
		_, err := c.GetMany(ctx, []string{"a"}, func(ctx context.Context, keys []string) (map[string]int, error) { return nil, nil })
		require.NoError(t, err, "its turn comes in time")
		go func() { _, _ = c.Get(ctx, "slow2", take(2*time.Second, nil)) }()
		synctest.Wait()
		_, err = c.Get(ctx, "b", take(0, nil))
		require.ErrorIs(t, err, ErrOverloaded)
		s := c.Stats()
		require.EqualValues(t, []int64{1, 1, 0, 0}, []int64{s.Refused, s.RefusedSlots, s.RefusedRate, s.RefusedOpen})
		time.Sleep(time.Minute)
		for range 3 {
			_, _ = c.Get(ctx, "d", take(0, nil))
			require.NoError(t, c.Delete(ctx, "d"))
		}
		go func() { _, _ = c.Get(ctx, "e", take(0, nil)) }()
		time.Sleep(time.Minute)
		for i := range 5 { // faster than the rate
			go func() { _, _ = c.Get(ctx, string(rune('f'+i)), take(0, nil)) }()
		}
		time.Sleep(time.Minute)
		s = c.Stats()
		require.Positive(t, s.RefusedRate)
		require.EqualValues(t, s.Refused, s.RefusedSlots+s.RefusedRate+s.RefusedOpen)
		require.Equal(t, s.LoadTimes.Count(), s.Loads)
		require.Equal(t, s.LoadTimes.Sum(), s.LoadTime)
		require.InDelta(t, time.Second, s.LoadTimes.Quantile(1), float64(time.Second)/8)

		down := errors.New("down")
		for range 2 {
			_, err = c.Get(ctx, "x", take(0, down))
			require.ErrorIs(t, err, down)
		}
		require.Equal(t, BreakerOpen, c.Stats().Breaker)
		_, err = c.Get(ctx, "x", take(0, nil))
		require.ErrorIs(t, err, ErrOverloaded)
		require.EqualValues(t, 1, c.Stats().RefusedOpen)
		time.Sleep(5*time.Second + 1)
		require.Equal(t, BreakerHalfOpen, c.Stats().Breaker)
		_, err = c.Get(ctx, "x", take(0, nil))
		require.NoError(t, err)
		require.Equal(t, "closed", c.Stats().Breaker.String())
	})
	require.Equal(t, BreakerNone, newCache(t, Options[int]{}).Stats().Breaker)
}
