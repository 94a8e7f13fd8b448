package wire

// decode.go turns bytes into frames. Nothing that arrives is believed.

import (
	"encoding/binary"
	"math"
	"time"
	"unsafe"
)

// BodyLen returns the length of the body that follows the header at the start
// of b, which has at least HeaderSize bytes.
func BodyLen(b []byte) (int, error) {
	n := binary.LittleEndian.Uint32(b)
	if n > MaxBody {
		return 0, ErrTooLarge
	}
	return int(n), nil
}

// Parse makes f the frame that b holds: header, body and nothing after them.
// f shares b's memory. The fields of f are undefined after an error.
func Parse(b []byte, f *Frame) error {
	body, err := open(b)
	if err != nil {
		return err
	}
	*f = Frame{
		Type:  Type(b[4]),
		Flags: Flags(b[5]),
		Cache: binary.LittleEndian.Uint16(b[6:]),
		Op:    binary.LittleEndian.Uint32(b[8:]),
	}
	for len(body) > 0 {
		tag, v, p, rest, ok := field(body)
		if !ok || !f.set(tag, v, p) {
			return ErrMalformed
		}
		body = rest
	}
	return nil
}

// open returns the body of the one frame that b holds.
func open(b []byte) ([]byte, error) {
	if len(b) < HeaderSize {
		return nil, ErrMalformed
	}
	n, err := BodyLen(b)
	if err == nil && n != len(b)-HeaderSize {
		err = ErrMalformed
	}
	return b[HeaderSize:], err
}

// field splits the first field off b, which is not empty. By the tag's kind
// its content is in v or in p.
func field(b []byte) (tag byte, v uint64, p, rest []byte, ok bool) {
	tag, b = b[0], b[1:]
	switch tag & 3 {
	case kindFixed:
		if len(b) < 8 {
			return
		}
		return tag, binary.LittleEndian.Uint64(b), nil, b[8:], true
	case kindRest:
		return tag, 0, b[:len(b):len(b)], nil, true
	}
	v, n := uint64(0), 1
	if len(b) > 0 && b[0] < 0x80 { // most numbers are short
		v = uint64(b[0])
	} else if v, n = binary.Uvarint(b); n <= 0 {
		return
	}
	b = b[n:]
	if tag&3 == kindVarint {
		return tag, v, nil, b, true
	}
	if v > uint64(len(b)) {
		return
	}
	return tag, 0, b[:v:v], b[v:], true
}

// set gives f the content of a field and reports whether it is within its limit.
func (f *Frame) set(tag byte, v uint64, p []byte) bool {
	switch tag {
	case tagKey:
		f.Key = alias(p)
		return len(p) <= MaxKey
	case tagValue:
		f.Value = p
	case tagItems:
		f.Items = p
	case tagStamp:
		f.Stamp = v
	case tagMade:
		f.Made = v
	case tagVersion:
		f.Version, f.HasVersion = v, true
	case tagTTL:
		f.TTL = duration(v)
		return v <= math.MaxInt64
	case tagAge:
		f.Age = duration(v)
		return v <= math.MaxInt64
	case tagLoadTime:
		f.LoadTime = duration(v)
		return v <= math.MaxInt64
	case tagDeadline:
		f.Deadline = duration(v)
		return v <= math.MaxInt64
	case tagClear:
		f.Clear = v
	case tagToken:
		f.Token = v
	case tagCount:
		f.Count = v
	case tagRing:
		f.Ring = v
	case tagChain:
		f.Chain = p
		return len(p)%8 == 0 && len(p) <= 8*MaxChain
	case tagTrace:
		f.Trace = p
		return len(p) <= MaxTrace
	case tagCode:
		f.Code = Code(v)
		return v <= math.MaxUint32
	case tagResult:
		f.Result = Type(v)
		return v <= math.MaxUint8
	case tagText:
		f.Text = alias(p)
		return len(p) <= MaxText
	case tagSize:
		f.Size = v
		return v <= math.MaxInt32
	case tagStream:
		f.Stream = uint32(v)
		return v <= math.MaxUint32
	}
	return true
}

// MaxDuration is the longest duration that Parse returns: a longer one is as good as that. Sums of
// two of them stay within int64.
const MaxDuration = 100 * 365 * 24 * time.Hour

func duration(v uint64) time.Duration { return time.Duration(min(v, uint64(MaxDuration))) }

// alias returns p as a string in the same memory.
func alias(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

// Next makes f the first of the frames in items and returns those behind it.
// Callers that walk through Items stop after MaxItems.
func Next(items []byte, f *Frame) (rest []byte, err error) {
	if len(items) < HeaderSize {
		return nil, ErrMalformed
	}
	n, err := BodyLen(items)
	if err != nil {
		return nil, err
	}
	if n += HeaderSize; n > len(items) {
		return nil, ErrMalformed
	}
	return items[n:], Parse(items[:n], f)
}
