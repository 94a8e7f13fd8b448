package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/coveycache/covey"
	"github.com/stretchr/testify/require"
)

// certified makes an authority and a certificate of its, for this machine, as files.
func certified(t *testing.T) (authority *x509.CertPool, files tlsFiles) {
	t.Helper()
	dir := t.TempDir()
	file := func(name string, blocks ...*pem.Block) string {
		var text []byte
		for _, b := range blocks {
			text = append(text, pem.EncodeToMemory(b)...)
		}
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	sign := func(c, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		if parent == nil {
			parent, signer = c, key
		}
		c.SerialNumber, c.NotAfter = big.NewInt(1), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
		require.NoError(t, err)
		c, err = x509.ParseCertificate(der)
		require.NoError(t, err)
		return c, key
	}
	root, rootKey := sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	own, ownKey := sign(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, root, rootKey)
	key, err := x509.MarshalPKCS8PrivateKey(ownKey)
	require.NoError(t, err)
	authority = x509.NewCertPool()
	authority.AddCert(root)
	return authority, tlsFiles{
		ca:   file("ca", &pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}),
		cert: file("cert", &pem.Block{Type: "CERTIFICATE", Bytes: own.Raw}),
		key:  file("key", &pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
}

// Members that show a certificate of an authority of their own, and ask for one, are asked.
func TestTLS(t *testing.T) {
	authority, files := certified(t)
	_, others := certified(t)
	pair, err := tls.LoadX509KeyPair(files.cert, files.key)
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "[]") }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority}
	s.StartTLS()
	defer s.Close()
	w := at(s.URL)
	both, err := os.ReadFile(files.cert)
	require.NoError(t, err)
	key, err := os.ReadFile(files.key)
	require.NoError(t, err)
	together := filepath.Join(t.TempDir(), "both")
	require.NoError(t, os.WriteFile(together, slices.Concat(both, key), 0o600))

	for _, args := range [][]string{
		{"-ca", files.ca, "-cert", files.cert, "-cert-key", files.key},
		{"-ca", files.ca, "-cert", together},
	} {
		require.Empty(t, inJSON[[]covey.Peer](t, w, append(args, "peers")...))
	}
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{nil, 1, "certificate"},
		{[]string{"-ca", others.ca, "-cert", together}, 1, "certificate"},
		{[]string{"-ca", files.ca}, 1, "certificate required"},
		{[]string{"-ca", files.ca, "-cert", others.cert, "-cert-key", others.key}, 1, "certificate"},
		{[]string{"-ca", files.ca + "x"}, 2, "-ca: open"},
		{[]string{"-ca", files.key}, 2, "has no certificate in PEM"},
		{[]string{"-cert", files.cert}, 2, "-cert, -cert-key: "},
		{[]string{"-cert", files.cert, "-cert-key", others.key}, 2, "-cert, -cert-key: "},
		{[]string{"-cert-key", files.key}, 2, "-cert is not"},
	} {
		status, out, errs := w.run(t, append(test.args, "peers")...)
		require.Equal(t, test.status, status, errs)
		require.Empty(t, out)
		require.Contains(t, errs, test.want)
	}
}
