package k8s

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/internal/netsim"
)

// A listener notes the lists of members that a discovery has told.
type listener struct {
	mu    sync.Mutex
	lists [][]covey.Member
	err   error
	ended bool
}

func (l *listener) update(m []covey.Member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lists = append(l.lists, m)
}

// last returns the URLs of the last list, without what they all have, and how many lists there were.
func (l *listener) last() (hosts string, lists int) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lists) == 0 {
		return "nothing", 0
	}
	var all []string
	for _, m := range l.lists[len(l.lists)-1] {
		all = append(all, strings.TrimSuffix(strings.TrimPrefix(m.URL, "http://10.0.0."), ":8080"+covey.DefaultPath))
	}
	return strings.Join(all, " "), len(l.lists)
}

// inCluster runs a test with an API server and a discovery that watches it, in a bubble.
func inCluster(t *testing.T, o Options, f func(t *testing.T, api *apiServer, l *listener, net *netsim.Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net, api := netsim.New(), newAPI()
		on, err := net.Listen("api:443")
		require.NoError(t, err)
		srv := &http.Server{Handler: api, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		go func() { _ = srv.Serve(on) }()
		defer srv.Close()
		api.set("shop", "shop-1", pod{ip: "10.0.0.1", name: "shop-0", zone: "z1"})
		client := &http.Client{Transport: &http.Transport{DialContext: net.Dialer("pod")}}
		defer client.CloseIdleConnections()
		o.Service, o.Namespace, o.API, o.Client = "shop", "shop", "http://api:443/", client
		if o.Logger == nil {
			o.Logger = slog.New(slog.DiscardHandler)
		}
		d, err := Service(o)
		require.NoError(t, err)
		l := new(listener)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			err := d.Watch(ctx, l.update)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.err, l.ended = err, true
		}()
		f(t, api, l, net)
		cancel()
		<-done
		if !errors.Is(l.err, errExpected) {
			require.NoError(t, l.err)
		}
	})
}

// errExpected is set by tests that have looked at the error.
var errExpected = errors.New("expected")

func TestFollows(t *testing.T) {
	inCluster(t, Options{}, func(t *testing.T, api *apiServer, l *listener, _ *netsim.Network) {
		expect := func(want string, lists int) {
			t.Helper()
			hosts, n := l.last()
			require.Equal(t, want, hosts)
			require.Equal(t, lists, n)
		}
		expect("1", 1)
		require.Equal(t, "z1", l.lists[0][0].Zone)
		require.Empty(t, l.lists[0][0].Name)
		two := pod{ip: "10.0.0.2", name: "shop-1", zone: "z2", notReady: true}
		api.set("shop", "shop-1", pod{ip: "10.0.0.1", name: "shop-0", zone: "z1"}, two)
		expect("1 2", 2)
		two.notReady = false
		api.set("shop", "shop-1", pod{ip: "10.0.0.1", name: "shop-0", zone: "z1"}, two)
		expect("1 2", 2) // readiness changes nothing
		api.set("shop", "shop-2", pod{ip: "10.0.0.3"})
		expect("1 2 3", 3)
		api.set("other", "other-1", pod{ip: "10.0.0.9"})
		expect("1 2 3", 3)
		api.set("shop", "shop-2", pod{ip: "10.0.0.3"}, two) // it moves to another slice
		api.set("shop", "shop-1", pod{ip: "10.0.0.1", name: "shop-0", zone: "z1"})
		expect("1 2 3", 3)
		api.set("shop", "shop-2", pod{ip: "10.0.0.3", terminating: true}, two)
		expect("1 2", 4)
		api.remove("shop-1")
		expect("2", 5)
		api.remove("shop-2")
		expect("2", 5) // nobody: that is no list to go by
		api.set("shop", "shop-3", pod{ip: "10.0.0.4"})
		expect("4", 6)
		require.Equal(t, 1, api.lists)
		require.Equal(t, 1, api.watches)
	})
}

