package link

// accepted.go is the other end of a link without a connection: a Link that stands for a process
// that asks over plain HTTP, from its first body until nothing has come from it for a lease. It
// is good for Tell only. What it is told travels in the response to a body of that process: one
// that is being answered if there is one, or else the next, which comes within half a second or so.
//
// Nothing confirms that a response has arrived. What was in one that is lost, or arrives behind a
// later one, is lost; so are the oldest frames when too many wait. What does arrive is in order.

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// An accepted is what such a link has instead of a connection. It is guarded by the node's backlog.
type accepted struct {
	link    *Link
	waiting []byte // frames
	carrier *Link  // the exchange in the answers of which they travel, the latest; nil: they wait
	used    uint64 // number of the last one that has carried any
}

// A backlog is what waits for all processes that ask over plain HTTP.
type backlog struct {
	mu    sync.Mutex // taken before a link's
	bytes int
	links map[*accepted]struct{}
}

// maxBacklog is how many bytes that may be.
const maxBacklog = 64 << 20

// errAskedOnly is why nothing can be asked over an accepted link, and why it has no connection.
const errAskedOnly strError = "link: the other end asks over plain HTTP, where it can only be told things"

// callerLink takes note that a process has sent a body, and returns the link that stands for it,
// nil if it has said that it leaves. When that is a new one CallerUp has returned.
func (n *Node) callerLink(c *caller, peer *wire.Hello) (*Link, error) {
	for {
		n.mu.Lock()
		l := c.link
		switch {
		case n.closed:
			n.mu.Unlock()
			return nil, ErrGoingAway
		case l == nil && c.left:
			n.mu.Unlock()
			return nil, nil
		case l == nil:
			l = newLink(n, noConn{}, nil, peer)
			l.accepted = &accepted{link: l}
			l.lease.started = n.later()
			l.lease.alive.Store(l.lease.started + int64(n.cfg.Lease))
			c.link = l
			n.wg.Add(1)
			n.mu.Unlock()
			n.cfg.CallerUp(l)
			close(l.ready)
			go func() {
				defer n.wg.Done()
				l.listen(c)
			}()
			return l, nil
		case l.peer.Name != peer.Name: // whoever that is, the link stands for another
			n.mu.Unlock()
			return nil, fmt.Errorf("%w: %q has the instance of %q", ErrRefused, peer.Name, l.peer.Name)
		case l.Err() != nil:
			n.mu.Unlock()
			<-l.gone
		default:
			l.lease.alive.Store(n.later() + int64(n.cfg.Lease))
			n.mu.Unlock()
			<-l.ready
			return l, nil
		}
	}
}

// listen ends an accepted link when nothing has been heard for a lease, and tells everybody that it
// is down.
func (l *Link) listen(c *caller) {
	n := l.node
	wait := time.NewTimer(n.cfg.Lease)
	defer wait.Stop()
	for l.Err() == nil {
		select {
		case <-wait.C:
			now := n.later()
			if l.silent(now) {
				l.fail(ErrLeaseLost)
			} else {
				wait.Reset(time.Duration(l.lease.alive.Load() - now))
			}
		case <-l.down:
		}
	}
	n.backlog.drop(l.accepted)
	c.telling.Lock() // after what is being told
	n.cfg.CallerDown(l, l.Err())
	c.telling.Unlock()
	n.mu.Lock()
	c.link = nil
	n.mu.Unlock()
	close(l.gone)
}

// tell is Link.Tell.
func (a *accepted) tell(f *wire.Frame) error {
	frame, err := appendTold(nil, f, 0)
	if err != nil {
		return err
	}
	b := &a.link.node.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := a.link.Err(); err != nil {
		return err
	}
	b.add(a, frame)
	b.send(a)
	return nil
}

// carryIn has what the other end is told travel in the answers to one of its bodies from now on.
func (a *accepted) carryIn(l *Link) {
	b := &a.link.node.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.served.number < a.used {
		return // it would arrive behind what was told in a later one
	}
	a.carrier = l
	b.send(a)
}

// carried is called when a body has been answered.
func (a *accepted) carried(l *Link) {
	b := &a.link.node.backlog
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.carrier == l {
		a.carrier = nil
	}
}

// send moves what waits into the answers of the carrier, if there is one and it has room. The
// backlog is locked.
func (b *backlog) send(a *accepted) {
	if a.carrier == nil || len(a.waiting) == 0 || !a.carrier.carry(a.waiting) {
		return
	}
	a.used = a.carrier.served.number
	b.bytes -= len(a.waiting)
	a.waiting = nil
	delete(b.links, a)
}

// carry queues frames for the other end of an exchange, unless it has ended or does not keep up.
func (l *Link) carry(frames []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.out.told > 0 && l.out.told+len(frames) > maxTold {
		return false
	}
	l.out.ctl = append(l.out.ctl, frames...)
	l.out.told += len(frames)
	l.out.bytes += len(frames)
	l.rouse()
	return true
}

// add appends a frame to what waits, and drops the oldest that are too many: the link's own, and
// then those of whichever link has most. The backlog is locked.
func (b *backlog) add(a *accepted, frame []byte) {
	if b.links == nil {
		b.links = make(map[*accepted]struct{})
	}
	b.links[a] = struct{}{}
	a.waiting = append(a.waiting, frame...)
	b.bytes += len(frame)
	b.trim(a, len(a.waiting)-max(maxTold, len(frame)))
	for b.bytes > maxBacklog {
		most := a
		for other := range b.links {
			if len(other.waiting) > len(most.waiting) {
				most = other
			}
		}
		b.trim(most, len(most.waiting)/2+1)
	}
}

// trim drops frames of n bytes at least, the oldest.
func (b *backlog) trim(a *accepted, n int) {
	cut := 0
	for cut < n {
		size, _ := wire.BodyLen(a.waiting[cut:]) // appendTold has seen to it
		cut += wire.HeaderSize + size
	}
	a.waiting = slices.Delete(a.waiting, 0, cut)
	b.bytes -= cut
	if len(a.waiting) == 0 {
		delete(b.links, a)
	}
}

// drop forgets what waits for a link that is down.
func (b *backlog) drop(a *accepted) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= len(a.waiting)
	a.waiting, a.carrier = nil, nil
	delete(b.links, a)
}
