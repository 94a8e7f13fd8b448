package covey

// peer_alone_test.go is about keys whose owner does not share the cache.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// openAs makes p's cache under a name and with a version.
func (p *proc) openAs(t *testing.T, name, version string) {
	t.Helper()
	o := p.w.o
	o.Group, o.Version = p.group, version
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	p.cache, err = New(name, o)
	require.NoError(t, err)
}

// inUnshared runs a test where the first of three processes does not share a cache with the others:
// it has none, or one of another kind.
func inUnshared(t *testing.T, o Options[string], f func(t *testing.T, w *world)) {
	for name, open := range map[string]func(t *testing.T, owner *proc){
		"there is none":   func(*testing.T, *proc) {},
		"another version": func(t *testing.T, owner *proc) { owner.openAs(t, "test", "2") },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 3, o, func(t *testing.T, w *world) {
				require.NoError(t, w.procs[0].cache.Close())
				open(t, w.procs[0])
				time.Sleep(time.Millisecond)
				f(t, w)
			})
		})
	}
}

// What an owner has that does not share the cache, the others load once each, and keep until a
// write, which is confirmed by all.
func TestOwnerWithoutTheCache(t *testing.T) {
	inUnshared(t, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		ctx, s := t.Context(), newSource()
		k := a.key()
		get := func(p *proc) string {
			v, err := p.cache.Get(ctx, k, s.loader(p))
			require.NoError(t, err)
			return v
		}
		loads := func(atB, atC int, msg string) {
			t.Helper()
			time.Sleep(time.Millisecond) // what was asked for when the key was recalled is not kept
			for range 3 {
				v := fmt.Sprint(s.has[k])
				require.Equal(t, v, get(b), msg)
				require.Equal(t, v, get(c), msg)
			}
			require.Equal(t, atB, s.loaded(b), msg)
			require.Equal(t, atC, s.loaded(c), msg)
		}
		_, ok, err := b.cache.Lookup(ctx, k)
		require.NoError(t, err)
		require.False(t, ok)
		_, err = b.cache.Get(ctx, k, nil)
		require.ErrorIs(t, err, ErrNoLoader)
		var peer *PeerError
		require.True(t, errors.As(err, &peer))
		require.Equal(t, PeerHasNoCache, peer.Code)

		loads(1, 1, "each once")
		e, ok, err := b.cache.Lookup(ctx, k)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, SourceL1, e.Source)
		time.Sleep(aloneFor + time.Millisecond)
		loads(1, 1, "when the time is over")
		for _, p := range []*proc{b, c} {
			put := s.write(k)
			require.NoError(t, p.cache.Put(ctx, k, put))
			loads(1, 1, "after a Put")
			require.NoError(t, p.cache.PutNotFound(ctx, k))
			loads(1, 1, "after a PutNotFound")
			s.write(k)
			require.NoError(t, p.cache.Delete(ctx, k))
			loads(1, 1, "after a Delete")
			s.write(k)
			require.NoError(t, p.cache.Expire(ctx, k))
			loads(1, 1, "after an Expire")
			s.write(k)
			require.NoError(t, p.cache.Clear(ctx))
			loads(1, 1, "after a Clear")
			require.NoError(t, p.cache.Put(ctx, k, s.write(k), WithVersion(uint64(s.has[k]))))
			loads(1, 1, "after a Put with a version")
			s.write(k)
			require.NoError(t, p.cache.DeleteMany(ctx, []string{k, b.key()}))
			loads(1, 1, "after a DeleteMany")
			require.NoError(t, p.cache.PutMany(ctx, map[string]string{k: s.write(k), c.key(): "v"}))
			loads(1, 1, "after a PutMany")
		}
		if a.cache.closed.Load() { // what it has under another name is another cache
			a.openAs(t, "other", "")
			loads(0, 0, "it makes no difference")
			return
		}
		for range 3 {
			s.write(k)
			require.NoError(t, a.cache.Delete(ctx, k))
			loads(1, 1, "after a Delete by the owner, of values of another kind")
			require.NoError(t, a.cache.Put(ctx, k, s.write(k)))
			loads(1, 1, "after a Put by the owner")
			require.Equal(t, fmt.Sprint(s.has[k]), get(a))
			require.Zero(t, s.loaded(a))
			s.write(k)
			require.NoError(t, b.cache.Put(ctx, k, "other"))
			require.Equal(t, fmt.Sprint(s.has[k]), get(a))
			require.Equal(t, 1, s.loaded(a), "what the owner had is gone")
		}
	})
}

