//go:build unix

package covey

// snapshot_process_test.go kills processes while they write snapshots.

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// snapshotProcess is the environment variable that makes the test binary a process with a cache
// whose snapshot is there. It writes one after another, and a line to its output for each.
const snapshotProcess = "COVEY_TEST_SNAPSHOT"

func snapshotMain(path string) error {
	const n = 20_000
	o := Options[string]{Logger: slog.New(slog.DiscardHandler), Snapshot: Snapshot{Path: path, Interval: time.Millisecond}}
	c, err := New("test", o)
	if err != nil {
		return err
	}
	for i := range n {
		key := fmt.Sprint("key", i)
		if err := c.Put(context.Background(), key, snapshotValue(key)); err != nil {
			return err
		}
	}
	full := os.Getenv(snapshotProcess+"_LIMIT") != ""
	for seen := int64(0); ; time.Sleep(time.Millisecond) {
		s := c.Stats().Snapshot
		if s.Written != seen && s.Entries == n {
			fmt.Println(s.Written)
			seen = s.Written
		}
		if seen > 0 && full { // the disk is, from now on
			full = false
			signal.Ignore(syscall.SIGXFSZ)
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 300 << 10, Max: 300 << 10}); err != nil {
				return err
			}
		}
		if s.Failed > 3 {
			fmt.Println("failed:", s.Err)
			return c.Close()
		}
	}
}

func snapshotValue(key string) string { return strings.Repeat(key, 1+len(key)%7) }

// startSnapshots starts such a process and waits for its first file.
func startSnapshots(t *testing.T, path string, env ...string) (cmd *exec.Cmd, lines func() string) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd = exec.Command(self)
	cmd.Env = append(append(os.Environ(), snapshotProcess+"="+path), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	b := make([]byte, 1<<10)
	lines = func() string {
		require.NoError(t, out.(*os.File).SetReadDeadline(time.Now().Add(testPatience)))
		n, err := out.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
	lines()
	return cmd, lines
}

// Whenever a process is killed that writes its snapshot, there is a whole one.
func TestSnapshotProcessIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("processes take seconds")
	}
	path := filepath.Join(t.TempDir(), "snapshot")
	for range 10 {
		cmd, lines := startSnapshots(t, path)
		lines()
		time.Sleep(time.Duration(rand.Int64N(int64(100 * time.Millisecond))))
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()

		var warnings logBuffer
		o := Options[string]{Logger: slog.New(slog.NewTextHandler(&warnings, nil)), Snapshot: Snapshot{Path: path}}
		c, err := New("test", o)
		require.NoError(t, err)
		require.Empty(t, warnings.taken())
		require.Greater(t, c.Len(), 10_000)
		for key, v := range c.All() {
			if v != snapshotValue(key) { // require is slow
				require.Equal(t, snapshotValue(key), v)
			}
		}
		require.NoError(t, c.Close())
		// What it was writing is no use to anybody.
		left, err := filepath.Glob(path + ".tmp-*")
		require.NoError(t, err)
		require.LessOrEqual(t, len(left), 1)
		for _, name := range left {
			old := time.Now().Add(-time.Hour)
			require.NoError(t, os.Chtimes(name, old, old))
		}
	}
}

// A full disk costs the new file, not the old one.
func TestSnapshotOnAFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("processes take seconds")
	}
	o := withSnapshot(t, Options[string]{})
	cmd, lines := startSnapshots(t, o.Snapshot.Path, snapshotProcess+"_LIMIT=1")
	said := ""
	for !strings.Contains(said, "failed:") {
		said = lines()
	}
	require.Contains(t, said, "too large")
	require.NoError(t, cmd.Wait())
	onlyFile(t, o.Snapshot.Path)
	info, err := os.Stat(o.Snapshot.Path)
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(300<<10))
	c := openCache(t, o)
	require.Greater(t, c.Len(), 10_000)
	require.NoError(t, c.Close())
}
