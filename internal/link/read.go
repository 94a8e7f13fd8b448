package link

// read.go is the goroutine that reads a link and passes each frame on to where
// it belongs.

import (
	"encoding/binary"
	"io"
	"strings"
	"sync/atomic"

	"github.com/coveycache/covey/internal/wire"
)

// incoming is what the reader needs for itself.
type incoming struct {
	frame   wire.Frame
	request Request
	streams map[uint32]*arrival
	arrival *arrival // whose piece is being read
	left    int      // bytes of that piece
	ready   bool     // the first keep-alive has come
	corked  bool
	quiet   atomic.Bool // nothing but keep-alives since the last tick
}

func (in *incoming) busy() {
	if in.quiet.Load() {
		in.quiet.Store(false)
	}
}

// fill takes in what the first w bytes of buf have of frames, waits while there is too much to do,
// and reads more of r behind what is left.
func (l *Link) fill(buf *[]byte, w *int, r io.Reader) (n int, err error) {
	used, need, err := l.take((*buf)[:*w])
	if err != nil {
		return 0, err
	}
	l.uncork()
	if err := l.pause(); err != nil {
		return 0, err
	}
	*buf, *w = l.makeRoom(*buf, used, *w, need)
	n, err = r.Read((*buf)[*w:])
	*w += n
	return n, err
}

// read takes frames in until the link is down and returns why.
func (l *Link) read(early []byte) error {
	buf := make([]byte, max(idleBuffer, len(early)))
	w := copy(buf, early)
	early = nil
	for {
		n, err := l.fill(&buf, &w, l.conn)
		if err != nil {
			if n > 0 {
				continue
			}
			return err
		}
		now := l.node.later()
		l.heard.Store(now)
		if l.silent(now) {
			return ErrLeaseLost // what was read may be older than the lease
		}
	}
}

// makeRoom returns a buffer with buf[used:w] at its start and room for more of a
// frame of need bytes or, if that is not known, for as much as pays. It grows as
// bytes come, not with what a header announces.
func (l *Link) makeRoom(buf []byte, used, w, need int) ([]byte, int) {
	size := len(buf)
	switch left := w - used; {
	case left == size:
		size = min(2*size, max(need, l.node.cfg.readBuffer))
	case w == size && size < l.node.cfg.readBuffer:
		size = min(4*size, l.node.cfg.readBuffer)
	case l.in.quiet.Load() && size > idleBuffer && left <= idleBuffer && need <= idleBuffer:
		size = idleBuffer
		l.in.request = Request{} // it refers to buf
	}
	if size == len(buf) {
		return buf, copy(buf, buf[used:w])
	}
	bigger := make([]byte, size)
	return bigger, copy(bigger, buf[used:w])
}

// take handles the whole frames in b and returns how many bytes that were, and
// the size of the frame that comes next as far as it is known.
func (l *Link) take(b []byte) (used, need int, err error) {
	for {
		rest := b[used:]
		if l.in.left > 0 {
			n := min(l.in.left, len(rest))
			if n == 0 {
				return used, wire.HeaderSize, nil
			}
			if err := l.gather(rest[:n]); err != nil {
				return used, 0, err
			}
			used += n
			continue
		}
		if len(rest) < wire.HeaderSize {
			return used, wire.HeaderSize, nil
		}
		n, err := wire.BodyLen(rest)
		if err != nil {
			return used, 0, err
		}
		l.cork()
		if wire.Type(rest[4]) == wire.Chunk {
			if err := l.piece(binary.LittleEndian.Uint32(rest[8:]), n); err != nil {
				return used, 0, err
			}
			used += wire.HeaderSize
			continue
		}
		n += wire.HeaderSize
		if len(rest) < n {
			return used, n, nil
		}
		if err := l.frame(rest[:n:n]); err != nil {
			return used, 0, err
		}
		used += n
	}
}

