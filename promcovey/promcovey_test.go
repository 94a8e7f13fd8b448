package promcovey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/internal/netsim"
)

// A fixed cache has the numbers of a test.
type fixed struct {
	name  string
	stats covey.Stats
}

func (f fixed) Name() string       { return f.name }
func (f fixed) Stats() covey.Stats { return f.stats }

func TestNumbers(t *testing.T) {
	c := New(Options{ConstLabels: prometheus.Labels{"app": "shop"}})
	require.NoError(t, c.AddCache(fixed{"users", covey.Stats{
		Hits: 1, L1Hits: 2, PeerHits: 3, StaleHits: 4, NegativeHits: 5, Misses: 6,
		ReplicaReads: 10, HedgeWins: 2,
		Loads: 20, LoadErrors: 9, LoadNotFound: 3, LoadTimeouts: 2, LoadPanics: 1, Breaker: covey.BreakerOpen,
		RefusedSlots: 7, RefusedRate: 8, RefusedOpen: 9,
		Discarded: 15, DiscardedWrite: 1, DiscardedView: 2, DiscardedVersion: 3, DiscardedLate: 4, DiscardedAway: 5, Outdated: 6,
	}}))
	require.NoError(t, testutil.CollectAndCompare(c, strings.NewReader(`
# HELP covey_breaker_state What the breaker does with loads. The series of the state is 1, the others are 0; all are if there is none.
# TYPE covey_breaker_state gauge
covey_breaker_state{app="shop",cache="users",state="closed"} 0
covey_breaker_state{app="shop",cache="users",state="half-open"} 0
covey_breaker_state{app="shop",cache="users",state="open"} 1
# HELP covey_fills_discarded_total Loaded values not stored, by what had come in between: a write of the key, a clear or another view, a higher version; or it was too late, or is not for this process to store.
# TYPE covey_fills_discarded_total counter
covey_fills_discarded_total{app="shop",cache="users",reason="away"} 5
covey_fills_discarded_total{app="shop",cache="users",reason="late"} 4
covey_fills_discarded_total{app="shop",cache="users",reason="version"} 3
covey_fills_discarded_total{app="shop",cache="users",reason="view"} 2
covey_fills_discarded_total{app="shop",cache="users",reason="write"} 1
# HELP covey_writes_outdated_total Writes refused since the cache knew a higher version.
# TYPE covey_writes_outdated_total counter
covey_writes_outdated_total{app="shop",cache="users"} 6
# HELP covey_loads_refused_total Loads that the protection of the origin refused.
# TYPE covey_loads_refused_total counter
covey_loads_refused_total{app="shop",cache="users",reason="breaker"} 9
covey_loads_refused_total{app="shop",cache="users",reason="rate"} 8
covey_loads_refused_total{app="shop",cache="users",reason="slots"} 7
# HELP covey_loads_total Loads that ran a loader, by what came of them.
# TYPE covey_loads_total counter
covey_loads_total{app="shop",cache="users",result="error"} 6
covey_loads_total{app="shop",cache="users",result="not_found"} 3
covey_loads_total{app="shop",cache="users",result="ok"} 8
covey_loads_total{app="shop",cache="users",result="panic"} 1
covey_loads_total{app="shop",cache="users",result="timeout"} 2
# HELP covey_requests_total Requests of callers, by where the answer came from.
# TYPE covey_requests_total counter
covey_requests_total{app="shop",cache="users",result="hit"} 1
covey_requests_total{app="shop",cache="users",result="hit_l1"} 2
covey_requests_total{app="shop",cache="users",result="hit_peer"} 3
covey_requests_total{app="shop",cache="users",result="hit_replica"} 10
covey_requests_total{app="shop",cache="users",result="miss"} 6
covey_requests_total{app="shop",cache="users",result="negative"} 5
covey_requests_total{app="shop",cache="users",result="stale"} 4
`), "covey_breaker_state", "covey_fills_discarded_total", "covey_writes_outdated_total", "covey_loads_refused_total", "covey_loads_total", "covey_requests_total"))
}

