package covey

// discovery.go finds out who the members of a group are.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Discovery tells a group who its members are.
type Discovery interface {
	// Watch calls update with the whole list of members, this process
	// included, as soon as it knows it and whenever it has changed. It
	// returns when ctx ends, or with an error if it cannot go on; what it said last then stays true.
	Watch(ctx context.Context, update func([]Member)) error
}

// StaticPeers is a Discovery of a list that never changes, given as URLs; their names are the URLs.
func StaticPeers(urls ...string) Discovery {
	members := make([]Member, len(urls))
	for i, u := range urls {
		members[i] = Member{URL: u}
	}
	return StaticMembers(members...)
}

// StaticMembers is a Discovery of a list that never changes.
func StaticMembers(members ...Member) Discovery { return staticPeers(slices.Clone(members)) }

type staticPeers []Member

func (s staticPeers) Watch(ctx context.Context, update func([]Member)) error {
	update(slices.Clone(s))
	<-ctx.Done()
	return nil
}

// DNSPeers is a Discovery that asks the DNS, as a Kubernetes headless service answers. base is a URL whose host is
// looked up: "http://covey.prod.svc.cluster.local:8080" makes a member of each of
// the host's addresses (A and AAAA records). A host that begins with an underscore is looked up as SRV records, which have
// the ports, too: "http://_covey._tcp.prod.svc.cluster.local". The names of the members
// are their URLs, so that Self has to be of that form: "http://10.0.0.7:8080".
//
// It asks every 5 s, and keeps the last answer while the DNS fails, which the group logs.
func DNSPeers(base string) Discovery {
	return &dnsPeers{base: base, resolver: net.DefaultResolver, logger: slog.Default()}
}

const dnsInterval = 5 * time.Second

type dnsPeers struct {
	base     string
	resolver resolver
	logger   *slog.Logger
}

// logTo returns the same discovery with another logger.
func (d *dnsPeers) logTo(l *slog.Logger) Discovery { return &dnsPeers{d.base, d.resolver, l} }

// A resolver is the part of net.Resolver that is needed.
type resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

func (d *dnsPeers) Watch(ctx context.Context, update func([]Member)) error {
	u, err := url.Parse(d.base)
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("covey: DNSPeers: %q is not a URL of the form http://host:port", d.base)
	}
	var last []Member
	var failed error
	for {
		members, err := d.lookup(ctx, u)
		if err == nil && !slices.Equal(members, last) {
			last = members
			update(slices.Clone(members))
		}
		if err != nil && failed == nil && ctx.Err() == nil {
			d.logger.Warn("covey: the DNS does not tell who the members are; the last answer stays true", "url", d.base, "err", err)
		}
		failed = err
		select {
		case <-ctx.Done():
			if last == nil {
				return failed
			}
			return nil
		case <-time.After(dnsInterval):
		}
	}
}

func (d *dnsPeers) lookup(ctx context.Context, base *url.URL) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsInterval)
	defer cancel()
	host := base.Hostname()
	var hosts []string // with ports
	if strings.HasPrefix(host, "_") {
		_, records, err := d.resolver.LookupSRV(ctx, "", "", host)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			hosts = append(hosts, net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))))
		}
	} else {
		addresses, err := d.resolver.LookupHost(ctx, host)
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			switch port := base.Port(); {
			case port != "":
				a = net.JoinHostPort(a, port)
			case strings.Contains(a, ":"):
				a = "[" + a + "]"
			}
			hosts = append(hosts, a)
		}
	}
	if len(hosts) == 0 {
		return nil, errors.New("covey: the DNS has no addresses for " + host)
	}
	slices.Sort(hosts)
	var members []Member
	for _, h := range slices.Compact(hosts) {
		u := *base
		u.Host = h
		members = append(members, Member{URL: u.String()})
	}
	return members, nil
}
