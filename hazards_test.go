package covey

// hazards_test.go plays the interleavings that break a group of caches whose rules have a gap:
// reads against writes, copies, versions. The files beside it do the same: hazards_ring_test.go for
// owners that change, hazards_load_test.go for loads, hazards_http_test.go for what comes over
// plain HTTP.
//
// Each hazard has a number, and one test at least:
//
//	H1   a fetch is joined after a write was acknowledged   TestHazard01JoinAfterAck
//	H2   the holder of a fill right is not asked back       TestHazard02HolderKeepsLoading
//	H3   a copy and its recall overtake each other          TestCopyOnItsWayIsNotKept, TestHazard03LongValueOvertaken
//	H4   an eviction forgets loans                          TestLoanOutlivesEviction
//	H5   a new value is seen before the last old one        TestHazard05NewThenOld
//	H6   processes that stand still                         TestWriteOutwaitsSilentBorrower, TestProcessBorrowerIsStopped, link.TestSilentPeer
//	H7   the owner stands still or is cut off               TestGroupOwnerIsSilent, TestProcessOwnerIsStopped, TestDroppedMemberReturns, TestAlone,
//	                                                        TestHazard07RefusedOwnerReturns
//	H8   rings differ for minutes                           TestHazard08RingsDiffer, TestHazard08OwnerChanges, TestHazard08OnlyItself
//	H9   restarts, reconnects, late operations              TestHazard09OwnerRestarts, TestBorrowerDropsWithTheLink, link.TestHelloWaits
//	H10  versions are compared with something else          TestHazard10Versions; replicas merge nothing: TestReplicas, lincheck
//	H11  tombstones end before copies do                    TestReplicaAtAnOpening; the floor of forgotten, in replica_hold.go
//	H12  replicas that lag behind                           TestReplicas, TestReplicasAtACrash, TestReplicaThatWasLate, lincheck
//	H13  Clear against loads and copies under way           TestHazard13ClearAgainstLoad, TestHazard13ClearAgainstCopy, TestHazard13UnconfirmedClear,
//	                                                        TestHazard13ClearTakesBack
//	H14  what is loaded instead of the owner is kept        TestGroupOwnerIsSilent; there is no gutter yet
//	H15  plain HTTP                                         TestHazard15PlainHTTP, TestHazard15OpenDoors, TestHazard15Relay, TestPlainPassedLoader
//	H16  rights whose load goes wrong                       TestGroupLoaderErrorEndsTheFlight, TestHazard16HolderLeaves, TestHazard16RightPassesOn
//	H17  loaders that wait for each other                   TestHazard17Recursion, TestLoadTimeoutDoesNotWaitForTheLoader, TestNestedLoadsPassTheCap
//	H18  many keys, each caller holding some of them        TestHazard18ManyCrosswise, TestBulkFailureIsItsCallersOwn, TestGetMany
//	H19  what was not found is created                      TestHazard19NotFoundThenPut
//	H20  copies hide the demand from the owner              TestReportedHits, TestWrittenKeysAreNotLent
//	H21  values that cannot be stored, read or shared       TestHazard21Values, TestHazard21UnknownCache; on links: TestCall, TestOverflow, TestHeld

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A database has one row.
type database struct{ row atomic.Value }

// slow returns a loader that reads the row at once and returns it after d.
func (db *database) slow(d time.Duration) Loader[string] {
	return func(context.Context, string) (string, error) {
		v := db.row.Load().(string)
		time.Sleep(d)
		return v, nil
	}
}

// A fetch that the owner has answered is joined by a caller who comes after a
// Delete was acknowledged, and so gets the old value.
func TestHazard01JoinAfterAck(t *testing.T) {
	for _, borrows := range []bool{false, true} {
		inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
			a, b := w.procs[0], w.procs[1]
			k := a.key()
			require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
			if borrows {
				_, err := b.cache.Get(t.Context(), k, nil)
				require.NoError(t, err)
			}
			w.net.SetDelay(10 * time.Millisecond)
			first := make(chan string, 1)
			go func() {
				v, _ := b.cache.Get(t.Context(), k, nil)
				first <- v
			}()
			time.Sleep(15 * time.Millisecond) // the answer is on its way
			require.NoError(t, a.cache.Delete(t.Context(), k))
			_, err := b.cache.Get(t.Context(), k, nil)
			require.ErrorIs(t, err, ErrNoLoader)
			require.Equal(t, "v1", <-first)
			require.Equal(t, borrows, a.cache.Stats().Loans == 1)
		})
	}
}

