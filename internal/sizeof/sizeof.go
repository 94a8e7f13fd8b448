// Package sizeof says how many bytes values hold on the heap, as the allocator sees it. It knows no
// cache.
package sizeof

import (
	"math"
	"math/bits"
	"reflect"
	"strings"
	"sync"
	"unsafe"
)

// Class returns what the allocator takes for an object of n bytes without pointers.
func Class(n int64) int64 {
	switch {
	case n <= 0:
		return 0
	case n <= fineSizes:
		return int64(sizeClasses().fine[(n+7)/8])
	case n <= smallSizes:
		return int64(sizeClasses().coarse[(n-fineSizes+127)/128])
	}
	return (n + pageSize - 1) &^ (pageSize - 1)
}

// Object is Class for any type of object: one with pointers gets a
// header, unless it is so small that its bitmap lies elsewhere.
func Object(n int64, pointers bool) int64 {
	const header = 8
	if pointers && n > wordBytes*wordBytes*8 && n <= smallSizes-header {
		n += header
	}
	return Class(n)
}

// The allocator's classes are multiples of 8 up to fineSizes and of 128 up to
// smallSizes; beyond, an object takes whole pages.
const (
	fineSizes  = 1 << 10
	smallSizes = 32 << 10
	pageSize   = 8 << 10
	wordBytes  = int64(unsafe.Sizeof(uintptr(0)))
)

type sizeClassTable struct {
	fine   [fineSizes/8 + 1]uint16
	coarse [(smallSizes-fineSizes)/128 + 1]uint16
}

// sizeClasses asks the allocator for its classes, once for each: append uses
// all of the memory that it gets.
var sizeClasses = sync.OnceValue(func() *sizeClassTable {
	t := new(sizeClassTable)
	for n := 1; n <= smallSizes; {
		class := cap(append([]byte(nil), make([]byte, n)...))
		for ; n <= min(class, fineSizes); n++ {
			t.fine[(n+7)/8] = uint16(class)
		}
		for ; n <= min(class, smallSizes); n++ {
			t.coarse[(n-fineSizes+127)/128] = uint16(class)
		}
	}
	return t
})

// Func returns the default of Options.Size: the bytes that a value holds
// beyond the V itself. That is exact for strings and for slices of elements
// without pointers, taken to begin where their arrays begin, and 0 for a V
// without pointers.
//
// Other values are walked. What is reached twice counts once, but for strings
// and boxed values; what several values share counts for each of them,
// constants included. Channels, functions and unsafe.Pointers are not followed;
// see also opaque and guarded.
//
// A walk looks at walkBound references at most. If there are more, a second one
// estimates: it looks at some elements of each slice, array and map, and takes
// the others to be like them. What is reached twice then counts in proportion,
// and of a longer chain or tree of pointers the end is not counted.
//
// Objects of less than 8 bytes count 8, though several may share them.
func Func[V any]() func(key string, v V) int {
	t := reflect.TypeFor[V]()
	if t.Kind() == reflect.String {
		return func(_ string, v V) int { return asInt(Class(int64(len(*(*string)(unsafe.Pointer(&v)))))) }
	}
	if t.Kind() == reflect.Slice && !hasPointers(t.Elem()) {
		elem := int64(t.Elem().Size())
		return func(_ string, v V) int { return asInt(Class(int64(cap(*(*[]byte)(unsafe.Pointer(&v)))) * elem)) }
	}
	s := new(sizers)
	walkV := s.of(t)
	if walkV == nil {
		return func(string, V) int { return 0 }
	}
	return func(_ string, v V) int {
		of := reflect.ValueOf(&v).Elem()
		whole := walk{left: walkBound}
		sum := walkV(&whole, of)
		if whole.left <= 0 {
			sum = max(sum, walkV(&walk{left: walkBound, sample: true}, of))
		}
		return asInt(sum)
	}
}

const walkBound = 10_000

// asInt returns n or, where an int has 32 bits, the largest one.
func asInt(n int64) int { return int(min(n, math.MaxInt)) }

// A walk is one pass over a value.
type walk struct {
	left   int  // references that may still be looked at
	sample bool // spread them over the value, and estimate the rest
	seen   map[reference]struct{}
}

type reference struct {
	to unsafe.Pointer
	as reflect.Type
}

// visit reports whether v, a pointer, slice or map that is not nil, comes for the first time.
func (w *walk) visit(v reflect.Value) bool {
	r := reference{v.UnsafePointer(), v.Type()}
	if _, ok := w.seen[r]; ok {
		return false
	}
	if w.seen == nil {
		w.seen = make(map[reference]struct{})
	}
	w.seen[r] = struct{}{}
	return true
}

