package covey

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

const tick = int64(1) << tickBits

// A wheelTest drives a wheel beside a map of what is scheduled.
type wheelTest struct {
	*testing.T
	w         *wheel
	now       int64
	deadlines map[uint32]int64 // the true ones: the wheel may not know that one has moved to later
	shown     int              // calls of due
}

func newWheelTest(t *testing.T, residents int) *wheelTest {
	s := newTestSlots()
	for range residents {
		s.admit(&node{})
	}
	return &wheelTest{T: t, w: newWheel(s), deadlines: map[uint32]int64{}}
}

func (t *wheelTest) schedule(id uint32, deadline int64) {
	t.w.schedule(id, deadline)
	delete(t.deadlines, id)
	if deadline != never {
		t.deadlines[id] = deadline
	}
}

func (t *wheelTest) cancel(id uint32) {
	t.w.cancel(id)
	delete(t.deadlines, id)
}

// postpone moves a deadline without telling the wheel.
func (t *wheelTest) postpone(id uint32, by int64) {
	if d, ok := t.deadlines[id]; ok && d < never-1-by {
		t.deadlines[id] = d + by
	}
}

// advance moves to now in batches and checks what leaves and what stays.
func (t *wheelTest) advance(now int64, limit int) (left []uint32) {
	t.Helper()
	t.now = now
	more := true
	for more {
		shown := 0
		more = t.w.advance(now, limit, func(id uint32) int64 {
			shown++
			d, ok := t.deadlines[id]
			require.True(t, ok, "slot %d is not scheduled", id)
			if d > now {
				return d
			}
			delete(t.deadlines, id)
			left = append(left, id)
			return never
		})
		require.LessOrEqual(t, shown, limit)
		require.True(t, !more || shown == limit)
		t.shown += shown
		t.check()
	}
	require.Equal(t, now>>tickBits, t.w.now)
	for id, d := range t.deadlines {
		require.Greater(t, d, now-tick, "slot %d is late", id)
	}
	if at, ok := t.w.next(); ok {
		require.True(t, at > now || at == never)
	}
	return left
}

// check walks all buckets.
func (t *wheelTest) check() {
	t.Helper()
	w := t.w
	at, ok := w.next()
	require.Equal(t, len(t.deadlines) > 0, ok)
	total := 0
	for bucket, head := range w.heads {
		if bucket != dueBucket && (head != 0) != (w.inUse[bucket>>wheelDigit]>>(bucket&(1<<wheelDigit-1))&1 != 0) {
			require.FailNow(t, "wrong bit", "bucket %d", bucket)
		}
		prev := firstInBucket | uint32(bucket)
		for id := head; id != 0; prev, id = id, w.slots.wheel(id).next {
			total++
			d, scheduled := t.deadlines[id]
			if !scheduled || w.slots.wheel(id).prev != prev {
				require.FailNow(t, "wrong link", "slot %d", id)
			}
			fires := fireTick(d)
			if fires <= math.MaxInt64>>tickBits && at > max(fires, w.now)<<tickBits {
				require.FailNow(t, "next is late", "%d for %d", at, d)
			}
			if bucket == dueBucket {
				continue
			}
			shift := bucket >> wheelDigit * wheelDigit
			begin := w.now>>(shift+wheelDigit)<<(shift+wheelDigit) | int64(bucket&(1<<wheelDigit-1))<<shift
			if begin <= w.now || fires < begin { // in use means ahead; a deadline may only be later than its bucket
				require.FailNow(t, "wrong bucket", "begins at tick %d, now %d, fires at %d", begin, w.now, fires)
			}
		}
	}
	require.Equal(t, len(t.deadlines), total)
}

// randomSpan is anything from nothing to centuries, round numbers of ticks included.
func randomSpan(r *rand.Rand) int64 {
	span := r.Int64() >> r.IntN(63)
	if r.IntN(3) == 0 {
		span &^= tick - 1
	}
	return span
}

func TestWheelAgainstModel(t *testing.T) {
	r := newRand(t)
	for range 50 {
		residents := 1 + r.IntN(50)
		m := newWheelTest(t, residents)
		reach := 20 + r.IntN(43) // most spans of a round are below 2^reach ns
		span := func() int64 {
			if r.IntN(20) == 0 {
				return randomSpan(r)
			}
			return randomSpan(r) & (1<<reach - 1)
		}
		for range 500 {
			id := uint32(1 + r.IntN(residents))
			switch op := r.IntN(10); {
			case op < 4:
				m.schedule(id, m.now+min(span(), never-m.now))
			case op < 5:
				m.schedule(id, m.now-span())
			case op < 6:
				m.cancel(id)
			case op < 7:
				m.postpone(id, span())
			default:
				m.advance(m.now+min(span(), never-m.now), 1+r.IntN(20))
			}
			m.check()
		}
		m.advance(never, math.MaxInt)
	}
}

