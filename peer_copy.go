package covey

// peer_copy.go keeps the copies that owners have lent to this process: L1. They are in the same
// index as the entries that the process owns, so that one lookup finds either. But they have a
// bound of their own, and CLOCK (Corbató 1968) chooses which ones leave.

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/coveycache/covey/internal/freq"
	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/sizeof"
	"github.com/coveycache/covey/internal/wire"
)

// A borrowed entry is a copy that the key's owner has lent.
type borrowed[V any] struct {
	entry[V]
	loanOf
}

// loanOf is what a copy has besides the entry.
type loanOf struct {
	lender   *link.Link
	hits     atomic.Uint32 // so far
	reported uint32        // of them; guarded by copies.mu
	at       int           // its place in the copies; -1: it has left; guarded by copies.mu
}

func borrowedOf[V any](n *node) *borrowed[V] { return (*borrowed[V])(unsafe.Pointer(n)) }

// copies are the borrowed entries. mu comes after a segment's lock.
type copies struct {
	limit  atomic.Int64 // bytes
	demand *freq.Demand // for keys of others; nil: L1 is off. What a copy has served is counted later than others, as its mark is harvested
	bytes  atomic.Int64 // of the copies
	count  atomic.Int64 // of the copies
	offset int64        // of the clock of the links to that of the cache

	mu     sync.Mutex
	ring   []*node
	hand   int
	report int   // where in the ring copies are looked at next for hits to report
	looked int64 // when that was done last
	due    map[*link.Link]*reports
	many   int // reports that are due of many hits each
	few    int // and of few
	loan   func(*node) *loanOf
}

// reports are the hits that a lender is to be told of, by key: first those of copies with many.
type reports struct{ many, few map[string]uint64 }

// A copy with many hits makes its report due itself. For the others copies are looked at in turn, a
// few at a time whatever the number of links: keep-alives cost the same however many copies there
// are.
const (
	reportFrom = 256                           // hits are many
	maxDue     = 4 << 10                       // reports, of many hits and again of few
	lookAt     = 4 << 10                       // copies
	lookEvery  = int64(250 * time.Millisecond) // at so many
	lookAtOnce = 256                           // with the lock held
)

// wants counts one more request for a key and says whether the key is worth borrowing. While L1 is
// full it has to be asked for at least as often as the copies that leave.
func (l *copies) wants(hash uint32) bool {
	if l.demand == nil {
		return false
	}
	n := l.demand.Add(hash, 1)
	limit := l.limit.Load()
	isFull := l.bytes.Load() > limit-limit/16
	return n >= borrowFrom && (!isFull || n >= l.demand.Bar())
}

// copiesLimit returns how many bytes copies may take out of MaxBytes. Without L1 there are only
// those of keys that this process loads for itself (see peer_alone.go).
func (c *Cache[V]) copiesLimit(maxBytes int64) int64 {
	limit := c.opt.L1
	if limit <= 0 {
		limit = defaultMaxBytes / 16
		if maxBytes > 0 {
			limit = maxBytes / 16
		}
	}
	if maxBytes > 0 {
		limit = min(limit, maxBytes/2)
	}
	return limit
}

// borrowFrom is how many requests, as far as demand remembers, make a key worth borrowing.
const borrowFrom = 2

// isLent reports whether a copy is valid: it has not expired, its lender's lease and this process's
// own promises last, and its lender has owned the key in each view since. It reads the real clock,
// since a lease may have ended while the process stood still.
func (c *Cache[V]) isLent(n *node, now int64) bool {
	return c.peering.isLeased(borrowedOf[V](n).lender, now) && now < n.expires && c.current(n)
}

// isLeased reports whether what the other end of a link has lent may be used at that time of the
// cache's clock, as far as the lease and the promises go.
func (p *peering[V]) isLeased(lender *link.Link, now int64) bool {
	held := lender.HeldUntil()
	return held > 0 && now < held+p.c.copies.offset && p.mayBorrow(now)
}

