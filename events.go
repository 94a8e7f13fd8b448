package covey

// events.go tells users what happens to their entries.

// A Cause says why an entry was removed.
type Cause uint8

const (
	_ Cause = iota
	// CauseEvicted: the cache was full and the policy chose this entry.
	CauseEvicted
	// CauseExpired: the entry's time was over.
	CauseExpired
	// CauseReplaced: a Put or a load stored another value.
	CauseReplaced
	// CauseDeleted: Delete, DeleteMany or Clear removed it, or a Put whose own value could not be stored.
	CauseDeleted
)

// String returns the cause in one word.
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

// Events are called when something happens in the cache; each may be nil. They
// run without any lock of the cache held, on the goroutine that made it happen
// (a caller's, a load's or the cache's own), so they may call the cache but
// should be quick. Different events may run concurrently and out of order.
// Close removes nothing as far as events are concerned.
type Events[V any] struct {
	// Removed is called after an entry has left.
	Removed func(Removal[V])
	// Loaded is called after a load has ended, with what it returned.
	Loaded func(LoadResult)
}
