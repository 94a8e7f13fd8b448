package covey

// certificate_test.go is about groups whose members know each other by certificates and share no
// secret, over real sockets.

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/stretchr/testify/require"
)

// An authority issues certificates.
type authority struct {
	tls.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	a := &authority{pool: x509.NewCertPool()}
	a.Certificate = a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.pool.AddCert(a.Leaf)
	return a
}

// issue makes a certificate for a member, which is a server and a client.
func (a *authority) issue(t *testing.T) tls.Certificate { return a.issueTo(t, net.IPv4(127, 0, 0, 1)) }

// issueTo makes one for a member at an address.
func (a *authority) issueTo(t *testing.T, ip net.IP) tls.Certificate {
	return a.sign(t, &x509.Certificate{
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{ip},
	})
}

// sign signs a certificate, its own if it has none.
func (a *authority) sign(t *testing.T, c *x509.Certificate) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	c.Subject = pkix.Name{CommonName: "covey test"}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := c, any(key)
	if a.Leaf != nil {
		parent, signer = a.Leaf, a.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// member returns the configuration of a member, which has its certificate at hand or gets it when
// it is needed.
func (a *authority) member(t *testing.T, atHand bool, auth tls.ClientAuthType) *tls.Config {
	cert := a.issue(t)
	cfg := &tls.Config{RootCAs: a.pool, ClientCAs: a.pool, ClientAuth: auth}
	if atHand {
		cfg.Certificates = []tls.Certificate{cert}
	} else {
		cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return cfg
}

// certified starts two members that know each other by certificates; before stands before their
// servers, if they are mounted.
func certified(t *testing.T, ca *authority, mounted, atHand bool, auth tls.ClientAuthType, before func(http.Handler) http.Handler) (all []*site) {
	var urls []string
	for range 2 {
		p := &site{mux: http.NewServeMux()}
		p.srv = httptest.NewUnstartedServer(before(p.mux))
		urls = append(urls, "https://"+p.srv.Listener.Addr().String())
		all = append(all, p)
	}
	for i, p := range all {
		o := GroupOptions{Self: urls[i], Discovery: StaticPeers(urls...), TLS: ca.member(t, atHand, auth), Logger: p.log.logger()}
		if !mounted {
			o.Listener = p.srv.Listener
		}
		var err error
		p.g, err = NewGroup(o)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, p.g.Shutdown(context.Background())) })
		if mounted {
			p.mux.Handle(p.g.Path(), p.g)
			p.srv.TLS = o.TLS.Clone()
			p.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			p.srv.StartTLS()
			t.Cleanup(p.srv.Close)
		}
		p.c, err = New("test", Options[string]{Group: p.g, Logger: p.log.logger()})
		require.NoError(t, err)
	}
	return all
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	for name, s := range map[string]struct {
		mounted, atHand bool
		auth            tls.ClientAuthType
		linkless        bool
	}{
		"mounted":                        {true, true, tls.VerifyClientCertIfGiven, false},
		"mounted, required":              {true, true, tls.RequireAndVerifyClientCert, false},
		"mounted, without links":         {true, true, tls.VerifyClientCertIfGiven, true},
		"listener":                       {false, true, tls.VerifyClientCertIfGiven, false},
		"listener, required, by request": {false, false, tls.RequireAndVerifyClientCert, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := new(mesh)
			m.open.Store(!s.linkless)
			all := certified(t, ca, s.mounted, s.atHand, s.auth, m.wrap)
			if s.linkless {
				linksUp(t, all, 1)
			} else {
				linkUp(t, all)
			}
			a, b := all[0], all[1]
			for i, p := range all {
				k := p.owned()
				v, err := all[1-i].c.Get(t.Context(), k, constant("the value"))
				require.NoError(t, err)
				require.Equal(t, "the value", v)
				if s.linkless { // then it was not stored
					require.NoError(t, all[1-i].c.Put(t.Context(), k, v))
				}
				e, ok, err := all[1-i].c.Lookup(t.Context(), k)
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, SourcePeer, e.Source)
			}
			k := a.owned()
			for _, cfg := range []*tls.Config{
				{RootCAs: ca.pool},
				{RootCAs: ca.pool, Certificates: []tls.Certificate{other.issue(t)}},
			} {
				for _, r := range [][2]string{{"GET", "caches/test?key=" + k}, {"PUT", "caches/test?key=" + k}, {"DELETE", "caches/test?key=" + k}, {"GET", "link"}, {"POST", "ops"}} {
					for _, header := range []string{"Accept", PeerHeader} {
						status, text := doRequest(t, cfg, r[0], a.g.opt.Self+"v1/"+r[1], header)
						require.Contains(t, []int{0, http.StatusUnauthorized}, status, "%v", r)
						require.NotContains(t, text, "the value")
					}
				}
				served, links := a.c.Stats().Served, a.g.Stats().Links
				stranger(t, cfg, a, b, k)
				require.Equal(t, served, a.c.Stats().Served)
				require.Equal(t, links, a.g.Stats().Links)
			}
			v, err := b.c.Get(t.Context(), k, nil)
			require.NoError(t, err)
			require.Equal(t, "the value", v)
			require.Equal(t, s.linkless, a.g.Peers()[0].Plain != nil || a.g.Peers()[1].Plain != nil)

			member := ca.member(t, true, 0)
			status, text := doRequest(t, member, "GET", a.g.opt.Self+"v1/caches/test?key="+k, "Accept")
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, "the value", text)
			for _, method := range []string{"PUT", "DELETE"} {
				status, _ = doRequest(t, member, method, a.g.opt.Self+"v1/caches/test?key="+k, "Accept")
				require.Equal(t, http.StatusNoContent, status)
			}
		})
	}
}

