package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coveycache/covey"
)

const secret = "thirty-two bytes, or a few more."

// A node is a member with a server on a socket.
type node struct {
	url   string
	group *covey.Group
	users *covey.Cache[string]
}

// nodes starts a group.
func nodes(t *testing.T, n int, secrets ...[]byte) (all []*node) {
	var muxes []*http.ServeMux
	var urls []string
	for range n {
		mux := http.NewServeMux()
		srv := httptest.NewUnstartedServer(mux)
		srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		srv.Start()
		t.Cleanup(srv.Close)
		muxes, urls = append(muxes, mux), append(urls, srv.URL)
	}
	quiet := slog.New(slog.DiscardHandler)
	for i, url := range urls {
		g, err := covey.NewGroup(covey.GroupOptions{Self: url, Discovery: covey.StaticPeers(urls...), Secrets: secrets, Logger: quiet})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, g.Shutdown(context.Background())) })
		muxes[i].Handle(g.Path(), g)
		users, err := covey.New("users", covey.Options[string]{TTLJitter: -1, Group: g, Logger: quiet})
		require.NoError(t, err)
		all = append(all, &node{url, g, users})
	}
	for _, one := range all {
		require.NoError(t, one.group.Ready(t.Context()))
	}
	return all
}

// A world is what a run of the command has around it.
type world struct {
	env      map[string]string
	in       string
	terminal bool
}

// at returns the world of somebody who knows a member, and its secret.
func at(url string) *world {
	return &world{env: map[string]string{"COVEY_URL": url, "COVEY_SECRET": secret}}
}

func (w *world) run(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(t.Context(), args, &surroundings{
		in: strings.NewReader(w.in), out: &o, err: &e, env: func(name string) string { return w.env[name] }, isTerminal: w.terminal, every: time.Millisecond,
	})
	require.NotContains(t, o.String()+e.String(), secret)
	return status, o.String(), e.String()
}

// ok returns the output of a run that goes well.
func (w *world) ok(t *testing.T, args ...string) string {
	t.Helper()
	status, out, errs := w.run(t, args...)
	require.Zero(t, status, "%s%s", out, errs)
	return out
}

// inJSON runs a command with -json.
func inJSON[T any](t *testing.T, w *world, args ...string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(w.ok(t, append(args, "-json")...)))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&v))
	return v
}

// cells returns a table, without what aligns it.
func cells(out string) (all [][]string) {
	for line := range strings.Lines(out) {
		all = append(all, strings.Fields(line))
	}
	return all
}

