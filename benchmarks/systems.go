package main

// systems.go puts every cache behind one small interface.

import (
	"context"
	"sync"
	"time"

	"github.com/Yiling-J/theine-go"
	"github.com/coveycache/covey"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/golang/groupcache/lru"
	"github.com/hashicorp/golang-lru/arc/v2"
	hashilru "github.com/hashicorp/golang-lru/v2"
	"github.com/maypok86/otter/v2"
	"github.com/puzpuzpuz/xsync/v4"
	"github.com/viccon/sturdyc"
)

// A cache is one system under test.
type cache interface {
	get(key string) ([]byte, bool)
	put(key string, v []byte)
	// settle waits until what was put is decided on.
	settle()
	close()
}

// Of the systems that have a TTL as a plain option it is on, with the same value.
const ttl = time.Hour

// makers make a cache that holds so many entries.
var makers = []struct {
	name string
	make func(capacity int) cache
}{
	{"covey", newCovey},
	{"otter", newOtter},
	{"theine", newTheine},
	{"ristretto", newRistretto},
	{"golang-lru", func(n int) cache { c, _ := hashilru.New[string, []byte](n); return hashiCache{c} }},
	{"golang-lru-2q", func(n int) cache { c, _ := hashilru.New2Q[string, []byte](n); return twoQueue{c} }},
	{"golang-lru-arc", func(n int) cache { c, _ := arc.NewARC[string, []byte](n); return arcCache{c} }},
	{"groupcache", func(n int) cache { return &groupcache{c: lru.New(n)} }},
	{"sturdyc", func(n int) cache { return sturdy{sturdyc.New[[]byte](n, 64, ttl, 10)} }},
	{"xsync", func(int) cache { return xsyncMap{xsync.NewMap[string, []byte]()} }},
	{"map", func(int) cache { return bareMap{} }},
}

var quickSystems = []string{"covey", "otter", "xsync"}

func allSystems() (names []string) {
	for _, m := range makers {
		names = append(names, m.name)
	}
	return names
}

type coveyCache struct{ c *covey.Cache[[]byte] }

func newCovey(capacity int) cache {
	c, err := covey.New("bench", covey.Options[[]byte]{MaxEntries: capacity, TTL: ttl, Loader: noValue})
	if err != nil {
		panic(err)
	}
	return coveyCache{c}
}

func noValue(context.Context, string) ([]byte, error) { return nil, covey.ErrNotFound }

func (c coveyCache) get(key string) ([]byte, bool) {
	e, ok, _ := c.c.Lookup(context.Background(), key)
	return e.Value, ok
}
func (c coveyCache) put(key string, v []byte) { _ = c.c.Put(context.Background(), key, v) }
func (c coveyCache) settle()                  {}
func (c coveyCache) close()                   { _ = c.c.Close() }

// coveyGetter reads with Get, as the suite local does.
type coveyGetter struct{ coveyCache }

func (c coveyGetter) get(key string) ([]byte, bool) {
	v, err := c.c.Get(context.Background(), key, nil)
	return v, err == nil
}

// coveyClosure passes a loader that captures a variable.
type coveyClosure struct{ coveyCache }

func (c coveyClosure) get(key string) ([]byte, bool) {
	var none []byte
	v, err := c.c.Get(context.Background(), key, func(context.Context, string) ([]byte, error) { return none, covey.ErrNotFound })
	return v, err == nil
}

type otterCache struct{ c *otter.Cache[string, []byte] }

func newOtter(capacity int) cache {
	return otterCache{otter.Must(&otter.Options[string, []byte]{
		MaximumSize:      capacity,
		ExpiryCalculator: otter.ExpiryWriting[string, []byte](ttl),
	})}
}
func (c otterCache) get(key string) ([]byte, bool) { return c.c.GetIfPresent(key) }
func (c otterCache) put(key string, v []byte)      { c.c.Set(key, v) }
func (c otterCache) settle()                       { c.c.CleanUp() }
func (c otterCache) close()                        { c.c.StopAllGoroutines() }

type theineCache struct{ c *theine.Cache[string, []byte] }

func newTheine(capacity int) cache {
	c, err := theine.NewBuilder[string, []byte](int64(capacity)).Build()
	if err != nil {
		panic(err)
	}
	return theineCache{c}
}
func (c theineCache) get(key string) ([]byte, bool) { return c.c.Get(key) }
func (c theineCache) put(key string, v []byte)      { c.c.SetWithTTL(key, v, 1, ttl) }
func (c theineCache) settle()                       { c.c.Wait() }
func (c theineCache) close()                        { c.c.Close() }

type ristrettoCache struct {
	c *ristretto.Cache[string, []byte]
}

func newRistretto(capacity int) cache {
	c, err := ristretto.NewCache(&ristretto.Config[string, []byte]{
		NumCounters: 10 * int64(capacity), MaxCost: int64(capacity), BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		panic(err)
	}
	return ristrettoCache{c}
}
func (c ristrettoCache) get(key string) ([]byte, bool) { return c.c.Get(key) }
func (c ristrettoCache) put(key string, v []byte)      { c.c.SetWithTTL(key, v, 1, ttl) }
func (c ristrettoCache) settle()                       { c.c.Wait() }
func (c ristrettoCache) close()                        { c.c.Close() }

type hashiCache struct {
	c *hashilru.Cache[string, []byte]
}

func (c hashiCache) get(key string) ([]byte, bool) { return c.c.Get(key) }
func (c hashiCache) put(key string, v []byte)      { c.c.Add(key, v) }
func (c hashiCache) settle()                       {}
func (c hashiCache) close()                        {}

type twoQueue struct {
	c *hashilru.TwoQueueCache[string, []byte]
}

func (c twoQueue) get(key string) ([]byte, bool) { return c.c.Get(key) }
func (c twoQueue) put(key string, v []byte)      { c.c.Add(key, v) }
func (c twoQueue) settle()                       {}
func (c twoQueue) close()                        {}

type arcCache struct{ c *arc.ARCCache[string, []byte] }

func (c arcCache) get(key string) ([]byte, bool) { return c.c.Get(key) }
func (c arcCache) put(key string, v []byte)      { c.c.Add(key, v) }
func (c arcCache) settle()                       {}
func (c arcCache) close()                        {}

type groupcache struct {
	mu sync.Mutex
	c  *lru.Cache
}

func (c *groupcache) get(key string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.c.Get(key)
	if !ok {
		return nil, false
	}
	return v.([]byte), true
}

func (c *groupcache) put(key string, v []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.Add(key, v)
}
func (c *groupcache) settle() {}
func (c *groupcache) close()  {}

type sturdy struct{ c *sturdyc.Client[[]byte] }

func (c sturdy) get(key string) ([]byte, bool) { return c.c.Get(key) }
func (c sturdy) put(key string, v []byte)      { c.c.Set(key, v) }
func (c sturdy) settle()                       {}
func (c sturdy) close()                        {}

type xsyncMap struct{ m *xsync.Map[string, []byte] }

func (c xsyncMap) get(key string) ([]byte, bool) { return c.m.Load(key) }
func (c xsyncMap) put(key string, v []byte)      { c.m.Store(key, v) }
func (c xsyncMap) settle()                       {}
func (c xsyncMap) close()                        {}

// bareMap may only be read by several goroutines.
type bareMap map[string][]byte

func (c bareMap) get(key string) ([]byte, bool) { v, ok := c[key]; return v, ok }
func (c bareMap) put(key string, v []byte)      { c[key] = v }
func (c bareMap) settle()                       {}
func (c bareMap) close()                        {}
