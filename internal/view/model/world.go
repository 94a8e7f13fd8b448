package main

import (
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// keys is how many keys the processes read and write.
const keys = 4

type event struct {
	at  int64
	seq int
	f   func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any     { o := *e; x := o[len(o)-1]; *e = o[:len(o)-1]; return x }

// way leads from one node to another.
type way [2]int

// world is one history: its time, its network, its nodes, and what must hold in it.
type world struct {
	options
	r       *rand.Rand
	now     int64 // true time, in microseconds
	q       events
	seq     int
	nodes   []*node
	cut     map[way]bool
	last    map[way]int64 // when the last message arrives: order is kept
	held    map[way][]func()
	ends    map[int][2]*node // of links
	linkID  int
	foundID int
	lineage int
	chosen  map[[2]int]*view // by lineage and epoch
	loanID  int
	inst    int
	calm    bool // there are no more faults
	wanted  int  // how many replicas most caches want
	writing int  // of 320 calls
	zones   int
	clearID int

	broken   int64 // when the last fault ended
	wholeAt  int64 // since when the group is whole
	recovery int64 // how long it took

	db     [keys]int          // the origin
	floors map[int]*[keys]int // by lineage, what was acknowledged: no read may return less
	busy   [keys]bool         // one write of a key at a time
	puts   map[[2]int]int64   // when a Put of (key, value) took effect
	writes map[[2]int]int64   // when a write took effect first
	bad    []string           // reads that returned less
	n      map[string]int     // counts
	log    []string
}

// at has f happen after d.
func (w *world) at(d int64, f func()) {
	w.seq++
	heap.Push(&w.q, event{w.now + d, w.seq, f})
}

// inOrder holds up what arrives while the way is cut, and lets it through in order.
func (w *world) inOrder(key way, f func()) func() {
	return func() {
		if !w.cut[key] && len(w.held[key]) == 0 {
			f()
			return
		}
		w.held[key] = append(w.held[key], f)
		if len(w.held[key]) > 1 {
			return
		}
		var poll func()
		poll = func() {
			if w.cut[key] {
				w.at(20*ms, poll)
				return
			}
			fs := w.held[key]
			w.held[key] = nil
			for _, f := range fs {
				f()
			}
		}
		w.at(20*ms, poll)
	}
}

// run lets events happen until an end, or a violation.
func (w *world) run(until int64) {
	for len(w.q) > 0 && len(w.bad) == 0 {
		e := heap.Pop(&w.q).(event)
		w.now = e.at
		if w.now > until {
			return
		}
		e.f()
	}
}

func (w *world) logf(f string, a ...any) {
	if w.trace {
		w.log = append(w.log, fmt.Sprintf("%9.3f ", float64(w.now)/1e6)+fmt.Sprintf(f, a...))
	}
}

// sorted yields the keys of a map in order, so that a seed reproduces.
func sorted[V any](m map[int]V) []int { return slices.Sorted(maps.Keys(m)) }
