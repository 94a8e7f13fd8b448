package netsim_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// dial returns both ends of a connection from host a to host b.
func dial(t *testing.T, n *netsim.Network) (a, b net.Conn) {
	l, err := n.Listen("b:1")
	require.NoError(t, err)
	defer l.Close()
	a, err = n.Dialer("a")(t.Context(), "tcp", "b:1")
	require.NoError(t, err)
	b, err = l.Accept()
	require.NoError(t, err)
	return a, b
}

func TestHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := netsim.New()
		n.SetDelay(time.Second)
		l, err := n.Listen("b:80")
		require.NoError(t, err)
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(body)
		})}
		go srv.Serve(l)
		tr := &http.Transport{DialContext: n.Dialer("a")}
		start := time.Now()
		body := strings.Repeat("x", 1<<20)
		resp, err := (&http.Client{Transport: tr}).Post("http://b:80/", "", strings.NewReader(body))
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, body, string(got))
		require.GreaterOrEqual(t, time.Since(start), 4*time.Second, "two ways to dial, two to ask")
		require.Equal(t, 1, n.Conns())
		tr.CloseIdleConnections()
		require.NoError(t, srv.Close())
		synctest.Wait()
		require.Equal(t, 0, n.Conns())
	})
}

func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := netsim.New()
		_, err := n.Dialer("a")(t.Context(), "tcp", "b:1")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		l, err := n.Listen("b:1")
		require.NoError(t, err)
		_, err = n.Listen("b:1")
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		a, err := n.Dialer("a")(t.Context(), "tcp", "b:1")
		require.NoError(t, err)
		require.NoError(t, l.Close())
		_, err = a.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET, "the listener closed before it accepted")
		_, err = n.Dialer("a")(t.Context(), "tcp", "b:1")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Equal(t, 3, n.Dials())
	})
}

func TestPartition(t *testing.T) {
	for name, f := range map[string]struct{ cut, heal func(*netsim.Network) }{
		"partition": {func(n *netsim.Network) { n.Partition("b", "a") }, func(n *netsim.Network) { n.Heal("a", "b") }},
		"pause":     {func(n *netsim.Network) { n.Pause("b") }, func(n *netsim.Network) { n.Resume("b") }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := netsim.New()
				a, b := dial(t, n)
				f.cut(n)
				_, err := a.Write([]byte("hello"))
				require.NoError(t, err, "the buffer takes it")
				require.NoError(t, a.Close())
				require.NoError(t, b.SetReadDeadline(time.Now().Add(time.Minute)))
				buf := make([]byte, 10)
				_, err = b.Read(buf)
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err = n.Dialer("a")(ctx, "tcp", "b:1")
				require.ErrorIs(t, err, context.DeadlineExceeded)
				time.AfterFunc(time.Second, func() { f.heal(n) })
				require.NoError(t, b.SetReadDeadline(time.Time{}))
				got, err := io.ReadAll(b)
				require.NoError(t, err)
				require.Equal(t, "hello", string(got))
			})
		})
	}
}

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := netsim.New()
		a, b := dial(t, n)
		time.AfterFunc(time.Second, func() { n.Reset("a", "b") })
		_, err := a.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = b.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := netsim.New()
		a, b := dial(t, n)
		require.NoError(t, a.Close())
		_, err := a.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = a.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = b.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		_, err = b.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EPIPE)
		require.NoError(t, b.Close())
		require.Zero(t, n.Conns())
	})
}

func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := netsim.New()
		a, b := dial(t, n)
		require.NoError(t, a.SetWriteDeadline(time.Now().Add(time.Second)))
		m, err := a.Write(make([]byte, 1<<20))
		require.True(t, errors.Is(err, os.ErrDeadlineExceeded) && m > 0 && m < 1<<20, "%d bytes, %v", m, err)
		require.NoError(t, a.Close())
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		require.Len(t, got, m)
	})
}

func TestListenerClosesDuringADial(t *testing.T) {
	for range 20 { // a select takes either of two ways that are open
		synctest.Test(t, func(t *testing.T) {
			n := netsim.New()
			n.SetDelay(time.Second)
			l, err := n.Listen("b:1")
			require.NoError(t, err)
			time.AfterFunc(time.Second, func() { _ = l.Close() })
			_, err = n.Dialer("a")(t.Context(), "tcp", "b:1")
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			require.Zero(t, n.Conns())
		})
	}
}
