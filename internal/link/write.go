package link

// write.go writes what is queued. A goroutine of the link does that, or one that has just queued
// something and finds nothing else going on: that saves waking the other.

import "runtime"

// rouse wakes the writer if it sleeps. The link is locked.
func (l *Link) rouse() {
	if l.asleep && !l.corked && !l.writing {
		l.asleep = false
		l.wake <- struct{}{} // never blocks: the writer takes it before it sleeps again
	}
}

// write is the writer.
func (l *Link) write() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil {
		if !l.out.empty() {
			l.yield()
			l.flush()
			continue
		}
		l.asleep = true
		l.mu.Unlock()
		select {
		case <-l.wake:
		case <-l.down:
		}
		l.mu.Lock()
	}
}

// maxYields is how often the writer lets others run before it writes.
const maxYields = 32

// yield lets goroutines run that are about to queue something, again and again while more is
// queued. There is no timer. The link is locked before and after, not in between.
func (l *Link) yield() {
	for range maxYields {
		before := l.out.bytes
		l.mu.Unlock()
		runtime.Gosched()
		l.mu.Lock()
		if l.out.bytes == before || l.out.bytes > l.node.cfg.readBuffer {
			return
		}
	}
}

// fewCalls is how many requests may be in flight for a caller to write its own. What the other end
// has not read yet is then sure to fit into the connection's buffers, so the write does not block.
const fewCalls = 2

// flushOwn writes what the caller has just queued, if nobody else is about to. The link is locked
// before and after, not in between.
func (l *Link) flushOwn(few bool) {
	if few && l.asleep && !l.corked && !l.writing && len(l.out.streams) == 0 && len(l.out.cuts) == 0 {
		l.flush()
	} else {
		l.rouse()
	}
}

// flush takes everything that is queued in one write. The link is locked before and after, not in
// between.
func (l *Link) flush() {
	b := &l.batch
	l.out.take(b)
	l.writing = true
	last := l.leaving.last
	l.mu.Unlock()
	var err error
	if len(b.pieces) == 1 {
		_, err = l.conn.Write(b.pieces[0])
	} else {
		b.rest = b.pieces // net.Buffers consumes itself
		_, err = b.rest.WriteTo(l.conn)
	}
	l.mu.Lock()
	l.writing = false
	if err != nil {
		l.failLocked(err)
	}
	if l.err != nil {
		return
	}
	l.wrote(b, last)
	if !l.out.empty() {
		l.rouse()
	}
}

// wrote takes note that b has been written. The link is locked.
func (l *Link) wrote(b *batch, last bool) {
	l.out.bytes -= b.bytes
	clear(b.pieces)
	if cap(b.buf) > maxBuffer {
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
	l.maybeServed()
	l.admit()
}

const (
	idleBuffer = 2 << 10 // what an idle link may keep of each of its buffers
	maxBuffer  = 1 << 20 // and a busy one
)

// shrink gives back memory that the last burst needed. The link is locked.
func (l *Link) shrink() {
	if len(l.out.buf) == 0 && cap(l.out.buf) > idleBuffer {
		l.out.buf = nil
	}
	if len(l.out.ctl) == 0 && cap(l.out.ctl) > idleBuffer {
		l.out.ctl = nil
	}
	if !l.writing && max(cap(l.batch.buf), cap(l.batch.ctl)) > idleBuffer {
		l.batch = batch{}
	}
	l.calls.shrink()
}

// A queue that is too long holds back those who fill it: callers wait in
// enter, and the reader of a link that the other end has dialled stops
// reading. The reader at the dialling end always reads on, so the two cannot
// wait for each other; it ends the link instead.

// overflow reports whether so much is queued that the other end must be slow.
func (l *Link) overflow() bool { return l.out.bytes > l.node.cfg.MaxQueue }
