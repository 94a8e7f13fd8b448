package lincheck

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
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
	"github.com/coveycache/covey/internal/race"
	"github.com/stretchr/testify/require"
)

var (
	seeds = flag.Uint64("seeds", defaultSeeds(), "histories to check of each kind")
	first = flag.Uint64("seed", 1, "seed of the first")
)

// defaultSeeds are few under the race detector, which takes most of the time: it is the code that it
// looks at, not the histories.
func defaultSeeds() uint64 {
	if race.Enabled {
		return 1
	}
	return 6
}

const (
	clients = 8
	ops     = 1000 // of all clients together
	keys    = 4

	patience = 10 * time.Second // with one history
)

// A call is one operation of a history.
type call struct {
	kind  string // "put", "delete", "clear" (also by prefix), "lookup", "many", "absent" (a Put of what is absent), "update"
	key   int
	value int  // that was put
	old   int  // of an update: what it replaces; 0: nothing
	maybe bool // of an update: whether it has been carried out is not known
}

// A result is what came of it.
type result struct {
	value    int // that was found; 0: a miss
	conflict int // 1: there was a value
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
		case "delete", "clear":
			return true, 0
		case "absent": // there may seem to be nothing at any time, but not something
			return out.conflict == 0 || state.(int) != 0, max(in.value*(1-out.conflict), state.(int)*out.conflict)
		case "update":
			if in.old == 0 || in.old == state.(int) {
				return true, in.value
			}
			return in.maybe, state
		}
		return out.value == 0 || out.value == state.(int), state
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprint(input, output) },
}

// kinds are what is tried. Lists change only where nobody starts: those that a process is started with
// have to lead it to the others, or else it is rightly a group of its own until they meet.
var kinds = map[string]kind{
	"none":                   {},
	"none, without links":    {linkless: true},
	"resets":                 {faults: []fault{resets}},
	"resets, without links":  {faults: []fault{resets}, linkless: true},
	"cuts":                   {faults: []fault{cuts}},
	"cuts, without links":    {faults: []fault{cuts}, linkless: true},
	"pauses":                 {faults: []fault{pauses}},
	"pauses, without links":  {faults: []fault{pauses}, linkless: true},
	"long pauses":            {faults: []fault{pauses}, long: true},
	"lists that differ":      {faults: []fault{resets}, peers: 4, lists: true},
	"lists that change":      {faults: []fault{lists, resets}, peers: 4, long: true},
	"close and new":          {faults: []fault{reopens}},
	"versions that differ":   {faults: []fault{retypes}},
	"shutdowns":              {faults: []fault{shutdowns}, long: true},
	"crashes":                {faults: []fault{crashes}, long: true},
	"anything":               {faults: []fault{resets, cuts, pauses, reopens, shutdowns, crashes}, peers: 5, long: true},
	"anything without links": {faults: []fault{resets, cuts, pauses, reopens, shutdowns, crashes}, linkless: true, long: true},

	"replicas":                       {replicas: []int{2}},
	"replicas, read from any":        {replicas: []int{3}, readFrom: covey.ReadFromAny},
	"replicas, without links":        {replicas: []int{2}, readFrom: covey.ReadFromAny, linkless: true},
	"replicas, resets":               {replicas: []int{2}, readFrom: covey.ReadFromAny, faults: []fault{resets}},
	"replicas, cuts":                 {replicas: []int{3}, readFrom: covey.ReadFromAny, faults: []fault{cuts}},
	"replicas, pauses":               {replicas: []int{2}, readFrom: covey.ReadFromAny, faults: []fault{pauses}, long: true},
	"replicas, close and new":        {replicas: []int{2}, readFrom: covey.ReadFromAny, faults: []fault{reopens}},
	"replicas, versions that differ": {replicas: []int{2}, readFrom: covey.ReadFromAny, faults: []fault{retypes}},
	"replicas, shutdowns":            {replicas: []int{2}, readFrom: covey.ReadFromAny, faults: []fault{shutdowns}, long: true, warmUp: 5 * time.Second},
	"replicas, crashes":              {replicas: []int{2}, readFrom: covey.ReadFromAny, faults: []fault{crashes}, long: true, warmUp: 5 * time.Second},
	"replicas that differ":           {replicas: []int{1, 2, 3, 2}, readFrom: covey.ReadFromAny, faults: []fault{reopens, shutdowns}, peers: 4, long: true},
	"replicas, zones": {replicas: []int{2}, readFrom: covey.ReadFromAny, zones: true, faults: []fault{shutdowns, crashes}, peers: 4, long: true,
		warmUp: time.Second},
	"replicas, anything": {replicas: []int{2, 3}, readFrom: covey.ReadFromAny, faults: []fault{resets, cuts, pauses, reopens, shutdowns, crashes},
		peers: 5, long: true, warmUp: 3 * time.Second},
	"replicas, anything without links": {replicas: []int{2}, faults: []fault{resets, cuts, pauses, reopens, shutdowns, crashes}, linkless: true, long: true},
}

