package covey

// peer_fetch.go lets callers in this process who want the same key of another peer share the
// owner's answers.

import (
	"context"
	"strings"
	"time"

	"github.com/coveycache/covey/internal/link"
)

// A fetch is one request to the owner for all callers who want a key and have come before the
// request is sent. Those who come later must not get its answer, because a write may have been
// acknowledged in between. They take part in the next fetch, which is sent when this one is over.
// So there is one request for a key at a time, however many callers want it, and nobody waits for
// more than two.
type fetch[V any] struct {
	key  string
	link *link.Link // to the owner by the leader's view
	over chan struct{}
	late *time.Timer // started when it is sent; ends it after fetchPatience

	// Guarded by the segment's lock.
	sent   bool      // or about to be
	ended  bool      // over is closed
	others uint64    // callers who wait for the answer, besides the one who sends it
	next   *fetch[V] // for those who have come since it was sent

	// Not changed once over is closed.
	shared bool // there is an answer for all: a value or ErrNotFound
	value  V
	err    error
}

// fetchPatience is how long those who take part in a fetch wait for the answer. After that, each
// caller asks on its own.
const fetchPatience = 100 * time.Millisecond

// joinFetch makes the caller part of a fetch of key. A caller that leads it has to send the request
// and to call endFetch; it may find in the index a copy that the fetch before has brought. For a
// caller that does not lead, the fetch has ended with an answer. The fetch is nil if the caller has
// to ask on its own: because nobody leads any more, or because the view has changed and the others
// have asked another peer, which may not know of the latest writes.
func (p *peering[V]) joinFetch(ctx context.Context, l *link.Link, key string, hash uint32) (f *fetch[V], leads bool) {
	s := p.c.lock(hash)
	before := s.fetches[key]
	switch {
	case before == nil:
		f = &fetch[V]{key: strings.Clone(key), link: l, over: make(chan struct{})}
		if s.fetches == nil {
			s.fetches = make(map[string]*fetch[V])
		}
		s.fetches[f.key] = f
		s.sendFetch(hash, f)
		s.unlock()
		return f, true
	case !before.sent:
		f = before
	case before.next != nil:
		f = before.next
	default:
		f = &fetch[V]{key: strings.Clone(key), link: l, over: make(chan struct{})}
		before.next = f
		s.unlock()
		select {
		case <-before.over:
		case <-ctx.Done():
			p.abandonFetch(key, hash, f)
			return nil, false
		}
		s.mu.Lock()
		s.sendFetch(hash, f)
		s.unlock()
		return f, true
	}
	if f.link != l {
		s.unlock()
		return nil, false
	}
	f.others++
	s.unlock()
	select {
	case <-f.over:
		if f.shared {
			return f, false
		}
	case <-ctx.Done():
	}
	return nil, false
}

// sendFetch notes that a fetch is about to be sent, so that nobody joins it any more.
func (s *shard[V]) sendFetch(hash uint32, f *fetch[V]) {
	f.sent = true
	f.late = time.AfterFunc(fetchPatience, func() { s.c.peering.abandonFetch(f.key, hash, f) })
}

// endFetch ends a fetch, unless it has ended, with the owner's answer. The owner will be told how
// many more requests that answered.
func (p *peering[V]) endFetch(key string, hash uint32, f *fetch[V], value V, err error) {
	if f == nil {
		return
	}
	s := p.c.lock(hash)
	others := uint64(0)
	if !f.ended {
		f.shared, f.value, f.err = true, value, err
		others = f.others
		s.endFetch(key, f)
	}
	s.unlock()
	if others > 0 {
		p.c.copies.oweFor(f.link, key, others)
	}
}

// abandonFetch ends a fetch without an answer, unless it has ended: those who wait ask on their
// own. f may be nil.
func (p *peering[V]) abandonFetch(key string, hash uint32, f *fetch[V]) {
	if f == nil {
		return
	}
	s := p.c.lock(hash)
	defer s.unlock()
	if !f.ended {
		s.endFetch(key, f)
	}
}

// endFetch lets those who wait for f go on.
func (s *shard[V]) endFetch(key string, f *fetch[V]) {
	switch first := s.fetches[key]; {
	case first != f:
		first.next = nil // the leader of f leaves before its turn has come
	case f.next != nil:
		s.fetches[f.next.key] = f.next
	default:
		delete(s.fetches, key)
	}
	if f.ended = true; f.sent {
		f.late.Stop()
	}
	close(f.over)
}
