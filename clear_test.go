package covey

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Clear waits for nobody, whatever was in the cache, and what is there afterwards is new. What has
// gone is told once, however often the cache is cleared meanwhile, and Close waits for that.
func TestClearAnswersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		var l ledger
		hang := make(chan struct{})
		o := connections(&l)
		o.MaxEntries = n
		o.Events.Removed = func(r Removal[int]) { <-hang; l.add(r) }
		c, err := New("test", o)
		require.NoError(t, err)
		for i := range n {
			require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), i))
		}
		begin := time.Now()
		for range 3 {
			require.NoError(t, c.Clear(t.Context()))
			require.Zero(t, c.Len())
			st := c.Stats()
			require.Zero(t, st.Entries)
			require.Zero(t, st.Bytes)
			for range c.All() {
				t.Error("All shows what was cleared")
			}
		}
		for i := range n { // there is room for all of them
			require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), n+i))
		}
		require.Equal(t, n, c.Len())
		require.NoError(t, c.Clear(t.Context()))
		require.Zero(t, time.Since(begin))
		time.AfterFunc(time.Second, func() { close(hang) })
		require.NoError(t, c.Close())
		require.Equal(t, time.Second, time.Since(begin))
		require.Len(t, l.all(), 2*n)
		for v, causes := range l.all() {
			require.Equal(t, []Cause{CauseDeleted}, causes, v)
		}
	})
}

// Whatever goes on beside a Clear, the parts of the cache agree afterwards, and each value is told
// once when it has left.
func TestClearBesideOthers(t *testing.T) {
	for _, eviction := range []Eviction{LFU, LRU, FIFO} {
		t.Run(eviction.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { clearBesideOthers(t, eviction) })
		})
	}
}

func clearBesideOthers(t *testing.T, eviction Eviction) {
	var l ledger
	o := connections(&l)
	o.Eviction, o.MaxEntries, o.TTL, o.StaleIfError = eviction, 500, 50*time.Millisecond, 0
	c, err := New("test", o)
	require.NoError(t, err)
	ctx := t.Context()
	var last atomic.Int64
	next := func(context.Context, string) (int, error) { return int(last.Add(1)), nil }
	const writers, each = 4, 2000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for range each {
				key := fmt.Sprint(r.IntN(1000))
				switch r.IntN(8) {
				case 0:
					_ = c.Delete(ctx, key)
				case 1:
					_, _ = c.Get(ctx, key, next)
				case 2, 3:
					_, _, _ = c.Lookup(ctx, key)
				default:
					_ = c.Put(ctx, key, int(last.Add(1)))
				}
				switch r.IntN(100) {
				case 0:
					_ = c.Clear(ctx)
				case 1, 2, 3:
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, c.Clear(ctx))
	require.Zero(t, c.Len())
	for i := range 3 * o.MaxEntries { // the policy knows what is there
		require.NoError(t, c.Put(ctx, fmt.Sprint("new", i), int(last.Add(1))))
	}
	require.Equal(t, o.MaxEntries, c.Len())
	time.Sleep(time.Second) // so does the wheel
	require.Zero(t, c.Len())
	require.NoError(t, c.Put(ctx, "k", int(last.Add(1))))
	require.NoError(t, c.Close())
	told := l.all()
	for v := range int(last.Load()) { // all of them have left; a load that a write voided was not stored
		require.LessOrEqual(t, len(told[v+1]), 1)
	}
	require.GreaterOrEqual(t, int64(len(told))+c.Stats().Discarded, last.Load())
}

// A Clear drops copies, and the ring of copies has nothing that the index has not.
func TestClearDropsCopies(t *testing.T) {
	inWorld(t, 2, Options[string]{MaxBytes: 1 << 20, L1: 16 << 10}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		keys := a.keys(300)
		for _, k := range keys {
			require.NoError(t, a.cache.Put(t.Context(), k, k))
		}
		own := b.key()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for j := range 1000 {
					_, _ = b.cache.Get(t.Context(), keys[(j/3*7+i)%len(keys)], constant("v"))
					if j%50 == i {
						_ = b.cache.Put(t.Context(), own, "mine")
						b.cache.clearHere(1)
					}
					time.Sleep(time.Microsecond)
				}
			})
		}
		wg.Wait()
		borrowed := func() (n int) {
			for i := range b.cache.shards {
				for e := range b.cache.shards[i].table.Load().all {
					if e.flags&flagBorrowed != 0 {
						n++
					}
				}
			}
			return n
		}
		borrowAt(t, b, keys[0])
		require.EqualValues(t, borrowed(), b.cache.Stats().L1Entries)
		b.cache.clearHere(1)
		require.Zero(t, borrowed())
		require.Zero(t, b.cache.Stats().L1Entries)
		require.Zero(t, b.cache.Stats().L1Bytes)
		for _, k := range keys { // they are evicted as ever
			borrowAt(t, b, k)
		}
		require.EqualValues(t, borrowed(), b.cache.Stats().L1Entries)
		require.LessOrEqual(t, b.cache.Stats().L1Bytes, int64(16<<10))
	})
}

