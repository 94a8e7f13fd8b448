package covey

// cache.go is the cache as its users see it. The path of a hit is all here.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/coveycache/covey/internal/freq"
	"github.com/coveycache/covey/internal/sizeof"
	"golang.org/x/sync/semaphore"
)

// A Cache maps string keys to values of type V. All methods may be called concurrently.
//
// Values are shared between the cache and everybody who gets them: they must not be modified. A
// slice is kept without its spare capacity, so appending to it copies it. A string or slice that
// was cut from a larger one keeps all of that in memory, which Options.MaxBytes does not see: clone
// it before it is stored.
//
// Keys are 1 to [MaxKeyLen] bytes long; a call with another one returns [ErrInvalidKey]. The cache
// copies the keys that it keeps, so their memory may be used again after the call.
type Cache[V any] struct {
	name  string
	opt   Options[V]
	store *store
	hits  striped
	puts  striped
	n     counters

	shards [1 << segmentBits]shard[V]

	peering   *peering[V]   // nil: the cache is alone
	snapshots *snapshots[V] // nil: there are none
	aside     aside[V]      // what a snapshot has brought and nobody has confirmed
	copies    copies
	hot       *freq.Top // of the keys that this process owns

	log          warner
	tracer       *tracer                  // nil: there is none
	journal      *journal                 // the group's, if there is one
	breakers     *userQueue[BreakerState] // for Events.Breaker, if that is set
	lately       lately
	origin       *origin
	refreshes    *semaphore.Weighted
	baseSize     int64 // accounted bytes of an entry without key and value
	isSlice      bool  // V is a slice
	maxBytes     atomic.Int64
	maxEntries   atomic.Int64
	maxValue     atomic.Int64
	userMaxValue int64 // Options.MaxValueBytes
	userSize     bool  // Options.Size was given
	userCodec    bool  // values are encoded and decoded by functions that may be the user's
	updates      updates[V]
	add          func(v *V, n uint64) (sum uint64, ok bool) // of an Incr; nil: V is no whole number

	closed   atomic.Bool
	spawning sync.Mutex     // see spawn
	stop     chan struct{}  // closed by Close
	wake     chan struct{}  // the wheel has got its first deadline
	closing  atomic.Bool    // Close has been called
	wg       sync.WaitGroup // the janitor and all loads
	janitor  sync.Once
	sweeping atomic.Bool // what has expired is being removed
}

// New returns a cache. The name appears in errors and logs; in a group, caches of the same name are
// the same cache. It must not be empty, and in a group it may have 255 bytes at most and be used
// once in each process.
//
// All mistakes in the options are reported in one error. With Options.Group set to a group that is
// shut down, the error is
// [ErrClosed]. Close the cache when it is no longer needed, since it may own goroutines.
func New[V any](name string, o Options[V]) (*Cache[V], error) {
	if err := o.validate(name); err != nil {
		return nil, err
	}
	c := makeCache(name, o)
	c.advise(o)
	if o.Group == nil && o.Snapshot.Path == "" {
		return c, nil
	}
	codec, err := c.codecName()
	if err != nil {
		return nil, fmt.Errorf("covey: cache %q: %w", name, err)
	}
	if o.Snapshot.Path != "" {
		if c.snapshots, err = c.newSnapshots(codec); err != nil {
			return nil, err
		}
	}
	if o.Group != nil {
		if err := c.joinGroup(o.Group, codec); err != nil {
			if c.snapshots != nil {
				c.snapshots.release()
			}
			return nil, err
		}
	}
	if c.snapshots != nil {
		c.snapshots.start()
	}
	return c, nil
}

