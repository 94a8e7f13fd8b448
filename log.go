package covey

// log.go is how Covey logs: through a handler of the user's that may misbehave, and never the same
// thing again and again.

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// safeLogger returns a logger whose handler may panic or call Goexit: what it was to log is lost
// then, and nothing else.
func safeLogger(l *slog.Logger) *slog.Logger { return slog.New(safeHandler{l.Handler()}) }

type safeHandler struct{ unsafe slog.Handler }

const loggersHandler = "the Logger's handler"

func (h safeHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	_ = guard(loggersHandler, func() error {
		enabled = h.unsafe.Enabled(ctx, level)
		return nil
	})
	return enabled
}

func (h safeHandler) Handle(ctx context.Context, r slog.Record) error {
	return guard(loggersHandler, func() error { return h.unsafe.Handle(ctx, r) })
}

func (h safeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.derive(func() slog.Handler { return h.unsafe.WithAttrs(attrs) })
}

func (h safeHandler) WithGroup(name string) slog.Handler {
	return h.derive(func() slog.Handler { return h.unsafe.WithGroup(name) })
}

func (h safeHandler) derive(from func() slog.Handler) slog.Handler {
	_ = guard(loggersHandler, func() error {
		h.unsafe = from()
		return nil
	})
	return h
}

// warnEvery is how often the same warning is logged at most.
const warnEvery = 10 * time.Second

// A warner logs warnings that may come by the thousand, such as one for each key: of each kind at
// most one in warnEvery.
type warner struct {
	logger *slog.Logger
	mu     sync.Mutex
	kinds  map[[2]string]*warned // by message and subject
}

// warned is what has been logged of one kind.
type warned struct {
	at         time.Time
	suppressed int // since then
}

// warn logs a message about a subject, such as a peer. Of what was suppressed since the same
// message about the same subject was logged last it gives the number.
func (w *warner) warn(msg, subject string, args ...any) {
	w.mu.Lock()
	now := time.Now()
	kind := [2]string{msg, subject}
	k := w.kinds[kind]
	if k != nil && now.Sub(k.at) < warnEvery {
		k.suppressed++
		w.mu.Unlock()
		return
	}
	if k == nil {
		k = w.add(kind, now)
	}
	suppressed := k.suppressed
	k.at, k.suppressed = now, 0
	w.mu.Unlock()
	w.logger.Warn(msg, append(args, "suppressed", suppressed)...)
}

// maxKinds bounds the kinds that are remembered once they may be logged again.
const maxKinds = 100

// add adds a kind. The warner is locked.
func (w *warner) add(kind [2]string, now time.Time) *warned {
	if w.kinds == nil {
		w.kinds = make(map[[2]string]*warned)
	}
	if len(w.kinds) >= maxKinds {
		for other, k := range w.kinds {
			if now.Sub(k.at) >= warnEvery {
				delete(w.kinds, other)
			}
		}
	}
	k := new(warned)
	w.kinds[kind] = k
	return k
}

// A serverLog takes the lines of an http.Server, which strangers can cause. Their first words say
// of which kind they are.
type serverLog struct{ to *warner }

func (s serverLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	words := strings.SplitN(text, " ", 4)
	s.to.warn("covey: from the server of GroupOptions.Listener", strings.Join(words[:min(3, len(words))], " "), "err", text)
	return len(line), nil
}

const eventFailed = "covey: a function of Options.Events failed"
