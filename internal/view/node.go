package view

// node.go is a process's part in the agreement: what it knows of the others, and what it does at
// each tick.

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Times that all processes of a group have to agree on.
const (
	// Lease is how long a promise lasts, and what is lent under it.
	Lease = 2 * time.Second
	// given is how long whoever has given a promise waits for it to be over.
	given = Lease + Lease/100
	// askEvery is the pause between two asks for a promise.
	askEvery = 500 * time.Millisecond
	// suspect is how long a member may be silent.
	suspect = 1250 * time.Millisecond
)

const (
	// TickEvery is the longest pause between two calls of Tick.
	TickEvery = 50 * time.Millisecond
	// late is the pause between two ticks from which on this process is to blame for a silence, and
	// not the others; for blameFor.
	late     = 400 * time.Millisecond
	blameFor = 1500 * time.Millisecond
	// gather is how long the most senior member waits for more that has to change; if somebody is
	// dead, gatherDeaths, so that others see it, too.
	gather       = 100 * time.Millisecond
	gatherDeaths = 20 * time.Millisecond
	// joinPause is how long after a change a large group waits with processes that would join: many
	// come at a time, and each change is work for all.
	joinPause = 1200 * time.Millisecond
	large     = 16
	// nextRank is by how much later than the one before it each member proposes.
	nextRank = 300 * time.Millisecond
	// roundFor bounds a round of the agreement.
	roundFor = 3 * time.Second
	// infancy is how long a founder waits for all to adopt its view.
	infancy = 5 * time.Second
	// repeat is the pause between two messages that say the same to somebody who has not answered.
	repeat = 200 * time.Millisecond
	// orphaned is after what silence somebody is dead whose address refuses connections, or leads
	// to a newer process of its name: whoever started that one says so.
	orphaned = 10 * time.Second
	// burst bounds how many bytes of views are sent between two ticks.
	burst = 2 << 20
)

// A Config is what a Node needs. Its functions are called under the node's lock: they must neither
// block nor call the node.
type Config struct {
	Self Member // Weight < 0: it only asks, and is never a member

	// Now tells the time by which promises end that this process has given, in nanoseconds, and
	// Held the time by which those end that it has got. Held is never behind Now.
	Now, Held func() int64
	// Wall is the wall clock, in milliseconds since 1970.
	Wall func() uint64
	// Random draws a number.
	Random func() uint64

	// Send sends a message to a process that is linked. It may be lost.
	Send func(to ID, message []byte)
	// Adopt is told that this process goes by another view from now on.
	Adopt func(Adoption)
	// Settled is told that the view of that epoch, which is the present one, has settled.
	Settled func(epoch uint64)
	// Release has this process give back what it lent and no longer answers for by the present
	// view. When that is done the node has to be told by [Node.Released].
	Release func(epoch uint64)
	// Note is told what an operator should know, once.
	Note func(Event)

	// MinMembers is how many members a first view has at least; 0 means 1.
	MinMembers int
	// WarmUp is how long after a warm view has settled one with the same members follows it, in
	// which nobody is a former owner; 0: only the next change ends it.
	WarmUp time.Duration
}

// An Adoption is a change of the view that a process goes by.
type Adoption struct {
	View   *View // nil: there is none; its lineage has been dissolved
	Former *View // the one before it, whether this process went by that or not; nil: View is First, or nil
	// Anew says that nothing that was stored before is worth anything, since this process may have
	// missed what happened meanwhile.
	Anew bool
	// Quiet is how long what was lent by members who are gone may still be used. Unless QuietAll,
	// that concerns only what this process did not own by QuietPrev.
	Quiet     time.Duration
	QuietPrev *View
	QuietAll  bool
	Settled   bool
}

// An Event is something that an operator should know.
type Event uint8

const (
	// Founded says that this process has founded a view.
	Founded Event = iota + 1
	// Replaced says that a newer process goes by this one's name. This one has no part in the group
	// any more.
	Replaced
	// Dissolved says that this process's lineage has given way to another one.
	Dissolved
	// TooLong says that members were not taken in since the view would be too long.
	TooLong
	// Doubled says that two processes that both run go by one name. The older one has no part in
	// the group any more.
	Doubled
)

