package covey

// snapshot_test.go is about what a snapshot brings back, and what it gives way to.

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// withSnapshot returns the options with a snapshot in a folder of the test's.
func withSnapshot[V any](t testing.TB, o Options[V]) Options[V] {
	o.Snapshot.Path = filepath.Join(t.TempDir(), "snapshot")
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func openCache[V any](t testing.TB, o Options[V]) *Cache[V] {
	c, err := New("test", o)
	require.NoError(t, err)
	return c
}

// reopened closes a cache and opens it again.
func reopened[V any](t testing.TB, c *Cache[V], o Options[V]) *Cache[V] {
	require.NoError(t, c.Close())
	require.NoError(t, c.Stats().Snapshot.Err)
	return openCache(t, o)
}

// onlyFile requires that there is nothing in the folder but the snapshot.
func onlyFile(t testing.TB, path string) {
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.Equal(t, filepath.Base(path), files[0].Name())
}

// A cache that is opened again has what it had, aged by the time in between.
func TestSnapshotRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, eviction := range []Eviction{LFU, LRU, FIFO} {
			o := withSnapshot(t, Options[string]{
				Eviction: eviction, TTL: time.Hour, TTLJitter: -1, StaleIfError: time.Hour, IdleTTL: 50 * time.Minute, NegativeTTL: 30 * time.Minute,
			})
			c := openCache(t, o)
			ctx := t.Context()
			require.NoError(t, c.Put(ctx, "plain", "v"))
			require.NoError(t, c.Put(ctx, "empty", ""))
			require.NoError(t, c.Put(ctx, "version", "v", WithVersion(7)))
			require.NoError(t, c.Put(ctx, "forever", "v", WithTTL(Forever)))
			require.NoError(t, c.Put(ctx, "short", "v", WithTTL(time.Minute)))
			require.NoError(t, c.PutNotFound(ctx, "none"))
			require.NoError(t, c.Put(ctx, "gone", "v", WithTTL(10*time.Minute)))
			require.NoError(t, c.Delete(ctx, "gone"))
			_, err := c.Get(ctx, "loaded", func(ctx context.Context, _ string) (string, error) {
				time.Sleep(3 * time.Second)
				return "loaded", nil
			})
			require.NoError(t, err)
			time.Sleep(10 * time.Minute)
			require.NoError(t, c.Expire(ctx, "plain"))
			before := make(map[string]Entry[string])
			for _, key := range []string{"plain", "empty", "version", "forever", "short", "none", "gone", "loaded"} {
				before[key], _ = c.Peek(key)
			}
			cost := costOf(c.store.index.find(c.store.hash("loaded"), "loaded").cost)
			size := c.Stats().Bytes
			require.NoError(t, c.Close())
			onlyFile(t, o.Snapshot.Path)
			time.Sleep(15 * time.Minute)

			c = openCache(t, o)
			require.EqualValues(t, 7, c.Stats().Snapshot.Restored)
			require.Equal(t, size, c.Stats().Bytes)
			for key, want := range before {
				if want != (Entry[string]{}) {
					want.Age += 15 * time.Minute
				}
				if want.TTL != 0 {
					want.TTL -= 15 * time.Minute
				}
				have, _ := c.Peek(key)
				if want.TTL == -1-15*time.Minute { // it had just expired
					want.TTL++
				}
				require.Equal(t, want, have, key)
			}
			require.Equal(t, cost, costOf(c.store.index.find(c.store.hash("loaded"), "loaded").cost))
			require.ErrorIs(t, c.Put(ctx, "version", "w", WithVersion(6)), ErrOutdated)

			time.Sleep(30 * time.Minute) // 55 min after their last use, but for those that were looked at
			require.Equal(t, 1, c.Len())
			c = reopened(t, c, o)
			require.Equal(t, 1, c.Len())
			require.NoError(t, c.Close())
		}
	})
}