// elements adds up what next returns for n elements.
func (w *walk) elements(n int, next func(i int) int64) int64 {
	step, least := 1, walkBound
	if w.sample {
		step, least = stride(n), sampleLeast
	}
	sum, i, k := int64(0), 0, 0
	for ; k < n && w.left > 0; k++ {
		rest := w.spare(n-k, least)
		sum += next(i)
		w.left += rest
		i = (i + step) % n
	}
	if !w.sample || k == 0 || k == n {
		return sum
	}
	return int64(min(float64(sum)*float64(n)/float64(k), maxEstimate))
}

const (
	sampleLeast = 64      // references that an element may look at, since it needs some to be worth a look
	maxEstimate = 1 << 47 // bytes: more than there are, and a sum of them does not overflow
)

// spare leaves the next of n parts its share, at least so much of what there is, and returns the
// rest.
func (w *walk) spare(n, least int) (rest int) {
	rest = max(w.left-max(w.left/n, least), 0)
	w.left -= rest
	return rest
}

// stride returns a step by which one gets to all of n indices, and from the
// first few on to such as are spread evenly: about n times the golden ratio.
func stride(n int) int {
	step := max(1, int(float64(n)*(math.Phi-1)))
	for gcd(step, n) > 1 {
		step++
	}
	return step
}

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

// A sizer returns the bytes that v refers to, directly or not. It is nil for types without
// references.
type sizer func(w *walk, v reflect.Value) int64

// sizers makes each type's sizer once.
type sizers struct {
	byType sync.Map // reflect.Type -> sizer
}

func (s *sizers) of(t reflect.Type) sizer {
	if f, ok := s.byType.Load(t); ok {
		return f.(sizer)
	}
	f := s.make(t)
	s.byType.Store(t, f)
	return f
}

func (s *sizers) make(t reflect.Type) sizer {
	if opaque(t) || guarded(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return sizeofString
	case reflect.Pointer:
		return s.pointer(t)
	case reflect.Slice:
		return s.slice(t)
	case reflect.Map:
		return s.mapping(t)
	case reflect.Interface:
		return s.boxed
	case reflect.Array:
		return s.array(t)
	case reflect.Struct:
		return s.fields(t)
	}
	return nil
}

// later is the sizer of a type that may lead back to the type that asks for it.
func (s *sizers) later(t reflect.Type) func() sizer {
	return sync.OnceValue(func() sizer { return s.of(t) })
}

func sizeofString(w *walk, v reflect.Value) int64 {
	w.left--
	return Class(int64(v.Len()))
}

func (s *sizers) pointer(t reflect.Type) sizer {
	if opaque(t.Elem()) {
		return nil
	}
	self := Object(int64(t.Elem().Size()), hasPointers(t.Elem()))
	elem := s.later(t.Elem())
	return func(w *walk, v reflect.Value) int64 {
		w.left--
		if v.IsNil() || !w.visit(v) {
			return 0
		}
		if f := elem(); f != nil && w.left > 0 {
			return self + f(w, v.Elem())
		}
		return self
	}
}

func (s *sizers) slice(t reflect.Type) sizer {
	size, pointers := int64(t.Elem().Size()), hasPointers(t.Elem())
	elem := s.later(t.Elem())
	return func(w *walk, v reflect.Value) int64 {
		w.left--
		if v.Cap() == 0 || !w.visit(v) {
			return 0
		}
		sum := Object(int64(v.Cap())*size, pointers)
		if f := elem(); f != nil {
			sum += w.elements(v.Len(), func(i int) int64 { return f(w, v.Index(i)) })
		}
		return sum
	}
}

func (s *sizers) array(t reflect.Type) sizer {
	f := s.of(t.Elem())
	if f == nil || t.Len() == 0 {
		return nil
	}
	return func(w *walk, v reflect.Value) int64 {
		return w.elements(v.Len(), func(i int) int64 { return f(w, v.Index(i)) })
	}
}

func (s *sizers) fields(t reflect.Type) sizer {
	type field struct {
		index int
		sizer sizer
	}
	var fields []field
	for i := range t.NumField() {
		if f := s.of(t.Field(i).Type); f != nil {
			fields = append(fields, field{i, f})
		}
	}
	if fields == nil {
		return nil
	}
	return func(w *walk, v reflect.Value) int64 {
		sum := int64(0)
		for i, f := range fields {
			rest := 0
			if w.sample {
				rest = w.spare(len(fields)-i, 0)
			}
			sum += f.sizer(w, v.Field(f.index))
			w.left += rest
		}
		return sum
	}
}

