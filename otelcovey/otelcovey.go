// Package otelcovey tells OpenTelemetry what covey's caches and groups do: spans of loads and of requests
// between processes, which are one trace across all of them, and metrics.
//
//	telemetry, err := otelcovey.New(otelcovey.Options{})
//	users, err := covey.New("users", covey.Options[User]{Tracer: telemetry, Group: group})
//	err = errors.Join(telemetry.AddCache(users), telemetry.AddGroup(group))
//
// # Spans
//
// There are none of answers from a process's own memory. A span covey.load is a call of a loader that
// somebody waits for; others who wait for it, in whatever process, have a link to it in their own span.
// A covey.refresh is a load in the background: a root, with a link to the span of the call that made it
// due. A request to another process is a client span, such as covey.get or covey.put, and a server span
// of the same name there.
//
// Attributes: covey.cache, covey.group, covey.self, covey.peer, covey.tier (who is asked: owner or
// replica), covey.keys (how many), covey.epoch (of the view of the group), covey.result, and with
// Options.Keys covey.key. ErrNotFound, ErrOutdated and the end of those who wait are no errors.
//
// # Metrics
//
// They are those of package promcovey, by the names that OpenTelemetry's rules ask for, read when the
// MeterProvider asks. covey.load.duration and covey.request.duration are histograms, of what the cache
// has told since it got its Tracer. Other times have a .count and a .sum.
package otelcovey

// otelcovey.go is what users see.

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/coveycache/covey"
)

// A Cache is a *covey.Cache[V] of any V.
type Cache interface {
	Name() string
	Stats() covey.Stats
}

// Options are for [New].
type Options struct {
	// TracerProvider makes the spans. Default: otel.GetTracerProvider().
	TracerProvider trace.TracerProvider
	// MeterProvider makes the metrics. Default: otel.GetMeterProvider().
	MeterProvider metric.MeterProvider
	// Propagator says what goes from process to process; all of the group should have the same.
	// Default: propagation.TraceContext, which is W3C's traceparent and tracestate. What it says
	// together has [covey.MaxCarried] bytes at most.
	Propagator propagation.TextMapPropagator
	// Keys puts keys into spans, and the texts of errors, which may quote keys. Default: neither.
	Keys bool
}

// A Telemetry is a [covey.Tracer], to be given to the options of caches, and has the metrics of any
// number of caches and groups. Its methods are safe for concurrent use.
type Telemetry struct {
	spans
	instruments

	mu     sync.Mutex
	caches []Cache
	groups []*covey.Group
}

const scope = "github.com/coveycache/covey/otelcovey"

// New returns a Telemetry that has no metrics yet. Errors are those of the MeterProvider.
func New(o Options) (*Telemetry, error) {
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if o.Propagator == nil {
		o.Propagator = propagation.TraceContext{}
	}
	t := new(Telemetry)
	meter := o.MeterProvider.Meter(scope)
	var errs [3]error
	t.loads, errs[0] = meter.Float64Histogram("covey.load.duration", metric.WithUnit("s"), metric.WithDescription("How long loads took."))
	t.requests, errs[1] = meter.Float64Histogram("covey.request.duration", metric.WithUnit("s"), metric.WithDescription("How long requests to other processes took, waiting for loads included."))
	t.tracer, t.propagator, t.keys = o.TracerProvider.Tracer(scope), o.Propagator, o.Keys
	errs[2] = t.observe(meter)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("otelcovey: %w", err)
	}
	return t, nil
}

// AddCache has a cache's statistics measured, with its name as covey.cache. It returns an error if there
// is one of that name already.
func (t *Telemetry) AddCache(cache Cache) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, old := range t.caches {
		if old.Name() == cache.Name() {
			return fmt.Errorf("otelcovey: there is a cache %q already", cache.Name())
		}
	}
	t.caches = append(t.caches, cache)
	return nil
}

// RemoveCache ends what AddCache began, for a cache that is closed.
func (t *Telemetry) RemoveCache(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.caches = slices.DeleteFunc(t.caches, func(old Cache) bool { return old.Name() == name })
}

// AddGroup has a group's statistics measured, with this process's name in it as covey.self, and those of
// its peers, each with its name as covey.peer as long as it is a member or listed. It returns an error if
// there is a group of that name already.
func (t *Telemetry) AddGroup(g *covey.Group) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, old := range t.groups {
		if old.Name() == g.Name() {
			return fmt.Errorf("otelcovey: there is a group in which this process is %q already", g.Name())
		}
	}
	t.groups = append(t.groups, g)
	return nil
}

// RemoveGroup ends what AddGroup began.
func (t *Telemetry) RemoveGroup(g *covey.Group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.groups = slices.DeleteFunc(t.groups, func(old *covey.Group) bool { return old == g })
}