// makeCache makes a cache that is not in its group yet.
func makeCache[V any](name string, o Options[V]) *Cache[V] {
	userSize := o.Size != nil
	o = o.withDefaults()
	_, plain := any(o.Codec).(plainCodec[V])
	c := &Cache[V]{
		name:         name,
		opt:          o,
		hits:         newStriped(),
		puts:         newStriped(),
		origin:       newOrigin(o.MaxLoads, o.LoadRate, o.LoadBurst, o.Breaker),
		refreshes:    semaphore.NewWeighted(int64(o.MaxRefreshes)),
		baseSize:     sizeof.Object(int64(unsafe.Sizeof(entry[V]{})), true) + perEntry,
		stop:         make(chan struct{}),
		wake:         make(chan struct{}, 1),
		userMaxValue: o.MaxValueBytes,
		userSize:     userSize,
		userCodec:    !plain,
		isSlice:      reflect.TypeFor[V]().Kind() == reflect.Slice,
		log:          warner{logger: o.Logger.With("cache", name)},
	}
	c.n.served, c.n.localHits = newStriped(), newStriped()
	c.tracer = c.newTracer()
	c.add = adder[V]()
	c.journal = new(journal)
	if o.Group != nil {
		c.journal = o.Group.journal
	}
	c.watchBreaker()
	c.maxBytes.Store(o.MaxBytes)
	c.maxEntries.Store(int64(o.MaxEntries))
	c.maxValue.Store(largestValue(o.MaxValueBytes, o.MaxBytes))
	config := storeConfig{
		eviction: o.Eviction, maxBytes: o.MaxBytes, maxEntries: int64(o.MaxEntries),
		staleFor: int64(max(o.StaleWhileRevalidate, o.StaleIfError)), idleFor: int64(o.IdleTTL),
		removed: o.Events.Removed != nil, onTimed: c.wakeJanitor, outside: &c.copies.bytes,
	}
	if o.Group != nil {
		config.skew = o.Group.skew
	}
	config.evictAside = c.aside.evict
	c.store = newStore(config)
	c.aside.bytes, c.aside.count = &c.store.aside, &c.store.asides
	for i := range c.shards {
		c.shards[i].segment, c.shards[i].c = &c.store.index.segments[i], c
	}
	return c
}

// largestValue applies the default of Options.MaxValueBytes.
func largestValue(maxValue, maxBytes int64) int64 {
	switch {
	case maxValue > 0:
		return maxValue
	case maxBytes > 0:
		return min(max(maxBytes/8, 4<<10), defaultMaxValueBytes)
	}
	return defaultMaxValueBytes
}

// Name returns the name that the cache was made with.
func (c *Cache[V]) Name() string { return c.name }

// Get returns the value of key from the cache or, if it is missing, from load. However many callers
// miss a key at once, one load runs and all of them wait for its result. A nil load means
// Options.Loader; without that either, a miss returns
// [ErrNoLoader].
//
// A loader may outlive the request that brought it, so it must not use what belongs to the request.
// It runs on a context of its own, with the values of the first caller's ctx but without its
// deadline and cancellation, and a refresh may run it again in the background. That context ends
// after Options.LoadTimeout, on Close, and when everybody who waited has left (but see
// Options.FinishAbandoned).
//
// Each caller waits as long as its own ctx allows and then gets the cause of ctx's end; a hit does
// not look at ctx. A loader's error goes to everybody who waits, and nothing is stored.
// [ErrNotFound] is remembered for Options.NegativeTTL. A panic in the loader becomes a
// [*PanicError].
//
// A Get that starts after a Put or Delete of the key has returned nil never returns a value from
// before it, nor one whose load began before it.
//
// In a group, a miss is loaded once in the whole group: Options.Loader runs at the key's owner, a
// loader passed to Get runs in the process of one of its callers. An error of a loader in another
// process arrives as its text, with that peer's name; errors.Is finds covey's own errors in it and
// no others. If the owner cannot be reached, another member or this process loads instead, and
// nothing is stored.
//
// The value is shared: it must not be modified. A hit allocates nothing. A loader that captures
// variables, however, is allocated by the caller on each call, even for a hit: where that counts,
// make it once.
func (c *Cache[V]) Get(ctx context.Context, key string, load Loader[V]) (V, error) {
	hash := c.store.hash(key)
	n := c.store.index.find(hash, key)
	if n != nil && c.store.fresh(n) && (c.peering == nil || c.peering.group.isActing()) {
		c.store.touch(n)
		if hits := c.hits.inc(); hits%clockHits == 0 {
			c.sampleAge(n) // which moves the coarse clock on, should the janitor be late
		} else if c.hot != nil && sampled(hits, sampleHits) {
			c.hot.Add(ringHash(key), key, sampleHits, c.store.clock.now())
		}
		return entryOf[V](n).value, nil
	}
	if n != nil && n.flags&flagBorrowed != 0 && c.useCopy(n) {
		return c.content(n)
	}
	return c.get(ctx, key, hash, load)
}

