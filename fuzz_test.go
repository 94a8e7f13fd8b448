package covey

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Whatever a key looks like, it is either refused with a clear error or works like any other.
func FuzzKey(f *testing.F) {
	f.Add("", "v")
	f.Add("user:1", "")
	f.Add("\x00/..//?&", "\xff")
	c, err := New("fuzz", Options[string]{MaxBytes: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		ctx := t.Context()
		err := c.Put(ctx, key, value)
		if key == "" || len(key) > MaxKeyLen {
			if !errors.Is(err, ErrInvalidKey) {
				t.Fatalf("got %v; want ErrInvalidKey", err)
			}
			return
		}
		if errors.Is(err, ErrTooLarge) {
			return
		}
		v, err := c.Get(ctx, key, nil)
		if v != value || err != nil {
			t.Fatalf("got %q, %v; want %q", v, err, value)
		}
		if err := c.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(ctx, key, nil); !errors.Is(err, ErrNoLoader) {
			t.Fatalf("got %v; want ErrNoLoader", err)
		}
	})
}

// Whatever the options are, New refuses them or makes a cache that works.
func FuzzOptions(f *testing.F) {
	f.Add(int64(0), 0, int64(0), byte(0), int64(0), 0.0, int64(0), int64(0), int64(0), 0.0, 0, 0, 0.0, 0)
	f.Add(int64(1), 1, int64(1), byte(2), int64(1), 0.5, int64(1), int64(1), int64(1), 3.0, 1, 1, 1e9, 1)
	f.Fuzz(func(t *testing.T, maxBytes int64, maxEntries int, maxValue int64, ev byte, ttl int64, jitter float64,
		idle, stale, negative int64, early float64, refreshes, loads int, rate float64, burst int) {
		c, err := New("fuzz", Options[[]byte]{
			MaxBytes: maxBytes, MaxEntries: maxEntries, MaxValueBytes: maxValue, Eviction: Eviction(ev),
			TTL: time.Duration(ttl), TTLJitter: jitter, IdleTTL: time.Duration(idle),
			StaleWhileRevalidate: time.Duration(stale), StaleIfError: time.Duration(stale), NegativeTTL: time.Duration(negative),
			EarlyRefresh: early, MaxRefreshes: refreshes, MaxLoads: loads, LoadRate: rate, LoadBurst: burst,
		})
		if err != nil {
			return
		}
		defer c.Close()
		ctx := t.Context()
		for _, key := range []string{"a", "b", "a"} {
			if _, err := c.Get(ctx, key, func(context.Context, string) ([]byte, error) { return []byte(key), nil }); err != nil && !errors.Is(err, ErrOverloaded) {
				t.Fatal(err)
			}
			if err := c.Put(ctx, key, []byte(key)); err != nil && !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
		}
		if s := c.Stats(); maxBytes > 0 && s.Bytes > maxBytes || maxEntries > 0 && s.Entries > int64(maxEntries) {
			t.Fatalf("%d entries and %d bytes are over the bounds %d and %d", s.Entries, s.Bytes, maxEntries, maxBytes)
		}
	})
}