// The holder of a fill right is loading while a Delete is acknowledged, and
// what it read before is given to those who come later, or stored.
func TestHazard02HolderKeepsLoading(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		var db database
		db.row.Store("v1")
		first := make(chan string, 2)
		for _, p := range []*proc{b, c} { // the holder and one who waits for it
			go func() {
				v, _ := p.cache.Get(t.Context(), k, db.slow(100*time.Millisecond))
				first <- v
			}()
		}
		time.Sleep(50 * time.Millisecond)
		db.row.Store("v2")
		require.NoError(t, c.cache.Delete(t.Context(), k))
		var wg sync.WaitGroup
		for _, p := range w.procs {
			wg.Go(func() {
				v, err := p.cache.Get(t.Context(), k, db.slow(100*time.Millisecond))
				require.NoError(t, err)
				require.Equal(t, "v2", v)
			})
		}
		require.Equal(t, "v1", <-first, "they began before")
		require.Equal(t, "v1", <-first)
		wg.Wait()
		time.Sleep(time.Second)
		v, err := b.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "v2", v)
	})
}

// A long value comes in pieces, between which the recall of that very copy
// overtakes it; the borrower confirms, and keeps it when the last piece is there.
func TestHazard03LongValueOvertaken(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		old := strings.Repeat("x", 1<<20)
		for i, k := range a.keys(10) {
			w.net.SetDelay(0)
			require.NoError(t, a.cache.Put(t.Context(), k, old))
			_, err := b.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
			w.net.SetDelay(10 * time.Millisecond)
			got := make(chan string)
			go func() {
				v, _ := b.cache.Get(t.Context(), k, nil)
				got <- v
			}()
			time.Sleep(time.Duration(i) * 5 * time.Millisecond)
			require.NoError(t, a.cache.Put(t.Context(), k, "v2"))
			<-got
			v, err := b.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
			require.Equal(t, "v2", v)
		}
		require.Positive(t, a.cache.Stats().Recalls, "the test needs it")
	})
}

// A Put shows its value at the owner while a copy of the old one is still in
// use, so that somebody sees the new value and then the old one.
func TestHazard05NewThenOld(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
		borrowAt(t, b, k)
		w.net.SetDelay(10 * time.Millisecond)
		done := make(chan error, 1)
		go func() { done <- c.cache.Put(t.Context(), k, "v2") }()
		seen := make(map[string]int)
		for range 60 {
			v, err := a.cache.Get(t.Context(), k, nil)
			require.NoError(t, err)
			copied, _ := b.cache.Get(t.Context(), k, nil)
			if v == "v2" {
				require.Equal(t, "v2", copied)
			}
			seen[v]++
			time.Sleep(time.Millisecond)
		}
		require.NoError(t, <-done)
		require.Len(t, seen, 2, "the Put came in between")
	})
}

// An owner crashes and is back at once, knowing of no loans, before a borrower
// has noticed: a Delete there is acknowledged while the copy is in use.
func TestHazard09OwnerRestarts(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
		borrowAt(t, b, k)
		w.net.Partition("a", "b") // b hears nothing of the crash
		_ = a.srv.Close()
		a.group.node.Close()
		a.stop()
		a.run()
		require.NoError(t, a.group.Ready(t.Context()))
		require.Equal(t, a.url, c.group.Owner(k), "a restart moves no keys")
		require.NoError(t, a.cache.Delete(t.Context(), k))
		e, ok, _ := b.cache.Lookup(t.Context(), k)
		require.False(t, ok, "%+v", e)
		w.net.Heal("a", "b")
		time.Sleep(time.Minute)
	})
}

// Versions that users give are compared with numbers of the owner's own, or
// forgotten with the value, so that a late Put is taken after a Delete.
func TestHazard10Versions(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		require.NoError(t, b.cache.Put(t.Context(), k, "v5", WithVersion(5)))
		require.NoError(t, c.cache.Delete(t.Context(), k))
		require.ErrorIs(t, b.cache.Put(t.Context(), k, "v4", WithVersion(4)), ErrOutdated)
		v, err := c.cache.Get(t.Context(), k, func(ctx context.Context, _ string) (string, error) {
			LoadInfo(ctx).SetVersion(4)
			return "loaded v4", nil
		})
		require.NoError(t, err)
		require.Equal(t, "loaded v4", v)
		_, ok, err := a.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.False(t, ok, "it was loaded for its caller, not stored")
		require.NoError(t, b.cache.Put(t.Context(), k, "unversioned"))
		require.ErrorIs(t, c.cache.Put(t.Context(), k, "v4", WithVersion(4)), ErrOutdated)
		require.NoError(t, c.cache.Put(t.Context(), k, "v6", WithVersion(6)))
	})
}