func TestGroup(t *testing.T) {
	all := nodes(t, 2, []byte(secret))
	a, b := all[0], all[1]
	w := at(a.url)
	require.NoError(t, a.users.Put(t.Context(), "42", "the answer", covey.WithTTL(time.Hour), covey.WithVersion(7)))
	for _, one := range all {
		for range 10 {
			_, err := one.users.Get(t.Context(), "42", nil)
			require.NoError(t, err)
		}
	}

	// The members.
	out := w.ok(t, "peers")
	table := cells(out)
	require.Len(t, table, 3)
	require.Equal(t, "MEMBER", table[0][0])
	for i, p := range inJSON[[]covey.Peer](t, w, "peers") {
		want := a.group.Peers()[i]
		require.Equal(t, []string{want.Name, want.State.String()}, table[i+1][:2])
		require.Equal(t, []any{want.Member, want.Self, want.State, want.Share}, []any{p.Member, p.Self, p.State, p.Share})
	}
	require.Contains(t, out, "self")
	require.Contains(t, out, "up")

	// The caches.
	var requests int64
	for _, one := range all {
		s := one.users.Stats()
		requests += s.Hits + s.L1Hits + s.PeerHits + s.Misses
	}
	table = cells(w.ok(t, "stats"))
	require.Equal(t, []string{"CACHE", "MEMBERS", "REQUESTS"}, table[0][:3])
	require.Equal(t, []string{"users", "2"}, table[1][:2])
	require.Equal(t, cells(w.ok(t, "-cache", "users", "stats"))[1], table[1])
	reports := inJSON[[]covey.Report](t, w, "stats")
	require.Len(t, reports, 2)
	row := rows(reports, "", nil)[0]
	require.Equal(t, requests, row.requests())
	require.EqualValues(t, 1, row.writes)
	require.EqualValues(t, 1, row.entries)
	status, _, errs := w.run(t, "stats", "-cache", "other")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "-cache")

	// A key.
	require.Equal(t, "the answer", w.ok(t, "get", "42"))
	require.Equal(t, "the answer", at(strings.TrimPrefix(b.url, "http://")).ok(t, "-cache=users", "get", "--", "42"))
	require.Equal(t, "the answer", (&world{env: map[string]string{"COVEY_SECRET": secret}}).ok(t, "get", "42", "-url", a.group.Name()))
	v := inJSON[value](t, w, "get", "42")
	require.Equal(t, []any{"users", "42", "the answer", uint64(7)}, []any{v.Cache, v.Key, string(v.Value), v.Version})
	require.InDelta(t, time.Hour, v.Age+v.TTL, float64(3*time.Second)) // in whole seconds
	terminal := at(a.url)
	terminal.terminal = true
	require.Equal(t, "the answer\n", terminal.ok(t, "get", "42"))
	require.NoError(t, a.users.Put(t.Context(), "-x \x1b[2J", "\x1b[31mred"))
	status, out, errs = terminal.run(t, "get", "--", "-x \x1b[2J")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "-json")
	require.NotContains(t, out+errs, "\x1b")
	status, _, errs = w.run(t, "get", "43")
	require.Equal(t, 1, status)
	require.Contains(t, errs, `cache users has no "43"`)

	// Where it is.
	out = w.ok(t, "explain", "42")
	owner := a.group.Owner("42")
	require.Contains(t, out, owner)
	require.Contains(t, out, "as owner")
	require.Contains(t, out, "put 20")
	e := inJSON[covey.Explanation](t, w, "explain", "42")
	require.Equal(t, []any{"users", "42", owner}, []any{e.Cache, e.Key, e.Owner})
	require.NotContains(t, w.ok(t, "explain", "--", "-x \x1b[2J"), "\x1b")
	require.Contains(t, w.ok(t, "explain", "43"), "nothing")

	// Deleting it.
	for _, answer := range []string{"", "n\n", "\n", "what\n"} {
		w.in = answer
		status, _, errs = w.run(t, "delete", "42")
		require.Equal(t, 1, status)
		require.Contains(t, errs, `Delete "42" of cache users`)
		require.Contains(t, errs, "nothing was deleted")
		require.True(t, a.users.Contains("42") || b.users.Contains("42"))
	}
	w.in = "y\n"
	require.Contains(t, w.ok(t, "delete", "42"), `deleted "42"`)
	require.False(t, a.users.Contains("42") || b.users.Contains("42"))
	w.in = ""
	require.Contains(t, w.ok(t, "delete", "42", "-yes", "-json"), `"Deleted": true`)
	require.Contains(t, w.ok(t, "explain", "42"), "delete 20")

	// Which cache is meant has to be said if there are several.
	_, err := covey.New("pages", covey.Options[string]{Group: a.group, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	status, _, errs = w.run(t, "get", "42")
	require.Equal(t, 2, status)
	require.Contains(t, errs, "-cache")
	require.Contains(t, errs, "pages, users")
	status, _, errs = w.run(t, "get", "42", "-cache", "other")
	require.Equal(t, 1, status)
	require.Contains(t, errs, `there is no cache "other"`)
}

// What is watched has rates from the second look on, and goes on while the member is away.
func TestWatch(t *testing.T) {
	all := nodes(t, 2, []byte(secret))
	require.NoError(t, all[0].users.Put(t.Context(), "42", "v"))
	watch := func(w *world, until func(out string) bool, args ...string) (status int, out string) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var seen lines
		done := make(chan int)
		go func() {
			done <- run(ctx, append(args, "watch"), &surroundings{
				out: &seen, err: io.Discard, env: func(name string) string { return w.env[name] }, isTerminal: w.terminal, every: time.Millisecond,
			})
		}()
		require.Eventually(t, func() bool {
			for _, one := range all {
				_, err := one.users.Get(t.Context(), "42", nil)
				require.NoError(t, err)
			}
			return until(seen.String())
		}, 20*time.Second, time.Millisecond)
		cancel()
		return <-done, seen.String()
	}
	w := at(all[0].url)
	status, out := watch(w, func(out string) bool { return strings.Count(out, "CACHE") >= 2 && strings.HasSuffix(out, "\n\n") })
	require.Zero(t, status)
	require.NotContains(t, out, "\x1b")
	looks := strings.SplitAfter(out, "\n\n")
	first, second := cells(looks[1]), cells(looks[4])
	require.Len(t, first, 4) // the titles, two members, a blank line
	require.Equal(t, "-", first[1][5])
	require.NotEqual(t, "-", second[1][5])

	w.terminal = true
	_, out = watch(w, func(out string) bool { return strings.Count(out, "CACHE") >= 2 })
	require.Equal(t, strings.Count(out, "MEMBER"), strings.Count(out, "\x1b[H\x1b[J"))

	_, out = watch(w, func(out string) bool { return strings.Count(out, "\n") >= 2 }, "-json")
	for line := range strings.Lines(out) {
		var l look
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		require.Len(t, l.Peers, 2)
		require.Len(t, l.Reports, 2)
	}

	// A member that goes away, and comes back.
	var mu sync.Mutex
	asked := 0
	away := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked > 4 && asked < 10 {
			http.Error(rw, "covey: closed", http.StatusServiceUnavailable)
			return
		}
		all[0].group.ServeHTTP(rw, r)
	}))
	defer away.Close()
	_, out = watch(at(away.URL), func(out string) bool {
		_, after, failed := strings.Cut(out, "closed; this is the last that was heard")
		return failed && strings.Count(after, "CACHE") >= 10
	})
	require.Contains(t, out, "closed; this is the last")
}

