package covey

// replica_catchup.go sends later what a member could not be sent at once.

import (
	"slices"
	"time"
)

// catchUpEvery is how often a member is tried again that has not taken what it was sent.
const catchUpEvery = 5 * time.Second

// A placeSet is a set of keys by their places on the ring, in 4,096 arcs: it has more keys than were
// added, but takes the same memory for any number of them.
type placeSet [64]uint64

func (s *placeSet) add(place uint64)      { s[place>>58] |= 1 << (place >> 52 & 63) }
func (s *placeSet) has(place uint64) bool { return s[place>>58]>>(place>>52&63)&1 != 0 }

// miss remembers that a key has not reached the member. It reports whether a goroutine has to be
// started that catches up.
func (b *outbox) miss(key string) (start bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.missLocked(key)
}

func (b *outbox) missLocked(keys ...string) (start bool) {
	for _, key := range keys {
		b.missed.add(ringHash(key))
	}
	start = !b.catching
	b.catching = true
	return start
}

// giveUp is for when the member does not take keys: they and those that wait are missed, and no more
// can be added until it is tried again.
func (b *outbox) giveUp(keys []string) (start bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	start = b.missLocked(keys...)
	b.missLocked(b.keys...)
	b.keys, b.under, b.lost = nil, 0, true
	clear(b.has)
	return start
}

// retry takes out what the member has missed. If that is nothing the goroutine that catches up has to
// end.
func (b *outbox) retry() (missed placeSet, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	missed, b.missed = b.missed, placeSet{}
	b.lost, b.catching = false, missed != placeSet{}
	return missed, b.catching
}

// forgive is for when the member has left. If it comes back it is sent all that it should have (see
// repair), and this outbox may be in use again.
func (b *outbox) forgive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.missed, b.lost, b.catching = placeSet{}, false, false
}

// catchUp sends a member what it has missed, whenever it can be reached.
func (p *peering[V]) catchUp(b *outbox, to string) {
	for {
		p.awaitChange(p.group.ctx, p.tenures.view(), catchUpEvery)
		v := p.tenures.view()
		i := v.indexOf(to)
		if i < 0 || v.peers[i] == nil || p.isOver() {
			b.forgive()
			return
		}
		l := v.peers[i].Up()
		if l == nil || !p.sharesWith(l) && !p.differsAt(l) {
			continue
		}
		missed, ok := b.retry()
		if !ok {
			return
		}
		p.sendMissed(b, to, &missed)
	}
}

// sendMissed puts what the member should have of the keys in a set into its outbox.
func (p *peering[V]) sendMissed(b *outbox, to string, missed *placeSet) {
	for i := range p.c.shards {
		for n := range p.c.store.index.segments[i].table.Load().all {
			place := ringHash(n.key)
			if n.flags&flagBorrowed != 0 || !missed.has(place) {
				continue
			}
			var some [maxReplicas]int
			v := p.tenures.view()
			if !slices.Contains(p.receivers(v, place, some[:0]), v.indexOf(to)) {
				continue
			}
			if !p.awaitRoom(v, b) && p.isOver() {
				return
			}
			p.enqueue(to, n.key)
		}
	}
}