// A process loads such a key once for all who ask at the same time, by Get or GetMany.
func TestAloneTogether(t *testing.T) {
	inUnshared(t, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		ctx, s := t.Context(), newSource()
		s.takes = 50 * time.Millisecond
		keys := append(a.keys(5), append(b.keys(2), c.keys(2)...)...)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { _, _ = c.cache.Get(ctx, keys[0], s.loader(c)) })
			time.Sleep(time.Microsecond)
		}
		wg.Wait()
		require.Equal(t, 1, s.loaded(c))
		require.EqualValues(t, 1, c.cache.Stats().Alone, "the owner is asked once")
		time.Sleep(aloneFor)
		for i := range 100 {
			wg.Go(func() {
				if i%2 == 0 {
					v, err := b.cache.Get(ctx, keys[0], s.loader(b))
					require.NoError(t, err)
					require.Equal(t, "0", v)
					return
				}
				all, err := b.cache.GetMany(ctx, keys, s.bulk(b))
				require.NoError(t, err)
				require.Len(t, all, len(keys))
			})
		}
		wg.Wait()
		require.Equal(t, len(keys), s.loaded(b))
		all, err := b.cache.GetMany(ctx, keys, s.bulk(b))
		require.NoError(t, err)
		require.Len(t, all, len(keys))
		require.Zero(t, s.loaded(b))
		all, err = c.cache.GetMany(ctx, keys, s.bulk(c))
		require.NoError(t, err)
		require.Len(t, all, len(keys))
		require.Equal(t, 5, s.loaded(c), "what the others own is shared")
		all, err = b.cache.GetMany(ctx, a.keys(6), nil)
		require.ErrorIs(t, err, ErrNoLoader)
		require.Len(t, all, 5)
		stats := b.cache.Stats()
		require.NotZero(t, stats.Alone)
		require.NotZero(t, stats.L1Hits)
		require.Zero(t, stats.Unconfirmed+stats.PeerErrors)
	})
}

// What is kept has a bound, also without copies.
func TestAloneWithoutL1(t *testing.T) {
	inUnshared(t, Options[string]{MaxBytes: 1 << 20, L1: -1}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		s := newSource()
		keys := a.keys(200)
		for i, k := range keys {
			for range 2 {
				_, err := b.cache.Get(t.Context(), k, s.loader(b))
				require.NoError(t, err)
			}
			require.Equal(t, i+1, s.loadedSoFar(b))
		}
		for _, k := range keys {
			_, err := b.cache.Get(t.Context(), k, constant(strings.Repeat("x", 2<<10)))
			require.NoError(t, err)
			require.NoError(t, b.cache.Delete(t.Context(), k))
			time.Sleep(time.Millisecond)
			_, err = b.cache.Get(t.Context(), k, constant(strings.Repeat("x", 2<<10)))
			require.NoError(t, err)
		}
		stats := b.cache.Stats()
		require.LessOrEqual(t, stats.L1Bytes, int64(1<<20/16))
		require.Greater(t, stats.L1Bytes, int64(1<<20/32))
		require.NoError(t, b.cache.SetMaxBytes(1<<19))
		require.LessOrEqual(t, b.cache.Stats().L1Bytes, int64(1<<19/16))
	})
}

// Nobody who comes after a write gets what a load has brought that began before, nor is that kept.
func TestWriteVoidsLoadAlone(t *testing.T) {
	writes := map[string]func(*Cache[string], string) error{
		"delete": func(c *Cache[string], k string) error { return c.Delete(context.Background(), k) },
		"put":    func(c *Cache[string], k string) error { return c.Put(context.Background(), k, "1") },
		"clear":  func(c *Cache[string], _ string) error { return c.Clear(context.Background()) },
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) {
			inUnshared(t, Options[string]{}, func(t *testing.T, w *world) {
				a, b, c := w.procs[0], w.procs[1], w.procs[2]
				s := newSource()
				s.takes = 100 * time.Millisecond
				k := a.key()
				var wg sync.WaitGroup
				get := func(want string) {
					wg.Go(func() {
						v, err := b.cache.Get(t.Context(), k, s.loader(b))
						require.NoError(t, err)
						require.Equal(t, want, v)
					})
				}
				get("0")
				time.Sleep(50 * time.Millisecond)
				get("0")
				time.Sleep(time.Millisecond)
				s.write(k)
				start := time.Now()
				require.NoError(t, write(c.cache, k))
				require.Less(t, time.Since(start), 10*time.Millisecond, "it waits for no load")
				time.Sleep(time.Millisecond)
				get("1")
				time.Sleep(20 * time.Millisecond)
				get("1")
				time.Sleep(40 * time.Millisecond) // the first load has ended
				get("1")
				wg.Wait()
				get("1")
				wg.Wait()
				require.Equal(t, 2, s.loaded(b))
			})
		})
	}
}

