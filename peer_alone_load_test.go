package covey

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A load of readers and writers, who see that nobody gets what was there before a write that had
// been confirmed before he came.
type witnesses struct {
	w       *world
	s       *source
	keys    []string
	acked   []atomic.Int64 // of each key: what the last confirmed write has made of it
	reads   atomic.Int64
	writes  atomic.Int64
	unsure  atomic.Int64 // writes that returned ErrUnconfirmed
	stop    chan struct{}
	running sync.WaitGroup
}

// watch begins to read at every process, and to write each key at one process after another.
func (w *world) watch(t *testing.T, s *source, keys []string, every time.Duration) *witnesses {
	of := &witnesses{w: w, s: s, keys: keys, acked: make([]atomic.Int64, len(keys)), stop: make(chan struct{})}
	for i := range keys {
		of.running.Go(func() { of.write(t, i, every, rand.New(rand.NewPCG(uint64(i), 1))) })
		of.running.Go(func() { of.read(t, every/8, rand.New(rand.NewPCG(uint64(i), 2))) })
	}
	return of
}

func (of *witnesses) end() {
	close(of.stop)
	of.running.Wait()
}

func (of *witnesses) pause(d time.Duration) (more bool) {
	select {
	case <-of.stop:
		return false
	case <-time.After(d):
		return true
	}
}

// any returns the cache of some process that runs.
func (of *witnesses) any(r *rand.Rand) (*proc, *Cache[string]) {
	of.s.mu.Lock()
	defer of.s.mu.Unlock()
	p := of.w.procs[r.IntN(len(of.w.procs))]
	return p, p.cache
}

func (of *witnesses) write(t *testing.T, i int, every time.Duration, r *rand.Rand) {
	k := of.keys[i]
	for of.pause(time.Duration(r.Int64N(int64(2 * every)))) {
		_, c := of.any(r)
		v := of.s.write(k)
		var err error
		switch r.IntN(4) {
		case 0:
			err = c.Put(t.Context(), k, v)
		case 1:
			err = c.PutMany(t.Context(), map[string]string{k: v})
		case 2:
			err = c.DeleteMany(t.Context(), []string{k})
		default:
			err = c.Delete(t.Context(), k)
		}
		n, _ := strconv.Atoi(v)
		switch {
		case err == nil:
			of.writes.Add(1)
			of.acked[i].Store(int64(n))
		case !errors.Is(err, ErrClosed):
			of.unsure.Add(1)
			t.Logf("%s: %v", c.peering.group.opt.Name, err)
		}
	}
}

func (of *witnesses) read(t *testing.T, every time.Duration, r *rand.Rand) {
	for of.pause(time.Duration(r.Int64N(int64(2 * every)))) {
		p, c := of.any(r)
		floors := make([]int64, len(of.keys))
		for i := range floors {
			floors[i] = of.acked[i].Load()
		}
		got := make(map[string]string)
		var err error
		if r.IntN(4) == 0 {
			got, err = c.GetMany(t.Context(), of.keys, of.s.bulk(p))
		} else {
			k := of.keys[r.IntN(len(of.keys))]
			var v string
			if v, err = c.Get(t.Context(), k, of.s.loader(p)); err == nil {
				got[k] = v
			}
		}
		if err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("at %s: %v", p.name, err)
		}
		for i, k := range of.keys {
			v, ok := got[k]
			if n, _ := strconv.Atoi(v); ok && int64(n) < floors[i] {
				t.Errorf("%v: key %s at %s has %d, %d was confirmed before", time.Now(), k, p.name, n, floors[i])
			}
			if ok {
				of.reads.Add(1)
			}
		}
	}
}

// The owner of some keys closes its cache and opens it, with this version or another, again and
// again while all read and write.
func TestOwnerGetsTheCacheUnderLoad(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		w.net.SetDelay(time.Millisecond)
		s := newSource()
		s.takes = 20 * time.Millisecond
		a := w.procs[0]
		of := w.watch(t, s, append(a.keys(3), w.procs[1].keys(2)...), 40*time.Millisecond)
		r := rand.New(rand.NewPCG(1, 1))
		for i := range 30 {
			time.Sleep(time.Duration(r.Int64N(int64(400 * time.Millisecond))))
			p := w.procs[i/10]
			require.NoError(t, p.cache.Close())
			time.Sleep(time.Duration(r.Int64N(int64(400*time.Millisecond))) * time.Duration(r.IntN(2)))
			o := w.o
			o.Group, o.Logger, o.Version = p.group, slog.New(slog.DiscardHandler), []string{"", "2"}[r.IntN(2)]
			c, err := New("test", o)
			require.NoError(t, err)
			s.mu.Lock()
			p.cache = c
			s.mu.Unlock()
		}
		of.end()
		t.Logf("%d reads, %d writes", of.reads.Load(), of.writes.Load())
		require.Zero(t, of.unsure.Load())
		require.Greater(t, of.reads.Load(), int64(1000))
		require.Greater(t, of.writes.Load(), int64(100))
	})
}

// A rolling deploy from one version to the next.
func TestRollingDeployOfAVersion(t *testing.T) {
	inWorld(t, 3, Options[string]{Version: "1"}, func(t *testing.T, w *world) {
		w.net.SetDelay(time.Millisecond)
		s := newSource()
		s.takes = 20 * time.Millisecond
		var keys []string
		for _, p := range w.procs {
			keys = append(keys, p.keys(4)...)
		}
		quiet, busy := keys[:9], keys[9:]
		of := w.watch(t, s, busy, 200*time.Millisecond)
		w.o.Version = "2"
		for i := range w.procs {
			s.mu.Lock()
			p := w.procs[0]
			w.procs = w.procs[1:] // it gets no requests any more
			s.mu.Unlock()
			time.Sleep(time.Second)
			p.stop()
			time.Sleep(500 * time.Millisecond)
			next := &proc{w: w, name: p.name, url: p.url, opt: p.opt}
			next.run()
			require.NoError(t, next.group.Ready(t.Context()))
			s.mu.Lock()
			w.procs = append(w.procs, next)
			s.mu.Unlock()
			time.Sleep(2 * time.Second)
			for _, p := range w.procs {
				s.loaded(p)
			}
			const rounds = 30
			for range rounds { // for 3 s
				for _, p := range w.procs {
					for _, k := range quiet {
						v, err := p.cache.Get(t.Context(), k, s.loader(p))
						require.NoError(t, err)
						require.Equal(t, "0", v)
					}
				}
				time.Sleep(100 * time.Millisecond)
			}
			for _, p := range w.procs {
				n := s.loadedKeys(p)
				for _, k := range quiet {
					require.LessOrEqual(t, n[k], 1, "deployed %d: key %s at %s", i+1, k, p.name)
				}
			}
		}
		of.end()
		t.Logf("%d reads, %d writes", of.reads.Load(), of.writes.Load())
		require.Zero(t, of.unsure.Load())
	})
}
