package covey

// group_up.go keeps which links are up, under a lock of its own: the goroutines that read links must
// not wait for a change of the view.

import (
	"maps"
	"slices"
	"sync"

	"github.com/coveycache/covey/internal/link"
)

// upLinks are the links that are up, at both kinds of ends. mu is a leaf.
type upLinks struct {
	mu      sync.Mutex
	all     map[*link.Link]struct{}
	byName  map[string]int       // how many there are
	returns map[uint64]*comeback // by instance: processes of which another link is awaited
}

// A comeback is another link that a process makes to this one.
type comeback struct {
	made   chan struct{} // closed when the link is up
	awaits int
}

// add adds a link, and reports whether it is the only one of its name.
func (u *upLinks) add(l *link.Link) (first bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all[l] = struct{}{}
	u.byName[l.Name()]++
	if back := u.returns[l.Instance()]; back != nil && !l.Dialed() {
		close(back.made)
		delete(u.returns, l.Instance())
	}
	return u.byName[l.Name()] == 1
}

// remove takes a link out, and reports whether it was the last one of its name.
func (u *upLinks) remove(l *link.Link) (last bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.all, l)
	if u.byName[l.Name()]--; u.byName[l.Name()] > 0 {
		return false
	}
	delete(u.byName, l.Name())
	return true
}

// byNames returns a link to or from each process that there is one with, as of does.
func (u *upLinks) byNames() map[string]*link.Link {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make(map[string]*link.Link, len(u.byName))
	for l := range u.all {
		if all[l.Name()] == nil || l.Dialed() {
			all[l.Name()] = l
		}
	}
	return all
}

// of returns a link to or from the process of a name, the dialled one if there is one; nil: there is
// none.
func (u *upLinks) of(name string) (l *link.Link) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byName[name] == 0 {
		return nil
	}
	for one := range u.all {
		if one.Name() == name && (l == nil || one.Dialed()) {
			l = one
		}
	}
	return l
}

func (u *upLinks) list() []*link.Link {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.all))
}

func (u *upLinks) len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.all)
}

// comeback returns a channel that is closed as soon as the process that has made old has another
// link up to this one, and a function to be called when that is no longer awaited.
func (u *upLinks) comeback(old *link.Link) (made <-chan struct{}, leave func()) {
	if old.Dialed() {
		return nil, func() {}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	id := old.Instance()
	back := u.returns[id]
	if back == nil {
		back = &comeback{made: make(chan struct{})}
		for l := range u.all {
			if l != old && !l.Dialed() && l.Instance() == id {
				close(back.made)
				return back.made, func() {}
			}
		}
		if u.returns == nil {
			u.returns = make(map[uint64]*comeback)
		}
		u.returns[id] = back
	}
	back.awaits++
	return back.made, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if back.awaits--; back.awaits == 0 && u.returns[id] == back {
			delete(u.returns, id)
		}
	}
}
