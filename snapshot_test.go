package covey

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

// withSnapshot returns the options with a snapshot in a folder of the test's.
func withSnapshot[V any](t testing.TB, o Options[V]) Options[V] {
	o.Snapshot.Path = filepath.Join(t.TempDir(), "snapshot")
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func openCache[V any](t testing.TB, o Options[V]) *Cache[V] {
	c, err := New("test", o)
	require.NoError(t, err)
	return c
}

// reopened closes a cache and opens it again.
func reopened[V any](t testing.TB, c *Cache[V], o Options[V]) *Cache[V] {
	require.NoError(t, c.Close())
	require.NoError(t, c.Stats().Snapshot.Err)
	return openCache(t, o)
}

// onlyFile requires that there is nothing in the folder but the snapshot.
func onlyFile(t testing.TB, path string) {
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.Equal(t, filepath.Base(path), files[0].Name())
}

// A cache that is opened again has what it had, aged by the time in between.
func TestSnapshotRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, eviction := range []Eviction{LFU, LRU, FIFO} {
			o := withSnapshot(t, Options[string]{
				Eviction: eviction, TTL: time.Hour, TTLJitter: -1, StaleIfError: time.Hour, IdleTTL: 50 * time.Minute, NegativeTTL: 30 * time.Minute,
			})
			c := openCache(t, o)
			ctx := t.Context()
			require.NoError(t, c.Put(ctx, "plain", "v"))
			require.NoError(t, c.Put(ctx, "empty", ""))
			require.NoError(t, c.Put(ctx, "version", "v", WithVersion(7)))
			require.NoError(t, c.Put(ctx, "forever", "v", WithTTL(Forever)))
			require.NoError(t, c.Put(ctx, "short", "v", WithTTL(time.Minute)))
			require.NoError(t, c.PutNotFound(ctx, "none"))
			require.NoError(t, c.Put(ctx, "gone", "v", WithTTL(10*time.Minute)))
			require.NoError(t, c.Delete(ctx, "gone"))
			_, err := c.Get(ctx, "loaded", func(ctx context.Context, _ string) (string, error) {
				time.Sleep(3 * time.Second)
				return "loaded", nil
			})
			require.NoError(t, err)
			time.Sleep(10 * time.Minute)
			require.NoError(t, c.Expire(ctx, "plain"))
			before := make(map[string]Entry[string])
			for _, key := range []string{"plain", "empty", "version", "forever", "short", "none", "gone", "loaded"} {
				before[key], _ = c.Peek(key)
			}
			cost := costOf(c.store.index.find(c.store.hash("loaded"), "loaded").cost)
			size := c.Stats().Bytes
			require.NoError(t, c.Close())
			onlyFile(t, o.Snapshot.Path)
			time.Sleep(15 * time.Minute)

			c = openCache(t, o)
			require.EqualValues(t, 7, c.Stats().Snapshot.Restored)
			require.Equal(t, size, c.Stats().Bytes)
			for key, want := range before {
				if want != (Entry[string]{}) {
					want.Age += 15 * time.Minute
				}
				if want.TTL != 0 {
					want.TTL -= 15 * time.Minute
				}
				have, _ := c.Peek(key)
				if want.TTL == -1-15*time.Minute { // it had just expired
					want.TTL++
				}
				require.Equal(t, want, have, key)
			}
			require.Equal(t, cost, costOf(c.store.index.find(c.store.hash("loaded"), "loaded").cost))
			require.ErrorIs(t, c.Put(ctx, "version", "w", WithVersion(6)), ErrOutdated)

			time.Sleep(30 * time.Minute) // 55 min after their last use, but for those that were looked at
			require.Equal(t, 1, c.Len())
			c = reopened(t, c, o)
			require.Equal(t, 1, c.Len())
			require.NoError(t, c.Close())
		}
	})
}

