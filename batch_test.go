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

	"github.com/stretchr/testify/require"
)

// A meter counts loads: how many there were, how many at once, and of how many keys each.
type meter struct {
	mu            sync.Mutex
	running, most int
	sizes         []int
	keys          map[string]int
}

func (m *meter) begin(keys ...string) (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running++
	m.most = max(m.most, m.running)
	m.sizes = append(m.sizes, len(keys))
	if m.keys == nil {
		m.keys = make(map[string]int)
	}
	for _, k := range keys {
		m.keys[k]++
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.running--
	}
}

// largest returns how many keys the largest load had.
func (m *meter) largest() int { return slices.Max(m.sizes) }

// sorted returns how many keys each load had, the largest first.
func (m *meter) sorted() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortFunc(m.sizes, func(a, b int) int { return b - a })
	return m.sizes
}

func (m *meter) total() (n int) {
	for _, loads := range m.keys {
		n += loads
	}
	return n
}

func (m *meter) one(d time.Duration) Loader[string] {
	return func(_ context.Context, key string) (string, error) {
		defer m.begin(key)()
		time.Sleep(d)
		return "value of " + key, nil
	}
}

func (m *meter) many(d time.Duration) BulkLoader[string] {
	return func(_ context.Context, keys []string) (map[string]string, error) {
		defer m.begin(keys...)()
		time.Sleep(d)
		found := make(map[string]string)
		for _, k := range keys {
			found[k] = "value of " + k
		}
		return found, nil
	}
}

func numbered(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
	}
	return keys
}

func TestGetManyLoadsSingleKeysInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m meter
		c := newCache(t, Options[string]{Loader: m.one(time.Second), LoadTimeout: 1500 * time.Millisecond})
		keys := numbered(20 * loadsAtOnce)
		start := time.Now()
		found, err := c.GetMany(t.Context(), keys, nil)
		require.NoError(t, err, "none of them waits for its turn while its time runs")
		require.Len(t, found, len(keys))
		require.Equal(t, loadsAtOnce, m.most)
		require.Equal(t, 20*time.Second, time.Since(start))
		require.Len(t, m.keys, len(keys))
	})
}

// One load that is slow, or does not end, does not keep the others waiting.
func TestGetManyGoesOnBesideASlowLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		defer close(hang)
		var last atomic.Int64
		start := time.Now()
		o := Options[string]{LoadTimeout: time.Hour}
		o.Loader = func(_ context.Context, key string) (string, error) {
			if key == "key3" {
				<-hang
			}
			time.Sleep(time.Second)
			last.Store(int64(time.Since(start)))
			return "", nil
		}
		c := newCache(t, o)
		found, err := c.GetMany(t.Context(), numbered(10*(loadsAtOnce-1)+1), nil)
		require.ErrorIs(t, err, ErrLoadTimeout)
		require.Len(t, found, 10*(loadsAtOnce-1))
		require.EqualValues(t, 10*time.Second, last.Load())
	})
}

func TestGetManyThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m meter
		c := newCache(t, Options[string]{Loader: m.one(time.Second)})
		ctx, leave := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer leave()
		found, err := c.GetMany(ctx, numbered(10*loadsAtOnce), nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, found, 2*loadsAtOnce)
		synctest.Wait()
		require.Len(t, m.keys, 3*loadsAtOnce)
	})
}

func TestGetManyInBatches(t *testing.T) {
	for _, test := range []struct{ size, keys, loads, largest int }{
		{0, 1000, 1, 1000}, {0, 1001, 2, 1000}, {0, 100_000, 100, 1000}, {1, 10, 10, 1}, {7, 20, 3, 7}, {1 << 30, 5000, 1, 5000},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var m meter
				c := newCache(t, Options[string]{BulkSize: test.size, BulkLoader: m.many(time.Millisecond)})
				keys := numbered(test.keys)
				require.NoError(t, c.Put(t.Context(), "hit", "h"))
				found, err := c.GetMany(t.Context(), append([]string{"hit"}, keys...), nil)
				require.NoError(t, err)
				require.Len(t, found, test.keys+1)
				require.Len(t, m.sizes, test.loads)
				require.Equal(t, test.largest, m.largest())
				require.Equal(t, 1, m.most, "one after another")
			})
		})
	}
	_, err := New("c", Options[int]{BulkSize: -1})
	require.ErrorContains(t, err, "BulkSize")
}

// A key that is given in several batches is loaded once, even if nothing is stored.
func TestGetManyTwice(t *testing.T) {
	var loads atomic.Int64
	c := newCache(t, Options[string]{BulkSize: 2, NegativeTTL: -1})
	_, err := c.GetMany(t.Context(), []string{"a", "b", "a", "c", "b", "d"}, func(_ context.Context, keys []string) (map[string]string, error) {
		loads.Add(int64(len(keys)))
		return nil, nil
	})
	require.NoError(t, err)
	require.EqualValues(t, 4, loads.Load())
}

func TestRefreshesInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m meter
		o := Options[string]{BulkSize: 10, BulkLoader: m.many(time.Millisecond), TTL: time.Minute, StaleWhileRevalidate: time.Hour}
		c := newCache(t, o)
		keys := numbered(35)
		for _, k := range keys {
			require.NoError(t, c.Put(t.Context(), k, "old"))
		}
		time.Sleep(2 * time.Minute)
		_, err := c.GetMany(t.Context(), keys, nil)
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Equal(t, []int{10, 10, 10, 5}, m.sorted())
	})
}

// Several peers own the keys: whoever loads, the caller under rights or the owners, does it in
// batches.
func TestGetManyInBatchesInAGroup(t *testing.T) {
	for name, passed := range map[string]bool{"callers load": true, "owners load": false} {
		t.Run(name, func(t *testing.T) {
			var m meter
			o := Options[string]{BulkSize: 10}
			var load BulkLoader[string]
			if passed {
				load = m.many(time.Millisecond)
			} else {
				o.BulkLoader = m.many(time.Millisecond)
			}
			inWorld(t, 3, o, func(t *testing.T, w *world) {
				keys := numbered(200)
				for _, p := range w.procs {
					found, err := p.cache.GetMany(t.Context(), keys, load)
					require.NoError(t, err)
					require.Len(t, found, len(keys))
				}
				require.LessOrEqual(t, m.largest(), 10)
				require.Len(t, m.keys, len(keys))
				require.Equal(t, len(keys), m.total(), "each once")
			})
		})
	}
}

// A peer whose own BulkSize is larger asks for more at once than the owner loads at once.
func TestOwnersLoadInBatches(t *testing.T) {
	var m meter
	inWorld(t, 2, Options[string]{BulkLoader: m.many(time.Millisecond)}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		a.cache.opt.BulkSize = 10
		found, err := b.cache.GetMany(t.Context(), a.keys(95), nil)
		require.NoError(t, err)
		require.Len(t, found, 95)
		require.Len(t, m.sizes, 10)
		require.Equal(t, 10, m.largest())
	})
}
