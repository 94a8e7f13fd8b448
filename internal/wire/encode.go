package wire

// encode.go turns frames into bytes.

import (
	"encoding/binary"
	"time"
)

// The low two bits of a tag say what follows it.
const (
	kindVarint = iota
	kindFixed
	kindBytes
	kindRest
)

// Tags. A number is never used again for something else.
const (
	tagKey      = 1<<2 + kindBytes
	tagValue    = 2<<2 + kindRest
	tagItems    = 3<<2 + kindRest
	tagStamp    = 4<<2 + kindFixed
	tagMade     = 5<<2 + kindFixed
	tagVersion  = 6<<2 + kindVarint
	tagTTL      = 7<<2 + kindVarint
	tagAge      = 8<<2 + kindVarint
	tagLoadTime = 9<<2 + kindVarint
	tagDeadline = 10<<2 + kindVarint
	tagClear    = 11<<2 + kindVarint
	tagToken    = 12<<2 + kindVarint
	tagCount    = 13<<2 + kindVarint
	tagRing     = 14<<2 + kindFixed
	tagChain    = 15<<2 + kindBytes
	tagTrace    = 16<<2 + kindBytes
	tagCode     = 17<<2 + kindVarint
	tagResult   = 18<<2 + kindVarint
	tagText     = 19<<2 + kindBytes
	tagSize     = 20<<2 + kindVarint
	tagStream   = 21<<2 + kindVarint
)

// Append appends the encoding of f to dst. It does not look at the limits:
// see [Frame.Check].
func Append(dst []byte, f *Frame) []byte {
	if f.Items != nil {
		dst = AppendHead(dst, f, len(f.Items))
		return append(dst, f.Items...)
	}
	dst = AppendHead(dst, f, len(f.Value))
	return append(dst, f.Value...)
}

// AppendHead appends the encoding of f without the rest of its body, for
// which the caller sends n bytes next: f's Value, or its Items if it has some.
func AppendHead(dst []byte, f *Frame, n int) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(f.Type), byte(f.Flags), byte(f.Cache), byte(f.Cache>>8),
		byte(f.Op), byte(f.Op>>8), byte(f.Op>>16), byte(f.Op>>24))
	if f.Key != "" {
		dst = binary.AppendUvarint(append(dst, tagKey), uint64(len(f.Key)))
		dst = append(dst, f.Key...)
	}
	if f.Stamp != 0 {
		dst = appendFixed(dst, tagStamp, f.Stamp)
	}
	if f.Made != 0 {
		dst = appendFixed(dst, tagMade, f.Made)
	}
	if f.HasVersion {
		dst = binary.AppendUvarint(append(dst, tagVersion), f.Version)
	}
	dst = appendDuration(dst, tagTTL, f.TTL)
	dst = appendDuration(dst, tagAge, f.Age)
	dst = appendDuration(dst, tagLoadTime, f.LoadTime)
	dst = appendDuration(dst, tagDeadline, f.Deadline)
	dst = appendUint(dst, tagClear, f.Clear)
	dst = appendUint(dst, tagToken, f.Token)
	dst = appendUint(dst, tagCount, f.Count)
	if f.Ring != 0 {
		dst = appendFixed(dst, tagRing, f.Ring)
	}
	dst = appendBytes(dst, tagChain, f.Chain)
	dst = appendBytes(dst, tagTrace, f.Trace)
	dst = appendUint(dst, tagCode, uint64(f.Code))
	dst = appendUint(dst, tagResult, uint64(f.Result))
	dst = appendBytes(dst, tagText, f.Text)
	dst = appendUint(dst, tagSize, f.Size)
	dst = appendUint(dst, tagStream, uint64(f.Stream))
	switch {
	case f.Items != nil:
		dst = append(dst, tagItems)
	case n > 0:
		dst = append(dst, tagValue)
	}
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-HeaderSize+n))
	return dst
}

// SetOp gives the encoded frame at the start of b another op.
func SetOp(b []byte, op uint32) { binary.LittleEndian.PutUint32(b[8:], op) }

func appendUint(dst []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(append(dst, tag), v)
}

// appendDuration appends d; a negative one, of which nothing remains, as the shortest there is.
func appendDuration(dst []byte, tag byte, d time.Duration) []byte {
	if d == 0 {
		return dst
	}
	return binary.AppendUvarint(append(dst, tag), uint64(max(d, 1)))
}

func appendFixed(dst []byte, tag byte, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, tag), v)
}

func appendBytes[T string | []byte | Chain](dst []byte, tag byte, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(append(dst, tag), uint64(len(v)))
	return append(dst, v...)
}

// AppendChunk appends the header of a Chunk of n bytes of the stream's value,
// which the caller sends next. The body of a Chunk has no fields.
func AppendChunk(dst []byte, stream uint32, n int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = append(dst, byte(Chunk), 0, 0, 0)
	return binary.LittleEndian.AppendUint32(dst, stream)
}

// Check reports whether f is within the limits, its value within maxValue.
func (f *Frame) Check(maxValue int) error {
	if len(f.Key) > MaxKey || len(f.Text) > MaxText || len(f.Trace) > MaxTrace || len(f.Chain) > 8*MaxChain ||
		len(f.Items) > MaxBody/2 || len(f.Value) > maxValue {
		return ErrTooLarge
	}
	return nil
}
