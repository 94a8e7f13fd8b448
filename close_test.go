package covey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// soak returns whether a stress test goes on after n rounds: a few rounds, or for as long as
// COVEY_SOAK says.
func soak(t *testing.T, rounds int) func() bool {
	n, until := 0, time.Time{}
	if s := os.Getenv("COVEY_SOAK"); s != "" {
		d, err := time.ParseDuration(s)
		require.NoError(t, err)
		until = time.Now().Add(d)
	}
	return func() bool {
		n++
		return n <= rounds || time.Now().Before(until)
	}
}

// anything calls one of the exported methods.
func anything(ctx context.Context, c *Cache[string], r *rand.Rand) error {
	key := fmt.Sprint("key", r.IntN(300))
	keys := []string{key, fmt.Sprint("key", r.IntN(300)), fmt.Sprint("key", r.IntN(300))}
	value := string(make([]byte, r.IntN(200)))
	load := func(ctx context.Context, _ string) (string, error) {
		switch r := rand.IntN(10); r {
		case 0:
			return "", ErrNotFound
		case 1:
			return "", errors.New("down")
		case 2:
			panic("loader")
		}
		return value, nil
	}
	var err error
	switch r.IntN(14) {
	case 0, 1, 2:
		_, err = c.Get(ctx, key, load)
	case 3:
		_, err = c.GetMany(ctx, keys, func(ctx context.Context, keys []string) (map[string]string, error) {
			return map[string]string{keys[0]: value}, nil
		})
	case 4:
		_, _, err = c.Lookup(ctx, key)
	case 5, 6:
		err = c.Put(ctx, key, value)
	case 7:
		err = c.PutMany(ctx, map[string]string{keys[0]: value, keys[1]: "", keys[2]: value}, WithTTL(time.Millisecond))
	case 8:
		err = c.Delete(ctx, key, DeletedAt(r.Uint64N(9)))
	case 9:
		err = c.DeleteMany(ctx, keys)
	case 10:
		err = c.Expire(ctx, key)
	case 11:
		if r.IntN(10) == 0 {
			err = c.Clear(ctx)
		}
	case 12:
		err = c.SetMaxBytes(int64(r.IntN(2)) * (1<<12 + r.Int64N(1<<14))) // 0: sizes do not matter any more
	case 13:
		for range c.All() {
			_ = c.Stats()
		}
	}
	return err
}

func TestAnythingBesideClose(t *testing.T) {
	t.Parallel()
	for on := soak(t, 60); on(); {
		o := Options[string]{
			MaxBytes: 1 << 14, MaxEntries: 100, Eviction: Eviction(rand.IntN(3)), TTL: 50 * time.Millisecond, StaleIfError: time.Second,
			Logger: slog.New(slog.DiscardHandler),
			Events: Events[string]{Removed: func(Removal[string]) {}, Loaded: func(LoadResult) {}},
		}
		c, err := New("stress", o)
		require.NoError(t, err)
		var wg sync.WaitGroup
		busy := make(chan struct{}, 4)
		for i := range 4 {
			r := rand.New(rand.NewPCG(rand.Uint64(), uint64(i)))
			wg.Go(func() {
				after := 0
				for n := 0; after < 50; n++ {
					err := anything(t.Context(), c, r)
					if n == 500 {
						busy <- struct{}{}
					}
					if c.closed.Load() {
						after++
					}
					_ = err
				}
			})
		}
		for range 2 { // two of them are under way
			<-busy
		}
		wg.Go(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		_, err = c.Get(t.Context(), "k", nil)
		require.ErrorIs(t, err, ErrClosed)
		require.Zero(t, c.Stats().Bytes)
		require.Zero(t, c.Stats().Entries)
	}
}

func TestAnythingBesideShutdown(t *testing.T) {
	t.Parallel()
	for on := soak(t, 3); on(); {
		o := Options[string]{MaxBytes: 1 << 14, MaxEntries: 100, L1: 1 << 12, TTL: time.Second}
		inWorld(t, 3, o, func(t *testing.T, w *world) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var wg sync.WaitGroup
			over := make(chan struct{})
			for i, p := range w.procs {
				for range 3 {
					r := rand.New(rand.NewPCG(rand.Uint64(), uint64(i)))
					wg.Go(func() {
						for {
							select {
							case <-over:
								return
							default:
								_ = anything(ctx, p.cache, r)
								time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond) // lets the bubble's time go on
								_ = p.group.HotKeys()
								_, _ = p.group.Stats(), p.group.Peers()
							}
						}
					})
				}
			}
			time.Sleep(time.Second)
			wg.Go(func() { _ = w.procs[0].cache.Close() })
			wg.Go(func() { _ = w.procs[1].group.Shutdown(ctx) })
			time.Sleep(time.Second)
			close(over)
			wg.Wait()
			synctest.Wait()
		})
	}
}

// SetMaxBytes and a Put may have found the cache open just before Close emptied it.
func TestBoundsChangeAfterClose(t *testing.T) {
	for _, policy := range []Eviction{LFU, LRU, FIFO} {
		c, err := New("closed", Options[int]{Eviction: policy, MaxEntries: 100})
		require.NoError(t, err)
		for i := range 50 {
			require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), i))
		}
		require.NoError(t, c.Close())
		s := c.store
		s.mu.Lock()
		s.setBounds(10, 10) // from entries to bytes: values are weighed anew
		s.mu.Unlock()
		s.bytes.Add(1 << 10)
		require.False(t, c.trim())
	}
}
