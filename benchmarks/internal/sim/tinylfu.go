package sim

// tinylfu.go is W-TinyLFU (Einziger, Friedman and Manes, "TinyLFU: A Highly
// Efficient Cache Admission Policy", ACM ToS 2017): a window of 1 %, a main
// part whose protected segment is 80 %, and exact counts instead of a sketch.

import "github.com/coveycache/covey/benchmarks/internal/trace"

type tinyLFU struct {
	window, probation, protected          *list
	capacity, windowLimit, protectedLimit int

	count   []uint8 // up to 15
	counted int     // since the counts were halved
}

func newTinyLFU(t *trace.Trace, capacity int) *tinyLFU {
	l := newLists(t.Unique)
	window := max(capacity/100, 1)
	return &tinyLFU{
		window: l.new(), probation: l.new(), protected: l.new(),
		capacity: capacity, windowLimit: window, protectedLimit: (capacity - window) * 8 / 10,
		count: make([]uint8, t.Unique),
	}
}

func (p *tinyLFU) Access(key uint32) bool {
	p.record(key)
	switch p.window.where(key) {
	case p.window:
		p.window.touch(key)
		return true
	case p.protected:
		p.protected.touch(key)
		return true
	case p.probation:
		p.probation.moveTo(p.protected, key)
		if p.protected.len > p.protectedLimit {
			p.probation.push(p.protected.pop())
		}
		return true
	}
	p.window.push(key)
	if p.window.len > p.windowLimit {
		p.admit(p.window.pop())
	}
	return false
}

// admit lets a key that leaves the window into main if there is room or it is more popular than the
// one to go.
func (p *tinyLFU) admit(candidate uint32) {
	if p.window.len+p.probation.len+p.protected.len < p.capacity {
		p.probation.push(candidate)
		return
	}
	from := p.probation
	if from.len == 0 {
		from = p.protected
	}
	if from.len > 0 && p.count[candidate] > p.count[from.oldest] {
		from.pop()
		p.probation.push(candidate)
	}
}

// record counts a request, and halves all counts after ten requests for each entry.
func (p *tinyLFU) record(key uint32) {
	p.count[key] = min(p.count[key]+1, 15)
	if p.counted++; p.counted < 10*p.capacity {
		return
	}
	p.counted /= 2
	for k := range p.count {
		p.count[k] /= 2
	}
}
