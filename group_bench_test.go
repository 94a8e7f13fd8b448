package covey

import (
	"context"
	"fmt"
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
