package covey

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// slowLoads is a loader that takes as long as the test wants for the keys of a set.
type slowLoads struct {
	keys map[string]bool
	over chan struct{}
	end  func() // closes over
}

func newSlowLoads(keys []string) *slowLoads {
	s := &slowLoads{keys: make(map[string]bool), over: make(chan struct{})}
	s.end = sync.OnceFunc(func() { close(s.over) })
	for _, k := range keys {
		s.keys[k] = true
	}
	return s
}

func (s *slowLoads) load(ctx context.Context, key string) (string, error) {
	if s.keys[key] {
		select {
		case <-s.over:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	return "value of " + key, nil
}

// holdGets has p ask for all of the keys, whose loads are slow, and returns when their owner holds
// them, with a function that waits for the answers.
func holdGets(t *testing.T, p *proc, keys []string) (wait func() []error) {
	errs := make([]error, len(keys))
	var wg sync.WaitGroup
	for i, k := range keys {
		wg.Go(func() { _, errs[i] = p.cache.Get(t.Context(), k, nil) })
	}
	synctest.Wait()
	return func() []error {
		wg.Wait()
		return errs
	}
}

// inATick fails the test if f takes time.
func inATick(t *testing.T, what string, f func() error) {
	t.Helper()
	begin := time.Now()
	require.NoError(t, f(), what)
	require.Less(t, time.Since(begin), 100*time.Millisecond, what)
}

// Gets that wait for loads at their owner keep nothing else waiting: neither hits nor writes, nor
// the result of a load for which others wait.
func TestHeldGetsDelayNothing(t *testing.T) {
	var slow *slowLoads
	o := Options[string]{LoadTimeout: -1, Loader: func(ctx context.Context, key string) (string, error) { return slow.load(ctx, key) }}
	inWorld(t, 3, o, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		keys := a.keys(5003)
		hit, put, filled := keys[5000], keys[5001], keys[5002]
		slow = newSlowLoads(keys[:5000])
		defer slow.end()
		wait := holdGets(t, b, keys[:5000])
		for range 3 {
			inATick(t, "a hit", func() error {
				_, err := b.cache.Get(t.Context(), hit, nil)
				return err
			})
		}
		inATick(t, "a Put", func() error { return b.cache.Put(t.Context(), put, "v") })
		inATick(t, "a Lookup", func() error {
			_, _, err := b.cache.Lookup(t.Context(), put)
			return err
		})
		inATick(t, "a Delete", func() error { return b.cache.Delete(t.Context(), put) })
		inATick(t, "a GetMany", func() error {
			_, err := b.cache.GetMany(t.Context(), []string{hit, put}, nil)
			return err
		})

		loaded := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := b.cache.Get(t.Context(), filled, func(context.Context, string) (string, error) {
				<-loaded
				return "filled", nil
			})
			require.NoError(t, err)
		})
		synctest.Wait()
		wg.Go(func() {
			v, err := c.cache.Get(t.Context(), filled, nil)
			require.NoError(t, err)
			require.Equal(t, "filled", v)
		})
		synctest.Wait()
		close(loaded)
		inATick(t, "a Fill", func() error { wg.Wait(); return nil })

		slow.end()
		require.NoError(t, errors.Join(wait()...))
	})
}

// There is a bound for the Gets of one process that wait for loads at another; it is no bound for
// what need not wait.
func TestTooManyHeldGets(t *testing.T) {
	var slow *slowLoads
	o := Options[string]{LoadTimeout: -1, Loader: func(ctx context.Context, key string) (string, error) { return slow.load(ctx, key) }}
	inWorld(t, 2, o, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		const most = 4 * 4096
		keys := a.keys(most + 10)
		hit := keys[most+9]
		slow = newSlowLoads(keys[:most+9])
		defer slow.end()
		_, err := b.cache.Get(t.Context(), hit, nil)
		require.NoError(t, err)
		wait := holdGets(t, b, keys[:most])
		_, err = b.cache.Get(t.Context(), keys[most], nil)
		require.ErrorIs(t, err, ErrOverloaded)
		_, err = b.cache.GetMany(t.Context(), keys[most+1:], nil)
		require.ErrorIs(t, err, ErrOverloaded)
		_, err = b.cache.Refresh(t.Context(), keys[most+1])
		require.ErrorIs(t, err, ErrOverloaded)
		inATick(t, "a hit", func() error {
			_, err := b.cache.Get(t.Context(), hit, nil)
			return err
		})
		inATick(t, "a Put", func() error { return b.cache.Put(t.Context(), hit, "v") })
		slow.end()
		require.NoError(t, errors.Join(wait()...))
		_, err = b.cache.Get(t.Context(), keys[most], nil)
		require.NoError(t, err)
	})
}

// rightOf has holder ask for k, of which a is the owner, and waiter wait for what the holder loads.
func rightOf(t *testing.T, holder, waiter *proc, k string, load Loader[string]) (wait func() string) {
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	wg.Go(func() { _, _ = holder.cache.Get(ctx, k, load) })
	synctest.Wait()
	var v string
	wg.Go(func() {
		var err error
		v, err = waiter.cache.Get(ctx, k, constant("own"))
		require.NoError(t, err)
	})
	synctest.Wait()
	return func() string {
		defer cancel()
		wg.Wait()
		return v
	}
}

// The link that a Fill is to go over takes nothing for longer than the Fill can wait.
func TestFillThatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New(), o: Options[string]{LoadTimeout: -1}}
		defer w.close()
		for _, name := range []string{"a", "b", "c"} {
			p := w.at(name, StaticPeers("http://a", "http://b", "http://c"))
			p.opt.OpTimeout = 100 * time.Millisecond
			p.run()
		}
		w.ready()
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		keys := a.keys(1001)
		loaded := make(chan struct{})
		wait := rightOf(t, b, c, keys[1000], func(context.Context, string) (string, error) {
			<-loaded
			return "filled", nil
		})
		w.net.Partition("a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		var wg sync.WaitGroup
		for _, k := range keys[:1000] {
			wg.Go(func() { _ = b.cache.Put(ctx, k, string(make([]byte, 10_000))) })
		}
		synctest.Wait()
		close(loaded)
		time.Sleep(time.Second)
		w.net.Heal("a", "b")
		inATick(t, "the right's end", func() error { wait(); return nil })
		cancel()
		wg.Wait()
	})
}

// What is too long to be sent ends the right all the same.
func TestFillThatIsTooLong(t *testing.T) {
	inWorld(t, 3, Options[string]{LoadTimeout: -1}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		over := make(chan struct{})
		wait := rightOf(t, b, c, k, func(ctx context.Context, _ string) (string, error) {
			select {
			case <-over:
			case <-ctx.Done():
			}
			return "late", nil
		})
		s := a.cache.lock(a.cache.store.hash(k))
		var token uint64
		for token = range s.rights {
		}
		s.unlock()
		l, err := b.group.peers[a.url].Link(t.Context())
		require.NoError(t, err)
		sendFill(l, &wire.Frame{
			Type: wire.Fill, Cache: b.cache.peering.id, Key: k, Token: token, Result: wire.Failed, Code: wire.CodeLoad, Text: string(make([]byte, wire.MaxText+1)),
		})
		time.Sleep(time.Millisecond)
		require.NoError(t, l.Err())
		close(over)
		require.Equal(t, "own", wait())
	})
}
