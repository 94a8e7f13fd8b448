package covey

import (
	"cmp"
	"flag"
	"fmt"
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

// checkHeap shows each filing and sees that they are a heap which knows their places.
func checkHeap[S cmp.Ordered](t testing.TB, h *heap[S], show func(filing[S])) {
	t.Helper()
	for i := range h.len {
		f := *h.at(i)
		if i > 0 && h.at((i-1)/heapArity).stamp > f.stamp {
			require.FailNow(t, "not a heap", "at %d", i)
		}
		require.Equal(t, uint32(i), h.slots.queue(f.slot).next)
		show(f)
	}
	require.LessOrEqual(t, len(h.chunks), h.len>>slotChunkBits+2)
}

func checkLRU(t *testing.T, p *lru, residents []uint32) {
	t.Helper()
	var found []uint32
	checkHeap(t, &p.heap, func(f filing[uint64]) {
		if mark := p.slots.node(f.slot).mark.Load(); f.stamp > mark {
			require.FailNow(t, "not a lower bound", "filed under %d, stamp %d", f.stamp, mark)
		}
		found = append(found, f.slot)
	})
	if p.last != 0 {
		found = append(found, p.last)
	}
	require.ElementsMatch(t, residents, found)
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
	t.Parallel()
	r := newRand(t)
	for range 10 {
		m := newLRUTest(t, r)
		bound := 1 + r.IntN(50)
		for range 1000 {
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

// An eviction looks at so many entries and no more, however many were used. It evicts the one
// used least recently of those; once it has looked at all, the order is exact again.
func TestLRUAfterManyHits(t *testing.T) {
	r := newRand(t)
	s := newTestSlots()
	p := newLRU(s)
	const residents = 20 * maxRefiled
	for range residents {
		p.add(s.admit(&node{}))
	}
	var order []uint32                          // of use
	for id := uint32(1); id < residents; id++ { // all but the last
		order = append(order, id)
	}
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, id := range order {
		p.hit(s.node(id))
	}
	looks := func() (behind int) {
		checkHeap(t, &p.heap, func(f filing[uint64]) {
			if p.stamp(f.slot) > f.stamp {
				behind++
			}
		})
		return behind
	}
	for behind := looks(); behind > 0; behind = looks() {
		id := p.evict()
		at := slices.Index(order, id)
		order = slices.Delete(order, at, at+1)
		require.Less(t, at, residents/2, "it was used late")
		require.LessOrEqual(t, behind-looks(), maxRefiled)
	}
	require.Greater(t, len(order), residents-2*residents/maxRefiled)
	for _, id := range order {
		require.Equal(t, id, p.evict())
	}
}

// New entries look at others ahead of the evictions.
func TestLRULooksAhead(t *testing.T) {
	s := newTestSlots()
	p := newLRU(s)
	for range 100 {
		p.add(s.admit(&node{}))
	}
	for id := range uint32(100) {
		p.hit(s.node(id + 1))
	}
	for range 100 / refileFew {
		p.add(s.admit(&node{}))
	}
	checkHeap(t, &p.heap, func(f filing[uint64]) { require.Equal(t, p.stamp(f.slot), f.stamp) })
}

// What the heap no longer needs it gives back, but for a little.
func TestHeapShrinks(t *testing.T) {
	s := newTestSlots()
	p := newLRU(s)
	for range 10_000 {
		p.add(s.admit(&node{}))
	}
	for id := range uint32(9_990) {
		p.remove(id + 1)
	}
	require.Len(t, p.heap.chunks, 2)
}

// Hits race with everything the policy does under the lock. Those in use
// must outlive those that are not, and once the hits are over the order is exact.
func TestLRUConcurrentHits(t *testing.T) {
	t.Parallel()
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
	for range 200 {
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
