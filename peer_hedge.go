package covey

// peer_hedge.go reads from replicas where the owner of a key is slow, cannot be asked, or is farther
// away: what any custodian has is as true as what the owner has, since no write takes effect before
// all of them have forgotten the key. Hedged requests are those of Dean and Barroso, "The Tail at
// Scale" (2013): a second request when the first has taken longer than 99 of 100 do, and no more
// than 5 of 100 in all.

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// ReadFrom says whom a process asks for a key that another one owns; see Options.ReadFrom.
type ReadFrom uint8

const (
	// ReadFromOwner asks the key's owner. Others are asked where it is slow or silent.
	ReadFromOwner ReadFrom = iota
	// ReadFromAny asks one of those that have the key: one in this process's zone if there is any,
	// else any of them. If it has not got the value, the owner is asked.
	ReadFromAny
)

// String returns the name of what is read from: owner or any.
func (r ReadFrom) String() string {
	switch r {
	case ReadFromOwner:
		return "owner"
	case ReadFromAny:
		return "any"
	}
	return "unknown"
}

const (
	// hedgeSoonest and hedgeLatest bound after what time a request is hedged.
	hedgeSoonest = int64(5 * time.Millisecond)
	hedgeLatest  = int64(time.Second)
	// quietAfter is after what time without a word from an owner its requests are hedged, however many.
	quietAfter = 50 * time.Millisecond
	// replicaFor is how long the replicas are waited for where the owner cannot be asked.
	replicaFor = 100 * time.Millisecond
	// hedgeShare is one hedge for so many requests, hedgeBurst how many at once.
	hedgeShare = 20
	hedgeBurst = 64
	// hedgeSample is of how many requests one is looked at.
	hedgeSample = 64
)

// hedges say when to hedge a request. The estimate of the 99th percentile is a frugal one (Ma,
// Muthukrishnan and Sandler, "Frugal Streaming for Estimating Quantiles", 2013): it takes steps up for
// requests that take longer, and steps down for the others, of which only a sample counts.
type hedges struct {
	after  atomic.Int64 // the estimate, in ns
	credit atomic.Int64 // requests, less hedgeShare for each hedge
	asked  striped
}

func (h *hedges) init() {
	h.asked = newStriped()
	h.after.Store(4 * hedgeSoonest)
	h.credit.Store(hedgeShare * hedgeBurst)
}

// request counts a request, before it is known how long it will take.
func (h *hedges) request() {
	if !sampled(h.asked.inc(), hedgeSample) {
		return
	}
	h.credit.Store(min(h.credit.Load()+hedgeSample, hedgeShare*hedgeBurst))
	if after := h.after.Load(); after > hedgeSoonest {
		h.after.Store(max(hedgeSoonest, after-after*hedgeSample/100/16))
	}
}

// slow counts a request that has taken longer than the estimate, and reports whether it may be hedged.
func (h *hedges) slow() bool {
	h.after.Store(min(hedgeLatest, h.after.Load()*17/16))
	if h.credit.Add(-hedgeShare) < 0 {
		h.credit.Add(hedgeShare)
		return false
	}
	return true
}

// replicas returns the members other than the owner, and this process, that may have a key.
func (p *peering[V]) replicas(v *view, owner int, key string, found []int) []int {
	if !v.isShared() {
		return found
	}
	var room [maxReplicas + 1]int
	for _, i := range v.custodians(ringHash(key), v.copies, room[:0]) {
		if i != owner && i != v.me && v.peers[i] != nil {
			found = append(found, i)
		}
	}
	return found
}

// A finding is what those who have a key in custody say of it.
type finding uint8

const (
	unheard finding = iota // not all of them have answered
	none                   // they have nothing
	some                   // there is an answer
)

// askReplicas asks all replicas of a key, and returns the first answer that says something.
func (p *peering[V]) askReplicas(ctx context.Context, v *view, owner int, key string) (answer wire.Frame, found finding) {
	var room [maxReplicas + 1]int
	all := p.replicas(v, owner, key, room[:0])
	if len(all) == 0 {
		return answer, unheard
	}
	ctx, cancel := context.WithTimeout(ctx, replicaFor)
	defer cancel()
	answer, _, found = firstOf(ctx, all, func(ctx context.Context, i int) (wire.Frame, finding) {
		return p.readAt(ctx, v, i, key)
	})
	return answer, found
}

// firstOf asks members at once, and returns the first answer that says something, and whose it is.
func firstOf(
	ctx context.Context, members []int, ask func(ctx context.Context, i int) (wire.Frame, finding),
) (answer wire.Frame, from int, found finding) {
	if len(members) == 1 {
		answer, found = ask(ctx, members[0])
		return answer, members[0], found
	}
	ctx, cancel := context.WithCancel(ctx) // whoever has not answered then need not
	defer cancel()
	type result struct {
		answer wire.Frame
		from   int
		found  finding
	}
	results := make(chan result, len(members))
	for _, i := range members {
		go func() {
			answer, found := ask(ctx, i)
			results <- result{answer, i, found}
		}()
	}
	found = none
	for range members {
		r := <-results
		if r.found == some {
			return r.answer, r.from, some
		}
		found = min(found, r.found)
	}
	return answer, -1, found
}

