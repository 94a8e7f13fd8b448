package covey

import (
	"bytes"
	"cmp"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// plain makes a request for a key, as curl does, to a process's web server.
func (p *proc) plain(method, key, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, p.group.Path()+"v1/caches/test?key="+url.QueryEscape(key), strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+string(testSecret))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer := httptest.NewRecorder()
	p.srv.Handler.ServeHTTP(answer, r)
	return answer
}

// A PUT to any peer is taken for one from a peer, and stored where nobody looks; keys that look
// like paths are rewritten on their way.
func TestHazard15PlainHTTP(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		for _, k := range []string{a.key(), ".", "..", "a//b", "%2F", "../../x", "a?b&c#d"} {
			for _, p := range w.procs {
				require.Equal(t, http.StatusNoContent, p.plain("PUT", k, "v of "+k).Code)
				v, err := c.cache.Get(t.Context(), k, nil)
				require.NoError(t, err)
				require.Equal(t, "v of "+k, v)
				got := b.plain("GET", k, "")
				require.Equal(t, http.StatusOK, got.Code)
				require.Equal(t, "v of "+k, got.Body.String())
				require.Equal(t, http.StatusNoContent, a.plain("DELETE", k, "").Code)
				require.Equal(t, http.StatusNotFound, b.plain("GET", k, "").Code)
			}
		}
		k := a.key()
		require.Equal(t, http.StatusMisdirectedRequest, b.plain("PUT", k, "v", PeerHeader, "x").Code)
		require.Equal(t, http.StatusUnauthorized, b.plain("PUT", k, "v", "Authorization", "Bearer of nothing").Code)
		require.Equal(t, http.StatusForbidden, b.plain("PUT", k, "v", "Sec-Fetch-Site", "cross-site").Code)
		for _, p := range w.procs {
			require.Zero(t, p.cache.Stats().Entries)
		}
	})
}

// Without secrets only this machine is trusted, but behind a proxy everybody seems to be this
// machine.
func TestHazard15OpenDoors(t *testing.T) {
	o := GroupOptions{Self: "http://127.0.0.1:1", Discovery: StaticPeers("http://127.0.0.1:1", "http://10.0.0.2:1"), Logger: slog.New(slog.DiscardHandler)}
	_, err := NewGroup(o)
	require.ErrorContains(t, err, "10.0.0.2")
	o.Discovery = StaticPeers(o.Self)
	network := netsim.New()
	o.Dial = network.Dialer("127.0.0.1")
	g, err := NewGroup(o)
	require.NoError(t, err)
	defer func() { require.NoError(t, g.Shutdown(t.Context())) }()
	serveIn(t, network, "127.0.0.1:1", g)
	c, err := New("test", Options[string]{Group: g})
	require.NoError(t, err)
	require.NoError(t, c.Put(t.Context(), "k", "v"))
	ask := func(from, path string, header ...string) int {
		r := httptest.NewRequest("GET", g.Path()+path, nil)
		r.RemoteAddr, r.Host = from, "127.0.0.1:1"
		if header != nil {
			r.Header.Set(header[0], header[1])
			r.Host = cmp.Or(r.Header.Get("Host"), r.Host)
		}
		answer := httptest.NewRecorder()
		g.ServeHTTP(answer, r)
		return answer.Code
	}
	require.Equal(t, http.StatusUpgradeRequired, ask("127.0.0.1:9", "v1/link"), "a link from this machine")
	require.Equal(t, http.StatusUpgradeRequired, ask("[::1]:9", "v1/link"))
	for _, from := range []string{"10.0.0.2:9", "[fe80::1]:9", "", "@"} {
		require.Equal(t, http.StatusForbidden, ask(from, "v1/link"), from)
	}
	for _, header := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via", "X-Real-Ip"} {
		require.Equal(t, http.StatusForbidden, ask("127.0.0.1:9", "v1/link", header, "x"), header)
	}
	for _, host := range []string{"localhost", "localhost:1", "127.0.0.1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"} {
		require.Equal(t, http.StatusUpgradeRequired, ask("127.0.0.1:9", "v1/link", "Host", host), host)
	}
	for _, host := range []string{ // a page's own name, that its DNS has rebound to this machine
		"evil.example", "evil.example:1", "localhost.evil.example", "127.0.0.1.evil.example:1", "127.0.0.1@evil.example", "10.0.0.2", "[::2]:1", "::1", ":1", "0.0.0.0:1",
	} {
		require.Equal(t, http.StatusForbidden, ask("127.0.0.1:9", "v1/link", "Host", host), host)
	}
	require.Equal(t, http.StatusForbidden, ask("127.0.0.1:9", "v1/caches/test?key=k"))
}

// A process without the secret is in a's list as x: it passes on to b what a
// says, so that b proves for it that it knows the secret.
func TestHazard15Relay(t *testing.T) {
	for name, rewrite := range map[string]func(b []byte, from, to string) []byte{
		"as it comes": func(b []byte, _, _ string) []byte { return b },
		"with names changed": func(b []byte, from, to string) []byte {
			return bytes.ReplaceAll(b, []byte("http://"+from+"/"), []byte("http://"+to+"/"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inRosters(t, 2, "ab", Options[string]{}, func(t *testing.T, w *world) {
				a := w.procs[0]
				l, err := w.net.Listen("x:80")
				require.NoError(t, err)
				defer l.Close()
				pass := func(from, to net.Conn, was, is string) {
					defer from.Close()
					defer to.Close()
					buf := make([]byte, 64<<10)
					for {
						n, err := from.Read(buf)
						if _, e := to.Write(rewrite(buf[:n], was, is)); err != nil || e != nil {
							return
						}
					}
				}
				go func() {
					for {
						in, err := l.Accept()
						if err != nil {
							return
						}
						out, err := w.net.Dialer("x")(t.Context(), "tcp", "b:80")
						if err != nil {
							return
						}
						go pass(in, out, "x", "b")
						go pass(out, in, "b", "x")
					}
				}()
				a.list("ax")
				time.Sleep(10 * time.Second)
				for _, p := range a.group.Peers() {
					require.False(t, p.Up && p.URL == "http://x"+DefaultPath, p.Name)
				}
				require.Equal(t, 2, a.group.Stats().Members)
				require.Greater(t, w.net.Dials(), 4, "x has passed something on")
			})
		})
	}
}
