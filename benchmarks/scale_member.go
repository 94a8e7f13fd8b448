package main

// scale_member.go is a member of which only links and agreement run: a process can hold many of them,
// since they have no ring and no cache. It has the others of a large group around a whole process.

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/view"
	"github.com/coveycache/covey/internal/wire"
)

// A bareMember does what group_view.go and group_links.go of the library do, without caches.
type bareMember struct {
	id        view.ID
	node      *link.Node
	agreement *view.Node
	listener  net.Listener
	start     time.Time

	mu      sync.Mutex
	peers   map[string]*link.Peer
	linksTo map[view.ID][]*link.Link
	view    *view.View
	settled bool
	stopped bool
}

// newBareMember starts a member that knows of those.
func newBareMember(instance uint64, urls []string) (*bareMember, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	url := "http://" + l.Addr().String() + covey.DefaultPath
	m := &bareMember{
		id: view.ID{Name: url, Instance: instance}, start: time.Now(), listener: l,
		peers: make(map[string]*link.Peer), linksTo: make(map[view.ID][]*link.Link),
	}
	now := func() int64 { return int64(time.Since(m.start)) }
	m.agreement = view.New(view.Config{
		Self: view.Member{ID: m.id, URL: url, Weight: 1}, Now: now, Held: now,
		Wall: func() uint64 { return uint64(time.Now().UnixMilli()) }, Random: rand.Uint64,
		Send:    m.tell,
		Adopt:   func(a view.Adoption) { m.set(a.View, a.Settled) },
		Settled: func(uint64) { m.set(nil, true) },
		Release: func(epoch uint64) { go m.agreement.Released(epoch) },
		Note:    func(view.Event) {},
	})
	list := make([]view.Member, len(urls))
	for i, u := range urls {
		list[i] = view.Member{ID: view.ID{Name: u}, URL: u, Weight: 1}
	}
	m.agreement.List(list)
	m.node, err = link.NewNode(link.Config{
		Name: url, Instance: instance, Secrets: [][]byte{crowdSecret}, Logger: slog.New(slog.DiscardHandler), Start: m.start,
		Up: m.up, Down: m.down, Failed: m.failed,
		Told:   func(l *link.Link, f *wire.Frame) { _ = m.agreement.Receive(idOf(l), f.Value) },
		Report: func(l *link.Link, _ func(uint16, string, uint64) bool) { m.agreement.Renew(idOf(l)) },
		Term:   func(*link.Link) time.Duration { return time.Duration(max(0, m.agreement.Until()-now())) },
	})
	if err != nil {
		return nil, err
	}
	go func() { _ = http.Serve(l, m.node) }()
	go m.attend()
	return m, nil
}

func (m *bareMember) set(v *view.View, settled bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v != nil {
		m.view = v
	}
	m.settled = settled
}

func (m *bareMember) members() (n int, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.view == nil || !m.settled {
		return 0, 0
	}
	return len(m.view.Members), m.view.Epoch
}

func idOf(l *link.Link) view.ID { return view.ID{Name: l.Name(), Instance: l.Instance()} }

func (m *bareMember) attend() {
	for {
		m.mu.Lock()
		stopped, lost := m.stopped, m.view == nil
		m.mu.Unlock()
		if stopped {
			return
		}
		if lost {
			m.agreement.Reached(true)
		}
		wait := m.agreement.Tick()
		for _, w := range m.agreement.Wanted() {
			m.dial(w)
		}
		time.Sleep(max(wait, view.TickEvery))
	}
}

func (m *bareMember) dial(w view.Member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped || len(m.linksTo[w.ID]) > 0 && w.Instance != 0 {
		return
	}
	p := m.peers[w.Name]
	if p == nil {
		var err error
		if p, err = m.node.Peer(w.Name, w.URL); err != nil {
			return
		}
		m.peers[w.Name] = p
	}
	if p.Up() == nil {
		p.Dial()
	}
}

func (m *bareMember) tell(to view.ID, b []byte) {
	m.mu.Lock()
	links := m.linksTo[to]
	var l *link.Link
	if len(links) > 0 {
		l = links[0]
	}
	m.mu.Unlock()
	if l != nil {
		_ = l.Tell(&wire.Frame{Value: b})
	}
}

func (m *bareMember) up(l *link.Link) {
	m.mu.Lock()
	m.linksTo[idOf(l)] = append(m.linksTo[idOf(l)], l)
	m.mu.Unlock()
	m.agreement.LinkUp(idOf(l))
}

func (m *bareMember) down(l *link.Link, err error) {
	id := idOf(l)
	m.mu.Lock()
	m.linksTo[id] = slices.DeleteFunc(m.linksTo[id], func(one *link.Link) bool { return one == l })
	if len(m.linksTo[id]) == 0 {
		delete(m.linksTo, id)
	}
	m.mu.Unlock()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, link.ErrGoingAway) {
		m.agreement.LinkEnded(id)
	} else {
		m.agreement.LinkDown(id)
	}
}

func (m *bareMember) failed(p *link.Peer, err error) {
	if errors.Is(err, syscall.ECONNREFUSED) {
		m.agreement.Refused(p.Name())
	}
}

// leave has the member say goodbye.
func (m *bareMember) leave() {
	<-m.agreement.Leave(true)
	m.stop()
}

// stop ends it as a kill does: its port is closed, and so are its links.
func (m *bareMember) stop() {
	_ = m.listener.Close()
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	m.node.Close()
}