// A service that has no endpoints yet is a list, of nobody.
func TestNobodyYet(t *testing.T) {
	inCluster(t, Options{}, func(t *testing.T, api *apiServer, l *listener, _ *netsim.Network) {
		api.remove("shop-1")
		var nobody listener
		d, err := Service(Options{Service: "none", Namespace: "shop", API: "http://api:443", Client: http.DefaultClient})
		require.NoError(t, err)
		w := &watch{service: d.(*service), update: nobody.update}
		w.tell()
		w.tell()
		_, n := nobody.last()
		require.Equal(t, 1, n)
		require.Empty(t, nobody.lists[0])
	})
}

// A watch whose time is over goes on where it was, by bookmarks even if nothing has happened for long.
func TestWatchGoesOn(t *testing.T) {
	inCluster(t, Options{}, func(t *testing.T, api *apiServer, l *listener, _ *netsim.Network) {
		for i := range 60 {
			time.Sleep(time.Minute)
			api.mu.Lock() // others' changes are compacted away, but for the last minutes
			api.version += 10
			api.mu.Unlock()
			if i%10 == 9 {
				api.mu.Lock()
				api.compacted = api.version - 30
				api.mu.Unlock()
			}
		}
		api.set("shop", "shop-2", pod{ip: "10.0.0.2"})
		hosts, _ := l.last()
		require.Equal(t, "1 2", hosts)
		require.Equal(t, 1, api.lists)
		require.GreaterOrEqual(t, api.watches, 60/6)
		require.LessOrEqual(t, api.watches, 60/4+1)
	})
}

// When the server does not remember the version any more, the list is asked for again; what was
// deleted meanwhile is gone.
func TestGone(t *testing.T) {
	for _, inStream := range []bool{false, true} {
		t.Run(fmt.Sprint(inStream), func(t *testing.T) {
			inCluster(t, Options{}, func(t *testing.T, api *apiServer, l *listener, _ *netsim.Network) {
				api.set("shop", "shop-2", pod{ip: "10.0.0.2"})
				hosts, _ := l.last()
				require.Equal(t, "1 2", hosts)
				api.mu.Lock()
				api.inStream = inStream
				delete(api.slices, "shop-1")
				api.mu.Unlock()
				api.compact()
				api.breakOff()
				time.Sleep(5 * time.Second)
				hosts, _ = l.last()
				require.Equal(t, "2", hosts)
				api.set("shop", "shop-3", pod{ip: "10.0.0.3"})
				hosts, _ = l.last()
				require.Equal(t, "2 3", hosts)
			})
		})
	}
}

// A watch that breaks off costs a list, and no error.
func TestBreaksOff(t *testing.T) {
	inCluster(t, Options{}, func(t *testing.T, api *apiServer, l *listener, _ *netsim.Network) {
		for i := 2; i < 9; i++ {
			time.Sleep(time.Minute)
			api.breakOff()
			api.set("shop", fmt.Sprint("shop-", i), pod{ip: fmt.Sprint("10.0.0.", i)})
			time.Sleep(2 * time.Second)
			hosts, _ := l.last()
			require.Len(t, strings.Fields(hosts), i)
		}
		require.LessOrEqual(t, api.lists, 8)
	})
}

// A server that is gone without a word is noticed: the watch has a time by which it ends.
func TestSilentServer(t *testing.T) {
	inCluster(t, Options{}, func(t *testing.T, api *apiServer, l *listener, net *netsim.Network) {
		synctest.Wait()
		net.Pause("api")
		time.Sleep(3 * watchFor)
		l.mu.Lock()
		require.True(t, l.ended)
		require.ErrorIs(t, l.err, context.DeadlineExceeded)
		require.ErrorContains(t, l.err, `k8s: list of the endpointslices of service "shop" in namespace "shop"`)
		l.err = errExpected
		l.mu.Unlock()
		net.Resume("api")
	})
}

