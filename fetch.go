package covey

// fetch.go lets callers here who want the same key of another peer share the owner's answers.

import (
	"context"
	"time"

	"github.com/coveycache/covey/internal/link"
)

// A fetch is one request to the owner for all who want a key here and have come before it is sent. Who comes later must not have its answer,
// because a write may have been acknowledged in between, and takes part in the next fetch, which is sent when this one is over. So there is one
// request for a key at a time, however many want it, and nobody waits for more than two.
type fetch[V any] struct {
	link *link.Link // to the owner by the leader's ring
	over chan struct{}
	late *time.Timer // runs once it is sent, and ends it

	// Guarded by the segment's lock.
	sent   bool      // or about to be
	ended  bool      // over is closed
	others uint64    // who wait for the answer, beside who sends it
	next   *fetch[V] // of those who have come since it was sent

	// Not changed once over is closed.
	shared bool // there is an answer for all: a value or ErrNotFound
	value  V
	err    error
}

// fetchPatience is how long those who take part in a fetch wait for the answer before each asks for himself.
const fetchPatience = 100 * time.Millisecond

// joinFetch makes the caller part of a fetch of key. If he leads it he is to send it and to call endFetch; he may find a copy in the index that the
// fetch before has brought. Otherwise it has ended with an answer. It is nil if the caller is to ask for himself, because nobody leads any more or
// the ring has changed and others have asked another peer, which may not have been told of the latest writes.
func (c *Cache[V]) joinFetch(ctx context.Context, l *link.Link, key string, hash uint32) (f *fetch[V], leads bool) {
	g := c.store.index.segment(hash)
	g.mu.Lock()
	k := c.keyed(hash)
	before := k.fetches[key]
	switch {
	case before == nil:
		f = &fetch[V]{link: l, over: make(chan struct{})}
		if k.fetches == nil {
			k.fetches = make(map[string]*fetch[V])
		}
		k.fetches[key] = f
		c.sendFetch(key, hash, f)
		g.mu.Unlock()
		return f, true
	case !before.sent:
		f = before
	case before.next != nil:
		f = before.next
	default:
		f = &fetch[V]{link: l, over: make(chan struct{})}
		before.next = f
		g.mu.Unlock()
		select {
		case <-before.over:
		case <-ctx.Done():
			c.abandonFetch(key, hash, f)
			return nil, false
		}
		g.mu.Lock()
		c.sendFetch(key, hash, f)
		g.mu.Unlock()
		return f, true
	}
	if f.link != l {
		g.mu.Unlock()
		return nil, false
	}
	f.others++
	g.mu.Unlock()
	select {
	case <-f.over:
		if f.shared {
			return f, false
		}
	case <-ctx.Done():
	}
	return nil, false
}

// sendFetch notes that a fetch is about to be sent: nobody takes part in it any more. The segment is locked.
func (c *Cache[V]) sendFetch(key string, hash uint32, f *fetch[V]) {
	f.sent = true
	f.late = time.AfterFunc(fetchPatience, func() { c.abandonFetch(key, hash, f) })
}

// endFetch ends a fetch, if it has not ended, with what the owner has answered, and has it told how many more requests that was for.
func (c *Cache[V]) endFetch(key string, hash uint32, f *fetch[V], value V, err error) {
	if f == nil {
		return
	}
	g := c.store.index.segment(hash)
	g.mu.Lock()
	others := uint64(0)
	if !f.ended {
		f.shared, f.value, f.err = true, value, err
		others = f.others
		c.keyed(hash).endFetch(key, f)
	}
	g.mu.Unlock()
	if others > 0 {
		c.copies.oweFor(f.link, key, others)
	}
}

// abandonFetch ends a fetch without an answer, if it has not ended: those who wait ask for themselves. nil is no fetch.
func (c *Cache[V]) abandonFetch(key string, hash uint32, f *fetch[V]) {
	if f == nil {
		return
	}
	g := c.store.index.segment(hash)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !f.ended {
		c.keyed(hash).endFetch(key, f)
	}
}

// endFetch lets those go on who wait for f. The segment is locked.
func (k *keyed[V]) endFetch(key string, f *fetch[V]) {
	switch first := k.fetches[key]; {
	case first != f:
		first.next = nil // its leader leaves before it is his turn
	case f.next != nil:
		k.fetches[key] = f.next
	default:
		delete(k.fetches, key)
	}
	if f.ended = true; f.sent {
		f.late.Stop()
	}
	close(f.over)
}
