package covey

// userfuncs_test.go gives caches and groups functions that panic, call Goexit, or call back.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// misbehaviors are what functions of users may do instead of returning.
var misbehaviors = map[string]func(){
	"panic":  func() { panic("from a user's function") },
	"Goexit": runtime.Goexit,
}

// wildSize returns an Options.Size that misbehaves for values that say so.
func wildSize(act func()) func(string, string) int {
	return func(_, v string) int {
		if strings.HasPrefix(v, "unspeakable") {
			act()
		}
		return len(v)
	}
}

func TestSizeMisbehaves(t *testing.T) {
	for name, act := range misbehaviors {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2, Options[string]{Size: wildSize(act)}, func(t *testing.T, w *world) {
				ctx := t.Context()
				a, b := w.procs[0], w.procs[1]
				k := a.key()
				links := a.group.allLinks()
				for _, p := range w.procs {
					v, err := p.cache.Get(ctx, k, constant("unspeakable"))
					require.NoError(t, err)
					require.Equal(t, "unspeakable", v)
					many, err := p.cache.GetMany(ctx, []string{k}, func(context.Context, []string) (map[string]string, error) {
						return map[string]string{k: "unspeakable"}, nil
					})
					require.NoError(t, err)
					require.Equal(t, map[string]string{k: "unspeakable"}, many)
				}
				require.Zero(t, a.cache.Len())
				puts := w.procs
				if name == "Goexit" { // at the owner it ends the goroutine of the caller
					require.NoError(t, a.cache.Put(ctx, k, "v"))
					over := make(chan struct{})
					go func() {
						defer close(over)
						_ = a.cache.Put(ctx, k, "unspeakable")
					}()
					<-over
					puts = []*proc{b}
				}
				for _, p := range puts {
					require.NoError(t, a.cache.Put(ctx, k, "v"))
					require.ErrorIs(t, p.cache.Put(ctx, k, "unspeakable"), ErrTooLarge)
					require.Zero(t, a.cache.Len(), "the old value is removed all the same")
				}
				for _, l := range links {
					require.NoError(t, l.Err(), "the links are still up")
				}
			})
		})
	}
}

func TestEventsMisbehave(t *testing.T) {
	for name, act := range misbehaviors {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				removed := make(map[string]Cause)
				soFar := func() map[string]Cause {
					mu.Lock()
					defer mu.Unlock()
					return maps.Clone(removed)
				}
				c, err := New("test", Options[string]{
					MaxEntries: 10, TTL: time.Minute, TTLJitter: -1, Logger: slog.New(slog.DiscardHandler),
					Events: Events[string]{
						Removed: func(r Removal[string]) {
							mu.Lock()
							removed[r.Key] = r.Cause
							mu.Unlock()
							act()
						},
						Loaded: func(LoadResult) { act() },
					},
				})
				require.NoError(t, err)
				defer c.Close()
				for _, k := range []string{"a", "b"} {
					v, err := c.Get(t.Context(), k, constant("v"))
					require.NoError(t, err)
					require.Equal(t, "v", v)
				}
				require.NoError(t, c.Delete(t.Context(), "a"))
				require.Equal(t, map[string]Cause{"a": CauseDeleted}, soFar())
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				require.Equal(t, CauseExpired, soFar()["b"])
				for _, k := range []string{"c", "d"} {
					require.NoError(t, c.Put(t.Context(), k, "v"))
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				require.Equal(t, map[string]Cause{"a": CauseDeleted, "b": CauseExpired, "c": CauseExpired, "d": CauseExpired}, soFar(),
					"what expires after a function has failed is removed, too")
			})
		})
	}
}

// A wildHandler is a handler of logs that misbehaves whatever it is asked.
type wildHandler struct{ act func() }

func (h wildHandler) Enabled(context.Context, slog.Level) bool { h.act(); return true }

func (h wildHandler) Handle(context.Context, slog.Record) error { h.act(); return nil }

func (h wildHandler) WithAttrs([]slog.Attr) slog.Handler { h.act(); return h }

func (h wildHandler) WithGroup(string) slog.Handler { h.act(); return h }

