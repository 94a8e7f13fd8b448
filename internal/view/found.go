package view

// found.go is how a process without a view comes to one: it founds one together with those who have
// none either, or joins the one that there is.

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// founding is what a process knows that has no view.
type founding struct {
	listed  map[string]Member // by name, without this process
	known   bool              // there has been a list
	names   []string          // of those, sorted
	refusal map[string]int64  // when the address of one of them last refused a connection
	reached int64             // when this process was last known to be reached under its URL; -1: never
	finds   bool              // it is able to reach itself
	attempt uint64            // to found a view; 0: none is under way
	began   int64
	sought  int64
	ok      map[string]consent // who takes part
	tried   map[string]int64   // since when this process has wanted a link to one of them
	bound   ID                 // to whom this process has said that it takes part
	until   int64              // until when
}

// A consent is somebody's word that it takes part in a founding.
type consent struct {
	member Member
	at     int64
}

func (f *founding) takesPart(name string, now int64) bool {
	c, ok := f.ok[name]
	return ok && now-c.at < int64(boundFor)
}

// isMissing reports whether somebody who is listed neither takes part nor is known not to run: its
// address has to have refused a connection since the attempt began and this process last stood
// still, and not too long ago, as meanwhile it may have been started again.
func (n *Node) isMissing(name string, now int64) bool {
	f := &n.found
	at, refused := f.refusal[name]
	return !f.takesPart(name, now) && !(refused && at >= max(f.began, n.lateAt) && now-at < int64(shownFor))
}

func (f *founding) refused(name string, now int64) {
	if f.refusal == nil {
		f.refusal = make(map[string]int64)
	}
	f.refusal[name] = now
}

func (f *founding) end() {
	f.attempt, f.ok, f.until, f.tried = 0, nil, 0, nil
}

// List says whom this process knows of: whom to contact, no more. Members of negative weight only
// ask.
func (n *Node) List(members []Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.found.listed)
	n.found.known = true
	for _, m := range members {
		if m.Name != n.self.Name && m.Weight >= 0 && m.URL != "" {
			n.found.listed[m.Name] = m
		}
	}
	n.found.names = slices.Sorted(maps.Keys(n.found.listed))
}

// Unlist says that a process is not of this group, although it was listed.
func (n *Node) Unlist(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.found.unlist(name)
}

func (f *founding) unlist(name string) {
	if _, ok := f.listed[name]; ok {
		delete(f.listed, name)
		f.names = slices.DeleteFunc(f.names, func(s string) bool { return s == name })
	}
}

// Reached says that this process has been reached under its own URL just now, by itself or by
// another one: whoever lists it can reach it. If it is able to reach itself that has to be said
// again and again.
func (n *Node) Reached(byItself bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f, now := &n.found, n.cfg.Now()
	first := f.reached < 0
	f.reached, f.finds = now, f.finds || byItself
	if first {
		n.look(now)
	}
}

// speaks reports whether this process may speak for its name when a view is founded: not if a newer
// one is at its URL, or may be, as that one may have a place in a view.
func (n *Node) speaks(now int64) bool {
	f := &n.found
	return f.reached >= 0 && (!f.finds || now-f.reached < int64(shownFor)) && !n.me.replaced
}

// patience is how long a founder waits for those who do not answer, before a majority is enough. Of
// those who are silent one may still act in a view that is all its own: then there are two groups
// until they meet. But a machine that has died for good must not keep the others from a new start.
const patience = 30 * time.Second

const (
	// boundFor is for how long somebody is bound to a founder to whom it has said that it takes
	// part.
	boundFor = 2 * askEvery
	// shownFor is for how long it counts that this process has reached itself, and that an address
	// has refused a connection, both of which it tries every second.
	shownFor = 3 * time.Second
)

