package covey

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// A firewall refuses what is between an owner and the others, who delete its key as a dead one's.
// When the owner is reached again, it or they have the old value still.
func TestHazard07RefusedOwnerReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New()}
		var refuse atomic.Bool
		for _, name := range []string{"a", "b", "c"} {
			p := &proc{w: w, name: name, url: "http://" + name + DefaultPath}
			dial := w.net.Dialer(name)
			p.opt = GroupOptions{
				Self: "http://" + name, Discovery: StaticPeers("http://a", "http://b", "http://c"), Secrets: [][]byte{testSecret},
				Logger: slog.New(slog.DiscardHandler),
				Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					if refuse.Load() && (name == "a" || addr == "a:80") {
						return nil, syscall.ECONNREFUSED
					}
					return dial(ctx, network, addr)
				},
			}
			p.run()
			w.procs = append(w.procs, p)
		}
		defer w.close()
		w.ready()
		a, b := w.procs[0], w.procs[1]
		keys := append(a.keys(5), b.keys(5)...)
		for _, k := range keys {
			require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
		}
		refuse.Store(true)
		w.net.Reset("a", "b")
		w.net.Reset("a", "c")
		time.Sleep(10 * time.Second)
		for i, k := range keys {
			at := b
			if i >= 5 {
				at = a
			}
			require.NoError(t, at.cache.Delete(t.Context(), k), "the owner is taken for dead")
		}
		refuse.Store(false)
		w.ready()
		for _, p := range w.procs {
			for _, k := range keys {
				v, _ := p.cache.Get(t.Context(), k, nil)
				require.Empty(t, v, "at %s", p.name)
			}
		}
	})
}

// For minutes two peers go by the old list and two by the new one, so that a
// Delete is carried out by another owner than the one who is asked for the key.
func TestHazard08RingsDiffer(t *testing.T) {
	inRosters(t, 4, "abc", Options[string]{}, func(t *testing.T, w *world) {
		a, b, c, d := w.procs[0], w.procs[1], w.procs[2], w.procs[3]
		k := movingKey(a, d)
		for _, write := range []struct {
			at   *proc
			call func(c *Cache[string]) error
		}{
			{b, func(c *Cache[string]) error { return c.Delete(t.Context(), k) }},
			{c, func(c *Cache[string]) error { return c.Put(t.Context(), k, "v2") }},
			{d, func(c *Cache[string]) error { return c.Put(t.Context(), k, "v2") }},
			{a, func(c *Cache[string]) error { return c.Delete(t.Context(), k) }},
			{c, func(c *Cache[string]) error { return c.Clear(t.Context()) }},
		} {
			for _, p := range w.procs {
				p.list("abc")
			}
			time.Sleep(10 * time.Second)
			require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
			borrowAt(t, c, k)
			b.list("abcd")
			d.list("abcd")
			time.Sleep(10 * time.Second)

			require.NoError(t, write.call(write.at.cache))
			for _, p := range w.procs {
				start := time.Now()
				v, _ := p.cache.Get(t.Context(), k, nil)
				require.NotEqual(t, "v1", v, "at %s", p.name)
				v, err := p.cache.Get(t.Context(), k, constant("v3"))
				require.NoError(t, err)
				require.Contains(t, []string{"v2", "v3"}, v)
				require.Less(t, time.Since(start), time.Second)
			}
		}
	})
}

// The list changes everywhere at once, but what the old owner has stored is
// still there for its own callers, and again when the key comes back to it.
func TestHazard08OwnerChanges(t *testing.T) {
	inRosters(t, 4, "abc", Options[string]{}, func(t *testing.T, w *world) {
		a, d := w.procs[0], w.procs[3]
		k := movingKey(a, d)
		require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
		for _, p := range w.procs {
			p.list("abcd")
		}
		synctest.Wait()
		require.NoError(t, d.cache.Put(t.Context(), k, "v2"))
		for _, p := range w.procs {
			v, err := p.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
			require.Equal(t, "v2", v, "at %s", p.name)
		}
		require.NoError(t, d.cache.Delete(t.Context(), k))
		for _, p := range w.procs {
			p.list("abc")
		}
		synctest.Wait()
		v, _ := a.cache.Get(t.Context(), k, nil)
		require.Empty(t, v)
	})
}

