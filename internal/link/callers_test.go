package link

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// A number is taken once, also when requests overtake each other. What is remembered has a bound.
func TestCallersNumbers(t *testing.T) {
	const n = 10 * maxSeen
	numbers := make([]uint64, n)
	for i := range numbers {
		numbers[i] = uint64(3*i + 1) // others have those in between
	}
	for i := 0; i < n; i += maxExchanges {
		part := numbers[i : i+maxExchanges]
		rand.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
	}
	c := new(caller)
	require.False(t, c.take(0))
	for i, seq := range numbers {
		require.True(t, c.take(seq))
		require.False(t, c.take(seq))
		require.False(t, c.take(numbers[rand.IntN(i+1)]))
		require.Less(t, len(c.seen), maxSeen)
	}
	require.LessOrEqual(t, cap(c.seen), 2*maxSeen)
	require.True(t, c.take(1<<64-1))
	require.False(t, c.take(1<<64-1))
}

// A body that comes after a later one of the same process tells nothing: that one has told the same
// again.
func TestLateBodiesTellNothing(t *testing.T) {
	var heard []string
	n, err := NewNode(Config{
		Name: "own", Instance: 1, Logger: slog.New(slog.DiscardHandler),
		Told: func(_ *Link, f *wire.Frame) { heard = append(heard, string(f.Value)) },
	})
	require.NoError(t, err)
	defer n.Close()
	for _, seq := range []uint64{1, 5, 2, 6} {
		peer := wire.Hello{
			MinVersion: wire.MinVersion, MaxVersion: wire.MaxVersion, Name: "other", Target: "own", Instance: 2, Called: 1,
			MaxOps: 1, MaxValue: 1, Seq: seq, Time: uint64(time.Now().UnixMilli()),
		}
		var body []byte
		for _, s := range []string{"a", "b"} {
			body = wire.Append(body, &wire.Frame{Type: wire.View, Value: fmt.Append(nil, seq, s)})
		}
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Authorization", n.proofOf(&peer, body).String())
		answer := httptest.NewRecorder()
		n.ServeOps(answer, r)
		require.Equal(t, http.StatusOK, answer.Code)
	}
	require.Equal(t, []string{"1a", "1b", "5a", "5b", "6a", "6b"}, heard)
}

// So many processes may ask, and no more. Nobody is forgotten of whom a request may come again.
func TestCallersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := NewNode(Config{Name: "a", Instance: 1, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		defer n.Close()
		ask := func(instance, seq uint64) error {
			c, err := n.enterBody(&wire.Hello{Name: "x", Instance: instance, Seq: seq})
			if err == nil && instance != 7 { // whose body takes long to come
				n.exitBody(c)
			}
			return err
		}
		for i := range uint64(maxCallers) {
			require.NoError(t, ask(i+1, 1))
		}
		time.Sleep(maxSkew)
		require.ErrorIs(t, ask(maxCallers+1, 1), ErrRefused)
		require.NoError(t, ask(8, 2))
		time.Sleep(maxSkew + time.Second)
		require.NoError(t, ask(maxCallers+1, 1))
		require.Len(t, n.callers, 3)
		for _, known := range []uint64{7, 8, maxCallers + 1} {
			require.ErrorIs(t, ask(known, 1), ErrRefused)
		}
	})
}