// granted has p ask the owner of a key, who grants that p keeps what it loads, and returns what is to
// happen next at p.
func (s *source) granted(t *testing.T, p *proc, key string) (load func() (verdict, error)) {
	t.Helper()
	c, v := p.cache, p.cache.peering.tenures.view()
	q := request[string]{ctx: t.Context(), key: key, hash: c.store.hash(key), load: s.loader(p), gen: c.store.gen.Load()}
	l, err := c.peering.linkTo(t.Context(), v.peers[v.owner(key)])
	require.NoError(t, err)
	asked := c.store.clock.now()
	answer, err := l.Call(t.Context(), &wire.Frame{Type: wire.Get, Flags: wire.CanLoad, Cache: c.peering.id, Key: key})
	require.NoError(t, err)
	require.NotNil(t, grantOf(l, &answer, asked))
	time.Sleep(time.Millisecond)
	return func() (verdict, error) {
		_, how, err := c.peering.loadAlone(q, l, &answer, asked)
		return how, err
	}
}

// Between the owner's word and the load a write may come.
func TestWriteOvertakesGrant(t *testing.T) {
	inUnshared(t, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		s := newSource()
		for _, write := range []func(k string) error{
			func(k string) error { return c.cache.Delete(t.Context(), k) },
			func(string) error { return c.cache.Clear(t.Context()) },
		} {
			k := a.key()
			load := s.granted(t, b, k)
			require.NoError(t, write(k))
			how, err := load()
			require.Contains(t, []verdict{elsewhere, unshared}, how)
			require.Error(t, err)
			require.Zero(t, s.loaded(b), "what came of that would not be recalled any more")
		}
	})
}

// So may the end of the owner's cache.
func TestRecallOfAllOvertakesGrant(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		s := newSource()
		k := a.key()
		require.NoError(t, a.cache.Close())
		a.openAs(t, "test", "2")
		load := s.granted(t, b, k)
		require.NoError(t, a.cache.Close())
		how, err := load()
		require.Equal(t, unshared, how)
		require.Error(t, err)
		require.NoError(t, c.cache.Delete(t.Context(), k))
	})
}

// An owner that does not act grants nothing.
func TestNoGrantWithoutPromises(t *testing.T) {
	inUnshared(t, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		s := newSource()
		k := a.key()
		a.group.agreement.Retire()
		for range 3 {
			v, err := b.cache.Get(t.Context(), k, s.loader(b))
			require.NoError(t, err)
			require.Equal(t, "0", v)
		}
		require.Equal(t, 3, s.loaded(b))
	})
}

// A write waits for the lease of a process that does not say that it has dropped what it keeps.
func TestWriteOutwaitsWhoKeeps(t *testing.T) {
	inUnshared(t, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		ctx, s := t.Context(), newSource()
		k := a.key()
		_, err := b.cache.Get(ctx, k, s.loader(b))
		require.NoError(t, err)
		w.net.Pause("b")
		s.write(k)
		start := time.Now()
		require.NoError(t, c.cache.Delete(ctx, k))
		require.Greater(t, time.Since(start), time.Second)
		v, err := b.cache.Get(ctx, k, s.loader(b))
		require.NoError(t, err)
		require.Equal(t, "1", v)
		w.net.Resume("b")
		w.ready()
	})
}

// A load that goes on when its grant is over, or the lease, is joined by nobody, and not kept.
func TestGrantEnds(t *testing.T) {
	inUnshared(t, Options[string]{LoadTimeout: time.Minute}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		s := newSource()
		k := a.key()
		for name, until := range map[string]time.Duration{"lease": 2500 * time.Millisecond, "grant": aloneFor} {
			time.Sleep(aloneFor)
			s.take(15 * time.Second)
			ended := make(chan string, 1)
			go func() {
				v, _ := b.cache.Get(t.Context(), k, s.loader(b))
				ended <- v
			}()
			time.Sleep(time.Second)
			if name == "lease" {
				w.net.Partition("a", "b")
			}
			time.Sleep(until)
			s.take(0)
			s.write(k)
			v, err := b.cache.Get(t.Context(), k, s.loader(b))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(s.has[k]), v, name)
			w.net.Heal("a", "b")
			time.Sleep(aloneFor + time.Second) // what was kept then is over
			require.NotEqual(t, v, <-ended)
			_, ok, err := b.cache.Lookup(t.Context(), k)
			require.NoError(t, err)
			require.False(t, ok)
		}
	})
}

