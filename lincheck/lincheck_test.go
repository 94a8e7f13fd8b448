package lincheck

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/coveycache/covey"
	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

var (
	seeds = flag.Uint64("seeds", 10, "histories to check of each kind")
	first = flag.Uint64("seed", 1, "seed of the first")
)

const (
	peers   = 3
	clients = 8
	ops     = 1000 // of all clients together
	keys    = 4

	patience = 10 * time.Second // with one history
)

// A call is one operation of a history.
type call struct {
	kind  string // "put", "delete", "lookup"
	key   int
	value int // that was put
}

// A result is what came of it.
type result struct {
	value int // that was found; 0: a miss
}

// model is a cache as its users see it: a register that may always seem empty.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, keys)
		for _, op := range history {
			k := op.Input.(call).key
			parts[k] = append(parts[k], op)
		}
		return parts
	},
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		in, out := input.(call), output.(result)
		switch in.kind {
		case "put":
			return true, in.value
		case "delete":
			return true, 0
		}
		return out.value == 0 || out.value == state.(int), state
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprint(input, output) },
}

// A fault does something to the network, and undoes it after a while.
type fault func(r *rand.Rand, n *netsim.Network, hosts []string)

func pick(r *rand.Rand, hosts []string) (a, b string) {
	i := r.IntN(len(hosts))
	j := (i + 1 + r.IntN(len(hosts)-1)) % len(hosts)
	return hosts[i], hosts[j]
}

var faults = map[string]fault{
	"none": func(*rand.Rand, *netsim.Network, []string) {},
	"resets": func(r *rand.Rand, n *netsim.Network, hosts []string) {
		n.Reset(pick(r, hosts))
	},
	"cuts": func(r *rand.Rand, n *netsim.Network, hosts []string) {
		a, b := pick(r, hosts)
		n.Partition(a, b)
		time.Sleep(rand.N(4 * time.Second))
		n.Heal(a, b)
	},
	"pauses": func(r *rand.Rand, n *netsim.Network, hosts []string) {
		a, _ := pick(r, hosts)
		n.Pause(a)
		time.Sleep(rand.N(4 * time.Second))
		n.Resume(a)
	},
}

func TestLinearizable(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) { check(t, f, false) })
		t.Run(name+", without links", func(t *testing.T) { check(t, f, true) })
	}
}

// check makes histories of one kind, and sees whether they are linearizable.
func check(t *testing.T, f fault, linkless bool) {
	var total covey.Stats
	var undecided uint64
	for seed := *first; seed < *first+*seeds; seed++ {
		var history []porcupine.Operation
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			var stats covey.Stats
			history, stats = run(t, r, f, linkless)
			total.Recalls += stats.Recalls
			total.L1Hits += stats.L1Hits
			total.Unconfirmed += stats.Unconfirmed
		})
		switch verdict, info := porcupine.CheckOperationsVerbose(model, history, patience); verdict {
		case porcupine.Unknown: // writes of which nobody knows whether they took effect make it hard
			undecided++
		case porcupine.Illegal:
			t.Fatalf("seed %d: the history is not linearizable:\n%s", seed, explain(history, info))
		}
	}
	t.Logf("recalls %d, hits on copies %d, unconfirmed writes %d, undecided histories %d", total.Recalls, total.L1Hits, total.Unconfirmed, undecided)
	require.LessOrEqual(t, undecided, *seeds/10)
	require.Equal(t, linkless, total.Recalls == 0)
	require.Equal(t, linkless, total.L1Hits == 0)
}