// mayBorrow reports whether this process may use what it has borrowed: nobody goes on without it
// who would not tell it of writes. Whoever is no member is told of them as long as it has the lease.
func (p *peering[V]) mayBorrow(now int64) bool {
	return p.isActing(now) || p.tenures.view().me < 0 && !p.group.retired.Load()
}

// useCopy reports whether a copy is valid, and counts its use.
func (c *Cache[V]) useCopy(n *node) bool {
	if !c.isLent(n, c.store.clock.now()) {
		return false
	}
	b := borrowedOf[V](n)
	if m := n.mark.Load(); m < freq.Max {
		n.mark.Store(m + 1)
	}
	if b.hits.Add(1)%reportFrom == 0 {
		c.copies.mu.Lock()
		c.copies.owe(n.key, &b.loanOf)
		c.copies.mu.Unlock()
	}
	if c.n.localHits.inc()%clockHits == 0 {
		c.sampleAge(n)
	}
	return true
}

// borrow keeps a copy that came with an answer. The request was made at the time start, under
// generation gen.
func (p *peering[V]) borrow(l *link.Link, key string, hash uint32, value V, answer *wire.Frame, start int64, gen uint32) {
	flags := uint8(flagBorrowed)
	if answer.Type == wire.NotFound {
		flags |= flagNegative
	}
	size, ok := p.c.copySize(key, value, flags)
	if !ok {
		return
	}
	now := p.c.store.clock.now()
	e := p.c.newCopy(l, strings.Clone(key), hash, value, flags, size, now-int64(answer.Age), now)
	if answer.HasVersion {
		e.flags |= flagVersioned
		e.version = answer.Version
	}
	e.stamp = answer.Made
	if answer.TTL != 0 {
		e.expires = start + int64(answer.TTL)
	}
	e.gen.Store(gen)
	s := p.c.lock(hash)
	if recalled, ok := s.recalled[key]; p.c.closed.Load() || ok && recalled >= start || s.recalledAll >= start || p.c.store.gen.Load() != gen || !p.c.isLent(&e.node, now) {
		s.unlock()
		return
	}
	kept := s.insertCopy(e)
	s.unlock()
	if kept {
		p.c.trimCopies(&e.node)
		for p.c.trim() {
		}
	}
}

// copySize returns what a copy takes, and whether that is not too much for one.
func (c *Cache[V]) copySize(key string, value V, flags uint8) (size int64, ok bool) {
	limit := c.copies.limit.Load() / 8
	size = c.baseSize + int64(unsafe.Sizeof(loanOf{})) + sizeof.Class(int64(len(key)))
	if flags&flagNegative == 0 {
		of := c.measure(key, value, false)
		if of < 0 || int64(of) > limit {
			return 0, false
		}
		size += int64(of)
	}
	return size, size <= limit
}

// newCopy makes a copy that does not expire.
func (c *Cache[V]) newCopy(
	lender *link.Link, key string, hash uint32, value V, flags uint8, size, begin, end int64,
) *borrowed[V] {
	e := &borrowed[V]{}
	e.value, e.lender = value, lender
	c.stamp(&e.node, key, hash, size, begin, end)
	e.flags, e.guard, e.expires = flags, guardAlways, never
	return e
}

// insertCopy puts a copy into the index, in the place of an older one. It reports whether it has:
// what this process owned until the view changed is in the way until it has been swept up. If so,
// trimCopies and trim have to follow.
func (s *shard[V]) insertCopy(e *borrowed[V]) bool {
	c := s.c
	if old := c.store.index.find(e.hash, e.key); old != nil {
		if old.flags&flagBorrowed == 0 {
			return false
		}
		s.removeCopy(old)
	}
	s.insert(&e.node, c.store.index.shift)
	c.copies.add(&e.node, &e.loanOf)
	return true
}

func (l *copies) add(n *node, b *loanOf) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.at = len(l.ring)
	l.ring = append(l.ring, n)
	l.bytes.Add(int64(n.size))
	l.count.Add(1)
}

