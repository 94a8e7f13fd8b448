package covey

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// has counts the processes that have a valid entry of a key, copies not included.
func (w *world) has(key string) (n int) {
	for _, p := range w.procs {
		c := p.cache
		e := c.store.index.find(c.store.hash(key), key)
		if e != nil && e.flags&flagBorrowed == 0 && c.judge(e, c.store.clock.now()) == fresh {
			n++
		}
	}
	return n
}

// What is put or loaded is in two of three processes a moment later, and served by both; a Put or a
// Delete leaves nothing of it.
func TestReplicas(t *testing.T) {
	var w *world
	o := Options[string]{Replicas: 2, L1: -1, Loader: func(ctx context.Context, key string) (string, error) {
		w.loads.Add(1)
		return "loaded", nil
	}}
	inWorld(t, 3, o, func(t *testing.T, in *world) {
		w = in
		a := w.procs[0]
		for i := range 100 {
			key := fmt.Sprint("put", i)
			require.NoError(t, a.cache.Put(t.Context(), key, "put"))
			v, err := a.cache.Get(t.Context(), fmt.Sprint("get", i), nil)
			require.NoError(t, err)
			require.Equal(t, "loaded", v)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for i := range 100 {
			require.Equal(t, 2, w.has(fmt.Sprint("put", i)))
			require.Equal(t, 2, w.has(fmt.Sprint("get", i)))
		}
		require.EqualValues(t, 100, w.loads.Load())
		for i := range 100 {
			key := fmt.Sprint("put", i)
			if i%2 == 0 {
				require.NoError(t, a.cache.Put(t.Context(), key, "new"))
			} else {
				require.NoError(t, a.cache.Delete(t.Context(), key))
			}
			for _, p := range w.procs {
				v, err := p.cache.Get(t.Context(), key, nil)
				require.NoError(t, err)
				require.NotEqual(t, "put", v, "of %s at %s", key, p.name)
			}
		}
		time.Sleep(time.Second)
		replicas := int64(0)
		for _, p := range w.procs {
			replicas += p.cache.Stats().Replicas
		}
		require.InDelta(t, 200, replicas, 60)
	})
}

// When an owner crashes whoever takes its place has what it had, and nothing is loaded. Then there are
// two of each again.
func TestReplicasAtACrash(t *testing.T) {
	var w *world
	o := Options[string]{Replicas: 2, L1: -1, Loader: func(ctx context.Context, key string) (string, error) {
		w.loads.Add(1)
		return "loaded", nil
	}}
	inWorld(t, 3, o, func(t *testing.T, in *world) {
		w = in
		a, b := w.procs[0], w.procs[1]
		keys := make([]string, 300)
		for i := range keys {
			keys[i] = fmt.Sprint("key", i)
			require.NoError(t, a.cache.Put(t.Context(), keys[i], "put"))
		}
		time.Sleep(time.Second)
		b.crash()
		w.procs = []*proc{a, w.procs[2]}
		for _, key := range keys {
			v, err := a.cache.Get(t.Context(), key, nil)
			require.NoError(t, err)
			require.Equal(t, "put", v)
		}
		require.Zero(t, w.loads.Load())
		time.Sleep(5 * time.Second)
		for _, key := range keys {
			require.Equal(t, 2, w.has(key), "of %s", key)
			require.NoError(t, a.cache.Delete(t.Context(), key))
			require.Zero(t, w.has(key), "of %s", key)
		}
	})
}

// A process that joins, or one that leaves, has nothing loaded again.
func TestReplicasAtAJoin(t *testing.T) {
	for _, replicas := range []int{1, 2} {
		t.Run(fmt.Sprint(replicas), func(t *testing.T) {
			var w *world
			o := Options[string]{Replicas: replicas, L1: -1, Loader: func(ctx context.Context, key string) (string, error) {
				w.loads.Add(1)
				return "loaded", nil
			}}
			inWorld(t, 3, o, func(t *testing.T, in *world) {
				w = in
				w.warmUp = time.Minute
				a := w.procs[0]
				keys := make([]string, 300)
				for i := range keys {
					keys[i] = fmt.Sprint("key", i)
					require.NoError(t, a.cache.Put(t.Context(), keys[i], "put"))
				}
				time.Sleep(time.Second)
				d := w.start("d", StaticPeers("http://a", "http://b", "http://c", "http://d"))
				require.NoError(t, d.group.Ready(t.Context()))
				moved := 0
				for _, key := range keys {
					if a.group.Owner(key) == d.url {
						moved++
					}
					v, err := a.cache.Get(t.Context(), key, nil)
					require.NoError(t, err)
					require.Equal(t, "put", v)
				}
				require.Greater(t, moved, 30)
				require.Zero(t, w.loads.Load())
				for _, key := range keys[:100] {
					require.NoError(t, a.cache.Delete(t.Context(), key))
					require.Zero(t, w.has(key), "of %s", key)
				}
				time.Sleep(2 * time.Minute) // the former owners have nothing any more
				for _, key := range keys[100:] {
					require.Equal(t, replicas, w.has(key), "of %s", key)
				}
			})
		})
	}
}

// What is on its way from a custodian that has not carried out a Clear yet is not kept by one that has.
func TestReplicasAtAClear(t *testing.T) {
	t.Run("all", func(t *testing.T) { replicasAtAClear(t, "") })
	t.Run("a prefix", func(t *testing.T) { replicasAtAClear(t, "key") })
}

func replicasAtAClear(t *testing.T, prefix string) {
	inWorld(t, 3, Options[string]{Replicas: 2, L1: -1}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		key := replicatedTo(a, b)
		number := newClear()
		require.NoError(t, b.cache.peering.clearOwn(t.Context(), 0, prefix, number))
		require.NoError(t, a.cache.Put(t.Context(), key, "old")) // a may have read it before the Clear
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, 1, w.has(key))
		require.NoError(t, a.cache.peering.clearOwn(t.Context(), 0, prefix, number))
		require.NoError(t, w.procs[2].cache.peering.clearOwn(t.Context(), 0, prefix, number))
		time.Sleep(10 * time.Second)
		require.Zero(t, w.has(key))
		require.NoError(t, a.cache.Put(t.Context(), key, "new"))
		time.Sleep(time.Second)
		require.Equal(t, 2, w.has(key))
		require.NoError(t, b.cache.DeletePrefix(t.Context(), prefix))
		require.Zero(t, w.has(key))
		require.NoError(t, a.cache.Put(t.Context(), key, "new"))
		time.Sleep(time.Second)
		require.Equal(t, 2, w.has(key))
	})
}