func TestLinearizable(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, k)
		})
	}
}

// check makes histories of one kind, and sees whether they are linearizable.
func check(t *testing.T, k kind) {
	var total covey.Stats
	var undecided, found int
	for seed := *first; seed < *first+*seeds; seed++ {
		var history []porcupine.Operation
		var events []string
		ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 1))
				var stats covey.Stats
				history, events, stats = run(t, r, k)
				total.Recalls += stats.Recalls
				total.L1Hits += stats.L1Hits
				total.Unconfirmed += stats.Unconfirmed
				total.ReplicasSent += stats.ReplicasSent
				total.ReplicaReads += stats.ReplicaReads
				total.PeekHits += stats.PeekHits
			})
		})
		if !ok {
			continue
		}
		for _, op := range history {
			if op.Output.(result).value != 0 {
				found++
			}
		}
		switch verdict, info := porcupine.CheckOperationsVerbose(model, history, patience); verdict {
		case porcupine.Unknown: // writes of which nobody knows whether they took effect make it hard
			undecided++
		case porcupine.Illegal:
			t.Errorf("seed %d: the history is not linearizable:\n%s%s", seed, explain(history, info), strings.Join(events, "\n"))
		}
	}
	t.Logf("values found %d, recalls %d, hits on copies %d, unconfirmed writes %d, undecided histories %d, replicas %d, reads from them %d, peeks that found something %d", found, total.Recalls, total.L1Hits, total.Unconfirmed, undecided, total.ReplicasSent, total.ReplicaReads, total.PeekHits)
	require.LessOrEqual(t, undecided, max(1, int(*seeds/10)))
	require.NotZero(t, found)
	require.Equal(t, k.linkless, total.Recalls == 0)
	require.Equal(t, k.linkless, total.L1Hits == 0)
	if len(k.replicas) > 0 { // values are handed over without, too
		require.NotZero(t, total.ReplicasSent)
	}
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
			fmt.Fprintf(&b, "%12v %12v client %d at %s, %v: %v%s\n", time.Duration(op.Call), time.Duration(op.Return), op.ClientId, op.Metadata, op.Input, op.Output, stale(op, part))
		}
	}
	return b.String()
}

