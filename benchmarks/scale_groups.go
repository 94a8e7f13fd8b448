package main

// scale_groups.go runs many whole groups in one process, over a network in memory and in virtual
// time: what they do takes the CPU time that it takes, and waiting takes none.

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey"
	"github.com/coveycache/covey/internal/netsim"
)

// inBubble runs f in virtual time, and ends the process. Package synctest gives that to tests only,
// so f becomes one.
func inBubble(f func()) {
	every := func(string, string) (bool, error) { return true, nil }
	testing.Main(every, []testing.InternalTest{{Name: "bubble", F: func(t *testing.T) {
		synctest.Test(t, func(*testing.T) { f() })
	}}}, nil, nil)
}

// A crowd is all the processes of the case, in one.
type crowd struct {
	net   *netsim.Network
	rand  *rand.Rand
	urls  []string
	all   []*inmate // who runs
	lost  atomic.Int64
	loads sync.Map // by key, *atomic.Int64
}

// An inmate is one of them.
type inmate struct {
	of       *crowd
	name     string
	listener *netsim.Listener
	group    *covey.Group
	cache    *covey.Cache[string]

	mu    sync.Mutex
	dead  bool
	conns map[net.Conn]struct{}
}

var crowdSecret = []byte("a secret of at least 16 bytes")

func newCrowd(n int) *crowd {
	c := &crowd{net: netsim.New(), rand: rand.New(rand.NewPCG(1, 2))}
	for i := range n {
		c.urls = append(c.urls, fmt.Sprintf("http://m%04d", i))
	}
	return c
}

// start starts the process of that number.
func (c *crowd) start(i int) error {
	m := &inmate{of: c, name: fmt.Sprintf("m%04d", i), conns: make(map[net.Conn]struct{})}
	var err error
	if m.listener, err = c.net.Listen(m.name + ":80"); err != nil {
		return err
	}
	log := slog.New(lostLinks{slog.DiscardHandler, &c.lost})
	m.group, err = covey.NewGroup(covey.GroupOptions{
		Self: c.urls[i], Discovery: covey.StaticPeers(c.urls...), Secrets: [][]byte{crowdSecret}, Dial: m.dial, Listener: m, Logger: log,
	})
	if err != nil {
		return err
	}
	m.cache, err = covey.New("scale", covey.Options[string]{MaxBytes: 1 << 20, Group: m.group, Loader: c.load, Logger: log})
	c.all = append(c.all, m)
	return err
}

// load is the origin. It takes 10 ms.
func (c *crowd) load(_ context.Context, key string) (string, error) {
	time.Sleep(10 * time.Millisecond)
	count, _ := c.loads.LoadOrStore(key, new(atomic.Int64))
	count.(*atomic.Int64).Add(1)
	return "value", nil
}

// lostLinks counts links that went down as nothing had come for a lease.
type lostLinks struct {
	slog.Handler
	count *atomic.Int64
}

func (h lostLinks) Enabled(context.Context, slog.Level) bool { return true }

func (h lostLinks) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && err.Error() == "link: peer is silent" {
			h.count.Add(1)
		}
		return true
	})
	return nil
}

// An inmate is its own listener and dials itself, so that its connections can end as a kill ends
// them.

func (m *inmate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := m.of.net.Dialer(m.name)(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return m.own(conn)
}

func (m *inmate) Accept() (net.Conn, error) {
	conn, err := m.listener.Accept()
	if err != nil {
		return nil, err
	}
	return m.own(conn)
}

func (m *inmate) Close() error   { return m.listener.Close() }
func (m *inmate) Addr() net.Addr { return m.listener.Addr() }

func (m *inmate) own(conn net.Conn) (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		_ = conn.Close()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETDOWN}
	}
	m.conns[conn] = struct{}{}
	return ownedConn{conn, m}, nil
}

type ownedConn struct {
	net.Conn
	of *inmate
}

func (c ownedConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c.Conn)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// crash ends the process as a kill does: the port is closed, all connections end, nobody is told.
func (m *inmate) crash() {
	_ = m.listener.Close()
	m.mu.Lock()
	m.dead = true
	for conn := range m.conns {
		_ = conn.Close()
	}
	m.mu.Unlock()
	m.of.all = slices.DeleteFunc(m.of.all, func(o *inmate) bool { return o == m })
	go func() { _ = m.group.Shutdown(context.Background()) }() // nobody hears it
}

