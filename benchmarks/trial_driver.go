package main

// trial_driver.go calls a cache at a fixed rate, whatever that does, and checks what it returns. A call's
// time counts from when it was due: if it had to wait for its turn that counts, too.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coveycache/covey"
)

// Kinds of operations.
const (
	opGet = iota
	opLookup
	opMany
	opWrite
	opKinds
)

var opNames = [opKinds]string{"Get", "Lookup", "GetMany", "write"}

// Kinds of failures.
const (
	failUnconfirmed = iota
	failDeadline
	failOverloaded
	failPeer
	failNotFound // of a key that is there
	failShed     // the driver had too many calls under way
	failOther
	failureKinds
)

var failureNames = [failureKinds]string{"unconfirmed", "deadline", "overloaded", "peer", "not found", "shed", "other"}

const (
	trialDeadline = 5 * time.Second // of each call
	trialBatch    = 8               // keys of a GetMany
	maxUnderWay   = 20_000          // calls of a process
	writers       = 3               // each key has one process that writes it
)

// deletable reports whether a key is one of the hundredth that a trial may delete; nobody writes those.
func deletable(key int) bool { return key%100 == 7 }

// A driver makes a process's calls.
type driver struct {
	client trialClient
	ledger *ledger
	place  int // of the process among all
	keys   int
	writes bool

	writing  []atomic.Bool // by key: a write is under way
	underWay sync.WaitGroup
	count    atomic.Int64
	shown    [failureKinds]atomic.Bool
	stop     chan struct{} // of the loop that runs, nil if none does
	stopped  chan struct{}
}

func newDriver(client trialClient, l *ledger, place, keys int, writes bool) *driver {
	return &driver{client: client, ledger: l, place: place, keys: keys, writes: writes, writing: make([]atomic.Bool, keys)}
}

// setRate makes so many calls a second from now on, so many of them deletions. With 0 it waits for
// those that are under way.
func (d *driver) setRate(rate, deletes float64) {
	if d.stop != nil {
		close(d.stop)
		<-d.stopped
		d.stop = nil
	}
	if rate == 0 {
		d.underWay.Wait()
		return
	}
	d.stop, d.stopped = make(chan struct{}), make(chan struct{})
	go d.loop(rate, deletes/rate, d.stop, d.stopped)
}

func (d *driver) loop(rate, deletes float64, stop, stopped chan struct{}) {
	defer close(stopped)
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	zipf := rand.NewZipf(r, 1.01, 1, uint64(d.keys-1))
	began, sent := time.Now(), 0
	for {
		select {
		case <-stop:
			return
		default:
		}
		due := int(time.Since(began).Seconds() * rate)
		if late := due - sent; float64(late) > rate { // for more than 1 s: nobody calls a process that stands still
			d.ledger.of[d.place].skipped.Add(uint64(late))
			began, sent = time.Now(), 0
			continue
		}
		for ; sent < due; sent++ {
			at := began.Add(time.Duration(float64(sent) / rate * float64(time.Second)))
			if r.Float64() < deletes {
				d.call(at, func(ctx context.Context) (int, error) { return opWrite, d.deleteNext(ctx) })
			} else {
				d.begin(at, r, zipf)
			}
		}
		time.Sleep(500 * time.Microsecond)
	}
}

// begin draws an operation that was due at a time and makes it.
func (d *driver) begin(due time.Time, r *rand.Rand, zipf *rand.Zipf) {
	key := int(zipf.Uint64())
	call := func(ctx context.Context) (int, error) { return opGet, d.get(ctx, key, due) }
	switch x := r.IntN(1000); {
	case x < 10 && d.writes:
		if own := d.ownKey(key); own >= 0 {
			call = func(ctx context.Context) (int, error) { return opWrite, d.write(ctx, own) }
		}
	case x >= 10 && x < 20:
		call = func(ctx context.Context) (int, error) { return opLookup, d.lookup(ctx, key, due) }
	case x >= 20 && x < 30:
		keys := make([]int, trialBatch)
		for i := range keys {
			keys[i] = int(zipf.Uint64())
		}
		call = func(ctx context.Context) (int, error) { return opMany, d.getMany(ctx, keys, due) }
	}
	d.call(due, call)
}

// call makes a call, which returns of which kind it is, on a goroutine of its own.
func (d *driver) call(due time.Time, call func(context.Context) (int, error)) {
	if d.count.Add(1) > maxUnderWay {
		d.count.Add(-1)
		d.slot(due).errors[opGet][failShed].Add(1)
		return
	}
	d.underWay.Go(func() {
		defer d.count.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), trialDeadline)
		defer cancel()
		kind, err := call(ctx)
		d.slot(due).took[kind].add(time.Since(due))
		if err != nil {
			d.failed(due, kind, err)
		}
	})
}

