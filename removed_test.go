package covey

// removed_test.go sees that values which have to be closed are: Events.Removed is told of each one
// once.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A ledger keeps why each value was removed.
type ledger struct {
	mu     sync.Mutex
	causes map[int][]Cause
}

func (l *ledger) add(r Removal[int]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.causes == nil {
		l.causes = make(map[int][]Cause)
	}
	l.causes[r.Value] = append(l.causes[r.Value], r.Cause)
}

func (l *ledger) all() map[int][]Cause {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.causes
}

// connections are options of a cache of what has to be closed.
func connections(l *ledger) Options[int] {
	o := plain(time.Minute)
	o.StaleIfError = time.Hour
	o.Events.Removed, o.Events.RemovedAtClose = l.add, true
	o.Logger = slog.New(slog.DiscardHandler)
	return o
}

func TestRemovedIsToldOfEachValueOnce(t *testing.T) {
	ctx := context.Background()
	for name, one := range map[string]struct {
		remove func(c *Cache[int]) error
		want   []Cause
	}{
		"Close":       {func(*Cache[int]) error { return nil }, []Cause{CauseClosed}},
		"Put":         {func(c *Cache[int]) error { return c.Put(ctx, "k", 2) }, []Cause{CauseReplaced}},
		"PutNotFound": {func(c *Cache[int]) error { return c.PutNotFound(ctx, "k") }, []Cause{CauseReplaced}},
		"Delete":      {func(c *Cache[int]) error { return c.Delete(ctx, "k") }, []Cause{CauseDeleted}},
		"Clear": {func(c *Cache[int]) error {
			err := c.Clear(ctx)
			synctest.Wait() // it is told in the background
			return err
		}, []Cause{CauseDeleted}},
		"SetMaxBytes": {func(c *Cache[int]) error { return c.SetMaxBytes(1) }, []Cause{CauseEvicted}},
		"time": {func(c *Cache[int]) error {
			time.Sleep(2 * time.Hour)
			return nil
		}, []Cause{CauseExpired}},
		"Close of a stale value": {func(c *Cache[int]) error {
			time.Sleep(time.Minute + time.Second)
			return nil
		}, []Cause{CauseClosed}},
		"Expire and Close": {func(c *Cache[int]) error { return c.Expire(ctx, "k") }, []Cause{CauseClosed}},
		"ErrUnchanged and Close": {func(c *Cache[int]) error {
			if err := c.Expire(ctx, "k"); err != nil {
				return err
			}
			v, err := c.Get(ctx, "k", func(context.Context, string) (int, error) { return 0, ErrUnchanged })
			if err == nil && v != 1 {
				err = fmt.Errorf("it is %d", v)
			}
			return err
		}, []Cause{CauseClosed}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l ledger
				c, err := New("test", connections(&l))
				require.NoError(t, err)
				defer c.Close()
				require.NoError(t, c.Put(ctx, "k", 1))
				require.NoError(t, one.remove(c))
				if one.want[0] != CauseClosed {
					require.Equal(t, one.want, l.all()[1], "before the call returns")
				} else {
					require.Empty(t, l.all())
				}
				require.NoError(t, c.Close())
				require.Equal(t, one.want, l.all()[1])
			})
		})
	}
}

func TestCloseTellsOfNothingUnlessAsked(t *testing.T) {
	var l ledger
	o := connections(&l)
	o.Events.RemovedAtClose = false
	c, err := New("test", o)
	require.NoError(t, err)
	require.NoError(t, c.Put(t.Context(), "k", 1))
	require.NoError(t, c.Close())
	require.Empty(t, l.all())
}

// Functions that are called at Close may do what they like: panic, call Goexit, call the cache, or
// never return.
func TestRemovedMisbehavesAtClose(t *testing.T) {
	const n = 1000
	var c *Cache[int]
	acts := map[string]func(){
		"calls the cache": func() {
			_, err := c.Get(context.Background(), "k", slow(1, 0))
			if !errors.Is(err, ErrClosed) || c.Close() != nil || c.Len() != 0 {
				panic("the cache is not closed")
			}
			for range c.All() {
				panic("the cache is not empty")
			}
		},
	}
	for name, act := range misbehaviors {
		acts[name] = act
	}
	for name, act := range acts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l ledger
				o := connections(&l)
				o.Events.Removed = func(r Removal[int]) { l.add(r); act() }
				var err error
				c, err = New("test", o)
				require.NoError(t, err)
				for i := range n {
					require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), i))
				}
				begin := time.Now()
				require.NoError(t, c.Close())
				require.Zero(t, time.Since(begin))
				require.Len(t, l.all(), n)
				for i, causes := range l.all() {
					require.Equal(t, []Cause{CauseClosed}, causes, i)
				}
			})
		})
	}
	t.Run("hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var l ledger
			hang := make(chan struct{})
			o := connections(&l)
			o.Events.Removed = func(r Removal[int]) { <-hang; l.add(r) }
			c, err := New("test", o)
			require.NoError(t, err)
			require.NoError(t, c.Put(t.Context(), "k", 1))
			require.NoError(t, c.Put(t.Context(), "l", 2))
			begin := time.Now()
			require.ErrorContains(t, c.Close(), "a function of Events still runs 5s after Close")
			require.Equal(t, closeGrace, time.Since(begin))
			close(hang)
			synctest.Wait()
			require.Len(t, l.all(), 2, "the others go on")
		})
	})
}

// Close and Shutdown tell of what this process owns. What it has borrowed is the owner's to close.
func TestShutdownTellsOfItsOwnValues(t *testing.T) {
	var mu sync.Mutex
	var w *world
	removed := make(map[string]int)
	o := Options[string]{TTL: time.Hour, Events: Events[string]{RemovedAtClose: true, Removed: func(r Removal[string]) {
		if r.Cause == CauseClosed {
			mu.Lock()
			removed[r.Value]++
			mu.Unlock()
			for _, p := range w.procs {
				_, _ = p.cache.Peek(r.Key)
			}
			if r.Value == "of a" {
				_ = w.procs[0].group.Shutdown(context.Background()) // returns at once
			}
		}
	}}}
	inWorld(t, 2, o, func(t *testing.T, the *world) {
		w = the
		a, b := w.procs[0], w.procs[1]
		require.NoError(t, a.cache.Put(t.Context(), a.key(), "of a"))
		require.NoError(t, a.cache.Put(t.Context(), b.key(), "of b"))
		borrowAt(t, b, a.key())
		require.NoError(t, b.cache.Close())
		require.Equal(t, map[string]int{"of b": 1}, removed)
		begin := time.Now()
		require.NoError(t, a.group.Shutdown(t.Context()))
		require.Less(t, time.Since(begin), closeGrace)
		require.Equal(t, map[string]int{"of a": 1, "of b": 1}, removed)
	})
}