// A Clear asks those, too, who have announced that they have no such cache: they may have it again.
func TestClearAsksReopened(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		require.NoError(t, b.cache.Close())
		synctest.Wait()
		require.NoError(t, a.cache.Clear(t.Context()))
		w.net.SetDelay(10 * time.Millisecond)
		b.open(t)
		k := b.key()
		require.NoError(t, b.cache.Put(t.Context(), k, "old"))
		require.NoError(t, a.cache.Clear(t.Context()))
		_, ok := b.cache.Peek(k)
		require.False(t, ok)
	})
}

// Who knows of no members cannot have cleared anything.
func TestClearNeedsMembers(t *testing.T) {
	inWorld(t, 1, Options[string]{}, func(t *testing.T, w *world) {
		w.net.Pause("b")
		b := w.start("b", StaticPeers("http://a", "http://b"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.cache.Clear(ctx), ErrUnconfirmed)
		w.net.Resume("b")
	})
}

// removeInVain has p clear the cache, or delete the key, which goes on in the background.
func removeInVain(t *testing.T, p *proc, how, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var err error
	if how == "Clear" {
		err = p.cache.Clear(ctx)
	} else {
		err = p.cache.Delete(ctx, key)
	}
	require.ErrorIs(t, err, ErrUnconfirmed)
}

// awaitPursuits waits until all that p has removed in vain has been removed.
func awaitPursuits(t *testing.T, p *proc) {
	t.Helper()
	for i := 0; p.group.Stats().Pursued > 0; i++ {
		time.Sleep(time.Second)
		require.Less(t, i, 20)
	}
}

// A Clear that goes on in the background must void loads that began before it, as a Delete does.
func TestPursuedClearVoidsLoads(t *testing.T) {
	for _, how := range []string{"Clear", "Delete"} {
		t.Run(how, func(t *testing.T) {
			inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
				a, b := w.procs[0], w.procs[1]
				k := b.key()
				w.net.Partition("a", "b") // c hears both, so that b stays a member
				time.Sleep(3 * time.Second)
				require.Equal(t, b.url, a.group.Owner(k))
				var wg sync.WaitGroup
				wg.Go(func() { _, _ = b.cache.Get(t.Context(), k, w.slow(30*time.Second-time.Millisecond)) }) // reads the origin now
				time.Sleep(100 * time.Millisecond)
				removeInVain(t, a, how, k)
				w.net.Heal("a", "b")
				awaitPursuits(t, a)
				wg.Wait()
				synctest.Wait()
				_, ok, err := b.cache.Lookup(t.Context(), k)
				require.NoError(t, err)
				require.False(t, ok)
			})
		})
	}
}

// A Clear that goes on in the background must take back copies of what the owner has evicted.
func TestPursuedClearTakesCopiesBack(t *testing.T) {
	for _, how := range []string{"Clear", "Delete"} {
		t.Run(how, func(t *testing.T) {
			inWorld(t, 3, Options[string]{MaxEntries: 10, Eviction: FIFO}, func(t *testing.T, w *world) {
				a, b, c := w.procs[0], w.procs[1], w.procs[2]
				keys := b.keys(200)
				k := keys[0]
				require.NoError(t, b.cache.Put(t.Context(), k, "old"))
				w.net.Partition("a", "b") // c hears both
				time.Sleep(3 * time.Second)
				removeInVain(t, a, how, k)
				borrowAt(t, c, k) // b has not been told of the Clear yet, so this is no fault
				for _, other := range keys[1:] {
					require.NoError(t, b.cache.Put(t.Context(), other, "v"))
				}
				_, ok := b.cache.Peek(k)
				require.False(t, ok, "evicted")
				w.net.Heal("a", "b")
				awaitPursuits(t, a)
				time.Sleep(time.Minute)
				_, ok, err := c.cache.Lookup(t.Context(), k)
				require.NoError(t, err)
				require.False(t, ok)
			})
		})
	}
}

// A Clear that cannot be confirmed is tried again every 25 ms, which keeps no load from being shared.
func TestClearThatIsTriedAgainLeavesGetsAlone(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		c := w.procs[2]
		k := c.key()
		w.net.Pause("c")
		time.Sleep(2500 * time.Millisecond) // it has no promises any more
		require.False(t, c.group.isActing())
		start := time.Now()
		_, err := c.cache.Get(t.Context(), k, w.slow(5*time.Millisecond))
		require.NoError(t, err)
		require.Less(t, time.Since(start), 300*time.Millisecond)
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.cache.Clear(t.Context()) })
		time.Sleep(10 * time.Millisecond)
		start = time.Now()
		_, err = c.cache.Get(t.Context(), k, w.slow(5*time.Millisecond))
		require.NoError(t, err)
		require.Less(t, time.Since(start), time.Second)
		wg.Wait()
		w.net.Resume("c")
		time.Sleep(10 * time.Second)
	})
}

// While two members do not hear each other, a Clear by anybody keeps the others from storing anything.
func TestClearIsNotRepeatedWhereItWasConfirmed(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := b.key()
		w.net.Partition("a", "c") // b hears both
		time.Sleep(3 * time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { _ = a.cache.Clear(t.Context()) })
		time.Sleep(10 * time.Millisecond)
		for range 300 {
			wg.Go(func() { _, _ = b.cache.Get(t.Context(), k, w.slow(50*time.Millisecond)) })
			time.Sleep(10 * time.Millisecond)
		}
		wg.Wait()
		require.LessOrEqual(t, w.loads.Load(), int64(3))
		w.net.Heal("a", "c")
		time.Sleep(10 * time.Second)
	})
}
