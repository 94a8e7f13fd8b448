package covey

// waits.go is the wait-for graph of loads. It tells which loads pass
// Options.MaxLoads, because a running load waits for them, and which call would
// make a load wait for itself.
//
// A loader asks for other keys with its own context, so the cache knows which
// load waits. It may ask for many at once. A load that asks for nothing has no
// edges and costs nothing here. There is no lock for the whole graph: a call adds
// its edge first and then looks for a cycle, so that of those who close one
// together the last at least sees it.
//
// A process knows the waits of its own loads, and those of loads at peers for what
// they ask of it, since a request carries the loads within which it is made. That
// shows a cycle of two loads in two processes, and a longer one if each of its
// loads has started the next. Others through several processes, where loads join
// others on the way, end with Options.LoadTimeout. So does a wait for a load that
// is queued at a third process under a right, or whose right has passed on.

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/coveycache/covey/internal/wire"
)

// A loading is a node of the wait-for graph: one call of a loader, or one request
// that loads at other processes have made.
type loading struct {
	info   *Load
	group  *Group // of the cache
	cache  string
	keys   []string   // that it loads; set before it runs
	parent *loading   // within which it was started, or nil
	peers  wire.Chain // of a request: the loads within which it was made; nil for a load

	mu     sync.Mutex
	ended  bool           // the loader has returned: what still uses its context makes nobody wait
	waits  map[target]int // how many calls of this load wait for each
	wanted bool           // a running load waits for it, or has
	letIn  func()         // to be called once it is wanted, or nil
}

// A target is what a load waits for: another load in this process, or else one
// that a peer knows about, by its hash.
type target struct {
	load  *loading
	group *Group
	hash  uint64
}

type loadingKey struct{}

// loadingOf returns the innermost load that ctx belongs to, nil if there is none.
func loadingOf(ctx context.Context) *loading {
	l, _ := ctx.Value(loadingKey{}).(*loading)
	return l
}

// loadHash is the hash by which other peers know a load.
func loadHash(cache, key string) uint64 { return ringHash(cache)*31 + ringHash(key) }

// outside stands in a chain for a load of a cache that is not in the group.
// Nobody in the group can wait for that.
const outside = 0

func recursive(cache, key string) error {
	return fmt.Errorf("%w: cache %q, key %q", ErrRecursiveLoad, cache, key)
}

// away is the load of a key that a peer owns, or that runs under a right.
func (p *peering[V]) away(key string) target {
	return target{group: p.group, hash: loadHash(p.c.name, key)}
}

func (c *Cache[V]) target(f *flight[V]) target {
	if f.load == nil {
		return c.peering.away(f.key) // this process has given away the right
	}
	return target{load: f.load}
}

// attach makes the caller a waiter of f, unless the load that ctx belongs to would
// then wait for itself.
func (s *shard[V]) attach(ctx context.Context, f *flight[V]) error {
	if l := loadingOf(ctx); l != nil && !l.enter(s.c.target(f)) {
		return recursive(s.c.name, f.key)
	}
	if f.waiters > 0 || f.refresh {
		f.joined.Store(true)
	}
	f.waiters++
	return nil
}

// announce says that f, a load under a right, runs in this process.
func (p *peering[V]) announce(f *flight[V]) {
	if p.group.loads.add(loadHash(p.c.name, f.key), f.load) {
		f.load.want()
	}
}

// enter notes that l waits for t and lets t in. It returns false, and l does not
// wait, if t waits for l.
func (l *loading) enter(t target) bool {
	if !l.add(t) {
		return true
	}
	t.want()
	if l.mayBeWaitedFor() && l.isWaitedForBy(t) {
		l.leave(t)
		return false
	}
	return true
}

// add adds an edge. It returns false if l has ended.
func (l *loading) add(t target) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	if l.waits == nil {
		l.waits = make(map[target]int)
	}
	if l.waits[t]++; l.waits[t] == 1 {
		l.register(t)
	}
	return true
}

// leave takes back an enter. l may be nil.
func (l *loading) leave(t target) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waits[t] == 0 {
		return // it has ended
	}
	if l.waits[t]--; l.waits[t] == 0 {
		l.unregister(t)
	}
}

// end is called when the loader has returned.
func (l *loading) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for t := range l.waits {
		l.unregister(t)
	}
	l.ended, l.waits = true, nil
}

// register lets the group know of a new edge. l is locked.
func (l *loading) register(t target) {
	if t.load == nil {
		t.group.loads.await(t.hash, 1)
	}
	if len(l.waits) == 1 {
		for i := range l.peers.Len() {
			l.group.loads.add(l.peers.At(i), l)
		}
	}
}

