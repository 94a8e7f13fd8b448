package covey

// loadinfo.go is what a loader can tell the cache about the value that it loads.

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A Load is a loader's view of its own load, got by [LoadInfo]. What its methods set takes effect
// when the loader returns; later calls change nothing. The methods may be called concurrently.
type Load struct {
	mu   sync.Mutex
	meta loadMeta
	keys map[string]*Load // of a bulk load

	old        bool
	oldVersion uint64
}

// loadMeta is what a loader may set.
type loadMeta struct {
	ttl        time.Duration
	version    uint64
	hasTTL     bool
	hasVersion bool
	noStore    bool
}

// isStale reports whether the value is stale already.
func (m *loadMeta) isStale() bool { return m.noStore || m.hasTTL && m.ttl <= 0 }

var warnOutside sync.Once

// LoadInfo returns the load that ctx belongs to; ctx is the loader's or derived from it. It never
// returns nil: outside a loader it returns a Load that nobody reads, and logs a warning, once in
// the life of the process.
func LoadInfo(ctx context.Context) *Load {
	if l := loadingOf(ctx); l != nil {
		return l.info
	}
	warnOutside.Do(func() {
		slog.Warn("covey: LoadInfo was called outside a loader; what it sets has no effect")
	})
	return new(Load)
}

// SetTTL makes the value fresh for d instead of Options.TTL. Options.TTLJitter applies as usual.
// [Forever] means no expiry. 0 or negative means that the value is stale already: those who wait
// get it, and it is not stored. With more than 100 years the load fails. SetTTL says nothing about
// how long ErrNotFound is remembered.
func (l *Load) SetTTL(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.meta.ttl, l.meta.hasTTL = d, true
}

// LoaderTTL makes a [Loader] of a function that returns a value together with its TTL, which means
// what it means for [Load.SetTTL]. If the function returns an error the TTL does not count. Each
// call of LoaderTTL allocates: make the loader once.
func LoaderTTL[V any](load func(ctx context.Context, key string) (V, time.Duration, error)) Loader[V] {
	return func(ctx context.Context, key string) (V, error) {
		v, ttl, err := load(ctx, key)
		if err == nil {
			LoadInfo(ctx).SetTTL(ttl)
		}
		return v, err
	}
}

// SetVersion gives the value a version; see [WithVersion]. If the cache knows a higher one when the
// load ends, the value goes to those who wait for it but is not stored.
func (l *Load) SetVersion(v uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.meta.version, l.meta.hasVersion = v, true
}

// NoStore makes the cache give the value, or ErrNotFound, to those who wait for it without storing
// it.
func (l *Load) NoStore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.meta.noStore = true
}

// StaleVersion returns the version of the value that the cache still has for the key, or has got
// from a [Snapshot], 0 if that was stored without one. Only if ok is true does the cache have such
// a value, and only then may the loader return [ErrUnchanged].
func (l *Load) StaleVersion() (version uint64, ok bool) {
	return l.oldVersion, l.old
}

// For returns the part of a bulk load that is about key. It never returns nil: outside a bulk load,
// or for a key that is not part of it, it returns a Load that nobody reads.
func (l *Load) For(key string) *Load {
	if part := l.keys[key]; part != nil {
		return part
	}
	return new(Load)
}

func (l *Load) read() loadMeta {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.meta
}

func newLoad(old *node) *Load {
	l := new(Load)
	if old != nil {
		l.old, l.oldVersion = true, old.version
	}
	return l
}
