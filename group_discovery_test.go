package covey

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// A fakeDNS is a resolver for which the test speaks.
type fakeDNS struct {
	mu    sync.Mutex
	hosts []string
	srv   []*net.SRV
	err   error
	hangs bool   // until the asker has enough
	asked string // for what
	times int
}

func (d *fakeDNS) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// question notes a question and waits, if the test wants that.
func (d *fakeDNS) question(ctx context.Context, what string) error {
	d.mu.Lock()
	d.asked = what
	d.times++
	hangs := d.hangs
	d.mu.Unlock()
	if !hangs {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (d *fakeDNS) LookupHost(ctx context.Context, host string) ([]string, error) {
	if err := d.question(ctx, "host "+host); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hosts, d.err
}

func (d *fakeDNS) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if err := d.question(ctx, "srv "+service+proto+name); err != nil {
		return "", nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return name, d.srv, d.err
}

// noSuchHost is what a resolver says of a name that DNS does not know, or has no addresses for.
var noSuchHost error = &net.DNSError{Err: "no such host", Name: "svc", IsNotFound: true}

// A logbook keeps what is logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// watch runs a discovery until the test stops it, and returns the lists of URLs that it tells, and
// its end.
func watch(t *testing.T, d Discovery) (lists <-chan []string, stop func() error) {
	told := make(chan []string, 100)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- d.Watch(ctx, func(list []Member) {
			var urls []string
			for _, m := range list {
				urls = append(urls, m.URL)
			}
			clear(list) // what is told belongs to the receiver
			told <- urls
		})
	}()
	return told, func() error {
		cancel()
		return <-ended
	}
}

func TestStaticPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := []Member{{Name: "a", URL: "http://a", Weight: 2, Zone: "z"}, {URL: "http://b"}}
		d := StaticMembers(members...)
		members[0].URL = "http://changed"
		for _, d := range []Discovery{d, d, StaticPeers("http://a", "http://b")} {
			lists, stop := watch(t, d)
			require.Equal(t, []string{"http://a", "http://b"}, <-lists)
			time.Sleep(time.Hour)
			require.Empty(t, lists)
			require.NoError(t, stop())
		}
	})
}

