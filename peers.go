package covey

// peers.go is the group as its users see it.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey/internal/link"
	agreed "github.com/coveycache/covey/internal/view"
)

// A Group is this process's membership in a group of processes that share their caches. Each key
// has one owner among them, which holds it and sees to it that it is loaded once. A cache joins by
// [Options.Group]; caches of the same name are one cache.
//
// A Group is an http.Handler. Mount it at [Group.Path] in the web server that the process has, or
// give it a port of its own with GroupOptions.Listener. Middleware that wraps the
// http.ResponseWriter needs an Unwrap method, which [http.ResponseController] uses. All methods may
// be called concurrently.
type Group struct {
	opt       GroupOptions
	skew      *skew // its start is the zero of the clock of the links
	path      string
	instance  uint64 // of this process
	node      *link.Node
	agreement *agreed.Node // on who the members are; its lock comes before mu
	server    *http.Server // of GroupOptions.Listener, or nil
	view      atomic.Pointer[view]
	caches    atomic.Pointer[map[string]shared]
	links     upLinks
	tokens    atomic.Uint64
	stamps    stamps
	clears    clearsByName
	loads     knownLoads
	log       warner // of what strangers may cause
	journal   *journal
	views     atomic.Int64 // adopted so far
	refused   sync.Map     // names of peers that have been logged for having refused an upgrade

	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
	closing atomic.Bool // Shutdown has been called
	keeps   atomic.Bool // it sends nothing of its own accord to those who own now what it owned: for tests of what happens before that
	retired atomic.Bool // it does not act any more, nor use copies

	replaced atomic.Bool // a newer process goes by this one's name
	ended    atomic.Bool // some member has, or may have, since there are members

	self *link.Peer // this process, which it tries to reach; nil: it only asks

	// mu comes before the locks of the caches.
	mu      sync.Mutex
	closed  bool
	listed  []Member                   // what the discovery said last
	peers   map[string]*link.Peer      // by name: the members, the listed, and who would join
	old     []*link.Peer               // that have got another URL, to be closed
	linksTo map[agreed.ID][]*link.Link // those of them over which messages can be sent
	failed  map[string]error           // why a peer could not be dialled last
	known   chan struct{}              // closed when there is a first list
	attempt uint64                     // to found a view, the last one for which all have been dialled
	knocked int64                      // when that was

	says sync.Mutex    // comes before the agreement's lock
	said agreed.Member // what this process says about itself
}

// A shared cache is a Cache of any type as its group sees it.
type shared interface {
	serve(r *link.Request)
	servesApart(r *link.Request) bool
	adopt(v *view, anew bool) // go by another view; anew: what is stored is worth nothing
	recallAll(ctx context.Context, concerns func(key string) bool) error
	sweep()                                           // remove what this process no longer keeps
	repair(v *view)                                   // make the replicas that a change has taken away
	handOver(ctx context.Context, v *view)            // the same, as this process leaves
	lost(l *link.Link)                                // a link is down
	revoke(key string, token uint64, from *link.Link) // pass on a right, if it is one of this cache's
	number() uint16                                   // of the cache in this process's frames
	used(key string, hits uint64)
	reportHits(l *link.Link, add func(cache uint16, key string, hits uint64) bool)
	hotKeys(k int) []HotKey
	report() CacheReport
	explanation(ctx context.Context, key string) (Explanation, error)
	pursued() int // keys that are still to be deleted
	plainGet(ctx context.Context, key string, load bool) (plainEntry, error)
	plainPut(ctx context.Context, key string, body []byte, o ...PutOption) error
	delete(ctx context.Context, key string, o ...DeleteOption) error
	snapshot(ctx context.Context) // write the last one
	seal()                        // and when nothing more can be written, say what has been since
	close() error
	hasEntries() bool
	isStandIn() bool
	retire() (loans []map[string]*lending)
	inherit(loans []map[string]*lending)
}