// replicatedTo returns a key that a owns, and of which b has the replica.
func replicatedTo(a, b *proc) string {
	v := a.group.view.Load()
	for i := 0; ; i++ {
		key := fmt.Sprint("key", i)
		if all := v.custodians(ringHash(key), 2, nil); v.nameOf(all[0]) == a.url && v.nameOf(all[1]) == b.url {
			return key
		}
	}
}

// Whoever loads, and however, an owner that has just come asks those who had the key before.
func TestPeeks(t *testing.T) {
	var w *world
	load := func(ctx context.Context, key string) (string, error) {
		w.loads.Add(1)
		return "loaded", nil
	}
	many := func(ctx context.Context, keys []string) (map[string]string, error) {
		got := make(map[string]string)
		for _, key := range keys {
			w.loads.Add(1)
			got[key] = "loaded"
		}
		return got, nil
	}
	get := map[string]func(t *testing.T, p *proc, key string) string{
		"a loader of the caller's": func(t *testing.T, p *proc, key string) string {
			v, err := p.cache.Get(t.Context(), key, load)
			require.NoError(t, err)
			return v
		},
		"a bulk loader of the caller's": func(t *testing.T, p *proc, key string) string {
			v, err := p.cache.GetMany(t.Context(), []string{key}, many)
			require.NoError(t, err)
			return v[key]
		},
		"the owner's bulk loader": func(t *testing.T, p *proc, key string) string {
			v, err := p.cache.GetMany(t.Context(), []string{key}, nil)
			require.NoError(t, err)
			return v[key]
		},
	}
	for name, get := range get {
		t.Run(name, func(t *testing.T) {
			o := Options[string]{L1: -1}
			if name == "the owner's bulk loader" {
				o.BulkLoader = many
			}
			inWorld(t, 2, o, func(t *testing.T, in *world) {
				w = in
				w.warmUp = time.Minute
				a, b := w.procs[0], w.procs[1]
				var keys []string
				for i := range 100 {
					keys = append(keys, fmt.Sprint("key", i))
					require.NoError(t, a.cache.Put(t.Context(), keys[i], "put"))
				}
				for _, p := range w.procs {
					p.group.keeps.Store(true)
				}
				c := w.start("c", StaticPeers("http://a", "http://b", "http://c"))
				require.NoError(t, c.group.Ready(t.Context()))
				for _, p := range []*proc{a, c, b} {
					for _, key := range keys {
						require.Equal(t, "put", get(t, p, key))
					}
				}
				require.Zero(t, w.loads.Load())
				require.Greater(t, c.cache.Stats().PeekHits, int64(20))
				require.Equal(t, "loaded", get(t, a, "nobody has this"), "so it is loaded in the end")
				for i := range 50 {
					require.Equal(t, "loaded", get(t, a, fmt.Sprint("nor this ", i)))
				}
				require.EqualValues(t, 51, w.loads.Load())
			})
		})
	}
}

