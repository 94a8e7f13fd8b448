package link

// health.go keeps what this process has seen of each other one, for operators. It is by name, and
// outlives links and restarts of the other process.

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/timing"
	"github.com/coveycache/covey/internal/wire"
)

// A Purpose is what a request is for.
type Purpose uint8

// Purposes.
const (
	ForReads    Purpose = iota // Get, GetMany, Lookup, Reload, and what is asked about a group
	ForWrites                  // Put, Delete, Expire, Clear, Update
	ForRecalls                 // what a write waits for: Recall, Drop
	ForCopies                  // what others come to have: Fill, Replicate, Peek
	ForNobody                  // what is not counted
	PurposesNum = ForNobody
)

func purposeOf(t wire.Type) Purpose {
	switch t {
	case wire.Get, wire.GetMany, wire.Lookup, wire.Reload, wire.Top, wire.Inspect:
		return ForReads
	case wire.Put, wire.Delete, wire.Expire, wire.Clear, wire.Update:
		return ForWrites
	case wire.Recall, wire.Drop:
		return ForRecalls
	case wire.Fill, wire.Replicate, wire.Peek:
		return ForCopies
	}
	return ForNobody
}

// A health is what is known of the processes of one name.
type health struct {
	refs     int // peers and links of that name; guarded by the node's mutex
	times    [PurposesNum]atomic.Pointer[timing.Timer]
	held     atomic.Int64
	failures atomic.Int64

	mu    sync.Mutex // a leaf
	links int        // that are up
	since time.Time  // when the first of them came up, or the last went down
	err   error
	errAt time.Time
}

// Health is what this process has seen of the others of one name.
type Health struct {
	Links    int           // that are up, in both directions
	Since    time.Time     // when the first of them came up or, if there is none, the last went down; zero: there was none
	Err      error         // what went wrong last: of a request, a link or an attempt to make one; nil: nothing has
	ErrAt    time.Time     // when that was
	Requests int64         // by this process, that have ended
	Failures int64         // those of them that got no answer
	Times    timing.Counts // how long those took that were answered without being held
}

// healthOf returns the health of a name, which the caller has to give back to release. The node is
// locked.
func (n *Node) healthOf(name string) *health {
	h := n.healths[name]
	if h == nil {
		h = new(health)
		n.healths[name] = h
	}
	h.refs++
	return h
}

// release gives a health back. When nothing refers to it any more it goes, and what it has counted
// is kept for the sum. The node is locked.
func (n *Node) release(name string, h *health) {
	if h == nil {
		return
	}
	if h.refs--; h.refs > 0 {
		return
	}
	delete(n.healths, name)
	for p := range h.times {
		if t := h.times[p].Load(); t != nil {
			t.AddTo(&n.gone[p])
		}
	}
}

// Health returns what this process has seen of the others of a name.
func (n *Node) Health(name string) (all Health) {
	n.mu.Lock()
	h := n.healths[name]
	n.mu.Unlock()
	if h == nil {
		return all
	}
	for p := range h.times {
		if t := h.times[p].Load(); t != nil {
			t.AddTo(&all.Times)
		}
	}
	all.Failures = h.failures.Load()
	all.Requests = all.Times.Count() + h.held.Load() + all.Failures
	h.mu.Lock()
	defer h.mu.Unlock()
	all.Links, all.Since, all.Err, all.ErrAt = h.links, h.since, h.err, h.errAt
	return all
}

// Times returns how long requests took to all others together that were answered without being held,
// by what they were for.
func (n *Node) Times() (all [PurposesNum]timing.Counts) {
	n.mu.Lock()
	defer n.mu.Unlock()
	all = n.gone
	for _, h := range n.healths {
		for p := range h.times {
			if t := h.times[p].Load(); t != nil {
				t.AddTo(&all[p])
			}
		}
	}
	return all
}

// answered counts the last answer to a request.
func (h *health) answered(p Purpose, held bool, took int64) {
	switch {
	case h == nil || p == ForNobody:
	case held:
		h.held.Add(1)
	default:
		t := h.times[p].Load()
		if t == nil {
			h.times[p].CompareAndSwap(nil, new(timing.Timer))
			t = h.times[p].Load()
		}
		t.Add(time.Duration(took))
	}
}

// failed counts requests that got no answer.
func (h *health) failed(n int, err error) {
	if h != nil && n > 0 {
		h.failures.Add(int64(n))
		h.note(err)
	}
}

// note keeps an error as the last one.
func (h *health) note(err error) {
	if h == nil || err == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err, h.errAt = err, time.Now()
}

// linked notes that a link has come up.
func (h *health) linked() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.links++; h.links == 1 {
		h.since = time.Now()
	}
}

// unlinked notes that a link that was up has gone down.
func (h *health) unlinked(err error) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err, h.errAt = err, time.Now()
	if h.links--; h.links == 0 {
		h.since = h.errAt
	}
}
