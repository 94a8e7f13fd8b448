package main

// golanglru.go is hashicorp's golang-lru: LRU, 2Q and ARC, each behind one lock, without a TTL.

import (
	"github.com/hashicorp/golang-lru/arc/v2"
	lru "github.com/hashicorp/golang-lru/v2"
)

var golangLRUSystem = system{
	name: "golang-lru",
	open: func(c config) cache { return golangLRU{must(lru.New[string, []byte](c.entries))} },
}

var golang2QSystem = system{
	name: "golang-lru-2q",
	open: func(c config) cache { return golang2Q{must(lru.New2Q[string, []byte](c.entries))} },
}

var golangARCSystem = system{
	name: "golang-lru-arc",
	open: func(c config) cache { return golangARC{must(arc.NewARC[string, []byte](c.entries))} },
}

type golangLRU struct{ c *lru.Cache[string, []byte] }

func (c golangLRU) get(key string) ([]byte, bool) { return c.c.Get(key) }
func (c golangLRU) put(key string, value []byte)  { c.c.Add(key, value) }
func (c golangLRU) settle()                       {}
func (c golangLRU) close()                        {}

type golang2Q struct {
	c *lru.TwoQueueCache[string, []byte]
}

func (c golang2Q) get(key string) ([]byte, bool) { return c.c.Get(key) }
func (c golang2Q) put(key string, value []byte)  { c.c.Add(key, value) }
func (c golang2Q) settle()                       {}
func (c golang2Q) close()                        {}

type golangARC struct{ c *arc.ARCCache[string, []byte] }

func (c golangARC) get(key string) ([]byte, bool) { return c.c.Get(key) }
func (c golangARC) put(key string, value []byte)  { c.c.Add(key, value) }
func (c golangARC) settle()                       {}
func (c golangARC) close()                        {}
