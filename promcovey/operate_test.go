package promcovey

// operate_test.go tests what operators copy: the dashboard and the alert rules.

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coveycache/covey"
)

const testPatience = 30 * time.Second

// queries returns what the dashboard asks for, of all instances and caches.
func queries(t *testing.T) (all []string) {
	b, err := os.ReadFile("grafana.json")
	require.NoError(t, err)
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	require.NoError(t, json.Unmarshal(b, &board))
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all = append(all, strings.NewReplacer("$instance", ".*", "$cache", ".*", "$__rate_interval", "1m").Replace(target.Expr))
		}
	}
	require.NotEmpty(t, all)
	return all
}

// Whatever the dashboard and the alerts name is exported.
func TestNamesAreExported(t *testing.T) {
	exported := make(map[string]bool)
	for _, d := range New(Options{}).d.all {
		name := regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d.String())[1]
		exported[name] = true
		if strings.HasSuffix(name, "_duration_seconds") {
			exported[name+"_bucket"] = true
		}
	}
	rules, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	tests, err := os.ReadFile("alerts_test.yml")
	require.NoError(t, err)
	for name := range strings.FieldsFuncSeq(strings.Join(queries(t), " ")+string(rules)+string(tests), func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789_", r) }) {
		if strings.HasPrefix(name, "covey_") {
			require.True(t, exported[name], name)
		}
	}
}

// tool returns where a program of Debian's package prometheus is.
func tool(t *testing.T, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("%s is not installed (apt-get install prometheus)", name)
	}
	return path
}

func TestAlerts(t *testing.T) {
	promtool := tool(t, "promtool")
	out, err := exec.Command(promtool, "check", "rules", "--lint-fatal", "alerts.yml").CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(promtool, "test", "rules", "alerts_test.yml").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// A Prometheus that scrapes a process of a group has what the dashboard asks for.
func TestPrometheus(t *testing.T) {
	program := tool(t, "prometheus")
	target := serveMetrics(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	rules, err := filepath.Abs("alerts.yml")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 200ms, evaluation_interval: 200ms}
rule_files: [%q]
scrape_configs: [{job_name: test, static_configs: [{targets: [%q]}]}]
`, rules, target), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--log.level=error")
	var said strings.Builder
	cmd.Stderr = &said
	require.NoError(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	}()

	// nothing there is what these find in a process that is well
	empty := regexp.MustCompile(`covey_peer_up|capacity_entries|snapshot_timestamp`)
	for _, q := range queries(t) {
		require.EventuallyWithT(t, func(t *assert.CollectT) {
			got, err := http.Get("http://" + addr + "/api/v1/query?query=" + url.QueryEscape(q))
			require.NoError(t, err)
			defer got.Body.Close()
			var answer struct {
				Status, Error string
				Data          struct{ Result []any }
			}
			require.NoError(t, json.NewDecoder(got.Body).Decode(&answer))
			require.Equal(t, "success", answer.Status, "%s: %s", q, answer.Error)
			if !empty.MatchString(q) {
				require.NotEmpty(t, answer.Data.Result, q)
			}
		}, testPatience, 50*time.Millisecond)
	}
	got, err := http.Get("http://" + addr + "/api/v1/rules")
	require.NoError(t, err)
	defer got.Body.Close()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, State, Health, LastError string }
			}
		}
	}
	require.NoError(t, json.NewDecoder(got.Body).Decode(&answer))
	require.Len(t, answer.Data.Groups, 1)
	for _, r := range answer.Data.Groups[0].Rules {
		require.Equal(t, "inactive", r.State, r.Name)
		require.Empty(t, r.LastError, r.Name)
	}
}

// serveMetrics starts a group of one with a cache that has been used, and returns where its metrics
// are.
func serveMetrics(t *testing.T) (addr string) {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	log := slog.New(slog.DiscardHandler)
	g, err := covey.NewGroup(covey.GroupOptions{Self: srv.URL, Discovery: covey.StaticPeers(srv.URL), Logger: log})
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.Shutdown(context.WithoutCancel(t.Context())) })
	mux.Handle(g.Path(), g)
	cache, err := covey.New("users", covey.Options[string]{Group: g, MaxBytes: 1 << 20, Logger: log})
	require.NoError(t, err)
	require.NoError(t, g.Ready(t.Context()))
	require.NoError(t, cache.Put(t.Context(), "k", "v"))
	c := New(Options{})
	require.NoError(t, c.AddCache(cache))
	require.NoError(t, c.AddGroup(g))
	reg := prometheus.NewPedanticRegistry()
	require.NoError(t, reg.Register(c))
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	return srv.Listener.Addr().String()
}
