package covey

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

var seedFlag = flag.Uint64("policy.seed", 0, "seed of the random tests of policies and expiry; 0 draws one")

// newRand prints its seed if the test fails.
func newRand(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -policy.seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// A queueModel is the plainest form of LRU and FIFO: residents in the order in
// which they are to leave.
type queueModel struct {
	order []uint32
	last  uint32
}

func (m *queueModel) add(id uint32) {
	m.order = append(m.order, id)
	m.last = id
}

func (m *queueModel) use(id uint32) {
	i := slices.Index(m.order, id)
	m.order = append(slices.Delete(m.order, i, i+1), id)
}

func (m *queueModel) remove(id uint32) {
	i := slices.Index(m.order, id)
	m.order = slices.Delete(m.order, i, i+1)
	if m.last == id {
		m.last = 0
	}
}

func (m *queueModel) evict() uint32 {
	if len(m.order) == 0 {
		return 0
	}
	id := m.order[0]
	if id == m.last && len(m.order) > 1 {
		id = m.order[1]
	}
	m.remove(id)
	return id
}

// A policyTest drives a policy and its model side by side.
type policyTest struct {
	*testing.T
	r     *rand.Rand
	slots *slots
	policy
	hit   func(*node) // nil: hits do not count
	model queueModel
	check func() // compares the policy with the model
}

func (t *policyTest) newNode(id uint32) *node {
	n := &node{key: fmt.Sprint(id), slot: id, size: uint32(1 + t.r.IntN(100)), expires: never}
	if t.hit != nil {
		t.hit(n)
	}
	return n
}

func (t *policyTest) any() uint32 { return t.model.order[t.r.IntN(len(t.model.order))] }

// step does one random operation; the closer to the bound, the likelier something leaves.
func (t *policyTest) step(bound int) {
	n := len(t.model.order)
	if n == 0 || n < bound && t.r.IntN(3) == 0 {
		t.addNew()
		return
	}
	switch op := t.r.IntN(20); {
	case op < 10:
		if t.hit != nil {
			t.useAny()
		}
	case op < 12: // replaced by one of the same size
		id := t.any()
		node := t.newNode(id)
		node.size = t.slots.node(id).size
		t.slots.exchange(id, node)
		if t.hit != nil {
			t.model.use(id)
		}
	case op < 14: // replaced by one of another size
		id := t.any()
		t.remove(id)
		t.exchange(id)
		t.readd(id)
		t.model.remove(id)
		t.model.add(id)
	case op < 16:
		id := t.any()
		t.remove(id)
		t.model.remove(id)
		t.check()
		t.slots.dismiss(id)
	case op < 17:
		t.resize(t.r.Int64N(1000), t.r.IntN(1000))
	default:
		t.evictOne()
	}
}

// exchange replaces a resident's node by one of any size.
func (t *policyTest) exchange(id uint32) { t.slots.exchange(id, t.newNode(id)) }

func (t *policyTest) evictOne() {
	want := t.model.evict()
	got := t.evict()
	require.Equal(t, want, got)
	t.check()
	if got != 0 {
		t.slots.dismiss(got)
	}
}

func (t *policyTest) drain() {
	for len(t.model.order) > 0 {
		t.evictOne()
	}
	require.Zero(t, t.evict())
}

func checkLRU(t *testing.T, p *lru, residents []uint32) {
	t.Helper()
	require.Equal(t, len(residents), p.live)
	filed := map[uint32]int{}
	for i, f := range p.heap {
		if i > 0 && p.heap[(i-1)/heapArity] > f {
			require.FailNow(t, "not a heap", "at %d", i)
		}
		if p.dead(f) {
			continue
		}
		filed[f.slot()]++
		if mark := p.slots.node(f.slot()).mark.Load(); f.stamp() > mark {
			require.FailNow(t, "not a lower bound", "filed under %d, stamp %d", f.stamp(), mark)
		}
	}
	require.Len(t, filed, len(residents))
	for _, id := range residents {
		if filed[id] != 1 {
			require.FailNow(t, "not filed once", "slot %d: %d times", id, filed[id])
		}
	}
	if p.last != 0 {
		require.Contains(t, residents, p.last)
	}
	require.Equal(t, int64(8*cap(p.heap)), p.bytes())
}

func newLRUTest(t *testing.T, r *rand.Rand) *policyTest {
	s := newTestSlots()
	p := newLRU(s)
	m := &policyTest{T: t, r: r, slots: s, policy: p, hit: p.hit}
	m.check = func() { t.Helper(); checkLRU(t, p, m.model.order) }
	return m
}

func (t *policyTest) addNew() uint32 {
	id := t.slots.admit(t.newNode(0))
	t.add(id)
	t.model.add(id)
	return id
}

func (t *policyTest) useAny() {
	id := t.any()
	t.hit(t.slots.node(id))
	t.model.use(id)
}

func TestLRUAgainstModel(t *testing.T) {
	r := newRand(t)
	for range 20 {
		m := newLRUTest(t, r)
		p := m.policy.(*lru)
		bound := 1 + r.IntN(50)
		for range 1000 {
			if r.IntN(300) == 0 { // as if many hits had come: the next call renumbers
				p.seq.Store(max(p.seq.Load(), renumberAt+r.Uint64N(renumberAt/2)))
			}
			m.step(bound)
			m.check()
		}
		m.drain()
	}
}

// The entry added last stays even if all others were used since.
func TestLRUSparesTheLast(t *testing.T) {
	s := newTestSlots()
	p := newLRU(s)
	var ids []uint32
	for range 4 {
		ids = append(ids, s.admit(&node{}))
		p.add(ids[len(ids)-1])
	}
	for _, id := range ids[:3] {
		p.hit(s.node(id))
	}
	require.Equal(t, ids[0], p.evict())
	p.add(ids[0]) // from now on ids[3] is like any other
	require.Equal(t, ids[3], p.evict())
	require.Equal(t, ids[1], p.evict())
	require.Equal(t, ids[2], p.evict())
	require.Equal(t, ids[0], p.evict(), "alone")
	require.Zero(t, p.evict())
}

// Past the highest stamp hits tie, but still count as later than all before.
func TestLRUSaturates(t *testing.T) {
	s := newTestSlots()
	p := newLRU(s)
	var ids []uint32
	for range 100 {
		ids = append(ids, s.admit(&node{}))
		p.add(ids[len(ids)-1])
	}
	p.seq.Store(math.MaxUint32 - 10)
	for _, id := range ids[:50] {
		p.hit(s.node(id))
	}
	require.Greater(t, p.seq.Load(), uint64(math.MaxUint32))
	for _, id := range ids[50:99] {
		require.Equal(t, id, p.evict())
	}
	checkLRU(t, p, append(ids[:50:50], ids[99]))
}

// What leaves otherwise than by eviction leaves its filing behind, but not for long.
func TestLRUDropsTheDead(t *testing.T) {
	m := newLRUTest(t, newRand(t))
	p := m.policy.(*lru)
	for range 5 {
		for range 200 {
			m.addNew()
			m.useAny()
		}
		for range 50 { // brings the heap out of its order of filing
			m.evictOne()
		}
		for len(m.model.order) > 5 {
			id := m.any()
			m.remove(id)
			m.model.remove(id)
			m.check()
			m.slots.dismiss(id)
			require.LessOrEqual(t, len(p.heap), 2*p.live+64)
		}
	}
	m.drain()
}

// Hits that come while the residents are renumbered keep their places in the order.
func TestLRUHitsWhileRenumbering(t *testing.T) {
	r := newRand(t)
	for range 100 {
		m := newLRUTest(t, r)
		p := m.policy.(*lru)
		for range 50 {
			m.addNew()
		}
		uses := func() {
			for range r.IntN(50) {
				m.useAny()
			}
		}
		p.seq.Store(renumberAt + r.Uint64N(renumberAt/2))
		uses()
		start := p.seq.Load()
		uses()
		p.rank(start)
		uses()
		p.rebase(start)
		require.Less(t, p.seq.Load(), uint64(renumberAt))
		m.check()
		uses()
		m.drain()
	}
}

// A hit that writes its stamp only after the renumbering counts as one of the time when it is found.
func TestLRUOvertakenHit(t *testing.T) {
	m := newLRUTest(t, newRand(t))
	p := m.policy.(*lru)
	for range 10 {
		m.addNew()
	}
	late := m.model.order[0]
	p.seq.Store(renumberAt + 5)
	p.renumber()
	m.slots.node(late).mark.Store(renumberAt + 3)
	m.model.use(late)
	m.evictOne() // comes upon it
	for _, id := range m.model.order {
		if id != late {
			m.hit(m.slots.node(id))
		}
	}
	m.model.order = append([]uint32{late}, slices.DeleteFunc(m.model.order, func(id uint32) bool { return id == late })...)
	m.drain()
}

// Hits race with everything the policy does under the lock. Those in use
// must outlive those that are not, and once the hits are over the order is exact.
func TestLRUConcurrentHits(t *testing.T) {
	r := newRand(t)
	m := newLRUTest(t, r)
	s, p := m.slots, m.policy.(*lru)
	add := func() uint32 {
		id := s.admit(m.newNode(0))
		p.add(id)
		return id
	}
	var hot []uint32
	for range 64 {
		hot = append(hot, add())
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	var underWay sync.RWMutex // hits
	for g := range 3 {
		r := rand.New(rand.NewPCG(r.Uint64(), uint64(g)))
		wg.Go(func() {
			for !stop.Load() {
				underWay.RLock()
				p.hit(s.node(hot[r.IntN(len(hot))]))
				underWay.RUnlock()
			}
		})
	}
	for round := range 200 {
		cold := map[uint32]bool{}
		for range 64 {
			cold[add()] = true
		}
		underWay.Lock()
		//lint:ignore SA2001 it waits: of two hits at once the older may win, so there must be none from before
		underWay.Unlock()
		for _, id := range hot {
			switch r.IntN(8) {
			case 0:
				m.exchange(id)
			case 1:
				p.remove(id)
				m.exchange(id)
				p.readd(id)
			default:
				p.hit(s.node(id))
			}
		}
		if round%3 == 0 {
			p.seq.Add(renumberAt)
		}
		for range 63 {
			id := p.evict()
			require.True(t, cold[id], "a hot entry left before a cold one")
			delete(cold, id)
			s.dismiss(id)
		}
		for id := range cold {
			p.remove(id)
			s.dismiss(id)
		}
	}
	stop.Store(true)
	wg.Wait()

	for _, id := range hot { // marks that a renumbering overtook are mended on sight
		p.stamp(s.node(id))
	}
	p.renumber()
	m.model.order = slices.Clone(hot)
	m.model.last = p.last
	for range 500 {
		m.useAny()
	}
	for _, id := range hot {
		p.hit(s.node(id))
		m.model.use(id)
	}
	m.drain()
}
