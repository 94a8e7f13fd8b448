package sim

// arc.go is ARC (Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST
// 2003).

import "github.com/coveycache/covey/benchmarks/internal/trace"

type arc struct {
	recent, frequent           *list // T1 and T2
	recentGhosts, frequentGone *list // B1 and B2
	target                     int   // of recent's length: p
	capacity                   int
}

func newARC(t *trace.Trace, capacity int) *arc {
	l := newLists(t.Unique)
	return &arc{l.new(), l.new(), l.new(), l.new(), 0, capacity}
}

func (a *arc) Access(key uint32) bool {
	switch in := a.recent.where(key); in {
	case a.recent, a.frequent:
		in.moveTo(a.frequent, key)
		return true
	case a.recentGhosts:
		a.target = min(a.capacity, a.target+max(a.frequentGone.len/a.recentGhosts.len, 1))
		a.replace(false)
		in.moveTo(a.frequent, key)
		return false
	case a.frequentGone:
		a.target = max(0, a.target-max(a.recentGhosts.len/a.frequentGone.len, 1))
		a.replace(true)
		in.moveTo(a.frequent, key)
		return false
	}
	known := a.recent.len + a.recentGhosts.len
	switch all := known + a.frequent.len + a.frequentGone.len; {
	case known == a.capacity && a.recent.len < a.capacity:
		a.recentGhosts.pop()
		a.replace(false)
	case known == a.capacity:
		a.recent.pop()
	case all >= a.capacity:
		if all == 2*a.capacity {
			a.frequentGone.pop()
		}
		a.replace(false)
	}
	a.recent.push(key)
	return false
}

// replace makes room for one key if there is none.
func (a *arc) replace(wasFrequent bool) {
	if a.recent.len+a.frequent.len < a.capacity {
		return
	}
	if a.recent.len > 0 && (a.recent.len > a.target || wasFrequent && a.recent.len == a.target) {
		a.recentGhosts.push(a.recent.pop())
	} else {
		a.frequentGone.push(a.frequent.pop())
	}
}
