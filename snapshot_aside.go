package covey

// snapshot_aside.go keeps what a snapshot has brought to a cache in a group. Others may have
// written it while this process was down, so nobody is served from here. But the loader of a key
// may say that this is still its value.

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// An aside has entries that nobody has confirmed. They are the first to leave when there is no
// room. mu is a leaf.
type aside[V any] struct {
	bytes, count *atomic.Int64 // of the entries: the store's

	mu      sync.Mutex
	at      map[string]int // by key, where in entries
	entries []*entry[V]    // what was used most comes first; nil: it has left
}

// add adds an entry that is worth less than the others.
func (a *aside[V]) add(e *entry[V]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = make(map[string]int)
	}
	if _, ok := a.at[e.key]; ok {
		return
	}
	a.at[e.key] = len(a.entries)
	a.entries = append(a.entries, e)
	a.bytes.Add(int64(e.size))
	a.count.Add(1)
}

// find returns the entry of key, nil if there is none.
func (a *aside[V]) find(key string) *node {
	if a.count.Load() == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if i, ok := a.at[key]; ok {
		return &a.entries[i].node
	}
	return nil
}

// drop forgets the entry of key.
func (a *aside[V]) drop(key string) {
	if a.count.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if i, ok := a.at[key]; ok {
		a.forget(i)
	}
}

// evict forgets the last entry. It returns false if there is none.
func (a *aside[V]) evict() bool {
	if a.count.Load() == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(a.entries) - 1; i >= 0; i-- {
		if a.entries[i] != nil {
			a.forget(i)
			return true
		}
		a.entries = a.entries[:i]
	}
	return false
}

// clear forgets everything.
func (a *aside[V]) clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, e := range a.entries { // forget drops the slice with its last entry
		if e != nil {
			a.forget(i)
		}
	}
}

// keys returns the keys of all entries.
func (a *aside[V]) keys() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.at))
}

// forget takes out the i-th entry. mu is held.
func (a *aside[V]) forget(i int) {
	e := a.entries[i]
	delete(a.at, e.key)
	a.entries[i] = nil
	a.bytes.Add(-int64(e.size))
	if a.count.Add(-1) == 0 {
		a.at, a.entries = nil, nil
	}
}

// some returns entries from the i-th on, and where the next ones are; 0: there are none.
func (a *aside[V]) some(i int) (nodes []*node, next int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ; i < len(a.entries) && len(nodes) < encodedAtOnce; i++ {
		if e := a.entries[i]; e != nil {
			nodes = append(nodes, &e.node)
		}
	}
	if i >= len(a.entries) {
		i = 0
	}
	return nodes, i
}
