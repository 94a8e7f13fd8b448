package covey

// soak_test.go reads as fast as it can what others write, while processes crash, leave and come back.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coveycache/covey/internal/netsim"
)

// A soaked key has one writer, which counts up, in the origin first.
type soaked struct {
	name   string
	origin atomic.Int64 // what a load finds
	acked  atomic.Int64 // the last one whose Put or Delete has returned nil
}

// A soaking is a group of three with its keys, and what has been done to them.
type soaking struct {
	t      *testing.T
	keys   []soaked
	procs  []*proc
	caches [3]atomic.Pointer[Cache[string]] // of the processes that are there

	reads, failed, writes, unconfirmed atomic.Int64
}

// No Get that begins after a write has returned nil returns what was there before, whoever reads
// where, whatever happens to the processes. COVEY_SOAK says for how long that is tried.
func TestAnythingReadIsNew(t *testing.T) {
	s := &soaking{t: t, keys: make([]soaked, 400)}
	of := make(map[string]*soaked)
	for i := range s.keys {
		s.keys[i].name = fmt.Sprint("key", i)
		of[s.keys[i].name] = &s.keys[i]
	}
	w := &world{t: t, net: netsim.New(), o: Options[string]{
		Replicas: 2, ReadFrom: ReadFromAny, Logger: slog.New(slog.DiscardHandler),
		Loader: func(_ context.Context, key string) (string, error) {
			return strconv.FormatInt(of[key].origin.Load(), 10), nil
		},
	}}
	for _, name := range []string{"a", "b", "c"} {
		s.procs = append(s.procs, w.at(name, StaticPeers("http://a", "http://b", "http://c")))
	}
	var starting sync.WaitGroup
	for i := range s.procs {
		starting.Go(func() { s.start(i) })
	}
	starting.Wait()

	ticks := make(chan struct{}) // a reader has done a batch
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { s.read(ticks, stop) })
	}
	for writer := range 2 {
		wg.Go(func() { s.write(writer, stop) })
	}
	ends := 0
	for goesOn := soak(t, 3); goesOn(); ends++ {
		i := rand.IntN(len(s.procs))
		s.end(i)
		s.start(i)
		for range 50 {
			<-ticks
		}
	}
	close(stop)
	wg.Wait()
	for _, p := range s.procs {
		p.stop()
	}
	t.Logf("%d reads, %d failed; %d writes, %d of them unconfirmed; %d processes ended", s.reads.Load(), s.failed.Load(), s.writes.Load(), s.unconfirmed.Load(), ends)
	require.Less(t, s.failed.Load(), s.reads.Load()/10)
}

func (s *soaking) start(i int) {
	p := s.procs[i]
	p.run()
	ctx, cancel := context.WithTimeout(s.t.Context(), testPatience)
	defer cancel()
	require.NoError(s.t, p.group.Ready(ctx))
	s.caches[i].Store(p.cache)
}

// end ends a process by a crash or in good order. Until it has, it is read there.
func (s *soaking) end(i int) {
	if p := s.procs[i]; rand.IntN(2) == 0 {
		p.crash()
	} else {
		p.stop()
	}
	s.caches[i].Store(nil)
}

func (s *soaking) someCache() *Cache[string] {
	for {
		if c := s.caches[rand.IntN(len(s.caches))].Load(); c != nil {
			return c
		}
	}
}

func (s *soaking) read(ticks chan<- struct{}, stop <-chan struct{}) {
	const batch = 1 << 12
	for {
		c, failed := s.someCache(), int64(0)
		for range batch {
			k := &s.keys[min(rand.IntN(len(s.keys)), rand.IntN(len(s.keys)))] // some more than others
			least := k.acked.Load()
			v, err := c.Get(s.t.Context(), k.name, nil)
			if err != nil {
				failed++
				continue
			}
			if got, err := strconv.ParseInt(v, 10, 64); err != nil || got < least {
				s.t.Errorf("%s: got %s after a write of %d had returned", k.name, v, least)
			}
		}
		s.reads.Add(batch - failed)
		s.failed.Add(failed)
		select {
		case <-stop:
			return
		case ticks <- struct{}{}:
		default:
		}
	}
}

// write writes every other key.
func (s *soaking) write(writer int, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		k := &s.keys[rand.IntN(len(s.keys)/2)*2+writer]
		n := k.origin.Add(1)
		var err error
		if c := s.someCache(); rand.IntN(2) == 0 {
			err = c.Put(s.t.Context(), k.name, strconv.FormatInt(n, 10))
		} else {
			err = c.Delete(s.t.Context(), k.name)
		}
		s.writes.Add(1)
		switch {
		case err == nil:
			k.acked.Store(n)
		case errors.Is(err, ErrUnconfirmed):
			s.unconfirmed.Add(1)
		}
	}
}
