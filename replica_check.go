package covey

// replica_check.go compares replicas and copies with what their owners have: a check on the whole of
// the design where it runs, which should never find anything.

import (
	"context"
	"math/rand/v2"
	"time"
)

// maxSelfCheck bounds Options.SelfCheck.
const maxSelfCheck = 10_000

// runChecks compares some replicas and copies with what their owners have, each second.
func (p *peering[V]) runChecks() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var before, last []*node // that differed three looks ago, and two: more than a lease lies between
	var now []*node
	for {
		select {
		case <-ticker.C:
		case <-p.c.stop:
			return
		}
		for _, n := range p.differing(before) {
			p.c.n.mismatches.Add(1)
			p.c.journal.add(Event{Kind: EventMismatch, Cache: p.c.name, Key: n.key})
			p.c.log.warn("covey: a replica or copy differs from what its owner has, and is dropped", "", "key", n.key)
			p.remove(n)
		}
		before, last, now = last, now, p.differing(p.sample(p.c.opt.SelfCheck))
	}
}

// remove removes a replica or a copy.
func (p *peering[V]) remove(n *node) {
	if n.flags&flagBorrowed == 0 {
		p.c.removeAll(p.c.shardOf(n.hash), []*node{n})
		return
	}
	s := p.c.lock(n.hash)
	s.removeCopy(n)
	s.unlock()
}

// lookedFor bounds how many entries are looked at for each one that is wanted.
const lookedFor = 64

// sample returns so many replicas and copies that were used lately, at most, from somewhere in the cache.
func (p *peering[V]) sample(n int) (some []*node) {
	v := p.tenures.view()
	looked := 0
	first := rand.IntN(len(p.c.shards))
	for i := range p.c.shards {
		at := (first + i) % len(p.c.shards)
		for e := range p.c.store.index.segments[at].table.Load().all {
			if looked++; looked > lookedFor*n {
				return some
			}
			if e.flags&(flagReplica|flagBorrowed) == 0 || e.stamp == 0 || e.mark.Load() == 0 || v.isOwn(e.key) || p.c.judge(e, p.c.store.clock.now()) != fresh {
				continue
			}
			if some = append(some, e); len(some) == n {
				return some
			}
		}
	}
	return some
}

// differing returns those of the replicas and copies that are still there, and of which their owner has something
// else.
func (p *peering[V]) differing(nodes []*node) (differ []*node) {
	_, label, v := p.present()
	for _, n := range nodes {
		owner := v.owner(n.key)
		if owner < 0 || owner == v.self || p.c.store.index.find(n.hash, n.key) != n || !p.c.current(n) {
			continue
		}
		ctx, cancel := context.WithTimeout(p.group.ctx, replicaFor)
		answer, found := p.peekAt(ctx, v, label, owner, n.key)
		cancel()
		p.c.n.checks.Add(1)
		if found == some && answer.Made != n.stamp && p.c.store.index.find(n.hash, n.key) == n && p.c.current(n) {
			differ = append(differ, n)
		}
	}
	return differ
}
