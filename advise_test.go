package covey

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

const advice = "covey: options do not go together"

// advised returns which options the lines of a logger say do not go together.
func advised(log *recorder) []string {
	names := []string{}
	for _, line := range log.said(advice) {
		names = append(names, line["options"].(string))
	}
	return names
}

// Each rule speaks for itself: of the first options it, and no other one, is logged; of the second
// ones, which are just beyond it, nothing is.
func TestAdviceOnCaches(t *testing.T) {
	snapshot := func(s Snapshot) Snapshot {
		s.Path = filepath.Join(t.TempDir(), "s")
		return s
	}
	loader := constant("v")
	inWorldOf := func(t *testing.T, f func(g *Group)) {
		synctest.Test(t, func(t *testing.T) {
			g, err := NewGroup(GroupOptions{
				Self: "http://a", Discovery: StaticPeers("http://a", "http://b"), Secrets: [][]byte{testSecret},
				Dial: netsim.New().Dialer("a"), Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			f(g)
			require.NoError(t, g.Shutdown(t.Context()))
		})
	}
	tests := []struct {
		rule    string
		grouped bool
		bad, ok Options[string]
	}{
		{"StaleWhileRevalidate, TTL", false, Options[string]{StaleWhileRevalidate: 1}, Options[string]{StaleWhileRevalidate: 1, TTL: time.Hour}},
		{"StaleIfError, TTL", false, Options[string]{StaleIfError: time.Minute, TTL: Forever}, Options[string]{StaleIfError: time.Minute, TTL: time.Hour}},
		{
			"StaleIfError, StaleWhileRevalidate", false, Options[string]{TTL: time.Hour, StaleIfError: 2, StaleWhileRevalidate: 2},
			Options[string]{TTL: time.Hour, StaleIfError: 3, StaleWhileRevalidate: 2},
		},
		{
			"StaleWhileRevalidate, MaxRefreshes", false, Options[string]{TTL: time.Hour, StaleWhileRevalidate: 1, MaxRefreshes: -1},
			Options[string]{TTL: time.Hour, StaleWhileRevalidate: 1, MaxRefreshes: 1},
		},
		{"EarlyRefresh, MaxRefreshes", false, Options[string]{EarlyRefresh: 2, MaxRefreshes: -1}, Options[string]{MaxRefreshes: -1}},
		{
			"SoftTimeout, LoadTimeout", false, Options[string]{TTL: time.Hour, StaleIfError: time.Hour, SoftTimeout: 30 * time.Second},
			Options[string]{TTL: time.Hour, StaleIfError: time.Hour, SoftTimeout: 30*time.Second - 1},
		},
		{
			"SoftTimeout, StaleIfError", false, Options[string]{TTL: time.Hour, SoftTimeout: 1, StaleWhileRevalidate: 1},
			Options[string]{TTL: time.Hour, SoftTimeout: 1, StaleWhileRevalidate: 1, StaleIfError: time.Minute},
		},
		{
			"ErrorThrottle, StaleIfError", false, Options[string]{TTL: time.Hour, StaleIfError: time.Second, ErrorThrottle: time.Second},
			Options[string]{TTL: time.Hour, StaleIfError: time.Second, ErrorThrottle: time.Second - 1},
		},
		{"NegativeTTL, TTL", false, Options[string]{TTL: time.Second, NegativeTTL: time.Second + 1}, Options[string]{TTL: time.Second, NegativeTTL: time.Second}},
		{
			"IdleTTL, TTL", false, Options[string]{TTL: time.Hour, StaleIfError: time.Hour, IdleTTL: 2 * time.Hour},
			Options[string]{TTL: time.Hour, StaleIfError: time.Hour, IdleTTL: 2*time.Hour - 1},
		},
		{"MaxValueBytes, MaxBytes", false, Options[string]{MaxBytes: 1 << 20, MaxValueBytes: 1<<19 + 1}, Options[string]{MaxBytes: 1 << 20, MaxValueBytes: 1 << 19}},
		{"MaxLoads, MaxRefreshes", false, Options[string]{MaxLoads: 2, MaxRefreshes: 2}, Options[string]{MaxLoads: 2}},
		{
			"LoadRate, MaxLoads", false, Options[string]{LoadRate: 101, LoadTimeout: 10 * time.Second},
			Options[string]{LoadRate: 100, LoadTimeout: 10 * time.Second},
		},
		{"LoadRate, MaxLoads", false, Options[string]{LoadRate: 1, LoadTimeout: -1}, Options[string]{LoadRate: 1, LoadTimeout: -1, MaxLoads: 100}},
		{
			"LoadRate, LoadTimeout", false, Options[string]{LoadRate: 0.9, LoadTimeout: time.Second},
			Options[string]{LoadRate: 1, LoadTimeout: time.Second},
		},
		{
			"LoadRate, Breaker", false, Options[string]{LoadRate: 1, Breaker: &Breaker{MinLoads: 12}},
			Options[string]{LoadRate: 1, Breaker: &Breaker{MinLoads: 11}},
		},
		{
			"Snapshot.MaxAge, Snapshot.Interval", false, Options[string]{Snapshot: snapshot(Snapshot{MaxAge: 5 * time.Minute})},
			Options[string]{Snapshot: snapshot(Snapshot{MaxAge: 5*time.Minute + 1})},
		},
		{
			"Snapshot.Interval, TTL", false, Options[string]{TTL: 5 * time.Minute, Snapshot: snapshot(Snapshot{})},
			Options[string]{TTL: 5 * time.Minute, StaleIfError: 2 * time.Second, Snapshot: snapshot(Snapshot{Interval: 5 * time.Minute})},
		},
		{
			"Snapshot, Loader", true, Options[string]{Snapshot: snapshot(Snapshot{})},
			Options[string]{Snapshot: snapshot(Snapshot{}), Loader: loader},
		},
		{"Replicas, GroupOptions.Discovery", true, Options[string]{Replicas: 3}, Options[string]{Replicas: 2}},
		{"Replicas, Group", false, Options[string]{Replicas: 2}, Options[string]{Replicas: 1}},
		{"ReadFrom, Replicas", true, Options[string]{ReadFrom: ReadFromAny}, Options[string]{ReadFrom: ReadFromAny, Replicas: 2}},
		{"SelfCheck, Replicas, L1", true, Options[string]{SelfCheck: 1, L1: -1}, Options[string]{SelfCheck: 1, L1: -1, Replicas: 2}},
		{"SelfCheck, Replicas, L1", true, Options[string]{SelfCheck: 1, L1: -1}, Options[string]{SelfCheck: 1}},
		{"L1, Group", false, Options[string]{L1: 1 << 20}, Options[string]{L1: -1}},
		{
			"L1, MaxValueBytes", true, Options[string]{L1: 1 << 20, MaxValueBytes: 1<<17 + 1},
			Options[string]{L1: 1 << 20, MaxValueBytes: 1 << 17},
		},
		{
			"Events.RemovedAtClose, Events.Removed", false, Options[string]{Events: Events[string]{RemovedAtClose: true}},
			Options[string]{Events: Events[string]{RemovedAtClose: true, Removed: func(Removal[string]) {}}},
		},
	}
	seen := make(map[string]bool)
	check := func(t *testing.T, o Options[string], want ...string) {
		var log recorder
		o.Logger = slog.New(&log)
		c, err := New("test", o)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.ElementsMatch(t, want, advised(&log))
	}
	for _, test := range tests {
		seen[test.rule] = true
		both := func(g *Group) {
			for _, o := range []*Options[string]{&test.bad, &test.ok} {
				o.Group = g
			}
			check(t, test.bad, test.rule)
			check(t, test.ok)
		}
		if !test.grouped {
			both(nil)
			continue
		}
		inWorldOf(t, both)
	}
	for _, r := range ofCaches {
		require.True(t, seen[r.options], "%s has no test", r.options)
	}
	check(t, Options[string]{})
	check(t, Options[string]{TTL: time.Minute, StaleWhileRevalidate: time.Minute, StaleIfError: time.Hour, SoftTimeout: time.Second, MaxLoads: 100, LoadRate: 100, Breaker: &Breaker{}})
}

// The same of a group's options.
func TestAdviceOnGroups(t *testing.T) {
	cert := &tls.Config{Certificates: []tls.Certificate{{}}}
	peers := StaticPeers("http://127.0.0.1:1")
	secure := StaticPeers("https://127.0.0.1:1")
	secrets := [][]byte{testSecret}
	seen := make(map[string]bool)
	for _, test := range []struct {
		rule    string
		bad, ok GroupOptions
	}{
		{
			"Listener, Self", GroupOptions{Listener: noListener{}, Discovery: peers},
			GroupOptions{Listener: noListener{}, Discovery: peers, Self: "http://127.0.0.1:1"},
		},
		{
			"MinMembers, Discovery", GroupOptions{Self: "http://127.0.0.1:1", Discovery: peers, MinMembers: 2},
			GroupOptions{Self: "http://127.0.0.1:1", Discovery: peers, MinMembers: 1},
		},
		{
			"Listener, TLS", GroupOptions{Self: "http://127.0.0.1:1", Discovery: peers, Listener: noListener{}, TLS: cert},
			GroupOptions{Self: "http://127.0.0.1:1", Discovery: peers, Listener: noListener{}, TLS: &tls.Config{}},
		},
		{
			"Listener, TLS without a certificate", GroupOptions{Self: "https://127.0.0.1:1", Discovery: secure, Listener: noListener{}, Secrets: secrets},
			GroupOptions{Self: "https://127.0.0.1:1", Discovery: secure, Listener: noListener{}, Secrets: secrets, TLS: cert},
		},
		{
			"TLS.InsecureSkipVerify, Secrets", GroupOptions{Self: "https://127.0.0.1:1", Discovery: secure, TLS: &tls.Config{InsecureSkipVerify: true}},
			GroupOptions{Self: "https://127.0.0.1:1", Discovery: secure, TLS: &tls.Config{InsecureSkipVerify: true}, Secrets: secrets},
		},
		{
			"OpTimeout", GroupOptions{Self: "http://127.0.0.1:1", Discovery: peers, OpTimeout: changeTakes - 1},
			GroupOptions{Self: "http://127.0.0.1:1", Discovery: peers, OpTimeout: changeTakes},
		},
	} {
		seen[test.rule] = true
		for i, o := range []GroupOptions{test.bad, test.ok} {
			var log recorder
			o.Logger = slog.New(&log)
			o, err := o.withDefaults()
			require.NoError(t, err, test.rule)
			advise(o.Logger, ofGroups, &o)
			timer := time.NewTimer(time.Minute)
			require.NoError(t, flushLogs(o.Logger, timer))
			want := []string{test.rule}
			require.Equal(t, want[:1-i], advised(&log), test.rule)
		}
	}
	for _, r := range ofGroups {
		require.True(t, seen[r.options], "%s has no test", r.options)
	}
	synctest.Test(t, func(t *testing.T) { // and NewGroup asks for it
		var log recorder
		g, err := NewGroup(GroupOptions{Self: "http://a", Discovery: StaticPeers("http://a"), MinMembers: 2, Secrets: secrets, Dial: netsim.New().Dialer("a"), Logger: slog.New(&log)})
		require.NoError(t, err)
		require.NoError(t, g.Shutdown(context.WithoutCancel(t.Context())))
		require.Equal(t, []string{"MinMembers, Discovery"}, advised(&log))
	})
}

// noListener stands for a listener that nobody uses.
type noListener struct{ net.Listener }
