package covey

// bulk.go gets many keys at once, with one load for all that are missing.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// A bulk is one load of several keys: what their flights have in common.
type bulk[V any] struct {
	load    *loading
	ctx     context.Context
	cancel  context.CancelCauseFunc
	flights []*flight[V]

	mu   sync.Mutex
	live int // flights that somebody waits for
}

// leave is called when the last waiter of one of the flights has left.
func (b *bulk[V]) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live--; b.live == 0 {
		b.cancel(context.Canceled)
	}
}

// GetMany returns the values of keys. Those that are missing are loaded with one call of load,
// except for those that are being loaded already, which it waits for. A nil load means
// Options.BulkLoader, or else Options.Loader, once for each key, at most 64 of them at a time. In a
// group, each owner is asked once for all of its keys, and an owner with a loader of its own loads
// what it misses. If more than Options.BulkSize keys are missing it works through them in batches
// of that size, one after another.
//
// The map is never nil. It holds everything that was found, even if there is an error. The error's
// text has the first few of the errors that occurred and the number of the others; errors.Is and
// errors.As find each kind of them. If the error is nil, keys that are absent from the map were not
// found; otherwise they were not found or have failed. What [Cache.Get] says about loaders and
// waiting holds here, too. A key may be given more than once.
//
// The values are shared: they must not be modified. Strings and byte slices that came from the same
// peer may share one block of memory, up to 128 KiB: to keep one of them for long without the rest,
// clone it.
func (c *Cache[V]) GetMany(ctx context.Context, keys []string, load BulkLoader[V]) (map[string]V, error) {
	m := many[V]{c: c, ctx: ctx, load: load, found: make(map[string]V, len(keys)), passed: load != nil}
	if load == nil {
		m.load = c.opt.BulkLoader
	}
	if c.closed.Load() {
		return m.found, c.errClosed()
	}
	m.getAll(keys)
	for astray := 0; len(m.again) > 0 && m.attempt < maxAgain+astray; {
		m.attempt++
		again, gone := m.again, m.astray
		m.again, m.astray = nil, nil
		if gone != nil && astray < maxAstray { // who owns the keys is about to be agreed
			astray++
			c.peering.awaitChange(ctx, gone, againAfter)
		}
		m.getAll(again)
	}
	m.loadLeft()
	return m.found, m.err()
}

// maxAgain is how often a call tries again because others' loads have brought nothing.
const maxAgain = 3

// many is one GetMany.
type many[V any] struct {
	c       *Cache[V]
	ctx     context.Context
	load    BulkLoader[V]
	passed  bool // load was given with the call
	found   map[string]V
	failed  map[string]error    // nil: none
	again   []string            // keys that others' loads failed to bring, or whose owner is gone
	astray  *view               // by which an owner was asked that says it is none; nil: none was
	attempt int                 // how often it has begun again with such keys
	asked   map[string]struct{} // keys that it has waited for already
	bulk    *bulk[V]            // what is to be loaded next, at most Options.BulkSize keys
	places  places              // of its loads of single keys
}

// places bound how many loads of single keys a call for many keys waits for at once.
type places chan struct{}

// loadsAtOnce is how many places a call has.
const loadsAtOnce = 64