// clockHits is how many hits read the exact time once.
const clockHits = 256

// get is Get for everything that needs a closer look.
func (c *Cache[V]) get(ctx context.Context, key string, hash uint32, load Loader[V]) (V, error) {
	var zero V
	if err := c.check(key); err != nil {
		return zero, err
	}
	q := request[V]{ctx: ctx, key: key, hash: hash, load: load}
	if load == nil {
		load = c.opt.Loader
	}
	for attempt := 0; ; attempt++ {
		q.gen, q.keep, q.attempt = c.store.gen.Load(), true, attempt
		n := c.store.index.find(hash, key)
		now, st := int64(0), gone
		if n != nil {
			now = c.store.clock.now()
			st = c.judge(n, now)
		}
		if st < usable || st == negative || st == usable && c.isThrottled(key, hash) {
			return c.answer(ctx, n, st, now, load)
		}
		if c.peering != nil {
			v := c.peering.tenures.view()
			if !v.isOwn(key) {
				value, how, err := c.peering.getAway(q)
				if how == elsewhere {
					continue
				}
				return value, err
			}
			if q.keep = c.peering.await(ctx, v, key); !q.keep {
				if err := c.outwaitLoad(ctx, key, hash); err != nil {
					return zero, err
				}
			}
		}
		f, hit, err := c.join(q)
		switch {
		case err != nil:
			return zero, err
		case hit != nil:
			now = c.store.clock.now()
			return c.answer(ctx, hit, c.judge(hit, now), now, load)
		case f == nil:
			continue
		}
		v, how, err := c.wait(ctx, f, c.softTimer(st))
		switch how {
		case overdue:
			if n := c.store.index.find(hash, key); n != nil && c.judge(n, now) == usable {
				c.n.softTimeouts.Add(1)
				c.countStale(n)
				return entryOf[V](n).value, nil
			}
			continue // it was deleted or replaced meanwhile
		case lost:
			if attempt < maxAgain {
				continue
			}
		default:
			if err == nil && f.stale {
				c.countStale(f.old)
			}
		}
		return v, err
	}
}

// answer returns what an entry stands for, and refreshes it if that is due.
func (c *Cache[V]) answer(ctx context.Context, n *node, st state, now int64, load Loader[V]) (V, error) {
	c.count(n, st)
	if st == aging || st == fresh && c.refreshDue(n, now) {
		c.refresh(ctx, n, load)
	}
	return c.content(n)
}

// content returns what n stands for: its value or ErrNotFound.
func (c *Cache[V]) content(n *node) (v V, err error) {
	if n.flags&flagNegative != 0 {
		return v, ErrNotFound
	}
	return entryOf[V](n).value, nil
}

// count counts an answer from the cache, and reports whether it has a value.
func (c *Cache[V]) count(n *node, st state) bool {
	if n.flags&flagBorrowed != 0 {
		c.useCopy(n)
		return st != negative
	}
	c.store.touch(n)
	switch st {
	case negative:
		c.n.negativeHits.Add(1)
	case fresh:
		if c.hits.inc()%clockHits == 0 {
			c.sampleAge(n)
		}
	default:
		c.countStale(n)
	}
	return st != negative
}

// countStale counts a value that is served after its TTL.
func (c *Cache[V]) countStale(n *node) {
	c.n.staleHits.Add(1)
	c.n.staleFor.add(time.Duration(max(0, c.store.clock.now()-n.expires)))
}

