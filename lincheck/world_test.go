package lincheck

// world_test.go has the processes that the histories are made with, and what happens to them.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// A world is a group of processes on a network in memory, to be used inside a synctest bubble.
type world struct {
	t     *testing.T
	net   *netsim.Network
	procs []*process
	kind  kind
	o     covey.Options[string] // of every cache

	opened atomic.Int64 // caches

	mu     sync.Mutex
	gone   covey.Stats // of caches that are closed
	start  time.Time   // of the history
	events []string    // what has happened to the processes
}

// A kind is what happens to a group while a history is made.
type kind struct {
	faults   []fault
	peers    int  // 0: 3
	linkless bool // upgrades to links are refused
	lists    bool // each process knows of some of the others only
	long     bool // clients rest, so that what happens takes less time than the history

	replicas []int          // Options.Replicas of the caches, one after the other as they are made
	readFrom covey.ReadFrom // Options.ReadFrom
	zones    bool           // each process is in one of two
	warmUp   time.Duration
}

// A process is one that may be started again and again.
type process struct {
	w    *world
	host string
	url  string
	list *roster
	life atomic.Pointer[life] // nil: it does not run
	busy sync.Mutex           // held while it is stopped and started
}

// A life is a process from its start to its end.
type life struct {
	group   *covey.Group
	cache   atomic.Pointer[covey.Cache[string]]
	server  *http.Server
	crashed atomic.Bool
}

// A roster is a discovery for which the test speaks.
type roster struct {
	mu      sync.Mutex
	urls    []string
	zones   bool // each process is in one of two
	changed chan struct{}
}

