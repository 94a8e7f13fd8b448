package covey

// counter.go adds to numbers at their owners.

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/coveycache/covey/internal/wire"
)

// An Integer is a type of whole numbers.
type Integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// Incr adds n, which may be negative, to the number under key and returns the sum. No other write
// comes in between. A number that is missing, or not fresh any more, is loaded with Options.Loader;
// without one, or if the loader returns [ErrNotFound], it is 0.
//
// The number's TTL and version stay: a number that lasts for a minute is gone after a minute,
// however often it is added to, as a rate limit needs it. [WithTTL] is for the number that an Incr
// begins, and does not prolong one that is there; it has to be positive. [WithVersion] and
// [WithReplicated] do what they do for a Put; [IfAbsent] and [IfVersion] are errors. A sum that does
// not fit into N is [ErrOverflow], and one that is too large by Options.Size is [ErrTooLarge]; both
// change nothing.
//
// In a group, the key's owner adds: one round trip, however many processes do it at once. If Incr
// returns nil, n has been added once. After [ErrUnconfirmed] it has been added once or not at all,
// or will be in a moment; Covey never tries again by itself what may have been done. Numbers are
// lost with evictions and crashes, as all values, unless the loader has them; with Options.Replicas
// and [WithReplicated] they outlive a crash. What is said about conditional writes at [Cache.Update]
// holds here, too.
func Incr[N Integer](ctx context.Context, c *Cache[N], key string, n N, opts ...PutOption) (N, error) {
	o, err := c.checkUpdate(key, opts)
	if err == nil && o.hasTTL && o.ttl <= 0 {
		err = fmt.Errorf("covey: cache %q, key %q: an Incr cannot have a TTL of %v", c.name, key, o.ttl)
	}
	if err != nil {
		return 0, err
	}
	c.puts.inc()
	hash := c.store.hash(key)
	ifPresent := c.opt.Loader != nil
	for attempt := 0; ; attempt++ {
		up := update[N]{delta: uint64(n), ifPresent: ifPresent}
		err := c.change(ctx, &change[N]{kind: wire.Update, key: key, hash: hash, put: o, up: &up})
		switch {
		case err == nil || errors.Is(err, ErrNotReplicated):
			return N(up.sum), err
		case !errors.Is(err, errNoNumber):
			return 0, err
		}
		switch err := c.bring(ctx, key, attempt); {
		case errors.Is(err, ErrNotFound):
			ifPresent = false
		case err != nil:
			return 0, err
		}
	}
}

// errNoNumber is the answer to an Incr that is to be done only if there is a number.
var errNoNumber = errors.New("covey: there is no number to add to")

// addHere adds in this process's own store: as often as other writes come in between.
func (c *Cache[V]) addHere(ch *change[V], gen uint32, turn *writing) error {
	for {
		now := c.store.clock.now()
		n := c.store.index.find(ch.hash, ch.key)
		there := c.isPresent(n, now)
		if p := c.peering; p != nil && !(gen == c.store.gen.Load() && p.acts(p.tenures.view(), ringHash(ch.key))) {
			if gen != c.store.gen.Load() {
				return errElsewhere
			}
			return errBusy // what there is may be from before other processes' writes
		}
		o := outcome[V]{begin: now, end: now}
		up := ch.up
		up.condition = condition{absent: !there, byNode: true, keep: there}
		switch {
		case there:
			up.node, o.value = n, entryOf[V](n).value
		case up.ifPresent:
			return errNoNumber
		default:
			o.meta.ttl, o.meta.hasTTL = ch.put.ttl, ch.put.hasTTL
		}
		var ok bool
		if up.sum, ok = c.add(&o.value, up.delta); !ok {
			return fmt.Errorf("%w: cache %q, key %q", ErrOverflow, c.name, ch.key)
		}
		size := c.measure(ch.key, o.value, !ch.foreign)
		w := write[V]{key: ch.key, hash: ch.hash, gen: gen, writing: turn, cond: &up.condition, version: ch.put.version, versioned: ch.put.hasVersion}
		if w.e = c.newEntry(ch.key, ch.hash, size, o); w.e == nil {
			return c.errTooLarge(ch.key, size)
		}
		if err := c.carryOut(ch, &w, turn); !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

// adder returns what adds to a V, in two's complement; nil if a V is no whole number. It reports
// whether the sum fits, and changes nothing if it does not.
func adder[V any]() func(v *V, n uint64) (sum uint64, ok bool) {
	switch reflect.TypeFor[V]().Kind() {
	case reflect.Int:
		return addTo[V, int]
	case reflect.Int8:
		return addTo[V, int8]
	case reflect.Int16:
		return addTo[V, int16]
	case reflect.Int32:
		return addTo[V, int32]
	case reflect.Int64:
		return addTo[V, int64]
	case reflect.Uint:
		return addTo[V, uint]
	case reflect.Uint8:
		return addTo[V, uint8]
	case reflect.Uint16:
		return addTo[V, uint16]
	case reflect.Uint32:
		return addTo[V, uint32]
	case reflect.Uint64:
		return addTo[V, uint64]
	}
	return nil
}

// addTo adds to a V whose kind is that of N.
func addTo[V any, N Integer](v *V, n uint64) (uint64, bool) {
	p := (*N)(unsafe.Pointer(v))
	d := N(n)
	sum := *p + d
	if d < 0 != (sum < *p) {
		return 0, false
	}
	*p = sum
	return uint64(sum), true
}