// findingOf returns what an answer to a Lookup or Peek says.
func findingOf(answer *wire.Frame) finding {
	switch {
	case (answer.Type == wire.Hit || answer.Type == wire.NotFound) && answer.Flags&wire.Stale == 0:
		return some
	case answer.Type == wire.Done:
		return none
	}
	return unheard
}

// readAt asks a member what it has of a key.
func (p *peering[V]) readAt(ctx context.Context, v *view, i int, key string) (answer wire.Frame, found finding) {
	l, err := v.peers[i].Link(ctx)
	if err != nil || !p.sharesWith(l) {
		return answer, unheard
	}
	answer, err = p.call(ctx, v, l, &wire.Frame{Type: wire.Lookup, Cache: p.id, Key: key}, true)
	if err != nil {
		return answer, unheard
	}
	if found = findingOf(&answer); found == some {
		p.countZone(v, i, len(answer.Value))
	}
	return answer, found
}

// getAtReplicas gets a key whose owner cannot be asked.
func (p *peering[V]) getAtReplicas(ctx context.Context, v *view, owner int, key string) (value V, err error, ok bool) {
	answer, found := p.askReplicas(ctx, v, owner, key)
	if found != some {
		return value, nil, false
	}
	value, err, ok = p.valueOf(v, key, &answer)
	if ok {
		p.c.n.replicaReads.Add(1)
	}
	return value, err, ok
}

// valueOf returns what an answer says: a value or ErrNotFound.
func (p *peering[V]) valueOf(v *view, key string, answer *wire.Frame) (value V, err error, ok bool) {
	if answer.Type == wire.NotFound {
		return value, ErrNotFound, true
	}
	if value, err = p.decode(answer.Value); err != nil {
		p.undecodable("", key, err)
		return value, nil, false
	}
	return value, nil, true
}

// getNear gets a key from another custodian than its owner, if this process is to read from any and
// that one has it.
func (p *peering[V]) getNear(ctx context.Context, v *view, owner int, key string) (value V, err error, ok bool) {
	var room [maxReplicas + 1]int
	all := p.replicas(v, owner, key, room[:0])
	if len(all) == 0 {
		return value, nil, false
	}
	at := p.nearest(v, owner, all)
	if at < 0 {
		return value, nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p.hedges.after.Load()))
	defer cancel()
	answer, found := p.readAt(ctx, v, at, key)
	if found != some {
		return value, nil, false
	}
	if value, err, ok = p.valueOf(v, key, &answer); ok {
		p.c.n.replicaReads.Add(1)
	}
	return value, err, ok
}

// countZone counts the bytes of a value that a member has answered with, if it is in another zone.
func (p *peering[V]) countZone(v *view, i, bytes int) {
	if v.ring.zoned && v.zoneOf(i) != p.group.zone() {
		p.c.n.otherZones.Add(int64(bytes))
	}
}

// nearest picks whom to ask: one in this process's zone, or any; -1: the owner.
func (p *peering[V]) nearest(v *view, owner int, others []int) int {
	zone := p.group.zone()
	if zone != "" && v.zoneOf(owner) == zone {
		return -1
	}
	for _, i := range others {
		if zone != "" && v.zoneOf(i) == zone {
			return i
		}
	}
	if at := rand.IntN(len(others) + 1); at < len(others) {
		return others[at]
	}
	return -1
}

// A hedge is a second request, to the replicas, that one for a key may need. The zero value never
// does.
type hedge struct {
	began  time.Time
	timer  *time.Timer
	due    <-chan time.Time
	answer chan wire.Frame
	cancel context.CancelFunc

	counted bool // as one that takes long
}

func (h *hedge) begin(after time.Duration) {
	h.began = time.Now()
	h.timer = time.NewTimer(after)
	h.due = h.timer.C
}

// mayHedge reports whether the request may be hedged now, when its time has come. If not, it may be
// later.
func (p *peering[V]) mayHedge(h *hedge, l *link.Link) bool {
	waited, after := time.Since(h.began), time.Duration(p.hedges.after.Load())
	switch {
	case waited >= quietAfter && l.Quiet() >= quietAfter: // it is silent, not slow
		return true
	case waited >= after && !h.counted:
		h.counted = true
		if p.hedges.slow() {
			return true
		}
	}
	next := quietAfter
	if !h.counted && after < quietAfter || waited >= quietAfter {
		next = after
	}
	h.timer.Reset(max(next-waited, time.Millisecond))
	return false
}

// run asks the replicas.
func (h *hedge) run(ctx context.Context, spawn func(func()) bool, ask func(context.Context) (wire.Frame, bool)) {
	ctx, h.cancel = context.WithCancel(ctx)
	h.answer = make(chan wire.Frame, 1)
	answer := h.answer
	spawn(func() {
		if f, ok := ask(ctx); ok {
			answer <- f
		}
	})
}

func (h *hedge) end() {
	h.timer.Stop()
	if h.cancel != nil {
		h.cancel()
	}
}

// answeredBy returns an ask that has been answered by that.
func (p *peering[V]) answeredBy(f wire.Frame) *ask {
	a := p.asks.Get().(*ask)
	a.held, a.err, a.left, a.link = nil, nil, true, nil
	a.answer.Type, a.answer.Value = f.Type, f.Value
	a.over.Store(true)
	return a
}
