package covey

// group_options.go holds what can be set on a group, its defaults and its limits.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// DefaultPath is the path of a peer's URL that is given without one: http://10.0.0.7:8080 means
// http://10.0.0.7:8080/_covey/.
const DefaultPath = "/_covey/"

// GroupOptions configure a group.
type GroupOptions struct {
	// Self is the URL under which the other peers reach this process, the same one that Discovery
	// gives for it: http or https, host, port and perhaps a path (default [DefaultPath]). This
	// process has to be able to reach itself under it, too, as it tries before it begins a group.
	// Empty means that this process only asks the others: it owns no keys and needs no server.
	//
	// Here, in Member.URL and in the names that default to it, how a URL is spelled makes no
	// difference: capitals in scheme and host, the zeros of an IPv6 address, IPv4 written as IPv6
	// (::ffff:10.0.0.7), port 80 of http and 443 of https, dots and doubled slashes in the path, and
	// a slash at its end. The group has it in its one spelling, such as
	// http://[fd00::1]:8080/_covey/. A default name has localhost as 127.0.0.1. Nothing is looked
	// up: a host's name and its address are two, as are 127.0.0.1 and [::1].
	Self string
	// Name identifies this process among the members. It must be the Name that Discovery gives for
	// it, and have 255 bytes at most. One that stays the same after a restart keeps its keys where
	// they are. If two processes go by one name, the one that was started later is the member, and
	// the other stores nothing any more. Default: Self with its path.
	Name string
	// Discovery says whom to contact, no more: who is a member is for the members to agree upon. So
	// a list without somebody removes nobody who runs, and lists that differ do no harm as long as
	// they connect all. Required. StaticPeers is the simplest.
	Discovery Discovery

	// GroupName tells groups apart that may meet, as they share a secret or reuse addresses: a
	// process with another GroupName is refused, on either end of a link. It is compared byte by
	// byte and has 255 bytes at most. It is not a secret. Default: "".
	GroupName string

	// Secrets authenticate the peers to each other. Each should be 32 random bytes, from
	// crypto/rand.Read or the command "openssl rand -hex 32" (whose text may be used as it is), and
	// not a password: a process proves that it knows the secret to whatever answers at a member's
	// address, and an impostor there may try to guess it from that. Fewer than 16 bytes are an
	// error.
	//
	// The first one signs, all of them verify: to replace a secret without a gap, first add the new
	// one at the end everywhere, then put it first everywhere, then remove the old one. Secrets do
	// not encrypt: for that use https URLs. Peers never send them. Where links are refused (see
	// [Peer.Plain]) the clocks of the members have to agree within 30 seconds. If there are neither
	// Secrets nor client certificates over https (see TLS), every member's URL must be a loopback
	// address.
	Secrets [][]byte
	// TLS configures links to https URLs and, if it has a certificate, Listener. It is cloned. nil
	// means the system's root certificates.
	//
	// Where there are no Secrets, a client certificate in it (Certificates or GetClientCertificate)
	// authenticates this process. The server at the other end then has to verify client
	// certificates: set ClientCAs and ClientAuth in the TLS config of the server in which the group
	// is mounted or, for Listener, in this one.
	TLS *tls.Config
	// VerifyPeer is asked at both ends of each link, and of each request over plain HTTP between
	// peers, whether the peer may have the name by which it goes (see [Member.Name]); if it returns
	// an error the peer is refused, and the error is logged. state is that of the connection to the
	// peer, nil without TLS. The chains in it have been verified as TLS says. It is called by many
	// goroutines at once, must not block for longer than a second or so, and must not change state.
	// A panic is an error.
	//
	// nil means: if there are no Secrets, whoever goes by the name of a listed member needs a
	// certificate that is valid for the host of that member's URL or, if it is set, for
	// TLS.ServerName. For a name that is on no list and is itself a URL, as the default Name is,
	// that is the URL's host. Any other name, of a process that only asks, goes with every
	// certificate that TLS accepts. With Secrets or TLS.InsecureSkipVerify nothing is asked.
	VerifyPeer func(name string, state *tls.ConnectionState) error
	// Dial connects to other peers. A panic in it or in a function of TLS is an error of the dial,
	// and so is the end of ctx, even if the function does not return then. The methods of the
	// connection must not panic. nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Listener, if not nil, is served by the group itself, on a port of its own. Shutdown closes
	// it. It gives a client 10 s for the header of a request, of at most 256 KiB, and closes
	// connections that are idle for 2 minutes. nil means that the group is mounted in a server of
	// yours, or that Self is empty.
	Listener net.Listener

	// OpTimeout is how long an operation waits for a peer's answer, not counting the time that a
	// load takes at the owner. 0 means 5 s. Negative is an error.
	OpTimeout time.Duration
	// WarmUp is how long after a change of the members an owner asks those who had a key before, for
	// 50 ms at most, and loads it only if they have nothing. As long, or a little longer, writes of
	// keys that have moved are confirmed by these as well. All members should have the same. 0 means
	// 1 minute. Negative is an error.
	WarmUp time.Duration
	// MinMembers is how many members a new group waits for before it begins, this process included,
	// also after all of them have been stopped. Until then nothing is stored and [Group.Ready] does
	// not return. Later it may have fewer. It keeps processes whose lists do not have each other yet
	// from beginning a group each. 0 means 1. Negative is an error.
	MinMembers int
	// Events are functions that the group calls when something happens. The zero value has none; see
	// [Group.Recent], too.
	Events GroupEvents
	// Logger gets changes of the membership and what goes wrong between peers. What strangers may
	// cause is logged every 10 s at most. Its handler runs as that of [Options].Logger does. nil
	// means slog.Default(), as it is when NewGroup is called.
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
		o.Name = nameOf(o.Self)
	}
	if o.Name == "" {
		o.Name = fmt.Sprintf("client-%016x", rand.Uint64())
	}
	if len(o.Name) > maxPeerName {
		bad("Name has %d bytes, the limit is %d", len(o.Name), maxPeerName)
	}
	if len(o.GroupName) > maxPeerName {
		bad("GroupName has %d bytes, the limit is %d", len(o.GroupName), maxPeerName)
	}
	if o.Discovery == nil {
		bad("Discovery is nil; StaticPeers is the simplest")
	}
	for i, s := range o.Secrets {
		if len(s) < minSecret {
			bad("Secrets[%d] has %d bytes, it needs at least %d", i, len(s), minSecret)
		}
	}
	if o.WarmUp < 0 || o.WarmUp > maxTTL {
		bad("WarmUp is %v, it must be from 0 to %v", o.WarmUp, time.Duration(maxTTL))
	}
	switch d := o.OpTimeout; {
	case d < 0:
		bad("OpTimeout is %v, it must not be negative", d)
	case d > maxTTL:
		bad("OpTimeout is %v, the limit is %v", d, time.Duration(maxTTL))
	}
	if o.MinMembers < 0 {
		bad("MinMembers is %d, it must not be negative", o.MinMembers)
	}
	setDefault(&o.OpTimeout, 5*time.Second)
	setDefault(&o.WarmUp, time.Minute)
	o.TLS = o.TLS.Clone() // an http.Server changes the one that it is given
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = queueLogs(o.Logger)
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

// authenticates reports whether the peer at a URL has to prove who it is. Certificates do that over
// https only.
func (o *GroupOptions) authenticates(url string) bool {
	return len(o.Secrets) > 0 || o.authenticated() && strings.HasPrefix(url, "https:")
}

const maxPeerName = 255
