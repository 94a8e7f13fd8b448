package link

import (
	"runtime"
	"strings"
	"testing"

	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// Nobody gets memory for having announced much.
func TestMemoryGrowsWithTheBytes(t *testing.T) {
	n := fuzzNode(t)
	n.cfg.MaxValue = 64 << 20
	data := wire.Append(nil, &wire.Frame{Type: wire.KeepAlive})
	for i := range uint32(n.cfg.maxStreams) {
		data = wire.Append(data, &wire.Frame{Type: wire.Put, Op: i, Key: "k", Stream: i + 1, Size: 64 << 20})
		data = wire.Append(data, &wire.Frame{Type: wire.Chunk, Op: i + 1, Value: []byte("0123456789")})
	}
	long := wire.Append(nil, &wire.Frame{Type: wire.Put, Op: 9, Key: "k", Value: make([]byte, wire.MaxBody-100)})
	for what, data := range map[string][]byte{"values": data, "a frame": append(data, long[:100]...)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l := newLink(n, &finiteConn{closed: make(chan struct{})}, nil, &wire.Hello{Name: what, Instance: 7, MaxOps: 8, MaxValue: 1 << 20})
		require.NoError(t, n.begin(l, data))
		<-l.gone
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), what)
		require.Zero(t, n.arrivals.bytes)
	}
	l := newLink(n, &finiteConn{closed: make(chan struct{})}, nil, &wire.Hello{})
	buf, w := make([]byte, idleBuffer), 0
	for w < len(long) {
		room := len(buf)
		buf, w = l.makeRoom(buf, 0, w, len(long))
		require.LessOrEqual(t, len(buf), max(2*w, room))
		w += copy(buf[w:], long[w:])
	}
	require.Equal(t, long, buf[:w])
}

// What a value takes in the end is its size, however its pieces come.
func TestRoomForAValue(t *testing.T) {
	for _, size := range []int{1, 1000, firstRoom - 1, firstRoom, firstRoom + 1, 1 << 20, 5<<20 + 7} {
		a := &arrival{frame: wire.Frame{Size: uint64(size)}, value: new(strings.Builder)}
		grown := 0
		for left := size; left > 0; {
			n := min(left, 16<<10)
			more := a.growth(n)
			a.write(make([]byte, n), more)
			grown += more
			left -= n
			require.LessOrEqual(t, a.value.Cap(), max(roomGrowth*(size-left), firstRoom)*5/4)
		}
		require.Equal(t, size, a.value.Len())
		require.Equal(t, size, grown)
		require.LessOrEqual(t, a.value.Cap(), size+size/4+8, "but for size classes")
	}
}

// Over the bound the links go on one after the other.
func TestArrivalsWait(t *testing.T) {
	const mib = 1 << 20
	n := fuzzNode(t)
	s := &n.arrivals
	s.max = 20 * mib
	links := make([]*Link, 4)
	for i := range links {
		links[i] = newLink(n, &finiteConn{closed: make(chan struct{})}, nil, &wire.Hello{})
	}
	a, b, c, small := links[0], links[1], links[2], links[3]
	took := func(l *Link, grown int) {
		t.Helper()
		require.NoError(t, s.took(l, 1000, grown))
	}
	owe := func(want ...*Link) {
		t.Helper()
		var got []*Link
		for _, l := range links {
			if l.share.owed > 0 {
				got = append(got, l)
			}
		}
		require.Equal(t, want, got)
	}
	took(a, 10*mib)
	took(b, 10*mib)
	owe()
	took(c, 10*mib) // the first that is over the bound goes on
	owe()
	took(a, 0)
	took(b, 0)
	owe(a, b)
	took(c, 10*mib)
	took(small, 1*mib)
	owe(a, b, small)
	took(c, -20*mib) // c has a whole value: there are 21 MiB, and it is the turn of a
	owe(b, small)
	took(a, 0)
	owe(b, small)
	s.leave(a) // within the bound
	owe()
	require.Equal(t, 11*mib, s.bytes)

	took(b, 20*mib)
	took(c, 10*mib)
	for range maxBulkWindow/1000 - 1 {
		took(c, 0)
	}
	require.ErrorIs(t, s.took(c, 1000, 0), ErrProtocol, "more than it may send without credit")
	s.leave(c)
	s.leave(b)
	s.leave(small)
	require.Zero(t, s.bytes)
	require.Empty(t, s.waiting)
}
