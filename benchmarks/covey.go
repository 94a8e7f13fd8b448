package main

// covey.go is Covey: TTL, jitter and early refresh as by default; statistics are always on.

import (
	"context"
	"math"
	"time"

	"github.com/coveycache/covey"
)

var coveySystem = system{
	name: "covey",
	open: func(c config) cache {
		if c.exact {
			o := covey.Options[[]byte]{MaxEntries: c.entries, TTL: hour}
			return coveyLookup{must(covey.New("bench", o))}
		}
		return coveyGet{newRoomyCovey()}
	},
	openSized:   openSizedCovey,
	openLoading: openLoadingCovey,
}

// coveyClosureSystem gives Get a loader that captures a variable, which costs its caller an
// allocation.
var coveyClosureSystem = system{
	name:    "covey-closure",
	open:    func(config) cache { return coveyClosure{newRoomyCovey()} },
	variant: true,
}

// newRoomyCovey makes a cache of 8 GiB, in which everything fits.
func newRoomyCovey() coveyLookup {
	return coveyLookup{must(covey.New("bench", covey.Options[[]byte]{
		MaxBytes: 8 << 30, TTL: hour,
		Loader: func(context.Context, string) ([]byte, error) { return nil, covey.ErrNotFound },
	}))}
}

type coveyLookup struct{ c *covey.Cache[[]byte] }

func (c coveyLookup) get(key string) ([]byte, bool) {
	e, ok, _ := c.c.Lookup(context.Background(), key)
	return e.Value, ok
}
func (c coveyLookup) put(key string, value []byte) { _ = c.c.Put(context.Background(), key, value) }
func (c coveyLookup) settle()                      {}
func (c coveyLookup) close()                       { _ = c.c.Close() }

type coveyGet struct{ coveyLookup }

func (c coveyGet) get(key string) ([]byte, bool) {
	v, err := c.c.Get(context.Background(), key, nil)
	return v, err == nil
}

type coveyClosure struct{ coveyLookup }

func (c coveyClosure) get(key string) ([]byte, bool) {
	captured := key
	v, err := c.c.Get(context.Background(), key, func(context.Context, string) ([]byte, error) {
		return []byte(captured), nil
	})
	return v, err == nil
}

// openSizedCovey counts an object's own size only, as the other systems do:
// what Covey accounts for an entry besides is taken off its size.
func openSizedCovey(bytes int64, size func(key string) int) cache {
	var overhead [32]int // by length of the key, which is at least 1
	for n := 1; n < len(overhead); n++ {
		overhead[n] = accounted(make([]byte, n))
	}
	return coveyLookup{must(covey.New("sized", covey.Options[[]byte]{
		MaxBytes: bytes, MaxValueBytes: math.MaxInt32, TTL: hour,
		Size: func(key string, _ []byte) int { return max(size(key)-overhead[len(key)], 0) },
	}))}
}

// accounted returns what Covey accounts for an entry of no size with this key.
func accounted(key []byte) int {
	c := must(covey.New("probe", covey.Options[[]byte]{Size: func(string, []byte) int { return 0 }}))
	defer c.Close()
	_ = c.Put(context.Background(), string(key), nil)
	return int(c.Stats().Bytes)
}

type coveyLoading struct{ c *covey.Cache[[]byte] }

func openLoadingCovey(ttl time.Duration, origin func(key string) []byte) loader {
	return coveyLoading{must(covey.New("bench", covey.Options[[]byte]{
		TTL:    ttl,
		Loader: func(_ context.Context, key string) ([]byte, error) { return origin(key), nil },
	}))}
}

func (c coveyLoading) load(ctx context.Context, key string) ([]byte, error) {
	return c.c.Get(ctx, key, nil)
}
func (c coveyLoading) close() { _ = c.c.Close() }
