package covey

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// benchGroup starts two members on loopback sockets and returns the caches of both, and keys that
// the second owns.
func benchGroup(b *testing.B, o Options[[]byte]) (asker, owner *Cache[[]byte], keys []string) {
	var listeners []net.Listener
	var urls []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		listeners = append(listeners, l)
		urls = append(urls, "http://"+l.Addr().String())
	}
	var caches []*Cache[[]byte]
	for i, l := range listeners {
		g, err := NewGroup(GroupOptions{Self: urls[i], Discovery: StaticPeers(urls...), Listener: l})
		require.NoError(b, err)
		b.Cleanup(func() { _ = g.Shutdown(context.Background()) })
		o.Group = g
		c, err := New("bench", o)
		require.NoError(b, err)
		caches = append(caches, c)
	}
	for len(caches[0].peering.group.view.Load().ring.members) < 2 || len(caches[1].peering.group.view.Load().ring.members) < 2 {
	}
	require.NoError(b, caches[0].peering.group.Ready(b.Context()))
	require.NoError(b, caches[1].peering.group.Ready(b.Context()))
	for i := 0; len(keys) < 10_000; i++ {
		if k := fmt.Sprint("user:", i); caches[0].peering.group.Owner(k) == caches[1].peering.group.Name() {
			keys = append(keys, k)
			require.NoError(b, caches[1].Put(b.Context(), k, make([]byte, 100)))
		}
	}
	return caches[0], caches[1], keys
}

func BenchmarkGroupGet(b *testing.B) {
	c, _, keys := benchGroup(b, Options[[]byte]{})
	b.ReportAllocs()
	b.SetParallelism(128)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := c.Get(context.Background(), keys[i*7919%len(keys)], nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkGroupGetMany(b *testing.B) {
	c, _, keys := benchGroup(b, Options[[]byte]{})
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			at := i * 64 % (len(keys) - 64)
			m, err := c.GetMany(context.Background(), keys[at:at+64], nil)
			if err != nil || len(m) != 64 {
				b.Error(err, len(m))
				return
			}
		}
	})
}

// A hit on what this process owns, alone and in a group.
func BenchmarkHit(b *testing.B) {
	b.Run("alone", func(b *testing.B) { benchmarkHit(b, Options[string]{}) })
	b.Run("group", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		self := "http://" + l.Addr().String()
		g, err := NewGroup(GroupOptions{Self: self, Discovery: StaticPeers(self), Listener: l, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = g.Shutdown(context.Background()) }()
		if err := g.Ready(b.Context()); err != nil {
			b.Fatal(err)
		}
		benchmarkHit(b, Options[string]{Group: g})
	})
}

func benchmarkHit(b *testing.B, o Options[string]) {
	c, err := New("test", o)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Put(b.Context(), "key", "value"); err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	for b.Loop() {
		if v, err := c.Get(ctx, "key", nil); v != "value" || err != nil {
			b.Fatal(v, err)
		}
	}
}
