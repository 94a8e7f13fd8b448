package covey

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A deaf loader does not notice that its context ends: it returns when hang is closed.
type deaf struct{ hang chan struct{} }

func newDeaf() deaf { return deaf{make(chan struct{})} }

func (d deaf) load(context.Context, string) (int, error) { <-d.hang; return 1, nil }

func (d deaf) loadMany(context.Context, []string) (map[string]int, error) { <-d.hang; return nil, nil }

// A diary keeps what Events.Loaded is told.
type diary struct {
	mu    sync.Mutex
	loads []LoadResult
}

func (j *diary) add(r LoadResult) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.loads = append(j.loads, r)
}

func (j *diary) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.loads)
}

// hung are the ways in which a load can run into LoadTimeout, 1 s; each returns after that.
var hung = map[string]func(t *testing.T, c *Cache[int], d deaf){
	"Get": func(t *testing.T, c *Cache[int], d deaf) {
		_, err := c.Get(t.Context(), "k", d.load)
		require.ErrorIs(t, err, ErrLoadTimeout)
	},
	"GetMany": func(t *testing.T, c *Cache[int], d deaf) {
		_, err := c.GetMany(t.Context(), []string{"k", "l"}, d.loadMany)
		require.ErrorIs(t, err, ErrLoadTimeout)
	},
	"refresh": func(t *testing.T, c *Cache[int], d deaf) {
		require.NoError(t, c.Put(t.Context(), "k", 1))
		require.NoError(t, c.Expire(t.Context(), "k"))
		_, err := c.Get(t.Context(), "k", d.load)
		require.NoError(t, err)
		time.Sleep(time.Second + time.Millisecond)
	},
	"FinishAbandoned": func(t *testing.T, c *Cache[int], d deaf) {
		ctx, leave := context.WithTimeout(t.Context(), time.Millisecond)
		defer leave()
		c.opt.FinishAbandoned = true
		_, err := c.Get(ctx, "k", d.load)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Second)
	},
}

func TestHungLoadsAreReportedAtTheTimeout(t *testing.T) {
	for name, get := range hung {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j diary
				o := plain(time.Hour)
				o.LoadTimeout, o.StaleWhileRevalidate = time.Second, time.Hour
				o.Breaker = &Breaker{MinLoads: 1, Cooldown: time.Minute, Probes: 1}
				o.Events.Loaded = j.add
				c := newCache(t, o)
				d := newDeaf()
				get(t, c, d)
				synctest.Wait()
				_, err := c.Get(t.Context(), "other", slow(2, 0))
				require.ErrorIs(t, err, ErrOverloaded, "the breaker is open")
				require.Equal(t, 1, j.len())
				require.ErrorIs(t, j.loads[0].Err, ErrLoadTimeout)
				require.Equal(t, time.Second, j.loads[0].Took)
				before := c.Stats()
				require.EqualValues(t, 1, before.Loads)
				require.EqualValues(t, 1, before.LoadErrors)
				require.EqualValues(t, 1, before.LoadTimeouts)

				time.Sleep(2 * time.Minute)
				_, err = c.Get(t.Context(), "probe", d.load)
				require.ErrorIs(t, err, ErrLoadTimeout)
				time.Sleep(2 * time.Minute)
				v, err := c.Get(t.Context(), "other", slow(2, 0))
				require.NoError(t, err, "a probe that hangs does not block the next one")
				require.Equal(t, 2, v)

				loads := c.Stats().Loads
				close(d.hang)
				synctest.Wait()
				require.EqualValues(t, loads, c.Stats().Loads, "late returns are not reported again")
				require.Equal(t, 3, j.len())
			})
		})
	}
}

func TestAbandonedProbeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{Breaker: &Breaker{MinLoads: 1, Cooldown: time.Minute, Probes: 1}, LoadTimeout: time.Hour})
		_, err := c.Get(t.Context(), "a", func(context.Context, string) (int, error) { return 0, fmt.Errorf("down") })
		require.Error(t, err)
		time.Sleep(2 * time.Minute)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		d := newDeaf()
		defer close(d.hang)
		_, err = c.Get(ctx, "b", d.load)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		require.EqualValues(t, 1, c.Stats().LoadErrors, "nobody waited: that is no failure")
		v, err := c.Get(t.Context(), "c", slow(2, 0))
		require.NoError(t, err, "its place is free")
		require.Equal(t, 2, v)
	})
}

// A loader that hangs keeps its place in MaxLoads until it returns.
func TestHungLoaderKeepsItsSlot(t *testing.T) {
	for name, get := range hung {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := plain(time.Hour)
				o.LoadTimeout, o.StaleWhileRevalidate, o.MaxLoads = time.Second, time.Hour, 1
				c := newCache(t, o)
				d := newDeaf()
				get(t, c, d)
				_, err := c.Get(t.Context(), "other", slow(2, 0))
				require.ErrorIs(t, err, ErrOverloaded)
				close(d.hang)
				synctest.Wait()
				_, err = c.Get(t.Context(), "other", slow(2, 0))
				require.NoError(t, err)
			})
		})
	}
}

func TestHungLoaderThatPanicsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		c := newCache(t, Options[int]{LoadTimeout: time.Second, MaxLoads: 1, Logger: log.logger()})
		for range 2 {
			_, err := c.Get(t.Context(), "k", func(context.Context, string) (int, error) {
				time.Sleep(2 * time.Second)
				panic("too late")
			})
			require.ErrorIs(t, err, ErrLoadTimeout)
			time.Sleep(time.Minute)
		}
		require.EqualValues(t, 2, c.Stats().Loads)
		require.Contains(t, log.String(), "too late")
	})
}

func TestHungHolderOfARight(t *testing.T) {
	o := Options[string]{LoadTimeout: time.Second, Breaker: &Breaker{MinLoads: 1, Cooldown: time.Minute}}
	inWorld(t, 2, o, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		keys := a.keys(2)
		hang := make(chan struct{})
		defer close(hang)
		_, err := b.cache.Get(t.Context(), keys[0], func(context.Context, string) (string, error) { <-hang; return "", nil })
		require.Error(t, err)
		synctest.Wait()
		require.EqualValues(t, 1, b.cache.Stats().LoadTimeouts)
		_, err = b.cache.Get(t.Context(), keys[1], w.slow(0))
		require.ErrorIs(t, err, ErrOverloaded)
	})
}

// Events.Loaded runs on the goroutine of a load, or on one that a timer starts.
func TestLoadedThatPanics(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("oops") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logbook
				o := Options[int]{LoadTimeout: time.Second, MaxLoads: 1, Logger: log.logger()}
				o.Events.Loaded = func(LoadResult) { end() }
				c := newCache(t, o)
				v, err := c.Get(t.Context(), "k", slow(1, 0))
				require.NoError(t, err)
				require.Equal(t, 1, v)
				found, err := c.GetMany(t.Context(), []string{"l"}, func(context.Context, []string) (map[string]int, error) {
					return map[string]int{"l": 2}, nil
				})
				require.NoError(t, err)
				require.Equal(t, map[string]int{"l": 2}, found)
				d := newDeaf()
				_, err = c.Get(t.Context(), "m", d.load)
				require.ErrorIs(t, err, ErrLoadTimeout)
				close(d.hang)
				synctest.Wait()
				require.Contains(t, log.String(), "Events.Loaded")
				require.Zero(t, c.Stats().LoadPanics)
			})
		})
	}
}