// take waits for a place.
func (p *places) take(ctx context.Context) error {
	if *p == nil {
		*p = make(places, loadsAtOnce)
	}
	select {
	case *p <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p places) free() { <-p }

func (m *many[V]) fail(key string, err error) {
	if m.failed == nil {
		m.failed = make(map[string]error)
	}
	m.failed[key] = err
}

// err makes one error of those of the keys, in their order: a failed bulk load has one, whatever
// number of keys it had.
func (m *many[V]) err() error {
	var all failures
	for _, key := range slices.Sorted(maps.Keys(m.failed)) {
		all.add(m.failed[key])
	}
	return all.err()
}

// A pending key waits for a flight.
type pending[V any] struct {
	f   *flight[V]
	key string
	own bool  // it is part of this call's load
	old *node // to fall back on after SoftTimeout
}

// getAll gets keys. What is missing is asked for and loaded in batches.
func (m *many[V]) getAll(keys []string) {
	m.asked = nil
	for len(keys) > 0 {
		keys = m.get(keys)
	}
}

// A round is one pass of a GetMany over some of its keys.
type round[V any] struct {
	*many[V]
	gen     uint32 // the generation under which owners are looked up
	view    *view  // nil: the cache is alone
	waiting []pending[V]
	due     []*node       // to be refreshed
	away    batches[V]    // to be asked for at other peers
	open    int           // requests to them of which more answers are to come
	changed chan struct{} // of capacity 1: an answer has come
	large   []string      // keys whose values are to be fetched one by one
	missing int           // keys for the call's own load, or to ask other peers for
}

// get serves what it can, starts one load for what nobody is loading, and then waits for the rest.
// It goes on until there is a batch of missing keys, and returns the keys that it has not come to.
func (m *many[V]) get(keys []string) (rest []string) {
	c := m.c
	r := round[V]{many: m, gen: c.store.gen.Load()}
	if c.peering != nil {
		r.view = c.peering.tenures.view()
		c.peering.awaitSettled(m.ctx, r.view)
	}
	c.store.clock.now() // so that hits compare with a time from after the call
	// 1. Serve each key, join its load, or note where it has to come from.
	for i, key := range keys {
		if r.missing == c.opt.BulkSize {
			rest = keys[i:]
			break
		}
		r.take(key, len(keys)-i)
	}
	c.refreshMany(m.ctx, r.due, m.load)
	// 2. Ask the owners before loading: they work meanwhile, and may answer with the right to load,
	// for which the key then becomes part of this call's load.
	if len(r.away) > 0 {
		r.askAway()
	}
	// 3. Load. Nothing has been waited for since the first key joined the load, so others who wait
	// for it are not held up.
	r.hear()
	// 4. Wait, and see to what the owners say meanwhile.
	r.await()
	if len(r.away) > 0 {
		r.recycle()
	}
	for _, key := range r.large {
		m.fetch(key)
	}
	return rest
}

// take deals with one key, of so many that are left.
func (r *round[V]) take(key string, left int) {
	c := r.c
	hash := c.store.hash(key)
	n := c.store.index.find(hash, key)
	if n != nil && c.store.fresh(n) && (c.peering == nil || c.peering.group.isActing()) {
		c.store.touch(n)
		c.hits.inc()
		r.found[key] = entryOf[V](n).value
		return
	}
	if err := checkKey(key); err != nil {
		r.fail(key, err)
		return
	}
	now, st := int64(0), gone
	if n != nil {
		now = c.store.clock.now()
		st = c.judge(n, now)
	}
	switch {
	case st != gone && (st != usable || c.isThrottled(key, hash)):
		r.serve(key, n, st, now)
	case r.view != nil && !r.view.isOwn(key):
		r.takeAway(key, hash, left)
	case isNew(&r.asked, key):
		r.takeHere(key, hash, n, st)
	}
}

// serve answers with what an entry stands for.
func (r *round[V]) serve(key string, n *node, st state, now int64) {
	if r.c.count(n, st) {
		r.found[key] = entryOf[V](n).value
	}
	if st == aging || st == fresh && r.c.refreshDue(n, now) {
		r.due = append(r.due, n)
	}
}

// takeAway notes a key that another peer owns.
func (r *round[V]) takeAway(key string, hash uint32, left int) {
	if l := loadingOf(r.ctx); l != nil && !l.enter(r.c.peering.away(key)) {
		r.fail(key, recursive(r.c.name, key))
		return
	}
	r.away.add(r.c, r.view.owner(key), key, hash, min(left, r.c.opt.BulkSize-r.missing))
	r.missing++
}

// takeHere joins the load of a key, or makes it part of the call's own load. n is what the cache
// still has of it.
func (r *round[V]) takeHere(key string, hash uint32, n *node, st state) {
	keep := r.view == nil || r.c.peering.acts(r.view, ringHash(key))
	if !keep {
		r.outwait(key, hash)
	}
	p, hit, err := r.join(request[V]{ctx: r.ctx, key: key, hash: hash, gen: r.gen, keep: keep})
	switch {
	case err != nil:
		r.fail(key, err)
	case hit != nil:
		now := r.c.store.clock.now()
		r.serve(key, hit, r.c.judge(hit, now), now)
	case p.f == nil:
		r.again = append(r.again, key)
	default:
		if st == usable {
			p.old = n
		}
		if p.own {
			r.missing++
		}
		r.waiting = append(r.waiting, p)
	}
}

// outwait waits for the load of key, if the call may not join it. What has been gathered for the
// call's own load starts before that, since others may wait for it. If ctx ends, joining says so.
func (m *many[V]) outwait(key string, hash uint32) {
	if m.c.unstored(key, hash) != nil {
		m.startBulk()
		_ = m.c.outwaitLoad(m.ctx, key, hash)
	}
}

// join makes the call a waiter of key's flight, making the key part of its own
// load if nobody is loading it.
func (m *many[V]) join(q request[V]) (p pending[V], hit *node, err error) {
	c := m.c
	p.key = q.key
	if m.load == nil {
		if err := m.places.take(m.ctx); err != nil {
			return p, nil, err
		}
		if p.f, hit, err = c.join(q); p.f == nil {
			m.places.free()
		} else {
			context.AfterFunc(p.f.ctx, m.places.free) // it ends with the flight
		}
		return p, hit, err
	}
	if m.ctx.Err() != nil {
		return p, nil, context.Cause(m.ctx)
	}
	s := c.lock(q.hash)
	defer s.unlock()
	p.f, hit, err = s.enrol(q, func(old *node) (*flight[V], error) {
		p.own = true
		return s.addToBulk(q, &m.bulk, old), nil
	})
	return p, hit, err
}

// await waits for the flights and for what the owners have still to answer, for all at once: an
// answer may be the right to load a key, and others wait for that load. So nothing is waited for
// here while there is such a right that has not been taken in, and its load begun.
func (r *round[V]) await() {
	var soft <-chan time.Time
	for {
		for len(r.waiting) > 0 {
			p := r.waiting[0]
			r.waiting = r.waiting[1:]
			var over <-chan time.Time
			if p.old != nil && r.c.opt.SoftTimeout > 0 {
				if soft == nil {
					soft = time.After(r.c.opt.SoftTimeout)
				}
				over = soft
			}
			if r.wait(p, over) == overdue {
				passed := make(chan time.Time)
				close(passed)
				soft = passed // for the rest, too
			}
		}
		if r.open == 0 {
			return
		}
		select {
		case <-r.changed:
		case <-r.ctx.Done():
			r.giveUpAll(context.Cause(r.ctx))
		}
		r.hear()
	}
}

// wait takes in the result of a flight.
func (r *round[V]) wait(p pending[V], soft <-chan time.Time) verdict {
	c := r.c
	w := c.stay(r.ctx, p.f)
	defer w.end()
	v, how, err := w.wait(soft, r.changed)
	for how == interrupted {
		r.hear()
		v, how, err = w.wait(soft, r.changed)
	}
	switch {
	case how == overdue:
		if c.store.index.find(p.f.hash, p.key) == p.old && c.judge(p.old, c.store.clock.now()) == usable {
			c.n.softTimeouts.Add(1)
			c.n.staleHits.Add(1)
			r.found[p.key] = entryOf[V](p.old).value
		} else {
			r.again = append(r.again, p.key)
		}
	case how == lost && !p.own:
		r.again = append(r.again, p.key)
	case err == nil:
		if p.f.stale {
			c.n.staleHits.Add(1)
		}
		r.found[p.key] = v
	case errors.Is(err, ErrNotFound) && how != lost: // or else the whole load has failed with it
	default:
		r.fail(p.key, err)
	}
	return how
}

// loadLeft loads the keys that nobody has brought, however often the call has begun again. These
// loads are for this call alone: nobody joins them and nothing is stored.
func (m *many[V]) loadLeft() {
	slices.Sort(m.again)
	left := slices.Compact(m.again)
	for len(left) > 0 {
		r := round[V]{many: m}
		n := min(len(left), m.c.opt.BulkSize)
		for _, key := range left[:n] {
			if f, err := m.loadAside(key); err != nil {
				m.fail(key, err)
			} else {
				r.waiting = append(r.waiting, pending[V]{f: f, key: key, own: true})
			}
		}
		left = left[n:]
		m.startBulk()
		r.await()
	}
}

// loadAside makes key part of the call's own load, whether or not others load it.
func (m *many[V]) loadAside(key string) (*flight[V], error) {
	c := m.c
	switch {
	case !m.canLoad():
		return nil, fmt.Errorf("covey: cache %q, key %q: the loads of others failed", c.name, key)
	case m.ctx.Err() != nil:
		return nil, context.Cause(m.ctx)
	}
	if m.load == nil {
		if err := m.places.take(m.ctx); err != nil {
			return nil, err
		}
	}
	hash := c.store.hash(key)
	s := c.lock(hash)
	defer s.unlock()
	if c.closed.Load() {
		if m.load == nil {
			m.places.free()
		}
		return nil, c.errClosed()
	}
	f := c.newFlight(key, hash, nil)
	f.noStore = true
	s.detach(f)
	if m.load == nil {
		s.launch(m.ctx, f, c.opt.Loader, nil)
		context.AfterFunc(f.ctx, m.places.free)
	} else {
		s.addFlightTo(&m.bulk, m.ctx, f)
	}
	return f, nil
}

// newBulk begins a bulk load; startBulk has to follow. A shard is locked and the cache is not
// closed.
func (c *Cache[V]) newBulk(ctx context.Context) *bulk[V] {
	c.wg.Add(1)
	b := &bulk[V]{load: c.newLoading(ctx, &Load{keys: make(map[string]*Load)})}
	b.ctx, b.cancel = c.loadContext(ctx, b.load)
	return b
}

// addToBulk makes a request's key part of a bulk load, beginning one if there is none; startBulk
// has to follow. The cache is not closed.
func (s *shard[V]) addToBulk(q request[V], b **bulk[V], old *node) *flight[V] {
	if old == nil {
		old = s.c.aside.find(q.key) // as in start
	}
	f := s.addFlight(q.key, q.hash, old)
	f.grant = q.grant
	s.addFlightTo(b, q.ctx, f)
	return f
}

// addFlightTo is addToBulk for a flight that there is. The caller becomes a waiter.
func (s *shard[V]) addFlightTo(b **bulk[V], ctx context.Context, f *flight[V]) {
	if *b == nil {
		*b = s.c.newBulk(ctx)
	}
	(*b).add(f)
	_ = s.attach(ctx, f) // a load that has not begun waits for nobody
}

func (b *bulk[V]) add(f *flight[V]) {
	f.ctx, f.cancel, f.bulk, f.load = b.ctx, b.cancel, b, b.load
	b.load.info.keys[f.key] = newLoad(f.old)
	b.flights = append(b.flights, f)
	b.live++
}

// startBulk runs the load of a bulk whose flights are all linked.
func (c *Cache[V]) startBulk(b *bulk[V], load BulkLoader[V], refresh func()) {
	keys := make([]string, len(b.flights))
	for i, f := range b.flights {
		keys[i] = f.key
	}
	b.load.keys = keys
	go func() {
		defer c.wg.Done()
		if refresh != nil {
			defer refresh()
		}
		c.runBulk(b, slices.Clone(keys), load, refresh != nil)
	}()
}

func (c *Cache[V]) runBulk(b *bulk[V], keys []string, load BulkLoader[V], refresh bool) {
	defer b.cancel(context.Canceled)
	if c.peering != nil {
		if rest := c.peering.peekMany(b); len(rest) < len(b.flights) {
			b.flights, keys = rest, keys[:0]
			for _, f := range rest {
				keys = append(keys, f.key)
			}
		}
		if len(keys) == 0 {
			b.load.end()
			return
		}
	}
	p, err := c.origin.admit(b.ctx, b.load, refresh)
	if err != nil {
		err = c.about(err, b.flights[0].key, len(keys))
		for _, f := range b.flights {
			c.finish(f, outcome[V]{err: err, lost: true})
		}
		return
	}
	defer p.release()
	ctx, span, trace := c.startLoad(b.ctx, refresh, keys...)
	for _, f := range b.flights {
		f.trace.Store(trace)
	}
	begin := c.store.clock.now()
	supervise(b.ctx, func() (map[string]V, error) {
		defer b.load.end()
		return load(ctx, keys)
	}, func(values map[string]V, err error) {
		p.report(err)
		err = c.about(err, b.flights[0].key, len(b.flights))
		end := c.store.clock.now()
		c.loaded(LoadResult{Keys: len(b.flights), Err: err, Took: time.Duration(end - begin), Refresh: refresh})
		span.end(endOfLoad(err))
		extra := len(values)
		for _, f := range b.flights {
			if _, ok := values[f.key]; ok {
				extra--
			}
		}
		c.n.extra.Add(int64(extra))
		for _, f := range b.flights {
			o := outcome[V]{begin: begin, end: end, meta: b.load.info.keys[f.key].read()}
			v, ok := values[f.key]
			switch {
			case ok:
				o.value = v
			case err == nil:
				o.err = ErrNotFound
			default:
				o.err, o.lost = err, true
			}
			c.finish(f, o)
		}
	}, c.late)
}

// refreshMany loads what is due in the background, in batches if there is a bulk loader.
func (c *Cache[V]) refreshMany(ctx context.Context, due []*node, load BulkLoader[V]) {
	if load == nil {
		for _, n := range due {
			c.refresh(ctx, n, c.opt.Loader)
		}
		return
	}
	if c.opt.MaxRefreshes == 0 {
		return
	}
	for batch := range slices.Chunk(due, c.opt.BulkSize) {
		c.refreshBulk(ctx, batch, load)
	}
}

// refreshBulk loads what is due with one load.
func (c *Cache[V]) refreshBulk(ctx context.Context, due []*node, load BulkLoader[V]) {
	if !c.refreshes.TryAcquire(1) {
		c.n.refreshSkips.Add(1)
		return
	}
	var b *bulk[V]
	for _, n := range due {
		s := c.lock(n.hash)
		if s.refreshable(n) {
			if b == nil {
				b = c.newBulk(ctx)
			}
			f := s.addFlight(n.key, n.hash, n)
			f.refresh = true
			b.add(f)
		}
		s.unlock()
	}
	if b == nil {
		c.refreshes.Release(1)
		return
	}
	c.n.refreshes.Add(1)
	c.startBulk(b, load, func() { c.refreshes.Release(1) })
}