func (d *driver) slot(t time.Time) *slot {
	return &d.ledger.of[d.place].slots[d.ledger.slotAt(t)]
}

// ownKey returns a key near the given one that this process writes, or -1 if it writes none.
func (d *driver) ownKey(key int) int {
	if d.place >= writers {
		return -1
	}
	for key += d.place - key%writers; key >= d.keys || deletable(key); key += writers {
		if key >= d.keys {
			return d.place
		}
	}
	return key
}

func (d *driver) get(ctx context.Context, key int, due time.Time) error {
	least := d.ledger.acknowledged[key].Load()
	version, ok, err := d.client.get(ctx, key)
	if err != nil {
		return err
	}
	d.slot(due).keys.Add(1)
	return d.check(key, least, version, ok)
}

func (d *driver) lookup(ctx context.Context, key int, due time.Time) error {
	least := d.ledger.acknowledged[key].Load()
	version, ok, err := d.client.lookup(ctx, key)
	if err != nil {
		return err
	}
	if !ok {
		d.slot(due).misses.Add(1)
		return nil
	}
	return d.check(key, least, version, true)
}

func (d *driver) getMany(ctx context.Context, keys []int, due time.Time) error {
	least := make([]uint64, len(keys))
	for i, key := range keys {
		least[i] = d.ledger.acknowledged[key].Load()
	}
	versions, err := d.client.getMany(ctx, keys)
	if err != nil {
		return err
	}
	d.slot(due).keys.Add(uint32(len(keys)))
	for i, key := range keys {
		version, ok := versions[key]
		err = errors.Join(err, d.check(key, least[i], version, ok))
	}
	return err
}

var errMissing = errors.New("a key that is there was not found")

// check compares what a read has returned with what was acknowledged before it began. It has to be
// called soon after the read: a key that is deleted meanwhile may be missing.
func (d *driver) check(key int, least, version uint64, ok bool) error {
	self := &d.ledger.of[d.place]
	switch {
	case !ok && d.ledger.gone[key].Load() == 0:
		return errMissing
	case ok && version < least:
		self.stale.Add(1)
		if g := d.ledger.gone[key].Load(); g != 0 && g <= least {
			self.undead.Add(1)
		}
	}
	return nil
}

// write draws the key's next version, and writes it to the origin and then to the cache.
func (d *driver) write(ctx context.Context, key int) error {
	if !d.writing[key].CompareAndSwap(false, true) {
		return nil // its last write is still under way
	}
	defer d.writing[key].Store(false)
	return writeKey(ctx, d.client, d.ledger, key)
}

func writeKey(ctx context.Context, c trialClient, l *ledger, key int) error {
	version := l.next[key].Add(1)
	raise(&l.stored[key], version)
	err := c.put(ctx, key, version)
	if err == nil {
		raise(&l.acknowledged[key], version)
	}
	return err
}

// deleteNext deletes one more key, or one of which the last attempt was not confirmed. Each process has
// its own.
func (d *driver) deleteNext(ctx context.Context) error {
	for key := range d.keys {
		if !deletable(key) || key/100%writers != d.place {
			continue
		}
		if gone := d.ledger.gone[key].Load(); gone != 0 && gone <= d.ledger.acknowledged[key].Load() {
			continue
		}
		if d.writing[key].CompareAndSwap(false, true) {
			defer d.writing[key].Store(false)
			return deleteKey(ctx, d.client, d.ledger, key)
		}
	}
	return nil
}

// deleteKey removes a key from the origin and then from the cache.
func deleteKey(ctx context.Context, c trialClient, l *ledger, key int) error {
	version := l.next[key].Add(1)
	l.gone[key].Store(version)
	raise(&l.stored[key], version)
	err := c.delete(ctx, key, version)
	if err == nil {
		raise(&l.acknowledged[key], version)
	}
	return err
}

// failed counts an error, and shows the first one of each kind.
func (d *driver) failed(due time.Time, op int, err error) {
	kind := failureOf(err)
	d.slot(due).errors[op][kind].Add(1)
	if d.shown[kind].CompareAndSwap(false, true) {
		progress("  process %d, the first %s that failed with %q: %v", d.place, opNames[op], failureNames[kind], err)
	}
}

func failureOf(err error) int {
	var peer *covey.PeerError
	switch {
	case errors.Is(err, covey.ErrUnconfirmed):
		return failUnconfirmed
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, covey.ErrLoadTimeout):
		return failDeadline
	case errors.Is(err, covey.ErrOverloaded):
		return failOverloaded
	case errors.As(err, &peer):
		return failPeer
	case errors.Is(err, errMissing):
		return failNotFound
	}
	return failOther
}

func trialKey(i int) string { return fmt.Sprintf("item:%06d", i) }