// Lines can be read while they are written.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Mistakes in the command line have status 2 and are named.
func TestMistakes(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	odd := filepath.Join(t.TempDir(), "odd")
	require.NoError(t, os.WriteFile(odd, []byte("one\ntwo\n"), 0o600))
	for _, test := range []struct {
		args string
		want string
	}{
		{"", "a command is missing"},
		{"list", `no command "list"`},
		{"get", "get takes a key"},
		{"get a b", "too much"},
		{"peers a", "too much"},
		{"peers -colour", "-colour"},
		{"peers -timeout x", "-timeout"},
		{"peers -timeout 0s", "-timeout is 0s"},
		{"peers -url ftp://h", "-url: \"ftp://h\" must begin"},
		{"peers -url http://", "-url: \"http://\" has no host"},
		{"peers -url http://user:word@h", "-url: the URL has a user"},
		{"peers -url http://h/?x", "-url: \"http://h/?x\" has a query"},
		{"peers -url http://h:port", "-url"},
		{"peers -secret-file " + empty, "empty is empty"},
		{"peers -secret-file " + odd, "HTTP can't carry"},
		{"peers -secret-file " + odd + "/none", "-secret-file"},
	} {
		status, out, errs := at("http://127.0.0.1:1").run(t, strings.Fields(test.args)...)
		require.Equal(t, 2, status, test.args)
		require.Empty(t, out)
		require.Contains(t, errs, test.want)
		require.NotContains(t, errs, "word")
	}
	status, _, errs := new(world).run(t, "peers")
	require.Equal(t, 2, status)
	require.Contains(t, errs, "neither -url nor COVEY_URL")
	for _, args := range [][]string{{"-h"}, {"help"}, {"peers", "-help"}} {
		out := new(world).ok(t, args...)
		for _, c := range commands() {
			require.Contains(t, out, c.name)
		}
	}
}