// Two callers clear at the same time while an old value is being loaded; the
// second Clear finds the first one's mark and leaves what came in between.
func TestHazard13ClearAgainstLoad(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		var db database
		db.row.Store("v1")
		var keys []string
		var wg sync.WaitGroup
		load := func(want string) {
			for _, k := range keys {
				for _, p := range w.procs {
					wg.Go(func() {
						v, err := p.cache.Get(t.Context(), k, db.slow(100*time.Millisecond))
						require.NoError(t, err)
						require.Equal(t, want, v)
					})
				}
			}
		}
		for _, p := range w.procs {
			keys = append(keys, p.keys(3)...)
		}
		load("v1")
		time.Sleep(50 * time.Millisecond)
		w.net.SetDelay(5 * time.Millisecond)
		db.row.Store("v2")
		cleared := make(chan error, 2)
		for _, p := range w.procs[1:] {
			go func() { cleared <- p.cache.Clear(t.Context()) }()
			time.Sleep(3 * time.Millisecond)
		}
		require.NoError(t, <-cleared)
		db.row.Store("v3")
		require.NoError(t, <-cleared)
		db.row.Store("v4")
		require.NoError(t, w.procs[0].cache.Clear(t.Context()))
		load("v4")
		wg.Wait()
		load("v4") // what was stored in the end
		wg.Wait()
	})
}

// A peer has cleared already, the owner has not, and lends it a copy.
func TestHazard13ClearAgainstCopy(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
		w.net.Partition("a", "c")
		cleared := make(chan error, 1)
		go func() { cleared <- c.cache.Clear(t.Context()) }()
		synctest.Wait()
		borrowAt(t, b, k)
		w.net.Heal("a", "c")
		require.NoError(t, <-cleared)
		e, ok, err := b.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.False(t, ok, "%+v", e)
	})
}

// A Clear that the owner has not heard of is made up for when it is reached; meanwhile it has lent
// a copy to a peer that had cleared.
func TestHazard13UnconfirmedClear(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
		w.net.Partition("a", "c")
		require.ErrorIs(t, c.cache.Clear(t.Context()), ErrUnconfirmed)
		borrowAt(t, b, k)
		require.Equal(t, 1, c.group.Stats().Pursued)
		w.net.Heal("a", "c")
		for c.group.Stats().Pursued > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		for _, p := range w.procs {
			e, ok, err := p.cache.Lookup(t.Context(), k)
			require.NoError(t, err)
			require.False(t, ok, "%s has %+v", p.name, e)
		}
	})
}

// Whoever clears takes back what it has lent, as a Delete of each key does: with one request to
// each borrower, and from one that is silent when its lease is over.
func TestHazard13ClearTakesBack(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		for _, clears := range []*proc{a, c} {
			keys := a.keys(100)
			lend := func() {
				for _, k := range keys {
					require.NoError(t, a.cache.Put(t.Context(), k, "v1"))
					for range 2 * recallPrice * len(w.procs) { // if a write has taken it back it is lent after a while only
						_, err := b.cache.Get(t.Context(), k, nil)
						require.NoError(t, err)
					}
					borrowAt(t, b, k)
				}
			}
			lend()
			before := a.cache.Stats().Recalls
			start := time.Now()
			require.NoError(t, clears.cache.Clear(t.Context()))
			require.Less(t, time.Since(start), time.Second)
			require.EqualValues(t, 1, a.cache.Stats().Recalls-before)
			require.Zero(t, b.cache.Stats().L1Entries)
			require.Zero(t, a.cache.Stats().Entries)

			lend()
			w.net.Partition("a", "b")
			v, err := b.cache.Get(t.Context(), keys[0], nil)
			require.NoError(t, err)
			require.Equal(t, "v1", v, "the lease lasts still")
			start = time.Now()
			require.NoError(t, a.cache.peering.recallAll(t.Context(), nil))
			require.Greater(t, time.Since(start), time.Second)
			require.Less(t, time.Since(start), 3*time.Second)
			_, ok, _ := b.cache.Lookup(t.Context(), keys[0])
			require.False(t, ok)
			w.net.Heal("a", "b")
			w.ready()
		}
	})
}
