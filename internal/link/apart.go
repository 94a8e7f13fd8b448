package link

// apart.go serves requests apart from the goroutine that reads the link.

import (
	"sync"
	"time"

	"github.com/coveycache/covey/internal/wire"
)

// Apart has serve called on another goroutine, with a copy of r that is valid until it is answered.
// So serve may take its time, while the link goes on.
func (r *Request) Apart(serve func(*Request)) {
	apart := &Request{Frame: r.Clone(), link: r.link, cache: r.cache, codec: r.codec, op: r.Keep(nil)}
	r.link.apart.add(func() {
		serve(apart)
		apart.endUnserved()
	})
}

// stuck is how long the requests that come after one wait for it; it may become twice that.
const stuck = 2 * time.Millisecond

// An apart has one goroutine for many requests, as long as none takes long: that costs little, and
// their answers gather into few writes. Those behind one that takes long get another goroutine.
type apart struct {
	mu      sync.Mutex
	todo    []func()
	taken   uint64 // how many of them, so far
	era     uint64 // of the goroutine; those of earlier ones end when they can
	running bool   // there is a goroutine of this era
	watched bool   // look will be called
	seen    uint64 // what taken was when that was arranged
}

func (a *apart) add(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.todo = append(a.todo, f)
	if !a.running {
		a.running = true
		go a.run(a.era)
	}
	a.watch()
}

// watch has look called if anything is left to do. mu is held.
func (a *apart) watch() {
	if !a.watched && len(a.todo) > 0 {
		a.watched, a.seen = true, a.taken
		time.AfterFunc(stuck, a.look)
	}
}

// look starts another goroutine if that of this era has taken nothing since look was arranged.
func (a *apart) look() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watched = false
	if a.running && len(a.todo) > 0 && a.taken == a.seen {
		a.era++
		go a.run(a.era)
	}
	a.watch()
}

func (a *apart) run(era uint64) {
	for {
		a.mu.Lock()
		if a.era != era {
			a.mu.Unlock()
			return
		}
		if len(a.todo) == 0 {
			a.running, a.todo = false, nil
			a.mu.Unlock()
			return
		}
		f := a.todo[0]
		a.todo[0] = nil
		a.todo = a.todo[1:]
		a.taken++
		a.mu.Unlock()
		f()
	}
}

// endUnserved answers r unless that has been done.
func (r *Request) endUnserved() {
	if !r.done {
		r.Answer(&wire.Frame{Type: wire.Unsupported})
	}
}