// NewGroup makes this process a member of a group. It waits for the first list of members, for 2 s
// at most, but not for the members: these may start later. All mistakes in the options are reported
// in one error. Call Shutdown when the group is no longer needed.
func NewGroup(o GroupOptions) (*Group, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	advise(o.Logger, ofGroups, &o)
	g := &Group{
		opt:   o,
		skew:  newSkew(),
		log:   warner{logger: o.Logger},
		path:  DefaultPath,
		peers: make(map[string]*link.Peer),
		links: upLinks{all: make(map[*link.Link]struct{}), byName: make(map[string]int)},
		known: make(chan struct{}),

		instance: newInstance(),
		linksTo:  make(map[agreed.ID][]*link.Link),
		failed:   make(map[string]error),
	}
	if o.Self != "" {
		u, _ := url.Parse(o.Self) // has been checked
		g.path = u.Path
	}
	if static, ok := o.Discovery.(staticPeers); ok {
		if err := g.checkStatic(static); err != nil {
			return nil, err
		}
	}
	if dns, ok := o.Discovery.(*dnsPeers); ok {
		g.opt.Discovery = dns.of(&o)
	}
	g.journal = newJournal(o.Events.Changed, &g.log, "GroupOptions.Events.Changed")
	g.stamps.low = g.instance % stampStep
	g.caches.Store(&map[string]shared{})
	g.view.Store(noView())
	g.said = agreed.Member{ID: agreed.ID{Name: o.Name, Instance: g.instance}, URL: o.Self, Weight: 1}
	g.agreement = g.newAgreement()
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.node, err = link.NewNode(link.Config{
		Name: o.Name, Instance: g.instance, Group: o.GroupName, Build: buildVersion(), Secrets: o.Secrets, TLS: o.TLS, Dial: o.Dial, Guard: guardDial, OpTimeout: o.OpTimeout, Logger: o.Logger,
		Verify: g.verifyPeer, Plain: o.authenticates, Serve: g.receive, Up: g.linkUp, Down: g.linkDown, Failed: g.dialFailed, Told: g.told, Term: g.term, CallerUp: g.hears, CallerDown: g.hearsNoMore,
		Report: g.keepAlive, Reported: g.reported, Unwanted: g.unwanted, Start: g.skew.start, Ahead: g.skew.ahead.Load,
	})
	if err != nil {
		g.stop()
		return nil, fmt.Errorf("covey: %w", err)
	}
	if o.Listener != nil {
		g.listen()
	}
	if o.Self != "" {
		g.self, err = g.node.Peer(o.Name, o.Self)
		if err != nil {
			g.node.Close()
			g.stop()
			return nil, fmt.Errorf("covey: GroupOptions.Self: %w", err)
		}
	}
	g.wg.Go(g.watch)
	g.wg.Go(g.attend)
	g.wg.Go(g.checkStart)
	timer := time.NewTimer(firstList)
	defer timer.Stop()
	select {
	case <-g.known:
	case <-timer.C:
		o.Logger.Warn("covey: no list of members yet: until the discovery gives one, nothing is stored", "self", o.Name)
	}
	return g, nil
}

const firstList = 2 * time.Second // to wait for it

// Path returns where in a web server the group has to be mounted: the path of GroupOptions.Self. It
// ends in a slash.
func (g *Group) Path() string { return g.path }

// Name returns the name of this process; see GroupOptions.Name.
func (g *Group) Name() string { return g.opt.Name }

// Owner returns the name of the member that owns key by the view that this process goes by, in all
// caches of the group; "" if it has none. It asks nobody.
func (g *Group) Owner(key string) string {
	v := g.view.Load()
	if i := v.owner(key); i >= 0 {
		return v.ring.members[i].Name
	}
	return ""
}

