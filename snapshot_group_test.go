package covey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A versioned origin has one value and version for each key, and counts the loads.
type versionedOrigin struct {
	mu       sync.Mutex
	versions map[string]uint64 // 0: deleted
	down     bool
	full     int // loads that had to fetch the value
	same     int // those that had not
}

func (o *versionedOrigin) load(ctx context.Context, key string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v, ok := o.versions[key]
	if !ok {
		v = 1
	}
	switch {
	case o.down:
		return "", errors.New("down")
	case v == 0:
		return "", ErrNotFound
	}
	info := LoadInfo(ctx)
	info.SetVersion(v)
	if known, ok := info.StaleVersion(); ok && known == v {
		o.same++
		return "", ErrUnchanged
	}
	o.full++
	return fmt.Sprint(key, " version ", v), nil
}

func (o *versionedOrigin) set(key string, version uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.versions[key] = version
}

func (o *versionedOrigin) counts() (full, same int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	full, same = o.full, o.same
	o.full, o.same = 0, 0
	return full, same
}

// A process that comes back is asked for nothing that it had, but knows it where it has to load:
// what was written while it was down, or after it, is not found, nor what a Clear has removed.
func TestSnapshotInGroupIsUnverified(t *testing.T) {
	const n = 300
	for _, crash := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			origin := &versionedOrigin{versions: make(map[string]uint64)}
			dir := t.TempDir()
			o := Options[string]{Loader: origin.load, StaleIfError: time.Hour, TTL: time.Hour, NegativeTTL: -1, Logger: slog.New(slog.DiscardHandler)}
			of := func(name string) Options[string] {
				o := o
				o.Snapshot = Snapshot{Path: filepath.Join(dir, name), Interval: time.Minute}
				return o
			}
			w := &world{t: t, net: newWorld(t, 0, o).net, o: o}
			for _, name := range []string{"a", "b"} {
				w.o = of(name)
				w.start(name, StaticPeers("http://a", "http://b"))
			}
			w.ready()
			defer w.close()
			a, b := w.procs[0], w.procs[1]
			get := func(p *proc, key string) string {
				v, err := p.cache.Get(t.Context(), key, nil)
				if errors.Is(err, ErrNotFound) {
					return ""
				}
				require.NoError(t, err)
				return v
			}
			keys := make([]string, n)
			for i := range keys {
				keys[i] = fmt.Sprint("key", i)
				get(a, keys[i])
			}
			origin.counts()
			time.Sleep(2 * time.Minute) // everybody has written a file

			// Both restart, so that nobody has anything. Meanwhile the origin changes.
			for _, p := range w.procs {
				if crash {
					p.crash()
				} else {
					p.stop()
				}
			}
			for i, key := range keys {
				switch i % 5 {
				case 0:
					origin.set(key, 2)
				case 1:
					origin.set(key, 0)
				}
			}
			time.Sleep(time.Minute)
			for _, p := range w.procs {
				w.o = of(p.name)
				p.run()
			}
			w.ready()
			aside := a.cache.Stats().Snapshot.Aside + b.cache.Stats().Snapshot.Aside
			require.GreaterOrEqual(t, aside, int64(n), "who was the last to end has got more")
			require.Zero(t, a.cache.Len()+b.cache.Len())
			for _, key := range keys {
				_, ok, err := a.cache.Lookup(t.Context(), key)
				require.NoError(t, err)
				require.False(t, ok, "nobody has confirmed it")
			}
			origin.mu.Lock()
			origin.down = true
			origin.mu.Unlock()
			_, err := a.cache.Get(t.Context(), keys[2], nil)
			require.ErrorContains(t, err, "down", "nor is it a stale value")
			time.Sleep(2 * time.Second)
			origin.mu.Lock()
			origin.down = false
			origin.mu.Unlock()

			// Writes and deletes after the restart end what was kept.
			require.NoError(t, a.cache.Put(t.Context(), keys[3], "put", WithTTL(time.Minute)))
			require.NoError(t, b.cache.Delete(t.Context(), keys[4]))
			require.LessOrEqual(t, a.cache.Stats().Snapshot.Aside+b.cache.Stats().Snapshot.Aside, aside-2)
			for i, key := range keys[:200] {
				want := key + " version 1"
				switch {
				case i == 3:
					want = "put"
				case i%5 == 0:
					want = key + " version 2"
				case i%5 == 1:
					want = ""
				}
				require.Equal(t, want, get(b, key), key)
			}
			full, same := origin.counts()
			require.Equal(t, 40+1, full, "what has changed, and what was deleted here")
			require.Equal(t, 200-40-40-2, same)
			require.LessOrEqual(t, a.cache.Stats().Snapshot.Aside+b.cache.Stats().Snapshot.Aside, aside-200)

			// What nobody has asked for is in the next file, too.
			if !crash {
				for _, p := range w.procs {
					p.stop()
				}
				for _, p := range w.procs {
					w.o = of(p.name)
					p.run()
				}
				w.ready()
				for _, key := range keys[200:] {
					get(a, key)
				}
				full, same = origin.counts()
				require.Equal(t, 20, full)
				require.Equal(t, 60, same)
			}
			require.NoError(t, a.cache.Clear(t.Context()))
			require.Zero(t, a.cache.Stats().Snapshot.Aside+b.cache.Stats().Snapshot.Aside)
			require.NoError(t, a.cache.Put(t.Context(), keys[2], "new"))
			require.Equal(t, "new", get(b, keys[2]))
		})
	}
}

