package otelcovey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/internal/netsim"
)

// collect returns what a reader has, by name and, if there is one, what tells values of a name apart;
// those that differ in more are added up. Of a histogram there are its count and sum.
func collect(ctx context.Context, r *metric.ManualReader) (map[string]float64, error) {
	var data metricdata.ResourceMetrics
	if err := r.Collect(ctx, &data); err != nil {
		return nil, err
	}
	all := make(map[string]float64)
	add := func(name string, attrs attribute.Set, v float64) {
		for _, key := range []attribute.Key{resultKey, reasonKey, "covey.state", "covey.purpose"} {
			if by, ok := attrs.Value(key); ok {
				name += "{" + by.AsString() + "}"
			}
		}
		all[name] += v
	}
	for _, s := range data.ScopeMetrics {
		for _, m := range s.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					add(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					all[m.Name+".count"] += float64(p.Count)
					all[m.Name+".sum"] += p.Sum
				}
			}
		}
	}
	return all, nil
}

// A fixed cache has the numbers of a test.
type fixed struct {
	name  string
	stats covey.Stats
}

func (f fixed) Name() string       { return f.name }
func (f fixed) Stats() covey.Stats { return f.stats }

// Every number of Stats is in some metric, and in no other one.
func TestNumbers(t *testing.T) {
	// Those of which others are a part.
	parts := map[string]bool{"Loads": true, "Discarded": true, "Refused": true}
	base := measured(t, covey.Stats{})
	typ := reflect.TypeFor[covey.Stats]()
	seen := make(map[string]string)
	try := func(name string, index []int, typ reflect.Type) {
		if typ.Kind() != reflect.Int64 {
			return
		}
		var s covey.Stats
		s.Loads = 1000 // of which those that failed are a part
		s.LoadErrors = 500
		before := measured(t, s)
		reflect.ValueOf(&s).Elem().FieldByIndex(index).SetInt(777 + reflect.ValueOf(s).FieldByIndex(index).Int())
		changed := 0
		for metric, v := range measured(t, s) {
			if v != before[metric] {
				changed++
				if other := seen[metric]; other != "" && !parts[name] && !parts[other] && !strings.HasPrefix(metric, "covey.loads{") {
					t.Errorf("%s is in %s, as is %s", name, metric, other)
				}
				seen[metric] = name
			}
		}
		if changed == 0 && !parts[name] {
			t.Errorf("%s is in no metric", name)
		}
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Name == "Snapshot" {
			for j := range f.Type.NumField() {
				try(f.Type.Field(j).Name, []int{i, j}, f.Type.Field(j).Type)
			}
			continue
		}
		try(f.Name, f.Index, f.Type)
	}
	require.NotEmpty(t, base)
	require.Equal(t, 777e-9, measured(t, covey.Stats{LoadTime: 777})["covey.load.time"])
}

// measured returns the metrics of a cache that has such statistics.
func measured(t *testing.T, s covey.Stats) map[string]float64 {
	t.Helper()
	reader := metric.NewManualReader()
	telemetry, err := New(Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	require.NoError(t, err)
	require.NoError(t, telemetry.AddCache(fixed{"users", s}))
	all, err := collect(t.Context(), reader)
	require.NoError(t, err)
	return all
}

// Names and units are those that OpenTelemetry's rules ask for, and each name is there once.
func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	check := func(k kind, name, unit, help string) {
		require.Regexp(t, `^covey(\.[a-z][a-z0-9_]*)+$`, name)
		require.Regexp(t, regexp.MustCompile(`^(s|By|1|\{[a-z]+\})$`), unit, name)
		require.NotRegexp(t, `_(total|seconds|bytes)$`, name)
		require.True(t, strings.HasSuffix(help, "."), name)
		require.False(t, seen[name], name)
		seen[name] = true
		if k == level && strings.HasPrefix(unit, "{") {
			require.NotRegexp(t, `s$`, strings.TrimSuffix(name, "s.count"), "what goes up and down is not in the plural: %s", name)
		}
	}
	for _, m := range cacheMeasures {
		check(m.kind, m.name, m.unit, m.help)
	}
	for _, m := range groupMeasures {
		check(m.kind, m.name, m.unit, m.help)
	}
	for _, m := range peerMeasures {
		check(m.kind, m.name, m.unit, m.help)
	}
}

// What is measured of a peer ends when it leaves, and of a cache and a group when they are removed.
func TestSeriesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network, log := netsim.New(), slog.New(slog.DiscardHandler)
		reader := metric.NewManualReader()
		telemetry, err := New(Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
		require.NoError(t, err)
		var groups []*covey.Group
		var caches []*covey.Cache[string]
		for _, host := range []string{"a", "b"} {
			l, err := network.Listen(host + ":80")
			require.NoError(t, err)
			g, err := covey.NewGroup(covey.GroupOptions{
				Self: "http://" + host, Discovery: covey.StaticPeers("http://a", "http://b"), Dial: network.Dialer(host),
				Secrets: [][]byte{[]byte("a secret of at least 16 bytes")}, Logger: log,
			})
			require.NoError(t, err)
			srv := &http.Server{Handler: g}
			defer srv.Close()
			go func() { _ = srv.Serve(l) }()
			c, err := covey.New("users", covey.Options[string]{Group: g, Logger: log, Tracer: telemetry})
			require.NoError(t, err)
			groups, caches = append(groups, g), append(caches, c)
		}
		require.NoError(t, telemetry.AddCache(caches[0]))
		require.NoError(t, telemetry.AddGroup(groups[0]))
		require.Error(t, telemetry.AddCache(caches[0]))
		require.Error(t, telemetry.AddGroup(groups[0]))
		time.Sleep(5 * time.Second)
		get := func() map[string]float64 {
			all, err := collect(t.Context(), reader)
			require.NoError(t, err)
			return all
		}
		all := get()
		require.Equal(t, 2.0, all["covey.peer.member"], "summed up over peers")
		require.Equal(t, 1.0, all["covey.peer.self"])
		require.InDelta(t, 1.0, all["covey.peer.share"], 1e-9)
		require.Equal(t, 2.0, all["covey.group.members"])
		require.Equal(t, 1.0, all["covey.group.acting"])
		require.NoError(t, groups[1].Shutdown(t.Context()))
		time.Sleep(5 * time.Second)
		all = get()
		require.Equal(t, 1.0, all["covey.group.members"])
		require.Equal(t, 1.0, all["covey.peer.member"])
		telemetry.RemoveGroup(groups[0])
		all = get()
		require.NotContains(t, all, "covey.peer.member")
		require.NotContains(t, all, "covey.group.members")
		require.Contains(t, all, "covey.puts")
		telemetry.RemoveCache("users")
		require.NotContains(t, get(), "covey.puts")
		require.NoError(t, groups[0].Shutdown(t.Context()))
	})
}

