package covey

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A mesh stands before the peers and refuses upgrades: they speak over plain HTTP.
func TestPlainPeers(t *testing.T) {
	const n = 2
	var groups [n]*Group
	var urls []string
	for i := range n {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Upgrade") != "" {
				http.Error(w, "no upgrades here", http.StatusForbidden)
				return
			}
			groups[i].ServeHTTP(w, r)
		}))
		defer srv.Close()
		urls = append(urls, srv.URL)
	}
	var loads atomic.Int64
	bad := errors.New("the database is down")
	bound := func(_ context.Context, key string) (string, error) {
		loads.Add(1)
		if key == "none" {
			return "", ErrNotFound
		}
		if key == "bad" {
			return "", bad
		}
		return "loaded " + key, nil
	}
	var withLoader, without [n]*Cache[string]
	for i := range n {
		quiet := slog.New(slog.DiscardHandler)
		g, err := NewGroup(GroupOptions{Self: urls[i], Discovery: StaticPeers(urls...), Secrets: [][]byte{testSecret}, Logger: quiet})
		require.NoError(t, err)
		defer func() { require.NoError(t, g.Shutdown(t.Context())) }()
		groups[i] = g
		withLoader[i], err = New("a/b", Options[string]{Group: g, Loader: bound, Logger: quiet})
		require.NoError(t, err)
		without[i], err = New("without", Options[string]{Group: g, Logger: quiet})
		require.NoError(t, err)
	}
	ctx := t.Context()
	for _, g := range groups {
		require.NoError(t, g.Ready(ctx))
	}
	key := func(suffix string) string { // that the first owns
		for k := "k" + suffix; ; k += "." {
			if groups[0].Owner(k) == groups[0].Name() {
				return k
			}
		}
	}

	k := key("ä?/&")
	for range 3 {
		for _, c := range withLoader {
			v, err := c.Get(ctx, k, nil)
			require.NoError(t, err)
			require.Equal(t, "loaded "+k, v)
		}
	}
	require.EqualValues(t, 1, loads.Load())

	require.NoError(t, withLoader[1].Put(ctx, k, "put", WithVersion(7), WithTTL(time.Hour)))
	for _, c := range withLoader {
		e, ok, err := c.Lookup(ctx, k)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "put", e.Value)
		require.EqualValues(t, 7, e.Version)
		require.InDelta(t, time.Hour, e.TTL, float64(7*time.Minute)) // jitter
	}
	require.ErrorIs(t, withLoader[1].Put(ctx, k, "older", WithVersion(6)), ErrOutdated)
	require.NoError(t, withLoader[1].Delete(ctx, k))
	for _, c := range withLoader {
		_, ok, err := c.Lookup(ctx, k)
		require.NoError(t, err)
		require.False(t, ok)
	}

	for _, c := range without {
		v, err := c.Get(ctx, k, func(context.Context, string) (string, error) { return "passed", nil })
		require.NoError(t, err)
		require.Equal(t, "passed", v)
		if c == without[0] { // the owner's own is stored
			require.NoError(t, c.Delete(ctx, k))
		}
	}
	_, ok, err := without[0].Lookup(ctx, k)
	require.NoError(t, err)
	require.False(t, ok, "a peer's loader stores nothing")
	_, err = without[1].Get(ctx, k, nil)
	require.ErrorIs(t, err, ErrNoLoader)

	for _, odd := range []string{"none", "bad"} {
		for i, c := range withLoader {
			_, err := c.Get(ctx, odd, nil)
			if odd == "none" {
				require.ErrorIs(t, err, ErrNotFound)
			} else {
				require.ErrorContains(t, err, bad.Error(), "peer %d", i)
			}
		}
	}
}
