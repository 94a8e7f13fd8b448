package snapfile

// read.go reads files. Nothing in them is believed.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// A Reader reads the records of a file. What it takes of memory goes by the largest block that
// there is, whatever lengths the file pretends to have.
type Reader struct {
	from    io.Reader
	closer  io.Closer
	size    int64 // of the file
	left    int64 // bytes of it that may still come
	header  Header
	salt    uint32
	number  uint32 // of the next block
	records uint64 // that have been returned
	damaged int
	frame   [frameSize]byte
	payload []byte
	batch   []Record
	err     error // what Next returns from now on
}

// Open opens a file and reads its header.
func Open(path string) (*Reader, error) {
	s, err := os.Stat(path) // before it is opened: of a pipe, that would not return
	if err == nil && !s.Mode().IsRegular() {
		err = fmt.Errorf("%w: it is no regular file", ErrForeign)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(f, s.Size())
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	r.closer = f
	return r, nil
}

// NewReader reads the header of a file that comes from another place and has size bytes.
func NewReader(from io.Reader, size int64) (*Reader, error) {
	r := &Reader{from: from, size: size, left: size}
	var prefix [prefixSize]byte
	switch err := r.read(prefix[:]); {
	case errors.Is(err, ErrTruncated), err == nil && string(prefix[:len(magic)]) != magic:
		return nil, ErrForeign
	case err != nil:
		return nil, err
	}
	if f := binary.LittleEndian.Uint32(prefix[len(magic):]); f > format {
		return nil, fmt.Errorf("%w: %d", ErrFuture, f)
	} else if f != format {
		return nil, fmt.Errorf("%w: its format is %d", ErrForeign, f)
	}
	kind, payload, err := r.next()
	switch {
	case errors.Is(err, errPayload), err == nil && kind != kindHeader:
		return nil, fmt.Errorf("%w: its header", ErrDamaged)
	case err != nil:
		return nil, err
	}
	r.salt = crc32.Checksum(r.payload, castagnoli)
	d := decoder{b: payload}
	r.header.Cache, r.header.Codec, r.header.Boot = string(d.text(maxText)), string(d.text(maxText)), string(d.text(maxText))
	r.header.Instance = d.fixed()
	r.header.Written = d.varint()
	r.header.Uptime = time.Duration(d.varint())
	r.header.Records = d.uvarint()
	if d.bad || len(d.b) > 0 {
		return nil, fmt.Errorf("%w: its header", ErrDamaged)
	}
	return r, nil
}

// Records returns a bound of how many records there are: no more than fit.
func (r *Reader) Records() int { return int(min(r.header.Records, uint64(r.size/leastRecord))) }

// leastRecord is the size of the shortest record.
const leastRecord = 10

// Header returns what the file says of itself.
func (r *Reader) Header() Header { return r.header }

// Damaged returns how many blocks have been skipped so far because they were damaged.
func (r *Reader) Damaged() int { return r.damaged }

// Close closes the file.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// Next returns the records of the next block, at least one. Their memory is used again by the next
// call. The error is io.EOF at the end of a whole file, of which Damaged blocks may be missing.
func (r *Reader) Next() ([]Record, error) {
	for r.err == nil {
		kind, payload, err := r.next()
		switch {
		case errors.Is(err, errPayload):
			r.damaged++
		case err != nil:
			r.err = err
		case kind == kindTrailer:
			r.err = r.end(payload)
		case kind != kindEntries:
			r.damaged++
		default:
			if records := r.parse(payload); len(records) > 0 {
				return records, nil
			}
		}
	}
	return nil, r.err
}

// end looks at the trailer.
func (r *Reader) end(payload []byte) error {
	d := decoder{b: payload}
	blocks, records := d.uvarint(), d.uvarint()
	if d.bad || blocks+1 != uint64(r.number) || r.damaged == 0 && records != r.records {
		return fmt.Errorf("%w: its trailer", ErrDamaged)
	}
	return io.EOF
}

// errPayload is of a block that is damaged, while its frame is not.
var errPayload = errors.New("snapfile: the payload of a block is damaged")

// next reads the next block.
func (r *Reader) next() (kind byte, payload []byte, err error) {
	if err := r.read(r.frame[:]); err != nil {
		return 0, nil, err
	}
	length := binary.LittleEndian.Uint32(r.frame[:])
	if binary.LittleEndian.Uint32(r.frame[8:]) != frameSum(r.salt, r.number, r.frame[:]) || length == 0 || length > maxBlock {
		return 0, nil, fmt.Errorf("%w: block %d", ErrDamaged, r.number)
	}
	r.number++
	if int64(length) > r.left {
		return 0, nil, ErrTruncated
	}
	if cap(r.payload) < int(length) || cap(r.payload) > 4*blockSize && length <= blockSize+blockSize/4 {
		r.payload = make([]byte, length)
	}
	r.payload = r.payload[:length]
	if err := r.read(r.payload); err != nil {
		return 0, nil, err
	}
	if crc32.Checksum(r.payload, castagnoli) != binary.LittleEndian.Uint32(r.frame[4:]) {
		return 0, nil, errPayload
	}
	return r.payload[0], r.payload[1:], nil
}

// read fills b.
func (r *Reader) read(b []byte) error {
	if int64(len(b)) > r.left {
		return ErrTruncated
	}
	n, err := io.ReadFull(r.from, b)
	r.left -= int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}

// parse returns the records of a block. One that makes no sense, though its checksum is right, and
// those behind it count as a damaged block.
func (r *Reader) parse(payload []byte) []Record {
	r.batch = r.batch[:0]
	d := decoder{b: payload}
	for len(d.b) > 0 {
		var one Record
		one.Flags, one.Uses = Flags(d.byte()), d.byte()
		one.Key = d.text(MaxKey)
		one.TTL = time.Duration(d.varint())
		one.Age = time.Duration(d.varint())
		one.Idle = time.Duration(d.varint())
		one.Cost = time.Duration(d.varint())
		one.Version, one.Stamp = d.uvarint(), d.uvarint()
		one.Value = d.text(MaxValue)
		if d.bad || one.Flags&^allFlags != 0 {
			r.damaged++
			break
		}
		r.batch = append(r.batch, one)
	}
	r.records += uint64(len(r.batch))
	return r.batch
}

// A decoder takes fields off bytes. Once something is wrong it is bad.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) fixed() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, n = true, 0
	}
	d.take(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, n = true, 0
	}
	d.take(n)
	return v
}

// text returns a string of at most limit bytes, in the memory of the block.
func (d *decoder) text(limit uint64) []byte {
	n := d.uvarint()
	if n > limit {
		d.bad = true
		n = 0
	}
	return d.take(int(n))
}