func TestLoggerMisbehaves(t *testing.T) {
	for name, act := range misbehaviors {
		t.Run(name, func(t *testing.T) {
			o := Options[string]{TTL: time.Minute, StaleWhileRevalidate: time.Hour, Logger: slog.New(wildHandler{act})}
			inWorld(t, 2, o, func(t *testing.T, w *world) {
				a, b := w.procs[0], w.procs[1]
				k := a.key()
				fails := func(context.Context, string) (string, error) { return "", errors.New("the database is down") }
				require.NoError(t, a.cache.Put(t.Context(), k, "v"))
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				for _, p := range w.procs {
					v, err := p.cache.Get(t.Context(), k, fails)
					require.NoError(t, err)
					require.Equal(t, "v", v)
					time.Sleep(time.Minute) // the refresh fails, which is logged
				}
				a.crash() // which the group logs
				time.Sleep(time.Minute)
				v, err := b.cache.Get(t.Context(), k, constant("new"))
				require.NoError(t, err)
				require.Equal(t, "new", v)
			})
		})
	}
}

// startLogging starts two processes with handlers of logs.
func startLogging(w *world, handler func(*proc) slog.Handler) {
	for _, name := range []string{"a", "b"} {
		p := w.at(name, make(roster, 1))
		p.opt.Logger = slog.New(handler(p))
		p.list("ab")
		p.run()
	}
}

// causeLines has both log much of what they can, and ends with a crash of the first.
func causeLines(w *world) {
	time.Sleep(10 * time.Second)
	a, b := w.procs[0], w.procs[1]
	w.net.Partition("a", "b")
	time.Sleep(10 * time.Second)
	w.net.Heal("a", "b")
	time.Sleep(10 * time.Second)
	b.list("a")
	time.Sleep(10 * time.Second)
	b.list("ab")
	time.Sleep(10 * time.Second)
	a.crash()
	time.Sleep(10 * time.Second)
}

// A handler that hangs keeps nobody waiting but Close and Shutdown, and those for a while.
func TestLoggerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hang := func(*proc) slog.Handler { return wildHandler{func() { <-release }} }
		w := &world{t: t, net: netsim.New()}
		w.o = Options[string]{TTL: time.Minute, StaleWhileRevalidate: time.Hour, Logger: slog.New(hang(nil))}
		defer w.close()
		defer close(release)
		startLogging(w, hang)
		time.Sleep(10 * time.Second)
		a, b := w.procs[0], w.procs[1]
		begin := time.Now()
		k := a.key()
		require.NoError(t, b.cache.Put(t.Context(), k, "v"))
		v, err := b.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		require.Equal(t, "v", v)
		require.Zero(t, time.Since(begin))
		causeLines(w)
		require.NoError(t, b.cache.Put(t.Context(), k, "w"))
		b.group.Stats()
		b.group.Peers()
		require.NoError(t, b.group.Ready(t.Context()))
		time.Sleep(2 * time.Minute)
		v, err = b.cache.Get(t.Context(), k, func(context.Context, string) (string, error) { return "", errors.New("the database is down") })
		require.NoError(t, err)
		require.Equal(t, "w", v)
		synctest.Wait() // the refresh fails, which is logged
		begin = time.Now()
		require.ErrorContains(t, b.group.Shutdown(t.Context()), "the Logger's handler still runs after 5s")
		require.Equal(t, 2*closeGrace, time.Since(begin), "of its cache, and its own")
	})
}

// A nosyHandler is a handler of logs that uses the group and the cache that log.
type nosyHandler struct {
	wildHandler
	p     *proc
	runs  *atomic.Bool // whether p has been started
	lines *sync.Map
}

func (h nosyHandler) Handle(ctx context.Context, r slog.Record) error {
	if !h.runs.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	h.p.group.Peers()
	h.p.group.Stats()
	h.p.cache.Stats()
	_ = h.p.group.Ready(ctx)
	for i := range 10 {
		k := fmt.Sprint("key", i)
		_, _, _ = h.p.cache.Lookup(ctx, k)
		_, _ = h.p.cache.Get(ctx, k, constant("v"))
		_, _ = h.p.cache.GetMany(ctx, []string{k, "other " + k}, nil)
		_ = h.p.cache.Put(ctx, k, "v")
		_ = h.p.cache.Delete(ctx, k)
	}
	_ = h.p.cache.Clear(ctx)
	h.lines.Store(r.Message, true) // it has come through
	return nil
}

