package covey

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// A process that shuts down while it loads leaves its keys to the others at once: they write them
// and load them once, and it serves nothing that it has stored.
func TestShutdownWithASlowLoad(t *testing.T) {
	w := &world{}
	var mu sync.Mutex
	loads := make(map[string]int)
	load := func(ctx context.Context, key string) (string, error) {
		mu.Lock()
		loads[key]++
		mu.Unlock()
		takes := 5 * time.Millisecond
		if strings.HasPrefix(key, "slow") {
			takes = 30 * time.Second
		}
		select {
		case <-time.After(takes):
			return "loaded", nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, 3, Options[string]{Loader: load, LoadTimeout: time.Minute})
		defer w.close()
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		slow := ""
		for slow = "slow"; b.group.Owner(slow) != b.url; slow += "er" {
		}
		keys := b.keys(20)
		for _, k := range keys {
			require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		}
		borrowAt(t, a, keys[0])
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = a.cache.Get(t.Context(), slow, nil) })
		wg.Go(func() { _, _ = b.cache.Get(t.Context(), slow, nil) })
		time.Sleep(time.Second)
		down := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			down <- b.group.Shutdown(ctx)
		}()
		time.Sleep(10 * time.Millisecond)
		start := time.Now()
		for _, k := range keys[:10] {
			require.NoError(t, c.cache.Put(t.Context(), k, "new"))
			require.Less(t, time.Since(start), time.Second)
			for _, p := range w.procs {
				v, _ := p.cache.Get(t.Context(), k, nil)
				require.NotEqual(t, "old", v, "at %s", p.name)
			}
		}
		for range 5 {
			for _, k := range keys[10:] {
				for _, p := range []*proc{a, c} {
					_, err := p.cache.Get(t.Context(), k, nil)
					require.NoError(t, err)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		mu.Lock()
		for _, k := range keys[10:] {
			require.LessOrEqual(t, loads[k], 1, "of %s", k)
		}
		mu.Unlock()
		for _, k := range keys {
			v, _ := b.cache.Get(t.Context(), k, nil)
			require.NotEqual(t, "old", v, "who has no place serves nothing that it stored")
		}
		<-down
		require.Less(t, time.Since(start), 25*time.Second)
		wg.Wait()
	})
}

// Processes that all shut down at once give what they have to nobody in the end, and do not wait for
// somebody who would take it: the last one takes 3 s at most, the bound for being let go.
func TestShutdownOfAll(t *testing.T) {
	for _, n := range []int{1, 2, 3} {
		inWorld(t, n, Options[string]{}, func(t *testing.T, w *world) {
			for _, p := range w.procs {
				for _, k := range p.keys(20) {
					require.NoError(t, p.cache.Put(t.Context(), k, "v"))
				}
			}
			began := time.Now()
			var wg sync.WaitGroup
			for i, p := range w.procs {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 5 * time.Millisecond)
					if err := p.group.Shutdown(context.Background()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.Less(t, time.Since(began), leaveFor+2*time.Second, "%d processes", n)
		})
	}
}

// Two processes of one name that both run, as when one is replaced by force: the newer one is the
// member, the older one acts no more, and both say so once.
func TestTwoOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New()}
		defer w.close()
		list := func(url string) []Member {
			return []Member{{URL: "http://a"}, {URL: "http://c"}, {Name: "n", URL: url}}
		}
		start := func(name, of, url string) (*proc, *logbook) {
			log := new(logbook)
			r := make(roster, 1)
			r <- list(url)
			p := w.at(name, r)
			p.opt.Name, p.opt.Logger = of, log.logger()
			p.run()
			return p, log
		}
		a, _ := start("a", "", "http://b")
		c, _ := start("c", "", "http://b")
		older, said := start("b", "n", "http://b")
		w.ready()
		k := "k"
		for i := 0; a.group.Owner(k) != "n"; i++ {
			k += "k"
		}
		require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		newer, saidToo := start("d", "n", "http://d")
		for _, p := range []*proc{a, c} {
			p.opt.Discovery.(roster) <- list("http://d")
		}
		deadline := time.Now().Add(15 * time.Second)
		for !newer.group.isActing() {
			require.True(t, time.Now().Before(deadline), "the newer one is no member yet")
			time.Sleep(10 * time.Millisecond)
		}
		require.False(t, older.group.isActing())
		require.True(t, older.group.retired.Load(), "nobody waits any more for what it has borrowed")
		require.NoError(t, a.cache.Put(t.Context(), k, "new"))
		v, _ := older.cache.Get(t.Context(), k, nil)
		require.NotEqual(t, "old", v)
		time.Sleep(time.Minute)
		for _, p := range []*proc{a, c, newer} {
			require.Len(t, p.group.view.Load().ring.members, 3)
			require.True(t, p.group.isActing())
		}
		require.False(t, older.group.isActing())
		require.Equal(t, 1, strings.Count(said.String(), "level=WARN"), "the older one says:\n%s", said)
		require.Equal(t, 1, strings.Count(saidToo.String(), "level=WARN"), "the newer one says:\n%s", saidToo)
	})
}