// What an entry of a JSON value, and of bytes, has been is what it is again.
func TestSnapshotCodecs(t *testing.T) {
	type user struct {
		Name string
		Tags []string
	}
	o := withSnapshot(t, Options[user]{})
	c := openCache(t, o)
	want := user{"a", []string{"x", ""}}
	for i := range 1000 {
		require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), want))
	}
	c = reopened(t, c, o)
	for i := range 1000 {
		e, ok := c.Peek(fmt.Sprint(i))
		require.True(t, ok)
		require.Equal(t, want, e.Value)
	}
	require.NoError(t, c.Close())

	b := withSnapshot(t, Options[[]byte]{})
	d := openCache(t, b)
	require.NoError(t, d.Put(t.Context(), "k", []byte("value")))
	require.NoError(t, d.Put(t.Context(), "nil", nil))
	d = reopened(t, d, b)
	e, ok := d.Peek("k")
	require.True(t, ok)
	require.Equal(t, []byte("value"), e.Value)
	require.Equal(t, len(e.Value), cap(e.Value))
	e, ok = d.Peek("nil")
	require.True(t, ok)
	require.Empty(t, e.Value)
	require.NoError(t, d.Close())

	_, err := New("test", withSnapshot(t, Options[struct{ hidden int }]{}))
	require.ErrorContains(t, err, "hidden")
}

// Where there is no room for all of it, what is used most is there, and it is the last to leave.
func TestSnapshotHottestFirst(t *testing.T) {
	const n = 4000
	for _, eviction := range []Eviction{LFU, LRU, FIFO} {
		for _, less := range []string{"file", "cache"} {
			t.Run(fmt.Sprint(eviction, "/", less), func(t *testing.T) {
				o := withSnapshot(t, Options[string]{Eviction: eviction, MaxEntries: n})
				if less == "file" {
					o.Snapshot.MaxBytes = n * 30 / 4
				}
				c := openCache(t, o)
				key := func(i int) string { return fmt.Sprintf("key%05d", i) }
				for i := range n {
					require.NoError(t, c.Put(t.Context(), key(i), "value"))
				}
				const from, to = n / 2, n/2 + n/8 // the hot ones
				if eviction == FIFO {
					for i := from; i < to; i++ {
						require.NoError(t, c.Delete(t.Context(), key(i)))
						time.Sleep(time.Microsecond) // FIFO goes by the clock, whose steps may be long
						require.NoError(t, c.Put(t.Context(), key(i), "value"))
					}
				}
				for range 4 {
					for i := from; i < to; i++ {
						_, err := c.Get(t.Context(), key(i), nil)
						require.NoError(t, err)
					}
				}
				if less == "cache" {
					o.MaxEntries = n / 4
				}
				c = reopened(t, c, o)
				if less == "file" {
					info, err := os.Stat(o.Snapshot.Path)
					require.NoError(t, err)
					require.LessOrEqual(t, info.Size(), o.Snapshot.MaxBytes)
					require.Less(t, c.Len(), n/2)
				} else {
					require.Equal(t, n/4, c.Len())
				}
				require.Greater(t, c.Len(), n/8)
				hot := func() (hot int) {
					for i := from; i < to; i++ {
						if c.Contains(key(i)) {
							hot++
						}
					}
					return hot
				}
				require.Equal(t, n/8, hot())
				require.NoError(t, c.SetMaxEntries(n/8))
				if eviction == LFU { // which guesses
					require.Greater(t, hot(), n/8*3/4)
				} else {
					require.Equal(t, n/8, hot())
				}
				require.NoError(t, c.Put(t.Context(), "new", "v"))
				require.True(t, c.Contains("new"))
				require.NoError(t, c.Close())
			})
		}
	}
}

