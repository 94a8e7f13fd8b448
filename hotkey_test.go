package covey

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Everybody in the group sees the same top, of the keys of all owners and of what is asked at all
// of them.
func TestGroupHotKeys(t *testing.T) {
	for _, o := range []Options[string]{{}, {Replicas: 2, ReadFrom: ReadFromAny}} {
		t.Run(fmt.Sprint("replicas ", o.Replicas), func(t *testing.T) { testHotKeys(t, o) })
	}
}

func testHotKeys(t *testing.T, o Options[string]) {
	inWorld(t, 3, o, func(t *testing.T, w *world) {
		const hot, perSec = 9, 2000 // of the hottest
		owners := make(map[string]bool)
		for i := range 3 * hot {
			k := fmt.Sprint("user:", i)
			require.NoError(t, w.procs[0].cache.Put(t.Context(), k, "v"))
			if i < hot {
				owners[w.procs[0].group.Owner(k)] = true
			}
		}
		require.Greater(t, len(owners), 1, "the test needs it")
		rng := rand.New(rand.NewPCG(5, 6))
		for range 12 * 20 {
			for i := range 3 * hot {
				for range perSec / 20 / (i + 1) {
					v, err := w.procs[rng.IntN(3)].cache.Get(t.Context(), fmt.Sprint("user:", i), nil)
					require.NoError(t, err)
					require.Equal(t, "v", v)
				}
			}
			time.Sleep(time.Second / 20)
		}
		time.Sleep(time.Second) // all is reported
		synctest.Wait()
		first := w.procs[0].group.HotKeys()
		for _, p := range w.procs[1:] {
			for i, h := range p.group.HotKeys()[:hot] {
				require.Equal(t, first[i].Key, h.Key, "all see the same")
				require.InEpsilon(t, first[i].Rate, h.Rate, 0.001)
			}
		}
		seen := make(map[string]bool)
		for _, h := range first {
			require.False(t, seen[h.Key], "%s is there twice", h.Key)
			seen[h.Key] = true
		}
		sure, off := 3, 0.2
		if o.Replicas > 1 { // of hits one of 64 is counted
			sure, off = 1, 0.5
		}
		for i, h := range first[:sure] {
			require.Equal(t, HotKey{Cache: "test", Key: fmt.Sprint("user:", i), Rate: h.Rate}, h)
			require.InEpsilon(t, perSec/(i+1), h.Rate, off)
		}
		var top []string
		for _, h := range first[:hot] {
			top = append(top, h.Key)
		}
		for i := range hot - 4 { // the others may be neighbours in another order
			require.Contains(t, top, fmt.Sprint("user:", i))
		}

		if o.Replicas > 1 {
			return // others answer for the keys of who is silent
		}
		// One that is silent is not waited for.
		gone := w.procs[0].group.Owner("user:0")
		for _, p := range w.procs {
			if p.url == gone {
				w.net.Pause(p.name)
				defer time.Sleep(10 * time.Second)
				defer w.net.Resume(p.name)
			}
		}
		for _, p := range w.procs {
			if p.url != gone {
				start := time.Now()
				require.NotContains(t, fmt.Sprint(p.group.HotKeys()), "user:0 ")
				require.LessOrEqual(t, time.Since(start), time.Second)
			}
		}
	})
}

// Of hot keys with values that nobody copies it is said so.
func TestHotKeysTooLargeForCopies(t *testing.T) {
	inWorld(t, 3, Options[string]{MaxBytes: 1 << 20, L1: 80_000}, func(t *testing.T, w *world) {
		sizes := map[string]int{"small": 9000, "large": 11_000}
		for key, size := range sizes {
			require.NoError(t, w.procs[0].cache.Put(t.Context(), key, strings.Repeat("v", size)))
			for range 2000 {
				for _, p := range w.procs {
					_, err := p.cache.Get(t.Context(), key, nil)
					require.NoError(t, err)
				}
			}
		}
		time.Sleep(time.Second) // all is reported
		synctest.Wait()
		for _, p := range w.procs {
			said := make(map[string]bool)
			for _, h := range p.group.HotKeys() {
				said[h.Key] = h.TooLarge
			}
			require.Equal(t, map[string]bool{"small": false, "large": true}, said)
		}
	})
}

// What an owner hears first is which copies are used most, however many there are, and of those
// that have left all there is to hear.
func TestReportsOfHits(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		owner, c := w.procs[0], w.procs[1].cache
		keys := owner.keys(20)
		get := func(key string, times int) {
			for range times {
				_, err := c.Get(t.Context(), key, func(context.Context, string) (string, error) { return "v", nil })
				require.NoError(t, err)
			}
		}
		for _, key := range keys {
			get(key, 10)
		}
		require.EqualValues(t, len(keys), c.Stats().L1Entries)
		l, err := w.procs[1].group.view.Load().peers[w.procs[1].group.view.Load().ring.owner(ringHash(keys[0]))].Link(t.Context())
		require.NoError(t, err)
		report := func(most int) map[string]uint64 {
			c.copies.looked = -lookEvery // it is time to look
			got := make(map[string]uint64)
			c.peering.reportHits(l, func(_ uint16, key string, hits uint64) bool {
				if len(got) == most {
					return false
				}
				got[key] += hits
				return true
			})
			return got
		}
		all := report(100)
		require.Len(t, all, len(keys))
		require.Empty(t, report(100))

		for _, key := range keys {
			get(key, 2)
		}
		hot := keys[7]
		get(hot, 2*reportFrom)
		first := report(1)
		require.Contains(t, first, hot)
		require.GreaterOrEqual(t, first[hot], uint64(reportFrom))
		first = report(100)
		require.Len(t, first, len(keys), "the others, and the rest of it")

		get(keys[3], 5)
		require.NoError(t, owner.cache.Put(t.Context(), keys[3], "new"))
		require.Equal(t, map[string]uint64{keys[3]: 5}, report(1))
		require.Empty(t, report(100))
	})
}
