package link

// write.go is the goroutine that writes a link. It takes everything that is
// queued when it comes around in one write, and waits for nothing else.

import (
	"net"
	"runtime"
)

// rouse makes the writer come around. The link is locked.
func (l *Link) rouse() {
	if l.asleep && !l.corked {
		l.asleep = false
		l.wake <- struct{}{} // never blocks: the writer takes it before it sleeps again
	}
}

func (l *Link) write() {
	var b batch
	var pieces net.Buffers // what is left of a batch; net.Buffers consumes itself
	for {
		// Let those run who are about to queue something.
		runtime.Gosched()
		l.mu.Lock()
		for l.err == nil && l.out.empty() {
			l.asleep = true
			l.mu.Unlock()
			select {
			case <-l.wake:
			case <-l.down:
				return
			}
			runtime.Gosched()
			l.mu.Lock()
		}
		if l.err != nil {
			l.mu.Unlock()
			return
		}
		l.out.take(&b)
		last := l.leaving.last
		l.mu.Unlock()

		var err error
		if len(b.pieces) == 1 {
			_, err = l.conn.Write(b.pieces[0])
		} else {
			pieces = b.pieces
			_, err = pieces.WriteTo(l.conn)
		}
		if err != nil {
			l.fail(err)
			return
		}
		l.wrote(&b, last)
	}
}

// wrote takes note that b has been written.
func (l *Link) wrote(b *batch, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out.bytes -= b.bytes
	clear(b.pieces)
	if cap(b.buf) > idleBuffer && len(b.buf) < cap(b.buf)/8 {
		b.buf = nil
	}
	if l.resume != nil && l.out.bytes <= l.node.cfg.MaxQueue {
		close(l.resume)
		l.resume = nil
	}
	if last {
		l.leaving.flushed = true
		l.maybeLeave()
	}
	l.admit()
}

// idleBuffer is what an idle link may keep of each of its buffers.
const idleBuffer = 2 << 10

// shrink gives back memory that the last burst needed. The link is locked.
func (l *Link) shrink() {
	if len(l.out.buf) == 0 && cap(l.out.buf) > idleBuffer {
		l.out.buf = nil
	}
	l.calls.shrink()
}

// A queue that is longer than it should be holds back who fills it: callers
// wait in admission, the reader of a link that was dialled by the other end
// does not read on. The reader at the dialling end always reads, which is why
// the two cannot wait for each other; it ends the link instead.

// overflow reports whether so much is queued that the other end must be slow.
func (l *Link) overflow() bool { return l.out.bytes > l.node.cfg.MaxQueue }
