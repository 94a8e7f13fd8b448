package covey

// request.go is the one way by which a call comes to wait for a load.

import (
	"context"
	"errors"
)

// A request is a call's wish for a key that is not at hand.
type request[V any] struct {
	ctx  context.Context // of the caller; of a peer's request, it has the loads within which that was made
	key  string
	hash uint32
	load Loader[V] // nil: none was given
	gen  uint32    // the generation under which it has been looked up who owns the key
	keep bool      // what is loaded may be stored
}

// errElsewhere says that the ring has changed during a call, or that the key has come meanwhile.
// The call then begins again.
var errElsewhere = errors.New("covey: the ring has changed")

// enrol makes the request a waiter of the key's flight. If there is none, begin makes one, whose
// first waiter is the request; it gets what the cache still has of the key, or nil. If the key has
// become available meanwhile, enrol returns its node instead.
func (s *shard[V]) enrol(q request[V], begin func(old *node) (*flight[V], error)) (f *flight[V], hit *node, err error) {
	s.assertLocked()
	c := s.c
	// 1. Close ends the flights that it finds; one that began after it would never end.
	if c.closed.Load() {
		return nil, nil, c.errClosed()
	}
	// 2. If the ring has changed since the owner was looked up, this process may no longer be the one to load. Whoever
	// changes it afterwards finds the flight, and its result is not stored.
	if c.store.gen.Load() != q.gen {
		return nil, nil, errElsewhere
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
	// 4. Join, or begin. A Put or Delete takes the shard's lock as well, so it either finds the flight and unlinks it, or
	// has been seen in step 3.
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