func TestDNSPeersForms(t *testing.T) {
	dns := &fakeDNS{
		hosts: []string{"10.0.0.9", "fd00:0:0::B", "10.0.0.7", "fd00::1", "10.0.0.9"},
		srv:   []*net.SRV{{Target: "c-1.SVC.", Port: 81}, {Target: "c-0.svc.", Port: 80}, {Target: "c-1.svc.", Port: 81}},
	}
	for _, test := range []struct {
		base, self, asked string
		want              []string
	}{
		{"http://svc:8080", "http://10.0.0.7:8080/_covey/", "host svc", []string{"http://10.0.0.7:8080/_covey/", "http://10.0.0.9:8080/_covey/"}},
		{"http://svc:8080", "http://[fd00::1]:8080/_covey/", "host svc", []string{"http://[fd00::1]:8080/_covey/", "http://[fd00::b]:8080/_covey/"}},
		{"https://svc.ns/cache/", "", "host svc.ns", []string{"https://10.0.0.7/cache/", "https://10.0.0.9/cache/"}},
		{"http://svc:080", "http://me/_covey/", "host svc", []string{"http://10.0.0.7/_covey/", "http://10.0.0.9/_covey/"}},
		{"http://_covey._tcp.svc/x", "http://c-0.svc/x/", "srv _covey._tcp.svc", []string{"http://c-0.svc/x/", "http://c-1.svc:81/x/"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			lists, stop := watch(t, &dnsPeers{test.base, dns, slog.New(slog.DiscardHandler), test.self})
			require.Equal(t, test.want, <-lists)
			require.Equal(t, test.asked, dns.asked)
			require.NoError(t, stop())
			for _, u := range test.want {
				canonical, err := peerURL(u)
				require.NoError(t, err)
				require.Equal(t, u, canonical)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // where there is IPv6 only, who has no address of its own takes that
		lists, stop := watch(t, &dnsPeers{"http://svc", &fakeDNS{hosts: []string{"fd00::1"}}, slog.New(slog.DiscardHandler), ""})
		require.Equal(t, []string{"http://[fd00::1]/_covey/"}, <-lists)
		require.NoError(t, stop())
	})
	synctest.Test(t, func(t *testing.T) { // those of this process's kind may come later
		var log logbook
		dns := &fakeDNS{hosts: []string{"10.0.0.7"}}
		lists, stop := watch(t, &dnsPeers{"http://svc", dns, log.logger(), "http://[fd00::2]/_covey/"})
		require.Empty(t, <-lists)
		require.Contains(t, log.String(), "level=INFO")
		require.Contains(t, log.String(), "of svc it has only [10.0.0.7], which are not of the same kind, IPv4 or IPv6, as GroupOptions.Self, http://[fd00::2]/_covey/")
		dns.set(func() { dns.hosts = []string{"10.0.0.7", "fd00::1"} })
		require.Equal(t, []string{"http://[fd00::1]/_covey/"}, <-lists)
		require.NoError(t, stop())
		require.NotContains(t, log.String(), "level=WARN")
	})
	for _, base := range []string{"", "svc:80", "http://", "http://:80", "http://[::1"} {
		err := DNSPeers(base).Watch(t.Context(), func([]Member) { t.Error("there are no members") })
		require.ErrorContains(t, err, "http://host:port", "%q", base)
	}
}

func TestDNSPeersChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &fakeDNS{err: errors.New("network is unreachable")}
		var log logbook
		lists, stop := watch(t, &dnsPeers{base: "http://svc", resolver: dns, logger: log.logger()})
		next := func() []string {
			t.Helper()
			start := time.Now()
			list := <-lists
			require.LessOrEqual(t, time.Since(start), dnsInterval)
			return list
		}
		quiet := func(why string) {
			t.Helper()
			time.Sleep(time.Minute)
			require.Empty(t, lists, why)
		}
		quiet("there is no answer yet")
		dns.set(func() { require.InDelta(t, 12, dns.times, 1, "it asks every 5 s") })

		dns.set(func() { dns.hosts, dns.err = []string{"a", "b"}, nil })
		require.Equal(t, []string{"http://a/_covey/", "http://b/_covey/"}, next())
		dns.set(func() { dns.hosts = []string{"b", "a"} })
		quiet("the order means nothing")
		dns.set(func() { dns.hosts = []string{"b", "a", "c"} })
		require.Equal(t, []string{"http://a/_covey/", "http://b/_covey/", "http://c/_covey/"}, next())

		dns.set(func() { dns.err = errors.New("server failure") })
		quiet("an error is no change")
		dns.set(func() { dns.hosts, dns.err = nil, nil })
		quiet("an empty answer is no list")
		dns.set(func() { dns.err = noSuchHost })
		quiet("and so is none")
		dns.set(func() { dns.hangs = true })
		quiet("silence is an error")
		dns.set(func() { dns.hosts, dns.err, dns.hangs = []string{"c"}, nil, false })
		time.Sleep(dnsInterval) // the last question is still waited for
		require.Equal(t, []string{"http://c/_covey/"}, next())
		require.NoError(t, stop())
		for _, cause := range []string{"network is unreachable", "server failure", "no such host", "deadline exceeded"} {
			require.LessOrEqual(t, strings.Count(log.String(), cause), 1, "each trouble is told once")
		}
		require.Equal(t, 2, strings.Count(log.String(), "url=http://svc"), log.String())
	})
}

func TestDNSPeersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("server failure")
		for _, dns := range []*fakeDNS{{err: failure}, {hangs: true}} {
			_, stop := watch(t, &dnsPeers{base: "http://svc", resolver: dns, logger: slog.New(slog.DiscardHandler)})
			time.Sleep(time.Second)
			start := time.Now()
			require.Error(t, stop(), "there never was a list")
			require.Zero(t, time.Since(start))
		}
	})
}

// dnsGroup starts the member at http://a of a group that the DNS tells of.
func dnsGroup(t *testing.T, dns *fakeDNS) (*Group, *logbook) {
	var log logbook
	network := netsim.New()
	g, err := NewGroup(GroupOptions{
		Self: "http://a", Discovery: &dnsPeers{base: "http://svc", resolver: dns, logger: slog.New(slog.DiscardHandler)}, Secrets: [][]byte{testSecret},
		Dial: network.Dialer("a"), Logger: log.logger(),
	})
	require.NoError(t, err)
	serveIn(t, network, "a:80", g)
	synctest.Wait() // for the log
	return g, &log
}

// serveIn serves a group on a network in memory until the test ends.
func serveIn(t *testing.T, network *netsim.Network, address string, g *Group) {
	l, err := network.Listen(address)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(g.Path(), g)
	srv := &http.Server{Handler: mux}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
}

func TestGroupWithoutDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &fakeDNS{err: errors.New("server failure")}
		start := time.Now()
		g, log := dnsGroup(t, dns)
		defer func() { require.NoError(t, g.Shutdown(t.Context())) }()
		require.Equal(t, firstList, time.Since(start))
		synctest.Wait() // lines are logged on a goroutine of their own
		require.Contains(t, log.String(), "no list of members yet")
		require.Contains(t, log.String(), "server failure")
		c, err := New("test", Options[string]{Group: g, Logger: log.logger()})
		require.NoError(t, err)
		v, err := c.Get(t.Context(), "k", constant("v"))
		require.NoError(t, err)
		require.Equal(t, "v", v)
		require.Zero(t, c.Stats().Entries, "another process may own it")
		require.Empty(t, g.Owner("k"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, g.Ready(ctx), context.DeadlineExceeded)

		dns.set(func() { dns.hosts, dns.err = []string{"a"}, nil })
		require.NoError(t, g.Ready(t.Context()))
		require.Equal(t, "http://a/_covey/", g.Owner("k"))
		_, err = c.Get(t.Context(), "k", constant("v"))
		require.NoError(t, err)
		require.EqualValues(t, 1, c.Stats().Entries)
	})
}

// Nobody waits for a DNS that has no members yet, and nobody is alarmed before they should be there.
func TestGroupIsFirstInDNS(t *testing.T) {
	for name, nobody := range map[string]func(dns *fakeDNS){
		"no such host": func(dns *fakeDNS) { dns.err = noSuchHost },
		"no addresses": func(*fakeDNS) {},
	} {
		for _, self := range []string{"http://a", ""} {
			t.Run(name+" "+self, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dns := new(fakeDNS)
					nobody(dns)
					var log logbook
					start := time.Now()
					network := netsim.New()
					g, err := NewGroup(GroupOptions{
						Self: self, Discovery: &dnsPeers{base: "http://svc", resolver: dns}, Secrets: [][]byte{testSecret}, Dial: network.Dialer("a"), Logger: log.logger(),
					})
					require.NoError(t, err)
					serveIn(t, network, "a:80", g)
					defer func() { require.NoError(t, g.Shutdown(t.Context())) }()
					require.NoError(t, g.Ready(t.Context()))
					require.Less(t, time.Since(start), time.Second)
					synctest.Wait()
					require.Equal(t, 1, strings.Count(log.String(), "DNS has no members yet"))

					time.Sleep(startGrace - time.Second)
					require.NotContains(t, log.String(), "level=WARN")
					time.Sleep(2 * time.Second)
					if self == "" {
						require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
						require.Contains(t, log.String(), "still")
					}
					dns.set(func() { dns.hosts, dns.err = []string{"a"}, nil })
					time.Sleep(2 * dnsInterval)
					require.Len(t, g.Peers(), 1)
					require.Equal(t, self != "", g.Owner("k") != "", "nobody is there but this process")
					require.NotContains(t, log.String(), "refused a link")
				})
			})
		}
	}
}

// A process that the DNS does not know yet is a member all the same.
func TestGroupSelfIsMissingFromDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &fakeDNS{hosts: []string{"b"}}
		g, log := dnsGroup(t, dns)
		defer func() { require.NoError(t, g.Shutdown(t.Context())) }()
		require.NoError(t, g.Ready(t.Context()), "b refuses connections")
		require.Equal(t, "http://a/_covey/", g.Owner("k"))
		require.Len(t, g.Peers(), 2)
		require.NotContains(t, log.String(), "level=WARN")
	})
}

func TestDiscoveryThatCannotGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		g, err := NewGroup(GroupOptions{Self: "http://127.0.0.1", Dial: netsim.New().Dialer("a"), Discovery: DNSPeers("svc"), Logger: log.logger()})
		require.NoError(t, err)
		synctest.Wait() // for the log
		require.Contains(t, log.String(), "discovery has failed")
		require.Contains(t, log.String(), "DNSPeers")
		require.NoError(t, g.Shutdown(t.Context()))
	})
}

// Processes that the DNS tells of each other become one group, and follow it.
func TestGroupFollowsDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := &fakeDNS{hosts: []string{"a", "b"}}
		w := &world{t: t, net: netsim.New()}
		for _, name := range []string{"a", "b", "c"} {
			w.start(name, &dnsPeers{base: "http://svc", resolver: dns, logger: slog.New(slog.DiscardHandler)})
		}
		defer w.close()
		time.Sleep(10 * time.Second)
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		for _, p := range w.procs {
			require.Equal(t, 3, p.group.Stats().Members, "c knows of a and b")
			require.Equal(t, a.group.view.Load().ring.fingerprint, p.group.view.Load().ring.fingerprint)
		}
		require.NoError(t, c.cache.Put(t.Context(), "k", "v"))
		e, ok, err := b.cache.Lookup(t.Context(), "k")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "v", e.Value)

		dns.set(func() { dns.hosts = []string{"a", "b", "c"} })
		w.ready()
		require.NotEmpty(t, c.key())
	})
}
