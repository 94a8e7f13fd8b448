package covey

// group_notes.go tells operators what happens in the group: log lines and events.

import (
	"errors"
	"fmt"

	agreed "github.com/coveycache/covey/internal/view"
)

// noteView logs what an operator should know. It runs under the agreement's lock.
func (g *Group) noteView(e agreed.Event) {
	say := func(f func(string, ...any), msg string, args ...any) {
		g.journal.add(Event{Kind: EventNotice, Err: errors.New(msg)})
		g.spawn(func() { f(msg, append([]any{"self", g.opt.Name}, args...)...) })
	}
	switch e {
	case agreed.Founded:
		say(g.opt.Logger.Info, "covey: this process is the first of its group")
	case agreed.Replaced:
		g.replaced.Store(true)
		g.retired.Store(true) // before the others hear that it is leaving
		if g.self != nil {
			g.spawn(g.self.Close)
		}
		say(g.opt.Logger.Warn, "covey: a newer process goes by this one's name, so that this one is no member any more and stores nothing: if both are to be members they need different names")
	case agreed.Dissolved:
		say(g.opt.Logger.Warn, "covey: this process was in a group with others than it has met now, and joins those: what it stored is loaded anew")
	case agreed.Doubled:
		say(g.opt.Logger.Warn, "covey: two processes that run go by one name: the newer one is the member; give each its own")
	case agreed.TooLong:
		say(g.opt.Logger.Error, "covey: there are more members than a group has room for: some are left out", "limit", fmt.Sprintf("%d bytes of names and URLs", agreed.MaxMessage))
	}
}

// maxNamed is how many names an event of a changed view has of each kind.
const maxNamed = 16

// noteChange takes down that this process goes by another view. It runs under the agreement's lock.
func (g *Group) noteChange(old, v *view) {
	g.views.Add(1)
	e := Event{Kind: EventViewChanged, Epoch: v.epoch, Members: len(v.ring.members)}
	e.Came = missing(v.ring.members, old.ring)
	e.Left = missing(old.ring.members, v.ring)
	g.journal.add(e)
}

// missing returns the names of those members that a ring does not have, maxNamed at most.
func missing(members []Member, from *ring) (names []string) {
	for _, m := range members {
		if from.index(m.Name) < 0 {
			if names = append(names, m.Name); len(names) == maxNamed {
				break
			}
		}
	}
	return names
}

// noteActing takes down that this process may act from now on, or not any more.
func (g *Group) noteActing(acts bool) {
	kind := EventNotActing
	if acts {
		kind = EventActing
	}
	g.journal.add(Event{Kind: kind, Epoch: g.view.Load().epoch})
}

// Recent returns what has happened lately in the group and its caches, as this process sees it, the
// latest first: up to 100 events of each of these classes, so that many of one do not push out the
// others: changes of the group and of breakers; links; what was invalidated or recalled; errors. Of
// all but the first, no more than 100 in a second are remembered (see Event.Skipped). Nobody is asked.
func (g *Group) Recent() []Event { return g.journal.recent("") }
