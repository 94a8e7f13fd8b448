package covey

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A site is a process with a web server on a socket.
type site struct {
	g   *Group
	c   *Cache[string]
	mux *http.ServeMux
	srv *httptest.Server
	log logbook
}

// A setup says how sites are to be.
type setup struct {
	base   string // path of Self
	serve  func(mux *http.ServeMux, g *Group)
	wrap   func(http.Handler) http.Handler
	tls    bool
	http2  bool
	group  GroupOptions
	cache  Options[string]
	others []string // URLs of more members
}

// sites starts n processes, which are one group.
func sites(t *testing.T, n int, s setup) (all []*site) {
	urls := s.others
	for range n {
		p := &site{mux: http.NewServeMux()}
		p.srv = httptest.NewUnstartedServer(p.mux)
		if s.wrap != nil {
			p.srv.Config.Handler = s.wrap(p.mux)
		}
		p.srv.EnableHTTP2 = s.http2
		p.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		if s.tls {
			p.srv.StartTLS()
		} else {
			p.srv.Start()
		}
		t.Cleanup(p.srv.Close)
		urls = append(urls, p.srv.URL+s.base)
		all = append(all, p)
	}
	for i, p := range all {
		o := s.group
		o.Self, o.Discovery, o.Logger = urls[len(s.others)+i], StaticPeers(urls...), p.log.logger()
		if s.tls {
			o.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
			o.TLS.RootCAs.AddCert(p.srv.Certificate())
		}
		var err error
		p.g, err = NewGroup(o)
		require.NoError(t, err)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s has logged:\n%s", p.g.Name(), p.log.String())
			}
			require.NoError(t, p.g.Shutdown(context.Background()))
		})
		if s.serve == nil {
			p.mux.Handle(p.g.Path(), p.g)
		} else {
			s.serve(p.mux, p.g)
		}
		c := s.cache
		c.Group, c.Logger = p.g, p.log.logger()
		p.c, err = New("test", c)
		require.NoError(t, err)
	}
	return all
}

// linkUp waits until all have links to all, from both ends, and know that they share a cache.
func linkUp(t *testing.T, all []*site) {
	t.Helper()
	linksUp(t, all, 2)
}

func linksUp(t *testing.T, all []*site, each int) {
	t.Helper()
	for _, p := range all {
		require.NoError(t, p.g.Ready(t.Context()))
		for _, q := range p.g.view.Load().peers { // one that the other end has dialled would do
			if q != nil {
				q.Dial()
			}
		}
		require.Eventually(t, func() bool {
			s := p.g.Stats()
			for _, q := range p.g.Peers() {
				if !q.Self && !q.Up { // a link is counted a moment before it can be had
					return false
				}
			}
			for _, l := range p.g.allLinks() {
				if _, shared := l.Codec("test"); !shared {
					return false
				}
			}
			return s.Links >= each*(len(all)-1) && s.Members == len(all) && s.Settled && s.Acting
		}, 10*time.Second, time.Millisecond)
	}
}

// owned returns a key that the process owns.
func (p *site) owned() string {
	for i := 0; ; i++ {
		if k := fmt.Sprint("key", i); p.g.Owner(k) == p.g.Name() {
			return k
		}
	}
}

// plain makes a request for a key; the URL ends with what comes after the name of the path.
func (p *site) plain(t *testing.T, method, rest, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, p.srv.URL+p.g.Path()+"v1/"+rest, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+string(testSecret))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := p.srv.Client().Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer, string(text)
}

// logs waits until the process has logged all of that.
func (p *site) logs(t *testing.T, want ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		text := p.log.String()
		for _, w := range want {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return true
	}, 10*time.Second, time.Millisecond, "%q: %v", want, &p.log)
}

// A wrapper is a middleware's ResponseWriter.
type wrapper struct{ inner http.ResponseWriter }