// No lock is held while a line is logged.
func TestLoggerCallsTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New()}
		defer w.close()
		var runs atomic.Bool
		var lines sync.Map
		startLogging(w, func(p *proc) slog.Handler { return nosyHandler{wildHandler{func() {}}, p, &runs, &lines} })
		runs.Store(true)
		causeLines(w)
		for _, line := range []string{"the members have changed", "link is down", "link is up again", "no link to a peer, trying again"} {
			_, ok := lines.Load("covey: " + line)
			require.True(t, ok, line)
		}
	})
}

// A typed nil is a usual mistake: nothing of the error can be looked at.
type wildError struct{ act func() }

func (e wildError) Error() string { e.act(); return "" }

func TestErrorMisbehaves(t *testing.T) {
	for name, act := range misbehaviors {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
				a, b := w.procs[0], w.procs[1]
				links := a.group.allLinks()
				fails := func(context.Context, string) (string, error) { return "", wildError{act} }
				for _, k := range []string{a.key(), b.key()} {
					var p *PanicError
					_, err := b.cache.Get(t.Context(), k, fails)
					require.ErrorAs(t, err, &p)
					require.Equal(t, "the loader", p.Func)
					_, err = b.cache.GetMany(t.Context(), []string{k}, func(context.Context, []string) (map[string]string, error) {
						return nil, wildError{act}
					})
					require.ErrorAs(t, err, &p)
				}
				for _, l := range links {
					require.NoError(t, l.Err(), "the links are still up")
				}
			})
		})
	}
}

// A discoverer is a discovery that does what the test says.
type discoverer func(ctx context.Context, update func([]Member)) error

func (d discoverer) Watch(ctx context.Context, update func([]Member)) error { return d(ctx, update) }

func TestDiscoveryMisbehaves(t *testing.T) {
	ends := maps.Clone(misbehaviors)
	ends["error"] = nil
	for name, act := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{t: t, net: netsim.New()}
				defer w.close()
				begin := time.Now()
				var mu sync.Mutex
				var calls []time.Duration
				p := w.start("a", discoverer(func(_ context.Context, update func([]Member)) error {
					update(members("ab"))
					mu.Lock()
					calls = append(calls, time.Since(begin))
					n := len(calls)
					mu.Unlock()
					switch {
					case n == 9: // it has gone well for a while
						time.Sleep(2 * time.Minute)
					case n == 11:
						update(members("a"))
						return nil
					}
					if act != nil {
						act()
					}
					return errors.New("the registry is down")
				}))
				time.Sleep(100 * time.Second)
				synctest.Wait()
				require.Equal(t, Member{URL: "http://b" + DefaultPath, Name: "http://b" + DefaultPath}, p.group.Peers()[1].Member, "the last list is kept")
				time.Sleep(time.Hour)
				synctest.Wait()
				want := []time.Duration{0, 1, 3, 7, 15, 31, 63, 123, 183, 183 + 120 + 1, 183 + 120 + 3}
				for i := range want {
					want[i] *= time.Second
				}
				require.Equal(t, want, calls)
				require.Len(t, p.group.Peers(), 1, "the last list counts")
			})
		})
	}
}

func TestDiscoveryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		g, err := NewGroup(GroupOptions{Self: "http://localhost", Dial: netsim.New().Dialer("localhost"), Discovery: discoverer(func(context.Context, func([]Member)) error {
			<-release
			return nil
		})})
		require.NoError(t, err)
		require.ErrorContains(t, g.Shutdown(t.Context()), "Discovery.Watch, still runs 5s after")
		close(release)
	})
}

