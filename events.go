package covey

// events.go has the functions by which users are told what happens in a cache.

// A Cause says why an entry was removed.
type Cause uint8

const (
	_ Cause = iota
	// CauseEvicted means that the cache was full and the policy chose this entry.
	CauseEvicted
	// CauseExpired means that the entry's time was over, the time in which it may be served stale
	// included.
	CauseExpired
	// CauseReplaced means that a Put or a load stored another value, or ErrNotFound, in its place.
	CauseReplaced
	// CauseDeleted means that a Delete, a Clear or an Expire removed it, or a Put whose own value
	// was too large; in a group also that the key has got another owner.
	CauseDeleted
	// CauseClosed means that the cache was closed. It needs Events.RemovedAtClose.
	CauseClosed
)

// String returns the cause in one word: evicted, expired, replaced, deleted or closed.
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
	case CauseClosed:
		return "closed"
	}
	return "unknown"
}

// A Removal describes an entry that has left the cache.
type Removal[V any] struct {
	Key   string // of the entry
	Value V      // shared: it must not be modified
	Cause Cause  // why it left
}

// Events are functions that a cache calls when something happens in this process; each may be nil.
// They run on goroutines of their own. What made it happen (a caller, a load or the cache itself)
// waits for them, so they should be quick. No lock is held, so they may call the cache. They may
// run concurrently and out of order. One that panics or calls runtime.Goexit is logged.
type Events[V any] struct {
	// Removed is called once for each value that was stored, after it has left the cache: before
	// the Put, Delete, SetMaxBytes or other call that removed it returns, but in the background
	// after a Clear, and when the key has got another owner. An Expire that keeps the value as a
	// stale one, and a load that returns ErrUnchanged, remove nothing. It is not called for a
	// remembered ErrNotFound, nor for copies of other peers' keys. Callers who have got the value
	// may still use it.
	Removed func(Removal[V])
	// RemovedAtClose has [Cache.Close] and [Group.Shutdown] call Removed for what they drop, too,
	// with CauseClosed: for values that have to be closed themselves, such as connections. The
	// cache is closed then: calls of it return ErrClosed, and Close returns nil at once. Removed
	// calls that are not over after 5 s go on while Close returns an error. A value that a loader
	// returns after Close is not reported: a loader whose context has ended should return an error.
	RemovedAtClose bool
	// Breaker is called when the breaker of Options has changed its state, with the new one. Unlike the
	// others it runs on one goroutine, for one state after another, and nothing waits for it but
	// Close, for 5 s at most.
	Breaker func(BreakerState)
	// Loaded is called once for each load that ran a loader, when the load has ended: the loader
	// has returned or panicked, or its context has ended before that (LoadTimeout, or nobody
	// waits). It is not called for loads that the protection of the origin refused.
	Loaded func(LoadResult)
}
