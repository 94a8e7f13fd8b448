package covey

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/freq"
	"github.com/stretchr/testify/require"
)

func TestLoan(t *testing.T) {
	inWorld(t, 3, Options[string]{TTL: time.Hour, TTLJitter: -1, EarlyRefresh: -1}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v1", WithVersion(3)))
		borrowAt(t, b, k)
		borrowAt(t, c, k)
		before := a.cache.Stats().Served
		for range 10 {
			v, err := b.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
			require.Equal(t, "v1", v)
		}
		e, _, _ := b.cache.Lookup(t.Context(), k)
		require.EqualValues(t, 3, e.Version)
		require.InDelta(t, time.Hour, e.TTL, float64(time.Second))
		require.Equal(t, before, a.cache.Stats().Served, "hits on a copy stay in the process")
		require.EqualValues(t, 11, b.cache.Stats().L1Hits-1, "and are counted")

		require.NoError(t, c.cache.Put(t.Context(), k, "v2"))
		for _, p := range w.procs {
			v, err := p.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
			require.Equal(t, "v2", v)
		}
		require.EqualValues(t, 2, a.cache.Stats().Recalls)
		for range 4 * recallPrice {
			_, _ = b.cache.Get(t.Context(), k, nil)
		}
		borrowAt(t, b, k)
		require.NoError(t, b.cache.Delete(t.Context(), k))
		for _, p := range w.procs {
			_, ok, err := p.cache.Lookup(t.Context(), k)
			require.NoError(t, err)
			require.False(t, ok)
		}
	})
}

// That a key is not there is lent like a value: what many ask for in vain does not wear out its
// owner.
func TestNotFoundIsLent(t *testing.T) {
	inWorld(t, 2, Options[string]{NegativeTTL: time.Minute}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		missing := func(context.Context, string) (string, error) { return "", ErrNotFound }
		get := func(load Loader[string]) (string, error) {
			time.Sleep(time.Millisecond) // what was asked for when a copy was recalled is not kept
			return b.cache.Get(t.Context(), k, load)
		}
		borrow := func() {
			for range 8 * recallPrice {
				_, err := get(missing)
				require.ErrorIs(t, err, ErrNotFound)
			}
			e, ok, err := b.cache.Lookup(t.Context(), k)
			require.NoError(t, err)
			require.True(t, !ok && e.NotFound)
			require.Equal(t, SourceL1, e.Source)
			require.Positive(t, e.TTL)
			require.LessOrEqual(t, e.TTL, time.Minute)
			found, err := b.cache.GetMany(t.Context(), []string{k}, nil)
			require.NoError(t, err)
			require.Empty(t, found)
		}
		borrow()
		served := a.cache.Stats().Served
		for range 10 {
			_, err := get(missing)
			require.ErrorIs(t, err, ErrNotFound)
		}
		require.Equal(t, served, a.cache.Stats().Served, "hits on a copy stay in the process")

		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		v, err := get(missing)
		require.NoError(t, err)
		require.Equal(t, "v", v)

		require.NoError(t, b.cache.Delete(t.Context(), k))
		borrow()
		time.Sleep(time.Minute)
		v, err = get(constant("loaded"))
		require.NoError(t, err, "a copy ends with NegativeTTL")
		require.Equal(t, "loaded", v)
	})
}

func TestLoanOutlivesEviction(t *testing.T) { // H4
	inWorld(t, 2, Options[string]{MaxEntries: 4, MaxBytes: 1 << 20}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		keys := a.keys(20)
		require.NoError(t, a.cache.Put(t.Context(), keys[0], "v1"))
		borrowAt(t, b, keys[0])
		for _, k := range keys[1:] {
			for range 5 {
				require.NoError(t, a.cache.Put(t.Context(), k, "other"))
				_, _ = a.cache.Get(t.Context(), k, nil)
			}
		}
		g := a.cache.store.index.segment(a.cache.store.hash(keys[0]))
		g.mu.Lock()
		evicted := a.cache.store.index.find(a.cache.store.hash(keys[0]), keys[0]) == nil
		g.mu.Unlock()
		require.True(t, evicted, "the test needs it")
		v, err := a.cache.Get(t.Context(), keys[0], constant("loaded"))
		require.NoError(t, err)
		require.Equal(t, "loaded", v)
		synctest.Wait()
		require.Zero(t, a.cache.Stats().Recalls, "a load takes nothing back")
		require.NoError(t, a.cache.Delete(t.Context(), keys[0]))
		_, ok, err := b.cache.Lookup(t.Context(), keys[0])
		require.NoError(t, err)
		require.False(t, ok)
	})
}