func TestDialMisbehaves(t *testing.T) {
	acts := maps.Clone(misbehaviors)
	acts["hang"] = nil
	acts["nothing"] = func() {}
	for name, act := range acts {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
				var bad atomic.Bool
				bad.Store(true)
				release := make(chan struct{})
				o := w.procs[0].opt
				o.Self, o.Name, o.Discovery = "", "asks only", StaticPeers("http://a", "http://b")
				o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					if !bad.Load() {
						return w.net.Dialer("c")(ctx, network, address)
					}
					if act == nil {
						<-release // whatever ctx says
						return w.net.Dialer("c")(context.WithoutCancel(ctx), network, address)
					}
					act()
					return nil, nil
				}
				g, err := NewGroup(o)
				require.NoError(t, err)
				c, err := New("test", Options[string]{Group: g, Logger: o.Logger})
				require.NoError(t, err)
				k := w.procs[0].key()
				v, err := c.Get(t.Context(), k, constant("v"))
				require.NoError(t, err)
				require.Equal(t, "v", v)
				require.ErrorIs(t, c.Put(t.Context(), k, "w"), ErrUnconfirmed)
				bad.Store(false)
				time.Sleep(time.Minute)
				close(release)
				require.NoError(t, c.Put(t.Context(), k, "w"))
				v, err = c.Get(t.Context(), k, nil)
				require.NoError(t, err)
				require.Equal(t, "w", v)
				require.NoError(t, g.Shutdown(t.Context()))
			})
		})
	}
}

// The functions of a TLS config run while a link is dialled and, where servers refuse links, in
// http.Transport.
func TestTLSMisbehaves(t *testing.T) {
	for name, act := range misbehaviors {
		t.Run(name, func(t *testing.T) {
			for _, refuses := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					net := netsim.New()
					var bad atomic.Bool
					ca := newAuthority(t)
					cert := ca.sign(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"a"}})
					start := func(name string, o GroupOptions) (*Group, *Cache[string]) {
						o.Discovery, o.Secrets, o.Dial = StaticPeers("https://a"), [][]byte{testSecret}, net.Dialer(name)
						o.Logger = slog.New(slog.DiscardHandler)
						g, err := NewGroup(o)
						require.NoError(t, err)
						c, err := New("test", Options[string]{Group: g, Logger: o.Logger})
						require.NoError(t, err)
						return g, c
					}
					owner, _ := start("a", GroupOptions{Self: "https://a", TLS: &tls.Config{RootCAs: ca.pool}})
					srv := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if refuses && strings.HasSuffix(r.URL.Path, "link") {
							w.WriteHeader(http.StatusBadRequest)
							return
						}
						owner.ServeHTTP(w, r)
					})}
					l, err := net.Listen("a:443")
					require.NoError(t, err)
					go func() { _ = srv.ServeTLS(l, "", "") }()
					g, c := start("asks only", GroupOptions{TLS: &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error {
						if bad.Load() {
							act()
						}
						return nil
					}}})
					require.NoError(t, c.Put(t.Context(), "k", "v"))
					bad.Store(true)
					net.Reset("asks only", "a")
					time.Sleep(time.Second)
					v, err := c.Get(t.Context(), "k", constant("loaded here"))
					require.NoError(t, err)
					require.Equal(t, "loaded here", v)
					bad.Store(false)
					time.Sleep(time.Minute)
					v, err = c.Get(t.Context(), "k", nil)
					require.NoError(t, err)
					require.Equal(t, "v", v)
					require.NoError(t, g.Shutdown(t.Context()))
					require.NoError(t, owner.Shutdown(t.Context()))
					require.NoError(t, srv.Close())
				})
			}
		})
	}
}

func TestAllsConsumerMisbehaves(t *testing.T) {
	c, err := New("test", Options[string]{})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Put(t.Context(), "k", "v"))
	for _, act := range misbehaviors {
		over := make(chan struct{})
		go func() {
			defer close(over)
			defer func() { _ = recover() }()
			for k := range c.All() {
				require.NoError(t, c.Delete(t.Context(), k), "no lock is held")
				require.NoError(t, c.Put(t.Context(), k, "w"))
				act()
			}
		}()
		<-over
		require.NoError(t, c.Put(t.Context(), "k", "v"))
	}
}

// A wildTracer misbehaves in one of its methods.
type wildTracer struct {
	spanRecorder
	in  string
	act func()
}

