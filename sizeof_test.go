package covey

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSizeClass(t *testing.T) {
	require.Zero(t, sizeClass(0))
	require.Zero(t, sizeClass(-1))
	check := func(n int) {
		want := cap(append([]byte(nil), make([]byte, n)...))
		require.Equal(t, want, sizeClass(n), "%d bytes", n)
	}
	for n := 1; n <= 2100; n++ {
		check(n)
	}
	for n := 2100; n < 200_000; n += 113 {
		check(n)
	}
	for _, n := range []int{32 << 10, 40 << 10, 64 << 10} {
		check(n - 1)
		check(n)
		check(n + 1)
	}
}

func TestAllocSizeWithPointers(t *testing.T) {
	for n := 1; n < 10_000; n += 7 {
		c := cap(append([]*int(nil), make([]*int, n)...))
		require.Equal(t, allocSize(n*wordBytes, true), allocSize(c*wordBytes, true), "%d pointers", n)
		require.GreaterOrEqual(t, allocSize(n*wordBytes, true), c*wordBytes)
	}
}

type user struct {
	ID    int
	Name  string
	Email string
	Roles []string
	Attrs map[string]string
	Born  time.Time
}

func text(r *rand.Rand, n int) string { return string(make([]byte, n+r.IntN(n))) }

func newUser(r *rand.Rand) user {
	u := user{Name: text(r, 10), Email: text(r, 20), Attrs: map[string]string{}, Born: time.Now()}
	for range r.IntN(5) {
		u.Roles = append(u.Roles, text(r, 8))
	}
	for i := range r.IntN(20) {
		u.Attrs[fmt.Sprint("attribute ", i)] = text(r, 8)
	}
	return u
}

type tree struct {
	Left, Right *tree
	Label       *string
	weights     []float64
}

func newTree(r *rand.Rand, depth int) *tree {
	label := text(r, 12)
	n := &tree{Label: &label, weights: make([]float64, r.IntN(6))}
	if depth > 0 {
		n.Left, n.Right = newTree(r, depth-1), newTree(r, depth-1)
	}
	return n
}

func newMap[K comparable, E any](n int, key func(int) K, elem func(int) E) map[K]E {
	m := map[K]E{}
	for i := range n {
		m[key(i)] = elem(i)
	}
	return m
}

// heapGrowth returns what count values made by one hold on the heap, beyond the values themselves.
func heapGrowth[V any](count int, one func() V) (vs []V, bytes int) {
	var before, after runtime.MemStats
	vs = make([]V, count)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range vs {
		vs[i] = one()
	}
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return vs, int(after.HeapAlloc) - int(before.HeapAlloc)
}

func testHeapGrowth[V any](t *testing.T, name string, count int, one func() V) {
	t.Run(name, func(t *testing.T) {
		vs, real := heapGrowth(count, one)
		size := sizeofFunc[V]()
		accounted := 0
		for _, v := range vs {
			accounted += size("", v)
		}
		ratio := float64(real) / float64(accounted)
		t.Logf("%d values: %d bytes each, accounted %d, ratio %.2f", count, real/count, accounted/count, ratio)
		require.InDelta(t, 1, ratio, 0.23)
		runtime.KeepAlive(vs)
	})
}

