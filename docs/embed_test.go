package docs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coveycache/covey"
)

// run serves users until ctx ends.
func run(ctx context.Context, l net.Listener, options covey.GroupOptions) error {
	group, err := covey.NewGroup(options)
	if err != nil {
		return err
	}
	users, err := covey.New("users", covey.Options[User]{TTL: 10 * time.Minute, Loader: loadUser, Group: group})
	if err != nil {
		return errors.Join(err, within(10*time.Second, group.Shutdown))
	}

	var ready atomic.Bool
	mux := http.NewServeMux()
	mux.Handle("GET /users/{id}", serveUser(users))
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.Handle(group.Path(), group)

	server := &http.Server{Handler: logged(mux), TLSConfig: options.TLS, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	if options.TLS != nil {
		go func() { served <- server.ServeTLS(l, "", "") }()
	} else {
		go func() { served <- server.Serve(l) }()
	}
	go func() { ready.Store(group.Ready(ctx) == nil) }()

	select {
	case err = <-served: // it cannot go on
	case <-ctx.Done():
	}
	return errors.Join(err, within(10*time.Second, server.Shutdown), within(40*time.Second, group.Shutdown))
}

// within calls f with a deadline of its own.
func within(d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return f(ctx)
}

func serveUser(users *covey.Cache[User]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, err := users.Get(r.Context(), r.PathValue("id"), nil)
		switch {
		case errors.Is(err, covey.ErrNotFound), errors.Is(err, covey.ErrInvalidKey):
			http.NotFound(w, r)
		case err != nil:
			http.Error(w, "try again", http.StatusServiceUnavailable)
		default:
			_ = json.NewEncoder(w).Encode(u)
		}
	}
}

// logged is middleware that says what was answered.
func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		slog.Debug("answered", "path", r.URL.Path, "status", rec.status)
	})
}

// A recorder notes the status that a handler answers with.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController, and so the group, reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// certificates configures both ends of the links between members that have certificates of one
// authority.
func certificates(own tls.Certificate, authority *x509.CertPool) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{own},
		RootCAs:      authority,
		ClientCAs:    authority,
		ClientAuth:   tls.VerifyClientCertIfGiven, // browsers have none
	}
}

// The port might be in use, so this is compiled only.
var _ = ownPort

func ownPort(options covey.GroupOptions) (covey.GroupOptions, error) {
	var err error
	options.Listener, err = net.Listen("tcp", ":7946")
	return options, err
}

func TestEmbed(t *testing.T) {
	t.Run("http", func(t *testing.T) {
		secret := make([]byte, 32)
		testEmbed(t, "http", http.DefaultTransport, func(o *covey.GroupOptions) { o.Secrets = [][]byte{secret} })
	})
	t.Run("https", func(t *testing.T) {
		authority := x509.NewCertPool()
		own := certificate(t)
		authority.AddCert(own.Leaf)
		client := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority}}
		testEmbed(t, "https", client, func(o *covey.GroupOptions) { o.TLS = certificates(own, authority) })
	})
}

// testEmbed runs two processes' worth of servers, which share what they load, and ends them.
func testEmbed(t *testing.T, scheme string, transport http.RoundTripper, configure func(o *covey.GroupOptions)) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var listeners []net.Listener
	var urls []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		urls = append(urls, scheme+"://"+l.Addr().String())
	}
	ended := make(chan error, len(urls))
	for i, l := range listeners {
		o := covey.GroupOptions{Self: urls[i], Discovery: covey.StaticPeers(urls...), Logger: slog.New(slog.DiscardHandler)}
		configure(&o)
		go func() { ended <- run(ctx, l, o) }()
	}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	get := func(url string) (int, string) {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	before := loadedUsers.Load()
	for _, url := range urls {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			if status, _ := get(url + "/ready"); status == http.StatusOK {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s does not become ready", url)
			}
		}
	}
	for _, url := range urls {
		if status, body := get(url + "/users/42"); status != http.StatusOK || body != `{"ID":"42","Name":"user 42"}`+"\n" {
			t.Errorf("%s: %d %q", url, status, body)
		}
	}
	if n := loadedUsers.Load() - before; n != 1 {
		t.Errorf("the two have loaded %d times, want once", n)
	}
	stop()
	for range urls {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// certificate makes one for 127.0.0.1, which is its own authority.
func certificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
