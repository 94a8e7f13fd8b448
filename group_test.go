package covey

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGroupGet(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := b.key()
		v, err := a.cache.Get(t.Context(), k, w.slow(100*time.Millisecond))
		require.NoError(t, err)
		require.Equal(t, "value of "+k, v)
		for _, p := range w.procs {
			v, err := p.cache.Get(t.Context(), k, w.slow(time.Second))
			require.NoError(t, err)
			require.Equal(t, "value of "+k, v)
		}
		require.EqualValues(t, 1, w.loads.Load())
		require.EqualValues(t, 1, b.cache.Stats().Entries, "the owner has it")
		require.Zero(t, a.cache.Stats().Entries+c.cache.Stats().Entries, "the others do not")
		_, err = a.cache.Get(t.Context(), b.keys(2)[1], nil)
		require.ErrorIs(t, err, ErrNoLoader)
	})
}

func TestGroupHerd(t *testing.T) {
	for _, bound := range []bool{true, false} {
		t.Run(fmt.Sprintf("bound=%v", bound), func(t *testing.T) {
			w := &world{}
			load := func(ctx context.Context, key string) (string, error) { return w.slow(100*time.Millisecond)(ctx, key) }
			o := Options[string]{}
			if bound {
				o.Loader = load
			}
			synctest.Test(t, func(t *testing.T) {
				*w = *newWorld(t, 3, o)
				k := w.procs[0].key()
				var wg sync.WaitGroup
				start := time.Now()
				for _, p := range w.procs {
					for range 300 {
						wg.Go(func() {
							passed := load
							if bound {
								passed = nil
							}
							v, err := p.cache.Get(t.Context(), k, passed)
							require.NoError(t, err)
							require.Equal(t, "value of "+k, v)
						})
					}
				}
				wg.Wait()
				require.EqualValues(t, 1, w.loads.Load())
				require.Equal(t, 100*time.Millisecond, time.Since(start))
				w.close()
			})
		})
	}
}

func TestGroupLoaderErrorEndsTheFlight(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		k := w.procs[0].key()
		boom := errors.New("the database is down")
		var wg sync.WaitGroup
		for _, p := range w.procs {
			for range 100 {
				wg.Go(func() {
					_, err := p.cache.Get(t.Context(), k, func(context.Context, string) (string, error) {
						w.loads.Add(1)
						time.Sleep(100 * time.Millisecond)
						return "", boom
					})
					require.ErrorContains(t, err, boom.Error())
				})
			}
		}
		wg.Wait()
		require.EqualValues(t, 1, w.loads.Load())
		_, err := w.procs[1].cache.Get(t.Context(), k, func(context.Context, string) (string, error) { return "", ErrNotFound })
		require.ErrorIs(t, err, ErrNotFound)
		_, err = w.procs[2].cache.Get(t.Context(), k, nil)
		require.ErrorIs(t, err, ErrNotFound, "it is remembered at the owner")
	})
}

func TestGroupPutLookupDelete(t *testing.T) {
	inWorld(t, 3, Options[string]{TTL: time.Hour, TTLJitter: -1}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		for _, k := range []string{a.key(), b.key(), c.key()} {
			require.NoError(t, a.cache.Put(t.Context(), k, "v1", WithVersion(7), WithTTL(time.Minute)))
			time.Sleep(time.Second)
			for _, p := range w.procs {
				e, ok, err := p.cache.Lookup(t.Context(), k)
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, "v1", e.Value)
				require.EqualValues(t, 7, e.Version)
				require.Equal(t, time.Second, e.Age)
				require.Equal(t, 59*time.Second, e.TTL)
			}
			require.ErrorIs(t, b.cache.Put(t.Context(), k, "v0", WithVersion(6)), ErrOutdated)
			require.NoError(t, c.cache.Delete(t.Context(), k))
			for _, p := range w.procs {
				_, ok, err := p.cache.Lookup(t.Context(), k)
				require.NoError(t, err)
				require.False(t, ok)
			}
		}
		require.NoError(t, a.cache.PutMany(t.Context(), map[string]string{"x": "1", "y": "2", "z": "3"}))
		require.NoError(t, b.cache.DeleteMany(t.Context(), []string{"x", "y"}))
		found, err := c.cache.GetMany(t.Context(), []string{"x", "y", "z"}, func(_ context.Context, keys []string) (map[string]string, error) {
			require.ElementsMatch(t, []string{"x", "y"}, keys)
			return map[string]string{"x": "loaded"}, nil
		})
		require.NoError(t, err)
		require.Equal(t, map[string]string{"x": "loaded", "z": "3"}, found)
		require.NoError(t, b.cache.Clear(t.Context()))
		for _, p := range w.procs {
			for _, k := range []string{"x", "y", "z"} {
				_, ok, err := p.cache.Lookup(t.Context(), k)
				require.NoError(t, err)
				require.False(t, ok)
			}
		}
	})
}