// A Node is a process's part in a group. Its methods may be called concurrently.
type Node struct {
	cfg Config

	until atomic.Int64 // as long as Held is less this process may act

	mu        sync.Mutex
	self      Member
	view      *View // nil: none is known
	prev      *View // the one before it; nil: it is First
	warm      bool  // the view is, against that one
	settled   bool
	counted   bool
	quiet     int64 // until when loans of the dead may be used
	quietPrev *View // by which they were lent
	quietAll  bool  // they were lent by more than one
	retired   bool
	leaving   bool
	clean     bool          // it leaves nothing behind that it has lent
	left      chan struct{} // closed when others go on without this process
	noted     map[Event]bool

	me       *peer           // this process
	members  []*peer         // of view, by seniority
	former   []*peer         // of prev
	known    uint64          // the latest epoch that this process has heard of
	quit     map[uint64]bool // lineages in which this process has given up its place
	lastQuit uint64          // the last of them
	lost     *View           // the last view that was given up since its voters had all died

	peers       map[ID]*peer
	linkedNames map[string]int    // links by the name at the other end
	newest      map[string]uint64 // instance that goes by a name
	joins       map[ID]Member     // who wants to join
	found       founding

	// The acceptor of the next view.
	promised  uint64
	accBallot uint64
	accView   *View
	blocked   *View // would be accepted, were it not for a promise that still runs
	blockedAt int64 // when it was last asked to be

	round    *round
	need     int64 // since when a change is needed; 0: none is
	bereft   int64 // since when so many voters are dead that the others are no quorum; 0: they are
	learning *learning
	released uint64 // epoch for which Release is done
	release  uint64 // epoch for which it was called

	began     int64 // when this node came to be
	forgot    int64 // when it last dropped what no longer matters
	ticked    int64 // when the last one was
	lateAt    int64 // when one came late
	asked     int64 // when promises were last asked for
	adopted   int64 // when the view was
	settledAt int64 // when it had settled
	joined    int64 // when this process last asked to be taken in
	sent      int   // bytes of views since the last tick
}

// A peer is what a node knows of another process.
type peer struct {
	links     int
	heard     int64  // when its last message came
	promise   int64  // until when it has promised this process, by Held; 0: the link is down
	kept      int64  // the same, whatever became of the link, by Now
	given     int64  // until when this process has promised it
	asked     int64  // when it last asked as one of this lineage, or to be taken in, by its Held
	renewed   int64  // when it was last asked for a promise by Renew; 0: askAll asks it
	gone      bool   // it has said that it no longer acts
	clean     bool   // and has left nothing behind that it had lent
	refused   bool   // its address has refused a connection when there was no link
	reacted   int64  // when its view was last answered by this process's own
	refusedAt int64  // when it last did while there was one
	ended     bool   // its last link was closed or reset by its end: it has died, or no longer acts
	replaced  bool   // a newer process goes by its name
	lineage   uint64 // that it last said it goes by; 0: none
	said      bool   // it has
	dead      int64  // since when its death is known
}

// New returns a node that knows of no view.
func New(cfg Config) *Node {
	now := cfg.Now()
	n := &Node{
		cfg: cfg, self: cfg.Self.bounded(), began: now, ticked: now, lateAt: math.MinInt64 / 2, asked: math.MinInt64 / 2, joined: math.MinInt64 / 2,
		left:  make(chan struct{}),
		noted: make(map[Event]bool),
		peers: make(map[ID]*peer), linkedNames: make(map[string]int), quit: make(map[uint64]bool), newest: make(map[string]uint64), joins: make(map[ID]Member),
		found: founding{listed: make(map[string]Member), reached: -1},
	}
	n.newest[n.self.Name] = n.self.Instance
	n.me = n.peer(n.self.ID)
	return n
}

// Until returns the time up to which this process may act as a member of its view, by Config.Held;
// 0: it may not. It is one atomic load.
func (n *Node) Until() int64 { return n.until.Load() }

// View returns the view that this process goes by, nil if there is none, and whether it has
// settled.
func (n *Node) View() (v *View, settled bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.view, n.settled
}

// SetSelf changes what this process says about itself. Its ID stays.
func (n *Node) SetSelf(self Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	self.ID = n.self.ID
	n.self = self.bounded()
}

func (n *Node) observes() bool { return n.self.Weight < 0 || n.self.URL == "" }

func (n *Node) isMember() bool { return n.view.Has(n.self.ID) }

