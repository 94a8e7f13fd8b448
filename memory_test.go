package covey

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// reused is memory in which a web server makes one key after another.
type reused struct{ b [64]byte }

// call calls f with a key, and then uses the key's memory for something else.
func (r *reused) call(key string, f func(key string)) {
	n := copy(r.b[:], key)
	f(unsafe.String(&r.b[0], n))
	for i := range r.b {
		r.b[i] = '#'
	}
}

func TestReplicatedKeysMayBeReused(t *testing.T) {
	inWorld(t, 3, Options[string]{Replicas: 2, L1: -1}, func(t *testing.T, w *world) {
		a, ctx := w.procs[0], t.Context()
		var r reused
		for _, p := range w.procs {
			key := p.key()
			r.call(key, func(k string) { require.NoError(t, a.cache.Put(ctx, k, "put")) })
			time.Sleep(time.Second)
			require.Equal(t, 2, w.has(key), "of %s, which %s owns", key, p.name)
			r.call(key, func(k string) { require.NoError(t, a.cache.Delete(ctx, k, DeletedAt(7))) })
			time.Sleep(time.Second)
		}
	})
}

func TestKeysMayBeReused(t *testing.T) {
	o := Options[string]{TTL: time.Minute, StaleIfError: time.Hour, ErrorThrottle: time.Hour, TTLJitter: -1}
	inWorld(t, 2, o, func(t *testing.T, w *world) {
		a, b, ctx := w.procs[0], w.procs[1], t.Context()
		down := errors.New("down")
		var r reused
		for _, key := range []string{a.key(), b.key()} {
			c := a.cache
			slow := func(ctx context.Context, k string) (string, error) {
				time.Sleep(time.Second)
				return "loaded " + k, nil
			}
			for range 8 { // until there are copies
				r.call(key, func(k string) {
					v, err := c.Get(ctx, k, slow)
					require.NoError(t, err)
					require.Equal(t, "loaded "+key, v)
				})
			}
			r.call(key, func(k string) { require.NoError(t, c.Delete(ctx, k, DeletedAt(7))) })
			require.ErrorIs(t, c.Put(ctx, key, "old", WithVersion(6)), ErrOutdated, "the tombstone's key")

			r.call(key, func(k string) { // a flight that goes on without its caller
				short, cancel := context.WithTimeout(ctx, time.Millisecond)
				defer cancel()
				_, err := c.Get(short, k, slow)
				require.Error(t, err)
			})
			r.call(key, func(k string) { require.NoError(t, c.Put(ctx, k, "put", WithVersion(8))) })
			r.call(key, func(k string) { require.NoError(t, c.Put(ctx, k, "put again", WithVersion(9))) })
			v, err := b.cache.Get(ctx, key, nil)
			require.NoError(t, err)
			require.Equal(t, "put again", v)

			time.Sleep(2 * time.Minute) // stale
			r.call(key, func(k string) {
				v, err := c.Get(ctx, k, func(context.Context, string) (string, error) { return "", down })
				require.NoError(t, err)
				require.Equal(t, "put again", v)
			})
			if key == a.key() {
				require.True(t, c.isThrottled(key, c.store.hash(key)))
			}
			r.call(key, func(k string) { require.NoError(t, c.Delete(ctx, k)) })
		}
		for _, p := range w.procs {
			for key := range p.cache.Keys() {
				require.NotContains(t, key, "#")
			}
			for i := range p.cache.shards {
				s := p.cache.lockAt(i)
				require.Empty(t, s.flights)
				require.Empty(t, s.fetches)
				require.Empty(t, s.writing)
				s.unlock()
			}
			require.Empty(t, p.cache.peering.holds.m)
		}
		for _, hot := range a.group.HotKeys() {
			require.NotContains(t, hot.Key, "#")
		}
	})
}

// Two writes of a key wait for copies: the key of the first one is gone when the second one has its
// turn.
func TestKeysOfWritesMayBeReused(t *testing.T) {
	inWorld(t, 2, Options[string]{TTL: time.Hour}, func(t *testing.T, w *world) {
		a, b, ctx := w.procs[0], w.procs[1], t.Context()
		key := a.key()
		require.NoError(t, a.cache.Put(ctx, key, "v1"))
		for range 8 {
			_, err := b.cache.Get(ctx, key, nil)
			require.NoError(t, err)
		}
		w.net.SetDelay(100 * time.Millisecond)
		done := make(chan error, 2)
		for i := range 2 {
			go func() {
				var r reused
				r.call(key, func(k string) { done <- a.cache.Put(ctx, k, fmt.Sprint("v", 2+i)) })
			}()
		}
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		synctest.Wait()
		s := a.cache.lock(a.cache.store.hash(key))
		defer s.unlock()
		require.Empty(t, s.writing)
	})
}

// A key that was cut from a line does not keep the line in memory.
func TestKeysKeepNoLines(t *testing.T) {
	c := newCache(t, Options[int]{MaxBytes: 4 << 20})
	before := heapInUse()
	for i := range 256 {
		line := strings.Repeat(fmt.Sprintf("%06d,", i), 256<<10/7)
		require.NoError(t, c.Put(t.Context(), line[:6], i))
		_, err := c.Get(t.Context(), line[7:12]+line[:6], func(context.Context, string) (int, error) { return 1, nil })
		require.NoError(t, err)
		require.NoError(t, c.Delete(t.Context(), line[:5], DeletedAt(1)))
	}
	require.Less(t, heapInUse()-before, int64(4<<20))
	runtime.KeepAlive(c)
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Callers who append to the slice that they share do not write to the same memory.
func TestSlicesHaveNoSpareCapacity(t *testing.T) {
	type named []int
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[named]{})
		spare := append(make(named, 0, 16), 1, 2)
		load := func(context.Context, string) (named, error) { time.Sleep(time.Second); return spare, nil }
		require.NoError(t, c.Put(t.Context(), "put", spare))
		require.Equal(t, 16*int(int64(unsafe.Sizeof(uintptr(0)))), c.opt.Size("put", spare), "the spare capacity is accounted for")
		for _, key := range []string{"put", "loaded"} {
			got := make(chan named, 2)
			for i := range 2 {
				go func() {
					v, _ := c.Get(t.Context(), key, load)
					got <- append(v, i)
				}()
			}
			x, y := <-got, <-got
			require.NotEqual(t, x[2], y[2], key)
			require.Len(t, x, 3)
		}
	})
}
