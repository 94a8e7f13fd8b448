package covey

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Types of the tests: what JSON makes of them is what counts.
type (
	codecBase struct {
		ID int64 `json:"id"`
	}
	codecList struct {
		Next *codecList
		V    int
	}
	codecKey   string
	codecBytes []byte
	codecInner struct{ hidden int } //lint:ignore U1000 nobody but reflect looks at it
	codecTime  struct {
		time.Time
		Name string
	}
	codecLeft  struct{ X int }
	codecRight struct{ X int }
	codecTwo   struct {
		codecLeft
		codecRight
	}
	codecOneWay   int
	codecByMethod int
)

func (codecOneWay) MarshalJSON() ([]byte, error)      { return []byte("1"), nil }
func (c *codecByMethod) MarshalText() ([]byte, error) { return []byte{byte('a' + *c)}, nil }
func (c *codecByMethod) UnmarshalText(text []byte) error {
	*c = codecByMethod(text[0] - 'a')
	return nil
}
func shapeHash[V any]() string                      { return shapeOf(reflect.TypeFor[V]()).hash }
func survivesJSON[V any]() (some string, err error) { return newJSONCodec[V](true).survives() }

// The name of the default codec is the same for types that read each other's JSON, and for no others.
func TestCodecNameHoldsTheShape(t *testing.T) {
	require.Equal(t, "bytes", defaultCodec[[]byte]().Name())
	require.Equal(t, "bytes", defaultCodec[json.RawMessage]().Name())
	require.Equal(t, "string", defaultCodec[codecKey]().Name())
	require.Regexp(t, "^json/[0-9a-f]{12}$", defaultCodec[int]().Name())
	require.Equal(t, defaultCodec[codecList]().Name(), JSONCodec[codecList]().Name())
	require.Equal(t, "json/3d1733028b64", defaultCodec[codecList]().Name(), "the name goes over the wire: it must not depend on the release")

	same := shapeHash[struct {
		ID   int64 `json:"id"`
		Name string
		Tags []string
	}]()
	for name, other := range map[string]string{
		"order": shapeHash[struct {
			Tags []string
			Name string
			ID   int64 `json:"id,omitempty"`
		}](),
		"embedded": shapeHash[struct {
			codecBase
			Name string
			Tags []string
		}](),
		"names in Go": shapeHash[struct {
			Key  int64    `json:"id"`
			N    codecKey `json:"Name"`
			Tags []codecKey
		}](),
	} {
		require.Equal(t, same, other, name)
	}
	seen := map[string]string{same: "itself"}
	for name, other := range map[string]string{
		"new field": shapeHash[struct {
			ID   int64 `json:"id"`
			Name string
			Tags []string
			New  bool
		}](),
		"less": shapeHash[struct {
			ID   int64 `json:"id"`
			Name string
		}](),
		"renamed": shapeHash[struct {
			ID   int64
			Name string
			Tags []string
		}](),
		"kind": shapeHash[struct {
			ID   int32 `json:"id"`
			Name string
			Tags []string
		}](),
		"text": shapeHash[struct {
			ID   int64 `json:"id,string"`
			Name string
			Tags []string
		}](),
		"nested": shapeHash[struct {
			ID   int64 `json:"id"`
			Name string
			Tags [][]string
		}](),
		"pointer": shapeHash[struct {
			ID   int64 `json:"id"`
			Name *string
			Tags []string
		}](),
		"array": shapeHash[struct {
			ID   int64 `json:"id"`
			Name string
			Tags [2]string
		}](),
		"map": shapeHash[struct {
			ID   int64 `json:"id"`
			Name string
			Tags map[string]string
		}](),
		"map with other keys": shapeHash[struct {
			ID   int64 `json:"id"`
			Name string
			Tags map[int]string
		}](),
		"time":     shapeHash[time.Time](),
		"duration": shapeHash[time.Duration](),
		"a method": shapeHash[codecByMethod](),
		"list":     shapeHash[codecList](),
		"lists":    shapeHash[[]codecList](),
		"any":      shapeHash[any](),
	} {
		require.Empty(t, seen[other], name)
		seen[other] = name
	}
}

