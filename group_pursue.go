package covey

// group_pursue.go makes sure that a write reaches the peers that could not confirm it: they drop
// the key as soon as there is a link to them.

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// pursuits are the keys that peers have to drop, by name of the peer.
type pursuits struct {
	group  *Group
	mu     sync.Mutex
	closed bool
	peers  map[string]*pursuit
}

type pursuit struct {
	keys    map[pursued]uint64 // and when each was last added
	adds    uint64             // so far
	running bool
}

type pursued struct{ cache, key string } // no key: all of them

// maxPursued is how many keys are remembered for a peer. If there are more, the peer clears the
// caches that they belong to.
const maxPursued = 1 << 16

func (p *pursuits) add(peer, cache, key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if p.peers == nil {
		p.peers = make(map[string]*pursuit)
	}
	to := p.peers[peer]
	if to == nil {
		to = &pursuit{keys: make(map[pursued]uint64)}
		p.peers[peer] = to
	}
	to.adds++
	if len(to.keys) >= maxPursued {
		caches := make(map[pursued]uint64)
		for k := range to.keys {
			caches[pursued{k.cache, ""}] = to.adds
		}
		to.keys = caches
	}
	if _, all := to.keys[pursued{cache, ""}]; all {
		key = ""
	}
	to.keys[pursued{cache, strings.Clone(key)}] = to.adds
	if !to.running {
		to.running = true
		p.group.wg.Go(func() { p.run(peer, to) })
	}
}

// drop gives up on a peer that is no longer a member.
func (p *pursuits) drop(peer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.peers, peer)
}

func (p *pursuits) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.peers = nil
}

// len returns how many keys are pending, over all peers.
func (p *pursuits) len() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, to := range p.peers {
		n += len(to.keys)
	}
	return n
}

const pursueEvery = 500 * time.Millisecond

// run keeps trying until the peer has dropped everything or is given up.
func (p *pursuits) run(name string, to *pursuit) {
	for {
		p.mu.Lock()
		if p.peers[name] != to || len(to.keys) == 0 {
			if p.peers[name] == to {
				delete(p.peers, name)
			}
			p.mu.Unlock()
			return
		}
		keys := maps.Clone(to.keys)
		p.mu.Unlock()
		if l := p.group.linkBy(name); l != nil {
			p.send(l, to, keys)
			continue
		}
		select {
		case <-time.After(pursueEvery):
		case <-p.group.ctx.Done():
			return
		}
	}
}

func (p *pursuits) send(l *link.Link, to *pursuit, keys map[pursued]uint64) {
	for k, added := range keys {
		id, ok := p.group.cacheID(k.cache)
		if ok {
			ctx, cancel := context.WithTimeout(p.group.ctx, p.group.opt.OpTimeout)
			answer, err := l.Call(ctx, &wire.Frame{Type: wire.Confirm, Cache: id, Key: k.key})
			cancel()
			if err != nil || answer.Type == wire.Failed && answer.Code != wire.CodeUnknownCache {
				select {
				case <-time.After(pursueEvery):
				case <-p.group.ctx.Done():
				}
				return
			}
		}
		p.mu.Lock()
		if to.keys[k] == added { // else the peer may have stored it since
			delete(to.keys, k)
		}
		p.mu.Unlock()
	}
}
