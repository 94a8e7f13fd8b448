package main

// groupcache.go is the LRU of golang/groupcache behind a mutex, as groupcache itself uses it.

import (
	"sync"

	"github.com/golang/groupcache/lru"
)

var groupcacheSystem = system{
	name: "groupcache",
	open: func(c config) cache { return &groupcacheCache{c: lru.New(c.entries)} },
}

type groupcacheCache struct {
	mu sync.Mutex
	c  *lru.Cache
}

func (c *groupcacheCache) get(key string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.c.Get(key)
	if !ok {
		return nil, false
	}
	return v.([]byte), true
}

func (c *groupcacheCache) put(key string, value []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.Add(key, value)
}

func (c *groupcacheCache) settle() {}
func (c *groupcacheCache) close()  {}