// What JSON loses of a type is an error that says where, and what it may lose a warning.
func TestCodecSaysWhatIsLost(t *testing.T) {
	lost := func(some string, err error) string {
		require.Error(t, err)
		require.Empty(t, some)
		return err.Error()
	}
	bent := func(some string, err error) string {
		require.NoError(t, err)
		return some
	}
	require.Contains(t, lost(survivesJSON[codecInner]()), "covey.codecInner.hidden is not exported")
	require.Contains(t, lost(survivesJSON[map[string][]*codecInner]()), "[][].hidden is not exported")
	require.Contains(t, lost(survivesJSON[struct {
		Password string `json:"-"`
	}]()), `.Password has the tag json:"-"`)
	require.Contains(t, lost(survivesJSON[codecTwo]()), `covey.codecTwo.codecRight.X has the same name as another field, "X"`)
	require.Contains(t, lost(survivesJSON[struct {
		codecBase
		ID int `json:"id"`
	}]()), `.codecBase.ID is hidden by`)
	require.Contains(t, lost(survivesJSON[codecTime]()), "covey.codecTime is a covey.codecTime, whose MarshalJSON is that of an embedded field")
	require.Contains(t, lost(survivesJSON[codecOneWay]()), "which has MarshalJSON and no UnmarshalJSON")
	require.Contains(t, lost(survivesJSON[map[string]codecByMethod]()), "has a pointer receiver and is not called")
	require.Contains(t, lost(survivesJSON[struct{ Err error }]()), ".Err is a error, an interface")
	require.Contains(t, lost(survivesJSON[struct{ C chan int }]()), ".C is a chan int")
	require.Contains(t, lost(survivesJSON[map[float64]int]()), "keys of the type float64")
	require.Contains(t, lost(survivesJSON[struct {
		*codecBase
		A, b, c, d, e, f, g int
	}]()), "; and 2 more")

	require.Contains(t, bent(survivesJSON[struct {
		Tags []string `json:",omitempty"`
	}]()), ".Tags has the tag omitempty: it is nil where it was empty")
	require.Contains(t, bent(survivesJSON[map[string]any]()), "map[string]interface {}[] is an interface")
	require.Contains(t, bent(survivesJSON[struct{ P *[]int }]()), ".P is a pointer to what may be nil")
	for _, clean := range []func() (string, error){
		survivesJSON[int], survivesJSON[*codecList], survivesJSON[[]codecBase], survivesJSON[map[int]time.Time], survivesJSON[codecByMethod],
		survivesJSON[struct {
			codecBase
			_ struct{}
			T time.Time
		}],
	} {
		require.Empty(t, bent(clean()))
	}

	_, err := New("test", Options[codecInner]{})
	require.NoError(t, err, "nobody else gets it")
	var log logbook
	g, err := NewGroup(GroupOptions{Self: "http://127.0.0.1", Discovery: StaticPeers("http://127.0.0.1"), Logger: log.logger()})
	require.NoError(t, err)
	defer func() { require.NoError(t, g.Shutdown(t.Context())) }()
	_, err = New("test", Options[codecInner]{Group: g})
	require.ErrorContains(t, err, `covey: cache "test": Options.Codec is nil, and encoding/json does not bring all of a value to another process: covey.codecInner.hidden is not exported`)
	_, err = New("test", Options[codecInner]{Group: g, Codec: JSONCodec[codecInner]()})
	require.NoError(t, err)
	c, err := New("meta", Options[map[string]any]{Group: g, Logger: log.logger()})
	require.NoError(t, err)
	require.NoError(t, c.Close()) // which waits for the log
	require.Contains(t, log.String(), "is an interface")
	_, err = New("long", Options[int]{Group: g, Version: strings.Repeat("x", 250)})
	require.ErrorContains(t, err, "have 268 bytes together, they must have 1 to 255")
}

// Values that would come back as others are refused, with the place.
func TestCodecRefusesWhatWouldChange(t *testing.T) {
	type v struct {
		S string
		M map[string]any
		F float64
		K map[codecKey]int
	}
	c := defaultCodec[v]()
	for want, bad := range map[string]v{
		"covey.v.S is not UTF-8":                                           {S: "a\xffb"},
		"a key of covey.v.K is not UTF-8":                                  {K: map[codecKey]int{"\xff": 1}},
		"covey.v.M[] is not UTF-8":                                         {M: map[string]any{"k": "\xff"}},
		"covey.v.M[] is an interface that holds a value of the type int64": {M: map[string]any{"id": int64(math.MaxInt64)}},
		"of the type []uint8":                                              {M: map[string]any{"b": []byte{1}}},
		"of the type time.Time":                                            {M: map[string]any{"l": []any{time.Now()}}},
		"of the type []interface {}":                                       {M: map[string]any{"l": []any(nil)}},
		"NaN":                                                              {F: math.NaN()},
	} {
		got, err := c.Append([]byte("before"), bad)
		require.ErrorContains(t, err, want)
		require.Equal(t, "before", string(got))
	}
	for _, good := range []v{
		{}, {S: "\ufffd \\ufffd \x00 \u2028 <&>"}, {M: map[string]any{"a": nil, "b": true, "c": 1e300, "d": "x", "e": []any{}, "f": map[string]any{"g": []any{1.0}}}},
		{F: math.Copysign(0, -1)}, {F: math.MaxFloat64, K: map[codecKey]int{"": math.MinInt}},
	} {
		b, err := c.Append(nil, good)
		require.NoError(t, err)
		got, err := c.Decode(b)
		require.NoError(t, err)
		require.Equal(t, good, got)
		require.Equal(t, math.Signbit(good.F), math.Signbit(got.F))
	}
	_, err := JSONCodec[v]().Append(nil, v{S: "\xff", M: map[string]any{"id": int64(1)}})
	require.NoError(t, err)
	by := codecByMethod(2)
	b, err := defaultCodec[codecByMethod]().Append(nil, by)
	require.NoError(t, err)
	require.Equal(t, `"c"`, string(b), "methods with pointer receivers are called")
}

