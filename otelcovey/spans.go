package otelcovey

// spans.go makes spans of what a cache tells its Tracer.

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/coveycache/covey"
)

// spans implements covey.Tracer.
type spans struct {
	tracer          trace.Tracer
	propagator      propagation.TextMapPropagator
	keys            bool
	loads, requests metric.Float64Histogram
	sets            sync.Map // of metric.RecordOption, by labels: to make one takes longer than to record
}

// labels are the attributes of a duration.
type labels struct{ cache, op, result string }

// of returns the attributes of a duration that has ended so.
func (t *spans) of(s *begun, result string) metric.RecordOption {
	l := labels{s.Cache, s.Op, result}
	if made, ok := t.sets.Load(l); ok {
		return made.(metric.RecordOption)
	}
	attrs := []attribute.KeyValue{cacheKey.String(l.cache), resultKey.String(result)}
	if l.op != "" {
		attrs = append(attrs, attribute.String("covey.op", l.op))
	}
	made := metric.WithAttributeSet(attribute.NewSet(attrs...))
	t.sets.Store(l, made)
	return made
}

var _ covey.Tracer = (*Telemetry)(nil)

// A begun span is in the context that Start returns.
type begun struct {
	covey.Span
	span trace.Span
	at   time.Time
}

type begunKey struct{}

// Start implements covey.Tracer.
func (t *spans) Start(ctx context.Context, s covey.Span) context.Context {
	name, kind := "covey."+s.Op, trace.SpanKindInternal
	options := make([]trace.SpanStartOption, 0, 4)
	switch s.Kind {
	case covey.SpanRequest:
		kind = trace.SpanKindClient
	case covey.SpanServe:
		kind = trace.SpanKindServer
		ctx = t.propagator.Extract(ctx, &carrier{b: s.Carried})
	case covey.SpanRefresh:
		name = "covey.refresh"
		options = append(options, trace.WithNewRoot(), trace.WithLinks(trace.LinkFromContext(ctx)))
	default:
		name = "covey.load"
	}
	options = append(options, trace.WithSpanKind(kind), trace.WithAttributes(t.attributes(&s)...))
	ctx, span := t.tracer.Start(ctx, name, options...)
	s.Key, s.Carried = "", nil // which may not be kept
	return context.WithValue(ctx, begunKey{}, &begun{s, span, time.Now()})
}

func (t *spans) attributes(s *covey.Span) []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, 8)
	text := func(key attribute.Key, value string) {
		if value != "" {
			all = append(all, key.String(value))
		}
	}
	text(cacheKey, s.Cache)
	text("covey.group", s.Group)
	text(selfKey, s.Self)
	text(peerKey, s.Peer)
	if s.Kind == covey.SpanRequest {
		tier := "owner"
		if s.Replica {
			tier = "replica"
		}
		text("covey.tier", tier)
	}
	if s.Keys > 0 {
		all = append(all, attribute.Int("covey.keys", s.Keys))
	}
	if s.Epoch > 0 {
		all = append(all, attribute.Int64("covey.epoch", int64(s.Epoch)))
	}
	if t.keys {
		text("covey.key", strings.Clone(s.Key))
	}
	return all
}

// End implements covey.Tracer.
func (t *spans) End(ctx context.Context, e covey.SpanEnd) {
	s, ok := ctx.Value(begunKey{}).(*begun)
	if !ok {
		return
	}
	took := time.Since(s.at).Seconds()
	switch s.Kind {
	case covey.SpanLoad, covey.SpanRefresh:
		t.loads.Record(ctx, took, t.of(s, e.Result))
	case covey.SpanRequest:
		t.requests.Record(ctx, took, t.of(s, e.Result))
	}
	if s.span.IsRecording() {
		s.span.SetAttributes(resultKey.String(e.Result))
		if e.Err != nil {
			text := ""
			if t.keys {
				text = e.Err.Error()
			}
			s.span.SetAttributes(attribute.String("error.type", e.Result))
			s.span.SetStatus(codes.Error, text)
		}
	}
	s.span.End()
}

// Carry implements covey.Tracer.
func (t *spans) Carry(ctx context.Context) []byte {
	var c carrier
	t.propagator.Inject(ctx, &c)
	return c.b
}

// Waited implements covey.Tracer.
func (t *spans) Waited(ctx context.Context, load []byte) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	of := trace.SpanContextFromContext(t.propagator.Extract(context.Background(), &carrier{b: load}))
	if of.IsValid() {
		span.AddLink(trace.Link{SpanContext: of, Attributes: []attribute.KeyValue{attribute.String("covey.link", "load")}})
	}
}

// A carrier has headers as they go between processes: each as a line, its name before a colon. What
// comes from others may be anything.
type carrier struct{ b []byte }

// Get implements propagation.TextMapCarrier.
func (c *carrier) Get(key string) string {
	for line := range bytes.Lines(c.b) {
		name, value, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(":"))
		if ok && strings.EqualFold(string(name), key) {
			return string(value)
		}
	}
	return ""
}

// room is kept for a traceparent, which tells more than the rest.
const room = 80

// Set implements propagation.TextMapCarrier. A header that cannot be sent is left out.
func (c *carrier) Set(key, value string) {
	limit := covey.MaxCarried
	if key != "traceparent" {
		limit -= room
	}
	if len(c.b)+len(key)+len(value)+2 > limit || strings.ContainsAny(key, ":\n") || strings.Contains(value, "\n") {
		return
	}
	if c.b == nil {
		c.b = make([]byte, 0, room)
	}
	c.b = append(c.b, key...)
	c.b = append(c.b, ':')
	c.b = append(c.b, value...)
	c.b = append(c.b, '\n')
}

// Keys implements propagation.TextMapCarrier.
func (c *carrier) Keys() (all []string) {
	for line := range bytes.Lines(c.b) {
		if name, _, ok := bytes.Cut(line, []byte(":")); ok {
			all = append(all, string(name))
		}
	}
	return all
}
