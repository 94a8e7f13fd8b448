package covey

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// reopen closes p's cache and makes another one of that name.
func (p *proc) reopen(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cache.Close())
	p.open(t)
}

func (p *proc) open(t *testing.T) {
	t.Helper()
	o := p.w.o
	o.Group, o.Logger = p.group, slog.New(slog.DiscardHandler)
	var err error
	p.cache, err = New("test", o)
	require.NoError(t, err)
}

// What a cache has lent is worth nothing once it is closed.
func TestCloseTakesBack(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		borrowAt(t, b, k)
		borrowAt(t, c, k)
		start := time.Now()
		a.reopen(t)
		require.Less(t, time.Since(start), 10*time.Millisecond, "they say so at once")
		require.NoError(t, a.group.Ready(t.Context())) // all know of the new one
		require.NoError(t, a.cache.Put(t.Context(), k, "new"))
		for _, p := range w.procs {
			v, err := p.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
			require.Equal(t, "new", v, "at %s", p.name)
		}
	})
}

// Close waits for the lease of a borrower that says nothing.
func TestCloseOutwaitsSilentBorrower(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		borrowAt(t, b, k)
		w.net.Pause("b")
		start := time.Now()
		a.reopen(t)
		require.Less(t, time.Since(start), 5*time.Second)
		v, _ := b.cache.Get(canceled(), k, nil)
		require.Empty(t, v)
		require.NoError(t, a.group.Ready(t.Context()))
		require.NoError(t, a.cache.Put(t.Context(), k, "new"))
		v, err := c.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "new", v)
		w.net.Resume("b")
		w.ready()
	})
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// A cache that is closed while it loads under a right gives that back, and whoever waits for the
// load goes on with its own.
func TestCloseGivesRightsBack(t *testing.T) {
	inWorld(t, 3, Options[string]{LoadTimeout: time.Minute}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		ended := make(chan error, 1)
		go func() {
			_, err := b.cache.Get(t.Context(), k, w.slow(30*time.Second))
			ended <- err
		}()
		time.Sleep(time.Second)
		got := make(chan string, 1)
		go func() {
			v, _ := c.cache.Get(t.Context(), k, constant("by c"))
			got <- v
		}()
		time.Sleep(time.Second)
		start := time.Now()
		b.reopen(t)
		require.ErrorIs(t, <-ended, ErrClosed)
		require.Equal(t, "by c", <-got)
		require.Less(t, time.Since(start), 100*time.Millisecond)
		require.NoError(t, b.group.Ready(t.Context()))
		v, err := b.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "by c", v)
	})
}

// Nobody waits for a borrower that has closed its cache.
func TestRecallFromClosedCache(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		borrowAt(t, b, k)
		require.NoError(t, b.cache.Close())
		start, links := time.Now(), a.group.allLinks()
		require.NoError(t, a.cache.Put(t.Context(), k, "new"))
		require.Less(t, time.Since(start), 10*time.Millisecond)
		synctest.Wait()
		require.ElementsMatch(t, links, a.group.allLinks(), "a link was ended for want of an answer")
		b.open(t)
		require.NoError(t, b.group.Ready(t.Context()))
		v, err := b.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "new", v)
	})
}

// A right that comes for a cache that is just being closed goes back, however late that is noticed.
func TestCloseBesideAGrant(t *testing.T) {
	codec := &hookCodec{}
	o := Options[string]{LoadTimeout: time.Minute, StaleIfError: time.Hour, Codec: codec}
	load := map[string]func(p *proc, k string) error{
		"Get": func(p *proc, k string) error {
			_, err := p.cache.Get(p.w.t.Context(), k, constant("by b"))
			return err
		},
		"GetMany": func(p *proc, k string) error {
			_, err := p.cache.GetMany(p.w.t.Context(), []string{k}, func(context.Context, []string) (map[string]string, error) {
				return map[string]string{k: "by b"}, nil
			})
			return err
		},
	}
	for name, get := range load {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 3, o, func(t *testing.T, w *world) {
				a, b, c := w.procs[0], w.procs[1], w.procs[2]
				k := a.key()
				require.NoError(t, a.cache.Put(t.Context(), k, "old", WithTTL(time.Second)))
				time.Sleep(2 * time.Second)
				got := make(chan string, 1)
				var closed time.Time
				beside := func() { // b has the right and decodes what it is to fall back on
					go func() {
						v, _ := c.cache.Get(t.Context(), k, constant("by c"))
						got <- v
					}()
					time.Sleep(time.Second)
					require.NoError(t, b.cache.Close())
					closed = time.Now()
				}
				codec.decoding.Store(&beside)
				require.ErrorIs(t, get(b, k), ErrClosed)
				require.Equal(t, "by c", <-got)
				require.Less(t, time.Since(closed), 100*time.Millisecond)
				b.open(t)
			})
		})
	}
}

// A hookCodec calls a function when it decodes for the first time.
type hookCodec struct{ decoding atomic.Pointer[func()] }

func (*hookCodec) Name() string                                { return "hook" }
func (*hookCodec) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }
func (c *hookCodec) Decode(src []byte) (string, error) {
	if f := c.decoding.Swap(nil); f != nil {
		(*f)()
	}
	return string(src), nil
}

// A right that is revoked while the link is lost passes on once.
func TestRevokeBesideALostLink(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		p := a.cache.peering
		l := linkOf(a, b)
		require.NotNil(t, l)
		hash := a.cache.store.hash(k)
		for range 20_000 {
			s := a.cache.lock(hash)
			f := s.addFlight(k, hash, nil)
			f.ctx, f.cancel = context.WithCancelCause(context.Background())
			f.waiters = 1
			answer := s.grant(f, l, maxPasses)
			s.unlock()
			var wg sync.WaitGroup
			wg.Go(func() { p.lost(l) })
			wg.Go(func() { p.revoke(k, answer.Token, l) })
			wg.Wait()
		}
	})
}
