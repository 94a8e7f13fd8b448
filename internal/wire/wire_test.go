package wire

import (
	"encoding/hex"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// randomFrame sets each field with a probability of one half.
func randomFrame(r *rand.Rand) *Frame {
	f := &Frame{Type: Type(r.Uint32()), Flags: Flags(r.Uint32()), Cache: uint16(r.Uint32()), Op: r.Uint32()}
	number := func() uint64 { return r.Uint64() >> r.IntN(64) }
	for _, set := range []func(){
		func() { f.Key = string(randomBytes(r, 1+r.IntN(300))) },
		func() { f.Value = randomBytes(r, 1+r.IntN(300)) },
		func() { f.Stamp = number() },
		func() { f.Made = number() },
		func() { f.Version, f.HasVersion = number(), true },
		func() { f.TTL = duration(number()) },
		func() { f.Age = duration(number()) },
		func() { f.LoadTime = duration(number()) },
		func() { f.Deadline = duration(number()) },
		func() { f.Clear = number() },
		func() { f.Token = number() },
		func() { f.Count = number() },
		func() { f.Ring = number() },
		func() {
			for range 1 + r.IntN(MaxChain) {
				f.Chain = f.Chain.With(r.Uint64())
			}
		},
		func() { f.Trace = randomBytes(r, 1+r.IntN(100)) },
		func() { f.Code = Code(number() >> 32) },
		func() { f.Result = Type(number() >> 56) },
		func() { f.Text = string(randomBytes(r, 1+r.IntN(100))) },
		func() { f.Size = number() >> 33 },
		func() { f.Stream = uint32(number() >> 32) },
	} {
		if r.IntN(2) == 0 {
			set()
		}
	}
	return f
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		want := randomFrame(r)
		require.NoError(t, want.Check(1<<20))
		prefix := randomBytes(r, r.IntN(20))
		b := Append(prefix, want)[len(prefix):]
		n, err := BodyLen(b)
		require.NoError(t, err)
		require.Equal(t, len(b), HeaderSize+n)
		var got Frame
		require.NoError(t, Parse(b, &got))
		require.Equal(t, want, &got)

		head := AppendHead(nil, want, len(want.Value))
		require.Equal(t, b, append(head, want.Value...))
		SetOp(b, 77)
		require.NoError(t, Parse(b, &got))
		require.Equal(t, uint32(77), got.Op)
	}
}

func TestItems(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	many := &Frame{Type: Many, Op: 9}
	var want []*Frame
	for i := range 50 {
		f := randomFrame(r)
		f.Op = uint32(i)
		want = append(want, f)
		many.Items = Append(many.Items, f)
	}
	var got Frame
	require.NoError(t, Parse(Append(nil, many), &got))
	require.Nil(t, got.Value)
	items := got.Items
	for _, w := range want {
		var f Frame
		var err error
		items, err = Next(items, &f)
		require.NoError(t, err)
		require.Equal(t, w, &f)
	}
	require.Empty(t, items)
	_, err := Next(many.Items[:HeaderSize+1], &got)
	require.ErrorIs(t, err, ErrMalformed)
}

// TestGolden pins the bytes: whoever changes them breaks groups of mixed versions.
func TestGolden(t *testing.T) {
	for _, test := range []struct {
		name string
		f    Frame
		want string
	}{
		{"get", Frame{Type: Get, Flags: CanLoad | Borrow, Cache: 3, Op: 0x01020304, Key: "user:42", Deadline: 5 * time.Second, Chain: Chain(nil).With(7)},
			"1900000001030300040302010607757365723a34322880e497d0123e080700000000000000"},
		{"traced get", Frame{Type: Get, Op: 1, Key: "k", Trace: []byte("traceparent:00-01")},
			"160000000100000001000000" + "06016b" + "4211" + "7472616365706172656e743a30302d3031"},
		{"hit", Frame{Type: Hit, Flags: Loan, Op: 5, Stamp: 0x1122, Made: 9, Version: 0, HasVersion: true, TTL: time.Second, Age: 3, LoadTime: 2, Clear: 1, Token: 300, Value: []byte("v")},
			"25000000400100000500000011221100000000000015090000000000000018001c8094ebdc03200324022c0130ac020b76"},
		{"failed", Frame{Type: Failed, Op: 5, Code: CodeOverloaded, Text: "no"},
			"06000000440000000500000044024e026e6f"},
		{"view", Frame{Type: View, Value: []byte("who is a member")},
			"100000008b000000000000000b77686f2069732061206d656d626572"},
		{"term", Frame{Type: KeepAliveOK, Op: 7, TTL: 1500 * time.Millisecond},
			"060000008500000007000000" + "1c80dea0cb05"},
		{"no term", Frame{Type: KeepAliveOK, Op: 7}, "000000008500000007000000"},
		{"negative ttl", Frame{Type: Hit, TTL: -time.Second},
			"0200000040000000000000001c01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, hex.EncodeToString(Append(nil, &test.f)))
		})
	}
}

