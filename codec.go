package covey

// codec.go turns values into bytes and back, for those that leave the process.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"unsafe"
)

// A Codec turns values into bytes for other processes, and back. Values whose type is a string or a
// []byte need none. It must be safe for concurrent use. Bytes that Decode refuses count as a miss
// and in Stats.Undecodable. A panic or runtime.Goexit in Append or Decode is an error of theirs, a
// [*PanicError]. One that takes long, or never returns, keeps only those waiting who want that
// value.
type Codec[V any] interface {
	// Append appends the encoding of v to dst and returns the result. It must not keep dst.
	Append(dst []byte, v V) ([]byte, error)
	// Decode returns the value that src encodes. It must not keep src.
	Decode(src []byte) (V, error)
	// Name tells this encoding from others: peers that give a cache codecs of different names do
	// not share it (see Options.Group). Change the name when the encoding changes, or
	// Options.Version. It must not be empty, and in a group name and version may have 254 bytes
	// together.
	Name() string
}

// JSONCodec returns a codec by encoding/json that takes what that loses: fields that are not
// exported, are tagged "-" or have the name of another one, the types of what interfaces hold,
// strings that are not UTF-8, and which slices were empty and which nil where the tag says
// omitempty. Without that it is the default of Options.Codec, and shares caches with it.
func JSONCodec[V any]() Codec[V] { return newJSONCodec[V](false) }

// defaultCodec returns the codec of a cache that names none: the bytes themselves for what is a
// string or a []byte, JSON for the rest.
func defaultCodec[V any]() Codec[V] {
	switch t := reflect.TypeFor[V](); {
	case t.Kind() == reflect.String:
		return stringCodec[V]{}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return bytesCodec[V]{}
	}
	return newJSONCodec[V](true)
}

// A plainCodec is one whose encoding is the value's own memory.
type plainCodec[V any] interface {
	plain(v V) []byte
	own(src []byte) V // src belongs to the value from now on
}

// A stringCodec is for a V that is a string, and a bytesCodec for one that is a []byte, whatever
// the types are called.
type (
	stringCodec[V any] struct{}
	bytesCodec[V any]  struct{}
)

func (stringCodec[V]) plain(v V) []byte {
	s := *(*string)(unsafe.Pointer(&v))
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

func (stringCodec[V]) own(src []byte) V {
	s := unsafe.String(unsafe.SliceData(src), len(src))
	return *(*V)(unsafe.Pointer(&s))
}

func (c stringCodec[V]) Append(dst []byte, v V) ([]byte, error) {
	return append(dst, c.plain(v)...), nil
}
func (c stringCodec[V]) Decode(src []byte) (V, error) { return c.own(bytes.Clone(src)), nil }
func (stringCodec[V]) Name() string                   { return "string" }

func (bytesCodec[V]) plain(v V) []byte { return *(*[]byte)(unsafe.Pointer(&v)) }

func (bytesCodec[V]) own(src []byte) V {
	if src == nil {
		src = []byte{}
	}
	return *(*V)(unsafe.Pointer(&src))
}

func (c bytesCodec[V]) Append(dst []byte, v V) ([]byte, error) {
	return append(dst, c.plain(v)...), nil
}
func (c bytesCodec[V]) Decode(src []byte) (V, error) { return c.own(bytes.Clone(src)), nil }
func (bytesCodec[V]) Name() string                   { return "bytes" }

// A jsonCodec is JSON. An exact one refuses what would not come back as it was.
type jsonCodec[V any] struct {
	exact bool
	shape func() *shape // of V
}

func newJSONCodec[V any](exact bool) jsonCodec[V] {
	return jsonCodec[V]{exact, sync.OnceValue(func() *shape { return shapeOf(reflect.TypeFor[V]()) })}
}

// Append encodes &v and not v, so that methods with pointer receivers are called.
func (c jsonCodec[V]) Append(dst []byte, v V) ([]byte, error) {
	b, err := json.Marshal(&v)
	if err == nil && c.exact && (c.shape().dynamic || bytes.Contains(b, replaced)) {
		err = inexact(reflect.ValueOf(&v).Elem(), reflect.TypeFor[V]().String())
	}
	if err != nil {
		return dst, fmt.Errorf("covey: encode value: %w", err)
	}
	return append(dst, b...), nil
}

// replaced is what encoding/json writes for a byte that is not UTF-8, and for little else.
var replaced = []byte(`\ufffd`)

func (jsonCodec[V]) Decode(src []byte) (V, error) {
	var v V
	err := json.Unmarshal(src, &v)
	if err != nil {
		return v, fmt.Errorf("covey: decode value: %w", err)
	}
	return v, nil
}

// Name has what V looks like in it: other fields, or fields of other types, would read as zero or
// not at all, without an error.
func (c jsonCodec[V]) Name() string { return "json/" + c.shape().hash }

// survives reports what of V does not survive the default codec, as an error or, if it concerns
// some values only, in words.
func (c jsonCodec[V]) survives() (some string, err error) {
	if !c.exact {
		return "", nil
	}
	s := c.shape()
	if len(s.lost) > 0 {
		return "", errors.New("Options.Codec is nil, and encoding/json does not bring all of a value to another process: " + first(s.lost) +
			": give a Codec, or JSONCodec if the others can do without")
	}
	return first(s.bent), nil
}

// first joins the first few findings.
func first(all []string) string {
	const few = 5
	if more := len(all) - few; more > 0 {
		return fmt.Sprintf("%s; and %d more", strings.Join(all[:few], "; "), more)
	}
	return strings.Join(all, "; ")
}