func TestWriteOutwaitsSilentBorrower(t *testing.T) { // H6
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
		borrowAt(t, b, k)
		w.net.Partition("a", "b")
		v, err := b.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "v1", v, "the lease lasts still")
		start := time.Now()
		require.NoError(t, c.cache.Delete(t.Context(), k))
		require.Greater(t, time.Since(start), time.Second)
		require.Less(t, time.Since(start), 3*time.Second)
		_, ok, _ := b.cache.Lookup(t.Context(), k)
		require.False(t, ok)
		w.net.Heal("a", "b")
		time.Sleep(time.Minute)
	})
}

// The caller of a write has no time left when it is the write's turn to take the copies back.
func TestRecallWithoutTime(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		for _, k := range a.keys(10) {
			require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
			borrowAt(t, b, k)
			hash := a.cache.store.hash(k)
			if err := a.cache.peering.recall(ctx, k, hash); err != nil {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
			time.Sleep(10 * time.Second) // a link that ends again and again is not dialled at once
			e, _, err := b.cache.Lookup(t.Context(), k)
			require.NoError(t, err)
			require.Equal(t, SourcePeer, e.Source, "the copy is gone all the same")
		}
	})
}

func TestBorrowerDropsWithTheLink(t *testing.T) { // H9
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
		borrowAt(t, b, k)
		w.net.Reset("a", "b")
		time.Sleep(time.Second)
		start := time.Now()
		require.NoError(t, a.cache.Put(t.Context(), k, "v2"))
		require.Less(t, time.Since(start), 3*time.Second)
		v, err := b.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "v2", v)
	})
}

func TestL1IsBounded(t *testing.T) {
	const limit = 20 << 10
	inWorld(t, 2, Options[string]{MaxBytes: 1 << 20, L1: limit}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		for _, k := range a.keys(500) {
			require.NoError(t, a.cache.Put(t.Context(), k, k))
			borrowAt(t, b, k)
			require.LessOrEqual(t, b.cache.Stats().L1Bytes, int64(limit))
		}
		s := b.cache.Stats()
		require.Greater(t, s.L1Entries, int64(20))
		require.EqualValues(t, 500, a.cache.Stats().Loans)
		n := 0
		for k, v := range b.cache.All() {
			require.Equal(t, k, v)
			n++
		}
		require.EqualValues(t, s.L1Entries, n, "the index has what the ring has")
		require.NoError(t, b.cache.Clear(t.Context()))
		require.Zero(t, b.cache.Stats().L1Entries)
	})
}

// While L1 is full only what is asked for often is borrowed; a copy's hits count for that.
func TestL1KeepsOutWhatIsRare(t *testing.T) {
	inWorld(t, 2, Options[string]{MaxBytes: 1 << 20, L1: 20 << 10, TTL: time.Hour}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		keys := a.keys(202)
		for _, k := range keys {
			require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
		}
		hot, rare := keys[200], keys[201]
		for _, k := range keys[:200] {
			borrowAt(t, b, k)
		}
		borrowAt(t, b, hot)
		for range freq.Max {
			_, err := b.cache.Get(t.Context(), hot, nil)
			require.NoError(t, err)
		}
		const most = 12
		for d := b.cache.copies.demand; d.Bar() < most; d.Leaves(1) { // as it is when all copies are used often
			d.Add(1, freq.Max)
		}
		loans := a.cache.Stats().Loans
		for range most / 2 {
			_, err := b.cache.Get(t.Context(), rare, nil)
			require.NoError(t, err)
		}
		require.Equal(t, loans, a.cache.Stats().Loans, "it is asked for less often than what it would push out")
		require.NoError(t, a.cache.Put(t.Context(), hot, "v2"))
		time.Sleep(time.Millisecond)
		_, err := b.cache.Get(t.Context(), hot, nil)
		require.NoError(t, err)
		require.Equal(t, loans+1, a.cache.Stats().Loans, "a copy that was used often is borrowed again at once")

		require.NoError(t, a.cache.Clear(t.Context()))
		require.NoError(t, a.cache.Put(t.Context(), rare, "v3"))
		time.Sleep(time.Millisecond)
		_, err = b.cache.Get(t.Context(), rare, nil)
		require.NoError(t, err)
		require.Equal(t, loans+2, a.cache.Stats().Loans, "there is room for all")
	})
}

