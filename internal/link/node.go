package link

// node.go is this process's end of all its links.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/coveycache/covey/internal/timing"
	"github.com/coveycache/covey/internal/wire"
)

// A Node is this process as its peers see it: it takes links in, dials links
// out and ends them all. Its methods are safe for concurrent use.
type Node struct {
	cfg      Config
	ring     atomic.Uint64
	waiters  *sync.Pool
	client   *http.Client
	seq      atomic.Uint64  // of the last hello over plain HTTP
	wg       sync.WaitGroup // dialling and handshakes
	ctx      context.Context
	stop     context.CancelCauseFunc
	arrivals arrivals
	bodies   bodies
	backlog  backlog
	hijacks  sync.Map // errors that have been logged for connections that could not be taken over

	mu        sync.Mutex // taken before a link's
	closed    bool
	links     map[*Link]struct{}         // that have not gone down
	healths   map[string]*health         // by name
	gone      [PurposesNum]timing.Counts // of healths that have gone
	exchanges map[*Link]struct{}         // that are served
	callers   map[uint64]*caller         // over plain HTTP, by instance
	taken     map[uint64]*Link           // in, by instance: the newest
	peers     map[*Peer]struct{}
	visitors  []*visitor  // oldest first
	caches    []cacheInfo // by number
	idle      chan struct{}
	refusals  struct {
		next     int64               // when one may be logged again
		unlogged int                 // since the last one that was
		told     map[[2]string]int64 // when what was logged may be again, by host and reason
	}
}

type cacheInfo struct {
	name, codec string
	gone        bool
}

// maxCaches is the limit of different cache names in the life of a process.
const maxCaches = 2048

// NewNode returns a node without links.
func NewNode(cfg Config) (*Node, error) {
	switch {
	case cfg.Name == "" || len(cfg.Name) > wire.MaxName:
		return nil, fmt.Errorf("link: the name %.300q is empty or longer than %d bytes", cfg.Name, wire.MaxName)
	case len(cfg.Group) > wire.MaxName:
		return nil, fmt.Errorf("link: the group's name %.300q is longer than %d bytes", cfg.Group, wire.MaxName)
	case cfg.Instance == 0:
		return nil, errors.New("link: the instance is 0")
	}
	n := &Node{
		cfg:       cfg.withDefaults(),
		waiters:   newWaiters(),
		links:     make(map[*Link]struct{}),
		healths:   make(map[string]*health),
		exchanges: make(map[*Link]struct{}),
		callers:   make(map[uint64]*caller),
		taken:     make(map[uint64]*Link),
		peers:     make(map[*Peer]struct{}),
		caches:    []cacheInfo{{gone: true}}, // 0 is no cache
	}
	n.arrivals.max = n.cfg.MaxArriving
	n.bodies.max = n.cfg.MaxArriving
	n.client = newClient(&n.cfg)
	n.ctx, n.stop = context.WithCancelCause(context.Background())
	return n, nil
}

// SetRing tells the other ends of all links by which view of the members this
// process goes, which ring stands for, at the latest with the next keep-alive.
func (n *Node) SetRing(ring uint64) { n.ring.Store(ring) }