// What an entry of a JSON value, and of bytes, has been is what it is again.
func TestSnapshotCodecs(t *testing.T) {
	type user struct {
		Name string
		Tags []string
	}
	o := withSnapshot(t, Options[user]{})
	c := openCache(t, o)
	want := user{"a", []string{"x", ""}}
	for i := range 1000 {
		require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), want))
	}
	c = reopened(t, c, o)
	for i := range 1000 {
		e, ok := c.Peek(fmt.Sprint(i))
		require.True(t, ok)
		require.Equal(t, want, e.Value)
	}
	require.NoError(t, c.Close())

	b := withSnapshot(t, Options[[]byte]{})
	d := openCache(t, b)
	require.NoError(t, d.Put(t.Context(), "k", []byte("value")))
	require.NoError(t, d.Put(t.Context(), "nil", nil))
	d = reopened(t, d, b)
	e, ok := d.Peek("k")
	require.True(t, ok)
	require.Equal(t, []byte("value"), e.Value)
	require.Equal(t, len(e.Value), cap(e.Value))
	e, ok = d.Peek("nil")
	require.True(t, ok)
	require.Empty(t, e.Value)
	require.NoError(t, d.Close())

	_, err := New("test", withSnapshot(t, Options[struct{ hidden int }]{}))
	require.ErrorContains(t, err, "hidden")
}

// Where there is no room for all of it, what is used most is there, and it is the last to leave.
func TestSnapshotHottestFirst(t *testing.T) {
	const n = 4000
	for _, eviction := range []Eviction{LFU, LRU, FIFO} {
		for _, less := range []string{"file", "cache"} {
			t.Run(fmt.Sprint(eviction, "/", less), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := withSnapshot(t, Options[string]{Eviction: eviction, MaxEntries: n})
					if less == "file" {
						o.Snapshot.MaxBytes = n * 30 / 4
					}
					c := openCache(t, o)
					key := func(i int) string { return fmt.Sprintf("key%05d", i) }
					for i := range n {
						require.NoError(t, c.Put(t.Context(), key(i), "value"))
					}
					const from, to = n / 2, n/2 + n/8 // the hot ones
					if eviction == FIFO {
						for i := from; i < to; i++ {
							require.NoError(t, c.Delete(t.Context(), key(i)))
							time.Sleep(time.Microsecond) // FIFO goes by the clock
							require.NoError(t, c.Put(t.Context(), key(i), "value"))
						}
					}
					for range 4 {
						for i := from; i < to; i++ {
							_, err := c.Get(t.Context(), key(i), nil)
							require.NoError(t, err)
						}
					}
					if less == "cache" {
						o.MaxEntries = n / 4
					}
					c = reopened(t, c, o)
					if less == "file" {
						info, err := os.Stat(o.Snapshot.Path)
						require.NoError(t, err)
						require.LessOrEqual(t, info.Size(), o.Snapshot.MaxBytes)
						require.Less(t, c.Len(), n/2)
					} else {
						require.Equal(t, n/4, c.Len())
					}
					require.Greater(t, c.Len(), n/8)
					hot := func() (hot int) {
						for i := from; i < to; i++ {
							if c.Contains(key(i)) {
								hot++
							}
						}
						return hot
					}
					require.Equal(t, n/8, hot())
					require.NoError(t, c.SetMaxEntries(n/8))
					if eviction == LFU { // which guesses
						require.Greater(t, hot(), n/8*3/4)
					} else {
						require.Equal(t, n/8, hot())
					}
					require.NoError(t, c.Put(t.Context(), "new", "v"))
					require.True(t, c.Contains("new"))
					require.NoError(t, c.Close())
				})
			})
		}
	}
}

// The bounds hold while a snapshot is restored, and nothing leaves for it.
func TestSnapshotWithinBounds(t *testing.T) {
	o := withSnapshot(t, Options[string]{MaxBytes: 4 << 20})
	c := openCache(t, o)
	for i := range 20_000 {
		require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), strings.Repeat("v", i%300)))
	}
	require.Positive(t, c.Stats().Evictions)
	require.NoError(t, c.Close())
	o.MaxBytes = 1 << 20
	c = openCache(t, o)
	s := c.Stats()
	require.LessOrEqual(t, s.Bytes, o.MaxBytes)
	require.Greater(t, s.Bytes, o.MaxBytes*9/10)
	require.Equal(t, s.Entries, s.Snapshot.Restored)
	require.Zero(t, s.Evictions)
	c.verify()
	require.NoError(t, c.Close())
}

