package covey

// snapshot_faults_test.go is about files that are of no use, clocks that are wrong, and codecs that
// fail or hang.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/snapfile"
	"github.com/stretchr/testify/require"
)

// A logBuffer is a handler that keeps the lines.
type logBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *logBuffer) taken() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.Reset()
	return b.String()
}

// A file that cannot be used, or not all of it, is one line in the log, and no error.
func TestSnapshotThatIsNotUsed(t *testing.T) {
	const n = 5000
	var lines logBuffer
	o := withSnapshot(t, Options[string]{TTL: 10 * time.Hour})
	o.Logger = slog.New(slog.NewTextHandler(&lines, nil))
	path := o.Snapshot.Path
	c := openCache(t, o)
	for i := range n {
		require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), strings.Repeat("v", 100)))
	}
	require.NoError(t, c.Close())
	require.Empty(t, lines.taken())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	header := func(change func(h *snapfile.Header)) func() {
		return func() {
			r, err := snapfile.Open(path)
			require.NoError(t, err)
			h := r.Header()
			change(&h)
			w, err := snapfile.Create(path, h)
			require.NoError(t, err)
			for {
				some, err := r.Next()
				if err != nil {
					break
				}
				for i := range some {
					require.NoError(t, w.Add(&some[i]))
				}
			}
			require.NoError(t, r.Close())
			require.NoError(t, w.Commit())
		}
	}
	write := func(b []byte) func() {
		return func() { require.NoError(t, os.WriteFile(path, b, 0o600)) }
	}
	flip := func(at int) []byte {
		b := bytes.Clone(whole)
		b[at] ^= 1
		return b
	}
	for _, test := range []struct {
		name   string
		spoil  func()
		change func(o *Options[string])
		level  string // of the line; "": none
		says   string
		least  int // entries that are there all the same
		most   int
	}{
		{"nothing", func() {}, nil, "", "", n, n},
		{"no file", func() { require.NoError(t, os.Remove(path)) }, nil, "", "", 0, 0},
		{"no folder", func() { require.NoError(t, os.RemoveAll(filepath.Dir(path))) }, nil, "WARN", "not there", 0, 0},
		{"empty", write(nil), nil, "WARN", "not a snapshot", 0, 0},
		{"text", write([]byte(strings.Repeat("x", 5000))), nil, "WARN", "not a snapshot", 0, 0},
		{"a folder", func() { require.NoError(t, os.Remove(path)); require.NoError(t, os.Mkdir(path, 0o700)) }, nil, "WARN", "regular", 0, 0},
		{"newer format", write(flip(9)), nil, "WARN", "newer", 0, 0},
		{"header", write(flip(30)), nil, "WARN", "damaged", 0, 0},
		{"middle", write(flip(len(whole) / 2)), nil, "WARN", "damaged", n / 4, n - 1},
		{"truncated", write(whole[:len(whole)*2/3]), nil, "WARN", "end is missing", n / 4, n - 1},
		{"another name", header(func(h *snapfile.Header) { h.Cache = "other" }), nil, "WARN", "another cache", 0, 0},
		{"another codec", func() {}, func(o *Options[string]) { o.Version = "2" }, "INFO", "codec", 0, 0},
		{"too old", header(func(h *snapfile.Header) { h.Written -= int64(61 * time.Minute) }), nil, "INFO", "MaxAge", 0, 0},
		{"old, but not too old", header(func(h *snapfile.Header) { h.Written -= int64(59 * time.Minute) }), nil, "", "", n, n},
		{"MaxAge", header(func(h *snapfile.Header) { h.Written -= int64(2 * time.Hour) }), func(o *Options[string]) { o.Snapshot.MaxAge = 3 * time.Hour }, "", "", n, n},
		{"future", header(func(h *snapfile.Header) { h.Written += int64(time.Hour); h.Boot = "" }), nil, "WARN", "future", 0, 0},
		{"future, but on this machine", header(func(h *snapfile.Header) { h.Written += int64(time.Hour) }), nil, "", "", n, n},
		{"clock set back, machine runs on", header(func(h *snapfile.Header) { h.Uptime -= 2 * time.Hour }), nil, "INFO", "MaxAge", 0, 0},
		{"other machine", header(func(h *snapfile.Header) { h.Uptime -= 2 * time.Hour; h.Boot = "other" }), nil, "", "", n, n},
	} {
		t.Run(test.name, func(t *testing.T) {
			if boot, _ := bootTime(); boot == "" && strings.Contains(test.name, "machine") {
				t.Skip("it is not known since when the machine runs")
			}
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
			require.NoError(t, os.RemoveAll(path))
			write(whole)()
			test.spoil()
			o := o
			if test.change != nil {
				test.change(&o)
			}
			c := openCache(t, o)
			require.GreaterOrEqual(t, c.Len(), test.least)
			require.LessOrEqual(t, c.Len(), test.most)
			require.EqualValues(t, c.Len(), c.Stats().Snapshot.Restored)
			require.NoError(t, c.Put(t.Context(), "new", "v"))
			require.NoError(t, flushLogs(c.opt.Logger, time.NewTimer(time.Minute)))
			line := lines.taken()
			if test.level == "" {
				require.Empty(t, line)
			} else {
				require.Equal(t, 1, strings.Count(line, "\n"), line)
				require.Contains(t, line, "level="+test.level)
				require.Contains(t, line, test.says)
			}
			require.NoError(t, c.Close())
			lines.taken()
		})
	}
}

