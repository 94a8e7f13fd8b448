package covey

// explain.go tells all that is known of one key, where it is and why, without counting as a use.

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// An Explanation is what is known of a key; see [Cache.Explain].
type Explanation struct {
	// Cache is the name of the cache, and Key the whole key.
	Cache, Key string
	// Self is the name of the process that was asked, "" if the cache is in no group.
	Self string `json:",omitempty"`
	// Owner is the name of the key's owner by the view that this process goes by, of Epoch. "" means
	// that there is none: the cache is in no group, or the group has no members yet.
	Owner string `json:",omitempty"`
	Epoch uint64 `json:",omitempty"`
	// Custodians are those that a write has to reach: the owner, the members that keep replicas and,
	// for a while after the members have changed, the former owner.
	Custodians []string `json:",omitempty"`
	// States say what each process has: this one first, then the custodians, then up to 16 of those
	// that have borrowed a copy. A process is in it once.
	States []KeyState
}

// A KeyState is what one process has of a key, and what it remembers.
type KeyState struct {
	// Peer is the process's name, "" if the cache is in no group.
	Peer string `json:",omitempty"`
	// Err says why the process could not be asked. Then nothing else is known. In JSON it is its text.
	Err error `json:"-"`
	// Source says what it has: an entry as the key's owner, a replica, or a copy lent by the owner
	// (SourceL1). 0 means that it has nothing.
	Source Source `json:",omitempty"`
	// Usable says whether a Get in that process would be answered with it now, if need be as a stale
	// value.
	Usable bool `json:",omitempty"`
	// Stale says that its TTL is over.
	Stale bool `json:",omitempty"`
	// NotFound says that it stands for ErrNotFound.
	NotFound bool `json:",omitempty"`
	// Version was given by the user; 0 if there was none.
	Version uint64 `json:",omitempty"`
	// Age is the time since its Put, or since its load began.
	Age time.Duration `json:",omitempty"`
	// TTL is the time until it stops being fresh; negative if it has stopped, 0 if it never does.
	TTL time.Duration `json:",omitempty"`
	// Bytes are accounted for it.
	Bytes int64 `json:",omitempty"`
	// Lender is the owner that has lent a copy, and Lease for how long the copy may be used if
	// nothing more is heard of that one.
	Lender string        `json:",omitempty"`
	Lease  time.Duration `json:",omitempty"`
	// Lent are the copies of the key that the process has lent to others.
	Lent []Loan `json:",omitempty"`
	// Loading is the load of the key that is in progress there; nil: none is.
	Loading *Flight `json:",omitempty"`
	// Written is when the key was last written there by a Put, Delete or Expire, which Write names in
	// small letters, or the whole cache cleared (clear), by that process's clock. Only some 1,000 of
	// the last writes are remembered. Zero means that it is not known.
	Written time.Time `json:",omitzero"`
	Write   string    `json:",omitempty"`
	// Recalled is when the process last took back copies of the key that it had lent, or gave one
	// back, by its clock. Zero means that it is not known.
	Recalled time.Time `json:",omitzero"`
}

// A Loan is a copy that the owner of a key has lent.
type Loan struct {
	// Peer is the borrower's name.
	Peer string
	// For is how long the copy may be used, unless it is recalled. As the borrower renews its lease
	// that does not end before the copy's own TTL, or for ever if it is 0, which For says as long as
	// there is a link.
	For time.Duration
}

// MarshalJSON implements json.Marshaler.
func (s KeyState) MarshalJSON() ([]byte, error) {
	type plain KeyState
	return json.Marshal(struct {
		plain
		Err string `json:",omitempty"`
	}{plain(s), textOf(s.Err)})
}

