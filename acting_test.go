package covey

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// acting_test.go shows that whoever has not the promises of a quorum serves nothing that it stores.

// Without promises there is no hit, at the owner, for its peers, or of a copy.
func TestNoHitWithoutPromises(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k, of := a.key(), b.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		require.NoError(t, a.cache.Put(t.Context(), of, "v"))
		borrowAt(t, a, of)
		hits := a.cache.Stats().L1Hits
		a.group.agreement.Retire()
		_, err := a.cache.Get(t.Context(), k, nil)
		require.ErrorIs(t, err, ErrNoLoader, "its own")
		_, err = b.cache.Get(t.Context(), k, nil)
		require.ErrorIs(t, err, ErrNoLoader, "asked for by a peer")
		_, ok, err := b.cache.Lookup(t.Context(), k)
		require.False(t, ok, "%v", err)
		some, err := b.cache.GetMany(t.Context(), []string{k}, nil)
		require.Empty(t, some, "%v", err)
		some, err = a.cache.GetMany(t.Context(), []string{k}, nil)
		require.Empty(t, some, "%v", err)
		v, err := a.cache.Get(t.Context(), of, nil)
		require.NoError(t, err)
		require.Equal(t, "v", v, "the owner is asked")
		require.Equal(t, hits, a.cache.Stats().L1Hits, "no copy was used")
	})
}

// A member that is cut off serves nothing that it stores, nor a copy, for longer than its promises
// last; meanwhile the others write what it owned.
func TestCutOff(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		own, of := a.key(), b.key()
		for _, k := range []string{own, of} {
			require.NoError(t, c.cache.Put(t.Context(), k, "old"))
		}
		borrowAt(t, a, of)
		w.net.Partition("a", "b")
		w.net.Partition("a", "c")
		start := time.Now()
		written := make(map[string]bool)
		for time.Since(start) < 10*time.Second {
			for _, k := range []string{own, of} {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				written[k] = written[k] || b.cache.Put(ctx, k, "new") == nil
				cancel()
				v, err := a.cache.Get(t.Context(), k, constant("loaded"))
				require.NoError(t, err)
				require.False(t, v == "old" && written[k], "%s after %v", k, time.Since(start))
				require.False(t, v == "old" && time.Since(start) > 2100*time.Millisecond, "%s after %v", k, time.Since(start))
			}
			time.Sleep(5 * time.Millisecond)
		}
		require.True(t, written[own] && written[of])
		require.False(t, a.group.isActing())
		require.LessOrEqual(t, a.cache.Stats().Entries, int64(1), "what is loaded meanwhile is not stored")
		w.net.Heal("a", "b")
		w.net.Heal("a", "c")
		w.ready()
		for _, p := range w.procs {
			for _, k := range []string{own, of} {
				v, _ := p.cache.Get(t.Context(), k, nil)
				require.NotEqual(t, "old", v)
			}
		}
	})
}