func (w *wrapper) Header() http.Header         { return w.inner.Header() }
func (w *wrapper) Write(b []byte) (int, error) { return w.inner.Write(b) }
func (w *wrapper) WriteHeader(status int)      { w.inner.WriteHeader(status) }

// An unwrapper shows what it wraps, as http.ResponseController wants it.
type unwrapper struct{ wrapper }

func (w *unwrapper) Unwrap() http.ResponseWriter { return w.inner }

func TestGroupInServers(t *testing.T) {
	secrets := GroupOptions{Secrets: [][]byte{testSecret}}
	for name, s := range map[string]setup{
		"mux":                  {},
		"without secrets":      {group: GroupOptions{}},
		"base path":            {base: "/internal/cache", group: secrets},
		"base path with /v1/":  {base: "/api/v1/caches/x/", group: secrets},
		"base path, escaped":   {base: "/a%20b/ü/", group: secrets, serve: func(mux *http.ServeMux, g *Group) { mux.Handle("/", g) }},
		"stripped":             {base: "/app/covey", group: secrets, serve: func(mux *http.ServeMux, g *Group) { mux.Handle("/app/", http.StripPrefix("/app", g)) }},
		"stripped to the root": {base: "/app", group: secrets, serve: func(mux *http.ServeMux, g *Group) { mux.Handle("/app/", http.StripPrefix("/app", g)) }},
		"wrapped": {group: secrets, wrap: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&unwrapper{wrapper{w}}, r) })
		}},
		"TLS":         {tls: true, group: secrets},
		"TLS, HTTP/2": {tls: true, http2: true, group: secrets},
	} {
		t.Run(name, func(t *testing.T) {
			all := sites(t, 2, s)
			linkUp(t, all)
			a, b := all[0], all[1]
			k := b.owned()
			v, err := a.c.Get(t.Context(), k, constant("v"))
			require.NoError(t, err)
			require.Equal(t, "v", v)
			require.Eventually(t, func() bool { return b.c.Stats().Entries == 1 }, 10*time.Second, time.Millisecond, "it is stored where it belongs")
			require.NoError(t, a.c.Delete(t.Context(), k))
			require.Zero(t, b.c.Stats().Entries)
			if s.group.Secrets == nil {
				return
			}
			answer, _ := a.plain(t, "PUT", "caches/test?key="+k, "by HTTP")
			require.Equal(t, http.StatusNoContent, answer.StatusCode)
			if s.http2 {
				require.Equal(t, 2, answer.ProtoMajor)
			}
			answer, text := b.plain(t, "GET", "caches/test?key="+k, "")
			require.Equal(t, http.StatusOK, answer.StatusCode)
			require.Equal(t, "by HTTP", text)
			answer, text = a.plain(t, "GET", "link", "")
			if s.http2 {
				require.Equal(t, http.StatusHTTPVersionNotSupported, answer.StatusCode)
				require.Contains(t, text, "HTTP/1.1")
			} else {
				require.Equal(t, http.StatusUpgradeRequired, answer.StatusCode)
				require.Equal(t, "covey/1", answer.Header.Get("Upgrade"))
			}
		})
	}
}

// A middleware that takes connections away is named in the log of the one, and what it does in that
// of the other; both go on.
func TestMiddlewareWithoutUnwrap(t *testing.T) {
	all := sites(t, 2, setup{group: GroupOptions{Secrets: [][]byte{testSecret}}, wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(&wrapper{w}, r) })
	}})
	a, b := all[0], all[1]
	v, err := b.c.Get(t.Context(), a.owned(), constant("v"))
	require.NoError(t, err)
	require.Equal(t, "v", v)
	b.logs(t, "its status is 501", a.g.Name(), "does not let connections be upgraded")
	a.logs(t, "a middleware wraps the ResponseWriter without an Unwrap method")
}

