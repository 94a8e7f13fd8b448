package covey

// group_discovery.go finds out who the members of a group are: from a list or from DNS.

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

// A Discovery tells a group who its members are. [StaticPeers], [StaticMembers] and [DNSPeers] are
// ready-made.
type Discovery interface {
	// Watch calls update with the whole list of members, this process included, as soon as it knows
	// the list and whenever it has changed. Calls of update come one after another. Watch returns
	// nil when ctx ends, or earlier if the list will never change. If it cannot go on, it returns
	// an error. The group logs the error or the panic, keeps the last list, and calls Watch again
	// after a pause that grows from 1 s to 1 min. Watch runs on a goroutine of its own, one call at
	// a time.
	//
	// A member that is not in the list is out of the group. So if the source of the list fails, do
	// not pass on an empty or partial one. Members with mistakes in them are logged and left out.
	Watch(ctx context.Context, update func([]Member)) error
}

// The pause before Watch is called again. It begins anew after a Watch that has run for longer than
// the longest one.
const (
	minWatchPause = time.Second
	maxWatchPause = time.Minute
)

// watch follows the discovery. If that fails it begins again.
func (g *Group) watch() {
	pause := minWatchPause
	for {
		begin := time.Now()
		err := guard("Discovery.Watch", func() error { return g.opt.Discovery.Watch(g.ctx, g.update) })
		if err == nil || g.ctx.Err() != nil {
			return
		}
		if time.Since(begin) > maxWatchPause {
			pause = minWatchPause
		}
		g.opt.Logger.Error("covey: discovery has failed, keeping its last list of members", "err", err, "again in", pause)
		select {
		case <-g.ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, maxWatchPause)
	}
}

// StaticPeers returns a Discovery whose list never changes, given as URLs. It must contain
// GroupOptions.Self.
func StaticPeers(urls ...string) Discovery {
	members := make([]Member, len(urls))
	for i, u := range urls {
		members[i] = Member{URL: u}
	}
	return StaticMembers(members...)
}

// StaticMembers returns a Discovery whose list never changes. NewGroup returns the mistakes in it
// as an error.
func StaticMembers(members ...Member) Discovery { return staticPeers(slices.Clone(members)) }

type staticPeers []Member

func (s staticPeers) Watch(ctx context.Context, update func([]Member)) error {
	update(slices.Clone(s))
	<-ctx.Done()
	return nil
}

// DNSPeers returns a Discovery that asks DNS, such as that of a Kubernetes headless service. The
// host of the URL base is looked up. "http://covey.prod.svc.cluster.local:8080" makes each address
// of that host (A and AAAA records) a member. A host that begins with an underscore is looked up as
// SRV records, which bring the ports, too: "http://_covey._tcp.prod.svc.cluster.local". The names
// of the members are their URLs, so Self has to have the same form: "http://10.0.0.7:8080" for
// address records, and the target's name for SRV records.
//
// It asks every 5 s. While DNS fails it keeps the last answer and logs that.
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

// A resolver is the part of net.Resolver that is needed here.
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
			d.logger.Warn("covey: DNS lookup of the members failed, keeping the last answer", "url", d.base, "err", err)
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
		return nil, errors.New("covey: DNS has no addresses for " + host)
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
