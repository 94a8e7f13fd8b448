package main

// theine.go is theine: every value has a TTL.

import (
	"context"
	"time"

	"github.com/Yiling-J/theine-go"
)

var theineSystem = system{
	name: "theine",
	open: func(c config) cache {
		one := func(string) int { return 1 }
		return theineCache{must(theine.NewBuilder[string, []byte](int64(c.entries)).Build()), one}
	},
	openSized: func(bytes int64, size func(key string) int) cache {
		return theineCache{must(theine.NewBuilder[string, []byte](bytes).Build()), size}
	},
	openLoading: func(ttl time.Duration, origin func(key string) []byte) loader {
		load := func(_ context.Context, key string) (theine.Loaded[[]byte], error) {
			return theine.Loaded[[]byte]{Value: origin(key), Cost: 1, TTL: ttl}, nil
		}
		return theineLoading{must(theine.NewBuilder[string, []byte](1000).BuildWithLoader(load))}
	},
}

type theineCache struct {
	c    *theine.Cache[string, []byte]
	cost func(key string) int
}

func (c theineCache) get(key string) ([]byte, bool) { return c.c.Get(key) }
func (c theineCache) put(key string, value []byte) {
	c.c.SetWithTTL(key, value, int64(c.cost(key)), hour)
}
func (c theineCache) settle() { c.c.Wait() }
func (c theineCache) close()  { c.c.Close() }

type theineLoading struct {
	c *theine.LoadingCache[string, []byte]
}

func (c theineLoading) load(ctx context.Context, key string) ([]byte, error) {
	return c.c.Get(ctx, key)
}
func (c theineLoading) close() { c.c.Close() }