// No entry is served for longer than its TTL, whatever the clocks say.
func TestSnapshotClocks(t *testing.T) {
	o := withSnapshot(t, Options[string]{TTL: time.Hour, TTLJitter: -1})
	c := openCache(t, o)
	require.NoError(t, c.Put(t.Context(), "k", "v"))
	require.NoError(t, c.Close())
	r, err := snapfile.Open(o.Snapshot.Path)
	require.NoError(t, err)
	written, _ := r.Header(), r.Close()
	for _, test := range []struct {
		wall, up time.Duration // that have passed
		boot     bool
		ttl      time.Duration // that is left; 0: nothing is
	}{
		{10 * time.Minute, 10 * time.Minute, true, 50 * time.Minute},
		{10 * time.Minute, 20 * time.Minute, true, 40 * time.Minute},
		{20 * time.Minute, 10 * time.Minute, true, 40 * time.Minute},
		{-time.Hour, 10 * time.Minute, true, 50 * time.Minute},
		{-time.Hour, -time.Minute, true, 0},
		{-time.Hour, 0, false, 0},
		{10 * time.Minute, 0, false, 50 * time.Minute},
		{59 * time.Minute, 0, false, time.Minute},
		{0, 59 * time.Minute, true, time.Minute},
		{61 * time.Minute, 0, false, 0},
	} {
		h := written
		h.Written -= int64(test.wall)
		h.Uptime -= test.up
		if !test.boot {
			h.Boot = ""
		} else if h.Boot == "" {
			continue
		}
		w, err := snapfile.Create(o.Snapshot.Path, h)
		require.NoError(t, err)
		require.NoError(t, w.Add(&snapfile.Record{Key: []byte("k"), Value: []byte("v"), TTL: time.Hour}))
		require.NoError(t, w.Commit())
		c := openCache(t, o)
		e, ok := c.Peek("k")
		require.Equal(t, test.ttl > 0, ok, "%+v", test)
		if ok {
			require.LessOrEqual(t, e.TTL, test.ttl)
			require.InDelta(t, test.ttl, e.TTL, float64(30*time.Second))
		}
		require.NoError(t, c.Close())
	}
}

// Nonsense in a file whose checksums are right harms nobody.
func TestSnapshotNonsense(t *testing.T) {
	for _, o := range []Options[string]{{}, {TTL: time.Hour, IdleTTL: time.Minute, StaleIfError: time.Hour}} {
		o = withSnapshot(t, o)
		w, err := snapfile.Create(o.Snapshot.Path, snapfile.Header{Cache: "test", Codec: "string", Written: time.Now().UnixNano()})
		require.NoError(t, err)
		r := rand.New(rand.NewPCG(1, 1))
		any := func() time.Duration { return time.Duration(r.Uint64()) >> r.UintN(64) }
		for i := range 10_000 {
			one := snapfile.Record{Key: []byte(fmt.Sprint(i % 5000)), Value: []byte("v"), Flags: snapfile.Flags(r.UintN(8)), Uses: uint8(r.UintN(256))}
			one.TTL, one.Age, one.Idle, one.Cost = any(), any(), any(), any()
			one.Version = r.Uint64()
			if r.IntN(100) == 0 {
				one.Key = make([]byte, r.IntN(2)*(MaxKeyLen+1))
			}
			require.NoError(t, w.Add(&one))
		}
		require.NoError(t, w.Commit())
		c := openCache(t, o)
		require.LessOrEqual(t, c.Len(), 5000)
		c.verify()
		for i := range 5000 {
			key := fmt.Sprint(i)
			_, _, _ = c.Lookup(t.Context(), key)
			v, err := c.Get(t.Context(), key, func(context.Context, string) (string, error) { return "v", nil })
			if err != nil {
				require.ErrorIs(t, err, ErrNotFound)
			} else {
				require.Equal(t, "v", v)
			}
		}
		require.NoError(t, c.Close())
	}
}

