package covey

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coveycache/covey/internal/wire"
)

// The ring may change again while the cache is being swept after the change before.
func TestSweepsOverlap(t *testing.T) {
	inWorld(t, 1, Options[string]{}, func(t *testing.T, w *world) {
		c := w.procs[0].cache
		v := w.procs[0].group.view.Load()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 200 {
					c.peering.adopt(v, false)
					c.peering.sweep()
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		require.Len(t, *c.peering.tenures.list.Load(), 1)
	})
}

// A copy outlives changes of the members if its key's owner stays, and only then; writes reach it.
func TestCopiesOutliveAChange(t *testing.T) {
	inWorld(t, 3, Options[string]{TTL: time.Hour}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		keys := append(a.keys(20), c.keys(5)...)
		change := func(how func()) {
			for _, k := range keys {
				require.NoError(t, a.cache.Put(t.Context(), k, "old"))
				if b.group.Owner(k) != b.url {
					borrowAt(t, b, k)
				}
			}
			before := make(map[string]string)
			for _, k := range keys {
				before[k] = b.group.Owner(k)
			}
			epoch := b.group.view.Load().epoch
			how()
			time.Sleep(10 * time.Second)
			require.Greater(t, b.group.view.Load().epoch, epoch)
			stay, move := 0, 0
			for _, k := range keys {
				e, ok := b.cache.Peek(k)
				switch owner := b.group.Owner(k); {
				case before[k] == b.url:
					continue
				case before[k] == owner:
					stay++
					require.True(t, ok)
					require.Equal(t, SourceL1, e.Source)
				default:
					move++
					require.False(t, ok && e.Source == SourceL1)
				}
				require.NoError(t, a.cache.Put(t.Context(), k, "new"))
				v, err := b.cache.Get(t.Context(), k, nil)
				require.NoError(t, err)
				require.Equal(t, "new", v)
			}
			require.Positive(t, stay)
			require.Positive(t, move)
		}
		change(func() { w.start("d", StaticPeers("http://a", "http://d")) })
		change(func() { require.NoError(t, c.group.Shutdown(t.Context())) })
		for _, k := range keys {
			if b.group.Owner(k) != b.url {
				borrowAt(t, b, k)
			}
		}
		require.NoError(t, b.cache.Clear(t.Context()))
		for _, k := range keys {
			_, ok := b.cache.Peek(k)
			require.False(t, ok, "no copy outlives a Clear")
		}
	})
}

// A copy ends when a view has another owner of its key, even if the lender does not know of that, and
// when this process has missed a view, since another may have owned the key in that.
func TestCopiesEndWithTheirOwner(t *testing.T) {
	inWorld(t, 3, Options[string]{TTL: time.Hour}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		now := b.group.view.Load()
		other := *now
		other.ring = newRing([]Member{now.ring.members[1], now.ring.members[2]})
		other.self, other.peers = 0, now.peers[1:]
		keys := a.keys(20)
		k := keys[slices.IndexFunc(keys, func(k string) bool { return other.owner(k) == 1 })]
		require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		has := func() bool {
			_, ok := b.cache.Peek(k)
			return ok
		}
		for name, next := range map[string]func(){
			"owner": func() { b.cache.peering.adopt(&other, false); b.cache.peering.adopt(now, false) },
			"anew":  func() { b.cache.peering.adopt(now, true) },
		} {
			borrowAt(t, b, k)
			b.cache.peering.adopt(now, false)
			require.True(t, has(), "the same members again")
			next()
			require.False(t, has(), name)
		}
	})
}

// A recall names the keys as long as that is shorter than to give everything back.
func TestRecallNamesKeys(t *testing.T) {
	require.NotNil(t, namesOf([]string{"a", "b"}))
	require.NotNil(t, namesOf(make([]string, wire.MaxItems)))
	require.Nil(t, namesOf(make([]string, wire.MaxItems+1)))
	require.Nil(t, namesOf([]string{strings.Repeat("k", wire.MaxBody/2)}))
	inWorld(t, 2, Options[string]{TTL: time.Hour}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		keys := a.keys(3)
		for _, k := range keys {
			require.NoError(t, a.cache.Put(t.Context(), k, "v"))
			borrowAt(t, b, k)
		}
		l := slices.Collect(maps.Keys(a.cache.peering.lentTo(nil)))[0]
		recall := func(items []byte) (left int) {
			f := &wire.Frame{Type: wire.Recall, Cache: a.cache.peering.id, Items: items}
			_, err := l.Call(t.Context(), f)
			require.NoError(t, err)
			for _, k := range keys {
				if _, ok := b.cache.Peek(k); ok {
					left++
				}
			}
			return left
		}
		require.Equal(t, 2, recall(namesOf(keys[:1])))
		require.Zero(t, recall([]byte("no frames")))
	})
}
