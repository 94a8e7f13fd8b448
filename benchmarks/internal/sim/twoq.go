package sim

// twoq.go is the full version of 2Q (Johnson and Shasha, "2Q: A Low Overhead
// High Performance Buffer Management Replacement Algorithm", VLDB 1994), with
// the paper's sizes: a quarter of the entries for A1in, half as many keys as entries in A1out.

import "github.com/coveycache/covey/benchmarks/internal/trace"

type twoQ struct {
	in, out, main       *list // A1in, A1out, Am
	capacity, kin, kout int
}

func newTwoQ(t *trace.Trace, capacity int) *twoQ {
	l := newLists(t.Unique)
	return &twoQ{l.new(), l.new(), l.new(), capacity, max(capacity/4, 1), max(capacity/2, 1)}
}

func (q *twoQ) Access(key uint32) bool {
	switch q.main.where(key) {
	case q.main:
		q.main.touch(key)
		return true
	case q.in:
		return true
	case q.out:
		q.out.remove(key)
		q.reclaim()
		q.main.push(key)
	default:
		q.reclaim()
		q.in.push(key)
	}
	return false
}

func (q *twoQ) reclaim() {
	if q.in.len+q.main.len < q.capacity {
		return
	}
	if q.in.len <= q.kin && q.main.len > 0 {
		q.main.pop()
		return
	}
	q.out.push(q.in.pop())
	if q.out.len > q.kout {
		q.out.pop()
	}
}
