package link

// seal.go protects the answers to a request over plain HTTP. They come in records, each of which
// has a MAC over it and the MAC before, the first one over that of the request. So nobody can
// change an answer, leave out one in the middle or take it for the answer to another request. What
// is missing at the end was not answered, as when a connection breaks.
//
//	record: length uint32, little endian; MAC; that many bytes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/coveycache/covey/internal/wire"
)

// maxRecord is how many bytes are kept before they are known to be the peer's.
const maxRecord = 64 << 10

// A sealer writes records.
type sealer struct {
	node *Node
	last []byte // MAC
	w    io.Writer
}

func (s *sealer) Write(b []byte) (written int, err error) {
	for len(b) > 0 {
		data := b[:min(len(b), maxRecord)]
		s.last = s.node.mac(s.node.secrets()[0], rolePlainServer, [][]byte{s.last, data})
		head := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+macSize), uint32(len(data)))
		if _, err := s.w.Write(append(head, s.last...)); err != nil {
			return written, err
		}
		if _, err := s.w.Write(data); err != nil {
			return written, err
		}
		written += len(data)
		b = b[len(data):]
	}
	return written, nil
}

// An unsealer reads what is in records.
type unsealer struct {
	node *Node
	last []byte // MAC
	io.ReadCloser
	record, rest []byte // a MAC with its data, and what of these has not been read
}

func (u *unsealer) Read(b []byte) (int, error) {
	if len(u.rest) == 0 {
		if err := u.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// next reads a record.
func (u *unsealer) next() error {
	var length [4]byte
	if _, err := io.ReadFull(u.ReadCloser, length[:]); err != nil {
		return err
	}
	size := binary.LittleEndian.Uint32(length[:])
	if size == 0 || size > maxRecord {
		return wire.ErrMagic
	}
	u.record = slices.Grow(u.record[:0], macSize+int(size))[:macSize+size]
	if _, err := io.ReadFull(u.ReadCloser, u.record); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	mac, data := u.record[:macSize], u.record[macSize:]
	if !u.node.proved(mac, rolePlainServer, u.last, data) {
		return fmt.Errorf("%w: the answer is not by our secret, or not to this request: compare GroupOptions.Secrets", ErrRefused)
	}
	u.last, u.rest = bytes.Clone(mac), data
	return nil
}
