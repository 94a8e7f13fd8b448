package covey

// group_discovery.go finds out who the members of a group are: from a list or from DNS.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
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
	// The list says whom to contact: a member that runs and is not in it stays one (see
	// GroupOptions.Discovery). But a process that starts with an empty or partial list may begin a
	// group of its own. So if the source of the list fails, return an error, and do not pass on what
	// there is. Members with mistakes in them are logged and left out.
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
		g.log.warn("covey: discovery has failed, keeping its last list of members", "", "err", err, "again in", pause)
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
// Where the processes have an IPv4 and an IPv6 address each, those of Self's kind count. If Self is
// no IP address, that is IPv4, unless there are none of them.
//
// It asks every 5 s. As long as DNS does not know the host, or has no addresses of it, there is
// nobody yet: the list is empty. So it is at the first start of a Kubernetes service that has only
// the addresses of pods that are ready, and it keeps nobody waiting: [Group.Ready] returns, and the
// pod may say that it is ready. With publishNotReadyAddresses pods find each other before that; the
// repository's docs/kubernetes.md has an example. Once there was an answer it is kept while DNS
// fails or has nobody, and that is logged.
func DNSPeers(base string) Discovery {
	return &dnsPeers{base: base, resolver: net.DefaultResolver, logger: slog.Default()}
}

const dnsInterval = 5 * time.Second

type dnsPeers struct {
	base     string
	resolver resolver
	logger   *slog.Logger
	self     string // the URL of this process, if it has one
}

// of returns the same discovery for a group.
func (d *dnsPeers) of(o *GroupOptions) Discovery {
	return &dnsPeers{d.base, d.resolver, o.Logger, o.Self}
}

// A resolver is the part of net.Resolver that is needed here.
type resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// A nobodyError says that DNS works and has no members.
type nobodyError struct{ error }

func (d *dnsPeers) Watch(ctx context.Context, update func([]Member)) error {
	u, err := url.Parse(d.base)
	if err != nil || u.Hostname() == "" {
		return fmt.Errorf("covey: DNSPeers: %q is not a URL of the form http://host:port", d.base)
	}
	var last []Member
	var failed error
	told := false
	for {
		members, err := d.lookup(ctx, u)
		switch nobody := (nobodyError{}); {
		case err == nil:
			if !slices.Equal(members, last) {
				last, told = members, true
				update(slices.Clone(members))
			}
		case last == nil && errors.As(err, &nobody):
			if !told {
				told = true
				d.logger.Info("covey: DNS has no members yet", "url", d.base, "reason", err)
				update(nil)
			}
		case failed == nil && ctx.Err() == nil:
			d.logger.Warn("covey: DNS lookup of the members failed, keeping the last answer", "url", d.base, "err", err)
		}
		failed = err
		select {
		case <-ctx.Done():
			if !told {
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
	hosts, err := d.hosts(ctx, base)
	if err != nil {
		if e := (*net.DNSError)(nil); errors.As(err, &e) && e.IsNotFound {
			return nil, nobodyError{err}
		}
		return nil, err
	}
	var urls []string
	for _, h := range hosts {
		u := *base
		u.Host = h
		canonical, err := peerURL(u.String())
		if err != nil {
			return nil, fmt.Errorf("covey: DNSPeers: %w", err)
		}
		urls = append(urls, canonical)
	}
	slices.Sort(urls)
	var members []Member
	for _, u := range slices.Compact(urls) {
		members = append(members, Member{URL: u})
	}
	return members, nil
}

// hosts returns the hosts that DNS has, with their ports, at least one.
func (d *dnsPeers) hosts(ctx context.Context, base *url.URL) (hosts []string, err error) {
	host := base.Hostname()
	if strings.HasPrefix(host, "_") {
		_, records, err := d.resolver.LookupSRV(ctx, "", "", host)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			hosts = append(hosts, joinHost(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))))
		}
	} else {
		addresses, err := d.resolver.LookupHost(ctx, host)
		if err != nil {
			return nil, err
		}
		for _, a := range d.family(addresses) {
			hosts = append(hosts, joinHost(a, base.Port()))
		}
		if hosts == nil && addresses != nil {
			return nil, nobodyError{fmt.Errorf("covey: of %s it has only %v, which are not of the same kind, IPv4 or IPv6, as GroupOptions.Self, %s", host, addresses, d.self)}
		}
	}
	if hosts == nil {
		return nil, nobodyError{errors.New("covey: DNS has no addresses for " + host)}
	}
	return hosts, nil
}

// family returns those of the addresses that members go by: a process that has one of each kind is
// one member.
func (d *dnsPeers) family(addresses []string) []string {
	of := func(is4 bool) []string {
		return slices.DeleteFunc(slices.Clone(addresses), func(a string) bool {
			ip, err := netip.ParseAddr(a)
			return err == nil && ip.Unmap().Is4() != is4
		})
	}
	if self, ok := hostIP(d.self); ok {
		return of(self.Is4())
	}
	if only := of(true); len(only) > 0 {
		return only
	}
	return of(false)
}

// startGrace is how long after its start a process may be missing from the list of members: where
// that has only those that are ready, nobody is in it at first.
const startGrace = 15 * time.Second

// checkStart says what is still missing when a process should have found its group.
func (g *Group) checkStart() {
	select {
	case <-time.After(startGrace):
	case <-g.ctx.Done():
		return
	}
	g.mu.Lock()
	list := g.listed
	g.mu.Unlock()
	if v := g.view.Load(); g.opt.Self == "" && len(v.ring.members) > 0 || v.self >= 0 || g.replaced.Load() {
		return
	}
	self, names := g.agreement.Missing()
	switch {
	case g.opt.Self != "" && self:
		g.opt.Logger.Warn("covey: this process does not reach itself, so that it cannot begin a group: is it served at GroupOptions.Self, and can it connect to that URL? Until then it loads what it misses and stores nothing", "self", g.opt.Self)
	case len(list) == 0:
		g.opt.Logger.Warn("covey: the list of members is still empty: check GroupOptions.Discovery")
	default:
		g.opt.Logger.Warn("covey: this process is not a member yet: it loads what it misses and stores nothing. It waits for these, who neither answer nor refuse connections", "self", g.opt.Name, "peers", names)
	}
}

// isIn reports whether this process is in a list of members.
func (g *Group) isIn(list []Member) bool {
	return slices.ContainsFunc(list, func(m Member) bool { return m.Name == g.opt.Name })
}