func TestNumbers(t *testing.T) {
	require.Equal(t, []Type{1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16},
		[]Type{Get, Put, Delete, Lookup, GetMany, Clear, Fill, Recall, Peek, Expire, Update, Announce, Top, Reload, Await})
	require.Equal(t, []Type{0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49},
		[]Type{Hit, NotFound, FillRight, Held, Failed, NotOwner, Done, Unsupported, Many, Alone})
	require.Equal(t, []Type{0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b},
		[]Type{HelloFrame, Challenge, Proof, Welcome, KeepAlive, KeepAliveOK, Chunk, Credit, Cancel, GoAway, Caches, View})
	require.Equal(t, []Code{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17},
		[]Code{CodeUnknown, CodeLoad, CodeOverloaded, CodeLoadTimeout, CodeRecursive, CodeOutdated, CodeTooLarge, CodeUnconfirmed,
			CodeNoLoader, CodeUnknownCache, CodeClosed, CodeCancelled, CodeBusy, CodeVersion, CodeRefused, CodeIdentity, CodeMalformed, CodeSelf})
	require.True(t, Update.IsRequest() && Hit.IsAnswer() && !Hit.IsRequest() && !Chunk.IsAnswer() && !Chunk.IsRequest() && !View.IsRequest())
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	want := Frame{Type: Put, Cache: 1, Op: 2, Key: "k"}
	b := Append(nil, &want)
	b = append(b, 60<<2+kindVarint, 0xff, 0x01, 61<<2+kindFixed, 1, 2, 3, 4, 5, 6, 7, 8, 62<<2+kindBytes, 2, 'x', 'y', tagValue, 'v')
	b[0] = byte(len(b) - HeaderSize)
	want.Value = []byte("v")
	var got Frame
	require.NoError(t, Parse(b, &got))
	require.Equal(t, want, got)

	b = append(Append(nil, &Frame{Type: Put}), 63<<2+kindRest, 'z')
	b[0] = 2
	require.NoError(t, Parse(b, &got))
	require.Equal(t, Frame{Type: Put}, got)
}

