package main

// floors.go has what is no cache, and shows what the rest costs.

import "github.com/puzpuzpuz/xsync/v4"

var xsyncSystem = system{
	name:  "xsync",
	floor: "a concurrent map without bound, expiry or statistics",
	open:  func(config) cache { return xsyncMap{xsync.NewMap[string, []byte]()} },
}

type xsyncMap struct{ m *xsync.Map[string, []byte] }

func (c xsyncMap) get(key string) ([]byte, bool) { return c.m.Load(key) }
func (c xsyncMap) put(key string, value []byte)  { c.m.Store(key, value) }
func (c xsyncMap) settle()                       {}
func (c xsyncMap) close()                        {}

var mapSystem = system{
	name:     "map",
	floor:    "Go's own map without a lock, read-only once it is full",
	open:     func(config) cache { return goMap{} },
	readOnly: true,
}

type goMap map[string][]byte

func (c goMap) get(key string) ([]byte, bool) { v, ok := c[key]; return v, ok }
func (c goMap) put(key string, value []byte)  { c[key] = value }
func (c goMap) settle()                       {}
func (c goMap) close()                        {}
