package link

import (
	"testing"

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