// What is in the list and is no peer is named in the log with the reason; callers are served all
// the same.
func TestMembersThatAreNoPeers(t *testing.T) {
	handle := func(f http.HandlerFunc) func(*testing.T) string {
		return func(t *testing.T) string {
			s := httptest.NewServer(f)
			t.Cleanup(s.Close)
			return s.URL
		}
	}
	raw := func(f func(net.Conn)) func(*testing.T) string {
		return func(t *testing.T) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer conn.Close()
						_, _ = conn.Read(make([]byte, 4096))
						f(conn)
					}()
				}
			}()
			return "http://" + l.Addr().String()
		}
	}
	secret := GroupOptions{Secrets: [][]byte{testSecret}}
	for _, test := range []struct {
		name  string
		start func(t *testing.T) string
		want  string
	}{
		{"nothing there", handle(http.NotFound), "its status is 404"},
		{"another path", func(t *testing.T) string { return sites(t, 1, setup{base: "/elsewhere", group: secret})[0].srv.URL }, "check the path of the peer's URL"},
		{"a page", handle(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "welcome") }), "welcome"},
		{"another protocol", handle(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.WriteHeader(http.StatusSwitchingProtocols)
		}), "its status is 101"},
		{"TLS", func(t *testing.T) string {
			return strings.Replace(sites(t, 1, setup{tls: true, group: secret})[0].srv.URL, "https:", "http:", 1)
		}, "HTTPS server"},
		{"no TLS", func(t *testing.T) string {
			return strings.Replace(sites(t, 1, setup{group: secret})[0].srv.URL, "http:", "https:", 1)
		}, "TLS handshake"},
		{"no HTTP", raw(func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.7\r\n") }), "no HTTP answer"},
		{"an endless header", raw(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nX: "+strings.Repeat("x", 1<<20))
		}), "no HTTP answer"},
		{"hanging up", raw(func(net.Conn) {}), "no HTTP answer"},
		{"no covey behind", raw(func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: covey/1\r\n\r\nThere is no covey here, only text.")
		}), "no link"},
		{"another secret", func(t *testing.T) string {
			return sites(t, 1, setup{group: GroupOptions{Secrets: [][]byte{[]byte("quite another secret")}}})[0].srv.URL
		}, "compare GroupOptions.Secrets and GroupName"},
		{"another group", func(t *testing.T) string {
			o := secret
			o.GroupName = "another"
			return sites(t, 1, setup{group: o})[0].srv.URL
		}, "compare GroupOptions.Secrets and GroupName"},
		{"another name", func(t *testing.T) string {
			p := sites(t, 1, setup{group: secret})[0]
			to, err := url.Parse(p.srv.URL)
			require.NoError(t, err)
			return handle(httputil.NewSingleHostReverseProxy(to).ServeHTTP)(t)
		}, "check the list of members"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			other := test.start(t)
			p := sites(t, 1, setup{group: secret, others: []string{other}})[0]
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			v, err := p.c.Get(ctx, "k", constant("v"))
			require.NoError(t, err)
			require.Equal(t, "v", v)
			require.LessOrEqual(t, p.g.Stats().Members, 1)
			p.logs(t, other, test.want)
		})
	}
}