// isWhole reports whether all act in one view that has settled.
func (c *crowd) isWhole() bool {
	epoch := c.all[0].group.Stats().Epoch
	for _, m := range c.all {
		if s := m.group.Stats(); s.Members != len(c.all) || s.Epoch != epoch || !s.Acting || !s.Settled {
			return false
		}
	}
	return true
}

// whole waits until the group is, and returns how long that took.
func (c *crowd) whole(bound time.Duration) (time.Duration, error) {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if c.isWhole() {
			return time.Since(began), nil
		}
		if time.Since(began) > bound {
			return 0, fmt.Errorf("%d processes are not one group after %v: the first has %+v", len(c.all), bound, c.all[0].group.Stats())
		}
	}
}

// memory returns what the process holds, goroutines' stacks too.
func memory() float64 {
	live := liveHeap()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return live + float64(m.StackInuse)
}

// measureCrowd runs so many processes through what may happen to a group.
func measureCrowd(n int, say sayer) error {
	more := max(2, n/10) // who join later, and who crash
	c := newCrowd(n + more)
	empty := memory()
	began := time.Now()
	starts := make([]time.Duration, n)
	for i := range starts {
		starts[i] = time.Duration(c.rand.Int64N(int64(5 * time.Second)))
	}
	slices.Sort(starts)
	cpu := processCPU()
	for i, at := range starts {
		time.Sleep(time.Until(began.Add(at)))
		if err := c.start(i); err != nil {
			return err
		}
	}
	took, err := c.whole(time.Minute)
	if err != nil {
		return err
	}
	say("start_s", ofGroup, "s from the last start until all act in one view", took.Seconds())
	say("start_cpu_ms", mean, "ms CPU of a process", 1e3*(processCPU()-cpu)/float64(n))

	time.Sleep(10 * time.Second)
	held, conns := memory(), c.net.Conns()
	say("process_kb", mean, "KB of a process without entries", (held-empty)/float64(n)/1e3)
	say("links", mean, "links of a process", 2*float64(conns)/float64(n))
	lost, epoch := c.lost.Load(), c.all[0].group.Stats().Epoch
	const idle = 20 * time.Second
	cpu = processCPU()
	time.Sleep(idle)
	rate := (processCPU() - cpu) / float64(n) / idle.Seconds()
	say("idle_percent", mean, unitIdle, 100*rate)
	say("idle_views", ofGroup, "views made while idle", float64(c.all[0].group.Stats().Epoch-epoch))

	event := func(what string, do func() error) error {
		cpu, began := processCPU(), time.Now()
		if err := do(); err != nil {
			return err
		}
		took, err := c.whole(30 * time.Second)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		time.Sleep(time.Until(began.Add(window)))
		spent := (processCPU()-cpu)/float64(len(c.all)) - rate*time.Since(began).Seconds()
		say(what+"_ms", ofGroup, unitTook, ms(took))
		say(what+"_cpu_ms", mean, unitCPU, 1e3*spent)
		return nil
	}
	if err := event("join", func() error { return c.start(n) }); err != nil {
		return err
	}
	if err := event("crash", func() error { c.all[n/2].crash(); return nil }); err != nil {
		return err
	}
	if err := event("leave", func() error {
		m := c.all[n/3]
		c.all = slices.DeleteFunc(c.all, func(o *inmate) bool { return o == m })
		return m.group.Shutdown(context.Background())
	}); err != nil {
		return err
	}
	epoch = c.all[0].group.Stats().Epoch
	for i := 1; i < more; i++ {
		if err := c.start(n + i); err != nil {
			return err
		}
		time.Sleep(10 * time.Second / time.Duration(more))
	}
	if _, err := c.whole(30 * time.Second); err != nil {
		return err
	}
	say("joins", ofGroup, "processes that join within 10 s", float64(more-1))
	say("joins_views", ofGroup, "views that they make", float64(c.all[0].group.Stats().Epoch-epoch))
	say("lost_links", ofGroup, "links that were lost for want of a keep-alive", float64(c.lost.Load()-lost))
	if err := measurePairs(c, say); err != nil {
		return err
	}
	return measureCrashes(c, more, say)
}