// stale says so if what a lookup found had been written over before the lookup began.
func stale(op porcupine.Operation, all []porcupine.Operation) string {
	found := op.Output.(result).value
	for _, put := range all {
		if found == 0 || put.Input.(call).value != found {
			continue
		}
		for _, w := range all {
			if k := w.Input.(call).kind; k != "lookup" && k != "many" && k != "absent" && k != "update" && w.Call > put.Return && w.Return < op.Call {
				return fmt.Sprintf("  STALE since %v", time.Duration(w.Return))
			}
		}
	}
	return ""
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
func run(t *testing.T, r *rand.Rand, k kind) (history []porcupine.Operation, events []string, stats covey.Stats) {
	w := newWorld(t, r, k, covey.Options[string]{})
	ctx, cancel := context.WithCancel(t.Context())
	start := w.begin()
	trouble := w.trouble(ctx, r)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for id := range clients {
		own := rand.New(rand.NewPCG(r.Uint64(), uint64(id)))
		wg.Go(func() {
			for i := range ops / clients {
				rest := 3 * time.Millisecond
				if k.long && own.IntN(10) == 0 {
					rest = 3 * time.Second
				}
				time.Sleep(upTo(own, rest))
				p := w.procs[own.IntN(len(w.procs))]
				l := p.life.Load()
				in := call{kind: "lookup", key: own.IntN(keys)}
				switch n := own.IntN(200); {
				case n < 6:
					in.kind, in.value = "put", 1+id*ops+i
				case n < 9:
					in.kind, in.value = "absent", 1+id*ops+i
				case n < 12:
					in.kind, in.value = "update", 1+id*ops+i
				case n < 20:
					in.kind = "delete"
				case n < 21:
					in.kind = "clear"
				case n < 40:
					in.kind = "many"
				}
				if l == nil {
					continue
				}
				began := int64(time.Since(start))
				outs, ok, sure := do(ctx, l.cache.Load(), &in)
				if l.crashed.Load() { // nobody has seen the answer
					sure = false
					ok = in.kind != "lookup" && in.kind != "many" && (in.kind != "update" || in.value != 0)
				}
				ended := int64(time.Since(start))
				if !sure {
					in.maybe = true
					for key := range outs { // what came of it nobody has seen
						outs[key] = result{}
					}
					ended = int64(1000 * time.Hour) // it may take effect at any time, or never
				}
				if !ok {
					continue
				}
				mu.Lock()
				for key, out := range outs { // to each key, what concerns many is a call of its own
					one := in
					one.key = key
					history = append(history, porcupine.Operation{ClientId: id, Input: one, Call: began, Output: out, Return: ended, Metadata: p.host})
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	cancel()
	trouble.Wait()
	within := 15 * time.Second
	if k.linkless { // it takes longer until a death is proven without a link that ends
		within *= 2
	}
	w.whole(within)
	stats = w.close()
	return history, w.events, stats
}

// do carries out a call, and says what came of it for each key that it concerns. ok is false if
// that says nothing, sure if the result is known.
func do(ctx context.Context, c *covey.Cache[string], in *call) (out map[int]result, ok, sure bool) {
	key := fmt.Sprint("key", in.key)
	out = map[int]result{in.key: {}}
	switch in.kind {
	case "put":
		err := c.Put(ctx, key, fmt.Sprint(in.value))
		return out, true, err == nil
	case "absent":
		err := c.Put(ctx, key, fmt.Sprint(in.value), covey.IfAbsent())
		if errors.Is(err, covey.ErrConflict) {
			out[in.key] = result{conflict: 1}
			return out, true, true
		}
		return out, true, err == nil
	case "update":
		v, called := in.value, false
		in.value = 0
		_, err := c.Update(ctx, key, func(old string, ok bool) (string, error) {
			in.value, in.old, called = v, number(old).value, true
			return fmt.Sprint(v), nil
		})
		if err != nil && !errors.Is(err, covey.ErrUnconfirmed) {
			return out, false, true // it has changed nothing
		}
		return out, called, err == nil
	case "delete":
		err := c.Delete(ctx, key)
		return out, true, err == nil
	case "clear":
		for k := range keys {
			out[k] = result{}
		}
		err := clearAll(ctx, c, in.key)
		return out, true, err == nil
	case "many":
		clear(out)
		var all []string
		for k := range keys {
			all = append(all, fmt.Sprint("key", k))
		}
		found, _ := c.GetMany(ctx, all, nil)
		for k := range keys {
			if v := found[all[k]]; v != "" {
				out[k] = number(v)
			}
		}
		return out, true, true
	}
	// A Get without a loader asks the owner and may borrow.
	v, err := c.Get(ctx, key, nil)
	if err != nil && !errors.Is(err, covey.ErrNoLoader) {
		return out, false, true
	}
	out[in.key] = number(v)
	return out, true, true
}

func number(v string) (r result) {
	_, _ = fmt.Sscan(v, &r.value)
	return r
}