// Loads of many keys at once are conditional ones after a restart, too.
func TestSnapshotInGroupBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := &versionedOrigin{versions: make(map[string]uint64)}
		o := Options[string]{TTL: time.Hour, Logger: slog.New(slog.DiscardHandler), Snapshot: Snapshot{Path: filepath.Join(t.TempDir(), "a")}}
		var old, asked int
		o.BulkLoader = func(ctx context.Context, keys []string) (map[string]string, error) {
			found := make(map[string]string)
			for _, key := range keys {
				asked++
				if _, ok := LoadInfo(ctx).For(key).StaleVersion(); ok {
					old++
				}
				found[key], _ = origin.load(ctx, key)
			}
			return found, nil
		}
		w := newWorld(t, 1, o)
		defer w.close()
		a := w.procs[0]
		keys := []string{"x", "y", "z"}
		_, err := a.cache.GetMany(t.Context(), keys, nil)
		require.NoError(t, err)
		require.Equal(t, []int{0, 3}, []int{old, asked})
		a.stop()
		a.run()
		w.ready()
		_, err = a.cache.GetMany(t.Context(), keys, nil)
		require.NoError(t, err)
		require.Equal(t, []int{3, 6}, []int{old, asked})
	})
}

// What is kept aside counts towards the bounds, and is the first to leave.
func TestSnapshotAsideWithinBounds(t *testing.T) {
	for _, o := range []Options[string]{{MaxBytes: 1 << 20}, {MaxEntries: 1000}} {
		c := newCache(t, o)
		size := 0
		for i := 0; ; i++ {
			key := fmt.Sprint("aside", i)
			e := c.makeEntry(key, c.store.hash(key), 100, strings.Repeat("v", 100), 0, 0)
			if !c.store.fits(int64(e.size)) {
				break
			}
			c.aside.add(e)
			c.aside.add(e)
			size = i + 1
		}
		require.Greater(t, size, 500)
		for i := range size / 2 {
			require.NoError(t, c.Put(t.Context(), fmt.Sprint("key", i), strings.Repeat("v", 100)))
			c.store.mu.Lock()
			require.False(t, c.store.over())
			c.store.mu.Unlock()
		}
		require.Zero(t, c.Stats().Evictions)
		require.InEpsilon(t, size/2, c.store.asides.Load(), 0.02)
		require.NotNil(t, c.aside.find("aside0"))
		require.Nil(t, c.aside.find(fmt.Sprint("aside", size-1)))
		for i := range size {
			require.NoError(t, c.Put(t.Context(), fmt.Sprint("more", i), strings.Repeat("v", 100)))
		}
		require.Zero(t, c.store.asides.Load())
		require.Zero(t, c.store.aside.Load())
		require.Positive(t, c.Stats().Evictions)
		require.False(t, c.aside.evict())
	}
}

// All that is kept aside may be found, dropped, evicted and cleared at once.
func TestSnapshotAsideConcurrently(t *testing.T) {
	c := newCache(t, Options[string]{})
	var wg sync.WaitGroup
	var added atomic.Int64
	for g := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				key := fmt.Sprint(i % 300)
				switch (i*7 + g) % 5 {
				case 0, 1:
					c.aside.add(c.makeEntry(key, c.store.hash(key), 1, "v", 0, 0))
					added.Add(1)
				case 2:
					if n := c.aside.find(key); n != nil && n.key != key {
						t.Error("another key's")
					}
					c.aside.drop(key)
				case 3:
					c.aside.evict()
				case 4:
					for i, more := 0, true; more; more = i > 0 {
						_, i = c.aside.some(i)
					}
					if i%100 == 0 {
						c.aside.clear()
					}
				}
			}
		})
	}
	wg.Wait()
	c.aside.clear()
	require.Zero(t, c.store.asides.Load())
	require.Zero(t, c.store.aside.Load())
	require.Positive(t, added.Load())
}