// remove takes a copy out of the ring, and reports whether it was there.
func (l *copies) remove(n *node, b *loanOf) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.at < 0 || b.at >= len(l.ring) || l.ring[b.at] != n {
		return false
	}
	last := len(l.ring) - 1
	moved := l.ring[last]
	l.ring[b.at] = moved
	l.loan(moved).at = b.at
	l.ring[last] = nil
	l.ring = l.ring[:last]
	b.at = -1
	l.owe(n.key, b)
	l.bytes.Add(-int64(n.size))
	l.count.Add(-1)
	return true
}

// empty forgets all copies.
func (l *copies) empty() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.ring {
		l.loan(n).at = -1
	}
	l.ring, l.due = nil, nil
	l.many, l.few = 0, 0
	l.bytes.Store(0)
	l.count.Store(0)
}

// owe makes the hits on a copy due that have not been reported. mu is held.
func (l *copies) owe(key string, b *loanOf) {
	hits := b.hits.Load()
	if hits != b.reported && l.oweTo(b.lender, key, uint64(hits-b.reported)) {
		b.reported = hits
	}
}

// oweFor makes requests due that were answered here without a copy.
func (l *copies) oweFor(lender *link.Link, key string, hits uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.oweTo(lender, strings.Clone(key), hits)
}

// oweTo makes hits due, unless too many are or the lender is gone. mu is held.
func (l *copies) oweTo(lender *link.Link, key string, hits uint64) bool {
	if lender.Err() != nil {
		return false
	}
	r := l.due[lender]
	if r == nil {
		r = &reports{many: make(map[string]uint64), few: make(map[string]uint64)}
	}
	to, n := r.few, &l.few
	if hits >= reportFrom {
		to, n = r.many, &l.many
	}
	if *n >= maxDue {
		return false
	}
	before := len(to)
	to[key] += hits
	*n += len(to) - before
	if l.due == nil {
		l.due = make(map[*link.Link]*reports)
	}
	l.due[lender] = r
	return true
}

// oweNothing forgets what is due to a lender that is gone.
func (l *copies) oweNothing(lender *link.Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.due[lender]; r != nil {
		l.many -= len(r.many)
		l.few -= len(r.few)
		delete(l.due, lender)
	}
}

// lookForHits makes due what the next copies in turn have served, if it is time to.
func (l *copies) lookForHits(now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now-l.looked < lookEvery {
		return
	}
	l.looked = now
	for i := range min(lookAt, len(l.ring)) {
		if i%lookAtOnce == lookAtOnce-1 {
			l.mu.Unlock()
			l.mu.Lock()
		}
		if l.report >= len(l.ring) {
			l.report = 0
		}
		if len(l.ring) == 0 || l.few >= maxDue {
			return
		}
		n := l.ring[l.report]
		l.report++
		l.owe(n.key, l.loan(n))
	}
}

// tell adds what is due to a lender, as long as add returns true.
func (l *copies) tell(lender *link.Link, add func(key string, hits uint64) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.due[lender]
	if r == nil {
		return
	}
	tell := func(due map[string]uint64, n *int) bool {
		for key, hits := range due {
			if !add(key, hits) {
				return false
			}
			delete(due, key)
			*n--
		}
		return true
	}
	if tell(r.many, &l.many) && tell(r.few, &l.few) {
		delete(l.due, lender)
	}
}

// removeCopy takes a copy out of the index.
func (s *shard[V]) removeCopy(n *node) {
	s.assertLocked()
	if s.c.copies.remove(n, &borrowedOf[V](n).loanOf) && s.table.Load() != nil { // else Close has emptied it
		s.remove(n, s.c.store.index.shift)
	}
}