// A gate is a codec for strings that lets values pass one by one, or all.
type gate struct {
	stringCodec[string]
	arrived chan string
	open    chan struct{}
}

//lint:ignore U1000 it hides that of stringCodec, so that this is a user's codec
func (g *gate) plain() {}

func (g *gate) Decode(b []byte) (string, error) {
	select {
	case g.arrived <- string(b):
	default:
	}
	select {
	case <-g.open:
	case <-time.After(time.Second / 100):
	}
	return string(b), nil
}

// Whatever happens before a snapshot has been restored is newer than what is in it.
func TestSnapshotIsOlder(t *testing.T) {
	const n = 2000
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			o := withSnapshot(t, Options[string]{NegativeTTL: -1})
			g := &gate{open: make(chan struct{})}
			o.Codec = g
			c := openCache(t, o)
			for i := range n {
				require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), "old"))
			}
			c = reopened(t, c, o) // returns while 2,000 values of 10 ms each still come
			r := rand.New(rand.NewPCG(seed, 0))
			want := make(map[string]string) // "": nothing
			cleared := false
			for range 1000 {
				key := fmt.Sprint(r.IntN(n))
				switch r.IntN(8) {
				case 7:
					if r.IntN(10) == 0 {
						require.NoError(t, c.DeletePrefix(t.Context(), key))
						for i := range n {
							if k := fmt.Sprint(i); strings.HasPrefix(k, key) {
								want[k] = ""
							}
						}
					}
				case 0, 1:
					require.NoError(t, c.Put(t.Context(), key, "new"))
					want[key] = "new"
				case 2:
					require.NoError(t, c.Delete(t.Context(), key))
					want[key] = ""
				case 3:
					require.NoError(t, c.Expire(t.Context(), key))
					want[key] = ""
				case 4: // a load that says there is none, which is not remembered
					v, err := c.Get(t.Context(), key, func(context.Context, string) (string, error) { return "", ErrNotFound })
					if err == nil {
						require.True(t, v == "old" && want[key] == "" || v == want[key], v)
					} else {
						require.ErrorIs(t, err, ErrNotFound)
						want[key] = ""
					}
				case 5: // it was there, and has been evicted
					require.NoError(t, c.Put(t.Context(), key, "new"))
					c.removeAll(c.shardOf(c.store.hash(key)), []*node{c.store.index.find(c.store.hash(key), key)})
					want[key] = ""
				case 6:
					if seed%2 == 0 && r.IntN(50) == 0 {
						require.NoError(t, c.Clear(t.Context()))
						cleared = true
						clear(want)
					}
				}
				if r.IntN(10) == 0 {
					time.Sleep(20 * time.Millisecond)
				}
			}
			close(g.open)
			<-c.snapshots.restored
			old := 0
			for i := range n {
				e, ok := c.Peek(fmt.Sprint(i))
				v, written := want[fmt.Sprint(i)]
				switch {
				case written:
					require.Equal(t, v != "", ok, "%d", i)
					require.Equal(t, v, e.Value)
				case ok:
					require.Equal(t, "old", e.Value)
					old++
				}
			}
			if cleared {
				require.Zero(t, old)
			} else {
				require.Equal(t, n-len(want), old)
			}
			require.Nil(t, c.shards[0].wrote, "what is no longer needed")
			require.NoError(t, c.Close())
		})
	}
}

