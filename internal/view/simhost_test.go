package view

// simhost_test.go is a process in the simulation: what surrounds a Node there.

import (
	"fmt"
	"slices"
	"time"
)

// A simHost is a process.
type simHost struct {
	s        *sim
	i        int // of its name
	place    int // in the network
	name     string
	observes bool
	rate     float64
	offset   int64
	dead     bool
	paused   bool
	backlog  []func()
	links    map[ID]int64
	node     *Node
	id       ID
	hears    bool // its server runs
	changes  int  // of view

	// As a cache has them.
	view, prev *View
	settled    bool
	self       Member
	views      map[uint64]*View
	entries    map[int]simEntry
	copies     map[int]simCopy
	lent       map[int]map[ID]int64 // until when
	writing    map[int]bool
	commits    [simKeys]int
	recalled   map[int]int64 // when
	notes      map[Event]int
	cpu        time.Duration
	messages   int
	bytes      int
	quietUntil int64
	quietPrev  *View
	quietAll   bool
}

func (h *simHost) now() int64 { return h.offset + int64(float64(h.s.now)*h.rate) }

// run executes f at the host: later, if it stands still.
func (h *simHost) run(f func()) {
	switch {
	case h.dead:
	case h.paused:
		h.backlog = append(h.backlog, f)
	case h.s.measures:
		began := cpuTime()
		f()
		h.cpu += cpuTime() - began
	default:
		f()
	}
}

func (s *sim) start(i int, lists []int) *simHost {
	s.starts++
	h := &simHost{
		s: s, i: i, place: i, name: simName(i), rate: 1 + (s.r.Float64()-0.5)*0.008, offset: 1 + s.r.Int64N(int64(time.Second)),
		links: make(map[ID]int64), copies: make(map[int]simCopy), lent: make(map[int]map[ID]int64), writing: make(map[int]bool), recalled: make(map[int]int64), notes: make(map[Event]int), views: make(map[uint64]*View), entries: make(map[int]simEntry),
	}
	h.id = ID{h.name, s.starts}
	s.hosts[i], s.byID[h.id] = h, h
	s.all = append(s.all, h)
	h.observes = s.observes[i]
	wall := uint64(1_000_000 + s.r.IntN(5000))
	self := Member{ID: h.id, URL: "http://" + h.name, Weight: 1, Replicas: s.replicas, Zone: string(rune('a' + i%s.zones))}
	if h.observes {
		self.Weight = -1
	}
	h.self = self
	h.node = New(Config{
		Self: self, Now: h.now, Held: h.now, Wall: func() uint64 { return wall + uint64(s.now/1e6) }, Random: s.r.Uint64,
		Send: h.send, Adopt: h.adopt, Settled: func(uint64) { h.settled = true }, Release: h.release, Note: h.note,
		WarmUp: s.warmUp,
	})
	var list []Member
	for _, l := range lists {
		name := simName(l)
		list = append(list, Member{ID: ID{Name: name}, URL: "http://" + name, Weight: 1})
	}
	h.node.List(list)
	s.logf("%v starts", h.id)
	s.at(s.rand(200*time.Millisecond), func() {
		h.run(func() { h.hears = true; h.find() })
	})
	var tick func()
	tick = func() {
		s.at(h.node.Tick()+s.rand(10*time.Millisecond), func() { h.run(tick) })
	}
	s.at(s.rand(50*time.Millisecond), func() { h.run(tick) })
	var dial func()
	dial = func() {
		for _, m := range h.node.Wanted() {
			h.dial(s.number[m.Name])
		}
		s.at(50*time.Millisecond+s.rand(50*time.Millisecond), func() { h.run(dial) })
	}
	s.at(s.rand(50*time.Millisecond), func() { h.run(dial) })
	if s.renews {
		h.renew()
	}
	if s.idle {
		return h
	}
	var work func()
	work = func() {
		if h.dead {
			return
		}
		if !h.paused {
			h.work()
		}
		s.at(time.Millisecond+s.rand(20*time.Millisecond), work)
	}
	s.at(s.rand(50*time.Millisecond), work)
	return h
}

