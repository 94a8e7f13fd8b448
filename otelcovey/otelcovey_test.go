package otelcovey

import (
	"context"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/coveycache/covey"
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
				if other := seen[metric]; other != "" && !parts[name] && !parts[other] && metric[:7] != "covey.l" {
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
