package covey

// group_leave.go is how a process leaves its group: it gives what it owns to the others, with what its
// caches have of that, and then says goodbye.

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	agreed "github.com/coveycache/covey/internal/view"
)

// leaveFor bounds how long Shutdown waits for the others to go on without this process.
const leaveFor = 3 * time.Second

// retreat has the others own what this process owns, and gives them what it has. It takes half of the
// time that there is, at most.
func (g *Group) retreat(ctx context.Context) {
	v := g.view.Load()
	if v.self < 0 || len(v.ring.members) < 2 || !g.isActing() || !g.hasEntries() {
		return
	}
	took := retreatFor
	if end, ok := ctx.Deadline(); ok {
		took = min(took, time.Until(end)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, took)
	defer cancel()
	g.say(func(m *agreed.Member) { m.Weight = 0 })
	for ; v.self >= 0 || !v.hasSettled(); v = g.view.Load() {
		settled := v.settled
		if v.hasSettled() {
			settled = nil
		}
		pause := time.NewTimer(againAfter)
		select {
		case <-settled:
		case <-v.replaced:
		case <-pause.C:
		}
		pause.Stop()
		if ctx.Err() != nil || !g.isActing() { // without a quorum nothing is agreed upon
			return
		}
		if now := g.view.Load(); now.self >= 0 && len(now.ring.members) < 2 { // all others are leaving, too
			return
		}
	}
	if v.me >= 0 {
		g.forEach(func(c shared) { c.handOver(ctx, v) })
	}
}

// retreatFor bounds how long Shutdown hands over what this process has.
const retreatFor = 30 * time.Second

// hasEntries reports whether any cache has something that is worth to be handed over.
func (g *Group) hasEntries() bool {
	for _, c := range *g.caches.Load() {
		if c.hasEntries() {
			return true
		}
	}
	return false
}

// leave has the others go on without this process, before it answers what is still in flight: first
// it stops acting, then it takes back what it has lent, so that nobody has to wait for that.
func (g *Group) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveFor)
	defer cancel()
	g.retired.Store(true)
	g.agreement.Retire()
	var dirty atomic.Bool
	g.forEach(func(c shared) {
		if c.recallAll(ctx, nil) != nil {
			dirty.Store(true)
		}
	})
	select {
	case <-g.agreement.Leave(!dirty.Load()):
	case <-ctx.Done():
	}
}

// forEach calls f for all caches at once, and returns when it has ended for all that there are: one
// that takes the place of its stand-in meanwhile has taken over what that one had lent.
func (g *Group) forEach(f func(c shared)) {
	for {
		caches := g.caches.Load()
		var wg sync.WaitGroup
		for _, c := range *caches {
			wg.Go(func() { f(c) })
		}
		wg.Wait()
		if g.caches.Load() == caches {
			return
		}
	}
}
