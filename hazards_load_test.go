package covey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The caller that holds the right leaves, and with it ends the load that the rest of the group
// waits for.
func TestHazard16HolderLeaves(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		ctx, leave := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer leave()
		left := make(chan error, 1)
		go func() {
			_, err := b.cache.Get(ctx, k, w.slow(100*time.Millisecond))
			left <- err
		}()
		time.Sleep(time.Millisecond)
		start := time.Now()
		v, err := c.cache.Get(t.Context(), k, w.slow(100*time.Millisecond))
		require.NoError(t, err)
		require.Equal(t, "value of "+k, v)
		require.Equal(t, 99*time.Millisecond, time.Since(start))
		require.EqualValues(t, 1, w.loads.Load())
		require.ErrorIs(t, <-left, context.DeadlineExceeded)
	})
}

// The holder crashes and nobody else may load; or every holder gives up and
// the right passes on for as long as there are callers.
func TestHazard16RightPassesOn(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		go func() { _, _ = b.cache.Get(t.Context(), k, w.slow(time.Second)) }()
		time.Sleep(time.Millisecond)
		start := time.Now()
		time.AfterFunc(100*time.Millisecond, b.crash)
		v, err := c.cache.Get(t.Context(), k, w.slow(time.Second))
		require.NoError(t, err)
		require.Equal(t, "value of "+k, v)
		require.Less(t, time.Since(start), 1200*time.Millisecond)
		require.EqualValues(t, 2, w.loads.Load())
	})
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		k := w.procs[0].key()
		var wg sync.WaitGroup
		for _, p := range w.procs {
			for range 300 {
				wg.Go(func() {
					_, err := p.cache.Get(t.Context(), k, func(context.Context, string) (string, error) {
						w.loads.Add(1)
						time.Sleep(100 * time.Millisecond)
						return "", context.Canceled
					})
					require.Error(t, err)
				})
			}
		}
		wg.Wait()
		require.Less(t, w.loads.Load(), int64(50), "of 900 callers, who try four times, each time with a right that passes on twice")
	})
}

// A loader asks, at another peer, for the key that it is loading: each waits for the other.
func TestHazard17Recursion(t *testing.T) {
	var w *world
	var k1, k2 string
	o := Options[string]{Loader: func(ctx context.Context, key string) (string, error) {
		if key == k1 { // runs at a
			return w.procs[0].cache.Get(ctx, k2, nil)
		}
		return w.procs[1].cache.Get(ctx, k1, nil)
	}}
	inWorld(t, 3, o, func(t *testing.T, world *world) {
		w = world
		k1, k2 = w.procs[0].key(), w.procs[1].key()
		for _, p := range w.procs {
			start := time.Now()
			_, err := p.cache.Get(t.Context(), k1, nil)
			require.ErrorIs(t, err, ErrRecursiveLoad)
			require.Less(t, time.Since(start), time.Second)
		}
	})
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		k, c := w.procs[0].key(), w.procs[1].cache
		start := time.Now()
		_, err := c.Get(t.Context(), k, func(ctx context.Context, key string) (string, error) {
			return c.Get(ctx, key, w.slow(0))
		})
		require.ErrorIs(t, err, ErrRecursiveLoad)
		_, err = c.GetMany(t.Context(), []string{k}, func(ctx context.Context, keys []string) (map[string]string, error) {
			return c.GetMany(ctx, keys, nil)
		})
		require.ErrorIs(t, err, ErrRecursiveLoad)
		require.Less(t, time.Since(start), time.Second)
	})
}

// Callers ask for the same keys, each is to load some of them, and waits for the rest before it
// begins, or never hears which it is to load.
func TestHazard18ManyCrosswise(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		var keys []string
		for _, p := range w.procs {
			keys = append(keys, p.keys(2)...)
		}
		var mu sync.Mutex
		loaded := make(map[string]int)
		load := func(_ context.Context, keys []string) (map[string]string, error) {
			mu.Lock()
			defer mu.Unlock()
			values := make(map[string]string)
			for _, k := range keys {
				loaded[k]++
				values[k] = "value of " + k
			}
			return values, nil
		}
		w.net.SetDelay(10 * time.Millisecond)
		var wg sync.WaitGroup
		start := time.Now()
		for i, p := range w.procs {
			for j := range keys {
				order := append(append([]string(nil), keys[(i+j)%len(keys):]...), keys[:(i+j)%len(keys)]...)
				wg.Go(func() {
					found, err := p.cache.GetMany(t.Context(), order, load)
					require.NoError(t, err)
					require.Len(t, found, len(keys))
				})
			}
		}
		wg.Wait()
		require.Less(t, time.Since(start), 200*time.Millisecond)
		for k, n := range loaded {
			require.Equal(t, 1, n, k)
		}
	})
}

