package covey

// journal.go remembers what has happened lately, for operators: a bounded number of events of each
// class, so that many of one kind do not push out the few of another.

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The classes of events, each with a history of its own.
type eventClass uint8

const (
	ofGroup  eventClass = iota // changes of the view, of what this process may do, of breakers
	ofPeers                    // links up and down
	ofWrites                   // what was invalidated
	ofErrors
	eventClasses
)

// maxEvents is how many events of each class are remembered, and how many of each are kept in a
// second.
const maxEvents = 100

// A journal has the last events. Adding one that is not kept since there have been too many costs an
// atomic addition.
type journal struct {
	histories [eventClasses]history
	told      *userQueue[Event] // gets the changes of the group and of peers; nil: nobody wants them
}

type history struct {
	full    atomic.Int64 // until when nothing more is kept, in Unix nanoseconds
	skipped atomic.Int64 // events not kept since the last one that was

	mu     sync.Mutex // a leaf
	began  int64      // of the second that counts
	kept   int        // in that second
	events []Event    // a ring, when there are maxEvents
	next   int        // where in the ring the oldest is
}

// add takes an event down. It may be called under any lock.
func (j *journal) add(e Event) {
	if j == nil {
		return
	}
	class := e.Kind.class()
	e.At = time.Now()
	if len(e.Key) > maxShownKey {
		e.Key = e.Key[:maxShownKey]
	}
	isChange := class == ofGroup || class == ofPeers
	if isChange && j.told != nil {
		j.told.add(e)
	}
	j.histories[class].add(e, class != ofGroup)
}

// maxShownKey is how much of a key is kept or shown, in bytes.
const maxShownKey = 128

// add keeps an event, unless it is throttled and there have been too many in this second.
func (h *history) add(e Event, throttled bool) {
	now := e.At.UnixNano()
	if throttled && now < h.full.Load() {
		h.skipped.Add(1)
		return
	}
	e.Key = strings.Clone(e.Key) // its memory may be the caller's, or a link's
	h.mu.Lock()
	defer h.mu.Unlock()
	if now >= h.began+int64(time.Second) || now < h.began {
		h.began, h.kept = now, 0
	}
	if h.kept++; h.kept >= maxEvents {
		h.full.Store(h.began + int64(time.Second))
	}
	e.Skipped = h.skipped.Swap(0)
	if len(h.events) < maxEvents {
		h.events = append(h.events, e)
		return
	}
	h.events[h.next] = e
	h.next = (h.next + 1) % maxEvents
}

// recent returns what is remembered, the latest first; if cache is not "", what concerns that one.
func (j *journal) recent(cache string) []Event {
	all := []Event{}
	for i := range j.histories {
		h := &j.histories[i]
		h.mu.Lock()
		for at := range h.events {
			if e := h.events[(h.next+at)%len(h.events)]; cache == "" || e.Cache == cache {
				all = append(all, e)
			}
		}
		h.mu.Unlock()
	}
	slices.Reverse(all)
	slices.SortStableFunc(all, func(a, b Event) int { return cmp.Compare(b.At.UnixNano(), a.At.UnixNano()) })
	return all
}

// newJournal returns a journal whose changes are passed on to f, a function of the user's, if there
// is one.
func newJournal(f func(Event), log *warner, what string) *journal {
	j := new(journal)
	if f == nil {
		return j
	}
	j.told = &userQueue[Event]{
		handle: func(e Event) {
			err := guard(what, func() error {
				f(e)
				return nil
			})
			if err != nil {
				log.warn(eventFailed, what, "func", what, "err", err)
			}
		},
		lost: func(n int) Event { return Event{At: time.Now(), Kind: EventsLost, Skipped: int64(n)} },
	}
	return j
}

// flush waits until the user has been told, until the timer fires at most.
func (j *journal) flush(what string, timer *time.Timer) error {
	if j.told == nil {
		return nil
	}
	return j.told.flush(what, timer)
}

// Recent returns what has happened lately to the cache in this process; see [Group.Recent].
func (c *Cache[V]) Recent() []Event { return c.journal.recent(c.name) }

// watchBreaker takes down what the breaker does, and tells the user.
func (c *Cache[V]) watchBreaker() {
	if f := c.opt.Events.Breaker; f != nil {
		c.breakers = &userQueue[BreakerState]{handle: func(s BreakerState) {
			err := guard("Events.Breaker", func() error {
				f(s)
				return nil
			})
			if err != nil {
				c.log.warn(eventFailed, "Breaker", "err", err)
			}
		}}
	}
	c.origin.changed = func(s BreakerState) {
		c.journal.add(Event{Kind: EventBreaker, Cache: c.name, Breaker: s})
		if c.breakers != nil {
			c.breakers.add(s)
		}
	}
}
