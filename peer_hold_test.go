package covey

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A slow load that began before a write keeps nobody waiting who comes after the write: not in the
// process that writes, not at the owner, not in any other, wherever the load runs.
func TestWritesEndHolds(t *testing.T) {
	for _, ownersLoader := range []bool{true, false} {
		t.Run(fmt.Sprint("owner loads: ", ownersLoader), func(t *testing.T) { testWritesEndHolds(t, ownersLoader) })
	}
}

func testWritesEndHolds(t *testing.T, ownersLoader bool) {
	const slow = 5 * time.Second
	var written sync.Map // keys of which loads bring what is new
	load := func(ctx context.Context, key string) (string, error) {
		if _, ok := written.Load(key); ok {
			return "new", nil
		}
		select {
		case <-time.After(slow):
			return "old", nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	o := Options[string]{}
	if ownersLoader {
		o.Loader = load
	}
	writes := map[string]func(p *proc, key string) error{
		"Put":    func(p *proc, key string) error { return p.cache.Put(context.Background(), key, "new") },
		"Delete": func(p *proc, key string) error { return p.cache.Delete(context.Background(), key) },
		"Expire": func(p *proc, key string) error { return p.cache.Expire(context.Background(), key) },
		"Clear":  func(p *proc, _ string) error { return p.cache.Clear(context.Background()) },
	}
	inWorld(t, 3, o, func(t *testing.T, w *world) {
		get := func(p *proc, key string) (string, error) {
			if ownersLoader {
				return p.cache.Get(t.Context(), key, nil)
			}
			return p.cache.Get(t.Context(), key, load)
		}
		try := func(k, name string, holder, writer *proc, write func(*proc, string) error) {
			name = fmt.Sprintf("%s by %s, %s asks first", name, writer.name, holder.name) // that loads if the owner has no loader
			begin := time.Now()
			var wg sync.WaitGroup
			defer wg.Wait()
			ask := func(p *proc) {
				wg.Go(func() {
					v, err := get(p, k)
					require.NoError(t, err, name)
					require.Contains(t, []string{"old", "new"}, v, name)
					require.LessOrEqual(t, time.Since(begin), slow, name)
				})
				synctest.Wait()
			}
			ask(holder)
			for range 2 { // of the second ones, some wait for the answers to the first
				for _, p := range w.procs {
					ask(p)
				}
				time.Sleep(time.Second)
			}
			written.Store(k, true)
			require.NoError(t, write(writer, k), name)
			for _, p := range w.procs {
				before := time.Now()
				v, err := get(p, k)
				require.NoError(t, err, name)
				require.Equal(t, "new", v, "%s: in %s", name, p.name)
				require.Zero(t, time.Since(before), "%s: in %s", name, p.name)
			}
			for _, p := range w.procs {
				require.Zero(t, p.cache.peering.holds.n.Load(), "%s: holds in %s", name, p.name)
			}
		}
		keys := w.procs[0].keys(len(writes) * 9)
		for name, write := range writes {
			for _, holder := range w.procs {
				for _, writer := range w.procs {
					try(keys[0], name, holder, writer, write)
					keys = keys[1:]
				}
			}
		}
	})
}

// A link that is down could not tell of writes.
func TestHoldsEndWithTheLink(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		over := make(chan struct{})
		go func() {
			defer close(over)
			v, err := b.cache.Get(t.Context(), k, w.slow(19*time.Second)) // under a right
			require.NoError(t, err)
			require.Equal(t, "value of "+k, v)
		}()
		time.Sleep(time.Second)
		w.net.Reset("a", "b")
		time.Sleep(time.Second)
		require.NoError(t, c.cache.Put(t.Context(), k, "new"))
		begin := time.Now()
		v, err := b.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "new", v)
		require.Zero(t, time.Since(begin))
		<-over
	})
}

// The word that a load is obsolete may overtake the word that there is one.
func TestVoidOvertakesHold(t *testing.T) {
	var h holds
	sent := h.voids.Load()
	h.void("k")
	late := h.enter("k", nil, sent)
	require.Nil(t, h.of("k"))
	held := h.enter("k", nil, h.voids.Load())
	require.Equal(t, held, h.of("k"))
	h.leave(late, nil, nil)
	require.Equal(t, held, h.of("k"))
	h.leave(held, nil, nil)
	require.Nil(t, h.of("k"))
	require.Zero(t, h.n.Load())
}

// A load that began before a write must keep nobody waiting who comes after it, in no process; not
// even if the key has moved between.
func TestHoldsEndWithTheView(t *testing.T) {
	for _, closure := range []bool{false, true} {
		t.Run(fmt.Sprint("closure=", closure), func(t *testing.T) {
			inRosters(t, 3, "abc", Options[string]{LoadTimeout: 30 * time.Second}, func(t *testing.T, w *world) {
				a, b, c := w.procs[0], w.procs[1], w.procs[2]
				r := make(roster, 1)
				r <- members("abcd")
				d := w.at("d", r)
				k := movingKey(a, d)
				require.Equal(t, a.url, b.group.Owner(k))
				var wg sync.WaitGroup
				old := func(ctx context.Context, _ string) (string, error) {
					select {
					case <-time.After(20 * time.Second):
						return "old", nil
					case <-ctx.Done():
						return "", context.Cause(ctx)
					}
				}
				first := b
				if closure {
					first = c // has the right; b waits at the owner
				}
				wg.Go(func() { _, _ = first.cache.Get(t.Context(), k, old) })
				time.Sleep(100 * time.Millisecond)
				wg.Go(func() { _, _ = b.cache.Get(t.Context(), k, old) })
				time.Sleep(100 * time.Millisecond)
				d.run()
				time.Sleep(5 * time.Second)
				require.Equal(t, d.url, b.group.Owner(k))
				require.Equal(t, d.url, c.group.Owner(k))
				require.NoError(t, d.cache.Put(t.Context(), k, "new"))
				for _, p := range []*proc{a, c, b} {
					start := time.Now()
					v, err := p.cache.Get(t.Context(), k, constant("loaded"))
					require.NoError(t, err)
					require.Equal(t, "new", v)
					require.Less(t, time.Since(start), time.Second, "at %s", p.name)
				}
				wg.Wait()
			})
		})
	}
}
