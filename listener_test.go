package covey

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// A port is a group that serves its own listener.
type port struct {
	t   *testing.T
	net *netsim.Network
	g   *Group
	c   *Cache[string]
}

// inListener runs f in a bubble with such a group.
func inListener(t *testing.T, f func(t *testing.T, p *port)) {
	synctest.Test(t, func(t *testing.T) {
		p := &port{t: t, net: netsim.New()}
		l, err := p.net.Listen("127.0.0.1:80")
		require.NoError(t, err)
		p.g, err = NewGroup(GroupOptions{
			Self: "http://127.0.0.1", Discovery: StaticPeers("http://127.0.0.1"), Secrets: [][]byte{testSecret},
			Listener: l, Dial: p.net.Dialer("127.0.0.1"), Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		p.c, err = New("test", Options[string]{Group: p.g})
		require.NoError(t, err)
		f(t, p)
		require.NoError(t, p.g.Shutdown(t.Context()))
		time.Sleep(time.Second) // for which a server may linger
	})
}

// dial opens a connection and sends the beginning of a request.
func (p *port) dial(format string, args ...any) net.Conn {
	conn, err := p.net.Dialer("stranger")(p.t.Context(), "tcp", "127.0.0.1:80")
	require.NoError(p.t, err)
	_, err = fmt.Fprintf(conn, format, args...)
	require.NoError(p.t, err)
	return conn
}

// request returns a whole request for a key without body.
func (p *port) doRequest(method, key, header string) string {
	return fmt.Sprintf("%s /_covey/v1/caches/test?key=%s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, url.QueryEscape(key), header)
}

// ends reads everything and returns when the server closes the connection.
func (p *port) ends(conn net.Conn) (after time.Duration) {
	began := time.Now()
	_, _ = io.Copy(io.Discard, conn)
	return time.Since(began).Round(time.Second)
}

var bearer = "Authorization: Bearer " + string(testSecret) + "\r\n"

// Nobody keeps a connection to the group's own listener for nothing.
func TestListenerWaitsForNobody(t *testing.T) {
	inListener(t, func(t *testing.T, p *port) {
		require.Equal(t, 10*time.Second, p.ends(p.dial("")), "silent")
		require.Equal(t, 10*time.Second, p.ends(p.dial("GET /")), "half a header")
		require.Equal(t, 2*time.Minute, p.ends(p.dial("%s", p.doRequest("GET", "k", ""))), "idle")
		require.Equal(t, 2*time.Minute, p.ends(p.dial("%s", p.doRequest("GET", "k", bearer))), "idle")
		for _, header := range []string{"", bearer} {
			for _, body := range []string{"Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"} {
				for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
					require.Equal(t, p.g.opt.OpTimeout, p.ends(p.dial("%s", p.doRequest(method, "k", header+body))), "%s %s%s", method, header, body)
				}
			}
		}
		answer, err := http.ReadResponse(bufio.NewReader(p.dial("GET / HTTP/1.1\r\nX: %s", strings.Repeat("x", 300<<10))), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, answer.StatusCode)

		long := strings.Repeat("k", MaxKeyLen)
		require.NoError(t, p.c.Put(t.Context(), long, "v"))
		escaped := strings.ReplaceAll(p.doRequest("GET", long, bearer), "k", "%6b")
		answer, err = http.ReadResponse(bufio.NewReader(p.dial("%s", strings.Replace(escaped, "?%6bey", "?key", 1))), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.StatusCode, "the longest key fits in a header")
	})
}

// Whoever does not read the answers loses the connection.
func TestListenerWritesToNobody(t *testing.T) {
	inListener(t, func(t *testing.T, p *port) {
		require.NoError(t, p.c.Put(t.Context(), "long", strings.Repeat("x", 4<<20)))
		for what, request := range map[string]string{
			"refusals": p.doRequest("GET", "k", ""), "a value": p.doRequest("GET", "long", bearer),
			"refusals of peers": "POST /_covey/v1/ops HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nCovey-Peer: x\r\n\r\n",
		} {
			conn := p.dial("")
			sent := make(chan error)
			go func() {
				for {
					if _, err := io.WriteString(conn, request); err != nil {
						sent <- err
						return
					}
				}
			}()
			began := time.Now()
			require.Error(t, <-sent)
			require.Equal(t, p.g.opt.OpTimeout, time.Since(began).Round(time.Second), what)
		}

		// Whoever reads slowly does not.
		conn := p.dial("%s", p.doRequest("GET", "long", bearer))
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		n := 0
		for part := make([]byte, 64<<10); err == nil; {
			time.Sleep(p.g.opt.OpTimeout / 2)
			var m int
			m, err = io.ReadFull(answer.Body, part)
			n += m
		}
		require.Equal(t, 4<<20, n)
	})
}

// A load may take longer than anything of these.
func TestListenerWaitsForLoads(t *testing.T) {
	inListener(t, func(t *testing.T, p *port) {
		_, err := New("slow", Options[string]{Group: p.g, LoadTimeout: time.Hour, Loader: func(ctx context.Context, key string) (string, error) {
			time.Sleep(10 * time.Minute)
			if key == "none" {
				return "", ErrNotFound
			}
			return "loaded", ctx.Err()
		}})
		require.NoError(t, err)
		for _, c := range []struct {
			key, header string
			status      int
		}{{"a", "", http.StatusOK}, {"b", "Content-Length: 0\r\n", http.StatusOK}, {"none", "", http.StatusNotFound}} {
			request := strings.Replace(p.doRequest("GET", c.key, bearer+c.header), "caches/test", "caches/slow", 1)
			answer, err := http.ReadResponse(bufio.NewReader(p.dial("%s", request)), nil)
			require.NoError(t, err)
			require.Equal(t, c.status, answer.StatusCode)
		}
	})
}
