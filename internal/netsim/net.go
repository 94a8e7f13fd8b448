// Package netsim is a network in memory for tests: listeners and connections
// with delay, loss, partitions and pauses. It uses no sockets and waits on
// nothing but condition variables, so that it works in testing/synctest
// bubbles, where its delays cost no real time.
package netsim

// net.go has hosts, listeners and what can go wrong between them.

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Network connects hosts. Its methods are safe for concurrent use.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*Listener
	conns     map[*Conn]struct{} // the dialling ends
	delay     time.Duration
	cuts      map[[2]string]bool
	paused    map[string]bool
	healed    chan struct{} // closed and replaced when something is healed
	dials     int
	writes    atomic.Int64
}

// New returns a network without delay on which everybody reaches everybody.
func New() *Network {
	return &Network{
		listeners: make(map[string]*Listener),
		conns:     make(map[*Conn]struct{}),
		cuts:      make(map[[2]string]bool),
		paused:    make(map[string]bool),
		healed:    make(chan struct{}),
	}
}

// SetDelay makes everything that is sent from now on take d to arrive.
func (n *Network) SetDelay(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// Partition stops everything between hosts a and b, without a word to either:
// what they send arrives when the partition is healed.
func (n *Network) Partition(a, b string) { n.change(func() { n.cuts[pair(a, b)] = true }) }

// Heal ends a partition of a and b.
func (n *Network) Heal(a, b string) { n.change(func() { delete(n.cuts, pair(a, b)) }) }

// Pause makes host a neither send nor receive, as SIGSTOP does. Its timers go on.
func (n *Network) Pause(a string) { n.change(func() { n.paused[a] = true }) }

// Resume ends a pause.
func (n *Network) Resume(a string) { n.change(func() { delete(n.paused, a) }) }

// Reset breaks all connections between hosts a and b.
func (n *Network) Reset(a, b string) {
	for _, c := range n.open() {
		if pair(c.local.host(), c.remote.host()) == pair(a, b) {
			c.reset()
		}
	}
}

// Conns returns the number of connections that are open at one end at least.
func (n *Network) Conns() int { return len(n.open()) }

// Dials returns how many connections have been asked for, refused ones too.
func (n *Network) Dials() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

// Writes returns how often something has been written to a connection.
func (n *Network) Writes() int { return int(n.writes.Load()) }

// open returns the connections that are, and forgets the others. A pipe's lock comes before the
// network's.
func (n *Network) open() []*Conn {
	n.mu.Lock()
	all := slices.Collect(maps.Keys(n.conns))
	n.mu.Unlock()
	return slices.DeleteFunc(all, func(c *Conn) bool {
		dead := c.dead()
		if dead {
			n.mu.Lock()
			delete(n.conns, c)
			n.mu.Unlock()
		}
		return dead
	})
}

func (n *Network) change(f func()) {
	n.mu.Lock()
	f()
	close(n.healed)
	n.healed = make(chan struct{})
	n.mu.Unlock()
	for _, c := range n.open() {
		c.in.wake()
		c.out.wake()
	}
}

func pair(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// blocked reports whether nothing passes between hosts a and b, and gives a
// channel that is closed when that may have changed.
func (n *Network) blocked(a, b string) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cuts[pair(a, b)] || n.paused[a] || n.paused[b], n.healed
}

// An addr is host:port.
type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }
func (a addr) host() string   { h, _, _ := net.SplitHostPort(string(a)); return h }
func (a addr) error(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: a, Err: err}
}

// Listen listens at address, host:port.
func (n *Network) Listen(address string) (*Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[address] != nil {
		return nil, addr(address).error("listen", syscall.EADDRINUSE)
	}
	l := &Listener{net: n, addr: addr(address), backlog: make(chan *Conn, 128), closed: make(chan struct{})}
	n.listeners[address] = l
	return l, nil
}

// Dialer returns a dial function for a client on host from.
func (n *Network) Dialer(from string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		n.mu.Lock()
		n.dials++
		local := addr(fmt.Sprintf("%s:%d", from, 40000+n.dials))
		n.mu.Unlock()
		remote := addr(address)
		for {
			blocked, healed := n.blocked(from, remote.host())
			if !blocked {
				break
			}
			select {
			case <-healed:
			case <-ctx.Done():
				return nil, remote.error("dial", context.Cause(ctx))
			}
		}
		n.mu.Lock()
		l, delay := n.listeners[address], n.delay
		n.mu.Unlock()
		if delay > 0 {
			select {
			case <-time.After(2 * delay):
			case <-ctx.Done():
				return nil, remote.error("dial", context.Cause(ctx))
			}
		}
		if l == nil {
			return nil, remote.error("dial", syscall.ECONNREFUSED)
		}
		client, server := newPair(n, local, remote)
		select {
		case l.backlog <- server:
			select {
			case <-l.closed: // perhaps before, and nobody accepts it
				server.reset()
				return nil, remote.error("dial", syscall.ECONNREFUSED)
			default:
			}
		case <-l.closed:
			return nil, remote.error("dial", syscall.ECONNREFUSED)
		case <-ctx.Done():
			return nil, remote.error("dial", context.Cause(ctx))
		}
		n.mu.Lock()
		n.conns[client] = struct{}{}
		n.mu.Unlock()
		return client, nil
	}
}

// A Listener is a net.Listener on a Network.
type Listener struct {
	net     *Network
	addr    addr
	backlog chan *Conn
	once    sync.Once
	closed  chan struct{}
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, l.addr.error("accept", net.ErrClosed)
	}
}

// Close makes the network refuse further connections.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, string(l.addr))
		l.net.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.backlog:
				c.reset()
			default:
				return
			}
		}
	})
	return nil
}

// Addr returns the address that l listens at.
func (l *Listener) Addr() net.Addr { return l.addr }
