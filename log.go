package covey

// log.go is how Covey logs: through a handler of the user's that may misbehave and that nothing waits
// for, and never the same thing again and again.

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// queueLogs returns a logger that passes lines on to l's handler, in order, on a goroutine of its
// own. So lines may be logged under locks and on the goroutines that read links: whatever the
// handler does, nobody waits for it but Close and Shutdown, for a while. If it panics or calls
// Goexit, what it was to log is lost and nothing else.
func queueLogs(l *slog.Logger) *slog.Logger {
	to := l.Handler()
	q := &userQueue[logLine]{handle: func(l logLine) { l.log(to) }, lost: linesDropped}
	return slog.New(logHandler{q: q, to: to})
}

// A logLine is a line on its way to the handler that with returns.
type logLine struct {
	with   func(slog.Handler) slog.Handler
	record slog.Record
}

func (l logLine) log(to slog.Handler) {
	_ = guard("the Logger's handler", func() error {
		h, ctx := l.with(to), context.Background()
		if !h.Enabled(ctx, l.record.Level) {
			return nil
		}
		return h.Handle(ctx, l.record)
	})
}

func linesDropped(n int) logLine {
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "covey: the Logger's handler was too slow, lines were dropped", 0)
	r.AddAttrs(slog.Int("dropped", n))
	return logLine{logHandler{}.derived, r}
}

// flushLogs waits until what has been logged is with the handler of l, which queueLogs has
// returned; until the timer fires at most.
func flushLogs(l *slog.Logger, timer *time.Timer) error {
	return l.Handler().(logHandler).q.flush("the Logger's handler", timer)
}

// A logHandler queues lines for the handler that with makes of the queue's.
type logHandler struct {
	q    *userQueue[logLine]
	to   slog.Handler                    // the user's
	with func(slog.Handler) slog.Handler // nil: itself
}

// Enabled implements slog.Handler. The user's handler is asked when the line's turn has come.
func (h logHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	line := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindString { // whose memory may be a link's, to be used again
			a.Value = slog.StringValue(strings.Clone(a.Value.String()))
		}
		line.AddAttrs(a)
		return true
	})
	h.q.add(logLine{h.derived, line})
	return nil
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.q, h.to, func(to slog.Handler) slog.Handler { return h.derived(to).WithAttrs(attrs) }}
}

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.q, h.to, func(to slog.Handler) slog.Handler { return h.derived(to).WithGroup(name) }}
}

// derived returns the handler that lines of h are for.
func (h logHandler) derived(to slog.Handler) slog.Handler {
	if h.with == nil {
		return to
	}
	return h.with(to)
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