// stranger tries to use the group of a and b.
func stranger(t *testing.T, cfg *tls.Config, a, b *site, key string) {
	var log logbook
	g, err := NewGroup(GroupOptions{Discovery: StaticPeers(a.g.opt.Self, b.g.opt.Self), TLS: cfg, Logger: log.logger(), OpTimeout: 500 * time.Millisecond})
	require.NoError(t, err)
	defer func() { require.NoError(t, g.Shutdown(context.Background())) }()
	c, err := New("test", Options[string]{Group: g, Logger: log.logger()})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, g.Ready(ctx), context.DeadlineExceeded)
	v, err := c.Get(t.Context(), key, constant("loaded by itself"))
	require.NoError(t, err)
	require.Equal(t, "loaded by itself", v)
	err = c.Put(t.Context(), key, "smuggled")
	require.ErrorIs(t, err, ErrUnconfirmed)
	if !strings.Contains(err.Error(), "no upgrades here") { // what is in between does not know
		require.ErrorIs(t, err, link.ErrRefused)
	}
	require.ErrorIs(t, c.Delete(t.Context(), key), ErrUnconfirmed)
	require.Zero(t, g.Stats().Links)
}

// request returns the status of the answer, 0 if there is none, and its body.
func doRequest(t *testing.T, cfg *tls.Config, method, url, header string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("smuggled"))
	require.NoError(t, err)
	r.Header.Set(header, "x")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	b, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b)
}

// TestCertificateOfAnotherMember: where certificates alone authenticate, nobody goes by the name of
// a member with the certificate of another one, over links or plain HTTP.
func TestCertificateOfAnotherMember(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	for name, linkless := range map[string]bool{"links": false, "plain HTTP": true} {
		t.Run(name, func(t *testing.T) {
			m := new(mesh)
			m.open.Store(!linkless)
			all := certified(t, ca, true, true, tls.VerifyClientCertIfGiven, m.wrap)
			if linkless {
				linksUp(t, all, 1)
			} else {
				linkUp(t, all)
			}
			a, b := all[0], all[1]
			other := &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.issueTo(t, net.IPv4(127, 0, 0, 2))}}
			for name, allowed := range map[string]bool{b.g.Name(): false, "https://127.0.0.1:1/": false, "https://127.0.0.2:1/": true, "a client": true} {
				var log logbook
				g, err := NewGroup(GroupOptions{Name: name, Discovery: StaticPeers(a.g.opt.Self), TLS: other, Logger: log.logger(), OpTimeout: 2 * time.Second})
				require.NoError(t, err)
				c, err := New("test", Options[string]{Group: g, Logger: log.logger()})
				require.NoError(t, err)
				k := a.owned()
				err = c.Put(t.Context(), k, "smuggled")
				if allowed {
					require.NoError(t, err, name)
					require.NoError(t, c.Delete(t.Context(), k))
				} else {
					require.ErrorIs(t, err, ErrUnconfirmed, name)
					require.ErrorContains(t, err, "the certificate does not go with the name")
					_, ok, _ := a.c.Lookup(t.Context(), k)
					require.False(t, ok)
				}
				require.NoError(t, g.Shutdown(context.Background()))
			}
			a.logs(t, "refused", "not 127.0.0.1")
		})
	}
}

// TestVerifyPeer: the hook is asked at both ends, and decides.
func TestVerifyPeer(t *testing.T) {
	t.Parallel()
	type asked struct {
		at, name string
		tls      bool
	}
	var mu sync.Mutex
	seen := make(map[asked]bool)
	verdict := func() error { return nil }
	hook := func(at string) func(string, *tls.ConnectionState) error {
		return func(name string, state *tls.ConnectionState) error {
			mu.Lock()
			seen[asked{at, name, state != nil && len(state.PeerCertificates) > 0}] = true
			mu.Unlock()
			if at == "server" {
				return verdict()
			}
			return nil
		}
	}
	ca := newAuthority(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	self := "https://" + l.Addr().String() + DefaultPath
	var log logbook
	server, err := NewGroup(GroupOptions{Self: self, Discovery: StaticPeers(self), TLS: ca.member(t, true, tls.RequireAndVerifyClientCert), Listener: l,
		VerifyPeer: hook("server"), Logger: log.logger()})
	require.NoError(t, err)
	defer func() { require.NoError(t, server.Shutdown(context.Background())) }()
	_, err = New("test", Options[string]{Group: server})
	require.NoError(t, err)

	put := func(name string) error {
		client, err := NewGroup(GroupOptions{Name: name, Discovery: StaticPeers(self), TLS: ca.member(t, true, 0), VerifyPeer: hook("client"), Logger: log.logger(), OpTimeout: 2 * time.Second})
		require.NoError(t, err)
		defer func() { require.NoError(t, client.Shutdown(context.Background())) }()
		c, err := New("test", Options[string]{Group: client})
		require.NoError(t, err)
		return c.Put(t.Context(), "k", "v")
	}
	require.NoError(t, put("x"))
	require.Equal(t, map[asked]bool{{"server", "x", true}: true, {"client", self, true}: true}, seen)
	for name, bad := range map[string]func() error{
		"an error": func() error { return errors.New("the reason") },
		"a panic":  func() error { panic("the reason") },
		"Goexit":   func() error { runtime.Goexit(); return nil },
	} {
		verdict = bad
		err := put(name)
		require.ErrorIs(t, err, ErrUnconfirmed, name)
		require.ErrorContains(t, err, "the certificate does not go with the name")
		require.NotContains(t, err.Error(), "the reason")
	}
	verdict = func() error { return nil }
	require.NoError(t, put("x"))
}
