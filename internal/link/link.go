package link

// link.go is the link itself: what it is made of, how it starts and how it ends.

import (
	"context"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// A Link is one end of a connection to a peer. Its methods are safe for
// concurrent use.
//
// Lock order: none of the methods calls anything outside this package while
// it holds mu, so that Push, Request.Answer and Op.Answer may be called under
// any lock of the caller's.
type Link struct {
	node   *Node
	conn   net.Conn
	dialer *Peer // that has dialled it; nil: the other end has
	peer   wire.Hello
	health *health // of the other end; nil: nobody asks over this link

	ring   atomic.Uint64 // the other end's
	caches atomic.Pointer[cacheNames]
	lease  lease
	heard  atomic.Int64  // when something was last read from the other end; 0: nothing yet
	wake   chan struct{} // for the writer
	ready  chan struct{} // closed when the other end's first keep-alive has come
	down   chan struct{} // closed by fail
	gone   chan struct{} // closed when it is down and all its ops have ended
	wg     sync.WaitGroup

	mu       sync.Mutex
	err      error // why it is down; nil: it is up
	asleep   bool  // the writer
	writing  bool  // somebody does, from batch
	batch    batch
	corked   bool          // the reader will wake the writer
	resume   chan struct{} // closed when the reader may go on; nil: it does
	out      queue
	calls    calls
	ops      map[uint32]*Op // requests kept and not answered
	rooms    rooms          // for them
	running  int            // ops that have not ended, answered or not
	finished bool
	leaving  leaving
	in       incoming // of the reader alone
	share    share    // of what arrives in pieces; guarded by the node's arrivals
	apart    apart    // of requests that the reader does not serve

	// One of these, if the link has no connection of its own: see plain.go.
	plain    *plain
	exchange *exchange
	served   *served
	accepted *accepted
}

// A cacheNames is what the other end has said about its caches.
type cacheNames struct {
	names  []string // by number
	codecs []string // by number
	byName map[string]string
	build  string // the version of its covey
}

func (c *cacheNames) at(number uint16) (name, codec string) {
	if int(number) < len(c.names) {
		return c.names[number], c.codecs[number]
	}
	return "", ""
}

func newLink(n *Node, conn net.Conn, dialer *Peer, peer *wire.Hello) *Link {
	l := &Link{
		node: n, conn: conn, dialer: dialer, peer: *peer,
		wake:  make(chan struct{}, 1),
		ready: make(chan struct{}),
		down:  make(chan struct{}),
		gone:  make(chan struct{}),
	}
	l.ring.Store(peer.Ring)
	l.caches.Store(&cacheNames{})
	l.out.init(&n.cfg, int(peer.MaxValue))
	l.calls.max = int(peer.MaxOps)
	return l
}

// start begins to use a connection on which the handshake is done. The bytes
// in early have been read from it already. It returns at once.
func (l *Link) start(early []byte) {
	l.startLease()
	l.wg.Go(l.write)
	go func() {
		l.fail(l.read(early))
		l.wg.Wait()
		l.finish()
	}()
}

// fail ends the link, the first time it is called. It may be called under any
// lock: the rest of the work is the reader's, in finish.
func (l *Link) fail(err error) {
	l.mu.Lock()
	l.failLocked(err)
	l.mu.Unlock()
}

func (l *Link) failLocked(err error) {
	if l.err != nil {
		return
	}
	if l.leaving.last && l.leaving.heardLast { // the other end may have noticed first
		err = ErrGoingAway
	}
	l.err = err
	l.lease.stop()
	close(l.down)
	// Without TLS's farewell, which could block.
	if secure, ok := l.conn.(interface{ NetConn() net.Conn }); ok {
		_ = secure.NetConn().Close()
	}
	_ = l.conn.Close()
}

// finish tells everybody that the link is down. Nothing is read any more.
func (l *Link) finish() {
	l.mu.Lock()
	err := l.err
	sinks := l.calls.drain()
	ops := slices.Collect(maps.Values(l.ops))
	for _, op := range ops {
		op.over.Store(true)
	}
	l.ops = nil
	l.out.drop()
	l.mu.Unlock()
	l.in.streams = nil
	l.node.arrivals.leave(l)

	if l.in.ready {
		l.health.unlinked(err)
		l.node.cfg.Down(l, err)
		if l.dialer != nil {
			l.dialer.lost(l, err)
		}
	}
	l.health.failed(len(sinks), err)
	for _, s := range sinks {
		s.Fail(err)
	}
	for _, op := range ops {
		op.tellCancelled()
	}
	l.node.remove(l)
	l.readNoMore()
}

// readNoMore notes that nothing more is read from the link.
func (l *Link) readNoMore() {
	l.mu.Lock()
	l.finished = true
	gone := l.maybeGone()
	l.mu.Unlock()
	if gone {
		l.node.forget(l)
	}
}

// maybeGone notes that the link is down and all its ops have ended, if so.
// The link is locked.
func (l *Link) maybeGone() bool {
	if !l.finished || l.running > 0 {
		return false
	}
	close(l.gone)
	return true
}

// Close ends the link at once: requests in flight fail at both ends.
func (l *Link) Close() { l.fail(ErrClosed) }

// Name returns the other end's name on the ring.
func (l *Link) Name() string { return l.peer.Name }

// Instance returns the number that the other process drew when it started.
func (l *Link) Instance() uint64 { return l.peer.Instance }

// Ring returns the number that stands for the other end's view of the members,
// as last heard, at most a keep-alive ago.
func (l *Link) Ring() uint64 { return l.ring.Load() }

// Announce tells the other end what SetRing has been given, and returns when
// the other end has taken note.
func (l *Link) Announce(ctx context.Context) error {
	_, err := l.Call(ctx, &wire.Frame{Type: wire.Announce})
	return err
}

// Quiet returns for how long nothing has come from the other end.
func (l *Link) Quiet() time.Duration { return time.Duration(l.node.later() - l.heard.Load()) }

// Dialed reports whether this end has dialled the link.
func (l *Link) Dialed() bool { return l.dialer != nil }

// Codec returns the name of the other end's codec for a cache, and whether it
// has such a cache.
func (l *Link) Codec(cache string) (codec string, ok bool) {
	codec, ok = l.caches.Load().byName[cache]
	return codec, ok
}

// CacheName returns the other end's name for the cache of that number, "" if
// it has not named it.
func (l *Link) CacheName(number uint16) string {
	name, _ := l.caches.Load().at(number)
	return name
}

// Build returns the version of the other end's library, "" if it has not said so.
func (l *Link) Build() string { return l.caches.Load().build }

// Protocol is the version of the protocol that this end speaks.
const Protocol = wire.MaxVersion

// Protocol returns the version of the protocol that both ends speak.
func (l *Link) Protocol() uint32 { return min(l.peer.MaxVersion, wire.MaxVersion) }

// RemoteAddr returns the other end's address.
func (l *Link) RemoteAddr() net.Addr { return l.conn.RemoteAddr() }

// Err returns why the link is down, nil while it is up.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// unusable returns why no request of that type may be sent, or nil. The link is locked.
func (l *Link) unusable(t wire.Type) error {
	switch {
	case l.err != nil:
		return l.err
	case l.accepted != nil:
		return errAskedOnly
	case (l.leaving.said || l.leaving.heard) && t != wire.Fill && t != wire.Recall: // these end what is under way
		return ErrGoingAway
	}
	return nil
}

// now is the time as this package tells it.
func (n *Node) now() int64 { return int64(time.Since(n.cfg.Start)) }

// later is the time by which leases end that this process holds.
func (n *Node) later() int64 { return n.now() + n.cfg.Ahead() }

// after returns when d, which is not negative, has passed; the end of time if that is never.
func after(now int64, d time.Duration) int64 { return now + min(int64(d), math.MaxInt64-now) }
