package main

// system.go puts every cache behind one small interface. Each has a file of
// its own that says what of it is on.

import (
	"context"
	"time"
)

// A cache is one system under test, safe for concurrent use. It may keep value.
type cache interface {
	get(key string) (value []byte, ok bool)
	put(key string, value []byte)
	// settle waits until it is decided what of all that was put stays.
	settle()
	close()
}

// A loader is a cache that loads what it misses.
type loader interface {
	load(ctx context.Context, key string) ([]byte, error)
	close()
}

// A config says what a cache is made for.
type config struct {
	entries int // capacity
	// exact caches serve one goroutine and are not timed: maintenance that a
	// system does behind the scenes happens at once, as far as its API allows.
	exact bool
}

// A system makes caches. What it cannot do is nil.
type system struct {
	name  string
	floor string // why it is no cache but a bound on what one could reach; "" = it is a cache
	// open makes a cache with the system's ordinary configuration, and with a
	// TTL of one hour where that is a plain option.
	open func(c config) cache
	// openSized makes an exact cache that is bounded by the sum of size(key).
	openSized func(bytes int64, size func(key string) int) cache
	// openLoading makes a cache whose values come from origin and expire.
	openLoading func(ttl time.Duration, origin func(key string) []byte) loader
	readOnly    bool // put must not run at the same time as anything else
	variant     bool // of the system before it: only its speed differs
}

const hour = time.Hour

// systems returns all systems, in the order of the tables' columns.
func systems() []system {
	return []system{
		coveySystem, coveyClosureSystem,
		otterSystem, theineSystem, ristrettoSystem,
		golangLRUSystem, golang2QSystem, golangARCSystem,
		groupcacheSystem, sturdycSystem,
		xsyncSystem, mapSystem,
	}
}

// quickSystems are those of a -quick run.
var quickSystems = []string{"covey", "covey-closure", "otter", "xsync", "map"}

// must is for configurations that are known to be right.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
