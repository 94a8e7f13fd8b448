package snapfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A disk is a file in memory that has room for so many bytes.
type disk struct {
	bytes.Buffer
	room   int
	synced bool
}

var errFull = errors.New("no space left")

func (d *disk) Write(b []byte) (int, error) {
	if d.Len()+len(b) > d.room {
		n, _ := d.Buffer.Write(b[:d.room-d.Len()])
		return n, errFull
	}
	return d.Buffer.Write(b)
}
func (d *disk) Name() string { return os.DevNull + "/none" }
func (d *disk) Close() error { return nil }
func (d *disk) Sync() error  { d.synced = true; return nil }

var header = Header{Cache: "users", Codec: "string@7", Instance: 1 << 63, Written: 1764500000_000000000, Boot: "b", Uptime: 3 * time.Hour, Records: 1 << 40}

// records returns some, of all sizes, that are the same for the same seed.
func records(seed uint64, n, most int) (all []Record) {
	r := rand.New(rand.NewPCG(seed, 1))
	bytes := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	for i := range n {
		one := Record{
			Key: append(bytes(r.IntN(30)), fmt.Sprint(i)...), Value: bytes(r.IntN(most + 1)), Flags: Flags(r.UintN(8)), Uses: uint8(r.UintN(256)),
			TTL: time.Duration(r.Uint64()), Age: time.Duration(r.Uint64()), Idle: time.Duration(r.Uint32()), Cost: time.Duration(r.Uint32()),
			Version: r.Uint64() >> r.UintN(64), Stamp: r.Uint64() >> r.UintN(64),
		}
		all = append(all, one)
	}
	return all
}

// written returns the file of some records.
func written(t testing.TB, all []Record) []byte {
	d := &disk{room: math.MaxInt}
	w, err := newWriter("", d, header)
	require.NoError(t, err)
	for i := range all {
		require.NoError(t, w.Add(&all[i]))
	}
	require.Error(t, w.Commit(), "there is nothing to rename")
	require.True(t, d.synced)
	return d.Bytes()
}

// read returns everything that can be read.
func read(file []byte) (h Header, all []Record, damaged int, err error) {
	r, err := NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return h, nil, 0, err
	}
	defer r.Close()
	for {
		some, err := r.Next()
		if err != nil {
			return r.Header(), all, r.Damaged(), err
		}
		for _, one := range some {
			one.Key, one.Value = bytes.Clone(one.Key), bytes.Clone(one.Value)
			if one.Value == nil {
				one.Value = []byte{}
			}
			all = append(all, one)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 100, 3000} {
		want := records(uint64(n), n, 1000)
		h, got, damaged, err := read(written(t, want))
		require.Equal(t, io.EOF, err)
		require.Zero(t, damaged)
		require.Equal(t, header, h)
		require.Equal(t, want, got)
	}
}

func TestLargeValues(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "snap"), header)
	require.NoError(t, err)
	large := make([]byte, MaxValue+1)
	require.ErrorIs(t, w.Add(&Record{Key: []byte("k"), Value: large}), ErrTooLarge)
	require.ErrorIs(t, w.Add(&Record{Key: large[:MaxKey+1]}), ErrTooLarge)
	require.NoError(t, w.Add(&Record{Key: large[:MaxKey], Value: large[:blockSize-MaxKey-100]}))
	require.NoError(t, w.Add(&Record{Key: large[:MaxKey], Value: large[:MaxValue], TTL: math.MinInt64, Age: math.MinInt64, Idle: math.MinInt64, Cost: math.MinInt64, Version: math.MaxUint64, Stamp: math.MaxUint64}))
	require.NoError(t, w.Add(&Record{Key: []byte("small")}))
	require.EqualValues(t, 3, w.Records())
	size := w.Size()
	require.NoError(t, w.Commit())
	require.Error(t, w.Add(&Record{Key: []byte("late")}))
	w.Abort()
	r, err := Open(w.path)
	require.NoError(t, err)
	require.EqualValues(t, r.size/leastRecord, r.Records())
	defer r.Close()
	info, err := os.Stat(w.path)
	require.NoError(t, err)
	require.InDelta(t, info.Size(), size, frameSize+trailerSize)
	n := 0
	for {
		some, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		n += len(some)
	}
	require.Equal(t, 3, n)
	require.LessOrEqual(t, cap(r.payload), 4*blockSize, "the memory of the large value has been given back")
}