// find has the host call at its own URL, now and again: the latest one of its name answers, if the
// way there is not cut.
func (h *simHost) find() {
	s, there := h.s, h.s.hosts[h.i]
	if !s.cut[[2]int{h.place, there.place}] && !s.cut[[2]int{there.place, h.place}] {
		s.at(s.rand(50*time.Millisecond), func() {
			h.run(func() {
				switch there := s.hosts[h.i]; {
				case there == h:
					h.node.Reached(true)
				case there.hears && !there.dead && !there.paused:
					h.dial(h.i)
				}
			})
		})
	}
	pause := 5 * time.Second
	if homeless, _ := h.node.Founding(); homeless {
		pause = time.Second
	}
	s.at(pause/2+s.rand(pause/2), func() { h.run(h.find) })
}

// renew has keep-alives sent over the links of a host, as the links themselves do.
func (h *simHost) renew() {
	h.s.at(500*time.Millisecond+h.s.rand(60*time.Millisecond), func() {
		h.run(func() {
			if !h.s.renews {
				return
			}
			for _, id := range h.node.linked() {
				h.node.Renew(id)
			}
			h.renew()
		})
	})
}

func (h *simHost) dial(i int) {
	s, to := h.s, h.s.hosts[i]
	place := i
	if to != nil {
		place = to.place
	}
	switch {
	case to == h || to != nil && h.links[to.id] != 0 || s.cut[[2]int{h.place, place}] || s.cut[[2]int{place, h.place}]:
		return
	case to == nil || to.dead || !to.hears:
		h.node.Refused(simName(i))
		return
	case to.paused:
		return
	}
	to.down(h.id)
	s.links++
	h.links[to.id], to.links[h.id] = s.links, s.links
	h.node.LinkUp(to.id)
	to.node.LinkUp(h.id)
}

func (h *simHost) down(id ID) {
	if h.links[id] != 0 {
		delete(h.links, id)
		h.node.LinkDown(id)
	}
}

func (h *simHost) send(to ID, b []byte) {
	h.messages++
	h.bytes += len(b)
	b = slices.Clone(b)
	h.over(to, func(t *simHost) {
		if err := t.node.Receive(h.id, b); err != nil {
			h.s.bad = err.Error()
		}
	})
}

// over has another host do something when a message over the link to it arrives.
func (h *simHost) over(to ID, f func(t *simHost)) {
	s, t, link := h.s, h.s.byID[to], h.links[to]
	if link == 0 {
		return
	}
	key := [2]int{h.place, t.place}
	d := 100*time.Microsecond + s.rand(3*time.Millisecond)
	if s.r.IntN(50) == 0 {
		d = s.rand(60 * time.Millisecond)
	}
	arrives := max(s.now+int64(d), s.last[key]+1)
	s.last[key] = arrives
	s.at(time.Duration(arrives-s.now), s.inOrder(key, func() {
		t.run(func() {
			if t.links[h.id] == link {
				f(t)
			}
		})
	}))
}

func (h *simHost) adopt(a Adoption) {
	now := h.now()
	h.changes++
	h.view, h.prev, h.settled = a.View, a.Former, false
	if a.Anew {
		clear(h.entries)
		clear(h.views)
		clear(h.copies)
	}
	h.quietUntil, h.quietPrev, h.quietAll = now+int64(a.Quiet), a.QuietPrev, a.QuietAll
	if a.View == nil {
		h.s.logf("%v has no view", h.id)
		return
	}
	h.checkFormer(a)
	h.views[a.View.Epoch] = a.View
	if a.View.Reborn { // nothing lay between
		for e := a.Former.Epoch + 1; e < a.View.Epoch; e++ {
			h.views[e] = a.View
		}
	}
	h.s.counts["adoptions"]++
	h.s.logf("%v goes by epoch %d %v, anew %v", h.id, a.View.Epoch, a.View.Members, a.Anew)
}

