package covey

// lately.go remembers when keys were last written and recalled, for Explain: of the last few, in a
// little memory and without a lock.

import (
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// A lately has what was noted last of keys, by their hashes. Two keys of one hash are taken for one
// another, and one that is noted takes the place of another one now and then.
type lately struct {
	written  moments
	recalled moments
	cleared  atomic.Int64 // when the cache was, by its clock; 0: never
}

// moments are times by key. Each slot has the upper bits of a hash, what was done, and when.
type moments [1 << momentBits]atomic.Uint64

const (
	momentBits = 10
	kindBits   = 4  // enough for the requests that write
	msBits     = 38 // eight years of milliseconds
)

func (m *moments) slot(hash uint32) (*atomic.Uint64, uint64) {
	return &m[hash%(1<<momentBits)], uint64(hash>>momentBits) << (kindBits + msBits)
}

// note notes what was done to the key of that hash, and when, by the cache's clock.
func (m *moments) note(hash uint32, kind wire.Type, now int64) {
	slot, tag := m.slot(hash)
	slot.Store(tag | uint64(kind)%(1<<kindBits)<<msBits | uint64(now/int64(time.Millisecond))%(1<<msBits))
}

// last returns what was noted last of the key of that hash; 0, 0 if that is not known.
func (m *moments) last(hash uint32) (kind wire.Type, at int64) {
	slot, tag := m.slot(hash)
	v := slot.Load()
	if v == 0 || v>>(kindBits+msBits)<<(kindBits+msBits) != tag {
		return 0, 0
	}
	return wire.Type(v >> msBits % (1 << kindBits)), int64(v%(1<<msBits)) * int64(time.Millisecond)
}
