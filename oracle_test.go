package covey

// oracle_test.go compares a cache that many use at once with what each of them knows of its own
// keys.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A known is what may be in the cache for a key. It may always be missing, since it may have been
// evicted or have expired.
type known struct {
	values   map[int]bool
	notFound bool
	version  uint64 // the highest one that was given
}

// A writer is the only one who writes its keys.
type writer struct {
	*assert.Assertions
	o    *oracle
	c    *Cache[int]
	r    *rand.Rand
	name string
	keys map[string]*known
}

// An oracle knows which values were stored and which were removed.
type oracle struct {
	last    atomic.Int64 // no value is used twice
	stored  sync.Map
	removed sync.Map // how often
}

func (o *oracle) next() int { return int(o.last.Add(1)) }

func (o *oracle) addRemoval(r Removal[int]) {
	n, _ := o.removed.LoadOrStore(r.Value, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

func (o *oracle) removals(v int) int64 {
	n, ok := o.removed.Load(v)
	if !ok {
		return 0
	}
	return n.(*atomic.Int64).Load()
}

func (w *writer) key() (string, *known) {
	key := fmt.Sprint(w.name, w.r.IntN(64))
	k := w.keys[key]
	if k == nil {
		k = &known{values: make(map[int]bool)}
		w.keys[key] = k
	}
	return key, k
}

// is is what a write leaves that has replaced everything.
func (k *known) is(values ...int) {
	k.notFound = false
	clear(k.values)
	for _, v := range values {
		k.values[v] = true
	}
}

func (w *writer) put(key string, k *known) {
	v := w.o.next()
	if w.r.IntN(2) == 0 {
		if err := w.c.Put(context.Background(), key, v); w.NoError(err) {
			w.o.stored.Store(v, true)
			k.is(v)
		}
		return
	}
	version := k.version + uint64(w.r.IntN(3))
	err := w.c.Put(context.Background(), key, v, WithVersion(version))
	switch {
	case version > k.version:
		w.NoError(err)
		w.o.stored.Store(v, true)
		k.is(v)
		k.version = version
	case err == nil: // the version was forgotten, or it is known and nothing was done
		k.values[v] = true
	default:
		w.ErrorIs(err, ErrOutdated)
	}
}

func (w *writer) putIfAbsent(key string, k *known) {
	v := w.o.next()
	if err := w.c.Put(context.Background(), key, v, IfAbsent()); err == nil {
		w.o.stored.Store(v, true)
		k.is(v)
	} else {
		w.ErrorIs(err, ErrConflict)
		w.NotEmpty(k.values)
	}
}

func (w *writer) update(key string, k *known) {
	v := w.o.next()
	none := Loader[int](func(context.Context, string) (int, error) { return 0, ErrNotFound })
	got, err := w.c.Update(context.WithValue(context.Background(), loaderKey{}, none), key, func(old int, ok bool) (int, error) {
		w.True(!ok || k.values[old], "Update: %q is %d, want one of %v", key, old, k.values)
		return v, nil
	})
	w.NoError(err)
	w.Equal(v, got)
	w.o.stored.Store(v, true)
	k.is(v)
}

func (w *writer) delete(key string, k *known) {
	if w.r.IntN(2) == 0 {
		w.NoError(w.c.Delete(context.Background(), key))
	} else {
		k.version += 2
		w.NoError(w.c.Delete(context.Background(), key, DeletedAt(k.version)))
		w.ErrorIs(w.c.Put(context.Background(), key, w.o.next(), WithVersion(k.version-1)), ErrOutdated)
	}
	k.is()
}

// loader returns a loader whose result becomes possible.
func (w *writer) loader() (load Loader[int], v int, err error) {
	v = w.o.next()
	switch w.r.IntN(6) {
	case 0:
		err = ErrNotFound
	case 1:
		err = errors.New("down")
	}
	return func(context.Context, string) (int, error) { return v, err }, v, err
}

func (w *writer) get(key string, k *known) {
	load, v, outcome := w.loader()
	got, err := w.c.Get(context.Background(), key, load)
	if outcome == nil { // now or by a refresh
		k.values[v] = true
	}
	k.notFound = k.notFound || errors.Is(outcome, ErrNotFound)
	switch {
	case err == nil:
		w.True(k.values[got], "Get: %q is %d, want one of %v", key, got, k.values)
	case errors.Is(err, ErrNotFound):
		w.True(k.notFound, "Get: %q is not found", key)
	}
}

// look sees what is there, which no Events.Removed has been told of before.
func (w *writer) look(key string, k *known) {
	before := make(map[int]int64)
	for v := range k.values {
		before[v] = w.o.removals(v)
	}
	var e Entry[int]
	var ok bool
	if w.r.IntN(2) == 0 {
		e, ok = w.c.Peek(key)
	} else {
		var err error
		e, ok, err = w.c.Lookup(context.Background(), key)
		w.NoError(err)
	}
	if ok {
		w.True(k.values[e.Value], "look: %q is %d, want one of %v", key, e.Value, k.values)
		w.Zero(before[e.Value], "%q: %d was removed", key, e.Value)
	}
	w.False(e.NotFound && !k.notFound, "look: %q is not found", key)
}

// all looks at everything, and deletes some of it meanwhile.
func (w *writer) all() {
	for key, v := range w.c.All() {
		if k := w.keys[key]; k != nil {
			w.True(k.values[v], "All: %q is %d, want one of %v", key, v, k.values)
		}
		if w.r.IntN(16) == 0 {
			w.delete(w.key())
		}
	}
}

func (w *writer) anything() {
	key, k := w.key()
	switch n := w.r.IntN(100); {
	case n < 25:
		w.get(key, k)
	case n < 37:
		w.put(key, k)
	case n < 41:
		w.putIfAbsent(key, k)
	case n < 45:
		w.update(key, k)
	case n < 55:
		w.delete(key, k)
	case n < 60:
		w.NoError(w.c.PutNotFound(context.Background(), key))
		k.is()
		k.notFound = true
	case n < 85:
		w.look(key, k)
	case n < 88:
		_, err := w.c.Touch(context.Background(), key)
		w.NoError(err)
	case n < 93:
		w.NoError(w.c.Expire(context.Background(), key))
	case n < 94:
		w.NoError(w.c.SetMaxEntries(50 + w.r.IntN(200)))
	case n < 95: // room for the tombstones of all keys
		w.NoError(w.c.SetMaxBytes(1<<18 + w.r.Int64N(1<<18)))
	case n < 96:
		w.all()
	default:
		w.refresh(key, k)
	}
}

// A loaderKey has the loader that a Refresh is to run.
type loaderKey struct{}

func loaderOf(ctx context.Context, key string) (int, error) {
	return ctx.Value(loaderKey{}).(Loader[int])(ctx, key)
}

func (w *writer) refresh(key string, k *known) {
	load, v, outcome := w.loader()
	got, err := w.c.Refresh(context.WithValue(context.Background(), loaderKey{}, load), key)
	if outcome == nil {
		k.values[v] = true
	}
	k.notFound = k.notFound || errors.Is(outcome, ErrNotFound)
	switch {
	case err == nil:
		w.True(k.values[got], "Refresh: %q is %d, want one of %v", key, got, k.values)
	case errors.Is(err, ErrNotFound):
		w.True(k.notFound, "Refresh: %q is not found", key)
	}
}

func TestAnythingAgainstAnOracle(t *testing.T) {
	for on := soak(t, 3); on(); {
		var o oracle
		c, err := New("stress", Options[int]{
			MaxBytes: 1 << 18, MaxEntries: 100, Eviction: Eviction(rand.IntN(3)), NegativeTTL: 10 * time.Millisecond,
			TTL: 20 * time.Millisecond, StaleWhileRevalidate: 10 * time.Millisecond, StaleIfError: 50 * time.Millisecond,
			Loader: loaderOf, Logger: slog.New(slog.DiscardHandler),
			Events: Events[int]{Removed: o.addRemoval, RemovedAtClose: true},
		})
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i := range 4 {
			w := &writer{
				Assertions: assert.New(t), o: &o, c: c, r: rand.New(rand.NewPCG(rand.Uint64(), uint64(i))),
				name: fmt.Sprint("writer", i, ":"), keys: make(map[string]*known),
			}
			wg.Go(func() {
				for range 3000 {
					w.anything()
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, c.Stats().Bytes, c.Stats().MaxBytes)
		require.LessOrEqual(t, c.Stats().Entries, c.Stats().MaxEntries)
		require.NoError(t, c.Close())
		require.Zero(t, c.Stats().Bytes)
		o.stored.Range(func(v, _ any) bool {
			return assert.EqualValues(t, 1, o.removals(v.(int)), "value %d", v)
		})
		o.removed.Range(func(v, n any) bool {
			return assert.EqualValues(t, 1, n.(*atomic.Int64).Load(), "value %d", v)
		})
		if t.Failed() {
			return
		}
	}
}