// What else goes wrong has status 1, and names the URL and what to do.
func TestFailures(t *testing.T) {
	open := nodes(t, 1)[0]
	closed := nodes(t, 1, []byte(secret))[0]
	serve := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	led := false
	elsewhere := serve(func(http.ResponseWriter, *http.Request) { led = true })
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	tls.StartTLS()
	defer tls.Close()
	secretFile := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secretFile, []byte("another secret, as long as it is\n"), 0o600))
	for name, test := range map[string]struct {
		url  string
		env  string
		args []string
		want string
	}{
		"no secrets":   {open.url, secret, nil, "set GroupOptions.Secrets in all members"},
		"no secret":    {closed.url, "", nil, "set COVEY_SECRET or -secret-file"},
		"wrong secret": {closed.url, "wrong", nil, "does not take the secret of COVEY_SECRET"},
		"wrong file":   {closed.url, secret, []string{"-secret-file", secretFile}, "does not take the secret of -secret-file"},
		"wrong path":   {closed.url + "/elsewhere", secret, nil, "is -url the URL of a member"},
		"nobody there": {"127.0.0.1:1", secret, nil, "http://127.0.0.1:1/_covey/: "},
		"a page":       {serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>\x1b") }), secret, nil, "is -url right?"},
		"an error": {serve(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "\x1bno\nmore", http.StatusInternalServerError)
		}), secret, nil, "is -url the URL of a member"},
		"a redirect":    {serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, http.StatusFound) }), secret, nil, "leads elsewhere, to " + elsewhere},
		"TLS":           {strings.Replace(tls.URL, "https", "http", 1), secret, nil, "HTTPS"},
		"an unknown CA": {tls.URL, secret, nil, "certificate"},
		"too slow":      {serve(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), secret, []string{"-timeout", "50ms"}, "no answer within -timeout 50ms"},
		"a member, closed": {serve(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, covey.ErrClosed.Error(), http.StatusServiceUnavailable)
		}), secret, nil, "cache is closed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := at(test.url)
			w.env["COVEY_SECRET"] = test.env
			for _, command := range [][]string{{"peers"}, {"stats"}, {"hot"}, {"get", "k"}, {"get", "k", "-cache", "users"}, {"explain", "k"}, {"delete", "k", "-yes"}, {"watch"}} {
				status, out, errs := w.run(t, append(command, test.args...)...)
				require.Equal(t, 1, status, "%q: %s%s", command, out, errs)
				require.Empty(t, out)
				require.Contains(t, errs, test.want)
				require.Contains(t, errs, "http")
				require.NotContains(t, errs, "\x1b")
			}
		})
	}
	require.False(t, led, "the secret goes nowhere else")
	right := at(closed.url)
	right.env["COVEY_SECRET"] = "wrong"
	require.NoError(t, os.WriteFile(secretFile, []byte(secret+"\r\n"), 0o600))
	right.ok(t, "peers", "-secret-file", secretFile)
}

// said is a member that says something of others.
func said(t *testing.T, peers []covey.Peer, reports []covey.Report) *world {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v any = reports
		if strings.HasSuffix(r.URL.Path, "/peers") {
			v = peers
		}
		_ = json.NewEncoder(w).Encode(v)
	}))
	t.Cleanup(s.Close)
	return at(s.URL)
}

// The rates of a key that several answer for are added up, and members that are silent are named.
func TestHot(t *testing.T) {
	w := said(t, nil, []covey.Report{
		{Member: "a", HotKeys: []covey.HotKey{{Cache: "users", Key: "1", Rate: 10}, {Cache: "pages", Key: "/\x1b[2J", Rate: 500}}},
		{Member: "b", HotKeys: []covey.HotKey{{Cache: "users", Key: "1", Rate: 2.5, TooLarge: true}}},
		{Member: "c", Err: errors.New("gone\x1b")},
	})
	status, out, errs := w.run(t, "hot")
	require.Zero(t, status)
	require.Equal(t, "REQUESTS/s  CACHE  KEY         NOTES\n500         pages  \"/\\x1b[2J\"\n12.5        users  1           too large for copies\n", out)
	require.Contains(t, errs, "c is not in this")
	require.NotContains(t, errs, "\x1b")
	require.Equal(t, []covey.HotKey{{Cache: "users", Key: "1", Rate: 12.5, TooLarge: true}}, inJSON[[]covey.HotKey](t, w, "hot", "-cache", "users"))
	require.Empty(t, inJSON[[]covey.HotKey](t, w, "hot", "-cache", "other"))
}