// What is accounted is what the heap grows by.
func TestSizeofAgainstHeap(t *testing.T) {
	r := newRand(t)
	number := func(i int) int { return i }
	testHeapGrowth(t, "bytes 100", 20_000, func() []byte { return make([]byte, 100) })
	testHeapGrowth(t, "bytes 10K", 10_000, func() []byte { return make([]byte, 10_000) })
	testHeapGrowth(t, "bytes mixed", 10_000, func() []byte { return make([]byte, 1<<r.IntN(14)+r.IntN(100), 1<<14) })
	testHeapGrowth(t, "bytes log", 10_000, func() []byte { return make([]byte, 16+1<<r.IntN(14)) })
	testHeapGrowth(t, "string", 20_000, func() string { return text(r, 50) })
	testHeapGrowth(t, "floats", 10_000, func() []float64 { return make([]float64, r.IntN(300)) })
	testHeapGrowth(t, "struct", 10_000, func() user { return newUser(r) })
	testHeapGrowth(t, "pointer to struct", 10_000, func() *user { u := newUser(r); return &u })
	testHeapGrowth(t, "slice of structs", 10_000, func() []user { return []user{newUser(r), newUser(r)} })
	testHeapGrowth(t, "tree", 10_000, func() *tree { return newTree(r, 3) })
	testHeapGrowth(t, "interface", 10_000, func() any {
		switch r.IntN(4) {
		case 0:
			return newUser(r)
		case 1:
			return newTree(r, 1)
		case 2:
			return text(r, 30)
		default:
			return map[string]any{"a": r.Float64(), "b": []any{text(r, 10), r.Float64()}, "c": map[string]any{}}
		}
	})
	testHeapGrowth(t, "pointers", 10_000, func() []*int { return make([]*int, 100, 100+r.IntN(100)) })
	testHeapGrowth(t, "array", 10_000, func() [3][]byte { return [3][]byte{make([]byte, 10), nil, make([]byte, r.IntN(500))} })
	for _, n := range []int{1, 8, 9, 14, 15, 28, 100, 500, 900, 2000, 5000} {
		testHeapGrowth(t, fmt.Sprintf("map of %d", n), 10_000/n+20, func() map[int]int { return newMap(n, number, number) })
	}
	testHeapGrowth(t, "maps", 10_000, func() map[string][]byte {
		return newMap(r.IntN(100), func(i int) string { return fmt.Sprint("key ", i) }, func(int) []byte { return make([]byte, r.IntN(50)) })
	})
	testHeapGrowth(t, "sets", 10_000, func() map[string]struct{} {
		return newMap(r.IntN(100), func(i int) string { return fmt.Sprint("key ", i) }, func(int) struct{} { return struct{}{} })
	})
	testHeapGrowth(t, "large elements", 5_000, func() map[int][200]byte {
		return newMap(r.IntN(50), number, func(int) [200]byte { return [200]byte{} })
	})
	testHeapGrowth(t, "beyond the bound", 5, func() []string {
		ss := make([]string, 200_000)
		for i := range ss {
			ss[i] = text(r, 20)
		}
		return ss
	})
	testHeapGrowth(t, "nested beyond the bound", 5, func() [][]string {
		return [][]string{nil, make([]string, 10_000), nil}
	})
}

func sizeof[V any](v V) int { return sizeofFunc[V]()("", v) }

func TestSizeofPointerFree(t *testing.T) {
	require.Zero(t, sizeof(1))
	require.Zero(t, sizeof([10]float64{}))
	require.Zero(t, sizeof(struct {
		a int
		b [3]struct{ c bool }
		d [0]*int
	}{}))

	flat := sizeofFunc[struct{ a, b int }]()
	require.Zero(t, testing.AllocsPerRun(100, func() { flat("", struct{ a, b int }{}) }))
	bytes, str := sizeofFunc[[]byte](), sizeofFunc[string]()
	b, s := make([]byte, 100), "something"
	sizeClass(1)
	require.Zero(t, testing.AllocsPerRun(100, func() { bytes("", b); str("", s) }))
}

func TestSizeofNil(t *testing.T) {
	require.Zero(t, sizeof[*int](nil))
	require.Zero(t, sizeof[[]byte](nil))
	require.Zero(t, sizeof([]string{}))
	require.Zero(t, sizeof[map[string]int](nil))
	require.Zero(t, sizeof[any](nil))
	require.Zero(t, sizeof[error](nil))
	require.Zero(t, sizeof(""))
	require.Zero(t, sizeof(user{}))
	require.Zero(t, sizeof[func()](nil))
	require.Zero(t, sizeof(make(chan int, 100)))
}

func TestSizeofSharesAndCycles(t *testing.T) {
	type ring struct {
		next *ring
		all  map[string]*ring
		self any
		list []*ring
	}
	a, b := &ring{}, &ring{}
	a.next, b.next = b, a
	one := sizeof(a)
	require.Equal(t, 2*sizeClass(7*wordBytes), one)
	a.all = map[string]*ring{"a": a, "b": b}
	a.self, b.self = a, any(a)
	a.list = []*ring{a, b, a, b}
	b.list = a.list
	require.Greater(t, sizeof(a), one)
	require.Less(t, sizeof(a), one+1000)

	cyclic := []any{nil}
	cyclic[0] = cyclic
	require.Less(t, sizeof(cyclic), 100)
	var p any
	p = &p
	require.Less(t, sizeof(p), 100)
}

