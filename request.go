package covey

// request.go is the one way by which a call comes to wait for a load.

import "context"

// A request is a call's wish for a key that is not at hand.
type request[V any] struct {
	ctx  context.Context // of the caller; of a peer's request, it has the loads within which that was made
	key  string
	hash uint32
	load Loader[V] // nil: none was given
	gen  uint32    // the generation under which it has been looked up who owns the key
	keep bool      // what is loaded may be stored

	grant *grant // the key's owner does not share it; nil: it does, or has not been asked

	attempt int // how often the call has begun again
}

// A verdict says how a call for a key goes on once it has asked, or waited.
type verdict uint8

const (
	answered    verdict = iota // value and error are what the call returns
	lost                       // somebody else's load brought nothing: try again; the error says why
	elsewhere                  // the view has changed, or the key has come: look it up again
	overdue                    // SoftTimeout is over, and the load goes on
	interrupted                // there is something else to see to, and the call still waits
	unreachable                // the peer cannot be asked; the error says why
	unshared                   // each process loads the value for itself; the error says why
)

// enrol makes the request a waiter of the key's flight. If there is none, begin makes one, whose
// first waiter is the request; it gets what the cache still has of the key, or nil. If the key has
// become available meanwhile, enrol returns its node instead. If the view has changed since the
// owner was looked up, or what the owner granted is no more, it returns neither, and the caller has
// to look again.
func (s *shard[V]) enrol(
	q request[V], begin func(old *node) (*flight[V], error),
) (f *flight[V], hit *node, err error) {
	s.assertLocked()
	c := s.c
	// 1. Close ends the flights that it finds; one that began after it would never end.
	if c.closed.Load() {
		return nil, nil, c.errClosed()
	}
	// 2. If the view has changed, this process may no longer be the one to load. Whoever changes it
	// after this finds the flight, and its result is not stored.
	if c.store.gen.Load() != q.gen || q.grant != nil && !s.mayKeep(q.key, q.grant) {
		return nil, nil, nil
	}
	// 3. A write or another load may have brought the key since the caller looked.
	n := c.store.index.find(q.hash, q.key)
	st := c.judge(n, c.store.clock.now())
	if st == fresh || st == negative {
		return nil, n, nil
	}
	if st == gone {
		n = nil
	}
	c.n.misses.Add(1)
	// 4. Join, or begin. A Put or Delete takes the shard's lock as well, so it either finds the
	// flight and unlinks it, or has been seen in step 3.
	if f = s.joinable(q.key, q.keep); f != nil {
		if err := s.attach(q.ctx, f); err != nil {
			return nil, nil, err
		}
		c.n.coalesced.Add(1)
		return f, nil, nil
	}
	if f, err = begin(n); err != nil {
		return nil, nil, err
	}
	f.gen, f.noStore = q.gen, !q.keep
	return f, nil, nil
}