// Ready waits until this process takes its full part in the group: it is a member, of a view that
// has settled, and may act; or, if it only asks, it knows who the members are or that nobody is
// listed. Then it has told those that it has links to which caches it has so far. Until then it
// loads what it misses and stores nothing. It does not wait for what the others hand over to it:
// that comes in the background, and for GroupOptions.WarmUp this process asks them before it loads
// what has become its own. So call it after New and before serving traffic, with
// the group's HTTP server running: a process that cannot be reached under GroupOptions.Self does
// not become ready if there is no group yet.
//
// It takes a moment where there is a group. Where there is none, everybody who is listed has to run
// or to refuse connections; after 30 s more than half of them are enough. Ready returns the cause of
// ctx's end if that comes first, and [ErrClosed] if the group is shut down.
func (g *Group) Ready(ctx context.Context) error {
	select {
	case <-g.known:
	case <-g.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for {
		v := g.view.Load()
		if v.hasSettled() && v.self >= 0 && g.isActing() || g.opt.Self == "" && (len(v.ring.members) > 0 || g.hasNobody()) {
			break
		}
		pause := time.NewTimer(readyEvery)
		select {
		case <-v.replaced:
		case <-pause.C:
		case <-g.ctx.Done():
			pause.Stop()
			return ErrClosed
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		}
		pause.Stop()
	}
	var wg sync.WaitGroup
	for _, l := range g.allLinks() {
		wg.Go(func() { _ = l.Announce(ctx) }) // the names of the caches have gone before
	}
	wg.Wait()
	return nil
}

// join takes a cache in.
func (g *Group) join(name, codec string, c shared, number *uint16) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return fmt.Errorf("%w: the group is shut down", ErrClosed)
	}
	if there := (*g.caches.Load())[name]; there != nil && !there.isStandIn() {
		return fmt.Errorf("covey: cache %q: the group has a cache of that name already", name)
	}
	return g.add(name, codec, c, number)
}

// add adds a cache, in the place of its stand-in if there is one. The group is locked.
func (g *Group) add(name, codec string, c shared, number *uint16) error {
	id, err := g.node.AddCache(name, codec)
	if err != nil {
		return fmt.Errorf("covey: cache %q: %w", name, err)
	}
	*number = id
	caches := maps.Clone(*g.caches.Load())
	c.adopt(g.view.Load(), true)
	if there := caches[name]; there != nil {
		c.inherit(there.retire())
	}
	caches[name] = c
	g.caches.Store(&caches)
	return nil
}

// hasOther reports whether there is a cache of that name that is not c.
func (g *Group) hasOther(name string, c shared) bool {
	there := (*g.caches.Load())[name]
	return there != nil && there != c
}

// withdraw takes a cache out.
func (g *Group) withdraw(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	caches := maps.Clone(*g.caches.Load())
	delete(caches, name)
	g.caches.Store(&caches)
	g.node.RemoveCache(name)
}

// Shutdown leaves the group. It writes the last snapshots (see [Snapshot]), for 10 s at most. If
// there are other members it gives the keys of this process to them and hands over what its caches
// have of these, what was used lately first: for half of the time that ctx has left then, and 30 s
// at most. What there is no time for is loaded anew, if nobody has a replica. It takes back the
// copies that this process has lent and waits until the other members have agreed to go on without
// it, for 3 s at most; answers what is in flight as long as ctx lasts; and then closes the group's
// links, its caches and GroupOptions.Listener. It returns ctx's error if ctx ended first, joined
// with what [Cache.Close] returned. Further calls do nothing and return nil.
//
// Shut down the web server in which the group is mounted first, so that its requests still have
// their caches. It does not wait for links, which are hijacked connections. While this process hands
// over, others may have to reach it: links that there are do for up to 7 members. In larger groups,
// and where links are refused (see [Peer.Plain]), use GroupOptions.Listener.
func (g *Group) Shutdown(ctx context.Context) (err error) {
	if g.closing.Swap(true) {
		return nil
	}
	g.forEach(func(c shared) { c.snapshot(ctx) })
	g.retreat(ctx)
	g.leave(ctx)
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.stop()
	err = g.node.Shutdown(ctx)
	g.forEach(func(c shared) { c.seal() })
	for _, c := range *g.caches.Load() {
		err = errors.Join(err, c.close())
	}
	if g.server != nil {
		_ = g.server.Close()
	}
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	if !waitGrace(&g.wg, timer) {
		return errors.Join(err, fmt.Errorf("covey: a function of GroupOptions, such as Discovery.Watch, still runs %v after Shutdown has cancelled its context", closeGrace))
	}
	return errors.Join(err, g.journal.flush("GroupOptions.Events.Changed", timer), flushLogs(g.opt.Logger, timer))
}

// hasNobody reports whether the list of members is empty.
func (g *Group) hasNobody() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.listed) == 0
}

// readyEvery is how often Ready looks whether this process may act: no event tells it.
const readyEvery = 5 * time.Millisecond
