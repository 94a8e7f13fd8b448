package main

// sturdyc.go is sturdyc, which evicts 10 % of a full shard at a time and always has a TTL. Its
// background removal of expired entries is off: nothing expires here, and nothing could stop its
// goroutine.

import (
	"context"
	"time"

	"github.com/viccon/sturdyc"
)

const sturdycEviction = 10 // percent

var sturdycSystem = system{
	name: "sturdyc",
	open: func(c config) cache {
		shards := 64
		if c.exact {
			shards = 1 // small ones would evict before the cache is full
		}
		return sturdycCache{sturdyc.New[[]byte](c.entries, shards, hour, sturdycEviction, sturdyc.WithNoContinuousEvictions())}
	},
	openLoading: func(ttl time.Duration, origin func(key string) []byte) loader {
		return sturdycLoading{sturdyc.New[[]byte](1000, 10, ttl, sturdycEviction), origin}
	},
}

type sturdycCache struct{ c *sturdyc.Client[[]byte] }

func (c sturdycCache) get(key string) ([]byte, bool) { return c.c.Get(key) }
func (c sturdycCache) put(key string, value []byte)  { c.c.Set(key, value) }
func (c sturdycCache) settle()                       {}
func (c sturdycCache) close()                        {}

type sturdycLoading struct {
	c      *sturdyc.Client[[]byte]
	origin func(key string) []byte
}

func (c sturdycLoading) load(ctx context.Context, key string) ([]byte, error) {
	return c.c.GetOrFetch(ctx, key, func(context.Context) ([]byte, error) { return c.origin(key), nil })
}
func (c sturdycLoading) close() {}
