package main

// tls.go has the certificates of a call over https.

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// A tlsFiles names files, as the command line does; "" is none.
type tlsFiles struct{ ca, cert, key string }

// config returns what they mean, nil if there are none.
func (f tlsFiles) config() (*tls.Config, error) {
	if f == (tlsFiles{}) {
		return nil, nil
	}
	c := new(tls.Config)
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("-ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-ca: %s has no certificate in PEM", f.ca)
		}
	}
	switch {
	case f.cert == "" && f.key != "":
		return nil, errors.New("-cert-key is set, and -cert is not: it takes both to show a certificate")
	case f.cert != "":
		pair, err := tls.LoadX509KeyPair(f.cert, cmp.Or(f.key, f.cert))
		if err != nil {
			return nil, fmt.Errorf("-cert, -cert-key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
