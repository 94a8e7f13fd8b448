package link

// call.go sends requests and takes their answers in.

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// A Sink takes the answers to one request. Exactly one of these ends it: a
// last Answer, a Fail, or a Cancel that returned true.
type Sink interface {
	// Answer is called on the goroutine that reads the link and must not
	// block. Unless last is true more answers follow. Nothing of f may be kept
	// without cloning it, except a Value with a Size: that came in pieces and
	// is in memory of its own.
	Answer(f *wire.Frame, last bool)
	// Slow is called once if the answer does not come within some milliseconds, so that those who
	// wait can reconsider. It must not block, and may still be called for a moment after the
	// request has ended.
	Slow()
	// Fail is called when there will be no answer. It must not block.
	Fail(err error)
}

// A call is a request that waits for an answer, in the slot of its op.
type call struct {
	sink     Sink // nil: nobody waits any more, but the other end does not know
	sent     int64
	deadline int64
	hard     int64 // the caller's own deadline, which is left when the request is held; 0: none
	taken    bool
	class    class
	purpose  Purpose
	held     bool
	looks    uint8  // how often watch has looked at it
	next     uint32 // of the free list
}

// calls has a slot for each request in flight. An op is its slot's index plus
// one. A slot is free again only when the last answer has come: an op that
// was cancelled is still in flight until the other end has said so.
type calls struct {
	max   int
	slots []call
	free  uint32 // op of the first free slot; 0: none
	busy  int    // slots that are taken
	rooms
	timer   *time.Timer
	expires int64 // when timer runs
	watcher *time.Timer
	watched bool // watcher runs
	waiting [classes][]chan struct{}
}

// put takes a slot for sink.
func (c *calls) put(s call) (op uint32) {
	op = c.free
	if op == 0 {
		c.slots = append(c.slots, call{})
		op = uint32(len(c.slots))
	} else {
		c.free = c.slots[op-1].next
	}
	s.taken = true
	c.slots[op-1] = s
	c.busy++
	c.under[s.class]++
	return op
}

// atOnce is how long an answer may take before Slow is called; it may become twice that.
const atOnce = 2 * time.Millisecond

// watch calls Slow for requests that it finds unanswered for the second time.
func (l *Link) watch() {
	var slow []Sink
	l.mu.Lock()
	c := &l.calls
	c.watched = false
	for i := range c.slots {
		if s := &c.slots[i]; s.sink != nil && s.looks < 2 {
			if s.looks++; s.looks == 2 {
				slow = append(slow, s.sink)
			} else {
				c.watched = true
			}
		}
	}
	if c.watched {
		c.watcher.Reset(atOnce)
	}
	l.mu.Unlock()
	for _, s := range slow {
		s.Slow()
	}
}

// at returns the slot of op, nil if no such request is in flight.
func (c *calls) at(op uint32) *call {
	if i := op - 1; i < uint32(len(c.slots)) && c.slots[i].taken {
		return &c.slots[i]
	}
	return nil
}

func (c *calls) release(op uint32) {
	s := &c.slots[op-1]
	c.leave(s.class, s.held)
	c.slots[op-1] = call{next: c.free}
	c.free = op
	c.busy--
}

// drain forgets all calls and returns the sinks that wait.
func (c *calls) drain() []Sink {
	var sinks []Sink
	for i := range c.slots {
		if c.slots[i].sink != nil {
			sinks = append(sinks, c.slots[i].sink)
		}
	}
	if c.timer != nil {
		c.timer.Stop()
		c.watcher.Stop()
	}
	*c = calls{}
	return sinks
}

// shrink gives back the slots if none is in use.
func (c *calls) shrink() {
	if c.busy == 0 && len(c.slots) > 16 {
		c.slots, c.free = nil, 0
	}
}

