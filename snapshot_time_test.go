package covey

// snapshot_time_test.go is about when snapshots are written, and how long that may take.

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Close waits for the file as long as anything gets done, and the file ends in time.
func TestSnapshotAtCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := withSnapshot(t, Options[string]{Codec: &slowCodec{takes: 10 * time.Millisecond}})
		c := openCache(t, o)
		for i := range 10_000 {
			require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), "v"))
		}
		start := time.Now()
		require.NoError(t, c.Close())
		require.InDelta(t, lastSnapshot, time.Since(start), float64(2*time.Second))
		s := c.Stats().Snapshot
		require.NoError(t, s.Err)
		require.InDelta(t, 1000, s.Entries, 200)
		c = openCache(t, o)
		require.EqualValues(t, s.Entries, c.Stats().Snapshot.Restored)
		require.NoError(t, c.Close())
	})
}

// A slowCodec takes its time for what it encodes.
type slowCodec struct {
	stringCodec[string]
	takes time.Duration
}

//lint:ignore U1000 it hides that of stringCodec, so that this is a user's codec
func (*slowCodec) plain() {}

func (c *slowCodec) Append(dst []byte, v string) ([]byte, error) {
	time.Sleep(c.takes)
	return append(dst, v...), nil
}

// The file is written every Interval, and at Close; nothing is written by a cache that is closed.
func TestSnapshotInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := withSnapshot(t, Options[string]{})
		c := openCache(t, o)
		require.NoError(t, c.Put(t.Context(), "k", "v"))
		time.Sleep(defaultSnapshotInterval - time.Second)
		require.NoFileExists(t, o.Snapshot.Path)
		require.Zero(t, c.Stats().Snapshot)
		time.Sleep(2 * time.Second)
		for i := range 3 {
			synctest.Wait()
			s := c.Stats().Snapshot
			require.EqualValues(t, i+1, s.Written)
			require.EqualValues(t, 1, s.Entries)
			require.WithinDuration(t, time.Now(), s.At, 2*time.Second)
			info, err := os.Stat(o.Snapshot.Path)
			require.NoError(t, err)
			require.Equal(t, info.Size(), s.Bytes)
			if i < 2 {
				time.Sleep(defaultSnapshotInterval)
			}
		}
		require.NoError(t, os.RemoveAll(filepath.Dir(o.Snapshot.Path)))
		time.Sleep(defaultSnapshotInterval)
		s := c.Stats().Snapshot
		require.EqualValues(t, 3, s.Written)
		require.EqualValues(t, 1, s.Failed)
		require.ErrorIs(t, s.Err, os.ErrNotExist)
		require.NoError(t, os.MkdirAll(filepath.Dir(o.Snapshot.Path), 0o700))
		time.Sleep(defaultSnapshotInterval)
		require.NoError(t, c.Stats().Snapshot.Err)
		require.NoError(t, c.Close())
		require.EqualValues(t, 5, c.Stats().Snapshot.Written)
		time.Sleep(time.Hour)
		require.EqualValues(t, 5, c.Stats().Snapshot.Written)
	})
}

// A snapshot that is being written when Close is called gives way to the last one.
func TestSnapshotCloseDuringWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := withSnapshot(t, Options[string]{Codec: &slowCodec{takes: time.Millisecond}})
		c := openCache(t, o)
		for i := range 3000 {
			require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), "old"))
		}
		time.Sleep(defaultSnapshotInterval + time.Second)
		require.Zero(t, c.Stats().Snapshot.Written)
		for i := range 1000 {
			require.NoError(t, c.Delete(t.Context(), fmt.Sprint(i)))
			require.NoError(t, c.Put(t.Context(), fmt.Sprint(i+1000), "new"))
		}
		c = reopened(t, c, o)
		require.Equal(t, 2000, c.Len())
		for i := range 1000 {
			require.False(t, c.Contains(fmt.Sprint(i)))
			e, _ := c.Peek(fmt.Sprint(i + 1000))
			require.Equal(t, "new", e.Value)
		}
		require.NoError(t, c.Close())
	})
}

// If there is no time to write anything the file before stays.
func TestSnapshotWithoutTime(t *testing.T) {
	o := withSnapshot(t, Options[string]{})
	c := openCache(t, o)
	require.NoError(t, c.Put(t.Context(), "k", "v"))
	require.NoError(t, c.snapshots.write(c.snapshots.live(), t.Context().Done()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.snapshots.end(ctx, c.snapshots.live())
	require.NoError(t, c.snapshots.wait())
	s := c.Stats().Snapshot
	require.ErrorIs(t, s.Err, errNoTime)
	require.EqualValues(t, 1, s.Failed)
	require.NoError(t, c.Close())
	c = openCache(t, o)
	require.Equal(t, 1, c.Len())
	require.NoError(t, c.Close())
}

// A snapshot that is begun while the cache is being closed does not take its place: it would be
// empty.
func TestSnapshotOfAClosedCache(t *testing.T) {
	o := withSnapshot(t, Options[string]{})
	c := openCache(t, o)
	require.NoError(t, c.Put(t.Context(), "k", "v"))
	c.closed.Store(true)
	require.ErrorIs(t, c.snapshots.write(c.snapshots.live(), nil), errEnding)
	require.NoFileExists(t, o.Snapshot.Path)
	c.closed.Store(false)
	require.NoError(t, c.Close())
}
