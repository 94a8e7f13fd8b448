package covey

// fresh.go says what an entry is still good for, and when it is time to refresh it.

import (
	"math/rand/v2"
	"time"
)

// A state is what an entry is good for at some time.
type state uint8

const (
	fresh    state = iota // to be served
	aging                 // to be served while a refresh runs (StaleWhileRevalidate)
	usable                // to be served if the load fails (StaleIfError)
	negative              // stands for ErrNotFound
	gone                  // for nothing
)

func (c *Cache[V]) judge(n *node, now int64) state {
	s := c.store
	switch {
	case n != nil && n.flags&flagBorrowed != 0:
		switch {
		case !c.isLent(n, now):
			return gone
		case n.flags&flagNegative != 0:
			return negative
		}
		return fresh
	case n == nil || !c.current(n) || c.peering != nil && !c.peering.isActing(now) || s.idleFor > 0 && s.deadline(n) <= now:
		return gone
	case n.flags&(flagNegative|flagReplica) != 0 && now >= n.expires: // of a replica its owner may have a newer value
		return gone
	case n.flags&flagNegative != 0:
		return negative
	case now < n.expires:
		return fresh
	case now < n.expires+int64(c.opt.StaleWhileRevalidate):
		return aging
	case now < n.expires+s.staleFor:
		return usable
	}
	return gone
}

// A hit looks at the exact time if its entry is short-lived, or in the last quarter of its life,
// within bounds. So no hit is late unless the coarse clock is behind by more than leastGuard, four
// ticks.
const (
	alwaysExact = 2 * time.Second
	leastGuard  = time.Second
	mostGuard   = 4 * time.Second
)

// guardOf returns the class of the guard of an entry that is stored at now.
func (c *Cache[V]) guardOf(n *node, now int64) uint8 {
	life := time.Duration(n.expires - now)
	switch {
	case life <= alwaysExact || 0 < c.opt.IdleTTL && c.opt.IdleTTL <= alwaysExact:
		return guardAlways
	case n.expires == never:
		return 0
	}
	return guardClass(max(int64(min(max(life/4, leastGuard), mostGuard)), c.earlyAt(n)))
}

// Early refresh follows XFetch (Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache
// Stampede Prevention", 2015): a hit at time now refreshes if now + β·δ·Exp(1) reaches the end of
// the TTL, where δ is the measured load time. δ is at least a hundredth of the TTL: for loads of a
// few milliseconds the plain rule would nearly always come too late.
const (
	earlyFloor = 100
	earlyReach = 12 // in units of β·δ: the chance of an earlier draw is e^-12
)

func (c *Cache[V]) delta(n *node) float64 {
	return c.opt.EarlyRefresh * max(float64(costOf(n.cost)), float64(n.expires-n.born)/earlyFloor)
}

// earlyAt is how long before its end a hit on n begins to draw lots.
func (c *Cache[V]) earlyAt(n *node) int64 { return nanos(earlyReach * c.delta(n)) }

// nanos returns d in whole nanoseconds. What is longer than maxTTL, and so than any entry lives, is
// maxTTL: a float64 that int64 has no room for could become anything.
func nanos(d float64) int64 { return int64(min(d, float64(maxTTL))) }

func (c *Cache[V]) refreshDue(n *node, now int64) bool {
	if n.expires == never || c.opt.EarlyRefresh == 0 || n.flags&(flagBorrowed|flagReplica) != 0 {
		return false
	}
	left := n.expires - now
	return left < c.earlyAt(n) && c.delta(n)*rand.ExpFloat64() >= float64(left)
}

// A Source says where the value of an [Entry] came from.
type Source uint8

const (
	// SourceMain is this process, which owns the key.
	SourceMain Source = iota + 1
	// SourcePeer is the peer that owns the key; it was asked just now.
	SourcePeer
	// SourceL1 is a copy in this process, lent by the peer that owns the key.
	SourceL1
	// SourceReplica is this process, which keeps a replica for the peer that owns the key.
	SourceReplica
)

// String returns the source in one word: main, peer, l1 or replica.
func (s Source) String() string {
	switch s {
	case SourceMain:
		return "main"
	case SourcePeer:
		return "peer"
	case SourceL1:
		return "l1"
	case SourceReplica:
		return "replica"
	}
	return "unknown"
}

// MarshalText implements encoding.TextMarshaler: it returns what String does.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. A source that is not known becomes 0.
func (s *Source) UnmarshalText(text []byte) error {
	*s = 0
	for one := SourceMain; one <= SourceReplica; one++ {
		if one.String() == string(text) {
			*s = one
		}
	}
	return nil
}

// An Entry is a value with what the cache knows about it; see [Cache.Lookup].
type Entry[V any] struct {
	Value    V             // shared: it must not be modified
	Version  uint64        // given by WithVersion or Load.SetVersion; 0 if there was none
	Age      time.Duration // since its Put, or since its load began
	TTL      time.Duration // until it stops being fresh; negative if it has stopped, 0 if it never does
	Stale    bool          // its TTL is over, but it may still be served
	NotFound bool          // the origin said ErrNotFound; there is no value
	Source   Source
}

func (c *Cache[V]) describe(n *node, st state, now int64) Entry[V] {
	e := Entry[V]{
		Value:    entryOf[V](n).value,
		Version:  n.version,
		Age:      time.Duration(now - n.born),
		Stale:    st == aging || st == usable,
		NotFound: st == negative,
		Source:   SourceMain,
	}
	switch {
	case n.flags&flagBorrowed != 0:
		e.Source = SourceL1
	case n.flags&flagReplica != 0:
		e.Source = SourceReplica
	}
	if n.expires != never {
		e.TTL = time.Duration(n.expires - now)
		if e.TTL == 0 {
			e.TTL = -1
		}
	}
	return e
}
