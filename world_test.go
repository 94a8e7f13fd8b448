package covey

// world_test.go is the one test world: a group of processes on a network in memory.

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// A world is a group of processes on a network in memory, to be used inside a synctest bubble.
type world struct {
	t     *testing.T
	net   *netsim.Network
	procs []*proc
	o     Options[string]                 // of every cache
	loads atomic.Int64                    // by the loaders of all processes
	wrap  func(http.Handler) http.Handler // around every process's server

	warmUp time.Duration
}

// A proc is one process.
type proc struct {
	w     *world
	name  string
	url   string
	group *Group
	cache *Cache[string]
	srv   *http.Server
	opt   GroupOptions
}

var testSecret = []byte("a secret of at least 16 bytes")

// newWorld starts n processes, a, b, …, that know of each other, and waits until they are a group.
func newWorld(t *testing.T, n int, o Options[string]) *world {
	w := &world{t: t, net: netsim.New(), o: o}
	var urls []string
	for i := range n {
		urls = append(urls, "http://"+string(rune('a'+i)))
	}
	for i := range n {
		w.start(string(rune('a'+i)), StaticPeers(urls...))
	}
	w.ready()
	return w
}

// start starts a process.
func (w *world) start(name string, d Discovery) *proc {
	p := w.at(name, d)
	p.run()
	return p
}

// at makes a process that is to run.
func (w *world) at(name string, d Discovery) *proc {
	p := &proc{w: w, name: name, url: "http://" + name + DefaultPath}
	p.opt = GroupOptions{
		Self: "http://" + name, Discovery: d, Secrets: [][]byte{testSecret},
		Dial: w.net.Dialer(name), Logger: w.o.Logger, WarmUp: w.warmUp,
	}
	if w.warmUp == 0 { // tests begin with a view that is warm no more
		p.opt.WarmUp = time.Second
	}
	if p.opt.Logger == nil {
		p.opt.Logger = slog.New(slog.DiscardHandler)
	}
	w.procs = append(w.procs, p)
	return p
}

// run is start, and start again after stop.
func (p *proc) run() {
	t := p.w.t
	l, err := p.w.net.Listen(p.name + ":80")
	require.NoError(t, err)
	p.group, err = NewGroup(p.opt)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(p.group.Path(), p.group)
	p.srv = &http.Server{Handler: mux}
	if p.w.wrap != nil {
		p.srv.Handler = p.w.wrap(mux)
	}
	go func() { _ = p.srv.Serve(l) }()
	o := p.w.o
	o.Group = p.group
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p.cache, err = New("test", o)
	require.NoError(t, err)
}

// ready waits until all are members of one group.
func (w *world) ready() {
	w.t.Helper()
	time.Sleep(10 * time.Second) // reconnecting backs off
	synctest.Wait()
	for _, p := range w.procs {
		require.NoError(w.t, p.group.Ready(w.t.Context()))
		require.Len(w.t, p.group.view.Load().ring.members, len(w.procs), "members as %s sees them", p.name)
		require.True(w.t, p.group.Stats().Acting)
	}
}

// crash ends a process as a kill does: its connections break, its port is closed, nobody is told.
func (p *proc) crash() {
	_ = p.srv.Close()
	p.group.node.Close()
	for _, q := range p.w.procs {
		if q != p {
			p.w.net.Reset(p.name, q.name)
		}
	}
	p.stop()
}

func (p *proc) stop() {
	_ = p.group.Shutdown(p.w.t.Context())
	_ = p.srv.Close()
}

func (w *world) close() {
	for _, p := range w.procs {
		p.stop()
	}
	time.Sleep(time.Second) // the network may have a delay
	synctest.Wait()
	require.Zero(w.t, w.net.Conns(), "open connections")
}

// key returns a key that a process owns.
func (p *proc) key() string { return p.keys(1)[0] }

func (p *proc) keys(n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if k := fmt.Sprint("key", i); p.group.Owner(k) == p.url {
			keys = append(keys, k)
		}
	}
	return keys
}