// What concerns replicas, changes of the members and snapshots has its number each.
func TestNumbersOfGroups(t *testing.T) {
	c := New(Options{})
	require.NoError(t, c.AddCache(fixed{"users", covey.Stats{
		Replicas: 1, ReplicaBytes: 2, ReplicasSent: 3, ReplicasRefused: 4, ReplicasMissed: 5,
		ReplicaReads: 6, Hedges: 8, HedgeWins: 7, Peeks: 10, PeekHits: 9, Checks: 19, Mismatches: 18, Trusted: 20,
		Snapshot: covey.SnapshotStats{Restored: 11, Aside: 12, Written: 13, Failed: 14, Entries: 15, Bytes: 16, At: time.UnixMilli(17500)},
	}}))
	require.NoError(t, c.AddCache(fixed{"none", covey.Stats{}}))
	reg := prometheus.NewPedanticRegistry()
	require.NoError(t, reg.Register(c))
	families, err := reg.Gather()
	require.NoError(t, err)
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == "users" {
				got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			} else if f.GetType() != dto.MetricType_HISTOGRAM {
				require.Zero(t, m.GetGauge().GetValue()+m.GetCounter().GetValue(), f.GetName())
			}
		}
	}
	for name, want := range map[string]float64{
		"replicas": 1, "replica_bytes": 2, "replicas_sent_total": 3, "replicas_refused_total": 4, "replicas_missed_total": 5,
		"replica_reads_total": 6, "hedges_total": 8, "hedges_won_total": 7, "peeks_total": 10, "peeks_hit_total": 9, "self_checks_total": 19, "snapshot_trusted_total": 20, "self_check_mismatches_total": 18,
		"snapshot_restored_entries": 11, "snapshot_unconfirmed_entries": 12, "snapshots_written_total": 13, "snapshots_failed_total": 14,
		"snapshot_entries": 15, "snapshot_bytes": 16, "snapshot_timestamp_seconds": 17.5,
	} {
		require.Equal(t, want, got["covey_"+name], name)
	}
}

// All that is described is collected, by the rules for names, and nothing twice.
func TestLint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, native := range []bool{false, true} {
			procs := pair(t, native)
			reg := prometheus.NewPedanticRegistry()
			require.NoError(t, reg.Register(procs[0].metrics))
			problems, err := testutil.GatherAndLint(reg)
			require.NoError(t, err)
			require.Empty(t, problems)
			families, err := reg.Gather()
			require.NoError(t, err)
			names := make(map[string]bool)
			for _, f := range families {
				names[f.GetName()] = true
			}
			require.Len(t, names, len(procs[0].metrics.d.all))
			for _, p := range procs {
				p.stop(t)
			}
		}
	})
}

// A process of a group, with its metrics.
type process struct {
	group   *covey.Group
	cache   *covey.Cache[string]
	srv     *http.Server
	metrics *Collector
}

// pair starts two of them.
func pair(t *testing.T, native bool) (all []*process) {
	network := netsim.New()
	log := slog.New(slog.DiscardHandler)
	for _, host := range []string{"a", "b"} {
		p := &process{metrics: New(Options{NativeHistograms: native})}
		l, err := network.Listen(host + ":80")
		require.NoError(t, err)
		p.group, err = covey.NewGroup(covey.GroupOptions{
			Self: "http://" + host, Discovery: covey.StaticPeers("http://a", "http://b"), Dial: network.Dialer(host),
			Secrets: [][]byte{[]byte("a secret of at least 16 bytes")}, Logger: log,
		})
		require.NoError(t, err)
		p.srv = &http.Server{Handler: p.group}
		go func() { _ = p.srv.Serve(l) }()
		p.cache, err = covey.New("users", covey.Options[string]{Group: p.group, Logger: log})
		require.NoError(t, err)
		require.NoError(t, p.metrics.AddGroup(p.group))
		require.NoError(t, p.metrics.AddCache(p.cache))
		all = append(all, p)
	}
	time.Sleep(5 * time.Second)
	for _, p := range all {
		require.NoError(t, p.group.Ready(t.Context()))
	}
	return all
}

func (p *process) stop(t *testing.T) {
	require.NoError(t, p.group.Shutdown(context.WithoutCancel(t.Context())))
	_ = p.srv.Close()
}