// A process that is alone hears from nobody that a newer one has taken its place: it finds that at
// its own address.
func TestTwoOfOneNameAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New()}
		defer w.close()
		log := new(logbook)
		older := w.at("a", StaticPeers("http://a"))
		older.opt.Logger = log.logger()
		older.run()
		w.ready()
		_ = older.srv.Close() // its address leads elsewhere from now on
		newer := w.start("a", StaticPeers("http://a"))
		require.NoError(t, newer.group.Ready(t.Context()))
		time.Sleep(6 * time.Second)
		require.False(t, older.group.isActing())
		require.True(t, newer.group.isActing())
		time.Sleep(time.Minute)
		require.True(t, newer.group.isActing())
		require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), "the older one says:\n%s", log)
		dials := w.net.Dials()
		time.Sleep(time.Minute)
		require.Less(t, w.net.Dials()-dials, 40, "the two end each other's links")
	})
}

// A process of another group at a listed address is refused and left out, though it has the secret.
func TestAnotherGroupAtAListedAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New()}
		defer w.close()
		log := new(logbook)
		x := w.at("x", StaticPeers("http://a", "http://b", "http://x"))
		x.opt.GroupName = "another"
		x.run()
		urls := []string{"http://a", "http://b", "http://x"}
		for _, name := range []string{"a", "b"} {
			p := w.at(name, StaticPeers(urls...))
			p.opt.Logger = log.logger()
			p.run()
		}
		time.Sleep(35 * time.Second)
		a, b := w.procs[1], w.procs[2]
		for _, p := range []*proc{a, b} {
			require.NoError(t, p.group.Ready(t.Context()))
			require.Len(t, p.group.view.Load().ring.members, 2)
		}
		require.NoError(t, x.cache.Put(t.Context(), "k", "another"))
		require.NoError(t, a.cache.Put(t.Context(), "k", "v"))
		v, err := b.cache.Get(t.Context(), "k", nil)
		require.NoError(t, err)
		require.Equal(t, "v", v)
		require.Contains(t, log.String(), "level=WARN")
		require.LessOrEqual(t, strings.Count(log.String(), "level=WARN"), 4, "%s", log)
	})
}

// Copies that a process had borrowed are no use to it once it has left or died: writes of the keys do
// not wait for the lease.
func TestCopiesOfThoseWhoHaveLeft(t *testing.T) {
	for _, how := range []string{"shutdown", "crash"} {
		t.Run(how, func(t *testing.T) {
			inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
				a, b := w.procs[0], w.procs[1]
				key := a.key()
				require.NoError(t, a.cache.Put(t.Context(), key, "old"))
				borrowAt(t, b, key)
				if how == "crash" {
					b.crash()
				} else {
					b.stop()
				}
				w.procs = []*proc{a, w.procs[2]}
				time.Sleep(200 * time.Millisecond)
				begin := time.Now()
				require.NoError(t, a.cache.Put(t.Context(), key, "new"))
				require.Less(t, time.Since(begin), 100*time.Millisecond)
			})
		})
	}
}

// Where all members are leaving nobody owns anything, so there is nobody to send anything to.
func TestRepairWhereAllLeave(t *testing.T) {
	inWorld(t, 2, Options[string]{TTL: time.Hour}, func(t *testing.T, w *world) {
		a := w.procs[0]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		p := a.cache.peering
		v := *p.tenures.view()
		v.former, v.now = v.ring, []int{0, 1}
		v.leaving = []string{v.nameOf(0), v.nameOf(1)}
		v.ring, v.self = newRing(nil), -1
		require.Equal(t, v.me, v.formerOwner(ringHash(k)))
		require.Empty(t, p.receivers(&v, ringHash(k), nil))
	})
}
