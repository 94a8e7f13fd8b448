package covey

// peer_pursue.go goes on with invalidations that could not be confirmed before their callers had no
// time left, so that what they were to remove does not stay. They remove nothing that has come
// since they were asked for.

import (
	"context"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// pursuits are the keys that are still to be deleted, and when that was asked for, by the cache's
// monotonic clock. The empty key is a Clear.
type pursuits struct {
	n        atomic.Int32 // of the keys and prefixes
	mu       sync.Mutex
	keys     map[string]int64
	prefixes map[string]pursuedPrefix
	last     uint64 // number of the Clear that is pursued; 0: none has been drawn
	wake     func()
	runs     bool
}

// A pursuedPrefix is a DeletePrefix.
type pursuedPrefix struct {
	began  int64
	number uint64
}

const (
	// maxPursued is how many keys are remembered. If there are more, what was stored before now is
	// cleared.
	maxPursued = 1 << 16
	// maxPursuedPrefixes is the same for prefixes.
	maxPursuedPrefixes = 64
	// pursueEvery is the pause between two attempts.
	pursueEvery = 500 * time.Millisecond
)

// add has a key deleted as soon as possible.
func (p *pursuits) add(key string, began int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addLocked(key, began)
}

func (p *pursuits) addLocked(key string, began int64) {
	if p.keys == nil {
		p.keys = make(map[string]int64)
	}
	if all, ok := p.keys[""]; ok && all >= began {
		return
	}
	if len(p.keys) >= maxPursued {
		clear(p.keys)
		key, p.last = "", newClear()
	}
	p.keys[strings.Clone(key)] = max(began, p.keys[key])
	p.added()
}

// added sees to it that what there is is pursued. mu is held.
func (p *pursuits) added() {
	p.count()
	if !p.runs {
		p.runs = true
		p.wake()
	}
}

func (p *pursuits) count() { p.n.Store(int32(len(p.keys) + len(p.prefixes))) }

// addClear has a Clear of that number carried out as soon as possible, or a DeletePrefix.
func (p *pursuits) addClear(prefix string, began int64, number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if prefix != "" && len(p.prefixes) < maxPursuedPrefixes {
		if p.prefixes == nil {
			p.prefixes = make(map[string]pursuedPrefix)
		}
		if p.prefixes[prefix].began < began {
			p.prefixes[prefix] = pursuedPrefix{began, number}
		}
		p.added()
		return
	}
	if p.last = number; prefix != "" { // one that is not about all has that number
		p.last = newClear()
	}
	p.addLocked("", began)
}

// clearNumber returns the number of the Clear that is pursued.
func (p *pursuits) clearNumber() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == 0 {
		p.last = newClear()
	}
	return p.last
}

// settle forgets a key that has been written since, with success.
func (p *pursuits) settle(key string) {
	if p.n.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.keys, key)
	p.count()
}

// done forgets a key that has been deleted, unless it is to be deleted again.
func (p *pursuits) done(key string, began int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys[key] == began {
		delete(p.keys, key)
	}
	p.count()
}

// donePrefix forgets a prefix of which all has been deleted, unless it is to be deleted again.
func (p *pursuits) donePrefix(prefix string, was pursuedPrefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.prefixes[prefix] == was {
		delete(p.prefixes, prefix)
	}
	p.count()
}

// some returns some of the keys, and the prefixes; none when there are none left, and then nobody
// pursues any more.
func (p *pursuits) some() (some map[string]int64, prefixes map[string]pursuedPrefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	some = make(map[string]int64)
	for key, began := range p.keys {
		if some[key] = began; len(some) == manyAtOnce {
			break
		}
	}
	p.runs = len(some)+len(p.prefixes) > 0
	return some, maps.Clone(p.prefixes)
}

func (p *peering[V]) pursued() int { return int(p.pursuits.n.Load()) }

// pursue deletes what is to be deleted, until nothing is left or the cache is closed.
func (p *peering[V]) pursue() {
	ctx, cancel := context.WithCancel(p.group.ctx)
	defer cancel()
	go func() { // an attempt under way is not waited for
		select {
		case <-p.c.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		some, prefixes := p.pursuits.some()
		if len(some)+len(prefixes) == 0 {
			return
		}
		failed := false
		for prefix, one := range prefixes {
			if ctx.Err() != nil {
				return
			}
			if p.clearAgain(ctx, one.began, prefix, one.number) != nil {
				failed = true
				continue
			}
			p.pursuits.donePrefix(prefix, one)
		}
		for key, began := range some {
			if ctx.Err() != nil {
				return
			}
			var how verdict
			var err error
			if key == "" {
				err = p.clearAgain(ctx, began, "", p.pursuits.clearNumber())
			} else {
				ch := &change[V]{kind: wire.Delete, key: key, hash: p.c.store.hash(key), began: began}
				how, err = p.attempt(ctx, ch)
			}
			if how == answered && err == nil {
				p.pursuits.done(key, began)
			} else {
				failed = true
			}
		}
		if !failed {
			continue
		}
		timer := time.NewTimer(pursueEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}