// A chain is followed to the bound and no further, on a stack that fits.
func TestSizeofLongChain(t *testing.T) {
	type cell struct{ next *cell }
	var list *cell
	for range 1_000_000 {
		list = &cell{list}
	}
	require.Equal(t, walkBound*sizeClass(wordBytes), sizeof(list))
}

// What a value shares with the whole process is not its own, and what a lock guards is not looked at.
func TestSizeofLeavesAlone(t *testing.T) {
	require.Zero(t, sizeof(time.Now()))
	require.Zero(t, sizeof(time.Now().In(time.FixedZone("here", 3600))))

	var p atomic.Pointer[user]
	p.Store(&user{Name: "somebody"})
	require.Zero(t, sizeof(&p))
	var v atomic.Value
	v.Store("text")
	require.Zero(t, sizeof(&v))
	type holder struct{ v atomic.Value }
	h := &holder{}
	h.v.Store("text")
	require.Equal(t, sizeClass(2*wordBytes), sizeof(h))

	type guardedMap struct {
		mu sync.RWMutex
		m  map[int]int
	}
	type embeds struct {
		*url.URL
		guardedMap
	}
	type session struct {
		g *guardedMap
		e *embeds
	}
	g, e := &guardedMap{m: map[int]int{}}, &embeds{URL: &url.URL{Host: "host"}}
	e.m = g.m
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() { // reading the map now would be the end of the process
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				g.mu.Lock()
				g.m[i%100] = i
				g.mu.Unlock()
				p.Store(&user{})
				v.Store("other")
			}
		}
	})
	for range 1000 {
		require.Less(t, sizeof(session{g, e}), 200)
		sizeof(&p)
		sizeof(&v)
	}
	close(stop)
	wg.Wait()
}

// Nothing that can be a value makes it panic.
func TestSizeofOddValues(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, []byte("v")))
	defer cancel()
	for _, v := range []any{
		ctx, t, errors.Join(errors.New("a"), fmt.Errorf("b: %w", context.Canceled)),
		big.NewInt(1).Lsh(big.NewInt(1), 1000), func() {}, make(chan any), [0]string{}, [1]*int{}, []struct{}{{}, {}},
		map[any]any{1: "a", "b": nil, [2]string{}: []any{}}, map[float64]string{0: ""}, struct{ v any }{map[string]func(){"f": nil}},
		&[]any{nil}, new(sync.Mutex), new(sync.Map), &struct{ m map[[200]byte]any }{map[[200]byte]any{{}: 1}},
		rand.New(rand.NewPCG(1, 2)), time.NewTimer(0), newTree(rand.New(rand.NewPCG(1, 2)), 2),
	} {
		require.GreaterOrEqual(t, sizeof(v), 0, "%T", v)
	}
}

func BenchmarkSizeof(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	b.Run("bytes", func(b *testing.B) {
		f, v := sizeofFunc[[]byte](), make([]byte, 100)
		for b.Loop() {
			f("", v)
		}
	})
	b.Run("flat", func(b *testing.B) {
		type flat struct {
			a, b, c string
			n       int
		}
		f, v := sizeofFunc[flat](), flat{"a", "b", "c", 1}
		for b.Loop() {
			f("", v)
		}
	})
	b.Run("flat pointer", func(b *testing.B) {
		type flat struct {
			a, b, c string
			n       int
		}
		f, v := sizeofFunc[*flat](), &flat{"a", "b", "c", 1}
		for b.Loop() {
			f("", v)
		}
	})
	b.Run("user", func(b *testing.B) {
		f, v := sizeofFunc[user](), newUser(r)
		for b.Loop() {
			f("", v)
		}
	})
	b.Run("bound", func(b *testing.B) {
		f, v := sizeofFunc[[]string](), make([]string, 1_000_000)
		for b.Loop() {
			f("", v)
		}
	})
}