func TestTroubles(t *testing.T) {
	peers := []covey.Peer{
		{Member: covey.Member{Name: "a"}, Self: true, State: covey.PeerIsSelf, Share: 0.25},
		{Member: covey.Member{Name: "b", Zone: "z 1"}, State: covey.PeerIsUp, RTT: 1234567},
		{Member: covey.Member{Name: "c"}, State: covey.PeerIsDown, Err: errors.New("e"), LastErr: errors.New("connection refused")},
		{Member: covey.Member{Name: "d"}, State: covey.PeerIsSilent, Leaving: true, Plain: errors.New("e")},
		{Member: covey.Member{Name: "e"}, State: covey.PeerIsUp, Version: "v1.2.3-a-long-one"},
		{Member: covey.Member{Name: "f"}, State: covey.PeerIsUp, Version: "v1", Leaving: true},
	}
	group := covey.GroupStats{Epoch: 1, Acting: true}
	w := said(t, peers, []covey.Report{
		{Member: "a", Group: group, Uptime: 50 * time.Hour, Caches: []covey.CacheReport{{Name: "users", Stats: covey.Stats{Entries: 3, Bytes: 1 << 20, Breaker: covey.BreakerOpen}}}},
		{Member: "b", Group: covey.GroupStats{Epoch: 2}},
		{Member: "c", Err: errors.New("timeout")},
		{Member: "d", Group: group},
		{Member: "e", Group: group},
	})
	out := w.ok(t, "peers")
	at := strings.Index(out, "NOTES")
	for line := range strings.Lines(out) {
		require.NotContains(t, line, " \n")
		if len(line) > at { // it has notes
			require.Regexp(t, `^  [^ ]`, line[at-2:], "columns are aligned, also beside empty cells")
		}
	}
	for _, want := range []string{
		"25.0%", "2d2h", "3", "1.0 MiB", "breaker of users is open", `"z 1"`, "1.2ms", "may not serve", "another view", "no link: connection refused", "is no member", "does not answer: timeout",
		"nothing is heard of it", "is leaving", "plain HTTP",
	} {
		require.Contains(t, out, want)
	}
}

// What can't be confirmed is said to be so.
func TestUnconfirmed(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, covey.ErrUnconfirmed.Error(), http.StatusBadGateway)
	}))
	defer s.Close()
	status, _, errs := at(s.URL).run(t, "delete", "k", "-yes", "-cache", "users")
	require.Equal(t, 1, status)
	require.Contains(t, errs, "ErrUnconfirmed")
	require.Contains(t, errs, "in the background")
}

// Rates are those since the look before, of those who were there then and have not been started anew.
func TestRates(t *testing.T) {
	report := func(uptime time.Duration, hits, loads int64) covey.Report {
		return covey.Report{Member: "a", Uptime: uptime, Caches: []covey.CacheReport{{Name: "users", Stats: covey.Stats{Hits: hits, Misses: loads, Loads: loads}}}}
	}
	before := &look{Reports: []covey.Report{report(10*time.Second, 100, 5)}}
	now := report(12*time.Second, 300, 9)
	r := before.ratesOf(&now, "users")
	require.Equal(t, []float64{100, 2, 102}, []float64{r.hits, r.loads, r.requests()})
	require.Equal(t, r, before.ratesOf(&now, ""))
	for _, one := range []struct {
		l     *look
		now   covey.Report
		cache string
	}{
		{nil, now, ""}, {before, now, "other"}, {before, report(time.Second, 300, 9), ""}, {before, covey.Report{Member: "b", Uptime: time.Hour}, ""},
		{&look{Reports: []covey.Report{{Member: "a", Err: errors.New("e")}}}, now, ""},
	} {
		r := one.l.ratesOf(&one.now, one.cache)
		require.False(t, r.known())
		require.Equal(t, "-", rate(r.requests()))
	}
}

func TestFormats(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 1234: "1µs", 1234567: "1.2ms", 1234567890: "1.23s", 90 * time.Second: "1m30s", 5*time.Hour + 90*time.Second: "5h2m", 73 * time.Hour: "3d1h", -time.Second: "-1s",
	} {
		require.Equal(t, want, short(d))
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1<<20 - 1: "1.0 MiB", 5 << 40: "5.0 TiB", 1 << 62: "4096.0 PiB"} {
		require.Equal(t, want, size(n))
	}
	for r, want := range map[float64]string{-1: "-", 0: "0", 0.04: "0.0", 12.34: "12.3", 1234.5: "1234"} {
		require.Equal(t, want, rate(r))
	}
	require.Equal(t, "a", shown("a"))
	require.Equal(t, `"a b"`, shown("a b"))
	require.Equal(t, "a·b", clean("a\x1bb"))
}

func TestBase(t *testing.T) {
	for at, want := range map[string]string{
		"h:80": "http://h:80/_covey/", "localhost:8080": "http://localhost:8080/_covey/", "http://h": "http://h/_covey/", "https://h/": "https://h/_covey/",
		"http://h/x": "http://h/x/", "http://h/x/": "http://h/x/", "[::1]:80": "http://[::1]:80/_covey/", "http://h/a%20b": "http://h/a%20b/",
	} {
		got, err := baseOf(at)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}
