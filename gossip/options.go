package gossip

// options.go is what can be set, and what of it is refused.

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/hashicorp/memberlist"
)

// Options are for [Members].
type Options struct {
	// Self is this process's GroupOptions.Self: the URL at which the others reach its group. It is
	// required unless Weight is negative.
	Self string
	// Name is this process's GroupOptions.Name. Default: the name that the group gives it, its URL.
	// A process that comes back under the same name, at whatever address, takes the place of the one
	// before.
	Name string
	// Weight and Zone are those of covey.Member.
	Weight int
	Zone   string

	// Bind is the address for gossip, by UDP and TCP. Default: "0.0.0.0:7946".
	Bind string
	// Advertise is the address at which the others reach Bind. Default: Bind's or, if that is no
	// particular one, a private one of this machine. The port is Bind's unless it has one.
	Advertise string
	// Seeds are addresses of processes that may be there, with or without a port (7946); names that
	// stand for several addresses are all of them. This process may be among them. Without seeds it
	// waits to be found.
	Seeds []string

	// Secrets are of 16 bytes or more, the same in all processes. What is said is encrypted by the
	// first (AES-256 in GCM, with a key derived by HKDF), and understood if it is by any of them. So
	// a new one is first added as the last everywhere, then made the first, then the old one goes.
	// They may be those of GroupOptions.
	Secrets [][]byte
	// Open allows a Bind that is no loopback address without Secrets: then whoever reaches it may
	// read who the members are, and become one as far as this package is concerned.
	Open bool
	// Cluster tells processes apart that are to know nothing of each other although they can reach
	// each other. It may have 255 bytes.
	Cluster string

	// Logger takes what memberlist says. Default: slog.Default().
	Logger *slog.Logger

	tune func(*memberlist.Config) // for tests
}

const (
	defaultBind   = "0.0.0.0:7946"
	defaultPort   = "7946"
	minSecret     = 16
	maxClusterLen = memberlist.LabelMaxSize
)

// config checks the options and returns memberlist's, and what the others are told of this process.
func (o *Options) config() (*memberlist.Config, about, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("gossip: Options."+format, args...)) }
	if o.Bind == "" {
		o.Bind = defaultBind
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	c := memberlist.DefaultLANConfig()
	var err error
	if c.BindAddr, c.BindPort, err = split(o.Bind, defaultPort); err != nil {
		wrong("Bind: %w", err)
	}
	c.AdvertiseAddr, c.AdvertisePort = "", c.BindPort
	if o.Advertise != "" {
		if c.AdvertiseAddr, c.AdvertisePort, err = split(o.Advertise, strconv.Itoa(c.BindPort)); err != nil {
			wrong("Advertise: %w", err)
		}
	}
	if ip := net.ParseIP(c.BindAddr); len(o.Secrets) == 0 && !o.Open && (ip == nil || !ip.IsLoopback()) {
		wrong("Secrets is empty, and Bind, %q, is no loopback address: whoever reaches it could become a member; set Secrets, or Open", o.Bind)
	}
	if c.Keyring, err = keyring(o.Secrets); err != nil {
		errs = append(errs, err)
	}
	if len(o.Cluster) > maxClusterLen {
		wrong("Cluster has %d bytes, more than %d", len(o.Cluster), maxClusterLen)
	}
	c.Label = o.Cluster
	if o.Self == "" && o.Weight >= 0 {
		wrong("Self is empty: it is the URL at which the others reach this process's group")
	}
	me := about{Name: o.Name, URL: o.Self, Weight: o.Weight, Zone: o.Zone}
	if n := len(me.encode()) + maxStarted; n > memberlist.MetaMaxSize {
		wrong("Self, Name and Zone are too long together: %d bytes as JSON, of %d", n, memberlist.MetaMaxSize)
	}
	return c, me, errors.Join(errs...)
}

// split returns the host and the port of an address, which may have none.
func split(address, port string) (string, int, error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		if host, p, err = net.SplitHostPort(net.JoinHostPort(address, port)); err != nil {
			return "", 0, err
		}
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q has no port from 0 to 65535", address)
	}
	return host, int(n), nil
}

// keyring returns the keys that are derived from the secrets; nil if there are none.
func keyring(secrets [][]byte) (*memberlist.Keyring, error) {
	var keys [][]byte
	for i, s := range secrets {
		if len(s) < minSecret {
			return nil, fmt.Errorf("gossip: Options.Secrets[%d] has %d bytes, less than %d", i, len(s), minSecret)
		}
		key, err := hkdf.Key(sha256.New, s, nil, "covey gossip", 32)
		if err != nil {
			return nil, fmt.Errorf("gossip: Options.Secrets[%d]: %w", i, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	return memberlist.NewKeyring(keys, keys[0])
}

// An about is what a process says of itself.
type about struct {
	Name    string `json:"n,omitempty"`
	URL     string `json:"u,omitempty"`
	Weight  int    `json:"w,omitempty"`
	Zone    string `json:"z,omitempty"`
	Started int64  `json:"t,omitempty"` // Unix nanoseconds: of two with one name the later one counts
}

// maxStarted is how many bytes Started takes.
const maxStarted = len(`,"t":-9223372036854775808`)

func (a about) encode() []byte {
	text, _ := json.Marshal(a) // of strings and numbers: it cannot fail
	return text
}
