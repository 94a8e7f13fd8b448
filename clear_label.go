package covey

// clear_label.go has what tells custodians that have carried out a Clear from those that have not yet.

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// clears are the Clears that the caches of one name have carried out in this process, one after the
// other, in the present view. Their label, the sum of the Clears' numbers, goes with what custodians
// send each other: if it is not the same at both ends, one of them has not carried out a Clear yet
// that the other one has, and what it sends may be from before that.
type clears struct {
	label atomic.Uint64 // changes with the generation, under the lock of the tenures

	mu   sync.Mutex
	view uint64   // the tag of the view
	done []uint64 // the Clears' numbers, or the last of them
}

// maxClears bounds the Clears that are known to have been carried out in a view. One that is asked for
// again after so many others gives a label that no other process has, until the view changes.
const maxClears = 1 << 10

// begin forgets the Clears of other views than that of the tag.
func (c *clears) begin(tag uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beginLocked(tag)
}

func (c *clears) beginLocked(tag uint64) {
	if c.view != tag {
		c.view, c.done = tag, nil
		c.label.Store(0)
	}
}

// add notes a Clear, once.
func (c *clears) add(number, tag uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beginLocked(tag)
	c.addLocked(number)
}

func (c *clears) addLocked(number uint64) {
	if slices.Contains(c.done, number) {
		return
	}
	if len(c.done) == maxClears {
		c.done = slices.Delete(c.done, 0, 1)
	}
	c.done = append(c.done, number)
	c.label.Add(number)
}

// hide makes the label one that no other process has, until reveal is called with what it returns. It
// is for a Clear that takes its time: meanwhile there is something from before it still, and some of
// that is gone already.
func (c *clears) hide(tag uint64) (mask uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beginLocked(tag)
	mask = newClear()
	c.label.Add(mask)
	return mask
}

// reveal ends that. If done, the Clear of that number has been carried out, unless the view has changed:
// then it has to be asked for again.
func (c *clears) reveal(mask, tag, number uint64, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.view != tag {
		return
	}
	c.label.Add(-mask)
	if done {
		c.addLocked(number)
	}
}

// newClear draws the number of a Clear.
func newClear() uint64 { return rand.Uint64() | 1 }

// clearsByName are the clears of each name of a cache, whether there is one or not.
type clearsByName struct {
	mu sync.Mutex
	of map[string]*clears
}

func (c *clearsByName) get(name string) *clears {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.of[name]
	if one == nil {
		if c.of == nil {
			c.of = make(map[string]*clears)
		}
		one = new(clears)
		c.of[strings.Clone(name)] = one
	}
	return one
}

// keep forgets those of names for which there is no cache: what they were about was another view.
func (c *clearsByName) keep(has func(name string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.of {
		if !has(name) {
			delete(c.of, name)
		}
	}
}
