package covey

// tombstones.go remembers the versions of what was deleted, within a bound.

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// A tombstone remembers the highest version that a deleted key had.
//
// It has a hash of 64 bits instead of the key, which may be long. Keys of the same hash share what
// is known of their versions, so a write of one may be refused or done because of the other. Beside
// the most tombstones that there can be, a write meets one of another key with a chance of 2^-48.
// Nobody can bring that about: the hash is seeded for each cache.
type tombstone struct {
	hash         uint64
	version      uint64
	until        int64
	older, newer uint32 // in the list
}

const (
	tombstoneTime  = int64(5 * time.Minute)
	maxTombstones  = 1 << 16
	tombstoneShare = 8           // they have one part in so many of MaxBytes
	tombstoneBytes = 32 + 6 + 30 // with the spare room of slots, and the place in the map
	buryAtOnce     = 2           // tombstones whose time is over that a write forgets
)

// tombstones are those of a cache. Everything takes O(1) time, but for growth and resize. If there
// are too many, the oldest one is forgotten. mu is a leaf.
type tombstones struct {
	clock *clock
	seed  maphash.Seed
	bytes atomic.Int64 // that they hold in memory; 0: there is none

	mu    sync.Mutex
	limit int
	at    map[uint64]uint32 // by hash: the slot
	slots []tombstone       // slot 0 closes the list, which begins with the oldest, into a ring
	free  uint32            // head of the slots that are free, linked by newer; 0 ends it
}

// known returns the version that is remembered of key.
func (t *tombstones) known(key string) (version uint64, ok bool) {
	if t.bytes.Load() == 0 {
		return 0, false
	}
	now := t.clock.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for range buryAtOnce {
		if len(t.at) > 0 && t.slots[t.slots[0].newer].until <= now {
			t.forget(t.slots[0].newer)
		}
	}
	if i, found := t.at[t.hash(key)]; found && t.slots[i].until > now {
		return t.slots[i].version, true
	}
	return 0, false
}

// remember keeps the version of key from now on. It reports whether that took more memory.
func (t *tombstones) remember(key string, version uint64) (grown bool) {
	until := t.clock.now() + tombstoneTime
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(t.slots)
	t.add(t.hash(key), version, until)
	return len(t.slots) > before
}

// drop forgets the version of key.
func (t *tombstones) drop(key string) {
	if t.bytes.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, found := t.at[t.hash(key)]; found {
		t.forget(i)
	}
}

// clear forgets everything.
func (t *tombstones) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reset()
}

// resize sets the bound that a cache of maxBytes has; 0 = unbounded.
func (t *tombstones) resize(maxBytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = maxTombstones
	if maxBytes > 0 {
		t.limit = int(min(maxTombstones, maxBytes/tombstoneShare/tombstoneBytes))
	}
	if old := t.slots; len(old) > t.limit+1 {
		t.reset()
		for i := old[0].newer; i != 0; i = old[i].newer {
			t.add(old[i].hash, old[i].version, old[i].until)
		}
	}
}

func (t *tombstones) hash(key string) uint64 { return maphash.String(t.seed, key) }

// reset gives the memory back.
func (t *tombstones) reset() {
	t.at, t.slots, t.free = nil, nil, 0
	t.bytes.Store(0)
}

// add makes a hash's tombstone the newest one.
func (t *tombstones) add(hash, version uint64, until int64) {
	if i, found := t.at[hash]; found {
		t.forget(i)
	} else if len(t.at) > 0 && len(t.at) >= t.limit {
		t.forget(t.slots[0].newer)
	}
	if t.limit == 0 {
		return
	}
	if t.at == nil {
		t.at, t.slots = make(map[uint64]uint32), make([]tombstone, 1)
	}
	i := t.free
	if i != 0 {
		t.free = t.slots[i].newer
	} else {
		i = uint32(len(t.slots))
		t.slots = append(t.slots, tombstone{})
		t.bytes.Add(tombstoneBytes)
	}
	newest := t.slots[0].older
	t.slots[i] = tombstone{hash: hash, version: version, until: until, older: newest}
	t.slots[newest].newer, t.slots[0].older = i, i
	t.at[hash] = i
}

// forget takes out the tombstone in slot i.
func (t *tombstones) forget(i uint32) {
	old := t.slots[i]
	delete(t.at, old.hash)
	if len(t.at) == 0 {
		t.reset()
		return
	}
	t.slots[old.older].newer, t.slots[old.newer].older = old.newer, old.older
	t.slots[i].newer, t.free = t.free, i
}