// measurePairs has members talk who have not, and looks what a pair costs.
func measurePairs(c *crowd, say sayer) error {
	time.Sleep(10 * time.Second)
	held, conns := memory(), c.net.Conns()
	const each = 20 // owners that a process asks
	keys := make(map[string]string)
	for i := 0; len(keys) < len(c.all); i++ {
		key := fmt.Sprint("pair", i)
		keys[c.all[0].group.Owner(key)] = key
	}
	ctx := context.Background()
	for i, m := range c.all {
		for j := 1; j <= each; j++ {
			o := c.all[(i+j*7)%len(c.all)]
			for _, way := range [2][2]*inmate{{m, o}, {o, m}} {
				if _, _, err := way[0].cache.Lookup(ctx, keys[way[1].group.Name()]); err != nil {
					return err
				}
			}
		}
	}
	time.Sleep(10 * time.Second)
	if more := c.net.Conns() - conns; more > 0 { // in a small group all have links from the start
		say("link_kb", mean, "KB of a link at one end", (memory()-held)/float64(more)/2/1e3)
	}
	cpu := processCPU()
	const idle = 10 * time.Second
	time.Sleep(idle)
	say("talking_links", mean, "links of a process that has talked with 40 others", 2*float64(c.net.Conns())/float64(len(c.all)))
	say("talking_percent", mean, unitIdle, 100*(processCPU()-cpu)/float64(len(c.all))/idle.Seconds())
	return nil
}

// measureCrashes has many crash at once while others ask for all that they owned.
func measureCrashes(c *crowd, crashes int, say sayer) error {
	ctx := context.Background()
	var keys []string
	for i := range 50 * len(c.all) {
		keys = append(keys, fmt.Sprint("key", i))
	}
	var errs atomic.Int64
	get := func(m *inmate, key string) {
		if _, err := m.cache.Get(ctx, key, nil); err != nil {
			errs.Add(1)
		}
	}
	var wg sync.WaitGroup
	for i, key := range keys {
		wg.Go(func() { get(c.all[i%len(c.all)], key) })
	}
	wg.Wait()
	gone := make(map[string]bool)
	for _, i := range c.rand.Perm(len(c.all))[:crashes] {
		gone[c.all[i].group.Name()] = true
	}
	mine := slices.DeleteFunc(slices.Clone(c.all), func(m *inmate) bool { return gone[m.group.Name()] })
	owner := mine[0].group.Owner
	var lost []string
	for _, key := range keys {
		if gone[owner(key)] {
			lost = append(lost, key)
		}
	}
	c.loads.Clear()
	epoch := mine[0].group.Stats().Epoch
	for _, m := range slices.Clone(c.all) {
		if gone[m.group.Name()] {
			m.crash()
		}
	}
	for i, key := range keys { // of others, too: these are still there
		for range 3 {
			m, wait := c.all[c.rand.IntN(len(c.all))], time.Duration(c.rand.Int64N(int64(3*time.Second)))
			if i%4 == 0 {
				wait = 0
			}
			wg.Go(func() { time.Sleep(wait); get(m, key) })
		}
	}
	took, err := c.whole(30 * time.Second)
	if err != nil {
		return err
	}
	wg.Wait()
	total, most := 0.0, 0.0
	c.loads.Range(func(_, count any) bool {
		n := float64(count.(*atomic.Int64).Load())
		total += n
		most = max(most, n)
		return true
	})
	say("crashes", ofGroup, "processes that crash at once", float64(crashes))
	say("crashes_ms", ofGroup, unitTook, ms(took))
	say("crashes_views", ofGroup, "views that the crashes make", float64(c.all[0].group.Stats().Epoch-epoch))
	say("lost_keys", ofGroup, "keys that they owned", float64(len(lost)))
	say("loads_per_lost_key", ofGroup, "all loads afterwards, of any key, for each of them", total/float64(max(1, len(lost))))
	say("most_loads", ofGroup, "of one key", most)
	say("errors", ofGroup, "gets that failed", float64(errs.Load()))
	return nil
}