func (s *sizers) boxed(w *walk, v reflect.Value) int64 {
	w.left--
	if v.IsNil() {
		return 0
	}
	v = v.Elem()
	t, sum := v.Type(), int64(0)
	if !isPointer(t) {
		sum = Object(int64(t.Size()), hasPointers(t))
	}
	if f := s.of(t); f != nil && w.left > 0 {
		sum += f(w, v)
	}
	return sum
}

// mapping follows the layout of internal/runtime/maps: up to 8 elements are one
// group of 8 slots and 8 bytes that describe them; more are in tables of groups.
// A table grows by doubling when it is 7/8 full and splits in two at 1024 slots.
// A map that has been larger holds more than can be seen from here.
func (s *sizers) mapping(t reflect.Type) sizer {
	const (
		slots     = 8
		load      = 7 // of 8
		tableMax  = 1024
		header    = 5*8 + 8
		tableSize = 4 * 8
		indirect  = 128 // larger keys and elements have objects of their own
	)
	apart := int64(0)
	inline := func(t reflect.Type) (size, align int64, pointers bool) {
		if t.Size() <= indirect {
			return int64(t.Size()), int64(t.Align()), hasPointers(t)
		}
		apart += Object(int64(t.Size()), hasPointers(t))
		return wordBytes, wordBytes, true
	}
	keySize, keyAlign, keyPointers := inline(t.Key())
	elemSize, elemAlign, elemPointers := inline(t.Elem())
	align := max(keyAlign, elemAlign)
	slot := (keySize+elemAlign-1)&^(elemAlign-1) + max(elemSize, 1) // an empty last field is padded
	group := 8 + slots*((slot+align-1)&^(align-1))
	pointers := keyPointers || elemPointers

	key, elem := s.later(t.Key()), s.later(t.Elem())
	return func(w *walk, v reflect.Value) int64 {
		w.left--
		if v.IsNil() || !w.visit(v) {
			return 0
		}
		n := int64(v.Len())
		sum := header + n*apart
		switch {
		case n == 0:
			return sum
		case n <= slots:
			sum += Object(group, pointers)
		default:
			tables := powerOf2(ceilDiv(n, tableMax/slots*load))
			capacity := powerOf2(ceilDiv(ceilDiv(n, tables)*slots, load))
			sum += Object(tables*wordBytes, true)
			sum += tables * (Object(tableSize, true) + Object(capacity/slots*group, pointers))
		}
		keys, elems := key(), elem()
		if keys == nil && elems == nil {
			return sum
		}
		each := v.MapRange()
		return sum + w.elements(v.Len(), func(int) int64 {
			sum := int64(0)
			if !each.Next() {
				return 0
			}
			if keys != nil {
				sum += keys(w, each.Key())
			}
			if elems != nil {
				sum += elems(w, each.Value())
			}
			return sum
		})
	}
}

func ceilDiv(n, by int64) int64 { return (n + by - 1) / by }

func powerOf2(n int64) int64 { return 1 << bits.Len64(uint64(n-1)) }

// opaque says that values of t are not followed, and that what pointers to them point to
// is not counted: locks and atomics must not be read in passing, and the other types
// are shared by the whole process.
func opaque(t reflect.Type) bool {
	switch t.PkgPath() {
	case "sync", "sync/atomic", "internal/sync", "reflect", "unique", "weak":
		return true
	case "time":
		return t.Name() == "Location"
	}
	return strings.HasPrefix(t.PkgPath(), "google.golang.org/protobuf/internal/") // a message's link to its type
}

// guarded says that values of t have a lock. Reading them without it could be
// a race, so what they refer to is not counted.
func guarded(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if ft.PkgPath() == "sync" || f.Anonymous && guarded(f.Type) {
			return true
		}
	}
	return false
}

func hasPointers(t reflect.Type) bool {
	switch k := t.Kind(); k {
	case reflect.Array:
		return t.Len() > 0 && hasPointers(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if hasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	default:
		return k < reflect.Bool || k > reflect.Complex128
	}
}

// isPointer says that an interface holds values of t itself, not in a box.
func isPointer(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return true
	case reflect.Array:
		return t.Len() == 1 && isPointer(t.Elem())
	case reflect.Struct:
		return t.NumField() == 1 && isPointer(t.Field(0).Type)
	}
	return false
}
