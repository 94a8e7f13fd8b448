package main

// policies.go has textbook policies, simulated on key numbers, for the suite hits.

import (
	"container/heap"
	"container/list"
	"math"
)

// A policy is asked for one key after the other and says whether it had it.
type policy interface{ access(key uint32) bool }

var policies = []struct {
	name string
	make func(t *trace, capacity int) policy
}{
	{"optimum", func(t *trace, n int) policy { return newBelady(t, n) }},
	{"LRU", func(_ *trace, n int) policy { return newQueue(n, true) }},
	{"FIFO", func(_ *trace, n int) policy { return newQueue(n, false) }},
	{"SIEVE", func(_ *trace, n int) policy { return newSieve(n) }},
	{"S3-FIFO", func(_ *trace, n int) policy { return newS3(n) }},
	{"ARC", func(_ *trace, n int) policy { return newARC(n) }},
	{"2Q", func(_ *trace, n int) policy { return new2Q(n) }},
	{"W-TinyLFU", func(_ *trace, n int) policy { return newTinyLFU(n) }},
}

// An ordered is a list of keys with a map into it.
type ordered struct {
	l list.List
	m map[uint32]*list.Element
}

func newOrdered() *ordered { return &ordered{m: map[uint32]*list.Element{}} }

func (o *ordered) has(k uint32) bool { _, ok := o.m[k]; return ok }
func (o *ordered) len() int          { return len(o.m) }
func (o *ordered) push(k uint32)     { o.m[k] = o.l.PushFront(k) }
func (o *ordered) touch(k uint32)    { o.l.MoveToFront(o.m[k]) }
func (o *ordered) remove(k uint32)   { o.l.Remove(o.m[k]); delete(o.m, k) }
func (o *ordered) pop() uint32 {
	k := o.l.Back().Value.(uint32)
	o.remove(k)
	return k
}
func (o *ordered) last() uint32 { return o.l.Back().Value.(uint32) }

type queue struct {
	*ordered
	n       int
	promote bool
}

func newQueue(n int, promote bool) *queue { return &queue{newOrdered(), n, promote} }

func (q *queue) access(k uint32) bool {
	if q.has(k) {
		if q.promote {
			q.touch(k)
		}
		return true
	}
	if q.len() == q.n {
		q.pop()
	}
	q.push(k)
	return false
}

// belady is the optimum: it evicts what is needed last (Belady 1966).
type belady struct {
	next []int // for each access, when its key comes again
	at   int
	n    int
	due  map[uint32]int
	h    dues
}

type due struct {
	at  int
	key uint32
}

type dues []due

func (h dues) Len() int           { return len(h) }
func (h dues) Less(i, j int) bool { return h[i].at > h[j].at }
func (h dues) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dues) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dues) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func newBelady(t *trace, n int) *belady {
	b := &belady{next: make([]int, len(t.keys)), n: n, due: map[uint32]int{}}
	last := make([]int, t.n)
	for i := range last {
		last[i] = math.MaxInt
	}
	for i := len(t.keys) - 1; i >= 0; i-- {
		b.next[i] = last[t.keys[i]]
		last[t.keys[i]] = i
	}
	return b
}

func (b *belady) access(k uint32) bool {
	next := b.next[b.at]
	b.at++
	_, hit := b.due[k]
	if next == math.MaxInt { // never again: it need not stay
		delete(b.due, k)
		return hit
	}
	b.due[k] = next
	heap.Push(&b.h, due{next, k})
	for len(b.due) > b.n {
		d := heap.Pop(&b.h).(due)
		if at, ok := b.due[d.key]; ok && at == d.at {
			delete(b.due, d.key)
		}
	}
	return hit
}

// sieve: Zhang et al., "SIEVE is Simpler than LRU", 2024.
type sieve struct {
	*ordered
	visited map[uint32]bool
	hand    *list.Element
	n       int
}

func newSieve(n int) *sieve { return &sieve{newOrdered(), map[uint32]bool{}, nil, n} }

