package covey

// metamorphic_test.go does the same operations on caches that differ in what must not matter: the
// number of processes, the policy, copies on or off. All of them have to give the same answers
// (metamorphic testing: Chen, Cheung and Yiu 1998; pebble tests its options in this way).

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// An operation is one call with everything that its answer may depend on.
type operation struct {
	at   int // which process calls, modulo their number
	kind string
	keys []string
	v    string
	ttl  time.Duration
	n    uint64
}

const metamorphicKinds = 19

// randomOperation leaves out what may depend on the options: eviction, early refresh, and when what
// has expired takes its version along. So the keys with versions do not expire.
func randomOperation(r *rand.Rand, i int) operation {
	op := operation{at: r.IntN(3), v: fmt.Sprint("v", i), ttl: time.Duration(1+r.IntN(20)) * 200 * time.Millisecond, n: uint64(1 + r.IntN(50))}
	for range 1 + r.IntN(4) {
		op.keys = append(op.keys, fmt.Sprint("key", r.IntN(12)))
	}
	switch r.IntN(metamorphicKinds) {
	case 0:
		op.kind = "put"
	case 1:
		op.kind = "put for a while"
	case 2:
		op.kind = "put a version"
	case 3:
		op.kind = "put not found"
	case 4:
		op.kind = "delete"
	case 5:
		op.kind = "delete a version"
	case 6:
		op.kind = "expire"
	case 7:
		op.kind = "look up"
	case 8:
		op.kind = "get many"
	case 9:
		op.kind = "put many"
	case 10:
		op.kind = "time passes"
	case 11:
		op.kind = "get what is not found"
	case 12:
		switch op.kind = "get"; r.IntN(20) {
		case 0:
			op.kind = "clear"
		case 1, 2, 3:
			op.kind = "delete a prefix" // key1 is one of key10 and key11
		}
	case 13:
		op.kind = "put if absent"
	case 14:
		op.kind = "put if it has a version"
	case 15:
		op.kind = "delete if it has a version"
	case 16, 17:
		op.kind = "update"
	default:
		op.kind = "get"
	}
	if strings.Contains(op.kind, "version") || op.kind == "look up" && r.IntN(2) == 0 {
		op.keys = []string{fmt.Sprint("versioned", r.IntN(4))}
	}
	return op
}

// do returns the answer in words. Errors count by what errors.Is finds in them, since texts may
// name peers.
func (op operation) do(ctx context.Context, c *Cache[string]) string {
	k := op.keys[0]
	load := func(context.Context, string) (string, error) { return "loaded " + op.v, nil }
	var got any
	var err error
	switch op.kind {
	case "put":
		err = c.Put(ctx, k, op.v)
	case "put for a while":
		err = c.Put(ctx, k, op.v, WithTTL(op.ttl))
	case "put a version":
		err = c.Put(ctx, k, op.v, WithVersion(op.n), WithTTL(Forever))
	case "put if absent":
		err = c.Put(ctx, k, op.v, IfAbsent(), WithTTL(op.ttl))
	case "put if it has a version", "delete if it has a version":
		n := op.n
		if e, _, e2 := c.Lookup(ctx, k); e2 == nil && op.n%2 == 0 {
			n = e.Version
		}
		if strings.HasPrefix(op.kind, "put") {
			err = c.Put(ctx, k, op.v, IfVersion(n), WithVersion(n+op.n%3), WithTTL(Forever))
		} else {
			err = c.Delete(ctx, k, DeleteIfVersion(n))
		}
	case "update":
		got, err = c.Update(ctx, k, func(old string, ok bool) (string, error) {
			switch op.n % 7 {
			case 0:
				return "", ErrUnchanged
			case 1:
				return "", ErrNotFound
			}
			return fmt.Sprint(old[:min(len(old), 20)], ok, op.v), nil
		})
	case "put not found":
		err = c.PutNotFound(ctx, k)
	case "delete":
		err = c.Delete(ctx, k)
	case "delete a version":
		err = c.Delete(ctx, k, DeletedAt(op.n))
	case "expire":
		err = c.Expire(ctx, k)
	case "clear":
		err = c.Clear(ctx)
	case "delete a prefix":
		err = c.DeletePrefix(ctx, k)
	case "time passes":
		time.Sleep(op.ttl / 3)
	case "look up":
		var e Entry[string]
		var ok bool
		e, ok, err = c.Lookup(ctx, k)
		got = []any{e.Value, e.NotFound, ok, e.Version}
	case "put many":
		items := map[string]string{}
		for _, k := range op.keys {
			items[k] = op.v + k
		}
		err = c.PutMany(ctx, items)
	case "get many":
		var found map[string]string
		found, err = c.GetMany(ctx, op.keys, func(_ context.Context, keys []string) (map[string]string, error) {
			values := map[string]string{}
			for _, k := range keys {
				values[k] = op.v + k
			}
			return values, nil
		})
		for _, k := range slices.Sorted(maps.Keys(found)) {
			got = fmt.Sprint(got, k, found[k])
		}
	case "get what is not found":
		got, err = c.Get(ctx, k, func(context.Context, string) (string, error) { return "", ErrNotFound })
	default:
		got, err = c.Get(ctx, k, load)
	}
	kind := "other"
	for _, one := range []error{nil, ErrNotFound, ErrOutdated, ErrConflict, ErrUnconfirmed} {
		if errors.Is(err, one) {
			kind = fmt.Sprint(one)
		}
	}
	if kind == "other" {
		kind = err.Error()
	}
	return fmt.Sprintf("%v %s", got, kind)
}

func TestMetamorphic(t *testing.T) {
	t.Parallel()
	type variant struct {
		procs    int
		eviction Eviction
		l1       int64
	}
	var variants []variant
	for _, e := range []Eviction{LFU, LRU, FIFO} {
		variants = append(variants, variant{1, e, 0}, variant{3, e, 0}, variant{3, e, -1})
	}
	for seed := range uint64(6) {
		var ops []operation
		r := rand.New(rand.NewPCG(seed, 1))
		for i := range 700 {
			ops = append(ops, randomOperation(r, i))
		}
		var want []string
		for _, v := range variants {
			o := Options[string]{
				MaxBytes: 64 << 20, Eviction: v.eviction, L1: v.l1, TTL: 3 * time.Second, NegativeTTL: 800 * time.Millisecond,
				EarlyRefresh: -1, TTLJitter: -1, Logger: slog.New(slog.DiscardHandler),
			}
			inWorld(t, v.procs, o, func(t *testing.T, w *world) {
				for i, op := range ops {
					got := op.do(t.Context(), w.procs[op.at%v.procs].cache)
					synctest.Wait() // a Get does not wait until the owner has stored what it has loaded
					if len(want) == i {
						want = append(want, got)
					}
					require.Equal(t, want[i], got, "seed %d, operation %d: %+v, with %+v, unlike with %+v", seed, i, op, v, variants[0])
				}
			})
		}
	}
}
