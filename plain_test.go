package covey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// A mesh stands before servers and refuses upgrades.
type mesh struct {
	open  atomic.Bool  // it lets them through after all
	posts atomic.Int64 // requests from peers
	http2 atomic.Int64 // of them
}

func (m *mesh) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" && !m.open.Load() {
			http.Error(w, "no upgrades here", http.StatusForbidden)
			return
		}
		if r.Method == http.MethodPost {
			m.posts.Add(1)
			if r.ProtoMajor == 2 {
				m.http2.Add(1)
			}
		}
		h.ServeHTTP(w, r)
	})
}

// inMesh is inWorld where no links are to be had.
func inMesh(t *testing.T, n int, o Options[string], f func(t *testing.T, w *world, m *mesh)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := new(mesh)
		w := &world{t: t, net: netsim.New(), o: o, wrap: m.wrap}
		for i := range n {
			r := make(roster, 1)
			r <- meshed(n)
			w.start(meshHost(i), r)
		}
		w.ready()
		defer w.close()
		f(t, w, m)
	})
}

func meshHost(i int) string { return fmt.Sprintf("127.0.0.%d", i+1) }

// meshed returns the first n members.
func meshed(n int) (list []Member) {
	for i := range n {
		list = append(list, Member{URL: "http://" + meshHost(i)})
	}
	return list
}

func TestPlainPeers(t *testing.T) {
	var loads atomic.Int64
	bad := errors.New("the database is down")
	loader := func(_ context.Context, key string) (string, error) {
		loads.Add(1)
		switch key {
		case "none":
			return "", ErrNotFound
		case "bad":
			return "", bad
		}
		return "loaded " + key, nil
	}
	inMesh(t, 3, Options[string]{Loader: loader}, func(t *testing.T, w *world, m *mesh) {
		ctx := t.Context()
		a, b := w.procs[0], w.procs[1]
		for _, p := range a.group.Peers() {
			require.Equal(t, !p.Self, p.Plain != nil)
			require.True(t, p.Self || p.Up)
		}
		k := a.key()
		for range 3 {
			for _, p := range w.procs {
				v, err := p.cache.Get(ctx, k, nil)
				require.NoError(t, err)
				require.Equal(t, "loaded "+k, v)
			}
		}
		require.EqualValues(t, 1, loads.Load())
		require.Zero(t, b.cache.Stats().L1Entries, "nothing is lent")

		require.NoError(t, b.cache.Put(ctx, k, "put", WithVersion(7), WithTTL(time.Hour)))
		for _, p := range w.procs {
			e, ok, err := p.cache.Lookup(ctx, k)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, "put", e.Value)
			require.EqualValues(t, 7, e.Version)
			require.InDelta(t, time.Hour, e.TTL, float64(7*time.Minute)) // jitter
		}
		require.ErrorIs(t, b.cache.Put(ctx, k, "older", WithVersion(6)), ErrOutdated)
		require.NoError(t, b.cache.Delete(ctx, k))
		for _, p := range w.procs {
			_, ok, err := p.cache.Lookup(ctx, k)
			require.NoError(t, err)
			require.False(t, ok)
		}
		for _, odd := range []string{"none", "bad"} {
			for _, p := range w.procs {
				_, err := p.cache.Get(ctx, odd, nil)
				if odd == "none" {
					require.ErrorIs(t, err, ErrNotFound)
				} else {
					require.ErrorContains(t, err, bad.Error())
				}
			}
		}

		long := strings.Repeat("x", 1<<20)
		require.NoError(t, b.cache.Put(ctx, k, long))
		v, err := w.procs[2].cache.Get(ctx, k, nil)
		require.NoError(t, err)
		require.True(t, long == v)

		var keys []string
		for _, p := range w.procs {
			keys = append(keys, p.keys(500)...)
		}
		items := make(map[string]string)
		for _, k := range keys {
			items[k] = "put " + k
		}
		before := m.posts.Load()
		require.NoError(t, b.cache.PutMany(ctx, items))
		require.Less(t, m.posts.Load()-before, int64(500), "they share requests")
		before = m.posts.Load()
		found, err := b.cache.GetMany(ctx, keys, nil)
		require.NoError(t, err)
		require.Equal(t, items, found)
		require.EqualValues(t, 2, m.posts.Load()-before, "one for each owner")

		require.NoError(t, b.cache.Clear(ctx))
		for _, p := range w.procs {
			require.Zero(t, p.cache.Stats().Entries)
		}
	})
}

