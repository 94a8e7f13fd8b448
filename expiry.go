package covey

// expiry.go finds the entries whose time is over without looking at the others.

import (
	"math"
	"math/bits"
)

// A wheel is a hierarchical timing wheel (Varghese & Lauck, "Hashed and
// hierarchical timing wheels", 1987). Schedule and cancel take O(1) time, and
// an entry is moved at most once for each level before it fires, however far time jumps.
//
// Time is cut into ticks. The tick at which a deadline fires, read as a number
// in base 64, is compared with the current tick: the highest digit in which
// they differ gives the level, and its value in the former gives the bucket.
// So every bucket in use is ahead of the current tick, those of a lower level come
// before those of a higher, and the lowest bit in the bitmap of the lowest
// level in use is the next bucket to look at. As the levels cover all of int64
// nothing lies beyond the wheel's horizon.
//
// The wheel keeps no deadlines. When a bucket's time has come, its entries are
// shown to the store, which either lets one go or tells its deadline, for a
// finer bucket. Hence an entry whose deadline moved to later need not be scheduled anew.
//
// Buckets are lists through slots.wheel. The first element's prev holds the number of its
// bucket, marked by firstInBucket; 0 there means not scheduled. All is guarded by
// the store's policy lock.
type wheel struct {
	slots *slots
	now   int64                 // in ticks; what fires at or before it is due
	inUse [wheelLevels]uint64   // bit b of level l: bucket l*64+b is not empty
	heads [dueBucket + 1]uint32 // 0: empty
}

const (
	tickBits    = 24 // a tick is 2^24 ns, 16.8 ms
	wheelDigit  = 6  // bits of a tick's number for each level
	wheelLevels = 7  // 24+6*7 bits cover int64

	dueBucket     = wheelLevels << wheelDigit // what is to be shown to the store now
	firstInBucket = 1 << 31
)

func newWheel(s *slots) *wheel { return &wheel{slots: s} }

// fireTick is the first tick that begins at or after the deadline.
func fireTick(deadline int64) int64 {
	tick := deadline >> tickBits
	if tick<<tickBits != deadline {
		tick++
	}
	return tick
}

// schedule has id fire at the deadline, instead of any earlier arrangement. A
// deadline in the past fires at the next advance, never does not fire.
func (w *wheel) schedule(id uint32, deadline int64) {
	w.cancel(id)
	if deadline != never {
		w.put(id, fireTick(deadline))
	}
}

func (w *wheel) put(id uint32, tick int64) {
	bucket := dueBucket
	if tick > w.now {
		level := (bits.Len64(uint64(tick^w.now)) - 1) / wheelDigit
		digit := int(tick>>(level*wheelDigit)) & (1<<wheelDigit - 1)
		w.inUse[level] |= 1 << digit
		bucket = level<<wheelDigit | digit
	}
	head := w.heads[bucket]
	*w.slots.wheel(id) = neighbours{prev: firstInBucket | uint32(bucket), next: head}
	if head != 0 {
		w.slots.wheel(head).prev = id
	}
	w.heads[bucket] = id
}

// cancel forgets id, if it is scheduled.
func (w *wheel) cancel(id uint32) {
	l := w.slots.wheel(id)
	switch {
	case l.prev == 0:
		return
	case l.prev&firstInBucket != 0:
		bucket := l.prev &^ firstInBucket
		w.heads[bucket] = l.next
		if l.next == 0 && bucket != dueBucket {
			w.inUse[bucket>>wheelDigit] &^= 1 << (bucket & (1<<wheelDigit - 1))
		}
	default:
		w.slots.wheel(l.prev).next = l.next
	}
	if l.next != 0 {
		w.slots.wheel(l.next).prev = l.prev
	}
	*l = neighbours{}
}

// reset forgets all that is scheduled.
func (w *wheel) reset() {
	clear(w.inUse[:])
	clear(w.heads[:])
}

// first returns the first bucket that is ahead and the tick at which it is to
// be looked at; ok is false if there is none.
func (w *wheel) first() (bucket int, tick int64, ok bool) {
	for level, used := range w.inUse {
		if used != 0 {
			digit := bits.TrailingZeros64(used)
			shift := level * wheelDigit
			above := w.now >> (shift + wheelDigit) << (shift + wheelDigit)
			return level<<wheelDigit | digit, above | int64(digit)<<shift, true
		}
	}
	return 0, 0, false
}

// next returns the earliest time at which advance has anything to do; ok is
// false if nothing is scheduled.
func (w *wheel) next() (at int64, ok bool) {
	tick := w.now
	if w.heads[dueBucket] == 0 {
		if _, tick, ok = w.first(); !ok {
			return 0, false
		}
	}
	if tick > math.MaxInt64>>tickBits {
		return never, true
	}
	return tick << tickBits, true
}

// advance moves the wheel to now and calls due for what may have to leave, at
// most limit times; it returns whether it stopped for that with more to show.
//
// due is called with an id that is no longer scheduled, so that it may remove the entry. It
// returns the deadline under which the id is to be scheduled again, never for
// not at all; one that is over by now stands for a tick from now. It is called
// no later than a tick after the deadline, or in the first advance after
// that, and may be called before, though rarely: at most once for each
// level. So it has to look whether the deadline is over.
func (w *wheel) advance(now int64, limit int, due func(id uint32) (deadline int64)) (more bool) {
	nowTick := max(now>>tickBits, w.now)
	for {
		for id := w.heads[dueBucket]; id != 0; id = w.heads[dueBucket] {
			if limit <= 0 {
				return true
			}
			limit--
			w.cancel(id)
			if deadline := due(id); deadline != never {
				w.put(id, max(fireTick(deadline), nowTick+1))
			}
		}
		bucket, tick, ok := w.first()
		if !ok || tick > nowTick {
			w.now = nowTick
			return false
		}
		w.now = tick
		id := w.heads[bucket]
		w.heads[bucket], w.heads[dueBucket] = 0, id
		w.inUse[bucket>>wheelDigit] &^= 1 << (bucket & (1<<wheelDigit - 1))
		w.slots.wheel(id).prev = firstInBucket | dueBucket
	}
}