// The bounds hold while a snapshot is restored, and nothing leaves for it.
func TestSnapshotWithinBounds(t *testing.T) {
	o := withSnapshot(t, Options[string]{MaxBytes: 4 << 20})
	c := openCache(t, o)
	for i := range 20_000 {
		require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), strings.Repeat("v", i%300)))
	}
	require.Positive(t, c.Stats().Evictions)
	require.NoError(t, c.Close())
	o.MaxBytes = 1 << 20
	c = openCache(t, o)
	s := c.Stats()
	require.LessOrEqual(t, s.Bytes, o.MaxBytes)
	require.Greater(t, s.Bytes, o.MaxBytes*9/10)
	require.Equal(t, s.Entries, s.Snapshot.Restored)
	require.Zero(t, s.Evictions)
	c.verify()
	require.NoError(t, c.Close())
}

// A gate is a codec for strings that lets values pass one by one, or all.
type gate struct {
	stringCodec[string]
	arrived chan string
	open    chan struct{}
}

//lint:ignore U1000 it hides that of stringCodec, so that this is a user's codec
func (g *gate) plain() {}

func (g *gate) Decode(b []byte) (string, error) {
	select {
	case g.arrived <- string(b):
	default:
	}
	select {
	case <-g.open:
	case <-time.After(time.Second / 100):
	}
	return string(b), nil
}

// Whatever happens before a snapshot has been restored is newer than what is in it.
func TestSnapshotIsOlder(t *testing.T) {
	const n = 2000
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			o := withSnapshot(t, Options[string]{NegativeTTL: -1})
			g := &gate{open: make(chan struct{})}
			o.Codec = g
			c := openCache(t, o)
			for i := range n {
				require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), "old"))
			}
			c = reopened(t, c, o) // returns while 2,000 values of 10 ms each still come
			r := rand.New(rand.NewPCG(seed, 0))
			want := make(map[string]string) // "": nothing
			cleared := false
			for range 1000 {
				key := fmt.Sprint(r.IntN(n))
				switch r.IntN(7) {
				case 0, 1:
					require.NoError(t, c.Put(t.Context(), key, "new"))
					want[key] = "new"
				case 2:
					require.NoError(t, c.Delete(t.Context(), key))
					want[key] = ""
				case 3:
					require.NoError(t, c.Expire(t.Context(), key))
					want[key] = ""
				case 4: // a load that says there is none, which is not remembered
					v, err := c.Get(t.Context(), key, func(context.Context, string) (string, error) { return "", ErrNotFound })
					if err == nil {
						require.True(t, v == "old" && want[key] == "" || v == want[key], v)
					} else {
						require.ErrorIs(t, err, ErrNotFound)
						want[key] = ""
					}
				case 5: // it was there, and has been evicted
					require.NoError(t, c.Put(t.Context(), key, "new"))
					c.removeAll(c.shardOf(c.store.hash(key)), []*node{c.store.index.find(c.store.hash(key), key)})
					want[key] = ""
				case 6:
					if seed%2 == 0 && r.IntN(50) == 0 {
						require.NoError(t, c.Clear(t.Context()))
						cleared = true
						clear(want)
					}
				}
				if r.IntN(10) == 0 {
					time.Sleep(20 * time.Millisecond)
				}
			}
			close(g.open)
			<-c.snapshots.restored
			old := 0
			for i := range n {
				e, ok := c.Peek(fmt.Sprint(i))
				v, written := want[fmt.Sprint(i)]
				switch {
				case written:
					require.Equal(t, v != "", ok, "%d", i)
					require.Equal(t, v, e.Value)
				case ok:
					require.Equal(t, "old", e.Value)
					old++
				}
			}
			if cleared {
				require.Zero(t, old)
			} else {
				require.Equal(t, n-len(want), old)
			}
			require.Nil(t, c.shards[0].wrote, "what is no longer needed")
			require.NoError(t, c.Close())
		})
	}
}