func (s *sieve) access(k uint32) bool {
	if s.has(k) {
		s.visited[k] = true
		return true
	}
	if s.len() == s.n {
		e := s.hand
		if e == nil {
			e = s.l.Back()
		}
		for s.visited[e.Value.(uint32)] {
			s.visited[e.Value.(uint32)] = false
			if e = e.Prev(); e == nil {
				e = s.l.Back()
			}
		}
		s.hand = e.Prev()
		delete(s.visited, e.Value.(uint32))
		s.remove(e.Value.(uint32))
	}
	s.push(k)
	return false
}

// s3: Yang et al., "FIFO queues are all you need for cache eviction", 2023.
type s3 struct {
	small, main, ghost *ordered
	freq               map[uint32]int
	n                  int
}

func newS3(n int) *s3 { return &s3{newOrdered(), newOrdered(), newOrdered(), map[uint32]int{}, n} }

func (s *s3) access(k uint32) bool {
	if s.small.has(k) || s.main.has(k) {
		s.freq[k] = min(s.freq[k]+1, 3)
		return true
	}
	for s.small.len()+s.main.len() >= s.n {
		s.evict()
	}
	if s.ghost.has(k) {
		s.ghost.remove(k)
		s.main.push(k)
	} else {
		s.small.push(k)
	}
	s.freq[k] = 0
	return false
}

func (s *s3) evict() {
	if s.small.len() > 0 && (s.small.len() >= max(s.n/10, 1) || s.main.len() == 0) {
		k := s.small.pop()
		if s.freq[k] > 1 {
			s.main.push(k)
			s.freq[k] = 0
			return
		}
		delete(s.freq, k)
		if s.ghost.push(k); s.ghost.len() > s.n*9/10 {
			s.ghost.pop()
		}
		return
	}
	k := s.main.pop()
	if s.freq[k] > 0 {
		s.freq[k]--
		s.main.push(k)
		return
	}
	delete(s.freq, k)
}

// arc: Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", 2003.
type arcPolicy struct {
	t1, t2, b1, b2 *ordered
	p, n           int
}

func newARC(n int) *arcPolicy {
	return &arcPolicy{newOrdered(), newOrdered(), newOrdered(), newOrdered(), 0, n}
}

func (a *arcPolicy) access(k uint32) bool {
	switch {
	case a.t1.has(k):
		a.t1.remove(k)
		a.t2.push(k)
		return true
	case a.t2.has(k):
		a.t2.touch(k)
		return true
	case a.b1.has(k):
		a.p = min(a.n, a.p+max(a.b2.len()/a.b1.len(), 1))
		a.replace(false)
		a.b1.remove(k)
		a.t2.push(k)
		return false
	case a.b2.has(k):
		a.p = max(0, a.p-max(a.b1.len()/a.b2.len(), 1))
		a.replace(true)
		a.b2.remove(k)
		a.t2.push(k)
		return false
	}
	if a.t1.len()+a.b1.len() == a.n {
		if a.t1.len() < a.n {
			a.b1.pop()
			a.replace(false)
		} else {
			a.t1.pop()
		}
	} else if total := a.t1.len() + a.t2.len() + a.b1.len() + a.b2.len(); total >= a.n {
		if total == 2*a.n {
			a.b2.pop()
		}
		a.replace(false)
	}
	a.t1.push(k)
	return false
}

func (a *arcPolicy) replace(inB2 bool) {
	if a.t1.len()+a.t2.len() < a.n {
		return
	}
	if a.t1.len() > 0 && (a.t1.len() > a.p || inB2 && a.t1.len() == a.p) || a.t2.len() == 0 {
		a.b1.push(a.t1.pop())
	} else {
		a.b2.push(a.t2.pop())
	}
}

// twoQ: Johnson and Shasha, "2Q", 1994, the full version with Kin = n/4 and Kout = n/2.
type twoQ struct {
	in, out, main *ordered
	n             int
}