// trimCopies brings L1 within its bound without removing the newest copy, if it is given.
func (c *Cache[V]) trimCopies(newest *node) {
	l := &c.copies
	for l.bytes.Load() > l.limit.Load() {
		n := l.victim(newest)
		if n == nil {
			return
		}
		s := c.lock(n.hash)
		s.removeCopy(n)
		s.unlock()
		if l.demand != nil {
			l.demand.Leaves(n.hash)
		}
	}
}

// victim turns the hand of the clock to a copy, other than the newest, that has not been used since
// it last passed.
func (l *copies) victim(newest *node) *node {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range 2 * len(l.ring) {
		if l.hand >= len(l.ring) {
			l.hand = 0
		}
		n := l.ring[l.hand]
		l.hand++
		if n != newest && !l.harvest(n) {
			return n
		}
	}
	return nil
}

// harvest adds the requests that a copy has served since the last time to the demand, and reports
// whether there were any.
func (l *copies) harvest(n *node) bool {
	m := n.mark.Swap(0)
	if m > 0 && l.demand != nil {
		l.demand.Add(n.hash, uint32(m))
	}
	return m > 0
}

// serveRecall gives a copy back and says how many requests it has saved. From here on this process
// does not use it, nor a copy of the same key that is still on its way, and nobody waits for a load
// of the key that began before.
func (p *peering[V]) serveRecall(r *link.Request) {
	if r.Key == "" {
		p.serveRecallMany(r)
		return
	}
	saved := p.giveBackCopy(r.Key, p.c.store.clock.now())
	p.holds.void(r.Key)
	r.Answer(&wire.Frame{Type: wire.Done, Count: uint64(saved)})
}

// giveBackCopy removes the copy of a key, if there is one, and returns how many requests it has
// served. One that was asked for before now is not kept.
func (p *peering[V]) giveBackCopy(key string, now int64) (saved uint32) {
	hash := p.c.store.hash(key)
	s := p.c.lock(hash)
	defer s.unlock()
	if n := p.c.store.index.find(hash, key); n != nil && n.flags&flagBorrowed != 0 {
		saved = borrowedOf[V](n).hits.Load()
		p.c.copies.harvest(n)
		from := borrowedOf[V](n).lender.Name()
		s.removeCopy(n)
		p.c.lately.recalled.note(hash, wire.Recall, now)
		p.c.journal.add(Event{Kind: EventRecalled, Cache: p.c.name, Key: key, Peer: from})
	}
	s.noteRecall(key, now)
	if f := s.flights[key]; f != nil && f.grant != nil {
		s.unlink(key)
	}
	return saved
}

const (
	maxRecalled  = 1 << 10                // keys of a segment
	recallMemory = int64(30 * 1000000000) // longer than an answer with a copy can be on its way
)

// noteRecall remembers that copies of key which are still on their way must not be kept.
func (s *shard[V]) noteRecall(key string, now int64) {
	if len(s.recalled) >= maxRecalled {
		for other, at := range s.recalled {
			if at < now-recallMemory {
				delete(s.recalled, other)
			}
		}
		if len(s.recalled) >= maxRecalled { // then no copy at all that was asked for before now
			clear(s.recalled)
			s.recalledAll = now
		}
	}
	if s.recalled == nil {
		s.recalled = make(map[string]int64)
	}
	s.recalled[string([]byte(key))] = now
}

// reportHits tells the owner at the other end of l which of its keys were served from copies.
func (g *Group) reportHits(l *link.Link, add func(cache uint16, key string, hits uint64) bool) {
	for _, c := range *g.caches.Load() {
		c.reportHits(l, add)
	}
}

func (p *peering[V]) reportHits(l *link.Link, add func(cache uint16, key string, hits uint64) bool) {
	p.c.copies.lookForHits(p.c.store.clock.now())
	p.c.copies.tell(l, func(key string, hits uint64) bool { return add(p.id, key, hits) })
}

// from returns the copies that came over a link.
func (l *copies) from(lender *link.Link) (nodes []*node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.ring {
		if l.loan(n).lender == lender {
			nodes = append(nodes, n)
		}
	}
	return nodes
}