func TestPlainHTTP(t *testing.T) {
	all := sites(t, 2, setup{
		group: GroupOptions{Secrets: [][]byte{testSecret, []byte("the secret of last year")}},
		cache: Options[string]{TTLJitter: -1, MaxValueBytes: 100_000},
	})
	linkUp(t, all)
	a, b := all[0], all[1]
	at := func(key string) string { return "caches/test?key=" + url.QueryEscape(key) }
	k := b.owned()

	for _, test := range []struct {
		method, rest, body string
		header             []string
		status             int
		text               string
	}{
		{"GET", at(k), "", nil, 404, ""},
		{"HEAD", at(k), "", nil, 404, ""},
		{"DELETE", at(k), "", nil, 204, ""},
		{"PUT", at(k), "v7", []string{"Cache-Control", "no-transform, max-age=1000", VersionHeader, "7"}, 204, ""},
		{"GET", at(k), "", nil, 200, "v7"},
		{"HEAD", at(k), "", nil, 200, ""},
		{"PUT", at(k), "v6", []string{VersionHeader, "6"}, 409, "covey: "},
		{"PUT", at(k), "v", []string{VersionHeader, "-1"}, 400, VersionHeader},
		{"PUT", at(k), "v", []string{"Cache-Control", "max-age=3153600001"}, 400, "max-age"},
		{"PUT", at(k), "v", []string{"Cache-Control", "max-age=soon"}, 400, "max-age"},
		{"POST", at(k), "v", nil, 405, "method not allowed"},
		{"OPTIONS", at(k), "", nil, 405, "method not allowed"},
		{"GET", at(k), "", []string{"Authorization", "Bearer the secret of last year"}, 200, "v7"},
		{"GET", at(k), "", []string{"Authorization", "Bearer "}, 401, "not authorized"},
		{"GET", at(k), "", []string{"Authorization", "Bearer another secret"}, 401, "not authorized"},
		{"GET", at(k), "", []string{"Authorization", string(testSecret)}, 401, "not authorized"},
		{"PUT", at(k), "x", []string{"Authorization", "x"}, 401, "not authorized"},
		{"DELETE", at(k), "", []string{"Authorization", "x"}, 401, "not authorized"},
		{"GET", "caches/none?key=k", "", []string{"Authorization", "x"}, 401, "not authorized"},
		{"GET", at(k), "", []string{PeerHeader, "x"}, 421, b.g.Name()},
		{"PUT", at(k), "x", []string{PeerHeader, "x"}, 421, b.g.Name()},
		{"DELETE", at(k), "", []string{PeerHeader, "x"}, 421, b.g.Name()},
		{"GET", "caches/none?key=k", "", nil, 404, `no cache "none"`},
		{"GET", "caches/test", "", nil, 400, "key"},
		{"GET", at(""), "", nil, 400, "key"},
		{"GET", at(k) + ";b", "", nil, 400, "one key"},
		{"DELETE", "caches/test?key=%zz", "", nil, 400, "one key"},
		{"DELETE", at(k) + "&key=b", "", nil, 400, "one key"},
		{"PUT", at(k), "v", []string{"Cache-Control", "Max-Age=-1"}, 400, "max-age"},
		{"GET", at("nowhere"), "", []string{"Cache-Control", "no-transform, Only-If-Cached"}, 504, "not in the cache"},
		{"PUT", at(""), "v", nil, 400, "key"},
		{"DELETE", at(""), "", nil, 400, "key"},
		{"GET", at(strings.Repeat("k", MaxKeyLen+1)), "", nil, 400, "key"},
		{"PUT", at(strings.Repeat("k", MaxKeyLen+1)), "v", nil, 400, "key"},
		{"DELETE", at(strings.Repeat("k", MaxKeyLen+1)), "", nil, 400, "key"},
		{"POST", "ops", "x", []string{PeerHeader, "x", "Authorization", "Bearer another secret"}, 401, "not proved"},
		{"POST", "ops", "x", []string{PeerHeader, "x", "Authorization", ""}, 401, "not proved"},
		{"POST", "ops", "x", []string{PeerHeader, "x", "Sec-Fetch-Site", "cross-site"}, 403, "cross-origin"},
		{"POST", "ops", "x", nil, 400, "the header Covey-Peer is missing"},
		{"POST", "ops", "x", []string{PeerHeader, "x"}, 401, "not proved"}, // the secret itself is for keys only
		{"GET", "ops", "", []string{PeerHeader, "x"}, 405, ""},
		{"GET", "caches", "", nil, 404, ""},
		{"GET", "nothing", "", nil, 404, ""},
		{"GET", at(k), "", nil, 200, "v7"},
	} {
		answer, text := a.plain(t, test.method, test.rest, test.body, test.header...)
		require.Equal(t, test.status, answer.StatusCode, "%.100v: %s", test, text)
		if test.status == 200 {
			if test.method == "GET" {
				require.Equal(t, test.text, text)
			}
			require.EqualValues(t, 2, answer.ContentLength)
			require.Equal(t, `"7"`, answer.Header.Get("ETag"))
			require.Regexp(t, `^[0-9]$`, answer.Header.Get("Age"))
			require.Regexp(t, `^max-age=(1000|99[0-9])$`, answer.Header.Get("Cache-Control"))
		} else {
			require.Contains(t, text, test.text)
		}
		if test.status == 405 && test.rest != "ops" {
			require.Equal(t, "GET, HEAD, PUT, DELETE", answer.Header.Get("Allow"))
		}
		if test.status == 401 {
			scheme := "^Bearer$"
			if test.rest == "ops" {
				scheme = "^Covey [0-9]+$"
			}
			require.Regexp(t, scheme, answer.Header.Get("WWW-Authenticate"))
		}
	}
	answer, _ := b.plain(t, "GET", at(k), "", PeerHeader, "x")
	require.Equal(t, 200, answer.StatusCode, "the owner answers peers")

	// What is too large for the cache replaces nothing by something else.
	answer, text := a.plain(t, "PUT", at(k), strings.Repeat("x", 200_000))
	require.Equal(t, http.StatusRequestEntityTooLarge, answer.StatusCode, text)
	answer, _ = a.plain(t, "GET", at(k), "")
	require.Equal(t, 404, answer.StatusCode)

	answer, _ = a.plain(t, "PUT", at("another key"), "")
	require.Equal(t, 204, answer.StatusCode)
	answer, text = b.plain(t, "GET", at("another key"), "")
	require.Equal(t, 200, answer.StatusCode)
	require.Empty(t, text)
	require.Empty(t, answer.Header.Get("ETag"), "no version was given")
	require.Empty(t, answer.Header.Get("Cache-Control"), "no TTL was given")

	for _, k := range []string{"..", "//", "/../x/", "%2F", "%", "+ ", "a&key=b", "a;b", "#", "\xff\xfe\x00", "ключ", strings.Repeat("k", MaxKeyLen)} {
		answer, text := a.plain(t, "PUT", at(k), "\x00\xff of "+k)
		require.Equal(t, 204, answer.StatusCode, "%.100s", text)
		answer, text = b.plain(t, "GET", at(k), "")
		require.Equal(t, 200, answer.StatusCode)
		require.Equal(t, "\x00\xff of "+k, text)
		e, ok, err := b.c.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "\x00\xff of "+k, e.Value)
		answer, _ = b.plain(t, "DELETE", at(k), "")
		require.Equal(t, 204, answer.StatusCode)
	}
}

