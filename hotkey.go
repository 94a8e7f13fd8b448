package covey

// hotkey.go shows the keys that the group asks for most. Owners count them (see package freq), and
// are asked about them.

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// A HotKey is one of the keys that are asked for most; see [Group.HotKeys].
type HotKey struct {
	// Cache is the name of the key's cache.
	Cache string
	// Key is the key, or its first 128 bytes if it is longer.
	Key string
	// Rate is an estimate of how often all members together ask for the key: requests a second,
	// over the last 5 to 10 s.
	Rate float64
	// TooLarge says that the value takes more than an eighth of [Options.L1], so that nobody keeps a
	// copy of it: every Get of the key asks its owner, or a replica. false also where the value is
	// not there right now, and for keys of 128 bytes and more.
	TooLarge bool `json:",omitempty"`
}

// HotKeys returns the keys that the whole group asks for most, up to 100 of them, the most wanted
// first. Hits on copies are included, a second or so late. It asks each member about the keys that
// it answers for, and leaves out members that do not answer within a second. Requests are counted by
// sampling, so keys with few of them may be missing.
func (g *Group) HotKeys() []HotKey {
	ctx, cancel := context.WithTimeout(g.ctx, time.Second)
	defer cancel()
	var mu sync.Mutex
	all := g.ownHotKeys()
	var wg sync.WaitGroup
	for _, p := range g.view.Load().peers {
		if p == nil {
			continue
		}
		wg.Go(func() {
			l, err := p.Link(ctx)
			if err != nil {
				return
			}
			f, err := l.Call(ctx, &wire.Frame{Type: wire.Top})
			if err != nil || f.Type != wire.Many {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			var one wire.Frame
			for items := f.Items; len(items) > 0 && err == nil; {
				if items, err = wire.Next(items, &one); err == nil {
					all = append(all, HotKey{Cache: strings.Clone(one.Text), Key: strings.Clone(one.Key), Rate: float64(one.Count) / milli, TooLarge: one.Flags&wire.NoKeep != 0})
				}
			}
		})
	}
	wg.Wait()
	return hottest(all)
}

// ownHotKeys returns the hot keys among those that this process answers for.
func (g *Group) ownHotKeys() (all []HotKey) {
	for _, c := range *g.caches.Load() {
		all = append(all, c.hotKeys(hotShown)...)
	}
	return hottest(all)
}

// hottest returns the keys that are asked for most. What several processes have counted of a key, as
// more than its owner answers for it, is added up.
func hottest(all []HotKey) []HotKey {
	slices.SortFunc(all, func(a, b HotKey) int {
		return cmp.Or(cmp.Compare(a.Cache, b.Cache), cmp.Compare(a.Key, b.Key))
	})
	n := 0
	for _, h := range all {
		if n > 0 && all[n-1].Cache == h.Cache && all[n-1].Key == h.Key {
			all[n-1].Rate += h.Rate
			all[n-1].TooLarge = all[n-1].TooLarge || h.TooLarge
			continue
		}
		all[n] = h
		n++
	}
	all = all[:n]
	slices.SortFunc(all, func(a, b HotKey) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.Cache, b.Cache), cmp.Compare(a.Key, b.Key))
	})
	return all[:min(hotShown, len(all))]
}

const milli = 1000 // rates travel in thousandths

// serveTop answers another peer's question for hot keys.
func (g *Group) serveTop(r *link.Request) {
	f := &wire.Frame{Type: wire.Many, Items: []byte{}}
	for _, h := range g.ownHotKeys() {
		one := wire.Frame{Type: wire.Top, Key: h.Key, Text: h.Cache, Count: uint64(h.Rate * milli)}
		if h.TooLarge {
			one.Flags = wire.NoKeep
		}
		f.Items = wire.Append(f.Items, &one)
	}
	r.Answer(f)
}

const hotShown = 100

// hotKeys returns the k keys, among those that this process answers for, that are asked for most.
func (p *peering[V]) hotKeys(k int) (hot []HotKey) {
	for _, h := range p.c.hot.Top(k, p.c.store.clock.now()) {
		hot = append(hot, HotKey{Cache: p.c.name, Key: h.Key, Rate: h.Rate, TooLarge: p.c.isTooLargeForCopies(h.Key)})
	}
	return hot
}

// isTooLargeForCopies reports whether the value of a key is here, and too large for L1: here, and as
// the processes of a group have the same options, elsewhere.
func (c *Cache[V]) isTooLargeForCopies(key string) bool {
	limit := c.copies.limit.Load() / 8
	n := c.store.index.find(c.store.hash(key), key)
	return c.copies.demand != nil && n != nil && int64(n.size) > limit
}

// One of so many requests is counted, for all of them.
const (
	sampleHits   = 64 // of hits in this process
	sampleServed = 8  // of requests by other peers
)
