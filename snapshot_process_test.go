//go:build unix

package covey

// snapshot_process_test.go kills processes while they write snapshots.

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// snapshotProcess is the environment variable that makes the test binary a process with a cache
// whose snapshot is there. It writes one after another, and says to its output how far it is.
const snapshotProcess = "COVEY_TEST_SNAPSHOT"

const (
	snapshotEntries = 20_000
	snapshotSteps   = 20 // lines for a file, and one when it is there
)

// A talkingCodec says how far it is.
type talkingCodec struct {
	stringCodec[string]
	done *atomic.Int64 // values
}

//lint:ignore U1000 it hides that of stringCodec, so that this is a user's codec
func (talkingCodec) plain() {}

func (c talkingCodec) Append(dst []byte, v string) ([]byte, error) {
	if n := c.done.Add(1); n%(snapshotEntries/snapshotSteps) == 0 {
		fmt.Println("encoded:", n)
	}
	return append(dst, v...), nil
}

func snapshotMain(path string) error {
	o := Options[string]{Logger: slog.New(slog.DiscardHandler), Codec: talkingCodec{done: new(atomic.Int64)}, Snapshot: Snapshot{Path: path}}
	c, err := New("test", o)
	if err != nil {
		return err
	}
	for i := range snapshotEntries {
		key := fmt.Sprint("key", i)
		if err := c.Put(context.Background(), key, snapshotValue(key)); err != nil {
			return err
		}
	}
	isFilling := os.Getenv(snapshotProcess+"_LIMIT") != ""
	for failed := 0; ; {
		if err := c.snapshots.write(c.snapshots.live(), nil); err == nil {
			fmt.Println("written")
		} else if failed++; failed > 3 {
			fmt.Println("failed:", err)
			return c.Close()
		}
		if isFilling { // the disk is full from now on
			isFilling = false
			signal.Ignore(syscall.SIGXFSZ)
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 300 << 10, Max: 300 << 10}); err != nil {
				return err
			}
		}
	}
}

func snapshotValue(key string) string { return strings.Repeat(key, 1+len(key)%7) }

// startSnapshots starts such a process and waits for its first file. Then line returns what it says
// next.
func startSnapshots(t *testing.T, path string, env ...string) (cmd *exec.Cmd, line func() string) {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd = exec.Command(self)
	cmd.Env = append(append(os.Environ(), snapshotProcess+"="+path), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := bufio.NewReader(out)
	line = func() string {
		require.NoError(t, out.(*os.File).SetReadDeadline(time.Now().Add(testPatience)))
		s, err := said.ReadString('\n')
		require.NoError(t, err)
		return s
	}
	for line() != "written\n" {
	}
	return cmd, line
}

// Whenever a process is killed that writes its snapshot, there is a whole one.
func TestSnapshotProcessIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("processes take seconds")
	}
	path := filepath.Join(t.TempDir(), "snapshot")
	for on := soak(t, 4); on(); {
		cmd, line := startSnapshots(t, path)
		for range rand.IntN(2 * (snapshotSteps + 1)) {
			line()
		}
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
	cmd, line := startSnapshots(t, o.Snapshot.Path, snapshotProcess+"_LIMIT=1")
	said := ""
	for !strings.Contains(said, "failed:") {
		said = line()
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