// countHit counts the use of an entry, or a copy, that has come meanwhile.
func (c *Cache[V]) countHit(n *node) {
	st := fresh
	if n.flags&flagNegative != 0 {
		st = negative
	}
	c.count(n, st)
}

// join makes the caller a waiter of the key's flight, starting one if there is none; without a
// loader in the request, with that of the Options. It may return a node, or nothing, as enrol does.
func (c *Cache[V]) join(q request[V]) (*flight[V], *node, error) {
	if q.load == nil {
		q.load = c.opt.Loader
	}
	if q.load == nil {
		return nil, nil, noLoader(c.name, q.key)
	}
	if q.ctx.Err() != nil {
		return nil, nil, context.Cause(q.ctx)
	}
	s := c.lock(q.hash)
	defer s.unlock()
	return s.enrol(q, func(old *node) (*flight[V], error) { return s.start(q, old, nil), nil })
}

func (c *Cache[V]) softTimer(st state) <-chan time.Time {
	if st != usable || c.opt.SoftTimeout <= 0 {
		return nil
	}
	return time.After(c.opt.SoftTimeout)
}

func (c *Cache[V]) isThrottled(key string, hash uint32) bool {
	s := c.lock(hash)
	defer s.unlock()
	_, ok := s.throttled[key]
	return ok
}

func (c *Cache[V]) check(key string) error {
	if c.closed.Load() {
		return c.errClosed()
	}
	return checkKey(key)
}

// spawn runs f on a goroutine that Close waits for. It returns false if the cache is closed: a
// WaitGroup must not grow while it is waited for. Whoever has looked at closed with a segment's
// lock held needs no spawn, as Close takes all of them before it waits.
func (c *Cache[V]) spawn(f func()) bool {
	c.spawning.Lock()
	defer c.spawning.Unlock()
	if c.closed.Load() {
		return false
	}
	c.wg.Go(f)
	return true
}

func (c *Cache[V]) errClosed() error { return fmt.Errorf("%w: %q", ErrClosed, c.name) }

// Lookup returns what the cache has for key without loading anything; ok is false if it has
// nothing. An entry whose TTL is over is returned, with Stale set, as long as a Get might serve it.
// If the cache remembers an [ErrNotFound], ok is false and NotFound is set.
//
// In a group it asks the key's owner if this process has no copy. If the owner cannot be asked, ok
// is false and err is a [*PeerError]. As long as the group has no members there is nothing.
func (c *Cache[V]) Lookup(ctx context.Context, key string) (e Entry[V], ok bool, err error) {
	hash := c.store.hash(key)
	n := c.store.index.find(hash, key)
	now := c.store.clock.now()
	st := c.judge(n, now)
	if st == gone {
		if err := c.check(key); err != nil {
			return e, false, err
		}
		if c.peering != nil {
			if e, ok, mine, err := c.peering.lookupAway(ctx, key); !mine {
				return e.Entry, ok, err
			}
		}
		c.n.misses.Add(1)
		return e, false, nil
	}
	c.count(n, st)
	return c.describe(n, st, now), st != negative, nil
}

// Touch uses key's entry without returning it: the entry counts as used for Options.IdleTTL and the
// eviction. ok is false if there is no value. Touch does what [Cache.Lookup] does and costs as
// much.
func (c *Cache[V]) Touch(ctx context.Context, key string) (ok bool, err error) {
	_, ok, err = c.Lookup(ctx, key)
	return ok, err
}

// All returns an iterator over the fresh entries in this process's memory, copies of other peers'
// keys included. It is weakly consistent: an entry that is there all the time is shown once, one
// that comes meanwhile may or may not be. Each is shown as it is when its turn comes, and what has
// left before that, or is no longer fresh, is not shown. All holds no lock, so the loop may call
// the cache. The values are shared: they must not be modified. A closed cache has no entries.
func (c *Cache[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for i := range c.store.index.segments {
			for n := range c.store.index.segments[i].table.Load().all {
				n = c.store.index.find(n.hash, n.key) // as it is now: a larger table may have replaced this one
				if c.judge(n, c.store.clock.now()) == fresh && !yield(n.key, entryOf[V](n).value) {
					return
				}
			}
		}
	}
}

