package covey

// background_bench_test.go measures what must not grow with a cache or its copies, or not faster
// than they do.

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/stretchr/testify/require"
)

// aloneGroup returns the only member of a group.
func aloneGroup(b *testing.B) *Group {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	g, err := NewGroup(GroupOptions{Self: "http://" + l.Addr().String(), Discovery: StaticPeers("http://" + l.Addr().String()), Listener: l})
	require.NoError(b, err)
	b.Cleanup(func() { _ = g.Shutdown(context.Background()) })
	return g
}

// fill puts n entries and returns one's key.
func fill(b *testing.B, c *Cache[int], n int) string {
	for i := range n {
		if err := c.Put(b.Context(), fmt.Sprint("key:", i), i); err != nil {
			b.Fatal(err)
		}
	}
	return "key:0"
}

var sizes = []int{10_000, 1_000_000}

func BenchmarkClear(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, err := New("bench", Options[int]{MaxBytes: 1 << 32, TTL: time.Hour})
			require.NoError(b, err)
			defer c.Close()
			for range b.N {
				b.StopTimer()
				fill(b, c, n)
				b.StartTimer()
				if err := c.Clear(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// How long writes stay unconfirmed for what a change of the ring has to be looked at here.
func BenchmarkRingChange(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g := aloneGroup(b)
			c, err := New("bench", Options[int]{MaxBytes: 1 << 32, TTL: time.Hour, Group: g})
			require.NoError(b, err)
			require.NoError(b, g.Ready(b.Context()))
			fill(b, c, n)
			b.ResetTimer()
			for range b.N {
				c.peering.adopt(g.view.Load(), false)
				c.peering.sweep()
			}
		})
	}
}

// What one keep-alive costs if no copy has been used.
func BenchmarkReportHits(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, _, _ := benchGroup(b, Options[[]byte]{})
			lender := c.peering.group.allLinks()[0]
			for i := range n {
				e := &borrowed[[]byte]{}
				e.key, e.lender = fmt.Sprint("copy:", i), lender
				c.copies.add(&e.node, &e.loanOf)
			}
			b.ResetTimer()
			for range b.N {
				c.peering.reportHits(lender, func(uint16, string, uint64) bool { return true })
			}
			b.StopTimer()
			c.copies.empty()
		})
	}
}

// What a recall of a key costs beyond the requests: the loans are over, so nobody is asked.
func BenchmarkRecall(b *testing.B) {
	for _, borrowers := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(borrowers), func(b *testing.B) {
			c, err := New("bench", Options[int]{Group: aloneGroup(b)})
			require.NoError(b, err)
			const key = "k"
			hash := c.store.hash(key)
			links := make([]*link.Link, borrowers)
			for i := range links {
				links[i] = new(link.Link)
			}
			s := &c.shards[c.shardOf(hash)]
			s.loans = make(map[string]*lending)
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				l := &lending{copies: make([]loan, 0, borrowers)}
				for i, to := range links {
					l.copies = append(l.copies, loan{to, 0, uint64(i)})
				}
				s.loans[key] = l
				b.StartTimer()
				if err := c.peering.recall(b.Context(), key, hash); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// How long a shard that remembers as many loans as it may is locked to make room for one.
func BenchmarkForgetLoans(b *testing.B) {
	c, _, _ := benchGroup(b, Options[[]byte]{})
	to := c.peering.group.allLinks()[0]
	s := &c.shards[0]
	for range b.N {
		b.StopTimer()
		s.loans = make(map[string]*lending)
		for i := range maxLoans {
			until := int64(never)
			if i%2 == 0 {
				until = 0
			}
			s.loans[fmt.Sprint(i)] = &lending{copies: []loan{{to, until, uint64(i)}}}
		}
		s.forget = 0
		b.StartTimer()
		if !s.forgetLoans(1) {
			b.Fatal("no room")
		}
	}
	b.StopTimer()
	s.loans = nil
}