func TestL1Off(t *testing.T) {
	inWorld(t, 2, Options[string]{L1: -1}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		for range 10 {
			_, err := b.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
		}
		require.EqualValues(t, 10, a.cache.Stats().Served)
		require.Zero(t, b.cache.Stats().L1Entries)
	})
}

// What borrowers serve from their copies is seen by the owner.
func TestReportedHits(t *testing.T) { // H20
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		borrowAt(t, b, k)
		for range 10 {
			for range 1000 {
				_, _ = b.cache.Get(t.Context(), k, nil)
			}
			time.Sleep(time.Second)
		}
		for _, p := range w.procs {
			hot := p.group.HotKeys()
			require.NotEmpty(t, hot)
			require.Equal(t, k, hot[0].Key)
			require.Equal(t, "test", hot[0].Cache)
			require.InDelta(t, 1000, hot[0].Rate, 200)
		}
	})
}

// A key that is written all the time is not worth lending.
func TestWrittenKeysAreNotLent(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		for i := range 100 {
			require.NoError(t, a.cache.Put(t.Context(), k, fmt.Sprint(i)))
			v, err := b.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), v)
		}
		require.LessOrEqual(t, a.cache.Stats().Recalls, int64(100/recallPrice))
	})
}

// A copy that is still on its way when the key is written must not be kept.
func TestCopyOnItsWayIsNotKept(t *testing.T) { // H3
	for delay := range 8 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 2, Options[string]{})
			a, b := w.procs[0], w.procs[1]
			k := a.key()
			require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
			_, err := b.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
			w.net.SetDelay(10 * time.Millisecond)
			got := make(chan string)
			go func() {
				v, _ := b.cache.Get(context.Background(), k, nil)
				got <- v
			}()
			time.Sleep(time.Duration(delay) * 3 * time.Millisecond)
			require.NoError(t, a.cache.Put(t.Context(), k, "v2"))
			require.Contains(t, []string{"v1", "v2"}, <-got)
			v, err := b.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
			require.Equal(t, "v2", v)
			w.close()
		})
	}
}

// What has once been lent does not keep other keys from being lent for ever.
func TestLoansMakeRoom(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		keys := a.keys(2000)
		one := keys[0]
		hash := a.cache.store.hash(one)
		i := slices.IndexFunc(keys[1:], func(k string) bool { return a.cache.shardOf(a.cache.store.hash(k)) == a.cache.shardOf(hash) })
		require.GreaterOrEqual(t, i, 0)
		other := keys[1+i]
		require.NoError(t, a.cache.Put(t.Context(), one, "v"))
		require.NoError(t, a.cache.Put(t.Context(), other, "v"))
		borrowAt(t, b, one)
		s := a.cache.lock(hash)
		for i := 0; len(s.loans) < maxLoans; i++ { // that b has long given up
			key := fmt.Sprint("past", i)
			if a.cache.shardOf(a.cache.store.hash(key)) == a.cache.shardOf(hash) {
				s.loans[key] = &lending{copies: slices.Clone(s.loans[one].copies)}
			}
		}
		s.unlock()
		for range 5 {
			_, err := b.cache.Get(t.Context(), other, nil)
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		borrowAt(t, b, other)
		require.Less(t, len(s.loans), maxLoans)
	})
}

// A smaller bound is one for copies, too: what the process owns has room again.
func TestSetMaxBytesBoundsCopies(t *testing.T) {
	inWorld(t, 2, Options[string]{MaxBytes: 4 << 20, L1: 2 << 20}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		value := strings.Repeat("x", 4000)
		for _, k := range b.keys(300) {
			require.NoError(t, b.cache.Put(t.Context(), k, value))
			for range 4 {
				_, err := a.cache.Get(t.Context(), k, nil)
				require.NoError(t, err)
			}
		}
		require.Greater(t, a.cache.Stats().L1Bytes, int64(1<<20))
		require.NoError(t, a.cache.SetMaxBytes(1<<20))
		st := a.cache.Stats()
		require.LessOrEqual(t, st.L1Bytes, int64(1<<19))
		require.Greater(t, st.L1Bytes, int64(1<<18))
		for _, k := range a.keys(300) {
			require.NoError(t, a.cache.Put(t.Context(), k, value))
		}
		st = a.cache.Stats()
		require.LessOrEqual(t, st.Bytes+st.L1Bytes, int64(1<<20))
		require.Greater(t, st.Bytes, int64(1<<18))
	})
}