// Whatever byte of a file is changed, what is read is a part of what was written, and the damage is
// noticed.
func TestDamage(t *testing.T) {
	want := records(7, 2000, 1000)
	file := written(t, want)
	r := rand.New(rand.NewPCG(1, 1))
	skipped := 0
	for range 100 {
		bad := bytes.Clone(file)
		switch r.IntN(3) {
		case 0:
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		case 1: // some bytes
			from := r.IntN(len(bad))
			for i := from; i < min(from+r.IntN(5000), len(bad)); i++ {
				bad[i] = byte(r.Uint32())
			}
		case 2: // a part of it twice
			copy(bad[r.IntN(len(bad)):], bad[r.IntN(len(bad)):])
		}
		if bytes.Equal(bad, file) {
			continue
		}
		_, got, damaged, err := read(bad)
		if err == io.EOF {
			require.Positive(t, damaged)
			skipped++
		}
		i := 0
		for _, one := range got {
			for !bytes.Equal(want[i].Key, one.Key) {
				i++
			}
			require.Equal(t, want[i], one)
		}
	}
	require.Positive(t, skipped)
}

func TestTruncated(t *testing.T) {
	want := records(8, 500, 1000)
	file := written(t, want)
	for n := range len(file) {
		if n%97 != 0 && n < len(file)-50 && n > 200 {
			continue
		}
		_, got, _, err := read(file[:n])
		if n < prefixSize {
			require.ErrorIs(t, err, ErrForeign)
		} else {
			require.ErrorIs(t, err, ErrTruncated)
		}
		require.Equal(t, want[:len(got)], append([]Record{}, got...))
	}
}

// A block of one file is none of another, nor of another place.
func TestBlocksOfOthers(t *testing.T) {
	want := records(9, 2000, 1000)
	file := written(t, want)
	header.Written++
	other := written(t, want)
	header.Written--
	require.Len(t, other, len(file))
	_, got, _, err := read(append(bytes.Clone(other[:len(file)/2]), file[len(file)/2:]...))
	require.ErrorIs(t, err, ErrDamaged)
	require.Less(t, len(got), len(want))

	at := prefixSize
	var blocks [][]byte
	for at < len(file) {
		n := frameSize + int(binary.LittleEndian.Uint32(file[at:]))
		blocks = append(blocks, file[at:at+n])
		at += n
	}
	require.Greater(t, len(blocks), 4)
	blocks[1], blocks[2] = blocks[2], blocks[1]
	_, got, _, err = read(slices.Concat(append([][]byte{file[:prefixSize]}, blocks...)...))
	require.ErrorIs(t, err, ErrDamaged)
	require.Empty(t, got)
}

func TestForeignAndFuture(t *testing.T) {
	for _, b := range []string{"", "x", "{\"json\": true, \"and\": \"long enough\"}", magic[:7]} {
		_, err := NewReader(bytes.NewReader([]byte(b)), int64(len(b)))
		require.ErrorIs(t, err, ErrForeign)
	}
	file := written(t, nil)
	file[len(magic)]++
	_, err := NewReader(bytes.NewReader(file), int64(len(file)))
	require.ErrorIs(t, err, ErrFuture)
	file[len(magic)] = 0
	_, err = NewReader(bytes.NewReader(file), int64(len(file)))
	require.ErrorIs(t, err, ErrForeign)

	dir := t.TempDir()
	_, err = Open(dir)
	require.ErrorIs(t, err, ErrForeign)
	_, err = Open(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// What a file says of its length costs nothing.
func TestLengthsCostNothing(t *testing.T) {
	file := written(t, nil)
	salt := crc32.Checksum(file[prefixSize+frameSize:prefixSize+frameSize+int(binary.LittleEndian.Uint32(file[prefixSize:]))], castagnoli)
	for _, length := range []uint32{maxBlock, maxBlock + 1, math.MaxUint32} {
		bad := bytes.Clone(file[:len(file)-frameSize-3]) // without the trailer
		bad = append(bad, make([]byte, frameSize)...)
		putFrame(bad[len(bad)-frameSize:], salt, 1, length, 0)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, _, err := read(bad)
		runtime.ReadMemStats(&after)
		require.Error(t, err)
		require.NotErrorIs(t, err, io.EOF)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
	}
}

func TestDiskFull(t *testing.T) {
	all := records(10, 500, 2000)
	whole := len(written(t, all))
	for room := 0; room < whole; room += whole / 40 {
		d := &disk{room: room}
		w, err := newWriter("", d, header)
		for i := range all {
			if err == nil {
				err = w.Add(&all[i])
			}
		}
		if err == nil {
			err = w.Commit()
		}
		require.ErrorIs(t, err, errFull)
		require.False(t, d.synced)
	}
}

// A file that could not be completed leaves nothing behind, and the one before it stays.
func TestFilesAreReplacedWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "snap")
	write := func(n int, end func(*Writer) error) error {
		w, err := Create(path, header)
		require.NoError(t, err)
		all := records(uint64(n), n, 100)
		for i := range all {
			require.NoError(t, w.Add(&all[i]))
		}
		return end(w)
	}
	require.NoError(t, write(10, (*Writer).Commit))
	info, err := os.Stat(path)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, write(5000, func(w *Writer) error { w.Abort(); return nil }))
	require.Error(t, write(5000, func(w *Writer) error {
		_ = w.file.Close() // so that Sync fails
		return w.Commit()
	}))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 1)

	require.NoError(t, write(20, (*Writer).Commit))
	r, err := Open(path)
	require.NoError(t, err)
	some, err := r.Next()
	require.NoError(t, err)
	require.Len(t, some, 20)
	require.NoError(t, r.Close())

	_, err = Create(filepath.Join(dir, "none", "snap"), header)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// What a killed process has left goes with the next file, but not what another one may be writing.
func TestDeadFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a*?[snap")
	dead, alive, other := path+tempMark+"1", path+tempMark+"2", filepath.Join(dir, "other"+tempMark+"1")
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{dead, alive, other} {
		require.NoError(t, os.WriteFile(name, []byte("x"), 0o600))
		if name != alive {
			require.NoError(t, os.Chtimes(name, old, old))
		}
	}
	w, err := Create(path, header)
	require.NoError(t, err)
	require.NoError(t, w.Commit())
	require.NoFileExists(t, dead)
	require.FileExists(t, alive)
	require.FileExists(t, other)
	require.FileExists(t, path)
}

func FuzzReader(f *testing.F) {
	f.Add(written(f, nil))
	f.Add(written(f, records(1, 3, 20)))
	long := written(f, records(2, 600, 1000))
	f.Add(long)
	f.Add(long[:len(long)/2])
	f.Fuzz(func(t *testing.T, file []byte) {
		_, all, _, err := read(file)
		if err == nil {
			t.Fatal("a file does not end")
		}
		held := 0
		for _, one := range all {
			held += len(one.Key) + len(one.Value)
		}
		if held > len(file) {
			t.Fatalf("%d bytes were read of %d", held, len(file))
		}
	})
}

// FuzzRecords has payloads whose checksums are right.
func FuzzRecords(f *testing.F) {
	d := &disk{room: math.MaxInt}
	w, _ := newWriter("", d, header)
	for _, one := range records(3, 5, 20) {
		_ = w.Add(&one)
	}
	f.Add(bytes.Clone(w.block[frameSize:]), byte(0))
	f.Add([]byte{kindTrailer, 1, 0}, byte(1))
	f.Fuzz(func(t *testing.T, payload []byte, kind byte) {
		d := &disk{room: math.MaxInt}
		w, _ := newWriter("", d, header)
		w.block = append(append(w.block[:frameSize], []byte{kindEntries, kindTrailer, kindHeader, kind}[kind%4]), payload...)
		w.end()
		_, all, damaged, err := read(d.Bytes())
		if err == nil || kind%4 > 1 && damaged == 0 && kind != kindEntries && kind != kindTrailer {
			t.Fatal(err, damaged, len(all))
		}
	})
}

func BenchmarkSnapshotFile(b *testing.B) {
	for _, size := range []int{100, 8 << 10} {
		value, key := make([]byte, size), []byte("user:123456789")
		const n = 64 << 20
		path := filepath.Join(b.TempDir(), "snap")
		b.Run(fmt.Sprintf("write/%d", size), func(b *testing.B) {
			b.SetBytes(n)
			for b.Loop() {
				w, err := Create(path, header)
				require.NoError(b, err)
				for range n / size {
					if err := w.Add(&Record{Key: key, Value: value, TTL: time.Minute, Age: time.Second}); err != nil {
						b.Fatal(err)
					}
				}
				require.NoError(b, w.Commit())
			}
		})
		b.Run(fmt.Sprintf("read/%d", size), func(b *testing.B) {
			b.SetBytes(n)
			for b.Loop() {
				r, err := Open(path)
				require.NoError(b, err)
				for err == nil {
					_, err = r.Next()
				}
				require.Equal(b, io.EOF, err)
				require.NoError(b, r.Close())
			}
		})
	}
}