// So many writes during the restoring that they cannot be remembered end it.
func TestSnapshotManyWrites(t *testing.T) {
	c := openCache(t, Options[int]{})
	defer c.Close()
	s := c.lockAt(3)
	s.wrote = make(map[uint32]struct{})
	for i := range uint32(maxWrote) {
		s.hasWritten("k", i)
		s.hasWritten("k", i)
	}
	require.NotNil(t, s.wrote)
	s.hasWritten("k", maxWrote)
	require.Nil(t, s.wrote)
	s.unlock()
	e := c.makeEntry("k", 3<<26, 0, 1, 0, 0)
	done, more := c.restore(e, c.store.gen.Load(), 0, 1)
	require.False(t, done)
	require.True(t, more)
}

func TestSnapshotMistakes(t *testing.T) {
	for want, s := range map[string]Snapshot{
		"Snapshot.Interval is -1s, it must not be negative":    {Path: "x", Interval: -time.Second},
		"Snapshot.MaxAge is -1s, it must not be negative":      {Path: "x", MaxAge: -time.Second},
		"Snapshot.MaxBytes is -1, it must not be negative":     {Path: "x", MaxBytes: -1},
		"Snapshot.MaxAge is 1752000h0m0s, the limit":           {Path: "x", MaxAge: 200 * 365 * 24 * time.Hour},
		`Snapshot.Path is "", the rest of Snapshot needs it`:   {MaxBytes: 1},
		"it must not end in .seal":                             {Path: "x.seal"},
		`Options.Snapshot.Path is "", the rest of Snapshot ne`: {Interval: 1},
	} {
		_, err := New("test", Options[string]{Snapshot: s})
		require.ErrorContains(t, err, want)
	}
	o := withSnapshot(t, Options[string]{})
	c := openCache(t, o)
	same := o
	same.Snapshot.Path = filepath.Join(filepath.Dir(o.Snapshot.Path), "x", "..", "snapshot")
	_, err := New("other", same)
	require.ErrorContains(t, err, "another cache uses")
	require.NoError(t, c.Close())
	c = openCache(t, same)
	require.NoError(t, c.Close())
}

// lasting returns what a cache has, but for what is over at any moment.
func lasting(c *Cache[string]) map[string]string {
	all := maps.Collect(c.All())
	maps.DeleteFunc(all, func(key, _ string) bool {
		e, _ := c.Peek(key)
		return e.TTL < time.Minute
	})
	return all
}

// Anything may run while snapshots are written, and what is read at the end is what was there.
func TestAnythingBesideSnapshots(t *testing.T) {
	for _, eviction := range []Eviction{LFU, LRU, FIFO} {
		o := withSnapshot(t, Options[string]{Eviction: eviction, MaxEntries: 200, NegativeTTL: time.Millisecond, TTL: time.Hour, ErrorThrottle: -1})
		o.Snapshot.Interval = time.Millisecond
		for goesOn := soak(t, 5); goesOn(); {
			c := openCache(t, o)
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(i), rand.Uint64()))
					for c.Stats().Snapshot.Written < 10 {
						_ = anything(t.Context(), c, r)
					}
				})
			}
			wg.Wait()
			require.NoError(t, c.Stats().Snapshot.Err)
			before := lasting(c)
			require.NoError(t, c.Close())
			require.NoError(t, c.Stats().Snapshot.Err)
			onlyFile(t, o.Snapshot.Path)
			c = openCache(t, o)
			require.True(t, maps.Equal(before, lasting(c)))
			c.verify()
			require.NoError(t, c.Close())
		}
	}
}

// Functions of Events may use what a snapshot has brought, as ever.
func TestSnapshotRemovedAtClose(t *testing.T) {
	var removed atomic.Int64
	o := withSnapshot(t, Options[string]{})
	o.Events = Events[string]{Removed: func(Removal[string]) { removed.Add(1) }, RemovedAtClose: true}
	c := openCache(t, o)
	require.NoError(t, c.Put(t.Context(), "a", "v"))
	require.NoError(t, c.Put(t.Context(), "b", "v"))
	c = reopened(t, c, o)
	require.EqualValues(t, 2, removed.Load())
	require.Equal(t, 2, c.Len())
	require.NoError(t, c.Delete(t.Context(), "a"))
	require.NoError(t, c.Close())
	require.EqualValues(t, 4, removed.Load())
}
