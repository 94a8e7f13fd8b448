//go:build unix

package otelcovey

// process_test.go has three real processes: the test binary runs again as each of them.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/coveycache/covey"
)

// peerVariable is the environment variable that makes the test binary a process of the group.
const peerVariable = "COVEY_OTEL_TEST_PEER"

func TestMain(m *testing.M) {
	if os.Getenv(peerVariable) == "" {
		os.Exit(m.Run())
	}
	if err := peerMain(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// An order is one line of a process's standard input, answered with a report.
type order struct {
	Do    string
	Peers []string
	Keys  []string
	Owner string
	Calls int // get: so many at once, in a span each
}

type report struct {
	URL     string // the first line, which no order asked for
	Name    string // in the group
	Err     string
	Keys    []string
	Spans   []spanData
	Stats   covey.Stats
	Metrics map[string]float64
	Epoch   uint64
}

// spanData is a span that has ended.
type spanData struct {
	Name, Kind, Trace, ID, Parent string
	Remote                        bool // the parent is in another process
	Links                         []string
	Attributes                    map[string]string
	Failed                        bool
}

type process struct {
	listener  net.Listener
	url       string
	spans     *tracetest.InMemoryExporter
	tracer    trace.Tracer
	reader    *metric.ManualReader
	telemetry *Telemetry
	group     *covey.Group
	cache     *covey.Cache[string]
}

func peerMain(in io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p := &process{listener: l, url: "http://" + l.Addr().String(), spans: tracetest.NewInMemoryExporter(), reader: metric.NewManualReader()}
	enc, dec := json.NewEncoder(out), json.NewDecoder(bufio.NewReader(in))
	if err := enc.Encode(report{URL: p.url}); err != nil {
		return err
	}
	for {
		var o order
		if err := dec.Decode(&o); err != nil {
			return nil // the test is over
		}
		r, err := p.do(o)
		if err != nil {
			r.Err = err.Error()
		}
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
}

func (p *process) do(o order) (r report, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	switch o.Do {
	case "join":
		err := p.join(ctx, o)
		r.Name = p.group.Name()
		return r, err
	case "keys": // that Owner owns
		for i := 0; len(r.Keys) < 10 && i < 10000; i++ {
			if k := fmt.Sprint(o.Keys[0], i); p.group.Owner(k) == o.Owner {
				r.Keys = append(r.Keys, k)
			}
		}
		return r, nil
	case "report":
		for _, s := range p.spans.GetSpans() {
			r.Spans = append(r.Spans, dataOf(s))
		}
		p.spans.Reset()
		r.Stats, r.Epoch = p.cache.Stats(), p.group.Stats().Epoch
		r.Metrics, err = collect(ctx, p.reader)
		return r, err
	}
	errs := make([]error, max(o.Calls, 1))
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			ctx, span := p.tracer.Start(ctx, "caller")
			defer span.End()
			errs[i] = p.call(ctx, o)
		})
		time.Sleep(20 * time.Millisecond) // the first one is the first
	}
	wg.Wait()
	return r, errors.Join(errs...)
}

func (p *process) call(ctx context.Context, o order) (err error) {
	switch o.Do {
	case "get":
		_, err = p.cache.Get(ctx, o.Keys[0], nil)
		if errors.Is(err, covey.ErrNotFound) {
			err = nil
		}
	case "get_many":
		_, err = p.cache.GetMany(ctx, o.Keys, nil)
	case "put":
		err = p.cache.Put(ctx, o.Keys[0], "put")
	case "delete":
		err = p.cache.Delete(ctx, o.Keys[0])
	}
	return err
}

func (p *process) join(ctx context.Context, o order) (err error) {
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(p.spans))
	p.tracer = provider.Tracer("test")
	p.telemetry, err = New(Options{TracerProvider: provider, MeterProvider: metric.NewMeterProvider(metric.WithReader(p.reader))})
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	p.group, err = covey.NewGroup(covey.GroupOptions{
		Self: p.url, Discovery: covey.StaticPeers(o.Peers...), Listener: p.listener, GroupName: "test", MinMembers: len(o.Peers), Logger: log, WarmUp: time.Millisecond,
	})
	if err != nil {
		return err
	}
	p.cache, err = covey.New("users", covey.Options[string]{
		Group: p.group, Tracer: p.telemetry, Logger: log, Replicas: 1, L1: -1,
		StaleWhileRevalidate: time.Hour, EarlyRefresh: -1,
		Loader: func(ctx context.Context, key string) (string, error) {
			covey.LoadInfo(ctx).SetTTL(time.Hour)
			if strings.HasPrefix(key, "stale") {
				covey.LoadInfo(ctx).SetTTL(50 * time.Millisecond)
			}
			if strings.HasPrefix(key, "slow") {
				time.Sleep(500 * time.Millisecond)
			}
			if strings.HasPrefix(key, "none") {
				return "", covey.ErrNotFound
			}
			_, span := p.tracer.Start(ctx, "database")
			span.End()
			return "loaded", nil
		},
	})
	if err != nil {
		return err
	}
	err = errors.Join(p.telemetry.AddCache(p.cache), p.telemetry.AddGroup(p.group), p.group.Ready(ctx))
	return err
}