func TestGroupOwnerCrashes(t *testing.T) {
	for _, bound := range []bool{true, false} {
		t.Run(fmt.Sprintf("bound=%v", bound), func(t *testing.T) { testOwnerCrashes(t, bound) })
	}
}

func testOwnerCrashes(t *testing.T, bound bool) {
	w := &world{}
	load := func(ctx context.Context, key string) (string, error) { return w.slow(100*time.Millisecond)(ctx, key) }
	var o Options[string]
	passed := Loader[string](load)
	if bound {
		o.Loader, passed = load, nil
	}
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, 3, o)
		defer w.close()
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := b.key()
		var wg sync.WaitGroup
		for _, p := range []*proc{a, c} {
			for range 100 {
				wg.Go(func() {
					v, err := p.cache.Get(t.Context(), k, passed)
					require.NoError(t, err)
					require.Equal(t, "value of "+k, v)
				})
			}
		}
		time.Sleep(50 * time.Millisecond)
		b.crash()
		wg.Wait()
		require.LessOrEqual(t, w.loads.Load(), int64(2))
		time.Sleep(10 * time.Second)
		require.Len(t, a.group.view.Load().ring.members, 2)
		before := w.loads.Load()
		_, err := a.cache.Get(t.Context(), k, passed)
		require.NoError(t, err)
		_, err = c.cache.Get(t.Context(), k, passed)
		require.NoError(t, err)
		require.LessOrEqual(t, w.loads.Load()-before, int64(1), "the key has a new owner")

		b.run()
		w.ready()
		require.Equal(t, b.url, a.group.Owner(k))
	})
}

// A silent owner is no reason to fail, nor to wait for long. After 3 s others own its keys.
func TestGroupOwnerIsSilent(t *testing.T) {
	w := &world{}
	load := func(ctx context.Context, key string) (string, error) { return w.slow(10*time.Millisecond)(ctx, key) }
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, 3, Options[string]{Loader: load})
		defer w.close()
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := b.key()
		_, err := a.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		w.net.Pause("b")
		began := time.Now()
		for time.Since(began) < 3*time.Second {
			for _, p := range []*proc{a, c} {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				v, err := p.cache.Get(ctx, k, nil)
				cancel()
				require.NoError(t, err)
				require.Equal(t, "value of "+k, v)
			}
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond)
		require.Len(t, a.group.view.Load().ring.members, 2)
		before := w.loads.Load()
		for range 20 {
			for _, p := range []*proc{a, c} {
				_, err := p.cache.Get(t.Context(), k, nil)
				require.NoError(t, err)
			}
		}
		require.LessOrEqual(t, w.loads.Load(), before+1, "another process owns it now")

		start := time.Now()
		require.NoError(t, a.cache.Delete(t.Context(), k))
		require.Less(t, time.Since(start), time.Second)
		w.net.Resume("b")
		before = w.loads.Load()
		_, err = b.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, before+1, w.loads.Load(), "what it had is worth nothing")
		time.Sleep(3 * time.Second)
		require.Len(t, b.group.view.Load().ring.members, 3, "it is back")
	})
}

// A slow callback holds up nobody but the request that it is called for: it does not run where a
// link is read.
func TestCallbacksDoNotHoldUpLinks(t *testing.T) {
	release := make(chan struct{})
	removed := func(r Removal[string]) {
		if r.Value == "old" {
			<-release
		}
	}
	o := Options[string]{Events: Events[string]{Removed: removed}, StaleIfError: time.Hour}
	inWorld(t, 2, o, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		keys := a.keys(2)
		k, other := keys[0], keys[1]
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for name, change := range map[string]func() error{
			"Put":    func() error { return b.cache.Put(ctx, k, "new") },
			"Delete": func() error { return b.cache.Delete(ctx, k) },
			"Clear":  func() error { return b.cache.Clear(ctx) },
			"a fill": func() error {
				_, err := b.cache.Get(ctx, k, constant("new"))
				return err
			},
		} {
			release = make(chan struct{})
			require.NoError(t, a.cache.Put(ctx, other, "other"), name)
			require.NoError(t, a.cache.Put(ctx, k, "old", WithTTL(time.Millisecond)), name)
			time.Sleep(2 * time.Millisecond) // from here on it is missed, and there all the same
			done := make(chan error)
			go func() { done <- change() }()
			synctest.Wait()
			_, err := b.cache.Get(ctx, other, constant("loaded"))
			close(release)
			require.NoError(t, err, name)
			require.NoError(t, <-done, name)
		}
	})
}
