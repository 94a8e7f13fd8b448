package k8s

// cluster.go is what a pod knows of its cluster.

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// account is where the kubelet puts what belongs to the service account of the pod.
var account = "/var/run/secrets/kubernetes.io/serviceaccount"

// fromCluster sets what is not set to what the pod knows.
func (o *Options) fromCluster() error {
	if o.API == "" {
		host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
		if host == "" || port == "" {
			return errors.New("k8s: Options.API is empty, and this process is in no pod: there is no KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT")
		}
		o.API = "https://" + net.JoinHostPort(host, port)
	}
	if o.Namespace == "" {
		text, err := os.ReadFile(filepath.Join(account, "namespace"))
		if err != nil {
			return fmt.Errorf("k8s: Options.Namespace is empty, and the pod does not say it: %w", err)
		}
		o.Namespace = strings.TrimSpace(string(text))
	}
	return nil
}

// clusterClient returns a client with the rights of the pod's service account.
func clusterClient() (*http.Client, error) {
	pem, err := os.ReadFile(filepath.Join(account, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("k8s: the certificate of the API server's authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("k8s: %s has no certificate", filepath.Join(account, "ca.crt"))
	}
	return &http.Client{Transport: &authorized{&http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		// A server that is gone without a word is noticed within a minute.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}}}, nil
}

// authorized adds the token to requests. It is read for each of them: the kubelet replaces it before
// it runs out, which takes an hour.
type authorized struct{ *http.Transport }

func (a *authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := os.ReadFile(filepath.Join(account, "token"))
	if err != nil {
		return nil, fmt.Errorf("k8s: the token of the service account: %w", err)
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return a.Transport.RoundTrip(req)
}