// peer returns what is known of a process.
func (n *Node) peer(id ID) *peer {
	p := n.peers[id]
	if p == nil {
		p = &peer{heard: math.MinInt64 / 2, replaced: n.newest[id.Name] > id.Instance}
		n.peers[id] = p
	}
	return p
}

func (n *Node) isUp(id ID) bool {
	p := n.peers[id]
	return p != nil && p.links > 0
}

// LinkUp notes one more link to a process over which messages can be sent.
func (n *Node) LinkUp(id ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if id == n.self.ID {
		return
	}
	p := n.peer(id)
	p.links++
	n.linkedNames[id.Name]++
	p.refused, p.ended, p.refusedAt = false, false, 0
	p.heard = n.cfg.Now()
	delete(n.found.refusal, id.Name)
	n.exists(id)
	if p.replaced {
		n.sendReplaced(id)
	}
	n.ask(id)
	switch {
	case n.found.attempt != 0:
		n.seek(id)
	case n.view != nil && !n.isMember() && !n.observes() && n.view.Has(id):
		n.sendJoin(id)
	}
}

// LinkDown notes that such a link is no more.
func (n *Node) LinkDown(id ID) { n.linkDown(id, false) }

// LinkEnded notes that such a link is no more as the other end has closed or reset it, which a
// process does that dies.
func (n *Node) LinkEnded(id ID) { n.linkDown(id, true) }

func (n *Node) linkDown(id ID, ended bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if id == n.self.ID {
		return
	}
	p := n.peer(id)
	if n.linkedNames[id.Name]--; n.linkedNames[id.Name] <= 0 {
		delete(n.linkedNames, id.Name)
	}
	if p.links--; p.links <= 0 {
		p.links, p.promise = 0, 0
		p.ended = ended
		p.refused = p.refused || p.refusedAt != 0 && n.cfg.Now()-p.refusedAt < int64(time.Second)
		n.count()
	}
}

// exists notes that there is, or was, a process. Older ones of its name have no part in the group
// any more.
func (n *Node) exists(id ID) {
	before := n.newest[id.Name]
	if id.Instance <= before {
		return
	}
	n.newest[id.Name] = id.Instance
	if before == 0 {
		return
	}
	for older, p := range n.peers {
		if older.Name == id.Name && older.Instance < id.Instance && !p.replaced {
			p.replaced = true
			if p == n.me {
				n.giveWay()
			} else {
				n.sendReplaced(older)
			}
		}
	}
}

// sendReplaced tells a process, if it still runs, that a newer one goes by its name.
func (n *Node) sendReplaced(id ID) {
	if n.isUp(id) {
		m := n.head(replaced)
		m.at = int64(n.newest[id.Name])
		n.send(id, m)
		n.note(Doubled)
	}
}

func (n *Node) onReplaced(m *message) {
	n.exists(ID{n.self.Name, uint64(m.at)})
}

// giveWay has this process act no more, as a newer one goes by its name.
func (n *Node) giveWay() {
	n.note(Replaced)
	if n.isMember() && len(n.view.Members) == 1 { // nobody is left who could see to it
		n.dissolve()
	}
	n.leave(false)
}

// linked returns the processes that messages can be sent to, in order, so that a simulation of the
// same seed does the same.
func (n *Node) linked() []ID {
	var all []ID
	for id, p := range n.peers {
		if p.links > 0 {
			all = append(all, id)
		}
	}
	slices.SortFunc(all, func(a, b ID) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Instance, b.Instance))
	})
	return all
}

// anyUp reports whether this process is linked to a member of its view that has not gone over to
// another lineage.
func (n *Node) anyUp() bool {
	return slices.ContainsFunc(n.members, func(p *peer) bool { return p != n.me && p.links > 0 && (!p.said || p.lineage == n.view.Lineage) })
}

// isInfant reports whether the view has not settled since it was founded: nobody has acted in it.
func (n *Node) isInfant() bool { return n.view != nil && n.view.First && !n.settled }

// live counts the members of the view that this process is linked to, and itself. It is 0 while
// this process may not act: where a quorum is missing there is nothing to keep.
func (n *Node) live() (live int) {
	if n.isInfant() || n.cfg.Held() >= n.until.Load() {
		return 0
	}
	for _, p := range n.members {
		if p == n.me || p.links > 0 {
			live++
		}
	}
	return live
}

