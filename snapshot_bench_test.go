package covey

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fullCache returns a cache with a snapshot, full of bytes of values of one size.
func fullCache[V any](b *testing.B, o Options[V], bytes int64, size int, value func(i int) V) (*Cache[V], Options[V]) {
	o.MaxBytes = 8 * bytes
	o.Logger = slog.New(slog.DiscardHandler)
	o.Snapshot = Snapshot{Path: filepath.Join(b.TempDir(), "snapshot"), Interval: 100 * 365 * 24 * time.Hour / 2}
	c, err := New("bench", o)
	require.NoError(b, err)
	for i := range int(bytes) / size {
		require.NoError(b, c.Put(context.Background(), fmt.Sprint("user:", i), value(i)))
	}
	return c, o
}

// BenchmarkSnapshot writes a file as fast as it goes, and makes a cache of it.
func BenchmarkSnapshot(b *testing.B) {
	const bytes = 64 << 20
	for _, size := range []int{100, 8 << 10} {
		text := strings.Repeat("v", size)
		b.Run(fmt.Sprint("string/", size), func(b *testing.B) {
			benchSnapshot(b, bytes, size, func(int) string { return text })
		})
	}
	type user struct {
		ID   int
		Name string
		Tags []string
	}
	b.Run("json", func(b *testing.B) {
		benchSnapshot(b, bytes, 200, func(i int) user { return user{i, strings.Repeat("n", 100), []string{"a", "b"}} })
	})
}

func benchSnapshot[V any](b *testing.B, bytes int64, size int, value func(i int) V) {
	c, o := fullCache(b, Options[V]{}, bytes, size, value)
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, c.snapshots.write(c.snapshots.live(), b.Context().Done()))
		}
		b.SetBytes(c.Stats().Snapshot.Bytes)
	})
	require.NoError(b, c.Close())
	b.Run("restore", func(b *testing.B) {
		b.StopTimer()
		for range b.N {
			b.StartTimer()
			c, err := New("bench", o)
			require.NoError(b, err)
			<-c.snapshots.restored
			b.StopTimer()
			require.Equal(b, int(bytes)/size, c.Len())
			require.NoError(b, c.Close())
			b.SetBytes(c.Stats().Snapshot.Bytes)
		}
	})
}

// BenchmarkSnapshotHit is what hits cost while a snapshot is written in the background, all the
// time.
func BenchmarkSnapshotHit(b *testing.B) {
	const bytes, size = 256 << 20, 1 << 10
	text := strings.Repeat("v", size)
	c, _ := fullCache(b, Options[string]{}, bytes, size, func(int) string { return text })
	defer c.Close()
	keys := make([]string, bytes/size)
	for i := range keys {
		keys[i] = fmt.Sprint("user:", i)
	}
	for _, writing := range []bool{false, true} {
		b.Run(fmt.Sprint("writing=", writing), func(b *testing.B) {
			stop := make(chan struct{})
			var wg sync.WaitGroup
			if writing {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							_ = c.snapshots.write(c.snapshots.live(), nil)
						}
					}
				})
			}
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if _, err := c.Get(context.Background(), keys[i*7919%len(keys)], nil); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			close(stop)
			wg.Wait()
		})
	}
}
