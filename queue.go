package covey

// queue.go brings things to a function of the user's that may misbehave, and that nothing waits for.

import (
	"fmt"
	"sync"
	"time"
)

// A userQueue has what is on its way to a function of the user's, in order. There is a goroutine as
// long as there is anything.
type userQueue[T any] struct {
	handle func(T)       // one after another; sees to panics itself
	lost   func(n int) T // what says that n have been dropped, as too many waited

	mu      sync.Mutex
	items   []T
	dropped int           // since the last one was added
	empty   chan struct{} // closed when all are handled; nil: nothing is being handled
}

// maxQueued is how many may wait. Those that come when there are so many already are counted.
const maxQueued = 1 << 10

// add adds an item. It may be called under any lock.
func (q *userQueue[T]) add(item T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) >= maxQueued {
		q.dropped++
		return
	}
	q.items = append(q.items, item)
	if q.empty == nil {
		q.empty = make(chan struct{})
		go q.run()
	}
}

func (q *userQueue[T]) run() {
	for {
		q.mu.Lock()
		if len(q.items) == 0 {
			close(q.empty)
			q.empty, q.items = nil, nil
			q.mu.Unlock()
			return
		}
		item := q.items[0]
		var none T
		q.items[0] = none
		q.items = q.items[1:]
		if q.dropped > 0 && q.lost != nil {
			q.items = append(q.items, q.lost(q.dropped))
			q.dropped = 0
		}
		q.mu.Unlock()
		q.handle(item)
	}
}

// flush waits until what has been added is handled; until the timer fires at most, of which the error
// says what still runs.
func (q *userQueue[T]) flush(what string, timer *time.Timer) error {
	q.mu.Lock()
	empty := q.empty
	q.mu.Unlock()
	if empty == nil {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-timer.C:
		return fmt.Errorf("covey: %s still runs after %v", what, closeGrace)
	}
}