// Receive takes a message from a process that is linked. It returns an error if the message is
// malformed; then the link should be closed.
func (n *Node) Receive(from ID, b []byte) error {
	m, err := parse(b)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peer(from)
	p.heard, p.lineage, p.said = n.cfg.Now(), m.lineage, true
	n.receive(from, m)
	return nil
}

func (n *Node) receive(from ID, m *message) {
	if m.view == nil && m.change != nil {
		if m.view, m.prev = n.resolve(m.change); m.view == nil && (m.kind == tell || m.kind == learn) {
			n.ask(from) // for all of it
			return
		}
	}
	n.known = max(n.known, m.epoch)
	if m.view != nil {
		n.known = max(n.known, m.view.Epoch)
	}
	switch m.kind {
	case ask:
		n.onAsk(from, m)
	case grant:
		n.onGrant(from, m)
	case tell:
		n.onTell(from, m)
	case prepare:
		n.onPrepare(from, m)
	case promise:
		n.onPromise(from, m)
	case accept:
		n.onAccept(from, m)
	case accepted:
		n.onAccepted(from, m)
	case learn:
		n.onLearn(from, m)
	case learnt:
		n.onLearnt(from, m)
	case settled:
		n.onSettled(m)
	case join:
		n.onJoin(from, m)
	case bye:
		n.onBye(from, m)
	case seek:
		n.onSeek(from, m)
	case seekOK:
		n.onSeekOK(from, m)
	case seekNo:
		n.onSeekNo(from, m)
	case replaced:
		n.onReplaced(m)
	}
}

// resolve returns the view that a change makes of one that this process knows, and that one; nil: it
// knows none of which.
func (n *Node) resolve(c *change) (v, prev *View) {
	if n.view != nil && n.view.Lineage == c.view.Lineage && n.view.Epoch == c.view.Epoch {
		return n.view, n.prev
	}
	for _, prev := range [...]*View{n.view, n.prev} {
		if v := c.apply(prev); v != nil {
			return v, prev
		}
	}
	return nil, nil
}

// Tick does what the time has come for, and returns after what time it is to be called again. It
// may be called at any other time.
func (n *Node) Tick() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.cfg.Now()
	n.sent = 0
	if now-n.ticked > int64(late) {
		n.lateAt = now
	}
	n.ticked = now
	if now-n.asked >= int64(askEvery) {
		n.asked = now
		n.askAll()
	}
	if n.isMember() {
		n.askLate(now)
	}
	if now-n.forgot >= int64(10*time.Second) {
		n.forgot = now
		n.forget(now)
	}
	n.look(now)
	if n.need != 0 {
		return TickEvery / 5
	}
	return TickEvery
}

// IsGone reports whether the member of that name is known to act no more, so that a view without it
// is to be expected.
func (n *Node) IsGone(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.view == nil {
		return false
	}
	i, ok := n.view.byName(name)
	if !ok {
		return false
	}
	p := n.members[i]
	return p.gone || p.refused || p.replaced || p.refusedAt != 0 && n.cfg.Now()-p.refusedAt < int64(time.Second)
}

// look does what has to be done about the view.
func (n *Node) look(now int64) {
	switch {
	case n.leaving && !n.isMember():
		n.hasLeft()
	case n.isMember():
		n.mind(now)
	case n.observes() || n.leaving:
	case n.isHomeless():
		n.tryFounding(now)
	default:
		n.askToJoin(now)
	}
}

// forget drops what is known of processes that no longer matter.
func (n *Node) forget(now int64) {
	matters := map[string]bool{n.self.Name: true}
	for name := range n.found.listed {
		matters[name] = true
	}
	for _, v := range [...]*View{n.view, n.prev} {
		if v != nil {
			for i := range v.Members {
				matters[v.Members[i].Name] = true
			}
		}
	}
	for id, p := range n.peers {
		switch {
		case p.links > 0:
			matters[id.Name] = true
		case now > p.given && now-p.heard > int64(time.Minute) && p != n.me && !n.view.Has(id) && !n.prev.Has(id):
			delete(n.peers, id)
		}
	}
	for name := range n.newest {
		if !matters[name] {
			delete(n.newest, name)
		}
	}
	for id := range n.joins {
		if !n.isUp(id) {
			delete(n.joins, id)
		}
	}
}

func (n *Node) note(e Event) {
	if !n.noted[e] {
		n.noted[e] = true
		n.cfg.Note(e)
	}
}
