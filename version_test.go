package covey

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Writes of a version that the cache knows already. They change nothing, and yet what is being
// loaded may be older.
var knownWrites = map[string]func(c *Cache[int]) error{
	"Put":    func(c *Cache[int]) error { return c.Put(context.Background(), "k", 5, WithVersion(5)) },
	"Delete": func(c *Cache[int]) error { return c.Delete(context.Background(), "k", DeletedAt(5)) },
}

func TestWritesOfAKnownVersionVoidTheLoadUnderWay(t *testing.T) {
	old := func(context.Context, string) (int, error) { time.Sleep(time.Second); return 4, nil }
	loads := map[string]func(c *Cache[int]) (int, error){
		"Get": func(c *Cache[int]) (int, error) { return c.Get(context.Background(), "k", old) },
		"GetMany": func(c *Cache[int]) (int, error) {
			found, err := c.GetMany(context.Background(), []string{"j", "k"}, func(ctx context.Context, keys []string) (map[string]int, error) {
				v, err := old(ctx, "k")
				return map[string]int{"k": v}, err
			})
			return found["k"], err
		},
	}
	for name, write := range knownWrites {
		for how, load := range loads {
			t.Run(name+" beside "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCache(t, Options[int]{})
					require.NoError(t, c.Delete(t.Context(), "k", DeletedAt(5)))
					early := make(chan result, 1)
					go func() {
						v, err := load(c)
						early <- result{v, err}
					}()
					synctest.Wait()
					require.NoError(t, write(c))
					require.Equal(t, result{4, nil}, <-early, "who waited before the write may have the old value")
					_, ok, err := c.Lookup(t.Context(), "k")
					require.NoError(t, err)
					require.False(t, ok, "but it is not stored")
					require.ErrorIs(t, c.Put(t.Context(), "k", 4, WithVersion(4)), ErrOutdated)
				})
			})
		}
	}
}

func TestWritesOfAKnownVersionVoidTheRefreshUnderWay(t *testing.T) {
	for name, write := range knownWrites {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := plain(time.Minute)
				o.StaleWhileRevalidate = time.Hour
				c := newCache(t, o)
				require.NoError(t, c.Put(t.Context(), "k", 5, WithVersion(5)))
				time.Sleep(2 * time.Minute)
				v, err := c.Get(t.Context(), "k", slow(4, time.Second))
				require.NoError(t, err)
				require.Equal(t, 5, v)
				require.NoError(t, write(c))
				time.Sleep(time.Minute)
				e, ok, err := c.Lookup(t.Context(), "k")
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, 5, e.Value)
				require.EqualValues(t, 5, e.Version)
			})
		})
	}
}

// What is loaded without a version may be older than the version that the cache knows: it does not
// go by that one, or a Put of that version would be taken as done.
func TestLoadsWithoutAVersionInheritNone(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, c *Cache[int]){
		"expired": func(t *testing.T, c *Cache[int]) {
			require.NoError(t, c.Put(t.Context(), "k", 5, WithVersion(5)))
			time.Sleep(2 * time.Minute)
		},
		"deleted": func(t *testing.T, c *Cache[int]) {
			require.NoError(t, c.Delete(t.Context(), "k", DeletedAt(5)))
		},
	} {
		for result, load := range map[string]Loader[int]{
			"value":     func(context.Context, string) (int, error) { return 4, nil },
			"not found": func(context.Context, string) (int, error) { return 0, ErrNotFound },
		} {
			t.Run(name+", "+result, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := plain(time.Minute)
					o.StaleIfError = time.Hour
					c := newCache(t, o)
					before(t, c)
					_, err := c.Get(t.Context(), "k", load)
					require.True(t, err == nil || errors.Is(err, ErrNotFound))
					e, ok, err := c.Lookup(t.Context(), "k")
					require.NoError(t, err)
					require.Equal(t, result == "value", ok)
					require.Zero(t, e.Version)
					require.ErrorIs(t, c.Put(t.Context(), "k", 3, WithVersion(4)), ErrOutdated, "the version is remembered")
					if result == "value" {
						require.NoError(t, c.Expire(t.Context(), "k"))
						e, _, err = c.Lookup(t.Context(), "k")
						require.NoError(t, err)
						require.Zero(t, e.Version, "an Expire labels nothing")
					}
					require.NoError(t, c.Put(t.Context(), "k", 5, WithVersion(5)))
					e, _, err = c.Lookup(t.Context(), "k")
					require.NoError(t, err)
					require.Equal(t, 5, e.Value, "nobody knows whether what was loaded is of that version")
					require.EqualValues(t, 5, e.Version)
				})
			})
		}
	}
}

