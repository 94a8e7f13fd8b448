package link

// queue.go holds what waits to be written to a link, in three rows: control
// frames first, those of Tell among them, then all others as they came, then
// pieces of long values.

import (
	"net"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

type queue struct {
	cfg      *Config
	maxValue int // that the other end takes

	ctl     []byte
	buf     []byte
	cuts    []cut
	streams []*stream // those under way and behind them those that wait for it
	under   int       // how many are under way
	next    uint32    // number of a stream
	window  int       // bytes of pieces that may be on the way
	credit  int       // and how many more of them may be sent now
	bytes   int       // in ctl and buf, and being written
	told    int       // in ctl, of Tell
	long    int       // in streams
}

// A cut is where in buf a value belongs that is too long to be copied.
type cut struct {
	off  int
	data []byte
}

// A stream is a frame whose value is sent in pieces.
type stream struct {
	id    uint32
	frame wire.Frame // until it is under way
	value []byte     // what is left
}

func (q *queue) init(cfg *Config, maxValue int) {
	q.cfg, q.maxValue, q.window, q.credit = cfg, maxValue, cfg.bulkWindow, cfg.bulkWindow
}

const (
	bulkRate      = 64 << 20 // bytes of pieces in a second that a window is made for
	maxBulkWindow = 4 << 20
)

// fit sets the window for a round trip of that length. It is no wider than needed, since what is on
// the way lies in the connection's buffers, ahead of short values.
func (q *queue) fit(rtt time.Duration) {
	w := max(min(int(min(rtt, time.Second)*bulkRate/time.Second), maxBulkWindow), q.cfg.bulkWindow)
	q.credit += w - q.window
	q.window = w
}

// granted lets n more bytes of pieces be sent.
func (q *queue) granted(n int) { q.credit = min(q.credit+n, q.window) }

// control adds a frame that goes before all others.
func (q *queue) control(f *wire.Frame) {
	n := len(q.ctl)
	q.ctl = wire.Append(q.ctl, f)
	q.bytes += len(q.ctl) - n
}

// add adds a frame.
func (q *queue) add(f *wire.Frame) {
	switch n := len(f.Value); {
	case n < q.cfg.copyBelow || f.Items != nil:
		had := len(q.buf)
		q.buf = wire.Append(q.buf, f)
		q.bytes += len(q.buf) - had
	case n <= q.cfg.chunkSize:
		had := len(q.buf)
		q.buf = wire.AppendHead(q.buf, f, n)
		q.cuts = append(q.cuts, cut{len(q.buf), f.Value})
		q.bytes += len(q.buf) - had + n
	default:
		q.next++
		s := &stream{id: q.next, frame: f.Clone(), value: f.Value}
		s.frame.Stream, s.frame.Size = s.id, uint64(n)
		q.streams = append(q.streams, s)
		q.long += n
	}
}

// overlong reports whether n bytes more would be too many to be queued. Short
// frames never are.
func (q *queue) overlong(n int) bool {
	queued := q.bytes + q.long
	return n > q.cfg.copyBelow && queued > 0 && queued+n > 4*min(q.maxValue, q.cfg.MaxValue)
}

// empty reports whether there is nothing that can be sent now.
func (q *queue) empty() bool {
	return len(q.ctl) == 0 && len(q.buf) == 0 && (len(q.streams) == 0 || q.credit <= 0)
}

// A batch is what one write sends, in memory that is used again and again.
type batch struct {
	ctl, buf []byte
	cuts     []cut
	tail     []byte // headers of the piece
	pieces   net.Buffers
	rest     net.Buffers // of pieces, while they are written
	bytes    int
}

// take moves all that is queued, and one piece of a long value, into b.
func (q *queue) take(b *batch) {
	b.ctl, q.ctl = q.ctl, b.ctl[:0]
	q.told = 0
	b.buf, q.buf = q.buf, b.buf[:0]
	clear(b.cuts)
	b.cuts, q.cuts = q.cuts, b.cuts[:0]
	b.tail = b.tail[:0]
	b.pieces = b.pieces[:0]
	b.bytes = len(b.ctl) + len(b.buf)

	b.add(b.ctl)
	off := 0
	for _, c := range b.cuts {
		b.add(b.buf[off:c.off])
		b.add(c.data)
		b.bytes += len(c.data)
		off = c.off
	}
	b.add(b.buf[off:])
	if len(q.streams) > 0 && q.credit > 0 {
		q.takePiece(b)
	}
}

// takePiece adds the next piece of the stream whose turn it is.
func (q *queue) takePiece(b *batch) {
	if q.under < min(q.cfg.maxStreams, len(q.streams)) {
		// The first that waits goes to the front, to begin now.
		s := q.streams[q.under]
		copy(q.streams[1:q.under+1], q.streams[:q.under])
		q.streams[0] = s
		q.under++
		s.frame.Value = nil
		b.tail = wire.Append(b.tail, &s.frame)
	}
	s := q.streams[0]
	n := min(len(s.value), q.cfg.chunkSize)
	b.tail = wire.AppendChunk(b.tail, s.id, n)
	b.add(b.tail)
	b.add(s.value[:n])
	q.long -= n
	s.value = s.value[n:]
	q.credit -= n
	copy(q.streams, q.streams[1:q.under])
	if len(s.value) > 0 {
		q.streams[q.under-1] = s
		return
	}
	copy(q.streams[q.under-1:], q.streams[q.under:])
	q.streams[len(q.streams)-1] = nil
	q.streams = q.streams[:len(q.streams)-1]
	q.under--
}

func (b *batch) add(p []byte) {
	if len(p) > 0 {
		b.pieces = append(b.pieces, p)
	}
}

// drop forgets everything.
func (q *queue) drop() {
	*q = queue{cfg: q.cfg, maxValue: q.maxValue}
}
