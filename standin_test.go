package covey

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An owner that gets the cache remembers who keeps what, and so does one that closes it.
func TestOwnerGetsTheCache(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		ctx, s := t.Context(), newSource()
		k := a.key()
		require.NoError(t, a.cache.Close())
		for _, version := range []string{"", "2", ""} {
			time.Sleep(time.Millisecond)
			for range 3 {
				v, err := b.cache.Get(ctx, k, s.loader(b))
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(s.has[k]), v)
			}
			require.Equal(t, 1, s.loaded(b))
			start := time.Now()
			a.openAs(t, "test", version)
			require.Equal(t, start, time.Now(), "New waits for nobody")
			v, err := b.cache.Get(ctx, k, s.loader(b))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(s.has[k]), v)
			require.Zero(t, s.loaded(b), "what is kept is still good")
			s.write(k)
			require.NoError(t, c.cache.Delete(ctx, k))
			v, err = b.cache.Get(ctx, k, s.loader(b))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(s.has[k]), v)
			require.Equal(t, 1, s.loaded(b))
			require.NoError(t, a.cache.Close())
			s.write(k)
			require.NoError(t, c.cache.Put(ctx, k, "x"))
			v, err = b.cache.Get(ctx, k, s.loader(b))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(s.has[k]), v)
			require.Equal(t, 1, s.loaded(b))
			require.NoError(t, c.cache.Delete(ctx, k))
		}
	})
}

// A cache that its owner closes remembers nothing, so what was granted ends.
func TestOwnerClosesDuringLoadAlone(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		s := newSource()
		s.takes = 100 * time.Millisecond
		k := a.key()
		require.NoError(t, a.cache.Close())
		a.openAs(t, "test", "2")
		time.Sleep(time.Millisecond)
		first := make(chan string, 1)
		go func() {
			v, _ := b.cache.Get(t.Context(), k, s.loader(b))
			first <- v
		}()
		time.Sleep(50 * time.Millisecond)
		require.NoError(t, a.cache.Close())
		s.write(k)
		require.NoError(t, c.cache.Delete(t.Context(), k))
		v, err := b.cache.Get(t.Context(), k, s.loader(b))
		require.NoError(t, err)
		require.Equal(t, "1", v)
		require.Equal(t, "0", <-first)
	})
}

// What is done for all caches is done for one, too, that takes a stand-in's place meanwhile; and
// what that one does then counts for nothing.
func TestStandInIsReplaced(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		s := newSource()
		k := a.key()
		require.NoError(t, a.cache.Close())
		time.Sleep(time.Millisecond)
		_, err := b.cache.Get(t.Context(), k, s.loader(b))
		require.NoError(t, err)
		standIn := (*a.group.caches.Load())["test"]
		require.True(t, standIn.isStandIn())
		resp := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodGet, a.url+"v1/caches/test?key="+k, nil)
		req.Header.Set("Authorization", "Bearer "+string(testSecret))
		a.group.ServeHTTP(resp, req)
		require.Contains(t, resp.Body.String(), `there is no cache "test"`, "users do not see it")
		lent := make(map[bool]int) // of a stand-in or not
		a.group.forEach(func(c shared) {
			if c == standIn {
				a.openAs(t, "test", "")
			}
			lent[c.isStandIn()]++
		})
		require.Equal(t, map[bool]int{true: 1, false: 1}, lent)
		require.Equal(t, 1, len(a.cache.peering.lentTo(nil)))
		require.ErrorIs(t, standIn.(*peering[struct{}]).clearOwn(t.Context(), 0, "", 1), ErrClosed)
		_, err = New("test", Options[string]{Group: a.group})
		require.ErrorContains(t, err, "has a cache of that name already")
	})
}

// A member that leaves, or a view that takes keys from it, ends what others keep of its keys.
func TestOwnerWithoutTheCacheLeaves(t *testing.T) {
	inUnshared(t, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		ctx, s := t.Context(), newSource()
		keys := a.keys(20)
		all, err := b.cache.GetMany(ctx, keys, s.bulk(b))
		require.NoError(t, err)
		require.Len(t, all, 20)
		go a.stop()
		time.Sleep(time.Second)
		w.procs = w.procs[1:]
		require.Equal(t, 2, b.group.Stats().Members)
		for _, k := range keys {
			s.write(k)
			require.NoError(t, c.cache.Delete(ctx, k))
			v, err := b.cache.Get(ctx, k, s.loader(b))
			require.NoError(t, err)
			require.Equal(t, "1", v)
		}
	})
}
