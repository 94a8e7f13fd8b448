package sizeof

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net/url"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestSizeClass(t *testing.T) {
	require.Zero(t, Class(0))
	require.Zero(t, Class(-1))
	check := func(n int) {
		want := cap(append([]byte(nil), make([]byte, n)...))
		require.EqualValues(t, want, Class(int64(n)), "%d bytes", n)
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
	for n := int64(1); n < 10_000; n += 7 {
		c := int64(cap(append([]*int(nil), make([]*int, n)...)))
		require.Equal(t, Object(n*wordBytes, true), Object(c*wordBytes, true), "%d pointers", n)
		require.GreaterOrEqual(t, Object(n*wordBytes, true), c*wordBytes)
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

func newRand(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

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
		size := Func[V]()
		accounted := 0
		for _, v := range vs {
			accounted += size("", v)
		}
		ratio := float64(real) / float64(accounted)
		t.Logf("%d values: %d bytes each, accounted %d, ratio %.2f", count, real/count, accounted/count, ratio)
		require.InDelta(t, 1, ratio, 0.26) // what is under 16 bytes may share its block with what is gone
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

// randomType returns a type that is nested depth levels deep, of any kind.
func randomType(r *rand.Rand, depth int) reflect.Type {
	if depth == 0 {
		return scalars[r.IntN(len(scalars))]
	}
	inner := func() reflect.Type { return randomType(r, depth-1) }
	switch r.IntN(7) {
	case 0:
		return reflect.ArrayOf(1+r.IntN(3), inner())
	case 1:
		return reflect.MapOf(keys[r.IntN(len(keys))], inner())
	case 2:
		return reflect.PointerTo(large(inner()))
	case 3:
		fields := make([]reflect.StructField, 1+r.IntN(3))
		for i := range fields {
			fields[i] = reflect.StructField{Name: fmt.Sprint("F", i), Type: inner()}
		}
		return reflect.StructOf(fields)
	case 4:
		return reflect.TypeFor[any]()
	default:
		return reflect.SliceOf(inner())
	}
}

var (
	scalars = []reflect.Type{
		reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](),
		reflect.TypeFor[int64](), reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](),
		reflect.TypeFor[uint64](), reflect.TypeFor[uintptr](), reflect.TypeFor[float32](), reflect.TypeFor[float64](),
		reflect.TypeFor[complex64](), reflect.TypeFor[complex128](), reflect.TypeFor[string](), reflect.TypeFor[string](),
		reflect.TypeFor[string](), reflect.TypeFor[*[3]int](), reflect.TypeFor[[]byte](), reflect.TypeFor[any](),
		reflect.TypeFor[chan int](), reflect.TypeFor[func()](), reflect.TypeFor[unsafe.Pointer](),
	}
	keys = []reflect.Type{reflect.TypeFor[string](), reflect.TypeFor[int](), reflect.TypeFor[[2]string](), reflect.TypeFor[struct{ A, B any }]()}
)

// boxes are what interfaces hold, by depth. They are few, since each type stays in memory.
var boxes = func() (of [6][3]reflect.Type) {
	r := rand.New(rand.NewPCG(1, 1))
	for depth := range of {
		for i := range of[depth] {
			of[depth][i] = large(randomType(r, depth))
		}
	}
	return of
}()

// large returns t or something with it that is no tiny object, of which several share memory.
func large(t reflect.Type) reflect.Type {
	if t.Size() < 16 {
		return reflect.StructOf([]reflect.StructField{{Name: "A", Type: t}, {Name: "B", Type: reflect.TypeFor[[2]int64]()}})
	}
	return t
}

// fill gives v, nested depth levels deep, a random value with about so many leaves.
func fill(r *rand.Rand, v reflect.Value, depth int, leaves float64) {
	t := v.Type()
	mean := max(1, int(math.Pow(leaves, 1/float64(max(depth, 1))))) // elements of a slice or a map
	inside := func(v reflect.Value, of int) { fill(r, v, depth-1, leaves/float64(of)) }
	switch t.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%016x", r.Uint64()) + text(r, 10))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(t, r.IntN(2*mean), 2*mean))
		for i := range v.Len() {
			inside(v.Index(i), mean)
		}
	case reflect.Array:
		for i := range v.Len() {
			inside(v.Index(i), v.Len())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			inside(v.Field(i), v.NumField())
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		for range r.IntN(2 * mean) {
			key, elem := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
			fill(r, key, 0, 1)
			inside(elem, mean)
			v.SetMapIndex(key, elem)
		}
	case reflect.Pointer:
		if r.IntN(4) > 0 {
			v.Set(reflect.New(t.Elem()))
			inside(v.Elem(), 1)
		}
	case reflect.Interface:
		box := reflect.New(boxes[max(depth-1, 0)][r.IntN(3)]).Elem()
		inside(box, 1)
		v.Set(box)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64() >> (64 - t.Bits()))
	}
}

