package main

// otter.go is otter: expiry after writing is on, statistics are off as by default.

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"
)

var otterSystem = system{
	name: "otter",
	open: func(c config) cache {
		o := otter.Options[string, []byte]{MaximumSize: c.entries, ExpiryCalculator: otter.ExpiryWriting[string, []byte](hour)}
		if c.exact {
			o.Executor = inline
		}
		return otterCache{otter.Must(&o)}
	},
	openSized: func(bytes int64, size func(key string) int) cache {
		return otterCache{otter.Must(&otter.Options[string, []byte]{
			MaximumWeight:    uint64(bytes),
			Weigher:          func(key string, _ []byte) uint32 { return uint32(size(key)) },
			ExpiryCalculator: otter.ExpiryWriting[string, []byte](hour),
			Executor:         inline,
		})}
	},
	openLoading: func(ttl time.Duration, origin func(key string) []byte) loader {
		c := otter.Must(&otter.Options[string, []byte]{
			MaximumSize:      1000,
			ExpiryCalculator: otter.ExpiryWriting[string, []byte](ttl),
		})
		return otterLoading{c, otter.LoaderFunc[string, []byte](func(_ context.Context, key string) ([]byte, error) {
			return origin(key), nil
		})}
	},
}

// inline runs maintenance in the goroutine that caused it.
func inline(maintenance func()) { maintenance() }

type otterCache struct{ c *otter.Cache[string, []byte] }

func (c otterCache) get(key string) ([]byte, bool) { return c.c.GetIfPresent(key) }
func (c otterCache) put(key string, value []byte)  { c.c.Set(key, value) }
func (c otterCache) settle()                       { c.c.CleanUp() }
func (c otterCache) close()                        { c.c.StopAllGoroutines() }

type otterLoading struct {
	c      *otter.Cache[string, []byte]
	loader otter.Loader[string, []byte]
}

func (c otterLoading) load(ctx context.Context, key string) ([]byte, error) {
	return c.c.Get(ctx, key, c.loader)
}
func (c otterLoading) close() { c.c.StopAllGoroutines() }