// inWorld runs a test with a group in a bubble.
func inWorld(t *testing.T, n int, o Options[string], f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, n, o)
		defer w.close()
		f(t, w)
	})
}

// A roster is a discovery for which the test speaks.
type roster chan []Member

func (r roster) Watch(ctx context.Context, update func([]Member)) error {
	for {
		select {
		case list := <-r:
			update(list)
		case <-ctx.Done():
			return nil
		}
	}
}

// list gives the process another list of members, of a letter each.
func (p *proc) list(names string) {
	p.opt.Discovery.(roster) <- members(names)
}

func members(names string) (list []Member) {
	for _, name := range names {
		list = append(list, Member{URL: "http://" + string(name)})
	}
	return list
}

// inRosters is inWorld where the list of each process can be changed, and begins as given.
func inRosters(t *testing.T, n int, names string, o Options[string], f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New(), o: o}
		for i := range n {
			r := make(roster, 1)
			r <- members(names)
			w.start(string(rune('a'+i)), r)
		}
		time.Sleep(10 * time.Second)
		defer w.close()
		f(t, w)
	})
}

// movingKey returns a key that is owned by from in the ring of all processes but to, and by to in
// the ring of all.
func movingKey(from, to *proc) string {
	for i := 0; ; i++ {
		k := fmt.Sprint("key", i)
		if before, after := ownersOf(k, to); before == from.url && after == to.url {
			return k
		}
	}
}

// ownersOf returns the owner of a key in the ring of all processes but p, and in the ring of all.
func ownersOf(k string, p *proc) (before, after string) {
	var all, without []Member
	for _, q := range p.w.procs {
		all = append(all, Member{Name: q.url})
		if q != p {
			without = append(without, Member{Name: q.url})
		}
	}
	owner := func(of []Member) string {
		r := newRing(of)
		return r.members[r.owner(ringHash(k))].Name
	}
	return owner(without), owner(all)
}

// slow returns a loader that takes a while and counts.
func (w *world) slow(d time.Duration) Loader[string] {
	return func(ctx context.Context, key string) (string, error) {
		w.loads.Add(1)
		select {
		case <-time.After(d):
			return "value of " + key, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// borrowAt makes p borrow key k, which has a value at its owner.
func borrowAt(t *testing.T, p *proc, k string) {
	t.Helper()
	time.Sleep(time.Millisecond) // what was asked for when a copy was recalled is not kept
	var e Entry[string]
	for tries := 0; e.Source != SourceL1 && tries < 10; tries++ { // while L1 is full more is asked of a key than borrowFrom
		_, err := p.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
		var ok bool
		e, ok, err = p.cache.Lookup(t.Context(), k)
		require.NoError(t, err)
		require.True(t, ok)
	}
	require.Equal(t, SourceL1, e.Source)
}

func constant(v string) Loader[string] {
	return func(context.Context, string) (string, error) { return v, nil }
}

// notLent makes the owner lend a key to nobody for so many requests, as after writes that its
// copies were not worth.
func notLent(owner *proc, k string, requests int) {
	s := owner.cache.lock(owner.cache.store.hash(k))
	defer s.unlock()
	s.loans = map[string]*lending{k: {debt: requests}}
}

// wanted makes p ask for k so often that it is worth a copy.
func wanted(t *testing.T, p *proc, k string) {
	t.Helper()
	for range borrowFrom {
		_, err := p.cache.Get(t.Context(), k, nil)
		require.NoError(t, err)
	}
}

// fetches returns how many keys are being fetched.
func fetches(p *proc) (n int) {
	for i := range p.cache.shards {
		s := p.cache.lockAt(i)
		n += len(s.fetches)
		s.unlock()
	}
	return n
}

// linkOf returns a link from p to q.
func linkOf(p, q *proc) *link.Link {
	for _, l := range p.group.allLinks() {
		if l.Name() == q.url && l.Err() == nil {
			return l
		}
	}
	return nil
}
