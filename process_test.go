//go:build unix

package covey

// process_test.go lets real processes fail: the test binary runs again as each of three peers,
// which have real sockets on loopback and are killed, stopped and started anew. The test itself is
// the origin of all values.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// peerAddress is the environment variable that makes the test binary a peer which listens there.
const peerAddress = "COVEY_TEST_PEER_ADDRESS"

func TestMain(m *testing.M) {
	if addr := os.Getenv(peerAddress); addr != "" {
		if err := peerMain(addr, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if path := os.Getenv(snapshotProcess); path != "" {
		if err := snapshotMain(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// An order is one line of a peer's standard input; the peer answers each with a line on its
// standard output.
type order struct {
	Do     string
	Peers  []string // join: all of them
	Origin string   // join: where values are loaded from
	Mesh   bool     // join: upgrades to links are refused
	Owner  string   // keys: who has to own them
	N      int      // keys: how many; herd: how many callers
	Key    string
	Keys   []string // load
	Value  string   // put
	Within time.Duration
}

// A report is the answer to an order.
type report struct {
	URL         string // the first line, which no order asked for
	Err         string // of the operation, or the first one
	Unconfirmed bool   // what kind of error
	Late        bool   // what kind of error
	Value       string
	Source      Source
	Members     int
	Pursued     int
	Keys        []string
	Ops, Errors int64
	Took        time.Duration
}

func (r *report) fail(err error) {
	if err != nil {
		r.Err = err.Error()
		r.Unconfirmed = errors.Is(err, ErrUnconfirmed)
		r.Late = errors.Is(err, context.DeadlineExceeded)
	}
}

// peerMain is the program of a peer. It ends with its input.
func peerMain(addr string, in io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	p := &peerProcess{listener: l, url: "http://" + l.Addr().String()}
	enc, dec := json.NewEncoder(out), json.NewDecoder(bufio.NewReader(in))
	if err := enc.Encode(report{URL: p.url}); err != nil {
		return err
	}
	for {
		var o order
		if err := dec.Decode(&o); err != nil {
			return nil // the test is over
		}
		start := time.Now()
		r := p.do(o)
		r.Took = time.Since(start)
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
}

// A peerProcess is what a peer has.
type peerProcess struct {
	listener net.Listener
	url      string
	group    *Group
	cache    *Cache[string]

	stop   context.CancelFunc // of the load
	wg     sync.WaitGroup
	ops    atomic.Int64
	errors atomic.Int64
	first  atomic.Pointer[error]
}

func (p *peerProcess) do(o order) (r report) {
	ctx := context.Background()
	if o.Within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Within)
		defer cancel()
	}
	var err error
	switch o.Do {
	case "join":
		err = p.join(o)
	case "ready":
		err = p.group.Ready(ctx)
	case "stats":
		s := p.group.Stats()
		r.Members, r.Pursued = s.Members, s.Pursued
	case "keys":
		for i := 0; len(r.Keys) < o.N; i++ {
			if k := fmt.Sprint("key", i); p.group.Owner(k) == o.Owner {
				r.Keys = append(r.Keys, k)
			}
		}
	case "get":
		r.Value, err = p.cache.Get(ctx, o.Key, nil)
	case "lookup":
		var e Entry[string]
		e, _, err = p.cache.Lookup(ctx, o.Key)
		r.Value, r.Source = e.Value, e.Source
	case "put":
		err = p.cache.Put(ctx, o.Key, o.Value)
	case "delete":
		err = p.cache.Delete(ctx, o.Key)
	case "herd":
		for range o.N {
			p.wg.Go(func() { p.get(ctx, o.Key) })
		}
		return p.counted()
	case "load":
		ctx, p.stop = context.WithCancel(ctx)
		for i := range 8 {
			p.wg.Go(func() {
				for n := i; ctx.Err() == nil; n++ {
					p.get(context.Background(), o.Keys[n%len(o.Keys)])
				}
			})
		}
	case "ops": // so far
		r.Ops = p.ops.Load()
	case "stop":
		p.stop()
		return p.counted()
	}
	r.fail(err)
	return r
}

func (p *peerProcess) join(o order) (err error) {
	quiet := slog.New(slog.DiscardHandler)
	group := GroupOptions{Self: p.url, Discovery: StaticPeers(o.Peers...), Listener: p.listener, Logger: quiet}
	if o.Mesh {
		group.Listener, group.Secrets = nil, [][]byte{testSecret}
	}
	p.group, err = NewGroup(group)
	if err != nil {
		return err
	}
	if o.Mesh {
		go func() { _ = http.Serve(p.listener, new(mesh).wrap(p.group)) }()
	}
	load := func(ctx context.Context, key string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.Origin+"/"+key, nil)
		if err != nil {
			return "", err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	p.cache, err = New("test", Options[string]{Group: p.group, Loader: load, Logger: quiet})
	return err
}

func (p *peerProcess) get(ctx context.Context, key string) {
	if _, err := p.cache.Get(ctx, key, nil); err != nil {
		p.errors.Add(1)
		p.first.CompareAndSwap(nil, &err)
	}
	p.ops.Add(1)
}

// counted waits for all callers.
func (p *peerProcess) counted() (r report) {
	p.wg.Wait()
	if err := p.first.Load(); err != nil {
		r.fail(*err)
	}
	r.Ops, r.Errors = p.ops.Load(), p.errors.Load()
	return r
}

// A realGroup is three peers, a, b and c, and their origin.
type realGroup struct {
	t      *testing.T
	mesh   bool // upgrades to links are refused
	origin *httptest.Server
	peers  []*realPeer

	loads   atomic.Int64
	version atomic.Int64 // which is what all keys have as their value
	takes   time.Duration
	loading chan struct{} // gets one for each load that begins, as far as there is room
}

// inMeshToo runs a test with links and without.
func inMeshToo(t *testing.T, f func(t *testing.T, mesh bool)) {
	t.Run("links", func(t *testing.T) { f(t, false) })
	t.Run("mesh", func(t *testing.T) { f(t, true) })
}

// A realPeer is a process. Its URL stays when it is started anew.
type realPeer struct {
	g   *realGroup
	url string
	cmd *exec.Cmd
	enc *json.Encoder
	out *os.File
	dec *json.Decoder
}

// testPatience is how long anything at all may take.
const testPatience = 20 * time.Second

func newRealGroup(t *testing.T, mesh bool) *realGroup {
	if testing.Short() {
		t.Skip("processes take seconds")
	}
	g := &realGroup{t: t, mesh: mesh, loading: make(chan struct{}, 1)}
	g.version.Store(1)
	g.origin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g.loads.Add(1)
		v := g.version.Load()
		select {
		case g.loading <- struct{}{}:
		default:
		}
		<-time.After(g.takes)
		_, _ = io.WriteString(w, strconv.FormatInt(v, 10))
	}))
	t.Cleanup(g.origin.Close)
	for range 3 {
		p := &realPeer{g: g}
		p.start("127.0.0.1:0")
		t.Cleanup(p.kill)
		g.peers = append(g.peers, p)
	}
	for _, p := range g.peers {
		p.join()
	}
	g.await(3, g.peers...)
	return g
}

func (p *realPeer) start(addr string) {
	t := p.g.t
	self, err := os.Executable()
	require.NoError(t, err)
	p.cmd = exec.Command(self)
	p.cmd.Env = append(os.Environ(), peerAddress+"="+addr)
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	p.enc, p.out, p.dec = json.NewEncoder(in), out.(*os.File), json.NewDecoder(out)
	p.url = p.answer().URL
}

func (p *realPeer) join() {
	var urls []string
	for _, q := range p.g.peers {
		urls = append(urls, q.url)
	}
	require.Empty(p.g.t, p.do(order{Do: "join", Peers: urls, Origin: p.g.origin.URL, Mesh: p.g.mesh}).Err)
}

// tell gives the process an order, which waits if it is stopped.
func (p *realPeer) tell(o order) { require.NoError(p.g.t, p.enc.Encode(o)) }

// answer returns what came of the oldest order that has not been answered.
func (p *realPeer) answer() (r report) {
	require.NoError(p.g.t, p.out.SetReadDeadline(time.Now().Add(testPatience)))
	require.NoError(p.g.t, p.dec.Decode(&r))
	return r
}

func (p *realPeer) do(o order) report {
	p.tell(o)
	return p.answer()
}

// name returns what the ring knows the process by.
func (p *realPeer) name() string { return p.url + DefaultPath }

// keys returns keys that the process owns.
func (p *realPeer) keys(n int) []string {
	return p.do(order{Do: "keys", N: n, Owner: p.name()}).Keys
}

func (p *realPeer) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// pause returns when the process stands still.
func (p *realPeer) pause() {
	require.NoError(p.g.t, p.cmd.Process.Signal(syscall.SIGSTOP))
	var s syscall.WaitStatus
	_, err := syscall.Wait4(p.cmd.Process.Pid, &s, syscall.WUNTRACED, nil)
	require.NoError(p.g.t, err)
	require.True(p.g.t, s.Stopped())
}

func (p *realPeer) resume() {
	require.NoError(p.g.t, p.cmd.Process.Signal(syscall.SIGCONT))
}

// await waits until so many members are in the rings of all these peers, and they have told each
// other.
func (g *realGroup) await(members int, peers ...*realPeer) {
	g.t.Helper()
	for _, p := range peers {
		g.eventually(func() bool { return p.do(order{Do: "stats"}).Members == members })
	}
	for _, p := range peers {
		require.Empty(g.t, p.do(order{Do: "ready"}).Err)
	}
}

func (g *realGroup) eventually(ok func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(testPatience); !ok(); <-time.After(5 * time.Millisecond) {
		require.True(g.t, time.Now().Before(deadline), "it has not come about")
	}
}

// next changes the value of all keys at the origin, and returns it.
func (g *realGroup) next() string { return strconv.FormatInt(g.version.Add(1), 10) }

// requireValue has a Get at each of the peers return the value.
func (g *realGroup) requireValue(key, want string, peers ...*realPeer) {
	g.t.Helper()
	for _, p := range peers {
		r := p.do(order{Do: "get", Key: key})
		require.Empty(g.t, r.Err)
		require.Equal(g.t, want, r.Value)
	}
}

func TestProcessOwnerIsKilledUnderLoad(t *testing.T) {
	inMeshToo(t, testProcessOwnerIsKilledUnderLoad)
}

func testProcessOwnerIsKilledUnderLoad(t *testing.T, mesh bool) {
	t.Parallel()
	g := newRealGroup(t, mesh)
	a, b, c := g.peers[0], g.peers[1], g.peers[2]
	survivors := []*realPeer{a, b}
	keys := c.keys(100)
	for _, p := range survivors {
		p.do(order{Do: "load", Keys: keys})
	}
	// further waits until each of the survivors has asked for every key a few times more.
	further := func() {
		for _, p := range survivors {
			enough := p.do(order{Do: "ops"}).Ops + 10*int64(len(keys))
			g.eventually(func() bool { return p.do(order{Do: "ops"}).Ops >= enough })
		}
	}
	further()
	require.EqualValues(t, len(keys), g.loads.Load(), "one load for each key")
	c.kill()
	g.await(2, survivors...)
	further()
	for _, p := range survivors {
		r := p.do(order{Do: "stop"})
		require.Zero(t, r.Errors, "%s", r.Err)
	}
	t.Logf("%d loads of %d keys", g.loads.Load(), len(keys))
	require.LessOrEqual(t, g.loads.Load(), int64(3*len(keys)), "each key was loaded before the crash, and at most twice because of it")

	c.start(c.url[len("http://"):])
	c.join()
	g.await(3, g.peers...)
	value := g.next()
	require.Empty(t, a.do(order{Do: "put", Key: keys[0], Value: value}).Err)
	g.requireValue(keys[0], value, b, c)
	require.Equal(t, SourceMain, c.do(order{Do: "lookup", Key: keys[0]}).Source, "it owns its keys again")
}

func TestProcessOwnerIsKilledInTheMiddleOfALoad(t *testing.T) {
	inMeshToo(t, testProcessOwnerIsKilledInTheMiddleOfALoad)
}

func testProcessOwnerIsKilledInTheMiddleOfALoad(t *testing.T, mesh bool) {
	t.Parallel()
	g := newRealGroup(t, mesh)
	a, b, c := g.peers[0], g.peers[1], g.peers[2]
	key := c.keys(1)[0]
	g.takes = time.Second // much longer than it takes both to notice that the owner is gone
	for _, p := range []*realPeer{a, b} {
		p.tell(order{Do: "herd", Key: key, N: 100})
	}
	<-g.loading // at the owner
	c.kill()
	for _, p := range []*realPeer{a, b} {
		r := p.answer()
		require.Zero(t, r.Errors, "%s", r.Err)
		require.EqualValues(t, 100, r.Ops)
	}
	require.EqualValues(t, 2, g.loads.Load(), "the one that ended with its process, and another")
}

func TestProcessOwnerIsStopped(t *testing.T) { // H7
	inMeshToo(t, testProcessOwnerIsStopped)
}

func testProcessOwnerIsStopped(t *testing.T, mesh bool) {
	t.Parallel()
	g := newRealGroup(t, mesh)
	a, b, c := g.peers[0], g.peers[1], g.peers[2]
	keys := c.keys(2)
	key, cold := keys[0], keys[1]
	g.requireValue(key, "1", c, a, b)
	c.pause()
	r := a.do(order{Do: "get", Key: cold, Within: 200 * time.Millisecond})
	require.True(t, r.Late || r.Value == "1", "%+v", r)
	require.Less(t, r.Took, time.Second)
	for _, p := range []*realPeer{a, b} {
		r := p.do(order{Do: "get", Key: key})
		require.Empty(t, r.Err)
		require.Less(t, r.Took, 4*time.Second, "a lease and what a busy machine takes")
	}
	value := g.next()
	r = a.do(order{Do: "delete", Key: key})
	require.Empty(t, r.Err, "the others go on without it")
	require.Less(t, r.Took, 6*time.Second, "3 s, and what a busy machine takes")
	c.resume()
	g.eventually(func() bool { return a.do(order{Do: "delete", Key: key}).Err == "" })
	g.requireValue(key, value, c, b, a)
	g.eventually(func() bool { return a.do(order{Do: "stats"}).Pursued == 0 })
}

func TestProcessBorrowerIsStopped(t *testing.T) { // H6
	t.Parallel()
	g := newRealGroup(t, false)
	a, b, c := g.peers[0], g.peers[1], g.peers[2]
	key := a.keys(1)[0]
	for _, writer := range []*realPeer{a, c} {
		g.eventually(func() bool { // b borrows it
			b.do(order{Do: "get", Key: key})
			return b.do(order{Do: "lookup", Key: key}).Source == SourceL1
		})
		b.pause()
		value := g.next()
		r := writer.do(order{Do: "put", Key: key, Value: value})
		require.Empty(t, r.Err)
		require.Less(t, r.Took, 4*time.Second, "a lease and what a busy machine takes")
		g.requireValue(key, value, a, c)
		b.tell(order{Do: "get", Key: key}) // the first that it does
		b.resume()
		r = b.answer()
		require.Empty(t, r.Err)
		require.Equal(t, value, r.Value)
	}
}
