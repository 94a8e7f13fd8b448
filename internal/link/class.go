package link

// class.go says which requests wait for room together. A request that takes long has to be able to
// fill nobody's room but that of its own kind: else a thousand slow loads keep out the very Fill
// that would end them, and two ends that both write could wait for each other's recalls for ever.

import "github.com/coveycache/covey/internal/wire"

// A class has room of its own for Config.MaxOps requests, at both ends of a link. Those of one may
// only wait for those above it. Reads wait for loads, so they leave the room when they are held.
type class uint8

const (
	prompt class = iota // answered at once
	writes              // wait for recalls, and for each other in turn; or for a user's codec
	reads               // answered at once or held
	classes
)

func classOf(t wire.Type) class {
	switch t {
	case wire.Get, wire.GetMany, wire.Lookup, wire.Peek, wire.Reload, wire.Top, wire.Inspect:
		return reads
	case wire.Put, wire.Delete, wire.Clear, wire.Expire, wire.Update, wire.Replicate:
		return writes
	}
	return prompt // as Fill, Recall, Announce
}

// rooms are the requests of one direction that are under way.
type rooms struct {
	under [classes]int // and are not held
	held  int
}

// hold notes that a request is held from now on.
func (r *rooms) hold(c class) {
	r.under[c]--
	r.held++
}

// leave notes that a request is over.
func (r *rooms) leave(c class, held bool) {
	if held {
		r.held--
	} else {
		r.under[c]--
	}
}

// quick is how many requests are under way that will be answered soon, but for writes.
func (r *rooms) quick() (n int) {
	for _, under := range r.under {
		n += under
	}
	return n
}