// A brittleCodec is a user's codec that does what the value says.
type brittleCodec struct {
	stringCodec[string]
	hang chan struct{}
	hung *atomic.Int64 // how often it did
}

//lint:ignore U1000 it hides that of stringCodec, so that this is a user's codec
func (brittleCodec) plain() {}

func (c brittleCodec) do(v string) error {
	switch {
	case strings.HasPrefix(v, "panic"):
		panic("codec")
	case strings.HasPrefix(v, "goexit"):
		runtime.Goexit()
	case strings.HasPrefix(v, "error"):
		return errors.New("no")
	case strings.HasPrefix(v, "hang"):
		c.hung.Add(1)
		<-c.hang
	}
	return nil
}

func (c brittleCodec) Append(dst []byte, v string) ([]byte, error) {
	if v == "less" {
		return dst[:max(0, len(dst)-1)], map[bool]error{true: errors.New("nothing to take away")}[len(dst) == 0]
	}
	if err := c.do(v); err != nil || v == "" {
		return dst, err
	}
	return append(dst, strings.TrimPrefix(v, "later ")...), nil
}

func (c brittleCodec) Decode(src []byte) (string, error) { return string(src), c.do(string(src)) }

// A codec that fails for some values costs these.
func TestSnapshotCodecFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := withSnapshot(t, Options[string]{Codec: brittleCodec{}})
		c := openCache(t, o)
		bad := []string{"panic", "goexit", "error", "less", "later panic", "later goexit", "later error"}
		for i := range 700 {
			require.NoError(t, c.Put(t.Context(), fmt.Sprint("good", i), fmt.Sprint("v", i)))
			require.NoError(t, c.Put(t.Context(), fmt.Sprint("bad", i), bad[i%len(bad)]))
		}
		c = reopened(t, c, o)
		require.Equal(t, 700, c.Len())
		require.EqualValues(t, 300, c.Stats().Undecodable)
		for i := range 700 {
			e, _ := c.Peek(fmt.Sprint("good", i))
			require.Equal(t, fmt.Sprint("v", i), e.Value)
		}
		require.NoError(t, c.Close())
	})
}

// A codec that hangs keeps nobody waiting for long, and no file from staying as it was.
func TestSnapshotCodecHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		codec := brittleCodec{hang: make(chan struct{}), hung: new(atomic.Int64)}
		o := withSnapshot(t, Options[string]{Codec: codec, Snapshot: Snapshot{Interval: time.Minute}})
		o.Snapshot.Interval = time.Minute
		c := openCache(t, o)
		require.NoError(t, c.Put(t.Context(), "k", "v"))
		time.Sleep(61 * time.Second)
		require.EqualValues(t, 1, c.Stats().Snapshot.Written)
		require.NoError(t, c.Put(t.Context(), "h", "hang"))
		time.Sleep(time.Hour)
		require.EqualValues(t, 1, codec.hung.Load(), "no others are sent after it")
		s := c.Stats().Snapshot
		require.EqualValues(t, 1, s.Written)
		require.InDelta(t, 60, s.Failed, 1)
		require.ErrorIs(t, s.Err, errHangs)
		close(codec.hang)
		time.Sleep(time.Minute)
		require.EqualValues(t, 2, c.Stats().Snapshot.Written, "it goes on when the codec does")
		require.NoError(t, c.Close())

		codec.hang = make(chan struct{})
		o.Codec = codec
		start := time.Now()
		c = openCache(t, o)
		require.Equal(t, restoreWait, time.Since(start))
		require.NoError(t, c.Put(t.Context(), "new", "v"))
		time.Sleep(10 * time.Second)
		<-c.snapshots.restored
		start = time.Now()
		require.NoError(t, c.Close(), "it ends without a file")
		require.LessOrEqual(t, time.Since(start), closeGrace)
		onlyFile(t, o.Snapshot.Path)
		close(codec.hang)
	})
}
