package gossip

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"

	"github.com/coveycache/covey"
)

// A neighborhood has processes on addresses of this machine that nobody else uses.
type neighborhood struct {
	t      *testing.T
	prefix string // 127.x.y.
}

func newNeighborhood(t *testing.T) *neighborhood {
	return &neighborhood{t, fmt.Sprintf("127.%d.%d.", 1+rand.N(250), rand.N(256))}
}

// at is the address for gossip of the i-th process.
func (n *neighborhood) at(i int) string { return fmt.Sprintf("%s%d:7946", n.prefix, i) }

func quick(c *memberlist.Config) {
	c.ProbeInterval, c.ProbeTimeout, c.SuspicionMult = 100*time.Millisecond, 50*time.Millisecond, 2
	c.GossipInterval, c.PushPullInterval = 10*time.Millisecond, 500*time.Millisecond
}

func (n *neighborhood) options(i int, seeds ...int) Options {
	o := Options{Self: fmt.Sprintf("http://%d", i), Bind: n.at(i), Logger: slog.New(slog.DiscardHandler), tune: quick}
	for _, s := range seeds {
		o.Seeds = append(o.Seeds, n.at(s))
	}
	return o
}

// A process is a discovery that is being watched.
type process struct {
	t     *testing.T
	lists chan []covey.Member
	stop  context.CancelFunc
	ended chan error
}

func start(t *testing.T, o Options) *process {
	d, err := Members(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{t: t, lists: make(chan []covey.Member, 1000), stop: cancel, ended: make(chan error, 1)}
	go func() { p.ended <- d.Watch(ctx, func(m []covey.Member) { p.lists <- m }) }()
	t.Cleanup(p.leave)
	return p
}

func (p *process) leave() {
	if p.stop != nil {
		p.stop()
		require.NoError(p.t, <-p.ended)
		p.stop = nil
	}
}

// sees waits until the list has the URLs.
func (p *process) sees(want string) (lists int) {
	p.t.Helper()
	last := "no list"
	for {
		select {
		case m := <-p.lists:
			lists++
			if last = urls(m); last == want {
				return lists
			}
		case <-p.t.Context().Done():
			p.t.Fatal("the test ends")
		case <-time.After(30 * time.Second): // so that it says what there was, not when
			p.t.Fatalf("the last list is %q, not %q", last, want)
		}
	}
}

func urls(list []covey.Member) string {
	var all []string
	for _, m := range list {
		all = append(all, strings.TrimPrefix(m.URL, "http://"))
	}
	return strings.Join(all, " ")
}

// Who knows one other knows all; who leaves is out at once.
func TestMembers(t *testing.T) {
	n := newNeighborhood(t)
	a := start(t, n.options(1, 1))
	a.sees("1")
	o := n.options(2, 1)
	o.Name, o.Weight, o.Zone = "two", 3, "z"
	b := start(t, o)
	require.Equal(t, covey.Member{Name: "two", URL: "http://2", Weight: 3, Zone: "z"}, find(t, b, "1 2", "two"))
	require.Equal(t, covey.Member{Name: "two", URL: "http://2", Weight: 3, Zone: "z"}, find(t, a, "1 2", "two"))
	c := start(t, n.options(3, 2))
	for _, p := range []*process{a, b, c} {
		p.sees("1 3 2")
	}
	began := time.Now()
	c.leave()
	a.sees("1 2")
	b.sees("1 2")
	t.Logf("who leaves is out of the lists after %v", time.Since(began))
}

// find waits for a list and returns the member of that name in it.
func find(t *testing.T, p *process, list, name string) covey.Member {
	t.Helper()
	for m := range p.lists {
		if urls(m) == list {
			for _, one := range m {
				if one.Name == name {
					return one
				}
			}
		}
	}
	return covey.Member{}
}

// Who is killed is out of the lists without having said anything.
func TestKilled(t *testing.T) {
	n := newNeighborhood(t)
	a := start(t, n.options(1))
	o := n.options(2, 1)
	var network *memberlist.NetTransport
	o.tune = func(c *memberlist.Config) {
		quick(c)
		var err error
		network, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{c.BindAddr}, BindPort: c.BindPort, Logger: c.Logger})
		require.NoError(t, err)
		c.Transport = network
	}
	b := start(t, o)
	b.sees("1 2")
	a.sees("1 2")
	require.NoError(t, network.Shutdown())
	a.sees("1")
	b.stop()
	<-b.ended
	b.stop = nil
}

// A process that comes back under its name, at another address, takes the place of the old one, which
// nobody knows to be dead yet.
func TestComesBack(t *testing.T) {
	n := newNeighborhood(t)
	a := start(t, n.options(1))
	old, now := n.options(2, 1), n.options(3, 1)
	old.Name, now.Name = "two", "two"
	start(t, old)
	a.sees("1 2")
	start(t, now)
	a.sees("1 3")
}

// A seed that comes later is found, and the two groups that there were become one.
func TestSeedComesLater(t *testing.T) {
	n := newNeighborhood(t)
	a := start(t, n.options(1, 1, 2))
	b := start(t, n.options(2, 1, 2))
	b.sees("1 2")
	a.sees("1 2")
}

