package link

// lease.go keeps a link's lease, which is what bounds loans and writes in time (volume leases: Gray
// & Cheriton 1989, Yin et al. 1999), and finds dead peers by it. Each end asks the other for its
// lease in keep-alives. The asker counts from when it asked; the giver counts from when it
// answered, and one percent longer. So the lease never ends at the giver before it ends at the
// asker. For the same reason a jump of the wall clock ends the leases that are held, but not those
// that are given.
//
// The giver may grant a shorter term than the one that it counts, or none: see Config.Term. That
// bounds what has been lent over the link. The link itself lives for a whole lease after each
// keep-alive that was answered, whatever its term.

import (
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// asksKept is how many keep-alives may be on their way unanswered.
const asksKept = 8

type lease struct {
	held    atomic.Int64 // until when this end has a lease from the other
	alive   atomic.Int64 // until when the other end is not silent
	given   atomic.Int64 // until when the other may have one from this
	rtt     atomic.Int64
	started int64

	// Guarded by the link's mutex.
	timer *time.Timer
	seq   uint32
	asked [asksKept]int64 // when, by seq
}

func (s *lease) stop() {
	s.held.Store(0)
	s.alive.Store(0)
	if s.timer != nil {
		s.timer.Stop()
	}
}

// Alive reports whether this end holds a lease from the other right now, by
// the real clock. What was borrowed over the link is valid only while it does.
func (l *Link) Alive() bool { return l.node.later() < l.lease.held.Load() }

// HeldUntil returns when the lease that this end holds runs out if it is not renewed, in
// nanoseconds since Config.Start by the later clock (see Config.Ahead); 0 when there is none. For
// use where the time is at hand already.
func (l *Link) HeldUntil() int64 { return l.lease.held.Load() }

// GivenUntil returns when the last lease that this end gave the other has
// certainly run out at the other, in nanoseconds since Config.Start. It stays
// true when the link is down.
func (l *Link) GivenUntil() int64 { return l.lease.given.Load() }

// RTT returns how long the last keep-alive took to be answered.
func (l *Link) RTT() time.Duration { return time.Duration(l.lease.rtt.Load()) }

func (l *Link) startLease() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lease.started = l.node.later()
	l.ask(nil)
	if l.err == nil {
		l.lease.timer = time.AfterFunc(l.node.cfg.KeepAlive, l.tick)
	}
}

// tick renews the lease, or ends the link when it has run out.
func (l *Link) tick() {
	if l.silent(l.node.later()) {
		l.fail(ErrLeaseLost)
		return
	}
	if l.node.arrivals.stalled(l) {
		l.fail(ErrSlowPeer)
		return
	}
	var report []byte
	l.node.cfg.Report(l, func(cache uint16, key string, hits uint64) bool {
		if len(report) > l.node.cfg.reportBytes {
			return false
		}
		report = wire.Append(report, &wire.Frame{Type: wire.Get, Cache: cache, Key: key, Count: hits})
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.ask(report)
	l.in.quiet.Store(true)
	l.shrink()
	wait := l.node.cfg.KeepAlive
	if l.dialer == nil {
		wait += wait / 8 // the other end is to be first, see follows
	}
	if alive := l.lease.alive.Load(); alive > 0 { // tick again when that ends
		wait = min(wait, max(time.Duration(alive-l.node.later()), time.Millisecond))
	}
	l.lease.timer.Reset(wait)
}

// silent reports whether nothing has been heard of the other end for a whole lease.
func (l *Link) silent(now int64) bool {
	return now >= max(l.lease.alive.Load(), l.lease.started+int64(l.node.cfg.Lease))
}

// ask sends a keep-alive. The link is locked.
func (l *Link) ask(report []byte) {
	l.lease.seq++
	l.lease.asked[l.lease.seq%asksKept] = l.node.later()
	l.out.control(&wire.Frame{Type: wire.KeepAlive, Op: l.lease.seq, Ring: l.node.ring.Load(), Items: report})
	l.rouse()
}

// follows reports whether the end that was dialled, when the other end has just asked for its lease,
// asks for its own, as that is due soon anyway. So both go in one write, and processes that do little
// else wake up less often: for one with a thousand links that is most of what they cost. The link is
// locked.
func (l *Link) follows() bool {
	last := l.lease.asked[l.lease.seq%asksKept]
	return l.dialer == nil && l.err == nil && l.lease.timer != nil && l.node.later()-last > int64(l.node.cfg.KeepAlive)/2
}

// asked grants the lease that the other end asks for.
func (l *Link) asked(f *wire.Frame) error {
	l.ring.Store(f.Ring)
	lease := l.node.cfg.Lease
	l.lease.given.Store(l.node.now() + int64(lease+lease/100)) // longer than the term is safe
	term := l.term()
	l.mu.Lock()
	l.out.control(&wire.Frame{Type: wire.KeepAliveOK, Op: f.Op, TTL: term})
	follows := l.follows()
	if !follows {
		l.rouse()
	}
	l.mu.Unlock()
	if follows {
		l.tick()
	}

	if !l.in.ready {
		l.in.ready = true
		l.health.linked()
		l.node.cfg.Up(l)
		if l.dialer != nil {
			l.dialer.got(l)
		}
		close(l.ready)
	}
	names := l.caches.Load().names
	var hit wire.Frame
	for items := f.Items; len(items) > 0; {
		var err error
		if items, err = wire.Next(items, &hit); err != nil {
			return err
		}
		if int(hit.Cache) < len(names) && names[hit.Cache] != "" {
			l.node.cfg.Reported(l, names[hit.Cache], hit.Key, hit.Count)
		}
	}
	return nil
}

// granted takes the lease that the other end gives.
func (l *Link) granted(f *wire.Frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil
	}
	if back := l.lease.seq - f.Op; back >= asksKept { // never asked, or too long ago
		return nil
	}
	asked := l.lease.asked[f.Op%asksKept]
	l.extend(asked, f.TTL)
	rtt := l.node.later() - asked
	before := l.lease.rtt.Swap(rtt)
	l.out.fit(time.Duration(min(before, rtt))) // one may have been held up
	return nil
}

// term returns for how long this end grants a lease to the other now.
func (l *Link) term() time.Duration {
	return max(0, min(l.node.cfg.Term(l), l.node.cfg.Lease))
}

// extend takes note of an answer to what was asked at a time, and of a lease of that term. A lease
// that was granted before does not become shorter. The link is locked.
func (l *Link) extend(asked int64, term time.Duration) {
	lease := l.node.cfg.Lease
	l.lease.alive.Store(max(l.lease.alive.Load(), asked+int64(lease)))
	if term > 0 {
		l.lease.held.Store(max(l.lease.held.Load(), asked+int64(min(term, lease))))
	}
}
