package covey

// peer_held.go keeps callers waiting whose key's owner has said that it waits for a load: one request
// of this process waits there for all of them.

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coveycache/covey/internal/link"
)

// holds are the keys whose owners have said that they wait for a load.
type holds struct {
	n     atomic.Int32
	voids atomic.Uint64 // how often holds have ended because of a write
	mu    sync.Mutex
	m     map[string]*hold
}

// A hold keeps callers waiting until they may ask.
type hold struct {
	key  string
	link *link.Link // to the owner
	over chan struct{}
	asks int    // how many of them the owner holds; guarded by holds.mu
	err  error  // of the loader, or errRightLost; set before over is closed, as is load
	load []byte // what tells about the load's span; nil if that is not known
}

// of returns key's hold, nil if there is none.
func (h *holds) of(key string) *hold {
	if h.n.Load() == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.m[key]
}

// enter adds an ask to key's hold, at the other end of l. If there has been a write since the ask
// was sent, when so many holds were void, the ask is held but keeps nobody else waiting: the word
// that its load is obsolete may have come before the word that there is one.
func (h *holds) enter(key string, l *link.Link, voids uint64) *hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.voids.Load() != voids {
		return &hold{key: key, asks: 1}
	}
	o := h.m[key]
	if o == nil {
		o = &hold{key: strings.Clone(key), link: l, over: make(chan struct{})}
		if h.m == nil {
			h.m = make(map[string]*hold)
		}
		h.m[o.key] = o
		h.n.Add(1)
	}
	o.asks++
	return o
}

// leave ends a hold when the first of its asks has an answer. load tells about the load that it has
// waited for.
func (h *holds) leave(o *hold, err error, load []byte) {
	if o == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.asks--; h.m[o.key] == o && (o.asks == 0 || !errors.Is(err, context.Canceled)) {
		var foreign *foreignError
		if errors.As(err, &foreign) || errors.Is(err, errRightLost) {
			o.err = err
		}
		o.load = load
		h.end(o)
	}
}

// forget ends all holds: their keys may have other owners, who know nothing of them.
func (h *holds) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.voids.Add(1)
	for _, o := range h.m {
		h.end(o)
	}
}

// void ends key's hold because of a write: whoever comes after that must not wait for a load that
// began before it. Those who wait at the owner go on waiting.
func (h *holds) void(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.voids.Add(1)
	if o := h.m[key]; o != nil {
		h.end(o)
	}
}

// lost ends the holds of a link that is down: nobody could tell that their loads are obsolete.
func (h *holds) lost(l *link.Link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.m {
		if o.link == l {
			h.end(o)
		}
	}
}

// end lets those go on who wait. mu is held.
func (h *holds) end(o *hold) {
	delete(h.m, o.key)
	h.n.Add(-1)
	close(o.over)
}

// awaitHold waits while the owner of key waits for a load. If that load fails it returns its error.
// A call within another load does not wait here but asks, so that the owner knows what waits for
// what.
func (p *peering[V]) awaitHold(ctx context.Context, key string) error {
	if loadingOf(ctx).isRunning() {
		return nil
	}
	for {
		o := p.holds.of(key)
		if o == nil {
			return nil
		}
		select {
		case <-o.over:
			if o.load != nil {
				p.c.tracer.waited(ctx, &loadTrace{load: o.load})
			}
			if o.err != nil {
				return o.err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.c.stop:
			return p.c.errClosed()
		}
	}
}
