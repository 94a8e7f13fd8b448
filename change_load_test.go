package covey

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An auditor reads and writes a few keys of which it knows how old a value may be at most.
type auditor struct {
	t           *testing.T
	mu          sync.Mutex
	live        []*proc // that may be asked
	rows        [8]row
	gets, loads atomic.Int64
	writes      atomic.Int64 // acknowledged
	ctx         context.Context
	wg          sync.WaitGroup
}

type row struct {
	origin atomic.Int64 // the value in the database
	acked  atomic.Int64 // the oldest that may be seen
}

func (a *auditor) pick(r *rand.Rand) *proc {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.live[r.IntN(len(a.live))]
}

func (a *auditor) setLive(procs ...*proc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live = procs
}

// start begins to read and write, until ctx ends. Each row has one writer.
func (a *auditor) start(readers, writers int) {
	for i := range readers {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		a.wg.Go(func() {
			for a.ctx.Err() == nil {
				a.read(r)
				time.Sleep(rand.N(100 * time.Millisecond))
			}
		})
	}
	for i := range writers {
		r := rand.New(rand.NewPCG(2, uint64(i)))
		a.wg.Go(func() {
			for a.ctx.Err() == nil {
				a.write(r, i+writers*r.IntN(len(a.rows)/writers))
				time.Sleep(rand.N(100 * time.Millisecond))
			}
		})
	}
}

func (a *auditor) read(r *rand.Rand) {
	i := r.IntN(len(a.rows))
	row := &a.rows[i]
	p := a.pick(r)
	oldest := row.acked.Load()
	a.gets.Add(1)
	v, err := p.cache.Get(context.Background(), fmt.Sprint("key", i), func(context.Context, string) (string, error) {
		a.loads.Add(1)
		n := row.origin.Load()
		time.Sleep(10 * time.Millisecond)
		return fmt.Sprint(n), nil
	})
	if errors.Is(err, ErrClosed) {
		return // a process that ends
	}
	if err != nil {
		a.t.Errorf("key%d at %s: %v", i, p.name, err)
	}
	if n, _ := strconv.ParseInt(v, 10, 64); n < oldest {
		a.t.Errorf("key%d at %s: %d, but %d has been acknowledged", i, p.name, n, oldest)
	}
}

func (a *auditor) write(r *rand.Rand, i int) {
	row := &a.rows[i]
	p := a.pick(r)
	n := row.origin.Add(1)
	var err error
	if r.IntN(2) == 0 {
		err = p.cache.Delete(context.Background(), fmt.Sprint("key", i))
	} else {
		err = p.cache.Put(context.Background(), fmt.Sprint("key", i), fmt.Sprint(n))
	}
	if err == nil {
		row.acked.Store(n)
		a.writes.Add(1)
	} else if !errors.Is(err, ErrUnconfirmed) && !errors.Is(err, ErrClosed) {
		a.t.Errorf("key%d at %s: %v", i, p.name, err)
	}
}

// Three peers become seven and then two, by ending well and by crashing, and everybody gets each
// new list at another time.
func TestThreeSevenTwo(t *testing.T) {
	inRosters(t, 3, "abc", Options[string]{}, func(t *testing.T, w *world) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		audit := &auditor{t: t, ctx: ctx}
		audit.setLive(w.procs...)
		w.net.SetDelay(time.Millisecond)
		audit.start(6, 2)
		time.Sleep(time.Second)
		loads, gets := audit.loads.Load(), audit.gets.Load()
		time.Sleep(3 * time.Second)
		steady := float64(audit.loads.Load()-loads) / float64(audit.gets.Load()-gets)

		tell := func(procs []*proc, list string) {
			for _, p := range procs {
				go func() {
					time.Sleep(rand.N(2500 * time.Millisecond))
					p.list(list)
				}()
			}
		}
		all := "abc"
		for _, name := range "defg" {
			all += string(name)
			r := make(roster, 1)
			r <- members(all)
			old := w.procs
			w.start(string(name), r)
			audit.setLive(w.procs...)
			tell(old, all)
			time.Sleep(3 * time.Second)
		}
		for _, p := range w.procs {
			require.Len(t, p.group.view.Load().ring.members, 7)
			require.True(t, p.group.Stats().Acting)
		}
		for len(w.procs) > 2 {
			gone := w.procs[0]
			rest := w.procs[1:]
			audit.setLive(rest...)
			if len(rest)%2 == 0 {
				gone.stop()
			} else {
				gone.crash()
			}
			w.procs = rest
			all = all[1:]
			tell(rest, all)
			time.Sleep(3 * time.Second)
		}
		time.Sleep(3 * time.Second)
		stop()
		audit.wg.Wait()
		for _, p := range w.procs {
			require.Len(t, p.group.view.Load().ring.members, 2)
		}
		ratio := float64(audit.loads.Load()) / float64(audit.gets.Load())
		t.Logf("%d gets, %d loads (%.3f, before the changes %.3f), %d writes acknowledged", audit.gets.Load(), audit.loads.Load(), ratio, steady, audit.writes.Load())
		require.Greater(t, audit.writes.Load(), int64(300))
		require.Less(t, ratio, 2*steady+0.1)
	})
}