// While a write waits, nothing is granted: what is loaded then would be from before it.
func TestNoGrantDuringAWrite(t *testing.T) {
	inUnshared(t, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		s := newSource()
		k := a.key()
		_, err := c.cache.Get(t.Context(), k, s.loader(c))
		require.NoError(t, err)
		w.net.Pause("c")
		deleted := make(chan error, 1)
		go func() { deleted <- b.cache.Delete(t.Context(), k) }()
		time.Sleep(time.Second)
		for range 2 {
			v, err := b.cache.Get(t.Context(), k, s.loader(b))
			require.NoError(t, err)
			require.Equal(t, "0", v)
		}
		require.Equal(t, 2, s.loaded(b), "it is not kept")
		s.write(k)
		require.NoError(t, <-deleted)
		v, err := b.cache.Get(t.Context(), k, s.loader(b))
		require.NoError(t, err)
		require.Equal(t, "1", v)
		w.net.Resume("c")
		w.ready()
	})
}

// Who has another kind of values may not know it yet.
func TestCodecOfARequest(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Close())
		a.openAs(t, "test", "2")
		require.NoError(t, a.cache.Put(t.Context(), k, "of version 2"))
		p := b.cache.peering
		v := p.tenures.view()
		l, err := p.linkTo(t.Context(), v.peers[v.owner(k)])
		require.NoError(t, err)
		ask := func(f wire.Frame) wire.Type {
			f.Cache, f.Key = p.id, k
			answer, err := l.Call(t.Context(), &f)
			require.NoError(t, err)
			return answer.Type
		}
		require.Equal(t, wire.Alone, ask(wire.Frame{Type: wire.Get}))
		require.Equal(t, wire.Done, ask(wire.Frame{Type: wire.Lookup}))
		require.Equal(t, wire.Alone, ask(wire.Frame{Type: wire.Reload}))
		require.Equal(t, wire.Done, ask(wire.Frame{Type: wire.Fill, Token: 1, Result: wire.Hit, Value: []byte("x")}))
		got, err := a.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "of version 2", got)
		require.Equal(t, wire.Done, ask(wire.Frame{Type: wire.Put, Value: []byte("of no version")}))
		_, ok, err := a.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.False(t, ok)
	})
}

// Refresh loads anew, and what the others keep goes.
func TestRefreshAlone(t *testing.T) {
	s := newSource()
	o := Options[string]{Loader: func(ctx context.Context, key string) (string, error) { return s.loader(&proc{name: "any"})(ctx, key) }}
	inUnshared(t, o, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		for _, p := range []*proc{b, c} {
			_, err := p.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
		}
		now := s.write(k)
		v, err := b.cache.Refresh(t.Context(), k)
		require.NoError(t, err)
		require.Equal(t, now, v)
		for _, p := range []*proc{b, c} {
			v, err := p.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
			require.Equal(t, now, v)
		}
	})
}

// Who does not share the cache is logged once; who is about to get it is not.
func TestUnsharedIsLoggedOnce(t *testing.T) {
	var log logbook
	inWorld(t, 3, Options[string]{Logger: log.logger()}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		s := newSource()
		lines := func(says string) int { return strings.Count(log.String(), says) }
		ask := func() {
			for _, k := range a.keys(3) {
				_, err := b.cache.Get(t.Context(), k, s.loader(b))
				require.NoError(t, err)
			}
			time.Sleep(aloneFor)
		}
		require.NoError(t, a.cache.Close())
		ask()
		require.Zero(t, lines("does not share"))
		time.Sleep(strangePatience)
		ask()
		ask()
		require.Equal(t, 1, lines(`msg="covey: a member does not share this cache; each process loads for itself what that one owns" cache=test peer=http://a/_covey/ keptFor=10s err="covey: peer http://a/_covey/: it has no cache`), "%s", &log)
		a.openAs(t, "test", "2")
		ask()
		ask()
		require.Equal(t, 2, lines("does not share"))
		require.Equal(t, 1, lines("codec string@2 there, string here"))
	})
}

// Over plain HTTP nothing can be taken back, so nothing is kept; writes are confirmed all the same.
func TestAlonePlain(t *testing.T) {
	inMesh(t, 3, Options[string]{}, func(t *testing.T, w *world, _ *mesh) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		ctx, s := t.Context(), newSource()
		require.NoError(t, a.cache.Close())
		k := a.key()
		have := []*proc{b, c}
		for i := range 4 {
			if i == 2 {
				a.openAs(t, "test", "2")
				have = w.procs
			}
			s.write(k)
			require.NoError(t, c.cache.Delete(ctx, k))
			require.NoError(t, c.cache.Put(ctx, k, "x"))
			for _, p := range have {
				v, err := p.cache.Get(ctx, k, s.loader(p))
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(s.has[k]), v)
				all, err := p.cache.GetMany(ctx, []string{k}, s.bulk(p))
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(s.has[k]), all[k])
			}
			_, ok, err := b.cache.Lookup(ctx, k)
			require.NoError(t, err)
			require.False(t, ok)
		}
	})
}
