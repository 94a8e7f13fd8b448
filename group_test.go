package covey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// A world is a group of processes on a network in memory, to be used inside a synctest bubble.
type world struct {
	t     *testing.T
	net   *netsim.Network
	procs []*proc
	o     Options[string]                 // of every cache
	loads atomic.Int64                    // by the loaders of all processes
	wrap  func(http.Handler) http.Handler // around every process's server
}

// A proc is one process.
type proc struct {
	w     *world
	name  string
	url   string
	group *Group
	cache *Cache[string]
	srv   *http.Server
	opt   GroupOptions
}

var testSecret = []byte("a secret of at least 16 bytes")

// newWorld starts n processes, a, b, …, that know of each other, and waits until they are a group.
func newWorld(t *testing.T, n int, o Options[string]) *world {
	w := &world{t: t, net: netsim.New(), o: o}
	var urls []string
	for i := range n {
		urls = append(urls, "http://"+string(rune('a'+i)))
	}
	for i := range n {
		w.start(string(rune('a'+i)), StaticPeers(urls...))
	}
	w.ready()
	return w
}

// start starts a process.
func (w *world) start(name string, d Discovery) *proc {
	p := &proc{w: w, name: name, url: "http://" + name + DefaultPath}
	p.opt = GroupOptions{
		Self: "http://" + name, Discovery: d, Secrets: [][]byte{testSecret},
		Dial: w.net.Dialer(name), Logger: w.o.Logger,
	}
	if p.opt.Logger == nil {
		p.opt.Logger = slog.New(slog.DiscardHandler)
	}
	p.run()
	w.procs = append(w.procs, p)
	return p
}

// run is start, and start again after stop.
func (p *proc) run() {
	t := p.w.t
	l, err := p.w.net.Listen(p.name + ":80")
	require.NoError(t, err)
	p.group, err = NewGroup(p.opt)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(p.group.Path(), p.group)
	p.srv = &http.Server{Handler: mux}
	if p.w.wrap != nil {
		p.srv.Handler = p.w.wrap(mux)
	}
	go func() { _ = p.srv.Serve(l) }()
	o := p.w.o
	o.Group = p.group
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p.cache, err = New("test", o)
	require.NoError(t, err)
}

// ready waits until all are members of one group.
func (w *world) ready() {
	w.t.Helper()
	time.Sleep(10 * time.Second) // reconnecting backs off
	synctest.Wait()
	for _, p := range w.procs {
		require.NoError(w.t, p.group.Ready(w.t.Context()))
		require.Len(w.t, p.group.view.Load().ring.members, len(w.procs), "members as %s sees them", p.name)
		require.Empty(w.t, p.group.strangers())
	}
}

// crash ends a process as a kill does: its connections break, its port is closed, nobody is told.
func (p *proc) crash() {
	_ = p.srv.Close()
	p.group.node.Close()
	for _, q := range p.w.procs {
		if q != p {
			p.w.net.Reset(p.name, q.name)
		}
	}
	p.stop()
}

func (p *proc) stop() {
	_ = p.group.Shutdown(p.w.t.Context())
	_ = p.srv.Close()
}

func (w *world) close() {
	for _, p := range w.procs {
		p.stop()
	}
	time.Sleep(time.Second) // the network may have a delay
	synctest.Wait()
	require.Zero(w.t, w.net.Conns(), "open connections")
}

// key returns a key that a process owns.
func (p *proc) key() string { return p.keys(1)[0] }

func (p *proc) keys(n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if k := fmt.Sprint("key", i); p.group.Owner(k) == p.url {
			keys = append(keys, k)
		}
	}
	return keys
}

// inWorld runs a test with a group in a bubble.
func inWorld(t *testing.T, n int, o Options[string], f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, n, o)
		defer w.close()
		f(t, w)
	})
}

// A roster is a discovery for which the test speaks.
type roster chan []Member

func (r roster) Watch(ctx context.Context, update func([]Member)) error {
	for {
		select {
		case list := <-r:
			update(list)
		case <-ctx.Done():
			return nil
		}
	}
}

// list gives the process another list of members, of a letter each.
func (p *proc) list(names string) {
	p.opt.Discovery.(roster) <- members(names)
}

func members(names string) (list []Member) {
	for _, name := range names {
		list = append(list, Member{URL: "http://" + string(name)})
	}
	return list
}

// inRosters is inWorld where the list of each process can be changed, and begins as given.
func inRosters(t *testing.T, n int, names string, o Options[string], f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New(), o: o}
		for i := range n {
			r := make(roster, 1)
			r <- members(names)
			w.start(string(rune('a'+i)), r)
		}
		time.Sleep(10 * time.Second)
		defer w.close()
		f(t, w)
	})
}

// movingKey returns a key that is owned by from in the ring of all processes but to, and by to in the ring of all.
func movingKey(from, to *proc) string {
	var all, without []Member
	for _, p := range from.w.procs {
		all = append(all, Member{Name: p.url})
		if p != to {
			without = append(without, Member{Name: p.url})
		}
	}
	before, after := newRing(without), newRing(all)
	for i := 0; ; i++ {
		k := fmt.Sprint("key", i)
		if before.members[before.owner(ringHash(k))].Name == from.url && after.members[after.owner(ringHash(k))].Name == to.url {
			return k
		}
	}
}

// slow returns a loader that takes a while and counts.
func (w *world) slow(d time.Duration) Loader[string] {
	return func(ctx context.Context, key string) (string, error) {
		w.loads.Add(1)
		select {
		case <-time.After(d):
			return "value of " + key, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

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

// A silent owner is no reason to fail, nor to wait for long; nothing is stored elsewhere meanwhile.
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
		for range 20 {
			for _, p := range []*proc{a, c} {
				start := time.Now()
				v, err := p.cache.Get(t.Context(), k, nil)
				require.NoError(t, err)
				require.Equal(t, "value of "+k, v)
				require.Less(t, time.Since(start), 3*time.Second)
			}
			time.Sleep(time.Second)
		}
		require.Zero(t, a.cache.Stats().Entries+c.cache.Stats().Entries)
		require.Len(t, a.group.view.Load().ring.members, 3, "silence is not death")

		start := time.Now()
		err = a.cache.Delete(t.Context(), k)
		require.ErrorIs(t, err, ErrUnconfirmed)
		var peer *PeerError
		require.ErrorAs(t, err, &peer)
		require.Equal(t, b.url, peer.Peer)
		require.Less(t, time.Since(start), 6*time.Second)
		require.Equal(t, 1, a.group.Stats().Pursued)
		w.net.Resume("b")
		time.Sleep(20 * time.Second)
		require.Zero(t, a.group.Stats().Pursued, "the write has been made good")
		before := w.loads.Load()
		_, err = a.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, before+1, w.loads.Load(), "the value was dropped")
	})
}

// A slow callback holds up nobody but the request that it is called for: it does not run where a link is read.
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
			"a peer that goes by another ring": func() error {
				l, err := b.group.peers[a.group.Name()].Link(ctx)
				if err == nil {
					_, err = l.Call(ctx, &wire.Frame{Type: wire.Confirm, Cache: b.cache.id, Key: k})
				}
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
