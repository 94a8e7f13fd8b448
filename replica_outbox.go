package covey

// replica_outbox.go has the keys whose values are still to be sent to other members.

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// outboxes are the keys whose values are to go to other members, by the members' names.
type outboxes struct {
	mu sync.Mutex
	of map[string]*outbox
}

// An outbox has the keys for one member.
type outbox struct {
	mu      sync.Mutex
	keys    []string
	has     map[string]struct{} // the same
	under   int                 // keys that are being sent
	sending bool                // a goroutine does

	missed   placeSet // what the member has not been sent
	catching bool     // a goroutine sees to it
	lost     bool     // until then nothing can be added
}

// maxOutbox bounds the keys that wait for one member. It catches up on the others later.
const maxOutbox = 1 << 14

func (o *outboxes) to(name string) *outbox {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.of[name]
	if b == nil {
		if o.of == nil {
			o.of = make(map[string]*outbox)
		}
		b = &outbox{has: make(map[string]struct{})}
		o.of[name] = b
	}
	return b
}

// all returns the outboxes that there are.
func (o *outboxes) all() map[string]*outbox {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.of)
}

// waiting counts the keys that have not been sent.
func (o *outboxes) waiting() (n int) {
	for _, b := range o.all() {
		n += b.len()
	}
	return n
}

// keep forgets the outboxes of those who are no members any more.
func (o *outboxes) keep(v *view) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name := range o.of {
		if v.indexOf(name) < 0 {
			delete(o.of, name)
		}
	}
}

// add adds a key, and reports whether there was room, and whether a goroutine has to be started that
// sends it.
func (b *outbox) add(key string) (room, start bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.has[key]; ok {
		return true, false
	}
	if b.lost || len(b.keys) >= maxOutbox {
		return false, false
	}
	key = strings.Clone(key) // its memory may be the caller's
	b.has[key] = struct{}{}
	b.keys = append(b.keys, key)
	start = !b.sending
	b.sending = true
	return true, start
}

// take takes out the oldest keys. If there are none the goroutine that sends them has to end.
func (b *outbox) take(n int) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.keys))
	some := slices.Clone(b.keys[:n])
	b.keys = b.keys[n:]
	for _, key := range some {
		delete(b.has, key)
	}
	if n == 0 {
		b.keys, b.sending = nil, false
	}
	b.under = n
	return some
}

// len counts the keys that wait, with those that are being sent.
func (b *outbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.keys) + b.under
}