// cork keeps the writer asleep while the reader works through what it has
// read: the answers leave together.
func (l *Link) cork() {
	if l.in.corked {
		return
	}
	l.in.corked = true
	l.mu.Lock()
	l.corked = true
	l.mu.Unlock()
}

func (l *Link) uncork() {
	if !l.in.corked {
		return
	}
	l.in.corked = false
	l.mu.Lock()
	l.corked = false
	if !l.out.empty() {
		l.flushOwn(l.dialer == nil) // the reader at the dialling end must not block
	}
	l.mu.Unlock()
}

// frame handles one frame.
func (l *Link) frame(b []byte) error {
	f := &l.in.frame
	if err := wire.Parse(b, f); err != nil {
		return err
	}
	if f.Stream != 0 {
		return l.arrive(f)
	}
	return l.dispatch(f)
}

func (l *Link) dispatch(f *wire.Frame) error {
	switch {
	case !l.in.ready && (f.Type.IsRequest() || f.Type.IsAnswer()):
		return ErrProtocol
	case f.Type.IsRequest():
		l.in.busy()
		return l.serve(f)
	case f.Type.IsAnswer():
		l.in.busy()
		return l.answered(f)
	}
	if f.Type == wire.View {
		return l.told(f)
	}
	switch {
	case l.exchange == nil && l.served == nil:
	case f.Type == wire.Caches:
		return l.hearCaches(f)
	case f.Type == wire.KeepAliveOK && l.exchange != nil:
		l.exchange.plain.granted(l.exchange.sent, f.TTL)
		return nil
	case f.Type == wire.Cancel && l.served != nil:
		l.cancelled(f)
		return nil
	case f.Type == wire.GoAway && l.served != nil:
		l.node.callerLeft(l.peer.Instance)
		return nil
	default:
		return nil
	}
	switch f.Type {
	case wire.KeepAlive:
		return l.asked(f)
	case wire.KeepAliveOK:
		return l.granted(f)
	case wire.Cancel:
		l.cancelled(f)
	case wire.Credit:
		return l.credited(f)
	case wire.GoAway:
		l.hearGoAway(f)
	case wire.Caches:
		return l.hearCaches(f)
	}
	return nil // an unknown one, from a newer version
}

// credited lets more pieces be sent.
func (l *Link) credited(f *wire.Frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.Size > uint64(max(maxBulkWindow, l.node.cfg.bulkWindow)) {
		return ErrProtocol
	}
	l.out.granted(int(f.Size))
	if !l.out.empty() {
		l.rouse()
	}
	return nil
}

// pause waits while the other end does not take its answers.
func (l *Link) pause() error {
	l.mu.Lock()
	if l.out.bytes <= 2*l.node.cfg.MaxQueue || l.err != nil {
		l.mu.Unlock()
		return nil
	}
	if l.dialer != nil {
		l.mu.Unlock()
		return ErrSlowPeer // see overflow
	}
	l.resume = make(chan struct{})
	resume := l.resume
	l.mu.Unlock()
	select {
	case <-resume:
	case <-l.down:
	}
	return nil
}

// hearCaches notes the names of the other end's caches.
func (l *Link) hearCaches(f *wire.Frame) error {
	c := &cacheNames{byName: make(map[string]string), build: strings.Clone(f.Text[:min(len(f.Text), wire.MaxName)])}
	var one wire.Frame
	for items := f.Items; len(items) > 0; {
		var err error
		if items, err = wire.Next(items, &one); err != nil {
			return err
		}
		if len(one.Key) > wire.MaxName || len(one.Text) > wire.MaxName || one.Cache >= maxCaches {
			return ErrProtocol
		}
		for int(one.Cache) >= len(c.names) {
			c.names, c.codecs = append(c.names, ""), append(c.codecs, "")
		}
		one = one.Clone()
		c.names[one.Cache], c.codecs[one.Cache] = one.Key, one.Text
		c.byName[one.Key] = one.Text
	}
	l.caches.Store(c)
	if l.exchange != nil {
		l.exchange.plain.link.caches.Store(c)
	}
	return nil
}