// The series of a peer end when it leaves, and those of a cache and a group when they are removed.
func TestSeriesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		procs := pair(t, false)
		a, b := procs[0], procs[1]
		const up = "covey_peer_up"
		require.Equal(t, 2, testutil.CollectAndCount(a.metrics, up))
		require.Equal(t, 1.0, value(t, a.metrics, "covey_group_acting"))
		require.Equal(t, 2.0, value(t, a.metrics, "covey_group_members"))
		b.stop(t)
		time.Sleep(5 * time.Second)
		require.Equal(t, 1.0, value(t, a.metrics, "covey_group_members"))
		require.Error(t, a.metrics.AddCache(a.cache))
		require.Error(t, a.metrics.AddGroup(a.group))
		a.metrics.RemoveGroup(a.group)
		require.Zero(t, testutil.CollectAndCount(a.metrics, up))
		require.Positive(t, testutil.CollectAndCount(a.metrics))
		a.metrics.RemoveCache("users")
		require.Zero(t, testutil.CollectAndCount(a.metrics))
		a.stop(t)
	})
}

func value(t *testing.T, c *Collector, name string) float64 {
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// Loads of known durations are in the right buckets of both kinds of histograms.
func TestHistograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, err := covey.New("slow", covey.Options[int]{LoadTimeout: time.Hour, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		defer cache.Close()
		times := []time.Duration{0, 3 * time.Microsecond, 500 * time.Microsecond, 5 * time.Millisecond, 5 * time.Millisecond, 900 * time.Millisecond, 10 * time.Minute}
		var sum time.Duration
		for i, d := range times {
			sum += d
			_, err := cache.Get(t.Context(), fmt.Sprint(i), func(context.Context, string) (int, error) {
				time.Sleep(d)
				return 0, errors.New("it failed")
			})
			require.Error(t, err)
		}
		gather := func(native bool) *dto.Histogram {
			c := New(Options{NativeHistograms: native})
			require.NoError(t, c.AddCache(cache))
			reg := prometheus.NewRegistry()
			reg.MustRegister(c)
			families, err := reg.Gather()
			require.NoError(t, err)
			for _, f := range families {
				if f.GetName() == "covey_load_duration_seconds" {
					h := f.GetMetric()[0].GetHistogram()
					require.EqualValues(t, len(times), h.GetSampleCount())
					require.InDelta(t, sum.Seconds(), h.GetSampleSum(), 0.001)
					return h
				}
			}
			t.Fatal("no histogram")
			return nil
		}
		for _, b := range gather(false).GetBucket() {
			want := 0
			for _, d := range times {
				if d.Seconds() < b.GetUpperBound() {
					want++
				}
			}
			require.EqualValues(t, want, b.GetCumulativeCount(), "up to %v s", b.GetUpperBound())
		}
		h := gather(true)
		require.EqualValues(t, 2, h.GetSchema())
		require.EqualValues(t, 1, h.GetZeroCount())
		got := make(map[int]int64)
		at, count, k := 0, int64(0), 0
		for _, span := range h.GetPositiveSpan() {
			at += int(span.GetOffset())
			for range span.GetLength() {
				count += h.GetPositiveDelta()[k]
				if count > 0 {
					got[at] = count
				}
				at++
				k++
			}
		}
		for _, d := range times[1:] {
			index := int(math.Ceil(math.Log2(d.Seconds()) * 4))
			near := got[index-1] + got[index] + got[index+1]
			require.Positive(t, near, "%v: %v", d, got)
		}
	})
}

// A scrape is what Prometheus reads.
func TestScrape(t *testing.T) {
	cache, err := covey.New("users", covey.Options[string]{MaxBytes: 1 << 20})
	require.NoError(t, err)
	defer cache.Close()
	require.NoError(t, cache.Put(t.Context(), "k", "v"))
	_, err = cache.Get(t.Context(), "k", nil)
	require.NoError(t, err)
	c := New(Options{})
	require.NoError(t, c.AddCache(cache))
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	srv := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	defer srv.Close()
	got, err := http.Get(srv.URL)
	require.NoError(t, err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	require.NoError(t, err)
	for _, line := range []string{
		`covey_requests_total{cache="users",result="hit"} 1`, `covey_entries{cache="users"} 1`, `covey_capacity_bytes{cache="users"} 1.048576e+06`,
	} {
		require.Contains(t, string(text), line)
	}
}
