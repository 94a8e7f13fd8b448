package covey

// codec.go turns values into bytes and back, for those that leave the process.

import (
	"encoding/json"
	"fmt"
	"unsafe"
)

// A Codec turns values into bytes for other processes, and back. Values of type []byte and string
// need none. It must be safe for concurrent use. Bytes that Decode refuses count as a miss and in
// Stats.Undecodable. A panic or runtime.Goexit in Append or Decode is an error of theirs, a
// [*PanicError]. They run on goroutines of their own, so that one that takes long, or never returns,
// keeps only those waiting who want that value; Close waits for it, 5 s at most.
type Codec[V any] interface {
	// Append appends the encoding of v to dst and returns the result. It must not keep dst.
	Append(dst []byte, v V) ([]byte, error)
	// Decode returns the value that src encodes. It must not keep src.
	Decode(src []byte) (V, error)
	// Name tells this encoding from others: peers that give a cache codecs of different names do
	// not share it (see Options.Group). Change the name when the encoding changes. It must not be
	// empty, and in a group it may have 255 bytes at most.
	Name() string
}

// defaultCodec returns the codec of a cache that names none: the bytes
// themselves for []byte and string, JSON for the rest.
func defaultCodec[V any]() Codec[V] {
	var v V
	switch any(v).(type) {
	case []byte:
		return any(bytesCodec{}).(Codec[V])
	case string:
		return any(stringCodec{}).(Codec[V])
	}
	return jsonCodec[V]{}
}

// A plainCodec is one whose encoding is the value's own memory.
type plainCodec[V any] interface {
	plain(v V) []byte
	own(src []byte) V // src belongs to the value from now on
}

func (bytesCodec) plain(v []byte) []byte  { return v }
func (bytesCodec) own(src []byte) []byte  { return src }
func (stringCodec) plain(v string) []byte { return unsafe.Slice(unsafe.StringData(v), len(v)) }
func (stringCodec) own(src []byte) string { return unsafe.String(unsafe.SliceData(src), len(src)) }

type bytesCodec struct{}

func (bytesCodec) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (bytesCodec) Decode(src []byte) ([]byte, error)           { return append([]byte{}, src...), nil }
func (bytesCodec) Name() string                                { return "bytes" }

type stringCodec struct{}

func (stringCodec) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }
func (stringCodec) Decode(src []byte) (string, error)           { return string(src), nil }
func (stringCodec) Name() string                                { return "string" }

type jsonCodec[V any] struct{}

func (jsonCodec[V]) Append(dst []byte, v V) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return dst, fmt.Errorf("covey: encode value: %w", err)
	}
	return append(dst, b...), nil
}

func (jsonCodec[V]) Decode(src []byte) (V, error) {
	var v V
	err := json.Unmarshal(src, &v)
	if err != nil {
		return v, fmt.Errorf("covey: decode value: %w", err)
	}
	return v, nil
}

func (jsonCodec[V]) Name() string { return "json" }
