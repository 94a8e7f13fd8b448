package link

// request.go is the answering side: what a handler sees of a request.

import (
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// A Request is what the other end asks. It is valid until Config.Serve
// returns; so are its Key, Value and other byte fields, but for a Value with a
// Size, which came in pieces and is in memory of its own.
type Request struct {
	wire.Frame
	link  *Link
	cache string
	codec string
	done  bool // answered or kept
	op    *Op  // of one that is served apart, or nil
}

// Link returns the link on which the request came.
func (r *Request) Link() *Link { return r.link }

// CacheName returns the name of the cache that the request is about, "" if
// the other end has not named it.
func (r *Request) CacheName() string { return r.cache }

// Codec returns the name of the other end's codec for that cache.
func (r *Request) Codec() string { return r.codec }

// Answer queues the answer to r, of which f.Op is set. It does not block and
// may be called under a lock. f.Value must not change any more; the rest of f
// is free again.
func (r *Request) Answer(f *wire.Frame) {
	if r.done {
		return
	}
	r.done = f.Flags&wire.More == 0
	if r.op != nil {
		r.op.Answer(f)
		return
	}
	f.Op = r.Op
	l := r.link
	l.mu.Lock()
	l.reply(f)
	l.mu.Unlock()
}

// Keep makes r one that is answered later, through the Op that it returns.
// cancelled, if not nil, is called at most once, when the other end does not
// wait any more or the link is down; it must not block. The op has to be
// answered all the same.
func (r *Request) Keep(cancelled func(*Op)) *Op {
	if cancelled == nil {
		cancelled = func(*Op) {}
	}
	r.done = true
	l := r.link
	if r.op != nil {
		r.op.whenCancelled(cancelled)
		return r.op
	}
	op := &Op{link: l, id: r.Op, class: classOf(r.Type), cancelled: cancelled}
	if r.Deadline > 0 {
		op.deadline = after(l.node.now(), r.Deadline)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ops == nil {
		l.ops = make(map[uint32]*Op)
	}
	l.ops[r.Op] = op
	l.rooms.under[op.class]++
	l.running++
	return op
}

// IsApart reports whether r is served apart from the goroutine that reads the link.
func (r *Request) IsApart() bool { return r.op != nil }

// WhenAnswered has f called with the last answer to r, which has to be served apart: once, also if
// nobody waits for it any more, and on the goroutine that answers. f must not block, nor keep the answer.
func (r *Request) WhenAnswered(f func(wire.Frame)) {
	r.link.mu.Lock()
	defer r.link.mu.Unlock()
	r.op.answered = f
}

// An Op is a request that has been kept. Its methods are safe for concurrent use.
type Op struct {
	link      *Link
	id        uint32
	deadline  int64
	cancelled func(*Op) // guarded by the link's mutex, as is answered
	answered  func(wire.Frame)
	over      atomic.Bool // nobody waits any more; set with the link locked
	class     class
	held      bool // guarded by the link's mutex, as is ended
	ended     bool
}

// whenCancelled has cancelled called when nobody waits any more, if need be from a goroutine of its
// own, since the caller may hold a lock.
func (o *Op) whenCancelled(cancelled func(*Op)) {
	o.link.mu.Lock()
	defer o.link.mu.Unlock()
	if o.over.Load() {
		go cancelled(o)
		return
	}
	o.cancelled = cancelled
}

// tellCancelled is called when nobody waits any more, after over has been set.
func (o *Op) tellCancelled() {
	o.link.mu.Lock()
	cancelled := o.cancelled
	o.link.mu.Unlock()
	cancelled(o)
}

// Link returns the link on which the request came.
func (o *Op) Link() *Link { return o.link }

// Deadline returns when the other end gives up waiting, on this process's
// clock, and whether it does.
func (o *Op) Deadline() (at time.Time, ok bool) {
	return o.link.node.cfg.Start.Add(time.Duration(o.deadline)), o.deadline != 0
}

// Live reports whether the request may still take effect: the other end waits for it, and cannot
// have given the link up as silent.
func (o *Op) Live() bool { return !o.over.Load() && o.link.node.later() < o.link.lease.alive.Load() }

// Answer queues an answer, the last one unless f has the flag More. It does
// not block and may be called under a lock. When nobody waits any more it only
// notes that the op has ended, and returns false. After true the other end gets
// the answer, or Config.Down is called.
func (o *Op) Answer(f *wire.Frame) (queued bool) {
	queued, gone, answered := o.answer(f)
	if gone {
		o.link.node.forget(o.link)
	}
	if answered != nil {
		answered(*f) // a copy: most answers are not on the heap
	}
	return queued
}

// answer is Answer, and reports whether this was the last op of a dead link, and whom to tell that it
// is answered.
func (o *Op) answer(f *wire.Frame) (queued, gone bool, answered func(wire.Frame)) {
	l := o.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.ended {
		return false, false, nil
	}
	last := f.Flags&wire.More == 0
	if queued = !o.over.Load(); queued {
		f.Op = o.id
		l.reply(f)
	}
	if !last {
		if f.Type == wire.Held && !o.held && !o.over.Load() {
			l.holdOp(o)
		}
		return queued, false, nil
	}
	o.ended = true
	if l.ops[o.id] == o {
		l.removeOp(o)
	}
	l.running--
	return queued, l.maybeGone(), o.answered
}

// Held tells the other end that the answer takes a while.
func (o *Op) Held() { o.Answer(&wire.Frame{Type: wire.Held, Flags: wire.More}) }

// holdOp notes that an op is held from now on. The link is locked.
func (l *Link) holdOp(o *Op) {
	o.held = true
	l.rooms.hold(o.class)
	if l.served != nil && l.rooms.held == 1 {
		l.served.caller.holding.Add(1)
	}
}

// removeOp forgets an op that has been answered or given up. The link is locked.
func (l *Link) removeOp(o *Op) {
	delete(l.ops, o.id)
	l.rooms.leave(o.class, o.held)
	if l.served != nil && o.held && l.rooms.held == 0 {
		l.served.caller.holding.Add(-1)
	}
}

// Crowded reports whether so many requests are held here that the other end must not have more of
// them held. It is for handlers: a link does not refuse what they hold.
func (l *Link) Crowded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.served != nil && l.rooms.held == 0 && l.served.caller.holding.Load() >= maxHolding {
		return true
	}
	return l.rooms.held >= l.node.cfg.MaxHeld
}

// reply queues an answer. The link is locked.
func (l *Link) reply(f *wire.Frame) {
	if l.err != nil {
		return
	}
	switch {
	case f.Check(l.out.maxValue) != nil:
		*f = wire.Frame{Type: wire.Failed, Flags: f.Flags & wire.More, Op: f.Op, Code: wire.CodeTooLarge, Text: "the answer is over the peer's limits"}
	case l.out.overlong(len(f.Value) + len(f.Items)):
		*f = wire.Frame{Type: wire.Failed, Flags: f.Flags & wire.More, Op: f.Op, Code: wire.CodeBusy, Text: "too many answers are on the way"}
	}
	l.out.add(f)
	l.rouse()
}

// serve passes a request to the handler.
func (l *Link) serve(f *wire.Frame) error {
	if l.exchange != nil {
		return ErrProtocol
	}
	l.mu.Lock()
	class := classOf(f.Type)
	_, twice := l.ops[f.Op]
	busy := class != prompt && l.running-len(l.ops) >= l.node.cfg.MaxOps
	full := l.rooms.under[class] >= l.node.cfg.MaxOps
	l.mu.Unlock()
	if twice || full {
		return ErrProtocol
	}
	r := &l.in.request
	cache, codec := l.caches.Load().at(f.Cache)
	*r = Request{Frame: *f, link: l, cache: cache, codec: codec}
	switch {
	case l.served != nil && !l.served.restrict(&r.Frame):
	case l.served != nil && f.Type == wire.Announce:
		l.hearPlain(r)
	case f.Type == wire.Announce:
		l.ring.Store(f.Ring)
		r.Answer(&wire.Frame{Type: wire.Done})
	case busy: // with ops that were cancelled and do not end
		r.Answer(&wire.Frame{Type: wire.Failed, Code: wire.CodeBusy, Text: "too many requests"})
	default:
		l.node.cfg.Serve(r)
	}
	r.endUnserved()
	return nil
}

// cancelled ends a request that the other end has given up. It is answered,
// so that the other end knows that its op is free.
func (l *Link) cancelled(f *wire.Frame) {
	l.mu.Lock()
	op := l.ops[f.Op]
	if op != nil {
		l.removeOp(op)
		op.over.Store(true)
		l.reply(&wire.Frame{Type: wire.Failed, Op: f.Op, Code: wire.CodeCancelled})
	}
	l.mu.Unlock()
	if op != nil {
		op.tellCancelled()
	}
}