func dataOf(s tracetest.SpanStub) spanData {
	d := spanData{
		Name: s.Name, Kind: s.SpanKind.String(), Trace: s.SpanContext.TraceID().String(), ID: s.SpanContext.SpanID().String(),
		Remote: s.Parent.IsRemote(), Attributes: make(map[string]string), Failed: s.Status.Code != 0,
	}
	if s.Parent.IsValid() {
		d.Parent = s.Parent.SpanID().String()
	}
	for _, l := range s.Links {
		d.Links = append(d.Links, l.SpanContext.SpanID().String())
	}
	for _, a := range s.Attributes {
		d.Attributes[string(a.Key)] = a.Value.String()
	}
	return d
}

// A remote is a process as the test sees it.
type remote struct {
	t    *testing.T
	url  string
	name string
	in   io.WriteCloser
	enc  *json.Encoder
	dec  *json.Decoder
}

func startProcess(t *testing.T) *remote {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), peerVariable+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p := &remote{t: t, in: in, enc: json.NewEncoder(in), dec: json.NewDecoder(out)}
	var r report
	require.NoError(t, p.dec.Decode(&r))
	p.url = r.URL
	return p
}

func (p *remote) do(o order) (r report) {
	p.t.Helper()
	require.NoError(p.t, p.enc.Encode(o))
	require.NoError(p.t, p.dec.Decode(&r))
	require.Empty(p.t, r.Err, o.Do)
	return r
}

// A world is three processes, and the spans that they have reported.
type world struct {
	t     *testing.T
	procs []*remote
}

// spans returns what the processes have told since the last time, each with who told it, once there are
// so many of a name.
func (w *world) spans(name string, n int) (all []told) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		found := 0
		for i, p := range w.procs {
			for _, s := range p.do(order{Do: "report"}).Spans {
				all = append(all, told{s, i})
			}
		}
		for _, s := range all {
			if s.Name == name {
				found++
			}
		}
		return found == n && w.parentsAreThere(all)
	}, 10*time.Second, 20*time.Millisecond, "%d spans %s", n, name)
	return all
}

// A told span has ended in a process.
type told struct {
	spanData
	at int
}

// parentsAreThere reports whether every span's parent has ended, too.
func (w *world) parentsAreThere(all []told) bool {
	ids := map[string]bool{"": true}
	for _, s := range all {
		ids[s.ID] = true
	}
	for _, s := range all {
		if !ids[s.Parent] {
			return false
		}
	}
	return true
}

// line returns a span with all that it is within, from the outermost on, as name@process.
func line(all []told, s told) string {
	text := fmt.Sprintf("%s %s@%d", s.Name, s.Kind, s.at)
	for _, p := range all {
		if p.ID == s.Parent && p.Trace == s.Trace {
			return line(all, p) + " / " + text
		}
	}
	return text
}

// the returns the only span of a name that a process has told of.
func the(t *testing.T, all []told, name string, at int) told {
	t.Helper()
	var found []told
	for _, s := range all {
		if s.Name == name && s.at == at {
			found = append(found, s)
		}
	}
	require.Len(t, found, 1, "%s at %d of %v", name, at, all)
	return found[0]
}