// unregister removes an edge, also from what the group knows. l is locked.
func (l *loading) unregister(t target) {
	delete(l.waits, t)
	if t.load == nil {
		t.group.loads.await(t.hash, -1)
	}
	if len(l.waits) == 0 {
		for i := range l.peers.Len() {
			l.group.loads.remove(l.peers.At(i), l)
		}
	}
}

// isRunning reports whether calls within l make it wait. l may be nil.
func (l *loading) isRunning() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.ended
}

// want notes that a running load waits for t.
func (t target) want() {
	if t.load != nil {
		t.load.want()
		return
	}
	for _, l := range t.group.loads.nodes(t.hash) {
		l.want()
	}
}

func (l *loading) want() {
	l.mu.Lock()
	f := l.letIn
	l.wanted, l.letIn = true, nil
	l.mu.Unlock()
	if f != nil {
		f()
	}
}

// whenWanted has f called as soon as a running load waits for l.
func (l *loading) whenWanted(f func()) {
	l.mu.Lock()
	wanted := l.wanted
	l.letIn = f
	l.mu.Unlock()
	if wanted {
		f()
	}
}

// mayBeWaitedFor spares most calls the search for a cycle. In a group, it may be
// the owner that knows who waits for l.
func (l *loading) mayBeWaitedFor() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wanted || l.group != nil
}

// isWaitedForBy reports whether t is l or waits for it, perhaps through others.
func (l *loading) isWaitedForBy(t target) bool {
	seen := make(map[target]struct{})
	for todo := []target{t}; len(todo) > 0; {
		t, todo = todo[len(todo)-1], todo[:len(todo)-1]
		if _, ok := seen[t]; ok {
			continue
		}
		seen[t] = struct{}{}
		loads := []*loading{t.load}
		if t.load == nil {
			loads = t.group.loads.nodes(t.hash)
		}
		for _, o := range loads {
			if o == l {
				return true
			}
			todo = o.appendWaits(todo)
		}
	}
	return false
}

func (l *loading) appendWaits(to []target) []target {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.AppendSeq(to, maps.Keys(l.waits))
}

func (l *loading) waitsFor(t target) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waits[t] > 0
}

// chain returns the loads that wait for what a call within l asks of a peer, the
// innermost first. l may be nil.
func (l *loading) chain(g *Group) (w wire.Chain) {
	if !l.isRunning() {
		return nil
	}
	for l != nil && w.Len() < wire.MaxChain {
		switch {
		case l.peers != nil:
			for i := range l.peers.Len() {
				w = w.With(l.peers.At(i))
			}
		case l.group != g:
			w = w.With(outside)
		default:
			for _, key := range l.keys {
				w = w.With(loadHash(l.cache, key))
			}
		}
		if l.parent == nil || !l.parent.waitsFor(target{load: l}) {
			break
		}
		l = l.parent
	}
	return w
}

// knownLoads are the loads that peers know by their hashes, too: those under rights in
// this process, and those of peers whose requests wait for something here.
type knownLoads struct {
	mu sync.Mutex
	m  map[uint64]*knownLoad
}

type knownLoad struct {
	nodes   map[*loading]struct{} // that stand for it
	waiting int                   // how many edges lead to it
}

func (k *knownLoads) of(hash uint64) *knownLoad {
	n := k.m[hash]
	if n == nil {
		n = &knownLoad{nodes: make(map[*loading]struct{})}
		if k.m == nil {
			k.m = make(map[uint64]*knownLoad)
		}
		k.m[hash] = n
	}
	return n
}

// add has l stand for a load. It reports whether a running load waits for that.
func (k *knownLoads) add(hash uint64, l *loading) (wanted bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.of(hash)
	n.nodes[l] = struct{}{}
	return n.waiting > 0
}

func (k *knownLoads) remove(hash uint64, l *loading) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.of(hash)
	delete(n.nodes, l)
	k.drop(hash, n)
}

func (k *knownLoads) await(hash uint64, more int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.of(hash)
	n.waiting += more
	k.drop(hash, n)
}

func (k *knownLoads) drop(hash uint64, n *knownLoad) {
	if n.waiting == 0 && len(n.nodes) == 0 {
		delete(k.m, hash)
	}
}

func (k *knownLoads) nodes(hash uint64) []*loading {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.m[hash]; n != nil {
		return slices.Collect(maps.Keys(n.nodes))
	}
	return nil
}