// A peer that starts is in its own list before it is in anybody else's: it stores keys that nobody
// knows it to own, and no write reaches it.
func TestHazard08OnlyItself(t *testing.T) {
	inRosters(t, 4, "abc", Options[string]{}, func(t *testing.T, w *world) {
		a, b, d := w.procs[0], w.procs[1], w.procs[3]
		d.list("abcd")
		time.Sleep(10 * time.Second)
		k := movingKey(a, d)
		require.NoError(t, d.cache.Put(t.Context(), k, "v1"))
		for _, write := range []func() error{
			func() error { return b.cache.Delete(t.Context(), k) },
			func() error { return a.cache.Put(t.Context(), k, "v2") },
			func() error { return b.cache.Clear(t.Context()) },
		} {
			v, err := d.cache.Get(t.Context(), k, constant("v1"))
			require.NoError(t, err)
			require.Equal(t, "v1", v)
			require.NoError(t, write())
			v, _ = d.cache.Get(t.Context(), k, nil)
			require.NotEqual(t, "v1", v)
			require.NoError(t, b.cache.Delete(t.Context(), k))
		}
	})
}

// The owner by the writer's ring says that the writer is it, which it is not by its own: nobody
// stores the value, since nothing would tell the writer of later ones once the two agree.
func TestHazard08NamedOwner(t *testing.T) {
	inRosters(t, 2, "ab", Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := movingKey(a, b)
		b.list("a")
		time.Sleep(10 * time.Second)
		require.Equal(t, b.url, a.group.Owner(k))
		require.Equal(t, a.url, b.group.Owner(k))
		require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		b.list("ab")
		time.Sleep(10 * time.Second)
		require.NoError(t, b.cache.Put(t.Context(), k, "new"))
		e, ok, err := a.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "new", e.Value)
	})
}

// A peer that only asks, goes by an old list and has a copy of a key that has got another owner
// since, to whom it has no link.
func TestHazard08CopyOfAFormerOwner(t *testing.T) {
	inRosters(t, 3, "a", Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		ring := newRing([]Member{{Name: a.url}, {Name: c.url}})
		k := ""
		for i := 0; k == "" || ring.members[ring.owner(ringHash(k))].Name != c.url; i++ {
			k = fmt.Sprint("key", i)
		}
		require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
		borrowAt(t, b, k)
		a.list("ac")
		c.list("ac")
		time.Sleep(10 * time.Second)
		require.NoError(t, c.cache.Delete(t.Context(), k))
		v, _ := b.cache.Get(t.Context(), k, nil)
		require.Empty(t, v)
	})
}

// A peer that is asked for a key that it no longer owns loads it for those who ask. A write does
// not reach it, so that those who ask after the write must not get what a load before it brings.
func TestHazard08LateToAFormerOwner(t *testing.T) {
	inRosters(t, 4, "abc", Options[string]{}, func(t *testing.T, w *world) {
		a, b, d := w.procs[0], w.procs[1], w.procs[3]
		k := movingKey(a, d)
		a.list("abcd")
		d.list("abcd")
		time.Sleep(10 * time.Second)
		var origin atomic.Value
		origin.Store("v1")
		load := func(context.Context, string) (string, error) {
			v := origin.Load().(string)
			time.Sleep(time.Second)
			return v, nil
		}
		early := make(chan struct{})
		go func() {
			defer close(early)
			_, err := w.procs[2].cache.Get(t.Context(), k, load)
			require.NoError(t, err)
		}()
		time.Sleep(100 * time.Millisecond)
		origin.Store("v2")
		require.NoError(t, d.cache.Delete(t.Context(), k))
		v, err := b.cache.Get(t.Context(), k, load)
		require.NoError(t, err)
		require.Equal(t, "v2", v)
		<-early
	})
}