// A loader that is passed to a call runs in the calling process, and what it returns is not stored
// by others.
func TestPlainPassedLoader(t *testing.T) {
	inMesh(t, 2, Options[string]{}, func(t *testing.T, w *world, _ *mesh) {
		ctx := t.Context()
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		v, err := b.cache.Get(ctx, k, constant("passed"))
		require.NoError(t, err)
		require.Equal(t, "passed", v)
		start := time.Now()
		_, err = b.cache.Get(ctx, k, nil)
		require.ErrorIs(t, err, ErrNoLoader)
		require.Less(t, time.Since(start), time.Second, "nobody waits for a right that cannot be used")
		calls := 0
		found, err := b.cache.GetMany(ctx, a.keys(10), func(_ context.Context, keys []string) (map[string]string, error) {
			calls++
			values := make(map[string]string)
			for _, k := range keys {
				values[k] = "passed"
			}
			return values, nil
		})
		require.NoError(t, err)
		require.Len(t, found, 10)
		require.Equal(t, 1, calls)
		require.Zero(t, a.cache.Stats().Entries+b.cache.Stats().Entries)
		_, err = a.cache.Get(ctx, k, constant("the owner's own"))
		require.NoError(t, err)
		v, err = b.cache.Get(ctx, k, constant("passed"))
		require.NoError(t, err)
		require.Equal(t, "the owner's own", v)
	})
}

// Many callers in three processes miss a key: it is loaded once, by the owner.
func TestPlainHerd(t *testing.T) {
	w := new(world)
	o := Options[string]{Loader: func(ctx context.Context, key string) (string, error) { return w.slow(10*time.Second)(ctx, key) }}
	inMesh(t, 3, o, func(t *testing.T, in *world, m *mesh) {
		k := in.procs[0].key()
		before := m.posts.Load()
		time.Sleep(10 * time.Second)
		idle := m.posts.Load() - before // what members say to each other while the load runs
		before = m.posts.Load()
		var wg sync.WaitGroup
		for _, p := range in.procs {
			for range 100 {
				wg.Go(func() {
					v, err := p.cache.Get(t.Context(), k, nil)
					require.NoError(t, err)
					require.Equal(t, "value of "+k, v)
				})
			}
		}
		wg.Wait()
		require.EqualValues(t, 1, w.loads.Load())
		require.Less(t, m.posts.Load()-before-idle, int64(150), "they share requests")
	})
}

// The same over HTTP/2, and through a middleware that keeps answers back until the last.
func TestPlainInServers(t *testing.T) {
	for name, s := range map[string]setup{
		"TLS":         {tls: true},
		"TLS, HTTP/2": {tls: true, http2: true},
		"base path":   {base: "/internal/cache"},
		"not unwrapped": {wrap: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&wrapper{w}, r) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits for loads on the real clock
			m := new(mesh)
			s.group.Secrets = [][]byte{testSecret}
			if inner := s.wrap; inner != nil {
				s.wrap = func(h http.Handler) http.Handler { return m.wrap(inner(h)) }
			} else {
				s.wrap = m.wrap
			}
			var loads atomic.Int64
			s.cache.Loader = func(_ context.Context, key string) (string, error) {
				loads.Add(1)
				time.Sleep(2 * silentAfter)
				return strings.Repeat(key, 20_000), nil
			}
			all := sites(t, 2, s)
			a, b := all[0], all[1]
			linksUp(t, all, 1)
			var keys []string
			for i := range 50 {
				keys = append(keys, fmt.Sprint("key", i))
			}
			for range 2 {
				for _, p := range all {
					found, err := p.c.GetMany(t.Context(), keys, nil)
					require.NoError(t, err)
					for _, k := range keys {
						require.True(t, found[k] == strings.Repeat(k, 20_000), k)
					}
				}
			}
			require.EqualValues(t, len(keys), loads.Load())
			for i, p := range all {
				k := "other"
				for p.g.Owner(k) != p.g.Name() {
					k += "+"
				}
				_, err := all[1-i].c.Get(t.Context(), k, nil)
				require.NoError(t, err)
			}
			require.EqualValues(t, len(keys)+2, loads.Load())
			require.NoError(t, b.c.Put(t.Context(), a.owned(), "v"))
			v, err := b.c.Get(t.Context(), a.owned(), nil)
			require.NoError(t, err)
			require.Equal(t, "v", v)
			if s.http2 {
				require.Equal(t, m.posts.Load(), m.http2.Load())
			} else {
				require.Zero(t, m.http2.Load())
			}
			require.Positive(t, m.posts.Load())
			b.logs(t, "its status is 403", "over plain HTTP", a.g.Name())
		})
	}
}

