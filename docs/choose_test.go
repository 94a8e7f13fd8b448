package docs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey"
)

// A Product is a row with a revision, which grows with each change.
type Product struct {
	Name     string
	Revision uint64
}

func newProducts(load covey.Loader[Product], logger *slog.Logger) (*covey.Cache[Product], error) {
	return covey.New("products", covey.Options[Product]{
		MaxBytes: 512 << 20,
		Loader:   load,

		TTL:                  5 * time.Minute,
		NegativeTTL:          5 * time.Second,
		StaleWhileRevalidate: 30 * time.Second,
		StaleIfError:         time.Hour,

		LoadTimeout: 2 * time.Second,
		SoftTimeout: 200 * time.Millisecond,
		MaxLoads:    64,
		Breaker:     &covey.Breaker{FailureRatio: 0.5, MinLoads: 20},

		Logger: logger,
	})
}

// newTokens returns a cache of tokens that say themselves how long they last.
func newTokens(fetch func(ctx context.Context) (token string, expires time.Time, err error)) (*covey.Cache[string], error) {
	load := covey.LoaderTTL(func(ctx context.Context, _ string) (string, time.Duration, error) {
		token, expires, err := fetch(ctx)
		return token, time.Until(expires) - time.Minute, err // 0 or less: not stored
	})
	return covey.New("tokens", covey.Options[string]{Loader: load})
}

// conditional returns a loader that fetches only what has changed.
func conditional(fetch func(ctx context.Context, id string, known uint64) (p Product, changed bool, err error)) covey.Loader[Product] {
	return func(ctx context.Context, id string) (Product, error) {
		load := covey.LoadInfo(ctx)
		known, ok := load.StaleVersion()
		p, changed, err := fetch(ctx, id, known) // no product has revision 0
		switch {
		case err != nil:
			return Product{}, err
		case ok && !changed:
			return Product{}, covey.ErrUnchanged
		}
		load.SetVersion(p.Revision)
		return p, nil
	}
}

func TestChoose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		var revision uint64
		var takes time.Duration
		var fails error
		products, err := newProducts(func(ctx context.Context, id string) (Product, error) {
			if id == "none" {
				revision++
				return Product{}, covey.ErrNotFound
			}
			select {
			case <-ctx.Done():
				return Product{}, ctx.Err()
			case <-time.After(takes):
			}
			revision++
			return Product{Name: id, Revision: revision}, fails
		}, slog.New(slog.NewTextHandler(&logged, nil)))
		if err != nil {
			t.Fatal(err)
		}
		get := func(id string, want uint64, wantTook time.Duration) {
			t.Helper()
			start := time.Now()
			p, err := products.Get(t.Context(), id, nil)
			if err != nil || p.Revision != want || time.Since(start) != wantTook {
				t.Fatalf("got %v, %v after %v; want revision %d after %v", p, err, time.Since(start), want, wantTook)
			}
		}
		const ttl = 5 * time.Minute // with jitter, it ends up to half a minute before
		get("tea", 1, 0)
		get("tea", 1, 0)
		time.Sleep(ttl) // stale, but for less than StaleWhileRevalidate
		get("tea", 1, 0)
		synctest.Wait()
		get("tea", 2, 0) // refreshed behind the last one

		takes = time.Second
		time.Sleep(ttl + time.Minute)
		get("tea", 2, 200*time.Millisecond) // SoftTimeout
		time.Sleep(time.Second)
		get("tea", 3, 0)

		takes, fails = 0, errors.New("the database is down")
		time.Sleep(ttl + time.Minute)
		get("tea", 3, 0) // StaleIfError
		time.Sleep(time.Hour)
		if _, err := products.Get(t.Context(), "tea", nil); err == nil {
			t.Fatal("what is older than StaleIfError was served")
		}

		fails, revision = nil, 0
		for range 2 {
			if _, err := products.Get(t.Context(), "none", nil); !errors.Is(err, covey.ErrNotFound) || revision != 1 {
				t.Fatalf("got %v after %d loads", err, revision)
			}
		}
		if err := products.Close(); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(logged.Bytes(), []byte("do not go together")) {
			t.Errorf("the options of the page fight each other: %s", &logged)
		}
	})
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetched := 0
		tokens, err := newTokens(func(context.Context) (string, time.Time, error) {
			fetched++
			return "a token", time.Now().Add(time.Hour), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		defer tokens.Close()
		for _, want := range []int{1, 1, 2} {
			if token, err := tokens.Get(t.Context(), "api", nil); token != "a token" || err != nil || fetched != want {
				t.Fatalf("got %q, %v after %d fetches; want %d", token, err, fetched, want)
			}
			time.Sleep(30 * time.Minute)
		}
	})
}

func TestConditional(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := Product{Name: "tea", Revision: 1}
		sent := 0
		load := conditional(func(_ context.Context, _ string, known uint64) (Product, bool, error) {
			if known == origin.Revision {
				return Product{}, false, nil
			}
			sent++
			return origin, true, nil
		})
		products, err := covey.New("products", covey.Options[Product]{TTL: time.Minute, StaleIfError: time.Hour, Loader: load})
		if err != nil {
			t.Fatal(err)
		}
		defer products.Close()
		for i, want := range []uint64{1, 1, 2} {
			if i == 2 {
				origin.Revision = 2
			}
			if p, err := products.Get(t.Context(), "tea", nil); err != nil || p.Revision != want || uint64(sent) != want {
				t.Fatalf("got %v, %v, sent %d times; want revision %d", p, err, sent, want)
			}
			time.Sleep(2 * time.Minute)
		}
	})
}
