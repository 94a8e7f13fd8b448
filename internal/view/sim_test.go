package view

// sim_test.go runs nodes against a network and clocks that misbehave, all in one goroutine and in
// simulated time, so that a seed reproduces. Each node keeps entries as a cache would, of keys that
// it owns. Whatever happens, no node may find an entry valid that somebody else has written since;
// and when everything is well again the group must be whole.

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	simSeeds = flag.Int("view.seeds", 50, "histories to simulate")
	simSeed  = flag.Uint64("view.seed", 1, "the first of them")
	simTrace = flag.Bool("view.trace", false, "log each step of the histories")
)

const simKeys = 6

type simEvent struct {
	at, seq int64
	f       func()
}

// simQueue is a heap. That of the standard library would allocate for each event.
type simQueue []simEvent

func (q simQueue) less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}

func (q *simQueue) push(e simEvent) {
	h := append(*q, e)
	for i := len(h) - 1; i > 0 && h.less(i, (i-1)/2); i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
	*q = h
}

func (q *simQueue) pop() simEvent {
	h := *q
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], simEvent{}
	h = h[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h.less(child, least) {
				least = child
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*q = h
	return first
}

type sim struct {
	t        *testing.T
	r        *rand.Rand
	now      int64
	seq      int64
	queue    simQueue
	hosts    []*simHost // the latest of each name, by its number
	all      []*simHost // everyone who has not died
	byID     map[ID]*simHost
	idle     bool // nobody calls
	measures bool // what the nodes take
	warmUp   time.Duration
	replicas int // how many most want
	zones    int
	writing  int                         // one call of so many writes
	sets     map[[2]uint64][simKeys][]ID // by lineage and epoch
	agreed   map[[2]uint64]Adoption      // by lineage and epoch
	twins    bool                        // some are started while the one before them runs
	renews   bool                        // keep-alives take the asks for promises along
	cut      map[[2]int]bool
	last     map[[2]int]int64 // when the last message on the way arrives
	waits    map[[2]int][]func()
	links    int64
	starts   uint64
	calm     bool         // nothing breaks any more
	broken   int64        // when something last did, or was mended
	breaks   int          // what is yet to be mended
	never    map[int]bool // who never runs
	observes map[int]bool // who only asks
	number   map[string]int
	apart    bool         // there may be two groups that do not know of each other
	wrote    [simKeys]int // the last write that took effect
	bad      string
	counts   map[string]int
}

func (s *sim) at(d time.Duration, f func()) {
	s.seq++
	s.queue.push(simEvent{s.now + int64(d), s.seq, f})
}

// mend has something that is broken be mended in a while.
func (s *sim) mend(d time.Duration, f func()) {
	s.breaks++
	s.at(d, func() {
		s.breaks--
		s.broken = s.now
		f()
	})
}

func (s *sim) logf(format string, args ...any) {
	if *simTrace {
		s.t.Logf("%9.3f "+format, append([]any{float64(s.now) / 1e9}, args...)...)
	}
}

func (s *sim) rand(d time.Duration) time.Duration { return time.Duration(s.r.Int64N(int64(d))) }

// inOrder holds up what arrives while the way is cut.
func (s *sim) inOrder(key [2]int, f func()) func() {
	return func() {
		if !s.cut[key] && len(s.waits[key]) == 0 {
			f()
			return
		}
		s.waits[key] = append(s.waits[key], f)
		if len(s.waits[key]) > 1 {
			return
		}
		var poll func()
		poll = func() {
			if s.cut[key] {
				s.at(20*time.Millisecond, poll)
				return
			}
			all := s.waits[key]
			s.waits[key] = nil
			for _, f := range all {
				f()
			}
		}
		s.at(20*time.Millisecond, poll)
	}
}

// retire has a host own nothing any more for a while, and then leave.
func (s *sim) retire(h *simHost) {
	if h.dead || h.paused {
		return
	}
	s.logf("%v is about to leave", h.id)
	s.counts["retires"]++
	h.self.Weight = 0
	h.node.SetSelf(h.self)
	began := s.now
	var wait func()
	wait = func() {
		owns := h.view.Has(h.id) && !h.view.Members[h.view.Index(h.id)].isLeaving()
		switch {
		case !owns:
			for range 1 + s.r.IntN(20) {
				s.at(s.rand(time.Second), func() {
					h.run(func() {
						for k := range simKeys {
							h.push(k)
						}
					})
				})
			}
			s.at(s.rand(time.Second), func() { h.run(func() { s.leave(h) }) })
		case s.now-began > int64(3*time.Second):
			s.leave(h)
		default:
			s.at(10*time.Millisecond, func() { h.run(wait) })
		}
	}
	wait()
}

func (s *sim) leave(h *simHost) {
	if h.dead || h.paused {
		return
	}
	s.logf("%v leaves", h.id)
	s.counts["leaves"]++
	lends := slices.ContainsFunc(slices.Collect(maps.Values(h.lent)), func(to map[ID]int64) bool { return len(to) > 0 })
	done := h.node.Leave(!lends)
	var wait func()
	began := s.now
	wait = func() {
		select {
		case <-done:
			h.crash()
			return
		default:
		}
		if s.now-began > int64(2*time.Second) {
			h.crash()
			return
		}
		s.at(10*time.Millisecond, func() { h.run(wait) })
	}
	wait()
}

func (s *sim) fault(lists [][]int) {
	if s.calm {
		return
	}
	s.at(200*time.Millisecond+s.rand(3*time.Second), func() { s.fault(lists) })
	n := len(s.hosts)
	i := s.r.IntN(n)
	h := s.hosts[i]
	s.broken = s.now
	restart := func() {
		s.mend(s.rand(6*time.Second), func() {
			if s.hosts[i] == h {
				s.start(i, lists[i])
			}
		})
	}
	switch s.r.IntN(10) {
	case 9: // it becomes another member
		if !h.dead && !h.observes && !h.self.isLeaving() {
			h.self.Replicas, h.self.Zone = 1+s.r.IntN(3), string(rune('a'+s.r.IntN(s.zones)))
			s.logf("%v becomes %v", h.id, h.self)
			h.node.SetSelf(h.self)
		}
	case 0, 1:
		d := s.rand(8 * time.Second)
		if s.r.IntN(2) == 0 {
			d = s.rand(2600 * time.Millisecond)
		}
		h.pause(d)
	case 2, 3:
		side := s.r.IntN(1 << n)
		oneWay := s.r.IntN(4) == 0
		var cuts [][2]int
		for a := range n {
			for b := range n {
				if side>>a&1 == 1 && side>>b&1 == 0 {
					cuts = append(cuts, [2]int{a, b})
					if !oneWay {
						cuts = append(cuts, [2]int{b, a})
					}
				}
			}
		}
		s.logf("cut %b, one way %v", side, oneWay)
		s.cutFor(cuts, s.rand(7*time.Second))
	case 4:
		j := s.r.IntN(n)
		if i != j {
			s.logf("cut %d %d", i, j)
			s.cutFor([][2]int{{i, j}, {j, i}}, s.rand(5*time.Second))
		}
	case 5, 8:
		if !h.dead && !h.paused {
			h.crash()
			restart()
		}
	case 6:
		if s.twins {
			s.twin(i, lists[i])
		}
	case 7:
		if !h.dead && !h.paused {
			if s.r.IntN(2) == 0 {
				s.leave(h)
			} else {
				s.retire(h)
			}
			var again func()
			again = func() {
				switch {
				case !h.dead:
					s.mend(100*time.Millisecond, again)
				case s.hosts[i] == h:
					s.start(i, lists[i])
				}
			}
			s.mend(s.rand(6*time.Second), again)
		}
	}
}

// twin starts a process of a name although the one before it runs on, perhaps cut off.
func (s *sim) twin(i int, list []int) {
	old := s.hosts[i]
	if old.dead || old.paused {
		return
	}
	s.counts["twins"]++
	old.place, old.hears = len(s.hosts)+int(s.starts), false
	if s.r.IntN(2) == 0 {
		var cuts [][2]int
		for j := range 200 {
			cuts = append(cuts, [2]int{old.place, j}, [2]int{j, old.place})
		}
		s.cutFor(cuts, s.rand(8*time.Second))
	}
	s.start(i, list)
	if s.r.IntN(3) > 0 {
		s.mend(s.rand(15*time.Second), func() {
			if !old.dead {
				old.crash()
			}
		})
	}
}

func (s *sim) cutFor(cuts [][2]int, d time.Duration) {
	for _, c := range cuts {
		s.cut[c] = true
	}
	s.mend(d, func() {
		for _, c := range cuts {
			delete(s.cut, c)
		}
		s.logf("healed")
	})
}

// until runs the events up to a time.
func (s *sim) until(end time.Duration) {
	for len(s.queue) > 0 && s.bad == "" && s.queue[0].at <= int64(end) {
		e := s.queue.pop()
		s.now = e.at
		// A link that has been silent for a lease breaks.
		e.f()
	}
	s.now = int64(end)
}

// whole returns why not everybody acts in one view; "" if they do.
func (s *sim) whole() string {
	var first *View
	for _, h := range s.all {
		if s.hosts[h.i] != h && (h.leased() || h.notes[Replaced] == 0) { // it runs although there is a newer one
			return fmt.Sprintf("%v does not know that it is replaced", h.id)
		}
	}
	for i, h := range s.hosts {
		switch {
		case s.never[i]:
			continue
		case h == nil || h.dead || !h.hears:
			return "not all run"
		case h.view == nil || h.view.Has(h.id) == h.observes:
			return fmt.Sprintf("%v has no place", h.id)
		case len(h.view.Members) != len(s.hosts)-len(s.never)-len(s.observes):
			return fmt.Sprintf("%v has %d members", h.id, len(h.view.Members))
		case !h.observes && h.view.Members[h.view.Index(h.id)] != h.self:
			return fmt.Sprintf("%v is taken for what it was", h.id)
		}
		if first == nil {
			first = h.view
		}
		switch {
		case h.view.Epoch != first.Epoch || h.view.Lineage != first.Lineage:
			return fmt.Sprintf("%v goes by another view", h.id)
		case !h.leased() && !h.observes:
			return fmt.Sprintf("%v may not act", h.id)
		case !h.settled:
			return fmt.Sprintf("the view has not settled at %v", h.id)
		}
	}
	return ""
}

// dump logs what each node thinks.
func (s *sim) dump() {
	for _, h := range s.hosts {
		if h == nil || h.dead {
			continue
		}
		n := h.node
		var view []Member
		epoch := uint64(0)
		if n.view != nil {
			view, epoch = n.view.Members, n.view.Epoch
		}
		s.logf("%v: epoch %d %v settled %v; links %v; linked %v; founding %+v; joins %v; promised %d accepted %v blocked %v; round %+v; learning %+v; evidence %v; need %v rank %d newest %v release %d %d",
			h.id, epoch, view, n.settled, h.links, n.linked(), n.found, n.joins, n.promised, n.accView, n.blocked, n.round, n.learning,
			func() []evidence {
				if n.isMember() {
					return n.evidence(h.now())
				}
				return nil
			}(), n.need, func() int {
				if n.isMember() {
					return n.rank(h.now())
				}
				return -1
			}(), n.newest, n.release, n.released)
	}
}

func newSim(t *testing.T, seed uint64, n int) *sim {
	s := &sim{
		t: t, r: rand.New(rand.NewPCG(seed, 7)), cut: make(map[[2]int]bool), last: make(map[[2]int]int64),
		waits: make(map[[2]int][]func()), hosts: make([]*simHost, n), counts: make(map[string]int), never: make(map[int]bool),
		agreed: make(map[[2]uint64]Adoption), sets: make(map[[2]uint64][simKeys][]ID), replicas: 1, zones: 1, writing: 3, byID: make(map[ID]*simHost), observes: make(map[int]bool), number: make(map[string]int),
	}
	for i := range n {
		s.number[simName(i)] = i
	}
	return s
}

func simName(i int) string {
	if i < 26 {
		return string(rune('a' + i))
	}
	return fmt.Sprintf("n%04d", i)
}

// breakSilent breaks links over which nothing has been heard for a lease, as the links themselves
// do.
func (s *sim) breakSilent() {
	s.at(100*time.Millisecond, s.breakSilent)
	for _, h := range s.all {
		if h.paused {
			continue
		}
		isSilent := func(id ID, link int64) bool {
			o := s.byID[id]
			return o.links[h.id] != link || s.cut[[2]int{o.place, h.place}] || o.paused
		}
		var silent []ID
		for id, link := range h.links {
			if isSilent(id, link) {
				silent = append(silent, id)
			}
		}
		slices.SortFunc(silent, func(a, b ID) int { return cmp.Compare(a.Instance, b.Instance) })
		for _, id := range silent {
			link := h.links[id]
			s.at(Lease, func() {
				h.run(func() {
					if h.links[id] == link && isSilent(id, link) {
						h.down(id)
					}
				})
			})
		}
	}
}

// recover runs the events until all is mended and the group has been whole for a while. It returns
// how long that took after the last fault.
func (s *sim) recover() (took time.Duration) {
	since := int64(-1)
	for s.bad == "" && (s.breaks > 0 || since < 0 || s.now < since+int64(2*time.Second)) {
		s.until(time.Duration(s.now) + 50*time.Millisecond)
		why := s.whole()
		switch {
		case why != "":
			since = -1
		case since < 0:
			since = s.now
		}
		if s.breaks == 0 && since < 0 && s.bad == "" && s.now > s.broken+int64(recovered) {
			s.dump()
			s.bad = "not whole in the end: " + why
		}
	}
	return time.Duration(max(0, since-s.broken))
}

// coolDown sees that a warm view ends, and that nothing changes any more then.
func (s *sim) coolDown() {
	if s.bad != "" || s.warmUp == 0 {
		return
	}
	epochs := make(map[uint64]bool)
	for range 2 {
		s.until(time.Duration(s.now) + s.warmUp + 2*time.Second)
		why := s.whole()
		for _, h := range s.hosts {
			if h.node.warm {
				why = fmt.Sprintf("%v goes by a warm view", h.id)
			}
			epochs[h.view.Epoch] = true
		}
		if s.bad == "" && why != "" {
			s.dump()
			s.bad = "after the warm-up " + why
		}
	}
	if s.bad == "" && len(epochs) != 1 {
		s.bad = "the view has changed again"
	}
}

// recovered is how long after the last fault a group is whole again.
const recovered = 15 * time.Second

func TestSimulation(t *testing.T) {
	defer func(n int) { maxVoters = n }(maxVoters)
	counts := make(map[string]int)
	var took []time.Duration
	failed := 0
	for seed := *simSeed; seed < *simSeed+uint64(*simSeeds) && failed < 20; seed++ {
		n := 3 + int(seed%3)
		s := newSim(t, seed, n)
		if seed%3 == 0 {
			s.warmUp = 2 * time.Second
		}
		s.replicas, s.zones = 1+s.r.IntN(3), 1+s.r.IntN(3)
		s.writing = []int{3, 3, 20, 80}[s.r.IntN(4)]
		s.twins, s.renews = seed%2 == 0, seed%4 == 3
		if seed%5 == 0 {
			s.observes[n-1] = true
		}
		if maxVoters = 7; seed%4 == 1 {
			maxVoters = 3
		}
		lists := all(n)
		for i := range n {
			s.start(i, lists[i])
		}
		s.at(0, s.breakSilent)
		s.until(3 * time.Second)
		if why := s.whole(); s.bad == "" && why != "" {
			s.dump()
			s.bad = "after the start " + why
		}
		s.fault(lists)
		s.until(40 * time.Second)
		s.calm = true
		took = append(took, s.recover())
		if last := took[len(took)-1]; last > recovered/3 {
			t.Logf("seed %d: whole after %v", seed, last)
		}
		s.coolDown()
		if s.bad != "" {
			t.Errorf("seed %d (%d processes): %s", seed, n, s.bad)
			failed++
		}
		for k, c := range s.counts {
			counts[k] += c
		}
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))] }
	t.Log(counts)
	t.Logf("whole after the last fault: median %v, p99 %v, p99.9 %v, at most %v", at(0.5), at(0.99), at(0.999), at(1))
}