// Spans have no keys, nor what may quote them, unless they are asked for.
func TestKeys(t *testing.T) {
	for _, keys := range []bool{false, true} {
		exporter := tracetest.NewInMemoryExporter()
		telemetry, err := New(Options{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter)), Keys: keys})
		require.NoError(t, err)
		cache, err := covey.New("users", covey.Options[string]{Tracer: telemetry})
		require.NoError(t, err)
		defer cache.Close()
		_, err = cache.Get(t.Context(), "a secret", func(_ context.Context, key string) (string, error) {
			return "", fmt.Errorf("no connection for %s", key)
		})
		require.Error(t, err)
		all := exporter.GetSpans()
		require.Len(t, all, 1)
		require.Equal(t, "Error", all[0].Status.Code.String())
		require.Equal(t, keys, strings.Contains(fmt.Sprintf("%+v", all), "a secret"))
		require.Equal(t, keys, strings.Contains(fmt.Sprintf("%+v", all), "no connection"))
	}
}

// A chatty propagator has more to say than is sent.
type chatty struct{ propagation.TraceContext }

func (c chatty) Inject(ctx context.Context, to propagation.TextMapCarrier) {
	to.Set("baggage", strings.Repeat("b", 3000))
	to.Set("tracestate", strings.Repeat("t", 3000))
	to.Set("lines", "a\nb")
	to.Set("a:b", "c")
	c.TraceContext.Inject(ctx, to)
}

func TestWhatIsCarried(t *testing.T) {
	telemetry, err := New(Options{TracerProvider: sdktrace.NewTracerProvider(), Propagator: chatty{}})
	require.NoError(t, err)
	ctx := telemetry.Start(t.Context(), covey.Span{Kind: covey.SpanLoad})
	carried := telemetry.Carry(ctx)
	require.LessOrEqual(t, len(carried), covey.MaxCarried)
	of := &carrier{b: carried}
	require.Equal(t, []string{"baggage", "traceparent"}, of.Keys())
	require.Equal(t, strings.Repeat("b", 3000), of.Get("Baggage"))
	got := trace.SpanContextFromContext(telemetry.propagator.Extract(t.Context(), of))
	require.Equal(t, trace.SpanContextFromContext(ctx).SpanID(), got.SpanID())
	require.True(t, got.IsRemote())
	require.Empty(t, (&carrier{}).Keys())
	telemetry.End(t.Context(), covey.SpanEnd{Err: errors.New("of nothing that has begun")})
}

// Whatever another process sends, a request is served and a caller is told of its load.
func FuzzCarried(f *testing.F) {
	exporter := tracetest.NewInMemoryExporter()
	telemetry, err := New(Options{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter)),
		Propagator:     propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
	})
	require.NoError(f, err)
	f.Add([]byte("traceparent:00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n"))
	f.Add([]byte("traceparent:00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\ntracestate:a=b\nbaggage:k=v\n"))
	f.Add([]byte("traceparent"))
	f.Add([]byte(":\n\n:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := telemetry.Start(context.Background(), covey.Span{Kind: covey.SpanServe, Op: "get", Carried: b})
		telemetry.Waited(ctx, b)
		require.NotEmpty(t, telemetry.Carry(ctx))
		telemetry.End(ctx, covey.SpanEnd{Result: "hit"})
		spans := exporter.GetSpans()
		exporter.Reset()
		require.Len(t, spans, 1)
		require.Equal(t, spans[0].Parent.IsValid(), len(spans[0].Links) == 1)
		_ = (&carrier{b: b}).Keys()
	})
}

// What a hit and a load cost, with a Tracer that samples one of a hundred traces and without one.
func BenchmarkGet(b *testing.B) {
	for _, what := range []string{"hit", "load"} {
		for _, on := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/traced=%t", what, on), func(b *testing.B) {
				var o covey.Options[string]
				ctx := context.Background()
				if on {
					provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.01))), sdktrace.WithBatcher(tracetest.NewNoopExporter()))
					telemetry, err := New(Options{TracerProvider: provider, MeterProvider: metric.NewMeterProvider()})
					require.NoError(b, err)
					o.Tracer = telemetry
				}
				cache, err := covey.New("users", o)
				require.NoError(b, err)
				defer cache.Close()
				load := func(context.Context, string) (string, error) { return "value", nil }
				once := func(ctx context.Context, key string) (string, error) {
					covey.LoadInfo(ctx).NoStore()
					return load(ctx, key)
				}
				if what == "hit" {
					once = load
				}
				b.ReportAllocs()
				for b.Loop() {
					if v, err := cache.Get(ctx, "key", once); v != "value" || err != nil {
						b.Fatal(v, err)
					}
				}
			})
		}
	}
}