// A timer wheel that fires one tick late is an old bug of caches: a deadline
// at the beginning of a tick fires in that tick, any other in the one after it.
func TestWheelFiresInItsTick(t *testing.T) {
	for _, start := range []int64{0, 1, 63, 64, 65, 4095, 4096, 1 << 20} {
		for _, ahead := range []int64{1, 2, 62, 63, 64, 65, 127, 128, 4032, 4095, 4096, 4097} {
			for _, off := range []int64{0, 1, tick / 2, tick - 1} {
				m := newWheelTest(t, 1)
				m.advance(start*tick, 1)
				deadline := (start+ahead)*tick + off
				m.schedule(1, deadline)
				fires := deadline
				if off != 0 {
					fires = (start + ahead + 1) * tick
				}
				early := func(id uint32) int64 {
					require.Greater(t, deadline, m.now)
					return deadline
				}
				for m.now = start * tick; m.now < fires; m.now += tick {
					m.w.advance(m.now, 10, early)
				}
				m.now = fires - 1
				if deadline > m.now {
					m.w.advance(m.now, 10, early)
				}
				require.Len(t, m.advance(fires, 10), 1)
			}
		}
	}
}

// A janitor that sleeps until next, and not a nanosecond less, is never late either.
func TestWheelNext(t *testing.T) {
	r := newRand(t)
	for range 50 {
		m := newWheelTest(t, 20)
		left := 0
		for id := range uint32(20) {
			m.schedule(id+1, randomSpan(r)>>10)
		}
		wakes := 0
		for at, ok := m.w.next(); ok; at, ok = m.w.next() {
			left += len(m.advance(at, math.MaxInt))
			wakes++
		}
		require.Equal(t, 20, left)
		require.LessOrEqual(t, wakes, 20*wheelLevels)
	}
}

// Time may jump by years: the cost is by the entry, not by the tick.
func TestWheelJumps(t *testing.T) {
	m := newWheelTest(t, 200)
	for id := range uint32(200) {
		m.schedule(id+1, int64(1)<<62+int64(id)*3600e9)
	}
	for now := int64(0); len(m.deadlines) > 0; now += 1 << 59 {
		m.advance(now, math.MaxInt)
	}
	require.LessOrEqual(t, m.shown, 200*wheelLevels)
}

// An entry that due does not let go although its time is over comes again a tick later.
func TestWheelPutOff(t *testing.T) {
	m := newWheelTest(t, 1)
	m.w.schedule(1, 5)
	for i := range int64(5) {
		calls := 0
		require.False(t, m.w.advance((i+1)*tick, 10, func(uint32) int64 { calls++; return 5 }))
		require.Equal(t, 1, calls)
	}
}

// due may change what it likes, other entries of its own bucket included.
func TestWheelChangesWithinDue(t *testing.T) {
	r := newRand(t)
	m := newWheelTest(t, 100)
	for id := range uint32(100) {
		m.schedule(id+1, 10*tick)
	}
	gone := map[uint32]bool{}
	more := m.w.advance(10*tick, math.MaxInt, func(id uint32) int64 {
		require.False(t, gone[id])
		gone[id] = true
		if other := 1 + r.Uint32N(100); !gone[other] {
			m.w.cancel(other)
			gone[other] = true
		}
		return never
	})
	require.False(t, more)
	require.Len(t, gone, 100)
	_, ok := m.w.next()
	require.False(t, ok)
}

func FuzzWheel(f *testing.F) {
	f.Add([]byte{})
	r := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		b := make([]byte, 300)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m := newWheelTest(t, 8)
		for ; len(in) >= 6; in = in[6:] { // operation and slot, bits, value
			x := int64(binary.LittleEndian.Uint32(in[2:]))
			span := x << (in[1] % 64) & math.MaxInt64
			if in[1]&64 != 0 {
				span |= 1<<(bits.Len64(uint64(span))/2) - 1
			}
			id := uint32(1 + in[0]>>4&7)
			switch in[0] & 7 {
			case 0, 1, 2:
				m.schedule(id, m.now+min(span, never-m.now))
			case 3:
				m.schedule(id, m.now-span)
			case 4:
				m.cancel(id)
			case 5:
				m.postpone(id, span)
			default:
				m.advance(m.now+min(span, never-m.now), 1+int(in[0]>>4))
			}
			m.check()
		}
	})
}
