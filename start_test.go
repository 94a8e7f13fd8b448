package covey

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// Three processes that start some seconds apart become one group, in whichever way they learn of
// each other, and alarm nobody.
func TestStartWarnsOfNothing(t *testing.T) {
	for name, how := range map[string]struct {
		dns   bool
		hosts []string // that DNS has from the beginning
	}{
		"a list":                       {},
		"DNS has those that are ready": {dns: true},
		"DNS has all":                  {dns: true, hosts: []string{"a", "b", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logbook
				w := &world{t: t, net: netsim.New(), o: Options[string]{Logger: log.logger()}}
				dns := &fakeDNS{hosts: how.hosts}
				if how.hosts == nil {
					dns.err = noSuchHost
				}
				for i, name := range []string{"a", "b", "c"} {
					var d Discovery = StaticPeers("http://a", "http://b", "http://c")
					if how.dns {
						d = &dnsPeers{base: "http://svc", resolver: dns}
					}
					start := time.Now()
					p := w.start(name, d)
					require.NoError(t, p.group.Ready(t.Context()))
					require.Less(t, time.Since(start), 2500*time.Millisecond, "of %s: nobody is waited for", name)
					if how.hosts == nil {
						dns.set(func() { dns.hosts, dns.err = append(dns.hosts, name), nil })
					}
					for _, k := range []string{"k1", "k2", "k3", "k4", "k5"} {
						_, err := p.cache.Get(t.Context(), k, constant("v"))
						require.NoError(t, err)
					}
					time.Sleep(time.Duration(2+3*i)*time.Second + 300*time.Millisecond)
				}
				w.ready()
				for _, p := range w.procs {
					require.NoError(t, p.cache.Put(t.Context(), "k1", p.name))
					require.NoError(t, p.cache.Delete(t.Context(), "k2"))
					require.NoError(t, p.cache.Clear(t.Context()))
				}
				time.Sleep(2 * startGrace)
				w.close()
				for line := range strings.Lines(log.String()) {
					require.Contains(t, line, "level=INFO", "in:\n%s", &log)
				}
			})
		})
	}
}

// Nor does a process that starts alarm anybody while a proxy or its server is there and the rest of
// it is not.
func TestStartBehindAProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		w := &world{t: t, net: netsim.New(), o: Options[string]{Logger: log.logger()}}
		list := StaticPeers("http://a", "http://b")
		l, err := w.net.Listen("b:80")
		require.NoError(t, err)
		proxy := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			http.Error(rw, "no healthy upstream", http.StatusServiceUnavailable)
		})}
		go func() { _ = proxy.Serve(l) }()
		w.start("a", list)
		_, err = w.procs[0].cache.Get(t.Context(), "k", constant("v"))
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		require.NoError(t, proxy.Close())
		w.start("b", list)
		w.ready()
		w.close()
		require.Contains(t, log.String(), "503")
		for line := range strings.Lines(log.String()) {
			require.Contains(t, line, "level=INFO", "in:\n%s", &log)
		}
	})
}

// A member that does not come is a cause for alarm in the end, and one that refuses this process at
// once; each is told once.
func TestMissingMembersAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log, other logbook
		w := &world{t: t, net: netsim.New(), o: Options[string]{Logger: log.logger()}}
		list := StaticPeers("http://a", "http://b", "http://c")
		w.start("a", list)
		b := w.at("b", list)
		b.opt.GroupName, b.opt.Logger = "another", other.logger()
		b.run()
		warnings := func(of *logbook, about string) (n int) {
			for line := range strings.Lines(of.String()) {
				if strings.Contains(line, "level=WARN") && strings.Contains(line, about) {
					n++
				}
			}
			return n
		}
		for range 100 {
			for _, p := range w.procs {
				for _, k := range []string{"k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"} {
					_, err := p.cache.Get(t.Context(), k, constant("v"))
					require.NoError(t, err)
				}
			}
			time.Sleep(10 * time.Second)
		}
		w.close()
		for _, of := range []*logbook{&log, &other} {
			require.Equal(t, 1, warnings(of, "no link to a peer, trying again\" peer=http://c"), of.String())
			require.Equal(t, 1, warnings(of, "refused a link"), of.String())
		}
		require.Equal(t, 1, warnings(&log, "no link to a peer, trying again\" peer=http://b"), log.String())
		require.Equal(t, 1, warnings(&other, "no link to a peer, trying again\" peer=http://a"), other.String())
		require.Contains(t, log.String(), "compare GroupOptions.Secrets and GroupName")
	})
}

// Between a newcomer and each voter there is one link, whichever end has dialled it, and a voter that
// cannot use that one for what it asks dials its own.
func TestOneLinkToEachVoter(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		d := w.start("d", StaticPeers("http://a", "http://b", "http://c", "http://d"))
		w.ready()
		require.Equal(t, 3, d.group.Stats().Links)
		a := w.procs[0]
		_, _, err := a.cache.Lookup(t.Context(), d.key())
		require.NoError(t, err)
		require.Equal(t, 4, d.group.Stats().Links)
		d.crash()
		w.procs = w.procs[:3]
		w.ready()
	})
}