// An owner stands still under load. Nobody notices much, and from 3 s on its keys are cached and
// written elsewhere. When it wakes it serves nothing old, and is back soon.
func TestOwnerStandsStillUnderLoad(t *testing.T) {
	w := &world{}
	var mu sync.Mutex
	origin := make(map[string]string)
	loaded := make(map[string]int)
	load := func(ctx context.Context, key string) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		loaded[key]++
		v := origin[key]
		mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		mu.Lock()
		return v, nil
	}
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, 3, Options[string]{Loader: load})
		defer w.close()
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		of := b.keys(20)
		keys := slices.Concat(of, a.keys(20), c.keys(20))
		for _, k := range keys {
			_, err := a.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
		}
		// 1. Readers at the others, each of which has 300 ms.
		var wg sync.WaitGroup
		var took []time.Duration
		stop := make(chan struct{})
		for i, p := range []*proc{a, c, a, c, a, c} {
			wg.Go(func() {
				for j := i * 7; ; j++ {
					select {
					case <-stop:
						return
					default:
					}
					ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
					start := time.Now()
					var err error
					if k := keys[j%len(keys):]; i < 4 {
						_, err = p.cache.Get(ctx, k[0], nil)
					} else {
						_, err = p.cache.GetMany(ctx, k[:min(len(k), 5)], nil)
					}
					cancel()
					require.NoError(t, err)
					mu.Lock()
					took = append(took, time.Since(start))
					mu.Unlock()
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(time.Second)
		w.net.Pause("b")
		time.Sleep(3 * time.Second)
		// 2. Others own its keys.
		mu.Lock()
		clear(loaded)
		mu.Unlock()
		for _, k := range of[:5] {
			mu.Lock()
			origin[k] = "new"
			mu.Unlock()
			start := time.Now()
			require.NoError(t, c.cache.Put(t.Context(), k, "new"))
			require.Less(t, time.Since(start), 100*time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		mu.Lock()
		for k, n := range loaded {
			require.LessOrEqual(t, n, 1, "%s was loaded again and again", k)
			require.Contains(t, of, k)
		}
		mu.Unlock()
		// 3. It wakes.
		w.net.Resume("b")
		for start := time.Now(); time.Since(start) < 3*time.Second; time.Sleep(20 * time.Millisecond) {
			for _, k := range of[:5] {
				v, err := b.cache.Get(t.Context(), k, nil)
				require.NoError(t, err)
				require.Equal(t, "new", v, "after %v", time.Since(start))
			}
		}
		require.Len(t, b.group.view.Load().ring.members, 3, "it is back")
		require.True(t, b.group.isActing())
		close(stop)
		wg.Wait()
		slices.Sort(took)
		require.Greater(t, len(took), 10_000)
		require.LessOrEqual(t, took[len(took)*999/1000], 300*time.Millisecond, "the most is %v", took[len(took)-1])
	})
}

// Of two members the more senior one goes on alone, and loses nothing, while the other stands still.
func TestJuniorOfTwoStandsStill(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		senior, junior := w.procs[0], w.procs[1]
		if v, _ := senior.group.agreement.View(); v.Members[0].Name != senior.url {
			senior, junior = junior, senior
		}
		keys := senior.keys(20)
		for _, k := range keys {
			require.NoError(t, senior.cache.Put(t.Context(), k, "v"))
		}
		borrowAt(t, junior, keys[0])
		w.net.Pause(junior.name)
		whole := func() {
			for _, k := range keys {
				v, err := senior.cache.Get(t.Context(), k, nil)
				require.NoError(t, err)
				require.Equal(t, "v", v)
			}
		}
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			whole()
		}
		for _, k := range junior.keys(1) {
			require.Equal(t, senior.url, senior.group.Owner(k))
			require.NoError(t, senior.cache.Put(t.Context(), k, "v"))
		}
		w.net.Resume(junior.name)
		w.ready()
		for _, k := range keys {
			if senior.group.Owner(k) == senior.url {
				_, err := senior.cache.Get(t.Context(), k, nil)
				require.NoError(t, err)
			}
		}
	})
}

// The owner of a key that a silent process has borrowed changes by a join. The new one writes it only
// when the copy is worth nothing any more; what stays with its owner is written at once.
func TestJoinOutwaitsSilentBorrower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o := withObserver(t, "abc", "ab")
		defer w.close()
		defer o.stop()
		a := w.procs[0]
		c := w.at("c", StaticPeers("http://a", "http://b", "http://c"))
		k := movingKey(a, c)
		stays := stayingKey(a, c)
		require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		borrowAt(t, o, k)
		w.net.Pause("o")
		c.run()
		start := time.Now()
		for a.group.Owner(k) != c.url {
			time.Sleep(time.Millisecond)
			require.Less(t, time.Since(start), 2*time.Second)
		}
		now := time.Now()
		require.False(t, a.group.view.Load().hasSettled())
		require.NoError(t, a.cache.Put(t.Context(), stays, "new"))
		require.Less(t, time.Since(now), 10*time.Millisecond, "nothing keeps it from being written")
		putUntilConfirmed(t, a, k, "new")
		v, _ := o.cache.Get(canceled(), k, nil)
		require.NotEqual(t, "old", v)
		require.Less(t, time.Since(start), 4*time.Second)
		w.net.Resume("o")
	})
}

// A member dies whose copies a silent process has. Who owns its keys now writes them only when they
// are worth nothing any more.
func TestCopiesOfTheDeadAreOutwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o := withObserver(t, "abc", "abc")
		defer w.close()
		defer o.stop()
		a, b := w.procs[0], w.procs[1]
		k := b.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		borrowAt(t, o, k)
		w.net.Pause("o")
		_ = b.srv.Close()
		b.group.node.Close()
		w.net.Reset("b", "a")
		w.net.Reset("b", "c")
		start := time.Now()
		took := putUntilConfirmed(t, a, k, "new")
		v, _ := o.cache.Get(canceled(), k, nil)
		require.NotEqual(t, "old", v, "after %v", took)
		require.Less(t, time.Since(start), 4*time.Second)
		w.net.Resume("o")
		b.stop()
		w.procs = slices.DeleteFunc(w.procs, func(p *proc) bool { return p == b })
	})
}