func new2Q(n int) *twoQ { return &twoQ{newOrdered(), newOrdered(), newOrdered(), n} }

func (q *twoQ) access(k uint32) bool {
	if q.main.has(k) {
		q.main.touch(k)
		return true
	}
	if q.in.has(k) {
		return true
	}
	again := q.out.has(k)
	if again {
		q.out.remove(k)
	}
	if q.in.len()+q.main.len() >= q.n {
		if q.in.len() > max(q.n/4, 1) || q.main.len() == 0 {
			q.out.push(q.in.pop())
			if q.out.len() > max(q.n/2, 1) {
				q.out.pop()
			}
		} else {
			q.main.pop()
		}
	}
	if again {
		q.main.push(k)
	} else {
		q.in.push(k)
	}
	return false
}

// tinyLFU: Einziger, Friedman and Manes, "TinyLFU", 2017, with a window of 1 % and exact, halved counts.
type tinyLFU struct {
	window, probation, protected *ordered
	count                        map[uint32]int
	added, n, windowSize         int
}

func newTinyLFU(n int) *tinyLFU {
	return &tinyLFU{newOrdered(), newOrdered(), newOrdered(), map[uint32]int{}, 0, n, max(1, n/100)}
}

func (p *tinyLFU) access(k uint32) bool {
	p.count[k] = min(p.count[k]+1, 15)
	if p.added++; p.added >= 10*p.n {
		p.added /= 2
		for key, c := range p.count {
			if c /= 2; c == 0 {
				delete(p.count, key)
			} else {
				p.count[key] = c
			}
		}
	}
	switch {
	case p.window.has(k):
		p.window.touch(k)
		return true
	case p.protected.has(k):
		p.protected.touch(k)
		return true
	case p.probation.has(k):
		p.probation.remove(k)
		if p.protected.push(k); p.protected.len() > (p.n-p.windowSize)*8/10 {
			p.probation.push(p.protected.pop())
		}
		return true
	}
	p.window.push(k)
	if p.window.len() <= p.windowSize {
		return false
	}
	candidate := p.window.pop()
	if p.window.len()+p.probation.len()+p.protected.len() < p.n {
		p.probation.push(candidate)
		return false
	}
	if p.probation.len() == 0 {
		if p.protected.len() == 0 {
			return false
		}
		p.probation.push(p.protected.pop())
	}
	if p.count[candidate] > p.count[p.probation.last()] {
		p.probation.pop()
		p.probation.push(candidate)
	}
	return false
}

// gdsf: Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency", 1998.
type gdsf struct {
	sizes    []uint32
	capacity int64
	used     int64
	clock    float64
	freq     map[uint32]float64
	priority map[uint32]float64
	h        ranks
}

type rank struct {
	p   float64
	key uint32
}

type ranks []rank

func (h ranks) Len() int           { return len(h) }
func (h ranks) Less(i, j int) bool { return h[i].p < h[j].p }
func (h ranks) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ranks) Push(x any)        { *h = append(*h, x.(rank)) }
func (h *ranks) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func newGDSF(t *trace, capacity int64) *gdsf {
	return &gdsf{sizes: t.sizes, capacity: capacity, freq: map[uint32]float64{}, priority: map[uint32]float64{}}
}

func (g *gdsf) access(k uint32) bool {
	_, hit := g.priority[k]
	size := int64(g.sizes[k])
	if !hit {
		if size > g.capacity {
			return false
		}
		g.used += size
		g.freq[k] = 0
	}
	g.freq[k]++
	g.priority[k] = g.clock + g.freq[k]/float64(size)
	heap.Push(&g.h, rank{g.priority[k], k})
	for g.used > g.capacity {
		r := heap.Pop(&g.h).(rank)
		if p, ok := g.priority[r.key]; ok && p == r.p {
			g.clock = r.p
			g.used -= int64(g.sizes[r.key])
			delete(g.priority, r.key)
			delete(g.freq, r.key)
		}
	}
	return hit
}