// Why the server refuses is in the error, which the group logs before it tries again.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		fail func(w http.ResponseWriter) bool
		want string
	}{
		"forbidden": {func(w http.ResponseWriter) bool {
			refuse(w, http.StatusForbidden, "Forbidden", "endpointslices.discovery.k8s.io is forbidden")
			return true
		}, "403 Forbidden: endpointslices.discovery.k8s.io is forbidden"},
		"no status": {func(w http.ResponseWriter) bool {
			http.Error(w, strings.Repeat("x", 1<<20), http.StatusServiceUnavailable)
			return true
		}, "503 Service Unavailable: xxx"},
		"no JSON": {func(w http.ResponseWriter) bool {
			_, _ = w.Write([]byte("<html>"))
			return true
		}, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, Options{}, func(t *testing.T, api *apiServer, l *listener, _ *netsim.Network) {
				synctest.Wait()
				api.mu.Lock()
				api.fail = c.fail
				api.mu.Unlock()
				api.breakOff()
				time.Sleep(5 * time.Second)
				l.mu.Lock()
				defer l.mu.Unlock()
				require.True(t, l.ended)
				require.ErrorContains(t, l.err, c.want)
				require.Less(t, len(l.err.Error()), 5<<10)
				require.Len(t, l.lists, 1)
				l.err = errExpected
			})
		})
	}
}

// Nonsense within a watch ends it, and nothing else; what is merely unknown is passed over.
func TestNonsense(t *testing.T) {
	for text, nonsense := range map[string]bool{
		"{": true, "[]": true, `{"type":1}`: true, `{"type":"ADDED","object":[]}`: true, `{"type":"ERROR","object":"no"}`: true,
		"\x00\xff": true, `{"type":"ERROR"}`: true, `{"type":"ADDED"}`: true,
		`{"type":"DELETED","object":{}}`: false, `{"type":"NEW","object":{}}`: false,
		`{"type":"MODIFIED","object":{"addressType":"IPv4","endpoints":[{},{"addresses":[]}],"ports":[{}]}}`: false,
	} {
		w := &watch{service: &service{Options{Service: "s", Scheme: "http"}}, slices: make(map[string]*slice), update: func([]covey.Member) {}}
		w.Logger = slog.New(slog.DiscardHandler)
		w.API = "http://api"
		w.client = &http.Client{Transport: answers(text)}
		require.Equal(t, nonsense, w.follow(t.Context()) != nil, text)
	}
}

type answers string

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	r := httptest.NewRecorder()
	_, _ = r.WriteString(string(a))
	return r.Result(), nil
}

// Which endpoints are members, and under which names and URLs.
func TestMembers(t *testing.T) {
	named := func(name string, number int) object { return object{"name": name, "port": number} }
	for name, c := range map[string]struct {
		o       Options
		slices  []object
		members []covey.Member
		mistake string
	}{
		"pods' names": {
			Options{PodNames: true, Port: "covey", Scheme: "https", Path: "/c/"},
			[]object{sliceOf("s", "1", "IPv4", []object{named("web", 80), named("covey", 8443)}, pod{ip: "10.0.0.1", name: "shop-0", zone: "a"})},
			[]covey.Member{{Name: "shop-0", URL: "https://10.0.0.1:8443/c/", Zone: "a"}}, "",
		},
		"no pod": {
			Options{PodNames: true},
			[]object{sliceOf("s", "1", "IPv4", onePort, pod{ip: "10.0.0.1"}, pod{ip: "10.0.0.2", name: "b"})},
			[]covey.Member{{Name: "b", URL: "http://10.0.0.2:8080/_covey/"}}, `slice "1": the endpoint 10.0.0.1 has no pod`,
		},
		"which port": {
			Options{},
			[]object{sliceOf("s", "1", "IPv4", []object{named("web", 80), named("covey", 8443)}, pod{ip: "10.0.0.1"})},
			nil, `slice "1" has no port "", but "web", "covey": set Options.Port`,
		},
		"a port without a name": {
			Options{},
			[]object{sliceOf("s", "1", "IPv4", []object{{"port": 80}}, pod{ip: "10.0.0.1"})},
			[]covey.Member{{URL: "http://10.0.0.1:80/_covey/"}}, "",
		},
		"both kinds": {
			Options{},
			[]object{sliceOf("s", "4", "IPv4", onePort, pod{ip: "10.0.0.1"}), sliceOf("s", "6", "IPv6", onePort, pod{ip: "fd00::1"})},
			[]covey.Member{{URL: "http://10.0.0.1:8080/_covey/"}}, "",
		},
		"IPv6 of both": {
			Options{IPv6: true},
			[]object{sliceOf("s", "4", "IPv4", onePort, pod{ip: "10.0.0.1"}), sliceOf("s", "6", "IPv6", onePort, pod{ip: "fd00::1"})},
			[]covey.Member{{URL: "http://[fd00::1]:8080/_covey/"}}, "",
		},
		"IPv6 alone": {
			Options{},
			[]object{sliceOf("s", "4", "IPv4", onePort), sliceOf("s", "6", "IPv6", onePort, pod{ip: "fd00::1"})},
			[]covey.Member{{URL: "http://[fd00::1]:8080/_covey/"}}, "",
		},
		"names of hosts": {
			Options{},
			[]object{sliceOf("s", "1", "FQDN", onePort, pod{ip: "host.example"})},
			nil, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Service, c.o.Namespace, c.o.API, c.o.Client = "s", "n", "http://api", http.DefaultClient
			var log bytes.Buffer
			c.o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			d, err := Service(c.o)
			require.NoError(t, err)
			api := newAPI()
			for _, s := range c.slices {
				api.put(s)
			}
			got := make(chan []covey.Member, 1)
			w := &watch{service: d.(*service), client: &http.Client{Transport: served{api}}, update: func(m []covey.Member) { got <- m }}
			w.Namespace = "shop"
			require.NoError(t, w.list(t.Context()))
			require.Equal(t, c.members, <-got)
			if c.mistake == "" {
				require.Empty(t, log.String())
			} else {
				require.Contains(t, strings.ReplaceAll(log.String(), `\"`, `"`), c.mistake)
			}
		})
	}
}

