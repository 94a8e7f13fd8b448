package link

// leave.go ends a link without losing an answer. Both ends say GoAway: first,
// with the flag More, that they send no more requests, and at last, without,
// that they have all their answers. When both have said the last word, nothing
// that anybody waits for is on its way.

import "github.com/coveycache/covey/internal/wire"

// leaving is how far that has come.
type leaving struct {
	said      bool // this end sends no more requests
	last      bool // and has all its answers, and has queued that
	flushed   bool // and sent it
	heard     bool // the other end sends no more requests
	heardLast bool // and has all its answers
}

// goAway begins to end the link.
func (l *Link) goAway() {
	if l.plain != nil {
		l.plain.leave(ErrGoingAway, &wire.Frame{Type: wire.GoAway})
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.goAwayLocked()
}

func (l *Link) goAwayLocked() {
	if l.leaving.said || l.err != nil {
		return
	}
	l.leaving.said = true
	if l.calls.busy > 0 {
		l.out.add(&wire.Frame{Type: wire.GoAway, Flags: wire.More})
		l.rouse()
	}
	l.admit()
	l.maybeLeave()
}

func (l *Link) hearGoAway(f *wire.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving.heard = true
	l.leaving.heardLast = l.leaving.heardLast || f.Flags&wire.More == 0
	l.goAwayLocked()
	l.maybeLeave()
}

// maybeLeave goes on with that when something has changed. The link is locked.
func (l *Link) maybeLeave() {
	s := &l.leaving
	if !s.said || l.err != nil {
		return
	}
	if !s.last && l.calls.busy == 0 {
		s.last = true
		l.out.add(&wire.Frame{Type: wire.GoAway})
		l.rouse()
	}
	if s.flushed && s.heardLast {
		l.failLocked(ErrGoingAway)
	}
}
