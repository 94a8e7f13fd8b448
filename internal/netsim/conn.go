package netsim

// conn.go is a connection: two pipes, one for each direction.

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// bufferSize is how much one direction of a connection holds before a write blocks.
const bufferSize = 256 << 10

// A Conn is one end of a connection.
type Conn struct {
	local, remote addr
	in, out       *pipe
	both          [2]*pipe // the same, in the same order at both ends
}

func newPair(n *Network, client, server addr) (*Conn, *Conn) {
	up, down := newPipe(n, client, server), newPipe(n, server, client)
	both := [2]*pipe{up, down}
	return &Conn{local: client, remote: server, in: down, out: up, both: both},
		&Conn{local: server, remote: client, in: up, out: down, both: both}
}

func (c *Conn) Read(b []byte) (int, error)         { return c.in.read(b) }
func (c *Conn) Write(b []byte) (int, error)        { return c.out.write(b) }
func (c *Conn) LocalAddr() net.Addr                { return c.local }
func (c *Conn) RemoteAddr() net.Addr               { return c.remote }
func (c *Conn) SetReadDeadline(t time.Time) error  { c.in.setDeadline(&c.in.readBy, t); return nil }
func (c *Conn) SetWriteDeadline(t time.Time) error { c.out.setDeadline(&c.out.writeBy, t); return nil }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// Close lets the other end read what was written, and then io.EOF.
func (c *Conn) Close() error {
	c.out.fail(nil, net.ErrClosed)
	c.in.fail(net.ErrClosed, syscall.EPIPE)
	return nil
}

// reset breaks both directions at both ends, at once.
func (c *Conn) reset() {
	for _, p := range c.both {
		p.mu.Lock()
		defer p.mu.Unlock()
	}
	for _, p := range c.both {
		p.end(syscall.ECONNRESET, syscall.ECONNRESET)
	}
}

// dead reports whether both ends have closed the connection.
func (c *Conn) dead() bool { return c.in.dead() && c.out.dead() }

// A pipe carries bytes one way.
type pipe struct {
	net      *Network
	from, to string
	mu       sync.Mutex
	cond     sync.Cond
	queue    []segment
	size     int // bytes in queue
	readErr  error
	writeErr error // once set, the reader gets what is queued and then the end
	readBy   deadline
	writeBy  deadline
}

type segment struct {
	data []byte
	at   time.Time // of arrival
}

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func newPipe(n *Network, from, to addr) *pipe {
	p := &pipe{net: n, from: from.host(), to: to.host()}
	p.cond.L = &p.mu
	return p
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		blocked, _ := p.net.blocked(p.from, p.to)
		switch {
		case p.readErr != nil:
			return 0, p.readErr
		case p.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case !blocked && len(p.queue) > 0:
			wait := time.Until(p.queue[0].at)
			if wait <= 0 {
				return p.take(b), nil
			}
			time.AfterFunc(wait, p.wake)
		case !blocked && p.writeErr != nil:
			return 0, io.EOF
		}
		p.cond.Wait()
	}
}

func (p *pipe) take(b []byte) int {
	now, n := time.Now(), 0
	for len(p.queue) > 0 && n < len(b) && !p.queue[0].at.After(now) {
		m := copy(b[n:], p.queue[0].data)
		n += m
		if p.queue[0].data = p.queue[0].data[m:]; len(p.queue[0].data) == 0 {
			p.queue = p.queue[1:]
		}
	}
	p.size -= n
	p.cond.Broadcast()
	return n
}

func (p *pipe) write(b []byte) (int, error) {
	p.net.writes.Add(1)
	p.net.mu.Lock()
	delay := p.net.delay
	p.net.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for {
		blocked, _ := p.net.blocked(p.from, p.to)
		switch {
		case p.writeErr != nil && !(blocked && p.writeErr == syscall.EPIPE): // that news, too, has to arrive
			return n, p.writeErr
		case p.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		case n == len(b):
			return n, nil
		}
		if room := min(bufferSize-p.size, len(b)-n); room > 0 {
			p.queue = append(p.queue, segment{append([]byte(nil), b[n:n+room]...), time.Now().Add(delay)})
			p.size += room
			n += room
			p.cond.Broadcast()
			continue
		}
		p.cond.Wait()
	}
}

func (p *pipe) setDeadline(d *deadline, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d.stop()
	*d = deadline{at: t}
	if left := time.Until(t); left > 0 { // who waits is told of one that has passed below
		d.timer = time.AfterFunc(left, p.wake)
	}
	p.cond.Broadcast()
}

func (p *pipe) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cond.Broadcast()
}

// fail ends the pipe for its reader and its writer, unless it has ended for
// them already or the error is nil.
func (p *pipe) fail(read, write error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(read, write)
}

func (p *pipe) end(read, write error) {
	if p.readErr == nil {
		p.readErr = read
	}
	if p.writeErr == nil {
		p.writeErr = write
	}
	if p.readErr != nil {
		p.readBy.stop()
	}
	p.writeBy.stop()
	p.cond.Broadcast()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (p *pipe) dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.readErr != nil && p.writeErr != nil
}