// With a loader, what is missing is loaded, at its owner.
func TestPlainHTTPLoads(t *testing.T) {
	var loads atomic.Int64
	all := sites(t, 2, setup{
		group: GroupOptions{Secrets: [][]byte{testSecret}},
		cache: Options[string]{Loader: func(_ context.Context, key string) (string, error) {
			switch {
			case strings.HasSuffix(key, "none"):
				return "", ErrNotFound
			case strings.HasSuffix(key, "fails"):
				return "", errors.New("the database is down")
			}
			loads.Add(1)
			return "value of " + key, nil
		}},
	})
	linkUp(t, all)
	for i, p := range all {
		k := all[1].owned()
		answer, text := p.plain(t, "GET", "caches/test?key="+k, "")
		require.Equal(t, 200, answer.StatusCode)
		require.Equal(t, "value of "+k, text)
		answer, _ = p.plain(t, "GET", fmt.Sprintf("caches/test?key=%dnone", i), "")
		require.Equal(t, 404, answer.StatusCode)
		answer, text = p.plain(t, "GET", fmt.Sprintf("caches/test?key=%dfails", i), "")
		require.Equal(t, 500, answer.StatusCode)
		require.Equal(t, "covey: the request failed; the server's log says why\n", text)
		p.logs(t, "a request over HTTP failed", fmt.Sprintf("key=%dfails", i), "the database is down")
	}
	require.EqualValues(t, 1, loads.Load())
}

