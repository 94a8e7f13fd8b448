package covey

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// A recorder is a handler of logs that keeps them.
type recorder struct {
	mu    sync.Mutex
	lines []map[string]any // with the message under ""
}

func (*recorder) Enabled(context.Context, slog.Level) bool { return true }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	line := map[string]any{"": record.Message}
	record.Attrs(func(a slog.Attr) bool {
		line[a.Key] = a.Value.Any()
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	return nil
}

func (r *recorder) WithAttrs([]slog.Attr) slog.Handler { return r }

func (r *recorder) WithGroup(string) slog.Handler { return r }

// said returns the lines with a message.
func (r *recorder) said(msg string) (lines []map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		if l[""] == msg {
			lines = append(lines, l)
		}
	}
	return lines
}

// Lines are handled in order, and are counted if there are too many for a handler that is too slow.
func TestLinesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log recorder
		release := make(chan struct{})
		logger := queueLogs(slog.New(slowHandler{&log, release}))
		for range 2 {
			for i := range maxQueued + 11 {
				logger.Warn("line", "i", i)
				synctest.Wait() // the first one is with the handler
			}
			logger.With("derived", true).Warn("one more")
			for range maxQueued + 2 {
				release <- struct{}{}
			}
			synctest.Wait()
			require.Len(t, log.lines, maxQueued+2)
			for i, l := range log.lines[:maxQueued+1] {
				require.EqualValues(t, i, l["i"])
			}
			last := log.lines[maxQueued+1]
			require.Equal(t, "covey: the Logger's handler was too slow, lines were dropped", last[""])
			require.EqualValues(t, 11, last["dropped"])
			log.lines = nil
		}
	})
}

// A slowHandler handles a line when it is released.
type slowHandler struct {
	*recorder
	release chan struct{}
}

func (h slowHandler) Handle(ctx context.Context, r slog.Record) error {
	<-h.release
	return h.recorder.Handle(ctx, r)
}

// Lines may be logged under locks, about what belongs to a link, so nothing of the handler runs
// before they are queued, and nothing of the link's memory is kept.
func TestLinesAreQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log recorder
		var mu sync.Mutex
		logger := queueLogs(slog.New(wildHandler{func() { mu.Lock(); defer mu.Unlock() }})) // waits for the lock
		key := []byte("key")
		mu.Lock()
		logger.With("a", 1).WithGroup("g").Warn("line")
		mu.Unlock()
		logger = queueLogs(slog.New(&log))
		logger.Warn("line", "key", unsafe.String(&key[0], len(key)))
		key[0] = 'X'
		synctest.Wait()
		require.Equal(t, []map[string]any{{"": "line", "key": "key"}}, log.lines)
	})
}

// The origin is down, and thousands of keys fail to refresh: that is one line in ten seconds.
func TestFailedRefreshesAreLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log recorder
		c, err := New("test", Options[int]{
			TTL: time.Minute, TTLJitter: -1, StaleWhileRevalidate: time.Hour, MaxRefreshes: 10_000, ErrorThrottle: -1, Logger: slog.New(&log),
		})
		require.NoError(t, err)
		defer c.Close()
		const keys = 2000
		fails := func(context.Context, string) (int, error) { return 0, errors.New("the database is down") }
		for i := range keys {
			require.NoError(t, c.Put(t.Context(), fmt.Sprint(i), i))
		}
		time.Sleep(2 * time.Minute)
		for range 13 { // of a second each
			for i := range keys {
				v, err := c.Get(t.Context(), fmt.Sprint(i), fails)
				require.NoError(t, err)
				require.Equal(t, i, v)
			}
			time.Sleep(time.Second)
		}
		lines := log.said("covey: refresh failed")
		require.Len(t, lines, 2)
		require.Equal(t, int64(0), lines[0]["suppressed"])
		require.Equal(t, int64(10*keys-1), lines[1]["suppressed"])
		for _, l := range lines {
			require.NotEmpty(t, l["key"])
			require.EqualError(t, l["err"].(error), "the database is down")
		}
	})
}

// JSON has no NaN: peers load such a value on every Get, of which the owner's log tells.
func TestUnencodableValuesAreLogged(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		logs := make([]recorder, 2)
		var caches []*Cache[float64]
		for i, p := range w.procs {
			c, err := New("numbers", Options[float64]{Group: p.group, Logger: slog.New(&logs[i])})
			require.NoError(t, err)
			caches = append(caches, c)
		}
		time.Sleep(time.Second)
		nan := func(context.Context, string) (float64, error) { return math.NaN(), nil }
		k := w.procs[0].key()
		require.NoError(t, caches[0].Put(t.Context(), k, math.NaN()))
		for range 5 {
			_, err := caches[1].Get(t.Context(), k, nan)
			require.NoError(t, err)
		}
		check := func(log *recorder, key, peer string) {
			synctest.Wait()
			require.Len(t, log.lines, 1)
			require.Equal(t, "covey: cannot encode a value for a peer, which loads it for itself on every Get", log.lines[0][""])
			require.Equal(t, key, log.lines[0]["key"])
			require.Equal(t, peer, log.lines[0]["peer"])
		}
		check(&logs[0], k, w.procs[1].url)

		other := w.procs[0].keys(2)[1] // of which the owner never gets the value
		_, err := caches[1].Get(t.Context(), other, nan)
		require.NoError(t, err)
		check(&logs[1], other, w.procs[0].url)
	})
}

// Strangers who fail at the handshake of TLS fill no log.
func TestStrangersAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := netsim.New()
		l, err := network.Listen("a:443")
		require.NoError(t, err)
		var log recorder
		g, err := NewGroup(GroupOptions{
			Self: "https://a", Discovery: StaticPeers("https://a"), Secrets: [][]byte{testSecret}, Listener: l,
			TLS: &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(t)}}, Logger: slog.New(&log),
		})
		require.NoError(t, err)
		const strangers = 100
		for range strangers {
			conn, err := network.Dialer("stranger")(t.Context(), "tcp", "a:443")
			require.NoError(t, err)
			_, err = conn.Write([]byte("no handshake"))
			require.NoError(t, err)
			synctest.Wait()
			require.NoError(t, conn.Close())
			time.Sleep(15 * time.Second / strangers)
		}
		lines := log.said("covey: from the server of GroupOptions.Listener")
		require.Len(t, lines, 2)
		require.Contains(t, lines[1]["err"], "TLS handshake error from ")
		require.NotZero(t, lines[1]["suppressed"])
		require.NoError(t, g.Shutdown(t.Context()))
	})
}

func TestWarnerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log recorder
		w := warner{logger: slog.New(&log)}
		for i := range 10 * maxKinds {
			w.warn("no link", fmt.Sprint("peer", i))
			time.Sleep(time.Second)
		}
		require.Len(t, log.lines, 10*maxKinds)
		require.LessOrEqual(t, len(w.kinds), maxKinds)
	})
}