// Peers whose values look different, or have another Version, do not share a cache, and say why.
func TestCodecsThatDiffer(t *testing.T) {
	inWorld(t, 2, Options[string]{Version: "2"}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		require.NoError(t, b.cache.Close())
		other, err := New("test", Options[string]{Group: b.group, Version: "3", Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.NoError(t, b.group.Ready(t.Context()))
		_, err = a.cache.Get(t.Context(), b.key(), nil)
		var peer *PeerError
		require.True(t, errors.As(err, &peer), "%v", err)
		require.Equal(t, PeerHasNoCache, peer.Code)
		require.ErrorContains(t, err, "codec string@3 there, string@2 here: the types of the values differ, or Options.Codec or Version")
		_, err = other.Get(t.Context(), a.key(), nil)
		require.ErrorContains(t, err, "codec string@2 there, string@3 here")
	})
}

// Whatever a value holds, it comes back as it was or is refused.
func FuzzCodecRoundTrip(f *testing.F) {
	f.Add("text", []byte(nil), int64(math.MaxInt64), uint64(math.MaxUint64), 0.1, float32(0.1), true, uint8(0))
	f.Add("a\xffb", []byte{}, int64(-1), uint64(1<<53+1), math.NaN(), float32(math.Inf(1)), false, uint8(255))
	f.Add(`\ufffd`, []byte("\xff"), int64(1<<53+1), uint64(0), math.Copysign(0, -1), float32(1e-45), false, uint8(5))
	type inner struct {
		S codecKey
		L []string
		P *int64 `json:"p,omitempty"`
	}
	type value struct {
		codecBase
		S     string
		B     []byte
		Raw   codecBytes
		I     int64  `json:",string"`
		U     uint64 `json:"u"`
		D     float64
		F     float32
		T     *bool
		Any   any
		List  []inner
		Map   map[string]*inner
		Keys  map[int8]uint8
		Arr   [3]int16
		At    time.Time
		Chain *codecList
	}
	codec := defaultCodec[value]()
	f.Fuzz(func(t *testing.T, s string, b []byte, i int64, u uint64, d float64, fl float32, yes bool, pick uint8) {
		v := value{codecBase: codecBase{i}, S: s, B: b, Raw: codecBytes(b), I: i, U: u, D: d, F: fl, Arr: [3]int16{int16(i), int16(u), int16(pick)}, At: time.Unix(i%1e9, int64(u%1e9)).UTC()}
		if pick&1 != 0 {
			v.T, v.List = &yes, []inner{}
		}
		if pick&2 != 0 {
			v.List, v.Map = []inner{{S: codecKey(s), L: []string{s}, P: &i}, {L: []string{}}}, map[string]*inner{s: nil, "x": {S: "y"}}
		}
		if pick&4 != 0 {
			v.Keys, v.Chain = map[int8]uint8{int8(i): uint8(u)}, &codecList{Next: &codecList{V: int(i)}}
		}
		v.Any = []any{nil, s, d, yes, i, b, []any{s, nil}, map[string]any{s: d}}[pick>>3&7]
		encoded, err := codec.Append(nil, v)
		if err != nil {
			return
		}
		got, err := codec.Decode(encoded)
		if err != nil {
			t.Fatalf("cannot decode %q: %v", encoded, err)
		}
		if !reflect.DeepEqual(v, got) || math.Signbit(v.D) != math.Signbit(got.D) {
			t.Fatalf("%q: got %+v; want %+v", encoded, got, v)
		}
	})
}