// UnmarshalJSON implements json.Unmarshaler. Of an error nothing comes back but its text.
func (s *KeyState) UnmarshalJSON(b []byte) error {
	type plain KeyState
	var j struct {
		plain
		Err string
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = KeyState(j.plain)
	s.Err = errorOf(j.Err)
	return nil
}

// explainFor bounds how long others are asked.
const explainFor = time.Second

// maxBorrowers bounds how many of those that have borrowed a copy are asked.
const maxBorrowers = 16

// Explain returns what is known of a key: who owns it, who has it and until when, and what was done to
// it last, but not its value. In a group it asks all custodians of the key and those that have
// borrowed it, at once, until ctx ends or for a second at most; of those that do not answer it says
// so. It counts neither in Stats nor as a use, loads nothing, and is for operators: what it says of
// different processes is of slightly different times. The error is [ErrInvalidKey], [ErrClosed] or the
// cause of ctx's end.
func (c *Cache[V]) Explain(ctx context.Context, key string) (Explanation, error) {
	e := Explanation{Cache: c.name, Key: key}
	if err := c.check(key); err != nil {
		return e, err
	}
	if c.peering != nil {
		return c.peering.explain(ctx, e)
	}
	e.States = []KeyState{c.keyState(key)}
	return e, nil
}

// keyState returns what this process has of a key.
func (c *Cache[V]) keyState(key string) (k KeyState) {
	hash := c.store.hash(key)
	now := c.store.clock.now()
	n := c.store.index.find(hash, key)
	if n != nil {
		st := c.judge(n, now)
		d := c.describe(n, st, now)
		k.Source, k.Usable, k.Stale, k.NotFound = d.Source, st != gone, n.expires != never && n.expires <= now, n.flags&flagNegative != 0
		k.Version, k.Age, k.TTL, k.Bytes = d.Version, d.Age, d.TTL, int64(n.size)
		if n.flags&flagBorrowed != 0 {
			from := borrowedOf[V](n).lender
			k.Lender, k.Lease = from.Name(), time.Duration(max(0, from.HeldUntil()+c.copies.offset-now))
		}
	}
	s := c.lock(hash)
	if f := s.flights[key]; f != nil {
		one := f.shown(now)
		k.Loading = &one
	}
	if l := s.loans[key]; l != nil {
		k.Lent = c.shownLoans(l)
	}
	s.unlock()
	kind, written := c.lately.written.last(hash)
	if cleared := c.lately.cleared.Load(); cleared > written {
		kind, written = wire.Clear, cleared
	}
	if written != 0 {
		k.Written, k.Write = c.store.clock.at(written), writeNames[kind]
	}
	if _, at := c.lately.recalled.last(hash); at != 0 {
		k.Recalled = c.store.clock.at(at)
	}
	return k
}

var writeNames = map[wire.Type]string{wire.Put: "put", wire.Delete: "delete", wire.Expire: "expire", wire.Clear: "clear", wire.Update: "incr"}

// shownLoans describes what is lent of a key. The segment is locked.
func (c *Cache[V]) shownLoans(l *lending) (all []Loan) {
	now := c.store.clock.steady()
	for _, one := range l.copies {
		left := time.Duration(0)
		if one.until != never {
			if left = time.Duration(one.until - now); left <= 0 {
				continue
			}
		}
		if one.link.Err() != nil { // nobody renews the lease any more
			lease := time.Duration(one.link.GivenUntil() - c.peering.group.steady())
			if lease <= 0 {
				continue
			}
			if left == 0 || lease < left {
				left = lease
			}
		}
		all = append(all, Loan{Peer: one.link.Name(), For: left})
	}
	return all
}

// explain completes what is known of a key in a group.
func (p *peering[V]) explain(ctx context.Context, e Explanation) (Explanation, error) {
	v, g := p.tenures.view(), p.group
	e.Self, e.Epoch = g.opt.Name, v.epoch
	if len(v.ring.members) > 0 {
		var some [maxReplicas + 1]int
		for _, i := range v.custodians(ringHash(e.Key), v.copies, some[:0]) {
			e.Custodians = append(e.Custodians, v.nameOf(i))
		}
		e.Owner = e.Custodians[0]
	}
	own := p.c.keyState(e.Key)
	own.Peer = e.Self
	e.States = append(e.States, own)
	cause := ctx
	ctx, cancel := context.WithTimeout(ctx, explainFor)
	defer cancel()
	asked := map[string]bool{e.Self: true}
	ask := func(names []string) {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return asked[name] })
		states := make([]KeyState, len(names))
		var wg sync.WaitGroup
		for i, name := range names {
			asked[name] = true
			wg.Go(func() { states[i] = p.stateAt(ctx, name, e.Key) })
		}
		wg.Wait()
		e.States = append(e.States, states...)
	}
	ask(e.Custodians)
	var borrowers []string
	for _, s := range e.States {
		for _, l := range s.Lent {
			if !asked[l.Peer] && !slices.Contains(borrowers, l.Peer) && len(borrowers) < maxBorrowers {
				borrowers = append(borrowers, l.Peer)
			}
		}
	}
	ask(borrowers)
	if cause.Err() != nil {
		return e, context.Cause(cause)
	}
	return e, nil
}

// stateAt asks a process what it has of a key.
func (p *peering[V]) stateAt(ctx context.Context, peer, key string) (k KeyState) {
	if err := p.group.inspect(ctx, peer, &wire.Frame{Type: wire.Inspect, Cache: p.id, Key: key}, &k); err != nil {
		k = KeyState{Err: err}
	}
	k.Peer = peer
	return k
}

// keyStateJSON is keyState for another process.
func (p *peering[V]) keyStateJSON(key string) ([]byte, error) { return json.Marshal(p.c.keyState(key)) }

// explanation is Explain, for the group.
func (p *peering[V]) explanation(ctx context.Context, key string) (Explanation, error) {
	return p.c.Explain(ctx, key)
}
