package link

import (
	"encoding/binary"
	"testing"

	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// What the other end announces is compared with the bounds before anything is set aside for it.
func TestBoundsComeBeforeMemory(t *testing.T) {
	long := func(stream uint32, size uint64) *wire.Frame {
		return &wire.Frame{Type: wire.Put, Op: stream, Key: "k", Stream: stream, Size: size}
	}
	n := fuzzNode(t)
	most := uint64(n.cfg.MaxValue)
	var many []*wire.Frame
	for i := range uint32(n.cfg.maxStreams) {
		many = append(many, long(i+1, most))
	}
	var requests []*wire.Frame // that are not answered
	for i := range uint32(n.cfg.MaxOps) {
		requests = append(requests, &wire.Frame{Type: wire.Fill, Op: i, Key: "k"})
	}
	header := func(body uint32) []byte {
		h := wire.Append(nil, &wire.Frame{Type: wire.Get, Op: 1})[:wire.HeaderSize]
		binary.LittleEndian.PutUint32(h, body)
		return h
	}
	for name, c := range map[string]struct {
		frames []*wire.Frame
		tail   []byte
		err    error // nil: the link only ends with what there is to read
	}{
		"a body at its bound":     {tail: header(wire.MaxBody)},
		"a body over its bound":   {tail: header(wire.MaxBody + 1), err: wire.ErrTooLarge},
		"a value at its bound":    {frames: []*wire.Frame{long(1, most)}},
		"a value over it":         {frames: []*wire.Frame{long(1, most+1)}, err: ErrProtocol},
		"as many values as may":   {frames: many},
		"a value more":            {frames: append(many, long(99, 1)), err: ErrProtocol},
		"as many requests as may": {frames: requests},
		"a request more":          {frames: append(requests, &wire.Frame{Type: wire.Fill, Op: 99, Key: "k"}), err: ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			data := wire.Append(nil, &wire.Frame{Type: wire.KeepAlive})
			for _, f := range c.frames {
				data = wire.Append(data, f)
			}
			l := newLink(n, &finiteConn{closed: make(chan struct{})}, nil, &wire.Hello{Name: name, Instance: 7, MaxOps: 8, MaxValue: 1 << 20})
			require.NoError(t, n.begin(l, append(data, c.tail...)))
			<-l.gone
			if c.err != nil {
				require.ErrorIs(t, l.Err(), c.err)
			} else {
				require.NotErrorIs(t, l.Err(), ErrProtocol)
				require.NotErrorIs(t, l.Err(), wire.ErrTooLarge)
			}
		})
	}
}

func TestSourceOf(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.7:8080":           "10.0.0.7",
		"[::ffff:10.0.0.7]:1":     "10.0.0.7",
		"[2001:db8:1:2:3::4]:1":   "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1":        "fe80::/64",
		"10.0.0.7":                "10.0.0.7",
		"cache-1.example.org:443": "cache-1.example.org",
		"@":                       "@", // of a Unix socket
		"":                        "",
	} {
		require.Equal(t, want, sourceOf(address))
	}
}