// Only who has a secret of the others' is one of them, and a new secret can take the place of an old
// one while all run.
func TestSecrets(t *testing.T) {
	n := newNeighborhood(t)
	old, now := bytes.Repeat([]byte("o"), 16), bytes.Repeat([]byte("n"), 33)
	with := func(i int, secrets ...[]byte) *process {
		o := n.options(i, 1)
		o.Secrets = secrets
		return start(t, o)
	}
	a := with(1, old, now)
	b := with(2, now, old)
	a.sees("1 2")
	b.sees("1 2")
	var log lockedBuffer
	o := n.options(3, 1)
	o.Secrets, o.Logger = [][]byte{bytes.Repeat([]byte("x"), 16)}, slog.New(slog.NewTextHandler(&log, nil))
	start(t, o).sees("3")
	require.Contains(t, log.String(), "no seed of the gossip answers")
	start(t, n.options(4, 1)).sees("4")
	with(5, now).sees("1 2 5") // and neither 3 nor 4
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Those who start together make few lists.
func TestTogether(t *testing.T) {
	n := newNeighborhood(t)
	a := start(t, n.options(10))
	a.sees("10")
	const all = 12
	for i := 1; i < all; i++ {
		start(t, n.options(10+i, 10))
	}
	var want []string
	for i := range all {
		want = append(want, fmt.Sprint(10+i))
	}
	require.Less(t, a.sees(strings.Join(want, " ")), all)
}

// Somebody who gossips something else is no member.
func TestStranger(t *testing.T) {
	n := newNeighborhood(t)
	var log lockedBuffer
	o := n.options(1)
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	a := start(t, o)
	a.sees("1")
	for i, meta := range []string{"", "no JSON", "{}", `{"u":7}`} {
		c := memberlist.DefaultLANConfig()
		quick(c)
		c.Name, c.BindAddr, c.Delegate, c.LogOutput = fmt.Sprint("stranger", i), fmt.Sprint(n.prefix, 100+i), told(meta), new(bytes.Buffer)
		m, err := memberlist.Create(c)
		require.NoError(t, err)
		defer m.Shutdown()
		_, err = m.Join([]string{n.at(1)})
		require.NoError(t, err)
	}
	b := start(t, n.options(2, 1))
	b.sees("1 2")
	a.sees("1 2")
	require.Equal(t, 4, strings.Count(log.String(), "who does not say what a member says"))
}

// Mistakes in the options are named.
func TestOptions(t *testing.T) {
	for want, o := range map[string]Options{
		"Options.Secrets is empty":              {Self: "http://a"},
		"Options.Secrets is empty, and Bind":    {Self: "http://a", Bind: "10.0.0.1:7"},
		"Options.Secrets[1] has 3 bytes":        {Self: "http://a", Secrets: [][]byte{make([]byte, 16), []byte("abc")}},
		"Options.Self is empty":                 {Open: true},
		"Options.Bind":                          {Self: "http://a", Open: true, Bind: "a:port"},
		"Options.Advertise":                     {Self: "http://a", Open: true, Advertise: "a:70000"},
		"Options.Cluster has 256 bytes":         {Self: "http://a", Open: true, Cluster: strings.Repeat("c", 256)},
		"Self, Name and Zone are too long":      {Self: "http://a", Open: true, Zone: strings.Repeat("z", 500)},
		"512":                                   {Self: "http://" + strings.Repeat("a", 500), Open: true},
		`"a:70000" has no port from 0 to 65535`: {Self: "http://a", Open: true, Advertise: "a:70000"},
	} {
		_, err := Members(o)
		require.ErrorContains(t, err, want)
	}
	for _, o := range []Options{
		{Weight: -1, Open: true}, {Self: "http://a", Bind: "127.0.0.1"}, {Self: "http://a", Bind: "[::1]:7946"}, {Self: "http://a", Bind: "::1"},
		{Self: "http://a", Secrets: [][]byte{make([]byte, 16)}},
	} {
		_, err := Members(o)
		require.NoError(t, err)
	}
}

// An address that is taken is an error of Watch, after which it is called again.
func TestAddressIsTaken(t *testing.T) {
	n := newNeighborhood(t)
	l, err := net.Listen("tcp", n.at(1))
	require.NoError(t, err)
	defer l.Close()
	d, err := Members(n.options(1))
	require.NoError(t, err)
	require.ErrorContains(t, d.Watch(t.Context(), nil), "gossip: at "+n.at(1))
}

// Groups form by gossip; who shuts down is out of the others' lists.
func TestGroup(t *testing.T) {
	n := newNeighborhood(t)
	secret := [][]byte{[]byte("a secret of at least 16 bytes")}
	log := slog.New(slog.DiscardHandler)
	var groups []*covey.Group
	var caches []*covey.Cache[string]
	for i := 1; i <= 3; i++ {
		host := fmt.Sprintf("%s%d:8080", n.prefix, i)
		l, err := net.Listen("tcp", host)
		require.NoError(t, err)
		o := n.options(i, 1)
		o.Self, o.Secrets = "http://"+host, secret
		d, err := Members(o)
		require.NoError(t, err)
		g, err := covey.NewGroup(covey.GroupOptions{Self: o.Self, Discovery: d, Secrets: secret, Logger: log})
		require.NoError(t, err)
		srv := &http.Server{Handler: g}
		go func() { _ = srv.Serve(l) }()
		defer srv.Close()
		defer g.Shutdown(context.Background())
		c, err := covey.New("users", covey.Options[string]{Group: g, Logger: log})
		require.NoError(t, err)
		groups, caches = append(groups, g), append(caches, c)
	}
	whole := func(n int) {
		for _, g := range groups[:n] {
			require.NoError(t, g.Ready(t.Context()))
		}
		for _, g := range groups[:n] {
			require.Eventually(t, func() bool { return len(g.Peers()) == n }, time.Minute, time.Millisecond)
		}
	}
	whole(3)
	require.NoError(t, caches[0].Put(t.Context(), "k", "v"))
	v, err := caches[2].Get(t.Context(), "k", nil)
	require.NoError(t, err)
	require.Equal(t, "v", v)
	require.NoError(t, groups[2].Shutdown(t.Context()))
	whole(2)
}
