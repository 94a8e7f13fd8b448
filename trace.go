package covey

// trace.go tells a Tracer what takes long: loads, and requests between processes. Hits know nothing of
// it.

import (
	"bytes"
	"context"
	"errors"

	"github.com/coveycache/covey/internal/wire"
)

// A Tracer is told when loads and requests to other processes begin and end, to make spans of them;
// see [Options].Tracer. Answers from this process's memory are not told of. Module covey/otelcovey has
// one for OpenTelemetry.
//
// Its methods are called concurrently, on goroutines of their own, with no lock held. What they are
// about waits for them, so they must be quick. One that panics or calls runtime.Goexit is logged, and
// the load or request goes on without it.
type Tracer interface {
	// Start is called when s begins, with the context of what it is a part of: the caller's, as far
	// as the values in it go. It returns the context in which s goes on, which is derived from that:
	// loaders get it. nil means that nothing more is to be told about s.
	Start(ctx context.Context, s Span) context.Context
	// End is called when what Start has returned ctx for is over.
	End(ctx context.Context, e SpanEnd)
	// Carry returns what tells another process about ctx, which is one that Start has returned or a
	// caller's; nil if there is nothing to tell. It goes along with requests, as far as it has
	// [MaxCarried] bytes at most.
	Carry(ctx context.Context) []byte
	// Waited is called when a call, or a request of another process, has waited for a load that was
	// not started for it. ctx is that of the call or the request, load is what Carry has returned
	// for the load's context, perhaps in another process. It must not be changed or kept.
	Waited(ctx context.Context, load []byte)
}

// MaxCarried is how many bytes of what [Tracer].Carry returns go to another process, at most; what is
// longer is not sent.
const MaxCarried = wire.MaxTrace

// A SpanKind says what a Span is about.
type SpanKind uint8

const (
	_ SpanKind = iota
	// SpanLoad is one call of a loader that somebody waits for.
	SpanLoad
	// SpanRefresh is one in the background, before or after the end of a TTL. The context of its
	// Start is that of the call that made it due, which does not wait for it.
	SpanRefresh
	// SpanRequest is a request to another process, from sending it to its last answer.
	SpanRequest
	// SpanServe is the same request at the other end. Its Start is called if the request carries
	// something, with a context that has no values.
	SpanServe
)

// String returns the kind in one word: load, refresh, request or serve.
func (k SpanKind) String() string {
	switch k {
	case SpanLoad:
		return "load"
	case SpanRefresh:
		return "refresh"
	case SpanRequest:
		return "request"
	case SpanServe:
		return "serve"
	}
	return "unknown"
}

// A Span is what a [Tracer] is told of when it begins.
type Span struct {
	Kind    SpanKind // what it is about
	Op      string   // of a request: get, get_many, lookup, refresh, put, delete, expire, update (also a conditional write, or an Incr) or clear
	Cache   string   // the cache's name
	Group   string   // GroupOptions.GroupName
	Self    string   // this process's name in its group; "" if the cache is alone
	Peer    string   // of a request: the name of the process at the other end
	Replica bool     // of a request: that one does not own the key, and may have a replica
	Key     string   // if it is about one key; its memory may be used for something else when Start has returned
	Keys    int      // how many keys it is about; 0: all
	Epoch   uint64   // of the view of the group; 0: there is none
	Carried []byte   // of a request that is served: what Carry has returned at the other end; it must not be changed or kept
}

// A SpanEnd says how a Span has ended.
type SpanEnd struct {
	// Result of a load is ok, not_found, unchanged, canceled (nobody waited any more), timeout, panic
	// or error. Of a request it is hit, not_found, done (also: nothing is there), right (whoever asks
	// is to load the key), moved (another process owns the key), alone (each process has to load for
	// itself), outdated, conflict (of an update that brings what is there: hit), canceled or error.
	Result string
	// Err is what went wrong. ErrNotFound, ErrOutdated, ErrConflict and the end of those who waited are none.
	Err error
}

// A tracer calls a cache's Tracer. A nil one does nothing.
type tracer struct {
	user   Tracer
	log    *warner
	common Span
}

