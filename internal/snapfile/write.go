package snapfile

// write.go writes a file in such a way that there is always a whole one.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A Writer writes a file under another name, in the same folder, until Commit gives it its own:
// whatever happens before that, the file that was there stays as it was. After an error the Writer
// has given up, and its file is gone.
type Writer struct {
	path   string
	file   file
	block  []byte // frame and payload
	salt   uint32
	number uint32 // of the next block
	size   int64  // of all blocks before it
	dirty  int64  // bytes that may not be on the disk yet
	counts struct{ records, inBlock uint64 }
	err    error
}

// A file is what a Writer needs of an *os.File.
type file interface {
	io.WriteCloser
	Name() string
	Sync() error
}

// syncEvery is how much may wait to be written to the disk: all of it at once, at the end, would
// keep everybody else from using the disk.
const syncEvery = 32 << 20

// tempMark stands between a file's name and the random end of the temporary one's.
const tempMark = ".tmp-"

// tempDead is for how long nobody has written to a temporary file if its process has died: a
// writer that waits for longer finds that its file has gone.
const tempDead = time.Minute

// Create begins a file. Temporary files that processes have left that were killed are removed.
func Create(path string, h Header) (*Writer, error) {
	removeDead(path)
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+tempMark+"*") // its mode is 0600
	if err != nil {
		return nil, fmt.Errorf("snapfile: %w", err)
	}
	return newWriter(path, f, h)
}

func newWriter(path string, f file, h Header) (*Writer, error) {
	w := &Writer{path: path, file: f}
	w.begin(kindHeader)
	for _, s := range []string{h.Cache, h.Codec, h.Boot} {
		if len(s) > maxText {
			return nil, w.fail(ErrTooLarge)
		}
		w.block = appendText(w.block, s)
	}
	w.block = binary.LittleEndian.AppendUint64(w.block, h.Instance)
	w.block = binary.AppendVarint(w.block, h.Written)
	w.block = binary.AppendVarint(w.block, int64(h.Uptime))
	w.block = binary.AppendUvarint(w.block, h.Records)
	salt := crc32.Checksum(w.block[frameSize:], castagnoli)
	w.write(binary.LittleEndian.AppendUint32([]byte(magic), format))
	w.end()
	w.salt = salt
	w.begin(kindEntries)
	if w.err != nil {
		return nil, w.err
	}
	return w, nil
}

func appendText[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Add adds a record, whose memory may be used again afterwards. ErrTooLarge is about this record
// alone; after any other error the Writer has given up.
func (w *Writer) Add(r *Record) error {
	switch {
	case w.err != nil:
		return w.err
	case len(r.Key) > MaxKey || len(r.Value) > MaxValue:
		return ErrTooLarge
	}
	b := append(w.block, byte(r.Flags), r.Uses)
	b = appendText(b, r.Key)
	b = binary.AppendVarint(b, int64(r.TTL))
	b = binary.AppendVarint(b, int64(r.Age))
	b = binary.AppendVarint(b, int64(r.Idle))
	b = binary.AppendVarint(b, int64(r.Cost))
	b = binary.AppendUvarint(b, r.Version)
	b = binary.AppendUvarint(b, r.Stamp)
	w.block = appendText(b, r.Value)
	w.counts.records++
	w.counts.inBlock++
	if len(w.block) >= frameSize+blockSize {
		w.end()
		w.begin(kindEntries)
	}
	return w.err
}

// Records returns how many records have been added.
func (w *Writer) Records() int64 { return int64(w.counts.records) }

// Size returns how long the file is, or would be at most if it ended here.
func (w *Writer) Size() int64 {
	if errors.Is(w.err, errDone) {
		return w.size
	}
	return w.size + int64(len(w.block)) + frameSize + trailerSize
}

// trailerSize is that of its payload at most.
const trailerSize = 1 + 2*binary.MaxVarintLen64

// SizeOf returns a bound of what a record with a key and a value of so many bytes adds.
func SizeOf(key, value int) int64 { return int64(key) + int64(value) + maxFields }

// Commit ends the file and puts it in the place of the one that was there. Then it is on the disk.
func (w *Writer) Commit() error {
	if w.counts.inBlock > 0 {
		w.end()
	}
	w.begin(kindTrailer)
	w.block = binary.AppendUvarint(w.block, uint64(w.number))
	w.block = binary.AppendUvarint(w.block, w.counts.records)
	w.end()
	if w.err != nil {
		return w.err
	}
	if err := w.file.Sync(); err != nil {
		return w.fail(err)
	}
	err := w.file.Close()
	if err == nil {
		err = os.Rename(w.file.Name(), w.path)
	}
	if err != nil {
		return w.fail(err)
	}
	w.err = errDone
	return syncFolder(filepath.Dir(w.path))
}

var errDone = errors.New("snapfile: the file is complete")

// Abort gives up, unless Commit has been called.
func (w *Writer) Abort() {
	if w.err == nil {
		_ = w.fail(errors.New("snapfile: given up"))
	}
}

// fail gives up.
func (w *Writer) fail(err error) error {
	if w.err != nil {
		return w.err
	}
	w.err = fmt.Errorf("snapfile: %w", err)
	w.block = nil
	_ = w.file.Close() // perhaps once more
	_ = os.Remove(w.file.Name())
	return w.err
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.file.Write(b)
	w.size += int64(n)
	if w.dirty += int64(n); err == nil && w.dirty >= syncEvery {
		w.dirty = 0
		err = w.file.Sync()
	}
	if err != nil {
		_ = w.fail(err)
	}
}

// begin begins a block.
func (w *Writer) begin(kind byte) {
	if w.err != nil {
		return
	}
	if cap(w.block) > 4*blockSize { // the memory of a large value
		w.block = nil
	}
	if w.block == nil {
		w.block = make([]byte, 0, frameSize+blockSize+blockSize/4)
	}
	w.block = append(w.block[:0], make([]byte, frameSize)...)
	w.block = append(w.block, kind)
	w.counts.inBlock = 0
}

// end writes the block.
func (w *Writer) end() {
	if w.err != nil {
		return
	}
	payload := w.block[frameSize:]
	putFrame(w.block, w.salt, w.number, uint32(len(payload)), crc32.Checksum(payload, castagnoli))
	w.number++
	w.write(w.block)
	if w.err == nil {
		w.block = w.block[:0]
	}
}

// putFrame makes the frame of a block.
func putFrame(b []byte, salt, number, length, sum uint32) {
	binary.LittleEndian.PutUint32(b, length)
	binary.LittleEndian.PutUint32(b[4:], sum)
	binary.LittleEndian.PutUint32(b[8:], frameSum(salt, number, b))
}

// frameSum is the checksum of the first 8 bytes of a frame, in its place.
func frameSum(salt, number uint32, frame []byte) uint32 {
	var place [8]byte
	binary.LittleEndian.PutUint32(place[:], salt)
	binary.LittleEndian.PutUint32(place[4:], number)
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, frame[:8])
}

// removeDead removes temporary files of path that nobody writes to any more.
func removeDead(path string) {
	folder, prefix := filepath.Dir(path), filepath.Base(path)+tempMark
	d, err := os.Open(folder)
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, name := range names {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		name = filepath.Join(folder, name)
		if s, err := os.Lstat(name); err == nil && s.Mode().IsRegular() && time.Since(s.ModTime()) > tempDead {
			_ = os.Remove(name)
		}
	}
}

// Remove removes a file for good.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("snapfile: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes sure that a new name in the folder outlives a failure of power.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" { // which has no such thing
		return nil
	}
	d, err := os.Open(folder)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("snapfile: %w", err)
	}
	return nil
}