// A secretCodec says, in errors and in panics, what only the log may repeat.
type secretCodec struct{}

func (secretCodec) Name() string { return "secret" }

func (secretCodec) Append(dst []byte, v string) ([]byte, error) {
	return append(dst, v...), confide(v)
}

func (secretCodec) Decode(b []byte) (string, error) { return string(b), confide(string(b)) }

const confidence = "postgres://admin:hunter2@db"

// confide returns the error that s asks for, or panics.
func confide(s string) error {
	switch _, ask, _ := strings.Cut(s, ":"); ask {
	case "error":
		return errors.New(confidence)
	case "panic":
		panic(confidence)
	case "Goexit":
		runtime.Goexit()
	case "not found":
		return fmt.Errorf("%w: %s", ErrNotFound, confidence)
	case "invalid key":
		return fmt.Errorf("%w: %s", ErrInvalidKey, confidence)
	case "overloaded":
		return fmt.Errorf("%w: %s", ErrOverloaded, confidence)
	case "unconfirmed":
		return fmt.Errorf("%w: %s", ErrUnconfirmed, &PeerError{Peer: confidence, Err: errors.New(confidence)})
	}
	return nil
}

// What functions of users and other peers say of an error is for the log alone.
func TestHTTPClientsSeeNoErrors(t *testing.T) {
	all := sites(t, 2, setup{
		group: GroupOptions{Secrets: [][]byte{testSecret}},
		cache: Options[string]{Codec: secretCodec{}, Loader: func(_ context.Context, key string) (string, error) {
			if ask, ok := strings.CutPrefix(key, "value "); ok {
				return ask, nil
			}
			return "v", confide(key)
		}},
	})
	linkUp(t, all)
	for _, test := range []struct {
		method, key, body string
		status            int
	}{
		{"GET", ":error", "", 500},
		{"GET", ":panic", "", 500},
		{"GET", ":Goexit", "", 500},
		{"GET", ":not found", "", 404},
		{"GET", ":invalid key", "", 500},
		{"GET", ":overloaded", "", 503},
		{"GET", ":unconfirmed", "", 502},
		{"GET", "value :error", "", 500},
		{"GET", "value :panic", "", 500},
		{"PUT", "k:", ":error", 400},
		{"PUT", "k:", ":panic", 400},
	} {
		for i := range 20 { // keys of both
			key := strings.Replace(test.key, ":", strings.Repeat(".", i)+":", 1)
			answer, text := all[0].plain(t, test.method, "caches/test?key="+url.QueryEscape(key), test.body)
			require.Equal(t, test.status, answer.StatusCode, "%s %q: %s", test.method, key, text)
			require.Regexp(t, "^covey: [a-z' ;:C]*\n$", text)
		}
	}
	all[0].logs(t, confidence, "status=500", "status=503", "status=502", "status=400")
}

// Without secrets there are no keys over HTTP, and nothing from beyond a proxy.
func TestHTTPWithoutSecrets(t *testing.T) {
	p := sites(t, 1, setup{})[0]
	require.NoError(t, p.g.Ready(t.Context()))
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		answer, text := p.plain(t, method, "caches/test?key=k", "v")
		require.Equal(t, 403, answer.StatusCode)
		require.Contains(t, text, "GroupOptions.Secrets")
	}
	answer, text := p.plain(t, "POST", "ops", "x", PeerHeader, "x")
	require.Equal(t, 403, answer.StatusCode)
	require.Contains(t, text, "GroupOptions.Secrets")
	answer, _ = p.plain(t, "GET", "link", "")
	require.Equal(t, http.StatusUpgradeRequired, answer.StatusCode)
	for _, header := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "x-forwarded-proto"} {
		answer, text := p.plain(t, "GET", "link", "", header, "x")
		require.Equal(t, 403, answer.StatusCode)
		require.Contains(t, text, http.CanonicalHeaderKey(header))
	}
}
