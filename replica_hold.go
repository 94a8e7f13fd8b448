package covey

// replica_hold.go is the side of those who keep what an owner sends them: replicas, which are entries
// like others, but for a list of their own that is evicted first.

import (
	"bytes"
	"errors"
	"strings"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// forgotten are the keys of a segment that this process was to forget, and the stamps with which it
// was told so. What was sent with a lesser stamp is from before. Keys are known by their places on
// the ring, so that they take little memory: of two at one place, both are refused.
type forgotten struct {
	at    map[uint64]uint64
	floor uint64 // the same for all places that are not in at
}

// maxForgotten bounds the keys that are remembered one by one, for each segment.
const maxForgotten = 1 << 10

// note remembers that a key was to be forgotten.
func (f *forgotten) note(place, stamp uint64) {
	if stamp <= f.of(place) {
		return
	}
	if len(f.at) >= maxForgotten {
		for _, at := range f.at {
			f.floor = max(f.floor, at)
		}
		clear(f.at)
	}
	if f.at == nil {
		f.at = make(map[uint64]uint64)
	}
	f.at[place] = stamp
}

// of returns the stamp up to which what is sent of a key is from before.
func (f *forgotten) of(place uint64) uint64 { return max(f.floor, f.at[place]) }

// serveDrop forgets a key that its owner is about to write.
func (p *peering[V]) serveDrop(r *link.Request) {
	p.group.stamps.see(r.Stamp)
	if p.c.closed.Load() { // the cache that takes this one's place has perhaps not seen the stamp
		r.Answer(&wire.Frame{Type: wire.Failed, Code: wire.CodeClosed})
		return
	}
	v := p.tenures.view()
	if from := p.fellow(v, r); from < 0 || v.owner(r.Key) != from {
		r.Answer(notOwner(v))
		return
	}
	done := &wire.Frame{Type: wire.Done, Stamp: p.group.stamps.last.Load()}
	hash := p.c.store.hash(r.Key)
	s := p.c.lock(hash)
	s.forgotten.note(ringHash(r.Key), r.Stamp)
	s.unlock()
	w := write[V]{key: r.Key, hash: hash, drop: true}
	gone := p.c.writeQuietly(&w)
	// Before the removal, the last snapshot might begin after this and yet find the key.
	p.trust.note(r.Key)
	r.Answer(done)
	if len(gone) > 0 { // the write does not wait for Events.Removed, which may write the key itself
		if tell := func() { p.c.departed(gone) }; !p.c.spawn(tell) {
			go tell() // the cache is being closed
		}
	}
}

// fellow returns which member of the view that this process goes by, as a member, has sent a request
// by the same view; -1: none has.
func (p *peering[V]) fellow(v *view, r *link.Request) int {
	if v.tag != r.Ring || v.tag == 0 || v.me < 0 {
		return -1
	}
	return v.indexOf(r.Link().Name())
}

// serveReplicate keeps what an owner sends.
func (p *peering[V]) serveReplicate(r *link.Request) {
	p.group.stamps.see(r.Stamp)
	gen, label, v := p.present()
	from := p.fellow(v, r)
	if from < 0 || r.Clear != label || !v.hasSettled() || !p.group.isActing() {
		r.Answer(notOwner(v)) // the sender tries again
		return
	}
	sent := parcel[V]{p: p, gen: gen, label: label, view: v, from: from, stamp: r.Stamp, arrived: p.c.store.clock.now()}
	var one wire.Frame
	items := bytes.Clone(r.Items)
	if items == nil {
		one = r.Frame
		one.Type, one.Key, one.Value = r.Result, strings.Clone(r.Key), ownValue(r)
	}
	op := r.Keep(nil)
	p.later(op, func() {
		kept := 0
		if items == nil {
			kept = sent.keep(&one)
		}
		for len(items) > 0 {
			var err error
			if items, err = wire.Next(items, &one); err != nil {
				break
			}
			kept += sent.keep(&one)
		}
		op.Answer(&wire.Frame{Type: wire.Done, Stamp: p.group.stamps.last.Load(), Count: uint64(kept)})
	})
}

// A parcel is what another custodian has sent of some keys.
type parcel[V any] struct {
	p       *peering[V]
	gen     uint32 // the generation in which it came
	label   uint64 // see clears
	view    *view
	from    int // who has sent it
	stamp   uint64
	arrived int64
}

// keep stores what was sent of one key, unless it is from before a write. It returns how many entries
// that has made.
func (b *parcel[V]) keep(f *wire.Frame) int {
	p, c := b.p, b.p.c
	if checkKey(f.Key) != nil || c.closed.Load() {
		return 0
	}
	place := ringHash(f.Key)
	isOwn := b.view.owns(place)
	if !b.view.keeps(place) || isOwn && isAhead(b.stamp) || !isOwn && b.view.ring.owner(place) != b.from || isOwn && !b.view.isCustodian(place, b.from) {
		return 0
	}
	if f.Type == wire.Done { // it was deleted at that version
		b.bury(f)
		return 0
	}
	e := b.entry(f)
	if e == nil {
		return 0
	}
	if !isOwn {
		e.flags |= flagReplica
	}
	w := write[V]{key: e.key, hash: e.hash, e: e, sent: b.stamp, gen: b.gen, label: b.label, version: f.Version, versioned: f.HasVersion}
	c.write(&w)
	if w.err != nil || !w.stored {
		p.c.n.replicasRefused.Add(1)
		return 0
	}
	return 1
}

// bury remembers the version of a key that was deleted, for the time when this process owns it.
func (b *parcel[V]) bury(f *wire.Frame) {
	c := b.p.c
	s := c.lock(c.store.hash(f.Key))
	grown := false
	if known, ok := c.store.tombs.known(f.Key); f.HasVersion && c.store.gen.Load() == b.gen && b.p.clears.label.Load() == b.label && !c.closed.Load() && (!ok || known < f.Version) {
		grown = c.store.tombs.remember(f.Key, f.Version)
	}
	s.unlock()
	for more := grown; more; {
		more = c.trim()
	}
}

// entry makes the entry of what was sent, nil if there is none.
func (b *parcel[V]) entry(f *wire.Frame) *entry[V] {
	p, c := b.p, b.p.c
	key := strings.Clone(f.Key)
	hash := c.store.hash(key)
	begin := b.arrived - int64(f.Age)
	switch f.Type {
	case wire.NotFound:
		e := c.newNegative(key, hash, begin, b.arrived, userTTL(f.TTL))
		if e != nil {
			e.stamp = f.Made
		}
		return e
	case wire.Hit:
	default:
		return nil
	}
	value := f.Value
	if f.Size == 0 {
		value = bytes.Clone(value)
	}
	v, err := p.decode(value)
	if err != nil {
		p.undecodable(b.view.nameOf(b.from), key, err)
		return nil
	}
	size := c.measure(key, v, false)
	e := c.makeEntry(key, hash, size, v, begin, b.arrived)
	if e == nil {
		return nil
	}
	e.stamp, e.cost, e.expires = f.Made, costClass(f.LoadTime), never
	if f.TTL != 0 {
		e.expires = b.arrived + int64(f.TTL)
	}
	e.guard = c.guardOf(&e.node, b.arrived)
	return e
}

// errRefused refuses what another custodian has sent.
var errRefused = errors.New("covey: it is from before a write, or there is something newer")

// mayHold has the rules for what another custodian of the key has sent.
func (s *shard[V]) mayHold(w *write[V]) error {
	p := s.c.peering
	if s.c.store.gen.Load() != w.gen || p.clears.label.Load() != w.label {
		return errElsewhere
	}
	if w.sent <= s.forgotten.of(ringHash(w.key)) {
		return errRefused
	}
	old := s.c.store.index.find(w.hash, w.key)
	if old != nil && (old.flags&flagBorrowed != 0 || !s.c.current(old)) {
		old = nil
	}
	if old != nil && (old.stamp > w.e.stamp || old.stamp == w.e.stamp && old.expires <= w.e.expires) {
		return errRefused // the same value is taken again if it was late, and what was left of its TTL seemed to be more
	}
	v, place := p.tenures.view(), ringHash(w.key)
	if v.owns(place) && (old != nil || s.flights[w.key] != nil || s.writing[w.key] != nil || !p.acts(v, place)) {
		return errRefused
	}
	return nil
}