func (c *Cache[V]) newTracer() *tracer {
	if c.opt.Tracer == nil {
		return nil
	}
	t := &tracer{user: c.opt.Tracer, log: &c.log, common: Span{Cache: c.name}}
	if g := c.opt.Group; g != nil {
		t.common.Group, t.common.Self = g.opt.GroupName, g.opt.Name
	}
	return t
}

// do calls a method of the user's.
func (t *tracer) do(method string, f func()) {
	if err := guard(method, func() error { f(); return nil }); err != nil {
		t.failed(method, err)
	}
}

func (t *tracer) failed(method string, err error) {
	t.log.warn("covey: a method of Options.Tracer failed", method, "err", err)
}

// A span is one that has begun. A nil one does nothing.
type span struct {
	t       *tracer
	ctx     context.Context
	carried []byte // what tells others about it
}

// start begins a span. If that fails there is none, and ctx is returned as it is.
func (t *tracer) start(ctx context.Context, s Span) (context.Context, *span) {
	s.Cache, s.Group, s.Self = t.common.Cache, t.common.Group, t.common.Self
	one := &span{t: t}
	t.do("Tracer.Start", func() {
		one.ctx = t.user.Start(ctx, s)
		if one.ctx != nil && s.Kind != SpanServe { // or else its own loads and requests tell about it
			one.carried = t.user.Carry(one.ctx)
		}
	})
	if one.ctx == nil {
		return ctx, nil
	}
	if len(one.carried) > MaxCarried {
		one.carried = nil
	}
	return one.ctx, one
}

func (s *span) end(e SpanEnd) {
	if s != nil {
		s.t.do("Tracer.End", func() { s.t.user.End(s.ctx, e) })
	}
}

// A loadTrace is what there is to say about a load to those who wait for it.
type loadTrace struct {
	load   []byte          // what tells about its span
	within context.Context // of what it was started for, whose span has the load's as a child; nil if that is at another process
}

// startLoad begins the span of a load of keys, which are not none. It returns the context for the
// loader.
func (c *Cache[V]) startLoad(ctx context.Context, refresh bool, keys ...string) (context.Context, *span, *loadTrace) {
	t := c.tracer
	if t == nil {
		return ctx, nil, nil
	}
	s := Span{Kind: SpanLoad, Keys: len(keys)}
	if refresh {
		s.Kind = SpanRefresh
	}
	if len(keys) == 1 {
		s.Key = keys[0]
	}
	if c.peering != nil {
		s.Epoch = c.peering.tenures.view().epoch
	}
	lctx, one := t.start(ctx, s)
	if one == nil {
		return ctx, nil, nil
	}
	return lctx, one, &loadTrace{load: one.carried, within: ctx}
}

// endOfLoad says how a load has ended.
func endOfLoad(err error) SpanEnd {
	var panicked *PanicError
	switch {
	case err == nil:
		return SpanEnd{Result: "ok"}
	case errors.Is(err, ErrNotFound):
		return SpanEnd{Result: "not_found"}
	case errors.Is(err, ErrUnchanged):
		return SpanEnd{Result: "unchanged"}
	case errors.Is(err, context.Canceled):
		return SpanEnd{Result: "canceled"}
	case errors.Is(err, ErrLoadTimeout):
		return SpanEnd{Result: "timeout", Err: err}
	case errors.As(err, &panicked):
		return SpanEnd{Result: "panic", Err: err}
	}
	return SpanEnd{Result: "error", Err: err}
}

// waited tells that a call, or a request, within ctx has waited for a load, of which there may be no
// trace. If the load is a part of the very same thing there is nothing to tell.
func (t *tracer) waited(ctx context.Context, l *loadTrace) {
	if t == nil || l == nil || len(l.load) == 0 || ctx == nil {
		return
	}
	t.do("Tracer.Waited", func() {
		if l.within == nil || !bytes.Equal(t.user.Carry(l.within), t.user.Carry(ctx)) {
			t.user.Waited(ctx, bytes.Clone(l.load))
		}
	})
}
