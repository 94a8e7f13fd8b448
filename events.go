package covey

// events.go has the functions by which users are told what happens in a cache.

// A Cause says why an entry was removed.
type Cause uint8

const (
	_ Cause = iota
	// CauseEvicted means that the cache was full and the policy chose this entry.
	CauseEvicted
	// CauseExpired means that the entry's time was over, the time in which it may be served stale included.
	CauseExpired
	// CauseReplaced means that another entry took its place: a Put or a load stored one, or Expire turned it into a stale one.
	CauseReplaced
	// CauseDeleted means that a Delete, a Clear or an Expire removed it, or a Put whose own value was too large; in a group
	// also that the key has got another owner.
	CauseDeleted
)

// String returns the cause in one word: evicted, expired, replaced or deleted.
func (c Cause) String() string {
	switch c {
	case CauseEvicted:
		return "evicted"
	case CauseExpired:
		return "expired"
	case CauseReplaced:
		return "replaced"
	case CauseDeleted:
		return "deleted"
	}
	return "unknown"
}

// A Removal describes an entry that has left the cache.
type Removal[V any] struct {
	Key   string // of the entry
	Value V      // shared: it must not be modified
	Cause Cause  // why it left
}

// Events are functions that a cache calls when something happens in this process; each may be nil. They run on goroutines of
// their own. What made it happen (a caller, a load or the cache itself) waits for them, so they should be quick. No lock is held,
// so they may call the cache. They may run concurrently and out of order. One that panics or calls runtime.Goexit is logged.
type Events[V any] struct {
	// Removed is called after a value has left the cache. It is not called for a remembered ErrNotFound, for copies of other peers'
	// keys, nor by Close.
	Removed func(Removal[V])
	// Loaded is called once for each load that ran a loader, when the load has ended: the loader has
	// returned or panicked, or its context has ended before that (LoadTimeout, or nobody waits). It is
	// not called for loads that the protection of the origin refused.
	Loaded func(LoadResult)
}
