package link

import (
	"testing"
	"testing/synctest"

	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// However much a peer asks for without taking it, and however large the values are that it says it
// takes, so much is queued for it and no more.
func TestAnswersAreBounded(t *testing.T) {
	for what, answer := range map[string]wire.Frame{
		"long values":  {Type: wire.Hit, Value: make([]byte, 100<<10)},
		"short values": {Type: wire.Hit, Value: make([]byte, 10<<10)},
		"many keys":    {Type: wire.Many, Flags: wire.More, Items: make([]byte, 100<<10)},
	} {
		n := fuzzNode(t)
		l := newLink(n, noConn{}, nil, &wire.Hello{MaxOps: 8, MaxValue: 1 << 30})
		for op := range uint32(1000) {
			f := answer
			f.Op = op
			l.mu.Lock()
			l.reply(&f)
			l.mu.Unlock()
			require.Equal(t, answer.Flags, f.Flags)
		}
		require.LessOrEqual(t, l.out.bytes+l.out.long, 4*n.cfg.MaxValue+1000*100, what)
		require.Greater(t, l.out.bytes+l.out.long, 3*n.cfg.MaxValue, what)
	}
}

// A request that is served apart may be given up before it is kept, while it is, or not at all; and
// nothing of it is in memory that the link uses again.
func TestServedApart(t *testing.T) {
	for _, when := range []string{"never", "before", "after"} {
		synctest.Test(t, func(t *testing.T) { testServedApart(t, when) })
	}
}

func testServedApart(t *testing.T, when string) {
	n := fuzzNode(t)
	l := newLink(n, noConn{}, nil, &wire.Hello{MaxOps: 8, MaxValue: 1 << 20})
	text := []byte("key")
	r := &Request{Frame: wire.Frame{Type: wire.Put, Op: 7, Value: text}, link: l}
	var serve func()
	told := make(chan *Op, 2)
	l.apart.running = true // no goroutine takes it
	r.Apart(func(apart *Request) {
		require.Equal(t, "key", string(apart.Value))
		op := apart.Keep(func(op *Op) { told <- op })
		if when == "after" {
			l.cancelled(&wire.Frame{Op: 7})
		}
		if when != "never" {
			require.Equal(t, op, <-told)
			require.False(t, op.Live())
		}
		require.Equal(t, when == "never", op.Answer(&wire.Frame{Type: wire.Done}))
	})
	serve, l.apart.todo = l.apart.todo[0], nil
	clear(text)
	if when == "before" {
		l.cancelled(&wire.Frame{Op: 7})
	}
	require.True(t, r.done)
	require.Equal(t, 1, l.running)
	serve()
	require.Zero(t, l.running)
	require.Empty(t, l.ops)
	require.Empty(t, told)
}