// Send sends a request, whose answers s takes, and returns its op for Cancel.
// It waits while too much is in flight, and then only as long as ctx lasts.
// After an error s will not be called.
//
// The request is given up with ErrTimeout when the first of these has passed:
// ctx's deadline, f.Deadline if that is not 0, and Config.OpTimeout unless the
// other end has said that the request is held. What f.Value holds must not
// change until the request is answered.
func (l *Link) Send(ctx context.Context, f *wire.Frame, s Sink) (op uint32, err error) {
	now, hard, err := l.begin(f)
	if err != nil {
		return 0, err
	}
	if at, ok := ctx.Deadline(); ok {
		left := time.Until(at)
		if left <= 0 {
			return 0, context.DeadlineExceeded
		}
		if end := after(now, left); hard == 0 || end < hard {
			hard = end
		}
	}
	if l.plain != nil {
		return l.plain.send(f, s, now, hard)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now, err = l.enter(ctx, f, now, hard); err != nil {
		return 0, err
	}
	op = l.send(f, s, now, hard)
	l.flushOwn(l.calls.quick() <= fewCalls)
	return op, nil
}

// begin checks a request, and returns the time and the request's own deadline, 0 if it has none.
func (l *Link) begin(f *wire.Frame) (now, hard int64, err error) {
	if err := f.Check(int(l.peer.MaxValue)); err != nil {
		return 0, 0, err
	}
	now = l.node.now()
	if f.Deadline > 0 {
		hard = after(now, f.Deadline)
	}
	return now, hard, nil
}

// Push is Send for use under a lock: it never waits. If too much is in flight
// the other end does not keep up, and the link ends.
func (l *Link) Push(f *wire.Frame, s Sink) (op uint32, err error) {
	now, hard, err := l.begin(f)
	if err != nil {
		return 0, err
	}
	if l.plain != nil {
		return l.plain.send(f, s, now, hard)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.unusable(f.Type); err != nil {
		return 0, err
	}
	if !l.room(classOf(f.Type)) || l.out.overlong(len(f.Value)) {
		l.failLocked(ErrSlowPeer)
		return 0, ErrSlowPeer
	}
	op = l.send(f, s, now, hard)
	l.rouse()
	return op, nil
}

// send queues a request. The link is locked.
func (l *Link) send(f *wire.Frame, s Sink, now, hard int64) (op uint32) {
	deadline := l.deadline(now, hard)
	op = l.calls.put(call{sink: s, class: classOf(f.Type), purpose: purposeOf(f.Type), sent: now, deadline: deadline, hard: hard})
	l.expireBy(deadline)
	if c := &l.calls; !c.watched {
		c.watched = true
		if c.watcher == nil {
			c.watcher = time.AfterFunc(atOnce, l.watch)
		} else {
			c.watcher.Reset(atOnce)
		}
	}
	if f.Type == wire.Announce {
		f.Ring = l.node.ring.Load() // only now, so that no frame queued later has an earlier ring
	}
	f.Op, f.Deadline = op, 0
	if hard != 0 {
		f.Deadline = time.Duration(hard - now)
	}
	l.out.add(f)
	return op
}

// Cancel gives up a request and reports whether it was still unanswered; its
// sink is then not called any more, but for an answer that is not the last and
// being delivered right now. s is the sink that Send was given: the op of a
// request that has been answered may be another's by now.
func (l *Link) Cancel(op uint32, s Sink) bool {
	if l.plain != nil {
		return l.plain.giveUp(op, s)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.calls.at(op); c == nil || c.sink != s {
		return false
	}
	return l.cancel(op) != nil
}

// cancel gives up a request and returns the sink that waited for it, or nil.
// The link is locked.
func (l *Link) cancel(op uint32) Sink {
	c := l.calls.at(op)
	if c == nil || c.sink == nil || l.err != nil {
		return nil
	}
	s := c.sink
	c.sink = nil
	l.out.add(&wire.Frame{Type: wire.Cancel, Op: op})
	l.rouse()
	if l.exchange != nil {
		l.exchange.givenUp(op)
	}
	return s
}

// expireBy makes expire run by deadline. The link is locked.
func (l *Link) expireBy(deadline int64) {
	c := &l.calls
	if c.expires != 0 && c.expires <= deadline {
		return
	}
	c.expires = deadline
	wait := time.Duration(deadline - l.node.now())
	if c.timer == nil {
		c.timer = time.AfterFunc(wait, l.expire)
	} else {
		c.timer.Reset(wait)
	}
}

// expire gives up the requests whose time has run out.
func (l *Link) expire() {
	var late []Sink
	l.mu.Lock()
	now := l.node.now()
	next := int64(0)
	for i := range l.calls.slots {
		switch c := &l.calls.slots[i]; {
		case c.sink == nil || c.deadline == 0:
		case c.deadline <= now:
			if s := l.cancel(uint32(i + 1)); s != nil {
				late = append(late, s)
			}
		case next == 0 || c.deadline < next:
			next = c.deadline
		}
	}
	l.calls.expires = 0
	if next != 0 && l.err == nil {
		l.expireBy(next)
	}
	l.mu.Unlock()
	l.health.failed(len(late), ErrTimeout)
	for _, s := range late {
		s.Fail(ErrTimeout)
	}
}

// answered passes an answer on to the sink that waits for it.
func (l *Link) answered(f *wire.Frame) error {
	last := f.Flags&wire.More == 0
	l.mu.Lock()
	c := l.calls.at(f.Op)
	if c == nil {
		l.mu.Unlock()
		return ErrProtocol
	}
	s := c.sink
	switch {
	case last:
		if s != nil {
			l.health.answered(c.purpose, c.held, l.heardAt()-c.sent)
		}
		l.calls.release(f.Op)
		l.admit()
		l.maybeLeave()
	case f.Type == wire.Held && !c.held:
		c.held, c.deadline = true, c.hard
		l.calls.hold(c.class)
		l.admit()
	}
	if l.exchange != nil && l.calls.quick() == 0 {
		l.exchange.leaveSlot()
	}
	l.mu.Unlock()
	if s != nil {
		s.Answer(f, last)
	} else {
		l.node.cfg.Unwanted(l, f)
	}
	return nil
}

// heardAt is when what is being read has come, by the time that calls begin by.
func (l *Link) heardAt() int64 {
	if l.exchange != nil {
		return l.node.now()
	}
	return l.heard.Load() - l.node.cfg.Ahead()
}

// enter waits until f may be queued, and returns the time. The link is locked before and after, not
// in between.
func (l *Link) enter(ctx context.Context, f *wire.Frame, now, hard int64) (int64, error) {
	class := classOf(f.Type)
	waiting := &l.calls.waiting[class]
	var late *time.Timer
	for waited := false; ; waited = true {
		if err := l.unusable(f.Type); err != nil {
			l.admit()
			return now, err
		}
		if (waited || len(*waiting) == 0) && l.room(class) && !l.out.overlong(len(f.Value)) {
			l.admit()
			return now, nil
		}
		turn := make(chan struct{}, 1)
		if waited {
			*waiting = slices.Insert(*waiting, 0, turn)
		} else {
			*waiting = append(*waiting, turn)
			late = time.NewTimer(time.Duration(l.deadline(now, hard) - now))
			defer late.Stop()
		}
		l.mu.Unlock()
		var err error
		select {
		case <-turn:
		case <-l.down:
		case <-late.C:
			err = ErrTimeout
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		now = l.node.now()
		l.mu.Lock()
		if i := slices.Index(*waiting, turn); i >= 0 {
			*waiting = slices.Delete(*waiting, i, i+1)
		}
		if err != nil {
			l.admit() // it may just have been this caller's turn
			return now, err
		}
	}
}

// deadline returns when a request that begins now is given up.
func (l *Link) deadline(now, hard int64) int64 {
	deadline := after(now, l.node.cfg.OpTimeout)
	if hard != 0 {
		deadline = min(deadline, hard)
	}
	return deadline
}

func (l *Link) room(c class) bool { return l.calls.under[c] < l.calls.max && !l.overflow() }

// admit lets the first caller of each class in that waits, if there is room. The link is locked.
func (l *Link) admit() {
	for c := range classes {
		if waiting := &l.calls.waiting[c]; len(*waiting) > 0 && (l.room(c) || l.unusable(0) != nil) {
			(*waiting)[0] <- struct{}{}
			*waiting = slices.Delete(*waiting, 0, 1)
		}
	}
}

// Call sends a request and returns its last answer, in memory of its own. It
// gives up when ctx ends, or when Send would.
func (l *Link) Call(ctx context.Context, f *wire.Frame) (wire.Frame, error) {
	w := l.node.waiters.Get().(*waiter)
	op, err := l.Send(ctx, f, w)
	if err == nil {
		select {
		case <-w.done:
		case <-ctx.Done():
			if l.Cancel(op, w) {
				w.err = context.Cause(ctx)
				break
			}
			<-w.done
		}
		err = w.err
	}
	answer := w.answer
	w.answer, w.err = wire.Frame{}, nil
	l.node.waiters.Put(w)
	return answer, err
}

// A waiter is the Sink of a Call.
type waiter struct {
	done   chan struct{}
	answer wire.Frame
	err    error
}

func newWaiter() any { return &waiter{done: make(chan struct{}, 1)} }

func newWaiters() *sync.Pool { return &sync.Pool{New: newWaiter} }

func (w *waiter) Answer(f *wire.Frame, last bool) {
	if last {
		w.answer = f.Clone()
		w.done <- struct{}{}
	}
}

func (w *waiter) Slow() {}

func (w *waiter) Fail(err error) {
	w.err = err
	w.done <- struct{}{}
}