// served calls a handler without a network.
type served struct{ http.Handler }

func (s served) RoundTrip(req *http.Request) (*http.Response, error) {
	r := httptest.NewRecorder()
	s.ServeHTTP(r, req)
	return r.Result(), nil
}

// Mistakes in the options are named.
func TestOptions(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err := Service(Options{Scheme: "ftp", Path: "covey"})
	for _, what := range []string{"Options.Service", `Options.Scheme is "ftp"`, `Options.Path is "covey"`, "KUBERNETES_SERVICE_HOST"} {
		require.ErrorContains(t, err, what)
	}
	inAccount(t)
	_, err = Service(Options{Service: "shop", API: "http://api"})
	require.ErrorContains(t, err, "Options.Namespace")
}

// inAccount has the pod's service account in a directory of the test.
func inAccount(t *testing.T) string {
	old := account
	account = t.TempDir()
	t.Cleanup(func() { account = old })
	return account
}

// A pod finds the server, its namespace and the certificate by itself, and reads the token again as
// the kubelet replaces it.
func TestInAPod(t *testing.T) {
	dir := inAccount(t)
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	api := newAPI()
	var mu sync.Mutex
	token := "first"
	api.token = func() string {
		mu.Lock()
		defer mu.Unlock()
		return token
	}
	api.set("shop", "shop-1", pod{ip: "10.0.0.1"})
	srv := httptest.NewUnstartedServer(api)
	srv.EnableHTTP2 = true
	srv.TLS = &tls.Config{}
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	srv.StartTLS()
	defer srv.Close()
	host, port, _ := strings.Cut(srv.Listener.Addr().String(), ":")
	t.Setenv("KUBERNETES_SERVICE_HOST", host)
	t.Setenv("KUBERNETES_SERVICE_PORT", port)
	write("namespace", "shop\n")
	write("token", "first\n")
	d, err := Service(Options{Service: "shop", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)

	require.ErrorContains(t, d.Watch(t.Context(), nil), "certificate of the API server's authority")
	write("ca.crt", "no certificate")
	require.ErrorContains(t, d.Watch(t.Context(), nil), "has no certificate")
	write("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))

	ctx, cancel := context.WithCancel(t.Context())
	lists := make(chan []covey.Member, 10)
	ended := make(chan error)
	go func() { ended <- d.Watch(ctx, func(m []covey.Member) { lists <- m }) }()
	require.Len(t, <-lists, 1)
	mu.Lock()
	token = "second"
	mu.Unlock()
	write("token", "second")
	api.breakOff()
	api.set("shop", "shop-2", pod{ip: "10.0.0.2"})
	for len(<-lists) < 2 {
	}
	cancel()
	require.NoError(t, <-ended)
	api.mu.Lock()
	require.Contains(t, api.seen, "second")
	api.mu.Unlock()

	mu.Lock()
	token = "third"
	mu.Unlock()
	require.ErrorContains(t, d.Watch(t.Context(), nil), "401 Unauthorized")
	require.NoError(t, os.Remove(filepath.Join(dir, "token")))
	require.ErrorContains(t, d.Watch(t.Context(), nil), "token of the service account")
}

// Pods of a StatefulSet form a group, and one that comes back with another address keeps its name.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net, api := netsim.New(), newAPI()
		on, err := net.Listen("api:443")
		require.NoError(t, err)
		srv := &http.Server{Handler: api, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		go func() { _ = srv.Serve(on) }()
		defer srv.Close()
		type process struct {
			group *covey.Group
			cache *covey.Cache[string]
			srv   *http.Server
			http  *http.Client
		}
		start := func(ip, name string) *process {
			p := &process{http: &http.Client{Transport: &http.Transport{DialContext: net.Dialer(ip)}}}
			log := slog.New(slog.DiscardHandler)
			d, err := Service(Options{Service: "shop", Namespace: "shop", PodNames: true, API: "http://api:443", Client: p.http, Logger: log})
			require.NoError(t, err)
			p.group, err = covey.NewGroup(covey.GroupOptions{
				Name: name, Self: "http://" + ip + ":8080", Discovery: d, Dial: net.Dialer(ip),
				Secrets: [][]byte{[]byte("a secret of at least 16 bytes")}, Logger: log,
			})
			require.NoError(t, err)
			at, err := net.Listen(ip + ":8080")
			require.NoError(t, err)
			mux := http.NewServeMux()
			mux.Handle(p.group.Path(), p.group)
			p.srv = &http.Server{Handler: mux}
			go func() { _ = p.srv.Serve(at) }()
			p.cache, err = covey.New("users", covey.Options[string]{Group: p.group, Logger: log})
			require.NoError(t, err)
			return p
		}
		stop := func(p *process) {
			require.NoError(t, p.group.Shutdown(t.Context()))
			_ = p.srv.Close()
			p.http.CloseIdleConnections()
		}
		pods := []pod{{ip: "10.0.0.1", name: "shop-0"}, {ip: "10.0.0.2", name: "shop-1"}, {ip: "10.0.0.3", name: "shop-2"}}
		var all []*process
		for i, p := range pods {
			all = append(all, start(p.ip, p.name))
			api.set("shop", "shop-1", pods[:i+1]...)
		}
		whole := func() {
			t.Helper()
			time.Sleep(10 * time.Second)
			for _, p := range all {
				require.NoError(t, p.group.Ready(t.Context()))
				require.True(t, p.group.Stats().Acting)
				require.Len(t, p.group.Peers(), len(all))
			}
		}
		whole()
		keys := make(map[string]string)
		for i := range 100 {
			k := fmt.Sprint("key", i)
			require.NoError(t, all[i%3].cache.Put(t.Context(), k, k))
			keys[k] = all[0].group.Owner(k)
		}
		stop(all[2])
		api.set("shop", "shop-1", pods[:2]...)
		time.Sleep(time.Minute)
		pods[2].ip = "10.0.0.7"
		all[2] = start(pods[2].ip, pods[2].name)
		api.set("shop", "shop-1", pods...)
		whole()
		for k, before := range keys {
			owner := all[0].group.Owner(k)
			require.Equal(t, strings.ReplaceAll(before, "10.0.0.3", "10.0.0.7"), owner)
		}
		for _, p := range slices.Backward(all) {
			stop(p)
		}
	})
}
