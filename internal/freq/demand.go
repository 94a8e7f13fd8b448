package freq

import (
	"math/bits"
	"sync/atomic"
)

// Max is the highest estimate of a Demand: what a counter can hold.
const Max = 15

// A Demand estimates how often keys have lately been asked for. It is a count-min sketch (Cormode
// and Muthukrishnan 2005) with conservative update, of which all counts are halved now and then
// (TinyLFU: Einziger, Friedman and Manes 2017). All methods may be called concurrently.
//
// The four counters of a key, of four bits each, are in one word, so that counting touches one line
// of memory. If two requests count in the same word at once, one of them may be lost, which does
// not matter.
type Demand struct {
	words []atomic.Uint64 // a power of two
	added atomic.Uint64
	bar   atomic.Uint32 // the mean count of copies that have left, shifted by barBits
}

const (
	demandAge = 8 // requests for each word until the counts are halved
	barBits   = 4 // the mean is of about the last 16
)

// NewDemand returns a Demand for copies of so many bytes altogether; it takes up to a sixteenth of
// that itself.
func NewDemand(bytes int64) *Demand {
	return &Demand{words: make([]atomic.Uint64, 1<<min(max(bits.Len64(uint64(bytes/128))-1, 8), 20))}
}

// cells returns the word of a key's counters, and where in it they are.
func (d *Demand) cells(hash uint32) (word *atomic.Uint64, shifts [4]uint8) {
	x := uint64(hash) * 0x9E3779B97F4A7C15
	x = (x ^ x>>32) * 0xD6E8FEB86659FD93
	for i := range shifts {
		shifts[i] = uint8(x>>(16+4*i)&15) * 4
	}
	return &d.words[x>>32&uint64(len(d.words)-1)], shifts
}

// Of returns the estimate.
func (d *Demand) Of(hash uint32) uint32 {
	word, shifts := d.cells(hash)
	return uint32(least(word.Load(), shifts))
}

func least(w uint64, shifts [4]uint8) uint64 {
	n := uint64(Max)
	for _, s := range shifts {
		n = min(n, w>>s&Max)
	}
	return n
}

// Add counts n requests and returns the estimate, these included.
func (d *Demand) Add(hash, n uint32) uint32 {
	word, shifts := d.cells(hash)
	w := word.Load()
	to := min(least(w, shifts)+uint64(n), Max)
	for _, s := range shifts {
		if w>>s&Max < to {
			w = w&^(Max<<s) | to<<s
		}
	}
	word.Store(w)
	limit := uint64(demandAge * len(d.words))
	if now := d.added.Add(uint64(n)); now%limit < uint64(n) {
		d.age()
	}
	return uint32(to)
}

func (d *Demand) age() {
	for i := range d.words {
		d.words[i].Store(d.words[i].Load() >> 1 & 0x7777777777777777)
	}
	d.bar.Store(d.bar.Load() / 2)
}

// Leaves takes note of a copy that leaves because there is no room.
func (d *Demand) Leaves(hash uint32) {
	bar := d.bar.Load()
	d.bar.Store(bar - bar>>barBits + d.Of(hash) + 1)
}

// Bar returns the mean estimate of the last few copies that have left.
func (d *Demand) Bar() uint32 { return d.bar.Load() >> barBits }
