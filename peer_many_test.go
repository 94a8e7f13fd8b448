package covey

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// A peer asks for more keys at once than it may: those that are too many cost nothing.
func TestTooManyKeysInARequest(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		for n, served := range map[int]int{wire.MaxItems: wire.MaxItems, wire.MaxItems + 1: wire.MaxItems} {
			var items []byte
			for i := range n {
				items = wire.Append(items, &wire.Frame{Type: wire.Get, Op: uint32(i), Key: k})
			}
			before := a.cache.Stats().Served
			answer, err := linkOf(b, a).Call(t.Context(), &wire.Frame{Type: wire.GetMany, Cache: b.cache.peering.id, Items: items})
			require.NoError(t, err)
			require.Equal(t, wire.Many, answer.Type)
			require.EqualValues(t, served, a.cache.Stats().Served-before)
		}
	})
}

// quick is a bulk loader that takes no time.
func quick(_ context.Context, keys []string) (map[string]string, error) {
	found := make(map[string]string)
	for _, k := range keys {
		found[k] = "quick"
	}
	return found, nil
}

// A GetMany that gets the right to load a key late, since its holder has gone, loads it at once,
// whatever else it waits for.
func TestGetManyLoadsAtOnceWhatItMay(t *testing.T) {
	inWorld(t, 4, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c, d := w.procs[0], w.procs[1], w.procs[2], w.procs[3]
		keys := c.keys(2)
		k1, k2 := keys[0], keys[1]
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = b.cache.Get(t.Context(), k1, w.slow(20*time.Second)) })
		wg.Go(func() { _, _ = d.cache.Get(t.Context(), k2, w.slow(20*time.Second)) })
		time.Sleep(50 * time.Millisecond)
		wg.Go(func() {
			found, err := a.cache.GetMany(t.Context(), keys, quick)
			require.NoError(t, err)
			require.Equal(t, map[string]string{k1: "value of " + k1, k2: "quick"}, found)
		})
		time.Sleep(50 * time.Millisecond)
		require.NoError(t, d.cache.Close()) // the right of k2 passes to a
		time.Sleep(50 * time.Millisecond)
		for _, p := range []*proc{b, c, a} {
			start := time.Now()
			v, err := p.cache.Get(t.Context(), k2, constant("another"))
			require.NoError(t, err)
			require.Equal(t, "quick", v)
			require.Less(t, time.Since(start), time.Second, "%s: a Get of k2 waits for the load of k1", p.name)
		}
		wg.Wait()
	})
}

// The same while it waits for a key of its own process that others load.
func TestGetManyLoadsAtOnceWhatItMayWhileOthersLoad(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		own, k := a.key(), b.key()
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = a.cache.Get(t.Context(), own, w.slow(20*time.Second)) })
		wg.Go(func() { _, _ = c.cache.Get(t.Context(), k, w.slow(20*time.Second)) })
		time.Sleep(50 * time.Millisecond)
		wg.Go(func() {
			found, err := a.cache.GetMany(t.Context(), []string{own, k}, quick)
			require.NoError(t, err)
			require.Equal(t, map[string]string{own: "value of " + own, k: "quick"}, found)
		})
		time.Sleep(50 * time.Millisecond)
		require.NoError(t, c.cache.Close())
		time.Sleep(50 * time.Millisecond)
		start := time.Now()
		v, err := b.cache.Get(t.Context(), k, constant("another"))
		require.NoError(t, err)
		require.Equal(t, "quick", v)
		require.Less(t, time.Since(start), time.Second)
		wg.Wait()
	})
}

