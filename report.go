package covey

// report.go has the members of a group tell each other how they are, for operators.

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// A Report is what a member of a group says about itself; see [Group.Reports].
type Report struct {
	// Member is its name.
	Member string
	// Err says why it has not answered. Then there is nothing else. In JSON it is its text.
	Err error `json:"-"`
	// At is when it was made, by that process's clock.
	At time.Time `json:",omitzero"`
	// Uptime is how long ago its NewGroup was called.
	Uptime time.Duration `json:",omitempty"`
	// Version is the version of Covey in it.
	Version string `json:",omitempty"`
	// Group has its gauges and counters of the group.
	Group GroupStats `json:",omitzero"`
	// Caches are those that it has, sorted by name.
	Caches []CacheReport `json:",omitempty"`
	// HotKeys are those of the keys it answers for that are asked for most there, 20 at most. The
	// rates of a key that several answer for are to be added up.
	HotKeys []HotKey `json:",omitempty"`
	// Recent is what has happened there, as [Group.Recent] returns it.
	Recent []Event `json:",omitempty"`
}

// A CacheReport is what a process says about one of its caches.
type CacheReport struct {
	// Name is the cache's.
	Name string
	// Stats are its counters and gauges.
	Stats Stats
	// InFlight are its loads in progress, the oldest first, 100 at most.
	InFlight []Flight `json:",omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (r Report) MarshalJSON() ([]byte, error) {
	type plain Report
	return json.Marshal(struct {
		plain
		Err string `json:",omitempty"`
	}{plain(r), textOf(r.Err)})
}

// UnmarshalJSON implements json.Unmarshaler. Of errors nothing comes back but their texts.
func (r *Report) UnmarshalJSON(b []byte) error {
	type plain Report
	var j struct {
		plain
		Err string
	}
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*r = Report(j.plain)
	r.Err = errorOf(j.Err)
	return nil
}

// Of these, a report has so many at most.
const (
	reportedFlights = 100
	reportedKeys    = 20
)

// Report returns what this process says about itself. It asks nobody.
func (g *Group) Report() Report {
	r := Report{
		Member: g.opt.Name, At: time.Now(), Uptime: time.Since(g.skew.start), Version: buildVersion(),
		Group: g.Stats(), Recent: g.Recent(),
	}
	for _, c := range *g.caches.Load() {
		if !c.isStandIn() {
			r.Caches = append(r.Caches, c.report())
		}
	}
	slices.SortFunc(r.Caches, func(a, b CacheReport) int { return strings.Compare(a.Name, b.Name) })
	hot := g.ownHotKeys()
	r.HotKeys = hot[:min(reportedKeys, len(hot))]
	return r
}

func (p *peering[V]) report() CacheReport {
	return CacheReport{Name: p.c.name, Stats: p.c.Stats(), InFlight: p.c.inFlight(reportedFlights)}
}

// Reports returns what each member says about itself, this process included, sorted by name. It asks
// all of them at once, until ctx ends or for 2 s at most; of those that do not answer the Err says
// why. One report has some 10 to 100 KiB, so in groups of hundreds ask now and then only.
func (g *Group) Reports(ctx context.Context) []Report {
	ctx, cancel := context.WithTimeout(ctx, reportFor)
	defer cancel()
	v := g.view.Load()
	names := slices.Clone(v.leaving)
	for _, m := range v.ring.members {
		names = append(names, m.Name)
	}
	if !slices.Contains(names, g.opt.Name) {
		names = append(names, g.opt.Name)
	}
	slices.Sort(names)
	all := make([]Report, len(names))
	room := make(chan struct{}, reportsAtOnce)
	var wg sync.WaitGroup
	for i, name := range names {
		if name == g.opt.Name {
			all[i] = g.Report()
			continue
		}
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			if err := g.inspect(ctx, name, &wire.Frame{Type: wire.Inspect}, &all[i]); err != nil {
				all[i] = Report{Err: err}
			}
			all[i].Member = name
		})
	}
	wg.Wait()
	return all
}

const (
	reportFor     = 2 * time.Second
	reportsAtOnce = 64
)

// inspect asks a process for something in JSON.
func (g *Group) inspect(ctx context.Context, peer string, f *wire.Frame, result any) error {
	l, err := g.linkBy(ctx, peer)
	if err != nil {
		return newPeerError(peer, err)
	}
	answer, err := l.Call(ctx, f)
	switch {
	case err != nil:
		return peerError(ctx, peer, err)
	case answer.Type == wire.Unsupported:
		return &PeerError{Peer: peer, Err: fmt.Errorf("its version of covey, %s, says nothing about itself", l.Build())}
	case answer.Type != wire.Hit:
		return answerError(peer, &answer)
	}
	if err := json.Unmarshal(answer.Value, result); err != nil {
		return &PeerError{Peer: peer, Err: err}
	}
	return nil
}

// linkBy returns a link to a process by its name: any that there is, or one that is dialled, as it is
// a member.
func (g *Group) linkBy(ctx context.Context, name string) (*link.Link, error) {
	if l := g.links.of(name); l != nil {
		return l, nil
	}
	g.mu.Lock()
	p := g.peers[name]
	g.mu.Unlock()
	if p == nil {
		return nil, errNoMember
	}
	return p.Link(ctx)
}

// serveInspect answers what another process asks for an operator.
func (g *Group) serveInspect(r *link.Request, what func() ([]byte, error)) {
	op := r.Keep(nil)
	answer := func() {
		b, err := what()
		if err != nil {
			op.Answer(failed(err))
			return
		}
		op.Answer(&wire.Frame{Type: wire.Hit, Value: b})
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		op.Answer(failed(ErrClosed))
		return
	}
	g.wg.Go(answer)
}

func (g *Group) reportJSON() ([]byte, error) { return json.Marshal(g.Report()) }
