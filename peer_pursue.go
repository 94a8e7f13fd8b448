package covey

// peer_pursue.go goes on with invalidations that could not be confirmed before their callers had no
// time left, so that what they were to remove does not stay. They remove nothing that has come
// since they were asked for.

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// pursuits are the keys that are still to be deleted, and when that was asked for, by the cache's
// monotonic clock. The empty key is a Clear.
type pursuits struct {
	n    atomic.Int32 // of the keys
	mu   sync.Mutex
	keys map[string]int64
	last uint64 // number of the Clear that is pursued; 0: none has been drawn
	wake func()
	runs bool
}

const (
	// maxPursued is how many keys are remembered. If there are more, what was stored before now is
	// cleared.
	maxPursued = 1 << 16
	// pursueEvery is the pause between two attempts.
	pursueEvery = 500 * time.Millisecond
)

// add has a key deleted as soon as possible.
func (p *pursuits) add(key string, began int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys == nil {
		p.keys = make(map[string]int64)
	}
	if all, ok := p.keys[""]; ok && all >= began {
		return
	}
	if len(p.keys) >= maxPursued {
		clear(p.keys)
		key = ""
	}
	p.keys[strings.Clone(key)] = max(began, p.keys[key])
	p.n.Store(int32(len(p.keys)))
	if !p.runs {
		p.runs = true
		p.wake()
	}
}

// addClear has a Clear of that number carried out as soon as possible.
func (p *pursuits) addClear(began int64, number uint64) {
	p.mu.Lock()
	p.last = number
	p.mu.Unlock()
	p.add("", began)
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
	p.n.Store(int32(len(p.keys)))
}

// done forgets a key that has been deleted, unless it is to be deleted again.
func (p *pursuits) done(key string, began int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys[key] == began {
		delete(p.keys, key)
	}
	p.n.Store(int32(len(p.keys)))
}

// some returns some of the keys; none when there are none left, and then nobody pursues any more.
func (p *pursuits) some() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	some := make(map[string]int64)
	for key, began := range p.keys {
		if some[key] = began; len(some) == manyAtOnce {
			break
		}
	}
	p.runs = len(some) > 0
	return some
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
		some := p.pursuits.some()
		if len(some) == 0 {
			return
		}
		failed := false
		for key, began := range some {
			if ctx.Err() != nil {
				return
			}
			var how verdict
			var err error
			if key == "" {
				err = p.clearAll(ctx, began, p.pursuits.clearNumber())
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