func (r *roster) set(urls []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.urls = urls
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *roster) Watch(ctx context.Context, update func([]covey.Member)) error {
	for {
		r.mu.Lock()
		urls, changed := r.urls, r.changed
		r.mu.Unlock()
		var list []covey.Member
		for _, u := range urls {
			m := covey.Member{URL: u}
			if r.zones {
				m.Zone = []string{"east", "west"}[u[len(u)-1]%2]
			}
			list = append(list, m)
		}
		update(list)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// newWorld starts a group, and waits until it is whole.
func newWorld(t *testing.T, r *rand.Rand, k kind, o covey.Options[string]) *world {
	w := &world{t: t, net: netsim.New(), kind: k, o: o}
	n := max(k.peers, 3)
	for i := range n {
		host := fmt.Sprintf("127.0.0.%d", i+1)
		w.procs = append(w.procs, &process{w: w, host: host, url: "http://" + host, list: &roster{zones: k.zones, changed: make(chan struct{})}})
	}
	for i, list := range w.lists(r) {
		w.procs[i].list.set(list)
	}
	for _, p := range w.procs {
		p.start()
	}
	w.whole(15 * time.Second)
	w.net.SetDelay(time.Millisecond)
	return w
}

// lists returns what each process knows of: all of them, or some, so that all are connected.
func (w *world) lists(r *rand.Rand) [][]string {
	n := len(w.procs)
	for {
		lists := make([][]string, n)
		knows := make([][]bool, n)
		for i := range n {
			knows[i] = make([]bool, n)
			for j := range n {
				if i == j || !w.kind.lists || r.IntN(3) == 0 {
					knows[i][j] = true
					lists[i] = append(lists[i], w.procs[j].url)
				}
			}
		}
		if connected(knows) {
			return lists
		}
	}
}

func connected(knows [][]bool) bool {
	seen, todo := map[int]bool{0: true}, []int{0}
	for len(todo) > 0 {
		i := todo[0]
		todo = todo[1:]
		for j := range knows {
			if (knows[i][j] || knows[j][i]) && !seen[j] {
				seen[j] = true
				todo = append(todo, j)
			}
		}
	}
	return len(seen) == len(knows)
}

// whole sees that all processes are one group, after so long.
func (w *world) whole(within time.Duration) {
	w.t.Helper()
	time.Sleep(within)
	for _, p := range w.procs {
		g := p.life.Load().group
		if s := g.Stats(); s.Members != len(w.procs) || !s.Acting || !s.Settled {
			w.t.Errorf("%s is not whole after %v: %+v", p.host, within, s)
			for _, q := range w.procs {
				w.t.Logf("%s: %+v", q.host, q.life.Load().group.Stats())
			}
			return
		}
		if err := g.Ready(w.t.Context()); err != nil {
			w.t.Errorf("%s: %v", p.host, err)
		}
	}
}

func (p *process) start() {
	w := p.w
	l := &life{}
	listener, err := w.net.Listen(p.host + ":80")
	require.NoError(w.t, err)
	dial := w.net.Dialer(p.host)
	l.group, err = covey.NewGroup(covey.GroupOptions{
		Self: p.url, Discovery: p.list, Secrets: [][]byte{[]byte("sixteen bytes and more")},
		WarmUp: w.kind.warmUp,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if l.crashed.Load() {
				return nil, errCrashed
			}
			conn, err := dial(ctx, network, address)
			if err == nil && l.crashed.Load() {
				_ = conn.Close()
				return nil, errCrashed
			}
			return conn, err
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(w.t, err)
	l.server = &http.Server{Handler: l.group}
	if w.kind.linkless {
		l.server.Handler = refusing(l.group)
	}
	go func() { _ = l.server.Serve(listener) }()
	l.open(w)
	p.life.Store(l)
}

var errCrashed = errors.New("lincheck: the process is dead")

func (l *life) open(w *world) { l.openAs(w, "") }

func (l *life) openAs(w *world, version string) {
	o := w.o
	o.Group, o.Logger, o.Version = l.group, slog.New(slog.DiscardHandler), version
	o.ReadFrom = w.kind.readFrom
	if n := len(w.kind.replicas); n > 0 {
		o.Replicas = w.kind.replicas[int(w.opened.Add(1))%n]
	}
	c, err := covey.New("test", o)
	require.NoError(w.t, err)
	l.cache.Store(c)
}

// shutdown ends a process in good order.
func (p *process) shutdown(patience time.Duration) {
	l := p.life.Load()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = l.group.Shutdown(ctx)
	_ = l.server.Close()
	p.life.Store(nil)
	p.w.count(l)
}

// crash ends a process as a kill does: its connections break, and nobody is told. What its calls
// return from then on nobody ever sees.
func (p *process) crash() {
	l := p.life.Load()
	l.crashed.Store(true)
	p.life.Store(nil)
	_ = l.server.Close()
	for _, q := range p.w.procs {
		if q != p {
			p.w.net.Reset(p.host, q.host)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = l.group.Shutdown(ctx)
	p.w.count(l)
}

// begin begins the history.
func (w *world) begin() time.Time {
	w.start = time.Now()
	return w.start
}

// note writes down what happens to processes.
func (w *world) note(what string, who ...*process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := fmt.Sprintf("%12v %s", time.Since(w.start), what)
	for _, p := range who {
		line += " " + p.host
	}
	w.events = append(w.events, line)
}

// count adds up what a cache did that is closed.
func (w *world) count(l *life) {
	s := l.cache.Load().Stats()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone.Recalls += s.Recalls
	w.gone.L1Hits += s.L1Hits
	w.gone.Unconfirmed += s.Unconfirmed
	w.gone.Loads += s.Loads
	w.gone.Hits += s.Hits
	w.gone.Alone += s.Alone
	w.gone.ReplicasSent += s.ReplicasSent
	w.gone.ReplicaReads += s.ReplicaReads
	w.gone.PeekHits += s.PeekHits
}

// close ends all, and returns what the caches did.
func (w *world) close() covey.Stats {
	for _, p := range w.procs {
		p.shutdown(time.Second)
	}
	return w.gone
}

// A fault does something to the world, and undoes it after a while.
type fault func(r *rand.Rand, w *world)

// two returns two processes.
func (w *world) two(r *rand.Rand) (a, b *process) {
	i := r.IntN(len(w.procs))
	j := (i + 1 + r.IntN(len(w.procs)-1)) % len(w.procs)
	return w.procs[i], w.procs[j]
}

func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }

func resets(r *rand.Rand, w *world) {
	a, b := w.two(r)
	w.note("reset", a, b)
	w.net.Reset(a.host, b.host)
}

func cuts(r *rand.Rand, w *world) {
	a, b := w.two(r)
	w.note("cut", a, b)
	w.net.Partition(a.host, b.host)
	time.Sleep(upTo(r, 4*time.Second))
	w.note("heal", a, b)
	w.net.Heal(a.host, b.host)
}

// pauses cuts a process off. Unlike with SIGSTOP, its own callers go on.
func pauses(r *rand.Rand, w *world) {
	a, _ := w.two(r)
	w.note("pause", a)
	w.net.Pause(a.host)
	time.Sleep(upTo(r, 8*time.Second))
	w.note("resume", a)
	w.net.Resume(a.host)
}

// lists has a process's discovery say something else.
func lists(r *rand.Rand, w *world) {
	a, b := w.two(r)
	w.note("list", a)
	switch r.IntN(3) {
	case 0:
		a.list.set(nil)
	case 1:
		a.list.set([]string{a.url, b.url})
	default:
		var all []string
		for _, p := range w.procs {
			all = append(all, p.url)
		}
		a.list.set(all)
	}
}

// reopens closes a cache and makes it again.
func reopens(r *rand.Rand, w *world) { closeAndOpen(r, w, 100*time.Millisecond, "") }

// retypes closes a cache and, after a while, makes it again, with values of this kind or another.
func retypes(r *rand.Rand, w *world) {
	closeAndOpen(r, w, time.Second, []string{"", "2"}[r.IntN(2)])
}

// closeAndOpen closes a cache and makes one of that version, at once or after a pause.
func closeAndOpen(r *rand.Rand, w *world, pause time.Duration, version string) {
	p, _ := w.two(r)
	if !p.busy.TryLock() { // to wait for a mutex would stop the time
		return
	}
	defer p.busy.Unlock()
	if l := p.life.Load(); l != nil {
		w.note("close cache", p)
		w.count(l)
		_ = l.cache.Load().Close()
		time.Sleep(upTo(r, pause) * time.Duration(r.IntN(2)))
		w.note("open cache with version "+version, p)
		l.openAs(w, version)
	}
}

func shutdowns(r *rand.Rand, w *world) {
	p, _ := w.two(r)
	if !p.busy.TryLock() { // to wait for a mutex would stop the time
		return
	}
	defer p.busy.Unlock()
	w.note("shutdown", p)
	p.shutdown(upTo(r, 5*time.Second))
	time.Sleep(upTo(r, 3*time.Second) * time.Duration(r.IntN(2)))
	w.note("start", p)
	p.start()
	w.note("started", p)
}

func crashes(r *rand.Rand, w *world) {
	p, _ := w.two(r)
	if !p.busy.TryLock() { // to wait for a mutex would stop the time
		return
	}
	defer p.busy.Unlock()
	w.note("crash", p)
	p.crash()
	time.Sleep(upTo(r, 3*time.Second) * time.Duration(r.IntN(2)))
	w.note("start", p)
	p.start()
	w.note("started", p)
}

// trouble lets faults happen until ctx ends, several at once if there are several kinds.
func (w *world) trouble(ctx context.Context, r *rand.Rand) *sync.WaitGroup {
	var wg sync.WaitGroup
	for _, f := range w.kind.faults {
		own := rand.New(rand.NewPCG(r.Uint64(), 2))
		wg.Go(func() {
			for {
				every := 200 * time.Millisecond
				if w.kind.long {
					every = 4 * time.Second
				}
				time.Sleep(upTo(own, every))
				if ctx.Err() != nil {
					return
				}
				f(own, w)
			}
		})
	}
	return &wg
}