// Two GetManys that each get the right that the other one waits for do not wait for each other.
func TestGetManysDoNotWaitForEachOther(t *testing.T) {
	inWorld(t, 5, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c, d, e := w.procs[0], w.procs[1], w.procs[2], w.procs[3], w.procs[4]
		x, y := c.key(), d.key()
		var wg sync.WaitGroup
		for _, k := range []string{x, y} {
			wg.Go(func() { _, _ = e.cache.Get(t.Context(), k, w.slow(20*time.Second)) })
		}
		time.Sleep(50 * time.Millisecond)
		many := func(p *proc, keys ...string) {
			wg.Go(func() {
				start := time.Now()
				found, err := p.cache.GetMany(t.Context(), keys, quick)
				require.NoError(t, err)
				require.Equal(t, map[string]string{x: "quick", y: "quick"}, found)
				require.Less(t, time.Since(start), time.Second, "GetMany at %s", p.name)
			})
		}
		w.net.Partition("a", "d") // for a moment: so a is the next for x, and b for y
		many(a, y, x)
		time.Sleep(20 * time.Millisecond)
		many(b, x, y)
		time.Sleep(20 * time.Millisecond)
		w.net.Heal("a", "d")
		time.Sleep(50 * time.Millisecond)
		require.NoError(t, e.cache.Close()) // both rights pass on
		wg.Wait()
	})
}

// coy is a codec for strings that does not encode all of them.
type coy struct{}

func (coy) Name() string { return "coy" }

func (coy) Append(dst []byte, v string) ([]byte, error) {
	if v == "coy" {
		return nil, errors.New("it stays at home")
	}
	return append(dst, v...), nil
}

func (coy) Decode(data []byte) (string, error) { return string(data), nil }

// A key that the owner cannot send does not end the wait for the others of the request, so that a
// right to load one of them is used.
func TestGetManyBesideAKeyThatCannotBeSent(t *testing.T) {
	inWorld(t, 3, Options[string]{Codec: coy{}}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		keys := c.keys(2)
		require.NoError(t, c.cache.Put(t.Context(), keys[0], "coy"))
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = b.cache.Get(t.Context(), keys[1], w.slow(20*time.Second)) })
		time.Sleep(50 * time.Millisecond)
		loads := make(chan []string, 2)
		wg.Go(func() {
			found, err := a.cache.GetMany(t.Context(), keys, func(ctx context.Context, keys []string) (map[string]string, error) {
				loads <- keys
				return quick(ctx, keys)
			})
			require.NoError(t, err)
			require.Equal(t, map[string]string{keys[0]: "quick", keys[1]: "quick"}, found)
		})
		time.Sleep(50 * time.Millisecond)
		require.Equal(t, keys[:1], <-loads, "b loads the other one")
		require.NoError(t, b.cache.Close())
		time.Sleep(50 * time.Millisecond)
		start := time.Now()
		v, err := c.cache.Get(t.Context(), keys[1], constant("another"))
		require.NoError(t, err)
		require.Equal(t, "quick", v)
		require.Less(t, time.Since(start), time.Second)
		wg.Wait()
		require.Equal(t, keys[1:], <-loads)
	})
}

// However often the loads of others bring nothing, a GetMany with a loader ends with one of its own.
func TestGetManyLoadsForItselfInTheEnd(t *testing.T) {
	single := Options[string]{Loader: constant("quick")}
	for name, o := range map[string]Options[string]{"bulk": {}, "single": single} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := New("test", o)
				require.NoError(t, err)
				defer func() { require.NoError(t, c.Close()) }()
				load := BulkLoader[string](quick)
				if o.Loader != nil {
					load = nil
				}
				hash := c.store.hash("k")
				begin := func(s *shard[string]) *flight[string] { // a load by others, that does not end
					f := s.addFlight("k", hash, nil)
					f.ctx, f.cancel = context.WithCancelCause(context.Background())
					f.waiters = 1
					return f
				}
				s := c.lock(hash)
				f := begin(s)
				s.unlock()
				go func() {
					for range maxAgain + 1 {
						time.Sleep(time.Second)
						s := c.lock(hash)
						lost := f
						lost.lost = true
						s.end(lost)
						f = begin(s)
						s.unlock()
						c.land(lost, "", errRightLost)
					}
				}()
				found, err := c.GetMany(t.Context(), []string{"k", "k"}, load)
				require.NoError(t, err)
				require.Equal(t, map[string]string{"k": "quick"}, found)
				_, ok := c.Peek("k")
				require.False(t, ok, "others may know better")
				require.EqualValues(t, 1, c.Stats().Loads)
			})
		})
	}
}
