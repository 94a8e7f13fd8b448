package covey

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// Processes that know of different others come to one view as long as each of them is known to
// somebody, directly or not; and then a write by one of them is seen by all.
func TestListsDiffer(t *testing.T) {
	t.Parallel()
	for i, lists := range []string{
		"abd abd abc abd", // c knows a and b, who do not know it
		"abd abd abc cd",
		"ab abc cd d", // a chain
		"a ab ac ad",  // all know one
	} {
		for _, order := range []string{"abcd", "dcba", "cadb"} {
			t.Run(lists+" "+order, func(t *testing.T) {
				inLists(t, lists, order, time.Duration(i)*300*time.Millisecond, seesAllWrites)
			})
		}
	}
}

// All lists of three processes, and some of four.
func TestListsEnumerated(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 64 {
		of := [3]int{i & 3, i >> 2 & 3, i >> 4 & 3}
		enumerated(t, of[:], random)
	}
	for range 12 {
		enumerated(t, []int{random.IntN(8), random.IntN(8), random.IntN(8), random.IntN(8)}, random)
	}
}

// enumerated runs a world in which the i-th process lists itself and those others of which a bit is
// set in of[i].
func enumerated(t *testing.T, of []int, random *rand.Rand) {
	n := len(of)
	lists, order := "", ""
	linked := make([]int, n) // to whom, as bits
	for i := range of {
		lists += string(rune('a' + i))
		for j, bit := 0, 0; j < n; j++ {
			if j == i {
				continue
			}
			if of[i]>>bit&1 != 0 {
				lists += string(rune('a' + j))
				linked[i] |= 1 << j
				linked[j] |= 1 << i
			}
			bit++
		}
		lists += " "
	}
	reached := 1
	for range n {
		for i := range n {
			if reached>>i&1 != 0 {
				reached |= linked[i]
			}
		}
	}
	if reached != 1<<n-1 {
		return // there are two groups that do not know of each other
	}
	for _, i := range random.Perm(n) {
		order += string(rune('a' + i))
	}
	pause := time.Duration(random.IntN(4)) * 700 * time.Millisecond
	t.Run(fmt.Sprint(lists, order, " ", pause), func(t *testing.T) { inLists(t, lists, order, pause, seesAllWrites) })
}

// inLists starts processes in an order, each of which lists the members that lists has for it, and
// waits until they are one group.
func inLists(t *testing.T, lists, order string, pause time.Duration, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New()}
		defer w.close()
		of := make(map[string]string)
		for i, name := 0, ""; i < len(lists); i++ {
			switch {
			case lists[i] == ' ':
				name = ""
				continue
			case name == "":
				name = string(rune('a' + len(of)))
			}
			of[name] += string(lists[i])
		}
		for _, name := range order {
			r := make(roster, 1)
			r <- members(of[string(name)])
			w.start(string(name), r)
			time.Sleep(pause)
		}
		w.ready()
		epoch := w.procs[0].group.Stats().Epoch
		for _, p := range w.procs {
			require.Equal(t, epoch, p.group.Stats().Epoch)
		}
		f(t, w)
	})
}

// seesAllWrites sees that no process has an old value, or a copy of it, after a write.
func seesAllWrites(t *testing.T, w *world) {
	var keys []string
	for _, p := range w.procs {
		keys = append(keys, p.keys(2)...)
	}
	for i, writer := range w.procs {
		old := fmt.Sprint("old", i)
		for _, k := range keys {
			require.NoError(t, w.procs[0].cache.Put(t.Context(), k, old))
			for _, p := range w.procs {
				wanted(t, p, k)
			}
			var err error
			if k == keys[0] {
				err = writer.cache.Delete(t.Context(), k)
			} else {
				err = writer.cache.Put(t.Context(), k, "new")
			}
			require.NoError(t, err)
			for _, p := range w.procs {
				v, _ := p.cache.Get(t.Context(), k, nil)
				require.NotEqual(t, old, v, "key %s at %s, written by %s", k, p.name, writer.name)
			}
		}
		for _, k := range keys {
			require.NoError(t, writer.cache.Put(t.Context(), k, old))
			for _, p := range w.procs {
				wanted(t, p, k)
			}
		}
		require.NoError(t, writer.cache.Clear(t.Context()))
		for _, k := range keys {
			for _, p := range w.procs {
				_, ok, err := p.cache.Lookup(t.Context(), k)
				require.NoError(t, err)
				require.False(t, ok, "key %s at %s, cleared by %s", k, p.name, writer.name)
			}
		}
	}
}

// A discovery that drops a member which lives, and lists it again, changes nothing.
func TestFlappingListChangesNothing(t *testing.T) {
	inRosters(t, 3, "abc", Options[string]{}, func(t *testing.T, w *world) {
		w.ready()
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		keys := append(append(a.keys(3), b.keys(3)...), c.keys(3)...)
		for _, k := range keys {
			require.NoError(t, a.cache.Put(t.Context(), k, "v"))
		}
		borrowAt(t, a, keys[3])
		epoch := a.group.Stats().Epoch
		unchanged := func() {
			for _, p := range w.procs {
				require.Equal(t, epoch, p.group.Stats().Epoch)
				require.Len(t, p.group.view.Load().ring.members, 3)
				require.True(t, p.group.isActing())
				for _, k := range keys {
					v, err := p.cache.Get(t.Context(), k, nil)
					require.NoError(t, err)
					require.Equal(t, "v", v)
				}
			}
		}
		for _, lists := range [][3]string{{"ac", "abc", "abc"}, {"ac", "b", "ac"}, {"a", "b", "c"}, {"abc", "abc", "abc"}} {
			for i, p := range w.procs {
				p.list(lists[i])
			}
			for range 5 {
				time.Sleep(time.Second)
				unchanged()
			}
			e, ok, err := a.cache.Lookup(t.Context(), keys[3])
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, SourceL1, e.Source, "the copy is still there")
		}
	})
}