// So many writes during the restoring that they cannot be remembered end it.
func TestSnapshotManyWrites(t *testing.T) {
	c := openCache(t, Options[int]{})
	defer c.Close()
	s := c.lockAt(3)
	s.wrote = make(map[uint32]struct{})
	for i := range uint32(maxWrote) {
		s.hasWritten("k", i)
		s.hasWritten("k", i)
	}
	require.NotNil(t, s.wrote)
	s.hasWritten("k", maxWrote)
	require.Nil(t, s.wrote)
	s.unlock()
	e := c.makeEntry("k", 3<<26, 0, 1, 0, 0)
	done, more := c.restore(e, c.store.gen.Load(), 0, 1)
	require.False(t, done)
	require.True(t, more)
}

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

func TestSnapshotMistakes(t *testing.T) {
	for want, s := range map[string]Snapshot{
		"Snapshot.Interval is -1s, it must not be negative":    {Path: "x", Interval: -time.Second},
		"Snapshot.MaxAge is -1s, it must not be negative":      {Path: "x", MaxAge: -time.Second},
		"Snapshot.MaxBytes is -1, it must not be negative":     {Path: "x", MaxBytes: -1},
		"Snapshot.MaxAge is 1752000h0m0s, the limit":           {Path: "x", MaxAge: 200 * 365 * 24 * time.Hour},
		`Snapshot.Path is "", the rest of Snapshot needs it`:   {MaxBytes: 1},
		`Options.Snapshot.Path is "", the rest of Snapshot ne`: {Interval: 1},
	} {
		_, err := New("test", Options[string]{Snapshot: s})
		require.ErrorContains(t, err, want)
	}
	o := withSnapshot(t, Options[string]{})
	c := openCache(t, o)
	same := o
	same.Snapshot.Path = filepath.Join(filepath.Dir(o.Snapshot.Path), "x", "..", "snapshot")
	_, err := New("other", same)
	require.ErrorContains(t, err, "another cache uses")
	require.NoError(t, c.Close())
	c = openCache(t, same)
	require.NoError(t, c.Close())
}

// Anything may run while snapshots are written, and what is read at the end is what was there.
func TestAnythingBesideSnapshots(t *testing.T) {
	for _, eviction := range []Eviction{LFU, LRU, FIFO} {
		o := withSnapshot(t, Options[string]{Eviction: eviction, MaxEntries: 200, NegativeTTL: time.Millisecond, TTL: time.Hour, ErrorThrottle: -1})
		o.Snapshot.Interval = time.Millisecond
		for goesOn := soak(t, 5); goesOn(); {
			c := openCache(t, o)
			var wg sync.WaitGroup
			var stop atomic.Bool
			for i := range 4 {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(i), rand.Uint64()))
					for !stop.Load() {
						_ = anything(t.Context(), c, r)
					}
				})
			}
			for c.Stats().Snapshot.Written < 10 {
				time.Sleep(time.Millisecond)
			}
			require.NoError(t, c.Stats().Snapshot.Err)
			stop.Store(true)
			wg.Wait()
			time.Sleep(3 * time.Millisecond) // what was put with a TTL of 1 ms is over
			before := maps.Collect(c.All())
			require.NoError(t, c.Close())
			require.NoError(t, c.Stats().Snapshot.Err)
			onlyFile(t, o.Snapshot.Path)
			c = openCache(t, o)
			require.True(t, maps.Equal(before, maps.Collect(c.All())))
			c.verify()
			require.NoError(t, c.Close())
		}
	}
}

// Functions of Events may use what a snapshot has brought, as ever.
func TestSnapshotRemovedAtClose(t *testing.T) {
	var removed atomic.Int64
	o := withSnapshot(t, Options[string]{})
	o.Events = Events[string]{Removed: func(Removal[string]) { removed.Add(1) }, RemovedAtClose: true}
	c := openCache(t, o)
	require.NoError(t, c.Put(t.Context(), "a", "v"))
	require.NoError(t, c.Put(t.Context(), "b", "v"))
	c = reopened(t, c, o)
	require.EqualValues(t, 2, removed.Load())
	require.Equal(t, 2, c.Len())
	require.NoError(t, c.Delete(t.Context(), "a"))
	require.NoError(t, c.Close())
	require.EqualValues(t, 4, removed.Load())
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