// checkFormer sees that all know the same view before each one, and none before a first one.
func (h *simHost) checkFormer(a Adoption) {
	s, id := h.s, [2]uint64{a.View.Lineage, a.View.Epoch}
	if _, ok := s.agreed[id]; !ok {
		s.agreed[id] = a
	}
	is := func(v, of *View) bool {
		return v == of || v != nil && of != nil && v.Lineage == of.Lineage && v.Epoch == of.Epoch && slices.Equal(v.Members, of.Members)
	}
	switch was := s.agreed[id]; {
	case !is(a.View, was.View) || !is(a.Former, was.Former) || a.View.First != (a.Former == nil):
		s.bad = fmt.Sprintf("%v goes by %v after %v; another one by %v after %v", h.id, a.View, a.Former, was.View, was.Former)
	case a.View.First && slices.ContainsFunc(a.View.Members, func(m Member) bool { return m.isLeaving() }):
		s.bad = fmt.Sprintf("%v has been founded with somebody who is leaving", a.View)
	}
}

// note looks whether somebody has a place in a view that the founder could have known of. It could
// not if that one's view needs a process that runs on although a newer one has its address, and has
// yet to find that out: then there are two groups until they meet. And nobody acts in a view that
// counts on somebody who has a place elsewhere.
func (h *simHost) note(e Event) {
	s := h.s
	if h.notes[e]++; h.notes[e] > 1 && e != Founded && e != Dissolved {
		s.bad = fmt.Sprintf("%v notes %d again", h.id, e)
	}
	if e != Founded {
		return
	}
	s.counts["founded"]++
	hidden := func(m Member) bool {
		o := s.byID[m.ID]
		return o != nil && !o.dead && s.hosts[o.i] != o
	}
	var elsewhere *simHost
	apart := false
	for _, o := range s.all {
		if o == h || o.view == nil || !o.view.Has(o.id) || !o.settled && o.view.First || !o.leased() && !o.paused && s.hosts[o.i] == o {
			continue
		}
		if h.view.Has(o.id) {
			s.counts["founded in vain"]++
			return
		}
		if slices.ContainsFunc(o.view.Voters(), hidden) {
			apart = true
		} else {
			elsewhere = o
		}
	}
	switch {
	case elsewhere != nil && !s.apart:
		s.bad = fmt.Sprintf("%.3f: %v founds although %v has a place", float64(s.now)/1e9, h.id, elsewhere.id)
	case elsewhere != nil || apart:
		s.counts["founded apart"]++
		s.apart = true
	}
}

func (h *simHost) crash() {
	h.dead = true
	s := h.s
	s.all = slices.DeleteFunc(s.all, func(o *simHost) bool { return o == h })
	s.logf("%v crashes", h.id)
	for _, o := range s.all {
		if o.links[h.id] == 0 {
			continue
		}
		link := o.links[h.id]
		var reset func()
		reset = func() {
			if s.cut[[2]int{h.place, o.place}] {
				s.at(50*time.Millisecond, reset)
				return
			}
			o.run(func() {
				if o.links[h.id] == link {
					delete(o.links, h.id)
					o.node.LinkEnded(h.id)
				}
			})
		}
		s.at(s.rand(5*time.Millisecond), reset)
	}
}

func (h *simHost) pause(d time.Duration) {
	if h.paused || h.dead {
		return
	}
	h.paused = true
	h.s.logf("%v stands still for %v", h.id, d)
	h.s.mend(d, func() {
		h.paused = false
		h.s.logf("%v goes on", h.id)
		for range 20 { // callers come first
			h.work()
		}
		for len(h.backlog) > 0 && !h.paused {
			f := h.backlog[0]
			h.backlog = h.backlog[1:]
			h.run(f)
			h.work()
		}
	})
}
