package covey

// codec_shape.go describes types as encoding/json sees them, for the name of the default codec, and
// finds what would not come back from JSON as it was.

import (
	"cmp"
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A shape is what JSON makes of a type.
type shape struct {
	hash    string   // the same for types whose values read each other's JSON
	lost    []string // parts that never arrive, with the reason
	bent    []string // parts of which some values arrive as others
	dynamic bool     // interfaces hold what the type does not tell
}

func shapeOf(t reflect.Type) *shape {
	s := shaper{seen: make(map[seenAs]int)}
	s.walk(t, t.String(), true)
	sum := sha256.Sum256([]byte("covey/1 " + s.text.String()))
	s.hash = fmt.Sprintf("%x", sum[:6])
	return &s.shape
}

// A shaper walks through a type and writes down what the encoding depends on: the names of fields
// and the kinds of what they hold, not the names of types, but for those that encode themselves.
type shaper struct {
	shape
	text strings.Builder
	seen map[seenAs]int // types that have been written, by number: they may hold themselves
}

// A type's pointer receivers are called only if the value is addressable, that is not in a map.
type seenAs struct {
	t           reflect.Type
	addressable bool
}

func (s *shaper) write(format string, args ...any) { fmt.Fprintf(&s.text, format, args...) }

func (s *shaper) lose(path, format string, args ...any) {
	s.lost = append(s.lost, path+" "+fmt.Sprintf(format, args...))
}

func (s *shaper) bend(path, format string, args ...any) {
	s.bent = append(s.bent, path+" "+fmt.Sprintf(format, args...))
}

var (
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// walk writes t, which is found at a path of Go names.
func (s *shaper) walk(t reflect.Type, path string, addressable bool) {
	if s.encodesItself(t, path, addressable) {
		return
	}
	if as := (seenAs{t, addressable}); t.PkgPath() != "" && t.Kind() > reflect.Complex128 && t.Kind() != reflect.String {
		if n, ok := s.seen[as]; ok {
			s.write("#%d", n)
			return
		}
		s.seen[as] = len(s.seen)
	}
	switch k := t.Kind(); k {
	case reflect.Pointer:
		switch t.Elem().Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
			s.bend(path, "is a pointer to what may be nil, and then it is nil itself")
		}
		s.write("*")
		s.walk(t.Elem(), path, true)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && !marshals(reflect.PointerTo(t.Elem())) {
			s.write("bytes")
			return
		}
		s.write("[]")
		s.walk(t.Elem(), path+"[]", true)
	case reflect.Array:
		s.write("[%d]", t.Len())
		s.walk(t.Elem(), path+"[]", addressable)
	case reflect.Map:
		s.write("map[%s]", s.key(t.Key(), path))
		s.walk(t.Elem(), path+"[]", false)
	case reflect.Struct:
		s.fields(t, path, addressable)
	case reflect.Interface:
		if t.NumMethod() > 0 {
			s.lose(path, "is a %v, an interface, whose type is not encoded", t)
		} else {
			s.dynamic = true
			s.bend(path, "is an interface, in which only nil, bool, float64, string, []any and map[string]any can be encoded")
		}
		s.write("any")
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer, reflect.Invalid:
		s.lose(path, "is a %v, which JSON has not", t)
	default:
		s.write("%v", k)
	}
}

// marshals reports whether values of t have a method that encodes them.
func marshals(t reflect.Type) bool { return t.Implements(jsonMarshaler) || t.Implements(textMarshaler) }

// encodesItself writes t by its name if it has a method that encodes it.
func (s *shaper) encodesItself(t reflect.Type, path string, addressable bool) bool {
	on := t // the type whose methods count
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		on = reflect.PointerTo(t)
	}
	if t.Kind() == reflect.Interface || !marshals(on) {
		return false
	}
	if !addressable && !marshals(t) {
		s.lose(path, "is a %v in a map, whose method that encodes it has a pointer receiver and is not called", t)
		return false
	}
	method, back := "MarshalText", textUnmarshaler
	if on.Implements(jsonMarshaler) {
		method, back = "MarshalJSON", jsonUnmarshaler
	}
	if !on.Implements(back) {
		s.lose(path, "is a %v, which has %s and no Un%s", t, method, strings.ToLower(method[:1])+method[1:])
	}
	if named := indirect(t); promoted(named, method) {
		s.lose(path, "is a %v, whose %s is that of an embedded field, so that the others are not encoded", t, method)
	}
	if t.Kind() == reflect.Pointer {
		s.write("*")
	}
	s.write("%s:%s.%s", method, indirect(t).PkgPath(), indirect(t).Name())
	return true
}