// explain shows the keys whose histories are not linearizable.
func explain(history []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var b strings.Builder
	for i, part := range model.Partition(history) {
		if porcupine.CheckOperations(model, part) {
			continue
		}
		most := 0
		for _, p := range info.PartialLinearizations()[i] {
			most = max(most, len(p))
		}
		fmt.Fprintf(&b, "key %d, of %d operations at most %d in order:\n", i, len(part), most)
		slices.SortFunc(part, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		for _, op := range part {
			fmt.Fprintf(&b, "%12v %12v client %d %v: %v\n", time.Duration(op.Call), time.Duration(op.Return), op.ClientId, op.Input, op.Output)
		}
	}
	return b.String()
}

// refusing is a handler that lets no upgrades to links through to h.
func refusing(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			http.Error(w, "no upgrades here", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// run makes a history.
func run(t *testing.T, r *rand.Rand, f fault, linkless bool) (history []porcupine.Operation, stats covey.Stats) {
	network := netsim.New()
	var hosts, urls []string
	for i := range peers {
		hosts = append(hosts, fmt.Sprintf("127.0.0.%d", i+1))
		urls = append(urls, "http://"+hosts[i])
	}
	var groups []*covey.Group
	var caches []*covey.Cache[string]
	for i, host := range hosts {
		listener, err := network.Listen(host + ":80")
		require.NoError(t, err)
		g, err := covey.NewGroup(covey.GroupOptions{
			Self: urls[i], Discovery: covey.StaticPeers(urls...), Secrets: [][]byte{[]byte("sixteen bytes and more")},
			Dial: network.Dialer(host), Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		server := &http.Server{Handler: g}
		if linkless {
			server.Handler = refusing(g)
		}
		go func() { _ = server.Serve(listener) }()
		defer server.Close()
		c, err := covey.New("test", covey.Options[string]{Group: g, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		groups, caches = append(groups, g), append(caches, c)
	}
	time.Sleep(15 * time.Second)
	for _, g := range groups {
		require.NoError(t, g.Ready(t.Context()))
		require.Equal(t, peers, g.Stats().Members)
	}
	network.SetDelay(time.Millisecond)

	ctx, cancel := context.WithCancel(t.Context())
	var faulty sync.WaitGroup
	trouble := rand.New(rand.NewPCG(r.Uint64(), 2))
	faulty.Go(func() {
		for ctx.Err() == nil {
			time.Sleep(time.Duration(trouble.IntN(int(200 * time.Millisecond))))
			f(trouble, network, hosts)
		}
	})
	start := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for id := range clients {
		own := rand.New(rand.NewPCG(r.Uint64(), uint64(id)))
		wg.Go(func() {
			for i := range ops / clients {
				c := caches[own.IntN(peers)]
				in := call{kind: "lookup", key: own.IntN(keys)}
				switch p := own.IntN(100); {
				case p < 6:
					in.kind, in.value = "put", 1+id*ops+i
				case p < 10:
					in.kind = "delete"
				}
				op := porcupine.Operation{ClientId: id, Input: in, Call: int64(time.Since(start))}
				out, ok, sure := do(ctx, c, in)
				op.Output, op.Return = out, int64(time.Since(start))
				if !sure {
					op.Return = int64(1000 * time.Hour) // it may take effect at any time, or never
				}
				if ok {
					mu.Lock()
					history = append(history, op)
					mu.Unlock()
				}
				time.Sleep(time.Duration(own.IntN(int(3 * time.Millisecond))))
			}
		})
	}
	wg.Wait()
	cancel()
	faulty.Wait()
	for _, c := range caches {
		s := c.Stats()
		stats.Recalls += s.Recalls
		stats.L1Hits += s.L1Hits
		stats.Unconfirmed += s.Unconfirmed
	}
	for _, g := range groups {
		stop, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = g.Shutdown(stop)
		cancel()
	}
	return history, stats
}

// do carries out a call; ok is false if it says nothing, sure if its result is known.
func do(ctx context.Context, c *covey.Cache[string], in call) (out result, ok, sure bool) {
	key := fmt.Sprint("key", in.key)
	switch in.kind {
	case "put":
		err := c.Put(ctx, key, fmt.Sprint(in.value))
		return out, true, err == nil
	case "delete":
		err := c.Delete(ctx, key)
		return out, true, err == nil
	}
	// A Get without a loader asks the owner and may borrow.
	v, err := c.Get(ctx, key, nil)
	if err != nil && !errors.Is(err, covey.ErrNoLoader) {
		return out, false, true
	}
	_, _ = fmt.Sscan(v, &out.value)
	return out, true, true
}