// SetMaxBytes changes Options.MaxBytes of this process and evicts what no longer fits before it
// returns. 0 means no bound, which needs Options.MaxEntries. Negative is an error. If
// Options.MaxValueBytes was left at 0 its default changes, too. In a group, copies then take
// Options.L1 or half of n, whichever is less.
func (c *Cache[V]) SetMaxBytes(n int64) error {
	if n < 0 {
		return fmt.Errorf("covey: cache %q: MaxBytes is %d, it must not be negative", c.name, n)
	}
	return c.setBounds(func(maxBytes, _ *int64) { *maxBytes = n })
}

// SetMaxEntries changes Options.MaxEntries of this process and evicts what no longer fits before it
// returns. 0 means no bound, which needs Options.MaxBytes. Negative is an error.
func (c *Cache[V]) SetMaxEntries(n int) error {
	if n < 0 {
		return fmt.Errorf("covey: cache %q: MaxEntries is %d, it must not be negative", c.name, n)
	}
	return c.setBounds(func(_, maxEntries *int64) { *maxEntries = int64(n) })
}

// setBounds brings the cache within bounds that set changes.
func (c *Cache[V]) setBounds(set func(maxBytes, maxEntries *int64)) error {
	s := c.store
	s.mu.Lock()
	if c.closed.Load() {
		s.mu.Unlock()
		return c.errClosed()
	}
	maxBytes, maxEntries := s.maxBytes, s.maxEntries
	if set(&maxBytes, &maxEntries); maxBytes == 0 && maxEntries == 0 {
		s.mu.Unlock()
		return fmt.Errorf("covey: cache %q: MaxBytes and MaxEntries are both 0, a cache needs a bound", c.name)
	}
	s.setBounds(maxBytes, maxEntries)
	c.maxBytes.Store(maxBytes)
	c.maxEntries.Store(maxEntries)
	c.maxValue.Store(largestValue(c.userMaxValue, maxBytes))
	s.mu.Unlock()
	if c.peering != nil {
		c.copies.limit.Store(c.copiesLimit(maxBytes))
		c.trimCopies(nil)
	}
	for c.trim() {
	}
	return nil
}

// closeGrace is how long Close and Shutdown wait for functions of users to notice that their
// context has ended.
const closeGrace = 5 * time.Second

// Close empties the cache and ends its goroutines. Those who wait for a load get [ErrClosed], as
// does every later call. It cancels the contexts of running loaders and waits for them to return,
// and for functions of Events, for 5 s at most; if one still runs then, such as one that calls
// Close, it returns an error. With Events.RemovedAtClose it reports the values that it drops.
// Further calls do nothing and return nil.
//
// In a group only this process's part is closed. As a member the process still owns its share of
// the keys, which the others then miss (see Options.Group), so rather use [Group.Shutdown]. What was
// lent to other processes is taken back, for which Close waits 2 s at most.
func (c *Cache[V]) Close() error {
	if c.closing.Swap(true) {
		return nil
	}
	c.spawning.Lock()
	c.closed.Store(true)
	c.spawning.Unlock()
	close(c.stop)
	dropped := c.empty()
	if s := c.snapshots; s != nil {
		s.end(context.Background(), s.closed(dropped, c.store.gen.Load()-1))
	}
	if c.peering != nil {
		c.peering.leave() // while the others still know of this cache
		c.peering.group.withdraw(c.name)
	}
	var err error
	if c.snapshots != nil {
		err = c.snapshots.wait()
	}
	if c.opt.Events.RemovedAtClose {
		c.wg.Go(func() { c.departedIn(dropped, CauseClosed) })
	}
	return errors.Join(err, c.waitGoroutines())
}