func indirect(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// promoted reports whether t, a struct of more than one field, has a method because a field that is
// embedded in it has it. The compiler makes such methods.
func promoted(t reflect.Type, method string) bool {
	if t.Kind() != reflect.Struct || t.NumField() < 2 {
		return false
	}
	m, ok := t.MethodByName(method)
	if !ok {
		if m, ok = reflect.PointerTo(t).MethodByName(method); !ok {
			return false
		}
	}
	f := runtime.FuncForPC(m.Func.Pointer())
	if f == nil {
		return false
	}
	file, _ := f.FileLine(f.Entry())
	return file == "<autogenerated>"
}

// key returns how the keys of a map are encoded.
func (s *shaper) key(t reflect.Type, path string) string {
	switch k := t.Kind(); {
	case k == reflect.String:
		return "string"
	case t.Implements(textMarshaler) && reflect.PointerTo(t).Implements(textUnmarshaler):
		return t.PkgPath() + "." + t.Name()
	case k >= reflect.Int && k <= reflect.Uintptr:
		return k.String()
	}
	s.lose(path, "is a map with keys of the type %v, which JSON has not", t)
	return "?"
}

// A jsonField is a field of a struct, perhaps of one embedded in it.
type jsonField struct {
	name, path  string
	t           reflect.Type
	depth       int
	tagged      bool
	quoted      bool
	addressable bool
}

// fields writes a struct.
func (s *shaper) fields(t reflect.Type, path string, addressable bool) {
	var all []jsonField
	s.collect(t, path, 0, addressable, nil, &all)
	slices.SortStableFunc(all, func(a, b jsonField) int { // the dominant one of each name first
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.depth, b.depth), compareBool(b.tagged, a.tagged))
	})
	s.write("{")
	for len(all) > 0 {
		f := all[0]
		n := 1
		for n < len(all) && all[n].name == f.name {
			n++
		}
		same := all[:n]
		all = all[n:]
		if n > 1 && same[1].depth == f.depth && same[1].tagged == f.tagged {
			for _, hidden := range same {
				s.lose(hidden.path, "has the same name as another field, %q, so that neither is encoded", f.name)
			}
			continue
		}
		for _, hidden := range same[1:] {
			s.lose(hidden.path, "is hidden by %s, of the same name, %q", f.path, f.name)
		}
		s.write("%q", f.name)
		if f.quoted {
			s.write("quoted")
		}
		s.write(":")
		s.walk(f.t, f.path, f.addressable)
		s.write(";")
	}
	s.write("}")
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// collect gathers the fields of a struct and of those that are embedded in it.
func (s *shaper) collect(t reflect.Type, path string, depth int, addressable bool, within []reflect.Type, all *[]jsonField) {
	if slices.Contains(within, t) { // its fields are hidden by its own
		return
	}
	within = append(slices.Clip(within), t)
	for i := range t.NumField() {
		f := t.Field(i)
		at := path + "." + f.Name
		ft := f.Type
		if ft.Name() == "" {
			ft = indirect(ft)
		}
		embeds := f.Anonymous && ft.Kind() == reflect.Struct
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if !validName(name) {
			name = ""
		}
		has := func(option string) bool { return slices.Contains(strings.Split(options, ","), option) }
		switch {
		case f.Type.Size() == 0 && !f.IsExported() && !embeds || f.Name == "_":
		case !f.IsExported() && !embeds:
			s.lose(at, "is not exported")
		case tag == "-":
			if f.Type.Size() > 0 {
				s.lose(at, `has the tag json:"-"`)
			}
		case !f.IsExported() && (name != "" || f.Type.Kind() == reflect.Pointer):
			s.lose(at, "is not exported and cannot be decoded")
		case embeds && name == "":
			s.collect(ft, at, depth+1, addressable || f.Type.Kind() == reflect.Pointer, within, all)
		default:
			if k := f.Type.Kind(); has("omitempty") && (k == reflect.Slice || k == reflect.Map) {
				s.bend(at, "has the tag omitempty: it is nil where it was empty")
			}
			quoted := has("string")
			switch k := ft.Kind(); {
			case k >= reflect.Bool && k <= reflect.Float64, k == reflect.String:
			default:
				quoted = false
			}
			*all = append(*all, jsonField{cmp.Or(name, f.Name), at, f.Type, depth, name != "", quoted, addressable})
		}
	}
}

// validName reports whether encoding/json takes a name from a tag.
func validName(name string) bool {
	for _, r := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return name != ""
}

// inexact says what in v, which JSON can encode, would not come back as it is: strings that are not
// UTF-8, and what interfaces hold.
func inexact(v reflect.Value, path string) error {
	t := v.Type()
	if marshals(t) || v.CanAddr() && marshals(reflect.PointerTo(t)) {
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return fmt.Errorf("%s is not UTF-8, and JSON has no other strings: give Options.Codec", path)
		}
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
		switch t := v.Type(); {
		case t == reflect.TypeFor[bool](), t == reflect.TypeFor[float64](), t == reflect.TypeFor[string]():
		case (t == reflect.TypeFor[[]any]() || t == reflect.TypeFor[map[string]any]()) && !v.IsNil():
		default:
			return fmt.Errorf("%s is an interface that holds a value of the type %v, which JSON does not bring back: give Options.Codec", path, t)
		}
		return inexact(v, path)
	case reflect.Pointer:
		if !v.IsNil() {
			return inexact(v.Elem(), path)
		}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && t.Kind() == reflect.Slice {
			return nil
		}
		for i := range v.Len() {
			if err := inexact(v.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for at := v.MapRange(); at.Next(); {
			if err := inexact(at.Key(), "a key of "+path); err != nil {
				return err
			}
			if err := inexact(at.Value(), path+"[]"); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if err := inexact(v.Field(i), path+"."+t.Field(i).Name); err != nil {
				return err
			}
		}
	}
	return nil
}