// Whatever a type is made of, and whether the walk comes to its end or not.
func TestSizeofRandomTypes(t *testing.T) {
	const enough = 1 << 20 // bytes, to be seen among what else is on the heap
	for _, leaves := range []float64{1, 300, 10 * walkBound} {
		for depth := range len(boxes) {
			seeds := uint64(3)
			if leaves > walkBound {
				seeds = 1 // they take long
			}
			for seed := range seeds {
				r := rand.New(rand.NewPCG(seed, uint64(depth)))
				typ := large(randomType(r, depth))
				one := func() any {
					v := reflect.New(typ).Elem()
					fill(r, v, depth, leaves)
					return v.Interface()
				}
				few := 0
				for range 3 {
					few += sizeof(one())
				}
				testHeapGrowth(t, fmt.Sprintf("%.0f/%d/%.60s", leaves, depth, typ), 4+3*enough/few, one)
			}
		}
	}
}

// However deep arrays lie in slices, the walk is bounded, and what it doesn't see is estimated.
func TestSizeofArraysInSlices(t *testing.T) {
	r := newRand(t)
	pair := func() [2]string { return [2]string{text(r, 20), text(r, 20)} }
	testHeapGrowth(t, "slices of arrays", 5, func() [][2]string {
		v := make([][2]string, 100_000)
		for i := range v {
			v[i] = pair()
		}
		return v
	})
	testHeapGrowth(t, "arrays in structs in slices", 5, func() []struct{ a, b [2][2]string } {
		v := make([]struct{ a, b [2][2]string }, 50_000)
		for i := range v {
			v[i].a, v[i].b = [2][2]string{pair(), pair()}, [2][2]string{pair(), pair()}
		}
		return v
	})
	testHeapGrowth(t, "rising sizes", 5, func() [][]string {
		v := make([][]string, 1000)
		for i := range v {
			v[i] = make([]string, i)
			for j := range v[i] {
				v[i][j] = text(r, 1+j/10)
			}
		}
		return v
	})
}

func TestWalkIsBounded(t *testing.T) {
	for _, sample := range []bool{false, true} {
		w, looks := walk{left: walkBound, sample: sample}, 0
		var next func(depth int) int64
		next = func(depth int) int64 {
			if looks++; depth == 0 {
				w.left--
				return 1
			}
			return w.elements(3, func(int) int64 { return next(depth - 1) })
		}
		w.elements(10*walkBound, func(int) int64 { return next(3) })
		require.LessOrEqual(t, looks, 2*walkBound)
	}
}

func sizeof[V any](v V) int { return Func[V]()("", v) }

func TestSizeofPointerFree(t *testing.T) {
	require.Zero(t, sizeof(1))
	require.Zero(t, sizeof([10]float64{}))
	require.Zero(t, sizeof(struct {
		a int
		b [3]struct{ c bool }
		d [0]*int
	}{}))

	flat := Func[struct{ a, b int }]()
	require.Zero(t, testing.AllocsPerRun(100, func() { flat("", struct{ a, b int }{}) }))
	bytes, str := Func[[]byte](), Func[string]()
	b, s := make([]byte, 100), "something"
	Class(1)
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
	require.EqualValues(t, 2*Class(7*wordBytes), one)
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
	require.EqualValues(t, walkBound*Class(wordBytes), sizeof(list))
}

// What a value shares with the whole process is not its own, and what a lock guards is not looked
// at.
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
	require.EqualValues(t, Class(2*wordBytes), sizeof(h))

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
		f, v := Func[[]byte](), make([]byte, 100)
		for b.Loop() {
			f("", v)
		}
	})
	b.Run("flat", func(b *testing.B) {
		type flat struct {
			a, b, c string
			n       int
		}
		f, v := Func[flat](), flat{"a", "b", "c", 1}
		for b.Loop() {
			f("", v)
		}
	})
	b.Run("flat pointer", func(b *testing.B) {
		type flat struct {
			a, b, c string
			n       int
		}
		f, v := Func[*flat](), &flat{"a", "b", "c", 1}
		for b.Loop() {
			f("", v)
		}
	})
	b.Run("user", func(b *testing.B) {
		f, v := Func[user](), newUser(r)
		for b.Loop() {
			f("", v)
		}
	})
	b.Run("bound", func(b *testing.B) {
		f, v := Func[[]string](), make([]string, 1_000_000)
		for b.Loop() {
			f("", v)
		}
	})
}

func TestSizeofBeyondAnInt(t *testing.T) {
	large := string(make([]byte, 8<<20))
	total := int64(300 * len(large))
	require.GreaterOrEqual(t, sizeof(slices.Repeat([]string{large}, 300)), int(min(total, math.MaxInt)))
}