func TestMalformed(t *testing.T) {
	frame := func(body ...byte) []byte {
		return append([]byte{byte(len(body)), 0, 0, 0, byte(Get), 0, 0, 0, 0, 0, 0, 0}, body...)
	}
	long := func(f Frame) []byte { return Append(nil, &f) }
	for name, b := range map[string][]byte{
		"empty":           nil,
		"short header":    frame()[:HeaderSize-1],
		"body too short":  append(frame(), 1),
		"body too long":   frame(tagKey, 1, 'k')[:HeaderSize+2],
		"huge":            {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0},
		"bare tag":        frame(tagKey),
		"key over body":   frame(tagKey, 5, 'k'),
		"endless varint":  frame(tagTTL, 0x80, 0x80),
		"varint overflow": frame(tagTTL, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
		"negative ttl":    frame(tagTTL, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
		"short stamp":     frame(tagStamp, 1, 2, 3),
		"odd chain":       frame(tagChain, 3, 1, 2, 3),
		"long chain":      long(Frame{Chain: make(Chain, 8*MaxChain+8)}),
		"long key":        long(Frame{Key: strings.Repeat("k", MaxKey+1)}),
		"long text":       long(Frame{Text: strings.Repeat("k", MaxText+1)}),
		"long trace":      long(Frame{Trace: make([]byte, MaxTrace+1)}),
		"huge size":       long(Frame{Size: 1 << 31}),
	} {
		t.Run(name, func(t *testing.T) {
			var f Frame
			err := Parse(b, &f)
			require.Error(t, err)
		})
	}
	for _, f := range []Frame{
		{Key: strings.Repeat("k", MaxKey+1)}, {Text: strings.Repeat("k", MaxText+1)}, {Trace: make([]byte, MaxTrace+1)},
		{Chain: make(Chain, 8*MaxChain+8)}, {Items: make([]byte, MaxBody)}, {Value: make([]byte, 11)},
	} {
		require.ErrorIs(t, f.Check(10), ErrTooLarge)
	}
}

func TestChain(t *testing.T) {
	var c Chain
	for i := range uint64(MaxChain) {
		require.False(t, c.Has(i))
		before := c
		c = c.With(i)
		require.True(t, c.Has(i))
		require.Equal(t, int(i), before.Len())
	}
	require.Equal(t, MaxChain, c.Len())
	require.Equal(t, c, c.With(99), "a full chain stays as it is")
	a, b := c[:8:16].With(50), c[:8:16].With(60)
	require.True(t, a.Has(50) && b.Has(60), "chains that share a beginning do not share their ends")
}

func TestHello(t *testing.T) {
	want := Hello{MinVersion: 1, MaxVersion: 3, Name: "a", Target: "b", Instance: 1 << 60, Ring: 7, Nonce: [NonceSize]byte{1, 2, 3}, MaxOps: 100, MaxValue: 1 << 20}
	b := AppendHello(nil, HelloFrame, &want)
	var got Hello
	require.NoError(t, ParseHello(b, HelloFrame, &got))
	require.Equal(t, want, got)
	require.ErrorIs(t, ParseHello(b, Challenge, &got), ErrMagic)
	require.ErrorIs(t, ParseHello([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), HelloFrame, &got), ErrMagic)
	for n := range len(b) {
		require.Error(t, ParseHello(b[:n], HelloFrame, &got))
	}
	unknown := append(AppendHello(nil, HelloFrame, &want), 63<<2+kindBytes, 1, 'x')
	unknown[0] += 3
	require.NoError(t, ParseHello(unknown, HelloFrame, &got))
	require.Equal(t, want, got)
	want.Seq, want.Since, want.Called, want.Time = 9, 1<<40, 1<<63, 1<<41
	require.NoError(t, ParseHello(AppendHello(nil, HelloFrame, &want), HelloFrame, &got))
	require.Equal(t, want, got)
	for _, bad := range []Hello{
		{MinVersion: 2, MaxVersion: 1, Name: "a"},
		{MinVersion: 1, MaxVersion: 1},
		{MinVersion: 1, MaxVersion: 1, Name: strings.Repeat("n", MaxName+1)},
	} {
		require.ErrorIs(t, ParseHello(AppendHello(nil, HelloFrame, &bad), HelloFrame, &got), ErrMalformed)
	}
	require.Equal(t, "4d000000800000000000000005ff00636f7665793108010c0312016116016219000000000000"+
		"00101d070000000000000022200102030000000000000000000000000000000000000000000000000000000000246428808040",
		hex.EncodeToString(b), "these bytes may not change")
}

func TestCommonVersion(t *testing.T) {
	for _, test := range []struct {
		a, b [2]uint32
		want uint32
		ok   bool
	}{
		{[2]uint32{1, 1}, [2]uint32{1, 1}, 1, true},
		{[2]uint32{1, 3}, [2]uint32{2, 5}, 3, true},
		{[2]uint32{2, 5}, [2]uint32{1, 3}, 3, true},
		{[2]uint32{1, 1}, [2]uint32{2, 3}, 0, false},
		{[2]uint32{4, 5}, [2]uint32{2, 3}, 0, false},
	} {
		got, ok := CommonVersion(&Hello{MinVersion: test.a[0], MaxVersion: test.a[1]}, &Hello{MinVersion: test.b[0], MaxVersion: test.b[1]})
		require.Equal(t, test.ok, ok)
		if ok {
			require.Equal(t, test.want, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		f.Add(Append(nil, randomFrame(r)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, again Frame
		if Parse(b, &got) != nil {
			return
		}
		require.NoError(t, Parse(Append(nil, &got), &again))
		if got.Items == nil { // an empty rest is as good as none
			got.Value, again.Value = append([]byte{}, got.Value...), append([]byte{}, again.Value...)
		}
		if len(got.Trace) == 0 { // likewise
			got.Trace = nil
		}
		if len(got.Chain) == 0 {
			got.Chain = nil
		}
		require.Equal(t, got, again)
		items := got.Items
		for range MaxItems {
			var err error
			if items, err = Next(items, &again); err != nil {
				break
			}
		}
	})
}

func FuzzParseHello(f *testing.F) {
	f.Add(AppendHello(nil, HelloFrame, &Hello{MinVersion: 1, MaxVersion: 1, Name: "a"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, again Hello
		if ParseHello(b, HelloFrame, &got) != nil {
			return
		}
		require.NoError(t, ParseHello(AppendHello(nil, HelloFrame, &got), HelloFrame, &again))
		require.Equal(t, got, again)
	})
}

func BenchmarkAppendHit(b *testing.B) {
	f := Frame{Type: Hit, Op: 5, Stamp: 1 << 50, TTL: time.Minute, Age: time.Second, Value: make([]byte, 100)}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = Append(dst[:0], &f)
	}
}

func BenchmarkParseHit(b *testing.B) {
	src := Append(nil, &Frame{Type: Hit, Op: 5, Stamp: 1 << 50, TTL: time.Minute, Age: time.Second, Value: make([]byte, 100)})
	var f Frame
	b.ReportAllocs()
	for b.Loop() {
		if Parse(src, &f) != nil {
			b.Fatal()
		}
	}
}

func TestDurationsAreClamped(t *testing.T) {
	b := Append(nil, &Frame{Type: Get, TTL: math.MaxInt64, Age: math.MaxInt64, LoadTime: math.MaxInt64, Deadline: MaxDuration + 1})
	var f Frame
	require.NoError(t, Parse(b, &f))
	require.Equal(t, Frame{Type: Get, TTL: MaxDuration, Age: MaxDuration, LoadTime: MaxDuration, Deadline: MaxDuration}, f)
}