// Who does not go by the same view as the owner may not use copies for longer than it held a lease.
func TestNoTermForThoseBehind(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		borrowAt(t, b, k)
		time.Sleep(5 * time.Second)
		_, ok, err := b.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.True(t, ok)
		hits := b.cache.Stats().L1Hits
		require.NotZero(t, hits)
		b.group.node.SetRing(1)
		time.Sleep(3 * time.Second)
		l := linkOf(b, a)
		require.NotNil(t, l)
		require.False(t, l.Alive(), "the lease is over, and the link is not")
		_, err = b.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, hits, b.cache.Stats().L1Hits)
	})
}

// withObserver starts the members, who list all, and a process o that only asks.
func withObserver(t *testing.T, all, members string) (w *world, o *proc) {
	w = &world{t: t, net: netsim.New()}
	var urls []string
	for _, name := range all {
		urls = append(urls, "http://"+string(name))
	}
	for _, name := range members {
		w.start(string(name), StaticPeers(urls...))
	}
	w.ready()
	o = w.at("o", StaticPeers(urls...))
	w.procs = w.procs[:len(members)]
	o.opt.Self, o.opt.Name = "", "o"
	o.run()
	time.Sleep(time.Second)
	require.NoError(t, o.group.Ready(t.Context()))
	return w, o
}

// putUntilConfirmed puts a key until the group says that it has it, and returns how long that took.
func putUntilConfirmed(t *testing.T, p *proc, k, v string) time.Duration {
	start := time.Now()
	for time.Since(start) < 10*time.Second {
		if p.cache.Put(t.Context(), k, v) == nil {
			return time.Since(start)
		}
	}
	require.FailNow(t, "no Put was confirmed")
	return 0
}

// stayingKey returns a key that p owns in the ring of all processes, and in that of all but the
// other.
func stayingKey(p, other *proc) string {
	for i := 0; ; i++ {
		k := fmt.Sprint("staying", i)
		if before, after := ownersOf(k, other); before == p.url && after == p.url {
			return k
		}
	}
}

// Keys are written and read, owned and borrowed, while members join, leave, die and stand still:
// nobody reads what was there before the last write that was confirmed.
func TestWritesThroughChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New()}
		defer w.close()
		urls := []string{"http://a", "http://b", "http://c", "http://d"}
		for _, name := range []string{"a", "b", "c"} {
			w.start(name, StaticPeers(urls...))
		}
		w.ready()
		a, b := w.procs[0], w.procs[1]
		d := w.at("d", StaticPeers(urls...))
		var wg sync.WaitGroup
		stop := make(chan struct{})
		over := func() bool {
			select {
			case <-stop:
				return true
			default:
				return false
			}
		}
		var confirmed atomic.Int64
		for i := range 5 {
			k := fmt.Sprint("key", i)
			var mu sync.Mutex
			var last string // that was confirmed; of the same length, so that they compare like numbers
			wg.Go(func() {
				for n := 0; !over(); n++ {
					v := fmt.Sprintf("%06d", n)
					if a.cache.Put(t.Context(), k, v) == nil {
						mu.Lock()
						last = v
						mu.Unlock()
						confirmed.Add(1)
					}
					time.Sleep(time.Duration(10+i) * time.Millisecond)
				}
			})
			for _, p := range []*proc{a, b} {
				wg.Go(func() {
					for !over() {
						mu.Lock()
						before := last
						mu.Unlock()
						ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
						v, err := p.cache.Get(ctx, k, nil)
						cancel()
						if err == nil && v < before {
							t.Errorf("%s at %s: %s after %s", k, p.name, v, before)
						}
						time.Sleep(5 * time.Millisecond)
					}
				})
			}
		}
		time.Sleep(time.Second)
		d.run() // joins
		time.Sleep(3 * time.Second)
		w.net.Pause("d")
		time.Sleep(5 * time.Second)
		w.net.Resume("d")
		time.Sleep(5 * time.Second)
		d.crash()
		time.Sleep(2 * time.Second)
		d.run()
		time.Sleep(3 * time.Second)
		d.stop() // leaves
		time.Sleep(2 * time.Second)
		w.net.Pause("b") // a reader
		time.Sleep(5 * time.Second)
		w.net.Resume("b")
		time.Sleep(5 * time.Second)
		close(stop)
		wg.Wait()
		require.Greater(t, confirmed.Load(), int64(1000))
	})
}