// The peers notice that they are there, and that one of them goes, also while nobody asks for
// anything.
func TestPlainMembers(t *testing.T) {
	inMesh(t, 3, Options[string]{}, func(t *testing.T, w *world, m *mesh) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		require.NoError(t, b.cache.Put(t.Context(), k, "v"))
		time.Sleep(time.Minute)
		e, ok, err := b.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.True(t, ok, "nobody thinks that he is alone")
		require.Zero(t, e.TTL)

		c.stop()
		time.Sleep(time.Second)
		require.Equal(t, 2, a.group.Stats().Members, "it has said that it leaves")
		c.opt.Discovery.(roster) <- meshed(3)
		c.run()
		time.Sleep(5 * time.Second)
		require.Equal(t, 3, a.group.Stats().Members, "it is back")
		require.Equal(t, 3, b.group.Stats().Members)

		c.crash()
		for i := range 20 {
			v, err := b.cache.Get(t.Context(), fmt.Sprint("another", i), constant("v"))
			require.NoError(t, err)
			require.Equal(t, "v", v)
		}
		time.Sleep(3 * time.Second)
		require.Equal(t, 2, b.group.Stats().Members)
		require.Equal(t, 2, a.group.Stats().Members)

		w.net.Pause(a.name)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		v, err := b.cache.Get(ctx, k, constant("loaded here"))
		require.NoError(t, err)
		require.Equal(t, "loaded here", v)
		require.Less(t, time.Since(start), 6*time.Second)
		require.ErrorIs(t, b.cache.Delete(ctx, k), ErrUnconfirmed)
		w.net.Resume(a.name)
		time.Sleep(10 * time.Second)
		require.Zero(t, b.group.Stats().Pursued)
		_, ok, err = b.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.False(t, ok, "the Delete has been made up for")

		m.open.Store(true)
		time.Sleep(2 * time.Minute)
		for _, p := range []*proc{a, b} {
			for _, q := range p.group.Peers() {
				require.NoError(t, q.Plain, "links are made as soon as they are to be had")
			}
		}
		require.NoError(t, b.cache.Put(t.Context(), k, "v2"))
		borrowAt(t, b, k)
	})
}

// The secret never leaves a process, whatever answers its requests.
func TestPlainKeepsTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(mesh)
		w := &world{t: t, net: netsim.New()}
		var seen atomic.Int64
		w.wrap = func(h http.Handler) http.Handler {
			return m.wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				request, err := httputil.DumpRequest(r, true)
				require.NoError(t, err)
				require.NotContains(t, string(request), string(testSecret))
				require.NotContains(t, string(request), "Bearer")
				seen.Add(1)
				h.ServeHTTP(rw, r)
			}))
		}
		for _, name := range []string{"a", "b"} {
			w.start(name, StaticPeers("http://a", "http://b"))
		}
		defer w.close()
		w.ready()
		k := w.procs[1].key()
		require.NoError(t, w.procs[0].cache.Put(t.Context(), k, "v"))
		v, err := w.procs[1].cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "v", v)
		require.Positive(t, seen.Load())
	})
}

// Each process loads for itself what the owner does not have loaded. Who asks after a Delete does
// not get what was being loaded before.
func TestPlainLoadsBeforeADelete(t *testing.T) {
	inMesh(t, 2, Options[string]{}, func(t *testing.T, w *world, _ *mesh) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		var row atomic.Pointer[string]
		load := func(context.Context, string) (string, error) {
			v := *row.Load()
			time.Sleep(100 * time.Millisecond)
			return v, nil
		}
		loadMany := func(ctx context.Context, keys []string) (map[string]string, error) {
			v, err := load(ctx, keys[0])
			return map[string]string{keys[0]: v}, err
		}
		for _, get := range []func() (string, error){
			func() (string, error) { return b.cache.Get(t.Context(), k, load) },
			func() (string, error) {
				found, err := b.cache.GetMany(t.Context(), []string{k}, loadMany)
				return found[k], err
			},
		} {
			before, after := "old", "new"
			row.Store(&before)
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = get() })
			time.Sleep(50 * time.Millisecond)
			row.Store(&after)
			require.NoError(t, a.cache.Delete(t.Context(), k))
			start := time.Now()
			v, err := get()
			require.NoError(t, err)
			require.Equal(t, "new", v)
			require.LessOrEqual(t, time.Since(start), 200*time.Millisecond)
			wg.Wait()
		}
	})
}

// Each of three members without links knows other ones, and what it says of their weights counts
// for nothing: they are one group, and what is acknowledged holds.
func TestPlainListsDiffer(t *testing.T) {
	inMesh(t, 3, Options[string]{}, func(t *testing.T, w *world, _ *mesh) {
		for i, p := range w.procs {
			list := meshed(3)
			list[(i+1)%3].Weight = 20
			p.opt.Discovery.(roster) <- append(list[:i:i], list[i+1:]...)[:1+i%2]
		}
		time.Sleep(5 * time.Second)
		for i := range 50 {
			k := fmt.Sprint("key", i)
			require.Equal(t, w.procs[0].group.Owner(k), w.procs[1].group.Owner(k))
			require.Equal(t, w.procs[0].group.Owner(k), w.procs[2].group.Owner(k))
			writer, other := w.procs[i%3], w.procs[(i+1)%3]
			require.NoError(t, writer.cache.Put(t.Context(), k, "v1"))
			for _, p := range w.procs {
				_, err := p.cache.Get(t.Context(), k, constant("v1"))
				require.NoError(t, err)
			}
			require.NoError(t, other.cache.Delete(t.Context(), k))
			for _, p := range w.procs {
				e, ok, err := p.cache.Lookup(t.Context(), k)
				require.NoError(t, err)
				require.False(t, ok, "%+v", e)
			}
		}
		for _, p := range w.procs {
			require.Equal(t, 3, p.group.Stats().Members)
			require.True(t, p.group.Stats().Acting)
		}
	})
}