// Loads do not make the cache remember a deletion for longer.
func TestLoadsDoNotProlongTombstones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, plain(time.Minute))
		require.NoError(t, c.Delete(t.Context(), "k", DeletedAt(5)))
		for range 5 {
			_, err := c.Get(t.Context(), "k", slow(4, 0))
			require.NoError(t, err)
			time.Sleep(time.Minute)
		}
		require.NoError(t, c.Put(t.Context(), "k", 4, WithVersion(4)))
	})
}

func TestFillsAndKnownVersions(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		for i, write := range []func(k string) error{
			func(k string) error { return c.cache.Put(t.Context(), k, "v5", WithVersion(5)) },
			func(k string) error { return c.cache.Delete(t.Context(), k, DeletedAt(5)) },
		} {
			k := a.keys(2)[i]
			require.NoError(t, b.cache.Delete(t.Context(), k, DeletedAt(5)))
			early := make(chan error, 1)
			go func() {
				_, err := b.cache.Get(t.Context(), k, w.slow(time.Second))
				early <- err
			}()
			synctest.Wait()
			require.NoError(t, write(k))
			require.NoError(t, <-early)
			time.Sleep(time.Second)
			_, ok, err := c.cache.Lookup(t.Context(), k)
			require.NoError(t, err)
			require.False(t, ok, "the holder of the right has read before the write")

			_, err = b.cache.Get(t.Context(), k, w.slow(time.Second))
			require.NoError(t, err)
			time.Sleep(time.Second)
			e, ok, err := c.cache.Lookup(t.Context(), k)
			require.NoError(t, err)
			require.True(t, ok)
			require.Zero(t, e.Version)
		}
	})
}

// A load takes no copies back. So a write of the version that it brought has to, although it
// changes nothing.
func TestWritesOfAKnownVersionRecallCopies(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v4", WithVersion(4)))
		borrowAt(t, b, k)
		hash := a.cache.store.hash(k)
		a.cache.removeAll(a.cache.shardOf(hash), []*node{a.cache.store.index.find(hash, k)}) // as an eviction does
		_, err := a.cache.Get(t.Context(), k, func(ctx context.Context, _ string) (string, error) {
			LoadInfo(ctx).SetVersion(5)
			return "v5", nil
		})
		require.NoError(t, err)
		require.NoError(t, a.cache.Put(t.Context(), k, "v5", WithVersion(5)))
		e, ok, err := b.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "v5", e.Value)
	})
}

// An entry from before a Clear, or from when another peer owned the key, is still in the index when
// an Expire comes.
func TestExpireRevivesNothing(t *testing.T) {
	o := plain(time.Hour)
	o.StaleIfError = time.Hour
	c := newCache(t, o)
	require.NoError(t, c.Put(t.Context(), "k", 1))
	c.nextGeneration(1)
	require.NoError(t, c.Expire(t.Context(), "k"))
	_, ok, err := c.Lookup(t.Context(), "k")
	require.NoError(t, err)
	require.False(t, ok)
}

// Between the two looks of an Expire at its key, first with one lock and then with both, the entry
// may leave.
func TestExpireRevivesNothingThatLeaves(t *testing.T) {
	for name, leave := range map[string]func(c *Cache[int]) error{
		"deleted":   func(c *Cache[int]) error { return c.Delete(t.Context(), "k") },
		"evicted":   func(c *Cache[int]) error { return c.SetMaxBytes(1) },
		"cleared":   func(c *Cache[int]) error { return c.Clear(t.Context()) },
		"not found": func(c *Cache[int]) error { return c.PutNotFound(t.Context(), "k") },
	} {
		t.Run(name, func(t *testing.T) {
			o := plain(time.Hour)
			o.StaleIfError = time.Hour
			c := newCache(t, o)
			require.NoError(t, c.Put(t.Context(), "k", 1))
			s := c.store
			w := write[int]{key: "k", hash: s.hash("k"), expire: true}
			apply := func(structural bool) bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				one := c.lock(w.hash)
				defer one.unlock()
				return one.apply(&w, structural)
			}
			require.False(t, apply(false))
			require.NoError(t, leave(c))
			require.True(t, apply(true))
			_, ok := c.Peek("k")
			require.False(t, ok)
		})
	}
}
