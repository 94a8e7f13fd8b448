package covey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// identity returns the TLS configuration of a peer: a certificate for itself, and who signs those of all.
func identity(t *testing.T, ca *x509.Certificate, key *ecdsa.PrivateKey, name string) *tls.Config {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, certificate(name), ca, &own.PublicKey, key)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: own}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven,
	}
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// Peers that have certificates need no secret, with and without links; who has none is refused.
func TestClientCertificates(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := certificate("the group's CA")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	require.NoError(t, err)
	ca, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	for _, linkless := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			network, m := netsim.New(), new(mesh)
			m.open.Store(!linkless)
			var groups []*Group
			var caches []*Cache[string]
			for _, name := range []string{"a", "b"} {
				l, err := network.Listen(name + ":443")
				require.NoError(t, err)
				own := identity(t, ca, key, name)
				g, err := NewGroup(GroupOptions{
					Self: "https://" + name, Discovery: StaticPeers("https://a", "https://b"), TLS: own, Dial: network.Dialer(name), Logger: slog.New(slog.DiscardHandler),
				})
				require.NoError(t, err)
				srv := &http.Server{Handler: m.wrap(g), TLSConfig: own, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
				go func() { _ = srv.ServeTLS(l, "", "") }()
				defer srv.Close()
				defer func() { require.NoError(t, g.Shutdown(t.Context())) }()
				c, err := New("test", Options[string]{Group: g, Logger: slog.New(slog.DiscardHandler)})
				require.NoError(t, err)
				groups, caches = append(groups, g), append(caches, c)
			}
			time.Sleep(10 * time.Second)
			for _, p := range groups[0].Peers() {
				require.NoError(t, p.Err)
				require.True(t, p.Self || p.Up)
				require.Equal(t, linkless && !p.Self, p.Plain != nil)
			}
			for _, k := range []string{"k1", "k2", "k3", "k4"} {
				require.NoError(t, caches[0].Put(t.Context(), k, "v"))
				e, ok, err := caches[1].Lookup(t.Context(), k)
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, "v", e.Value)
			}
			require.Equal(t, linkless, m.posts.Load() > 0)
			for method, path := range map[string]string{"GET": "v1/link", "POST": "v1/ops", "PUT": "v1/caches/test?key=k1"} {
				r := httptest.NewRequest(method, groups[0].Path()+path, strings.NewReader("x"))
				r.Header.Set("Upgrade", "covey/1")
				r.Header.Set(PeerHeader, "b")
				answer := httptest.NewRecorder()
				groups[0].ServeHTTP(answer, r)
				require.Equal(t, http.StatusUnauthorized, answer.Code, path)
			}
		})
	}
}
