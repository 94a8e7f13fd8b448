package main

// ristretto.go is ristretto: every value has a TTL, metrics are off as by
// default, and only what the caller says counts as cost.

import "github.com/dgraph-io/ristretto/v2"

var ristrettoSystem = system{
	name: "ristretto",
	open: func(c config) cache {
		return newRistretto(int64(c.entries), int64(c.entries), func(string) int { return 1 })
	},
	openSized: func(bytes int64, size func(key string) int) cache {
		return newRistretto(bytes, bytes/8192+1, size) // objects of 8 KiB, more or less
	},
}

type ristrettoCache struct {
	c    *ristretto.Cache[string, []byte]
	cost func(key string) int
}

func newRistretto(capacity, entries int64, cost func(key string) int) cache {
	return ristrettoCache{must(ristretto.NewCache(&ristretto.Config[string, []byte]{
		NumCounters: 10 * entries, MaxCost: capacity, BufferItems: 64, IgnoreInternalCost: true,
	})), cost}
}

func (c ristrettoCache) get(key string) ([]byte, bool) { return c.c.Get(key) }
func (c ristrettoCache) put(key string, value []byte) {
	c.c.SetWithTTL(key, value, int64(c.cost(key)), hour)
}
func (c ristrettoCache) settle() { c.c.Wait() }
func (c ristrettoCache) close()  { c.c.Close() }