func TestThreeProcesses(t *testing.T) {
	w := &world{t: t}
	var urls []string
	for range 3 {
		p := startProcess(t)
		w.procs = append(w.procs, p)
		urls = append(urls, p.url)
	}
	var wg sync.WaitGroup
	for _, p := range w.procs {
		wg.Go(func() { p.name = p.do(order{Do: "join", Peers: urls}).Name })
	}
	wg.Wait()
	a, b, c := w.procs[0], w.procs[1], w.procs[2]
	keys := func(prefix string) []string {
		return b.do(order{Do: "keys", Keys: []string{prefix}, Owner: a.name}).Keys
	}

	// 1. One trace: the caller in b, its request, a that serves it, the load there, and what the
	// loader does.
	k := keys("key")
	b.do(order{Do: "get", Keys: k[:1]})
	all := w.spans("covey.get", 2)
	require.Equal(t, "caller internal@1 / covey.get client@1 / covey.get server@0 / covey.load internal@0 / database internal@0",
		line(all, the(t, all, "database", 0)))
	request, served, load := the(t, all, "covey.get", 1), the(t, all, "covey.get", 0), the(t, all, "covey.load", 0)
	require.True(t, served.Remote)
	epoch := fmt.Sprint(a.do(order{Do: "report"}).Epoch)
	common := map[string]string{"covey.cache": "users", "covey.group": "test", "covey.keys": "1", "covey.epoch": epoch}
	with := func(more ...string) map[string]string {
		m := make(map[string]string)
		for k, v := range common {
			m[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	require.Equal(t, with("covey.self", b.name, "covey.peer", a.name, "covey.tier", "owner", "covey.result", "hit"), request.Attributes)
	require.Equal(t, with("covey.self", a.name, "covey.peer", b.name, "covey.result", "hit"), served.Attributes)
	require.Equal(t, with("covey.self", a.name, "covey.result", "ok"), load.Attributes)

	// 2. Hits make none, at the owner and elsewhere.
	a.do(order{Do: "get", Keys: k[:1]})
	all = w.spans("caller", 1)
	require.Len(t, all, 1)

	// 3. Whoever waits for a load has a link to it: a request from c, and callers in a, b and c that
	// ask nobody themselves.
	slow := keys("slow")
	for _, p := range w.procs[1:] {
		wg.Go(func() {
			if p == c {
				time.Sleep(100 * time.Millisecond)
			}
			p.do(order{Do: "get", Keys: slow[:1], Calls: 3})
		})
	}
	time.Sleep(200 * time.Millisecond)
	a.do(order{Do: "get", Keys: slow[:1]})
	wg.Wait()
	all = w.spans("caller", 7)
	load = the(t, all, "covey.load", 0)
	linked := make(map[string]int)
	for _, s := range all {
		if len(s.Links) > 0 {
			require.Equal(t, []string{load.ID}, s.Links)
			linked[fmt.Sprintf("%s@%d", s.Name, s.at)]++
		}
	}
	require.Equal(t, 2, linked["caller@1"], "%v", linked)
	require.Equal(t, 2, linked["caller@2"], "%v", linked)
	require.Equal(t, 1, linked["caller@0"], "%v", linked)
	require.Equal(t, 1, linked["covey.get@0"], "%v", linked)

	// 4. A refresh is a root, with a link to what made it due: the request that was served with the
	// old value, or the caller at the owner.
	stale := keys("stale")
	b.do(order{Do: "get", Keys: stale[:1]})
	w.spans("covey.load", 1)
	time.Sleep(100 * time.Millisecond)
	b.do(order{Do: "get", Keys: stale[:1]})
	all = w.spans("covey.refresh", 1)
	refresh, served := the(t, all, "covey.refresh", 0), the(t, all, "covey.get", 0)
	require.Empty(t, refresh.Parent)
	require.Equal(t, []string{served.ID}, refresh.Links)
	require.NotEqual(t, served.Trace, refresh.Trace)
	require.Equal(t, "covey.refresh internal@0 / database internal@0", line(all, the(t, all, "database", 0)))
	time.Sleep(100 * time.Millisecond)
	a.do(order{Do: "get", Keys: stale[:1]})
	all = w.spans("covey.refresh", 1)
	require.Equal(t, []string{the(t, all, "caller", 0).ID}, the(t, all, "covey.refresh", 0).Links)

	// 5. Other calls.
	for _, do := range []string{"put", "delete", "get_many"} {
		b.do(order{Do: do, Keys: k[:3]})
		all = w.spans("covey."+do, 2)
		require.Equal(t, fmt.Sprintf("caller internal@1 / covey.%s client@1 / covey.%[1]s server@0", do), line(all, the(t, all, "covey."+do, 0)))
		if do == "get_many" {
			require.Equal(t, "3", the(t, all, "covey.get_many", 0).Attributes["covey.keys"])
		}
	}
	b.do(order{Do: "get", Keys: keys("none")[:1]})
	all = w.spans("covey.get", 2)
	for _, s := range all {
		require.False(t, s.Failed, "that there is none is no error: %v", s)
	}
	require.Equal(t, "not_found", the(t, all, "covey.load", 0).Attributes["covey.result"])

	// 6. The metrics are what Stats says.
	for i, p := range w.procs {
		r := p.do(order{Do: "report"})
		for name, want := range map[string]int64{
			"covey.requests{hit}": r.Stats.Hits, "covey.requests{miss}": r.Stats.Misses, "covey.requests{hit_peer}": r.Stats.PeerHits,
			"covey.requests{stale}": r.Stats.StaleHits, "covey.load.coalesced": r.Stats.Coalesced, "covey.served": r.Stats.Served,
			"covey.loads{not_found}": r.Stats.LoadNotFound, "covey.refreshes": r.Stats.Refreshes, "covey.entry.count": r.Stats.Entries,
			"covey.puts": r.Stats.Puts, "covey.deletes": r.Stats.Deletes, "covey.load.duration.count": r.Stats.Loads,
			"covey.group.members": 3,
		} {
			require.EqualValues(t, want, r.Metrics[name], "%s of process %d", name, i)
		}
		require.InDelta(t, r.Stats.LoadTime.Seconds(), r.Metrics["covey.load.duration.sum"], 0.1)
	}
	require.EqualValues(t, 9, a.do(order{Do: "report"}).Stats.Loads)
	require.EqualValues(t, 2, a.do(order{Do: "report"}).Metrics["covey.refreshes"])
}