// A Put that waits for replicas returns when there are, and says so if there are none in time.
func TestWithReplicated(t *testing.T) {
	inWorld(t, 3, Options[string]{Replicas: 2, L1: -1}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		for i := range 50 {
			key := fmt.Sprint("key", i)
			require.NoError(t, w.procs[i%3].cache.Put(t.Context(), key, "put", WithReplicated()))
			require.Equal(t, 2, w.has(key))
		}
		key := replicatedTo(a, b)
		w.net.Partition("a", "b") // c hears both
		for _, p := range []*proc{a, c} {
			err := p.cache.Put(t.Context(), key, "cut", WithReplicated())
			require.ErrorIs(t, err, ErrUnconfirmed, "b has to forget it first")
		}
		w.net.Heal("a", "b")
		time.Sleep(10 * time.Second)
		require.NoError(t, c.cache.Put(t.Context(), key, "new", WithReplicated()))
		require.Equal(t, 2, w.has(key))
		require.NoError(t, b.cache.Close())
		require.ErrorIs(t, c.cache.Put(t.Context(), key, "newer", WithReplicated()), ErrNotReplicated)
		e, ok, err := c.cache.Lookup(t.Context(), key)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "newer", e.Value)
		require.Zero(t, c.group.Stats().Pursued)
	})
}

// The version at which a key was deleted is known after its owner has crashed.
func TestVersionsOutliveTheirOwner(t *testing.T) {
	inWorld(t, 3, Options[string]{Replicas: 2, L1: -1}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		keys := b.keys(20)
		for i, key := range keys {
			require.NoError(t, a.cache.Put(t.Context(), key, "put", WithVersion(5)))
			if i%2 == 0 {
				require.NoError(t, a.cache.Delete(t.Context(), key, DeletedAt(7)))
			}
		}
		time.Sleep(time.Second)
		b.crash()
		w.procs = []*proc{a, c}
		time.Sleep(5 * time.Second)
		for i, key := range keys {
			if i%2 == 0 {
				require.ErrorIs(t, a.cache.Put(t.Context(), key, "old", WithVersion(6)), ErrOutdated)
				require.NoError(t, a.cache.Put(t.Context(), key, "new", WithVersion(8)))
			} else {
				require.ErrorIs(t, a.cache.Put(t.Context(), key, "old", WithVersion(4)), ErrOutdated)
			}
		}
	})
}

// A change of the view is no use of what it makes this process's own.
func TestRelistedEntriesAreNotUsed(t *testing.T) {
	for _, eviction := range []Eviction{LFU, LRU, FIFO} {
		t.Run(eviction.String(), func(t *testing.T) {
			inWorld(t, 3, Options[string]{Replicas: 2, L1: -1, TTL: 2 * time.Hour, IdleTTL: time.Hour, Eviction: eviction}, func(t *testing.T, w *world) {
				a, b := w.procs[0], w.procs[1]
				key := replicatedTo(a, b)
				require.NoError(t, a.cache.Put(t.Context(), key, "put"))
				time.Sleep(time.Second)
				find := func() *node { return b.cache.store.index.find(b.cache.store.hash(key), key) }
				n := find()
				require.NotZero(t, n.flags&flagReplica)
				used, uses := n.used.Load(), n.mark.Load()
				time.Sleep(time.Minute)
				a.crash()
				w.procs = []*proc{b, w.procs[2]}
				time.Sleep(10 * time.Second)
				n = find()
				require.Zero(t, n.flags&flagReplica, "it is b's own now")
				require.Equal(t, used, n.used.Load())
				if eviction != LRU { // which puts it into order as the newest
					require.Equal(t, uses, n.mark.Load())
				}
			})
		})
	}
}