// AddCache makes a cache known to the other ends of all links and returns its
// number, for wire.Frame.Cache. A name has the same number for ever.
func (n *Node) AddCache(name, codec string) (uint16, error) {
	if name == "" || len(name) > wire.MaxName || len(codec) > wire.MaxName {
		return 0, fmt.Errorf("link: the name of cache %.300q or of its codec is empty or longer than %d bytes", name, wire.MaxName)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	i := 0
	for i < len(n.caches) && n.caches[i].name != name {
		i++
	}
	old := slices.Clone(n.caches)
	if i == maxCaches {
		return 0, fmt.Errorf("link: more than %d names of caches", maxCaches-1)
	}
	if i == len(n.caches) {
		n.caches = append(n.caches, cacheInfo{})
	}
	n.caches[i] = cacheInfo{name: name, codec: codec}
	if f := n.cachesFrame(); f.Check(0) != nil {
		n.caches = old
		return 0, errors.New("link: the names of the caches are too long to tell the peers")
	}
	n.announce()
	return uint16(i), nil
}

// RemoveCache tells the other ends of all links that a cache is no more.
func (n *Node) RemoveCache(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.caches {
		if n.caches[i].name == name {
			n.caches[i].gone = true
		}
	}
	n.announce()
}

func (n *Node) announce() {
	f := n.cachesFrame()
	for l := range n.links {
		if l.plain != nil {
			continue // each body has them
		}
		l.mu.Lock()
		l.out.control(f)
		l.rouse()
		l.mu.Unlock()
	}
}

func (n *Node) cachesFrame() *wire.Frame {
	f := &wire.Frame{Type: wire.Caches, Text: n.cfg.Build, Items: []byte{}}
	for i, c := range n.caches {
		if !c.gone {
			f.Items = wire.Append(f.Items, &wire.Frame{Type: wire.Caches, Cache: uint16(i), Key: c.name, Text: c.codec})
		}
	}
	return f
}

// begin starts a link on which the handshake is done.
func (n *Node) begin(l *Link, early []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	if l.dialer == nil {
		if old := n.taken[l.peer.Instance]; old != nil && !isClosed(old.gone) {
			return ErrReplaced // two at once
		}
		n.taken[l.peer.Instance] = l
	}
	n.links[l] = struct{}{}
	l.health = n.healthOf(l.peer.Name)
	l.out.control(n.cachesFrame())
	l.start(early)
	return nil
}

// remove forgets a link that has gone down.
func (n *Node) remove(l *Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.links[l]; ok {
		delete(n.links, l)
		n.release(l.peer.Name, l.health)
	}
	delete(n.exchanges, l)
	if len(n.links)+len(n.exchanges) == 0 && n.idle != nil {
		close(n.idle)
		n.idle = nil
	}
}

// retire ends an earlier link from the process with the given number, and
// waits until everything that came over it has ended.
func (n *Node) retire(ctx context.Context, instance uint64) error {
	n.mu.Lock()
	old := n.taken[instance]
	n.mu.Unlock()
	if old == nil {
		return nil
	}
	old.fail(ErrReplaced)
	select {
	case <-old.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// forget is called when everything that came over a link has ended.
func (n *Node) forget(l *Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.taken[l.peer.Instance] == l {
		delete(n.taken, l.peer.Instance)
	}
	if s := l.served; s != nil {
		delete(s.caller.running, s.seq)
	}
}

// whenIdle returns a channel that is closed when there is no link. The node is locked.
func (n *Node) whenIdle() <-chan struct{} {
	if n.idle == nil {
		n.idle = make(chan struct{})
	}
	idle := n.idle
	if len(n.links)+len(n.exchanges) == 0 {
		close(idle)
		n.idle = nil
	}
	return idle
}

// Links calls f for every link that is up, at both kinds of ends, until f
// returns false. f may call any method of the link.
func (n *Node) Links(f func(*Link) bool) {
	n.mu.Lock()
	all := make([]*Link, 0, len(n.links))
	for l := range n.links {
		all = append(all, l)
	}
	n.mu.Unlock()
	for _, l := range all {
		if isClosed(l.ready) && !f(l) {
			return
		}
	}
}

// Shutdown takes no more links and requests, waits until all requests in
// flight, of both ends, have been answered, and closes. When ctx ends first
// it closes at once and returns ctx's error.
func (n *Node) Shutdown(ctx context.Context) error {
	n.stop(ErrClosed)
	n.mu.Lock()
	n.closed = true
	idle := n.whenIdle()
	for l := range n.links {
		l.goAway()
	}
	n.mu.Unlock()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	n.Close()
	return err
}

// Close ends all links at once and waits for the node's goroutines.
func (n *Node) Close() {
	n.stop(ErrClosed)
	n.mu.Lock()
	n.closed = true
	peers := slices.Collect(maps.Keys(n.peers))
	idle := n.whenIdle()
	for l := range n.links {
		l.fail(ErrClosed)
	}
	for l := range n.exchanges {
		l.fail(ErrClosed)
	}
	for _, c := range n.callers {
		if c.link != nil {
			c.link.fail(ErrClosed)
		}
	}
	n.mu.Unlock()
	for _, p := range peers {
		p.Close()
	}
	<-idle
	n.wg.Wait()
	n.client.CloseIdleConnections()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