func (w *wildTracer) wild(in string) {
	if w.in == in || w.in == "all" {
		w.act()
	}
}

func (w *wildTracer) Start(ctx context.Context, s Span) context.Context {
	if w.act == nil && w.in == "Start" {
		return nil
	}
	w.wild("Start")
	return w.spanRecorder.Start(ctx, s)
}

func (w *wildTracer) End(ctx context.Context, e SpanEnd) {
	w.spanRecorder.End(ctx, e)
	w.wild("End")
}

func (w *wildTracer) Carry(ctx context.Context) []byte {
	w.wild("Carry")
	return w.spanRecorder.Carry(ctx)
}

func (w *wildTracer) Waited(ctx context.Context, load []byte) {
	w.wild("Waited")
	w.spanRecorder.Waited(ctx, load)
}

func TestTracerMisbehaves(t *testing.T) {
	acts := maps.Clone(misbehaviors)
	acts["nil"] = nil
	for name, act := range acts {
		for _, in := range []string{"Start", "End", "Carry", "Waited", "all"} {
			if act == nil && in != "Start" {
				continue
			}
			t.Run(name+" in "+in, func(t *testing.T) {
				tracer := &wildTracer{in: in, act: act}
				inWorld(t, 3, Options[string]{Tracer: tracer, TTL: time.Minute, StaleWhileRevalidate: time.Hour}, func(t *testing.T, w *world) {
					a, b := w.procs[0], w.procs[1]
					links := a.group.allLinks()
					ctx := t.Context()
					var wg sync.WaitGroup
					for i, p := range w.procs {
						for range 2 {
							wg.Go(func() {
								time.Sleep(time.Duration(i) * 10 * time.Millisecond)
								v, err := p.cache.Get(ctx, a.key(), w.slow(time.Second))
								require.NoError(t, err)
								require.Equal(t, "value of "+a.key(), v)
							})
						}
					}
					wg.Wait()
					require.EqualValues(t, 1, w.loads.Load())
					many, err := b.cache.GetMany(ctx, a.keys(3), func(_ context.Context, keys []string) (map[string]string, error) {
						return map[string]string{keys[0]: "one of many"}, nil
					})
					require.NoError(t, err)
					require.Len(t, many, 2)
					time.Sleep(2 * time.Minute)
					_, err = b.cache.Get(ctx, a.key(), w.slow(time.Second))
					require.NoError(t, err)
					time.Sleep(5 * time.Second)
					require.EqualValues(t, 2, w.loads.Load(), "it has been refreshed")
					require.NoError(t, b.cache.Put(ctx, a.key(), "v"))
					require.NoError(t, b.cache.Delete(ctx, a.key()))
					require.NoError(t, b.cache.Clear(ctx))
					for _, l := range links {
						require.NoError(t, l.Err(), "the links are still up")
					}
				})
			})
		}
	}
}

// A Tracer that hangs keeps a link from nothing else.
func TestTracerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := &world{t: t, net: netsim.New()}
		w.o.Tracer = &wildTracer{in: "Start", act: func() { <-release }}
		a := w.start("a", StaticPeers("http://a", "http://b"))
		tracer := new(spanRecorder)
		w.o.Tracer = onlyWithin{tracer}
		b := w.start("b", StaticPeers("http://a", "http://b"))
		w.ready()
		defer w.close()
		defer close(release)
		ctx, k := t.Context(), a.key()
		require.NoError(t, a.cache.Put(ctx, k, "v"))
		within, _ := tracer.within(ctx)
		go func() { _, _ = b.cache.Get(within, k, nil) }()
		time.Sleep(10 * time.Millisecond)
		v, err := b.cache.Get(ctx, k, nil)
		require.NoError(t, err)
		require.Equal(t, "v", v)
		require.NoError(t, b.cache.Delete(ctx, k))
		require.NoError(t, linkOf(b, a).Err())
	})
}

// onlyWithin makes spans only within callers' own.
type onlyWithin struct{ *spanRecorder }

func (o onlyWithin) Start(ctx context.Context, s Span) context.Context {
	if recordedIn(ctx) == nil {
		return nil
	}
	return o.spanRecorder.Start(ctx, s)
}