// A peer remembers that a key does not exist while another one creates it.
func TestHazard19NotFoundThenPut(t *testing.T) {
	inWorld(t, 3, Options[string]{NegativeTTL: time.Hour}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		missing := func(context.Context, string) (string, error) { return "", ErrNotFound }
		for range 5 {
			for _, p := range w.procs {
				_, err := p.cache.Get(t.Context(), k, missing)
				require.ErrorIs(t, err, ErrNotFound)
			}
		}
		require.NoError(t, c.cache.Put(t.Context(), k, "v"))
		for _, p := range []*proc{a, b, c} {
			v, err := p.cache.Get(t.Context(), k, missing)
			require.NoError(t, err)
			require.Equal(t, "v", v)
		}
	})
}

// picky is a codec that cannot read or write some values, as while another version of a program is
// being rolled out.
type picky struct{}

func (picky) Name() string { return "picky" }

func (picky) Append(dst []byte, v string) ([]byte, error) {
	if strings.HasPrefix(v, "unspeakable") {
		return nil, errors.New("cannot encode")
	}
	return append(dst, v...), nil
}

func (picky) Decode(b []byte) (string, error) {
	if strings.HasPrefix(string(b), "unreadable") {
		return "", errors.New("cannot decode")
	}
	return string(b), nil
}

// A Put that cannot be stored leaves the old value; a value that one peer cannot read is an error
// there for as long as it lives.
func TestHazard21Values(t *testing.T) {
	inWorld(t, 3, Options[string]{Codec: picky{}, MaxValueBytes: 1000}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		for _, p := range w.procs {
			for _, v := range []string{strings.Repeat("x", 2000), "unspeakable"} {
				require.NoError(t, c.cache.Put(t.Context(), k, "v1"))
				borrowAt(t, b, k)
				err := p.cache.Put(t.Context(), k, v)
				if p == a && v == "unspeakable" {
					require.NoError(t, err, "it has no need to travel")
				} else {
					require.ErrorIs(t, err, ErrTooLarge)
				}
				for _, q := range w.procs {
					got, _ := q.cache.Get(t.Context(), k, constant("loaded"))
					require.NotEqual(t, "v1", got)
				}
			}
		}
		require.NoError(t, a.cache.Put(t.Context(), k, "unreadable"))
		v, err := b.cache.Get(t.Context(), k, constant("loaded here"))
		require.NoError(t, err)
		require.Equal(t, "loaded here", v)
		many, err := b.cache.GetMany(t.Context(), []string{k}, func(context.Context, []string) (map[string]string, error) {
			return map[string]string{k: "loaded here"}, nil
		})
		require.NoError(t, err)
		require.Equal(t, "loaded here", many[k])
		require.EqualValues(t, 2, b.cache.Stats().Undecodable)
	})
}

// A peer asks for a cache that the owner does not have, or with a loader that
// the owner does not have, or the other way around.
func TestHazard21UnknownCache(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		open := func(p *proc, name string, o Options[string]) *Cache[string] {
			o.Group = p.group
			c, err := New(name, o)
			require.NoError(t, err)
			return c
		}
		k := a.key()
		only := open(b, "only", Options[string]{})
		for range 2 {
			v, err := only.Get(t.Context(), k, w.slow(0))
			require.NoError(t, err)
			require.Equal(t, "value of "+k, v)
		}
		require.EqualValues(t, 1, w.loads.Load())
		require.NoError(t, only.Put(t.Context(), k, "v"))

		for i, loaders := range [][2]Loader[string]{{w.slow(0), nil}, {nil, w.slow(0)}} {
			name := fmt.Sprint("mixed", i)
			open(a, name, Options[string]{Loader: loaders[0]})
			c := open(b, name, Options[string]{Loader: loaders[1]})
			time.Sleep(time.Second)
			v, err := c.Get(t.Context(), k, nil)
			require.NoError(t, err)
			require.Equal(t, "value of "+k, v)
		}
	})
}

// A caller leaves while the right to load is on its way to it: the right goes back, and others do
// not wait for a load that nobody has begun.
func TestHazard16NobodyTakesTheRight(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		for _, p := range []*proc{b, c} {
			_, ok, err := p.cache.Lookup(t.Context(), a.key())
			require.NoError(t, err)
			require.False(t, ok)
		}
		for i, k := range a.keys(2) {
			w.net.SetDelay(10 * time.Millisecond)
			ctx, leave := context.WithCancel(t.Context()) // with a deadline, the link might give up first
			time.AfterFunc(15*time.Millisecond, leave)
			var err error
			if i == 0 {
				_, err = b.cache.Get(ctx, k, w.slow(time.Millisecond))
			} else {
				_, err = b.cache.GetMany(ctx, []string{k}, func(context.Context, []string) (map[string]string, error) { return nil, nil })
			}
			require.ErrorIs(t, err, context.Canceled)
			start := time.Now()
			v, err := c.cache.Get(t.Context(), k, w.slow(time.Millisecond))
			require.NoError(t, err)
			require.Equal(t, "value of "+k, v)
			require.Less(t, time.Since(start), 200*time.Millisecond)
		}
	})
}
