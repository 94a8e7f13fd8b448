package covey

// groupoptions.go holds what can be set on a group, its defaults and its limits.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// DefaultPath is where a group is reached under a peer's URL that has no path of its own.
const DefaultPath = "/_covey/"

// GroupOptions configure a group.
type GroupOptions struct {
	// Self is the URL under which the other peers reach this process, as its
	// own entry in the list of members has it: http or https, host, port and
	// perhaps a path (default [DefaultPath]). Empty means that this process owns no keys and needs no server: it
	// only asks the others.
	Self string
	// Name is what the ring knows this process by; it has to be the same after
	// a restart. Default: Self. It must be the Name that Discovery gives for this process.
	Name string
	// Discovery tells who the members are. Required.
	Discovery Discovery

	// Secrets authenticate the peers to each other: the first signs, all verify, so that a secret can be replaced
	// in three deployments without a gap. They do not encrypt: for that use https. Without secrets and without
	// client certificates in TLS and https, every member's URL must be a loopback address.
	Secrets [][]byte
	// TLS is for links to https URLs, and for Listener if it has a certificate for servers. nil means the system's root certificates.
	// A client certificate in it, or GetClientCertificate, authenticates this process where there are no Secrets. The server
	// in which the group is mounted, or Listener by this, has to verify those of clients then: ClientCAs and ClientAuth.
	TLS *tls.Config
	// Dial connects to other peers. nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Listener, if not nil, is served by the group itself, on a port of its own. It is closed by Shutdown.
	Listener net.Listener

	// OpTimeout is how long an operation waits for a peer's answer, the time that a load takes at the owner not
	// included. 0 means 5 s. Negative is an error.
	OpTimeout time.Duration
	// IsolatedTTL bounds the TTL of what this process stores while it hears none of the other members, whose writes it may miss.
	// (When that begins, and when it ends, everything stored is loaded anew.) 0 means 10 s. Negative is an error.
	IsolatedTTL time.Duration
	// Logger gets what goes wrong between peers. nil means slog.Default().
	Logger *slog.Logger
}

// minSecret is the length of the shortest secret, in bytes.
const minSecret = 16

func (o GroupOptions) withDefaults() (GroupOptions, error) {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("covey: GroupOptions."+format, args...))
	}
	if o.Self != "" {
		u, err := peerURL(o.Self)
		if err != nil {
			bad("Self: %w", err)
		}
		o.Self = u
	}
	if o.Name == "" {
		o.Name = o.Self
	}
	if o.Name == "" {
		o.Name = fmt.Sprintf("client-%016x", rand.Uint64())
	}
	if len(o.Name) > maxPeerName {
		bad("Name has %d bytes, the limit is %d", len(o.Name), maxPeerName)
	}
	if o.Discovery == nil {
		bad("Discovery is nil; StaticPeers is the simplest")
	}
	for i, s := range o.Secrets {
		if len(s) < minSecret {
			bad("Secrets[%d] has %d bytes, it needs at least %d", i, len(s), minSecret)
		}
	}
	if o.OpTimeout < 0 {
		bad("OpTimeout is %v, it must not be negative", o.OpTimeout)
	}
	setDefault(&o.OpTimeout, 5*time.Second)
	o.TLS = o.TLS.Clone() // an http.Server changes the one that it is given
	if o.IsolatedTTL < 0 {
		bad("IsolatedTTL is %v, it must not be negative", o.IsolatedTTL)
	}
	setDefault(&o.IsolatedTTL, 10*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, errors.Join(errs...)
}

// authenticated reports whether peers prove who they are.
func (o *GroupOptions) authenticated() bool {
	return len(o.Secrets) > 0 || o.TLS != nil && (len(o.TLS.Certificates) > 0 || o.TLS.GetClientCertificate != nil)
}

// servesTLS reports whether there is a certificate for GroupOptions.Listener.
func (o *GroupOptions) servesTLS() bool {
	return o.TLS != nil && (len(o.TLS.Certificates) > 0 || o.TLS.GetCertificate != nil || o.TLS.GetConfigForClient != nil)
}

// authenticates reports whether the peer at a URL has to prove who it is: certificates do that over https only.
func (o *GroupOptions) authenticates(url string) bool {
	return len(o.Secrets) > 0 || o.authenticated() && strings.HasPrefix(url, "https:")
}

// allowsPlain reports whether the peer at a URL may be asked over plain HTTP: whoever answers there wants to know who asks, and the secret
// goes only where TLS has proved who is there, or stays on this machine.
func (o *GroupOptions) allowsPlain(url string) bool {
	return o.authenticated() && (strings.HasPrefix(url, "https:") || isLoopback(url))
}

const maxPeerName = 255

// peerURL checks the URL of a peer and completes its path.
func peerURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("%q is not a URL of the form http://host:port", raw)
	}
	if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("%q has a user, a query or a fragment, which a peer's URL must not have", raw)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = DefaultPath
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	return u.String(), nil
}

// isLoopback reports whether a URL's host is this machine, by its form alone.
func isLoopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsLoopback()
}