// tryFounding founds a view if nobody who is listed has a place in one, nor anybody who was in the
// last one that this process knew, and all take part or do not run.
func (n *Node) tryFounding(now int64) {
	f := &n.found
	if n.self.isLeaving() || !n.speaks(now) || !f.known || now < f.until && f.bound.Name < n.self.Name {
		return
	}
	if f.attempt == 0 {
		f.attempt, f.began, f.ok = n.cfg.Random()|1, now, make(map[string]consent)
		f.sought = now - int64(askEvery)
	}
	if now-f.sought >= int64(askEvery) {
		f.sought = now
		for _, id := range n.linked() {
			n.seek(id)
		}
	}
	missing, part := 0, 1 // of those who are listed
	for name := range f.listed {
		if f.takesPart(name, now) {
			part++
		} else if n.isMissing(name, now) {
			missing++
		}
	}
	members := []Member{n.self}
	for name, c := range f.ok {
		if f.takesPart(name, now) {
			members = append(members, c.member)
		}
	}
	if len(members) < n.cfg.MinMembers || missing > 0 && (now-f.began < int64(patience) || 2*part <= len(f.listed)+1) {
		return
	}
	if !n.isPast(now) {
		return
	}
	v := &View{First: true, Lineage: n.cfg.Random() | 1, Founded: n.cfg.Wall(), Members: members}
	v.Epoch = v.Founded
	quiet := time.Duration(0)
	if n.known > 0 { // what was lent under the last view may still be used
		v.Epoch = max(v.Epoch, n.known+rebirth)
		v.Abrupt = true
		quiet = given
	}
	slices.SortFunc(v.Members[1:], func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	for room := roomBeside(v.Members); room < 0; {
		n.note(TooLong)
		last := len(v.Members) - 1
		room += roomOf(&v.Members[last])
		v.Members = v.Members[:last]
	}
	v.index()
	n.adopt(v, nil, false, quiet)
	n.note(Founded)
	n.pushLearn(now)
}

// isPast reports whether nobody can have a place any more in the last view that this process knew:
// some may hold to it, and only be out of reach.
func (n *Node) isPast(now int64) bool {
	for _, last := range [...]*View{n.view, n.lost} {
		if last == nil {
			continue
		}
		for _, m := range last.Members {
			p := n.peer(m.ID)
			_, refuses := n.found.refusal[m.Name]
			switch {
			case m.ID == n.self.ID:
			case m.Name == n.self.Name: // an earlier process of this name, which may run on
				if !p.gone && now-n.began < int64(orphaned) {
					return false
				}
			case p.links > 0: // it does not go by that view any more, or else this process would not be homeless
			case !p.isDead(now) && !(refuses && !p.replaced):
				return false
			}
		}
	}
	return true
}

func (n *Node) seek(to ID) {
	m := n.head(seek)
	m.at = int64(n.found.attempt)
	n.send(to, m)
}

func (n *Node) onSeek(from ID, m *message) {
	f, now := &n.found, n.cfg.Now()
	answer := n.head(seekNo)
	answer.at, answer.epoch = m.at, n.known
	switch {
	case n.isMember():
		n.tell(from, 0)
		return
	case n.self.URL != "" && !n.speaks(now):
		return
	case n.observes() || n.leaving || n.self.isLeaving():
		answer.kind, answer.member = seekOK, &n.self
	case !n.isHomeless() || !n.isPast(now): // somebody may have a place in a view
	case f.attempt != 0 && n.self.Name < from.Name:
		answer.ok = true
		if len(f.names) < large { // else so many would be asked at a time
			defer n.seek(from) // now it can take part
		}
	case now < f.until && f.bound != from && f.bound.Name < from.Name:
	default:
		f.end()
		f.bound, f.until = from, now+int64(boundFor)
		answer.kind, answer.member, answer.ok = seekOK, &n.self, true
	}
	n.send(from, answer)
}

func (n *Node) onSeekOK(from ID, m *message) {
	f := &n.found
	if f.attempt == 0 || uint64(m.at) != f.attempt || m.member.ID != from {
		return
	}
	if m.ok && !m.member.isLeaving() {
		f.ok[from.Name] = consent{*m.member, n.cfg.Now()}
	} else {
		f.unlist(from.Name)
	}
}

// onSeekNo gives way to somebody else who would found a view himself, which is what ok says. Names
// decide who does, so that all come to the same founder; that no two founders succeed is seen to
// when their views settle.
func (n *Node) onSeekNo(from ID, m *message) {
	f := &n.found
	if m.ok && f.attempt != 0 && uint64(m.at) == f.attempt && from.Name < n.self.Name {
		f.end()
		f.bound, f.until = from, n.cfg.Now()+int64(boundFor)
	}
}

// askToJoin asks the members of the view to take this process in.
func (n *Node) askToJoin(now int64) {
	if now-n.joined < int64(askEvery) {
		return
	}
	n.joined = now
	for _, v := range n.view.Voters() {
		n.sendJoin(v.ID)
	}
}

func (n *Node) sendJoin(to ID) {
	m := n.head(join)
	m.member, m.at = &n.self, n.cfg.Held()
	n.send(to, m)
}

func (n *Node) onJoin(from ID, m *message) {
	if !n.isMember() || m.member.ID != from || m.member.URL == "" {
		return
	}
	p := n.peer(from)
	p.gone, p.asked = false, max(p.asked, m.at) // it has left before, and has dropped everything since
	n.joins[from] = *m.member
	if !n.canJoin(from) {
		delete(n.joins, from)
		n.tell(from, 0)
		return
	}
	n.look(n.cfg.Now())
}
