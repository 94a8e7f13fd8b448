package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memoryTrial is a cache in memory, which the tests let misbehave.
type memoryTrial struct {
	mu       sync.Mutex
	versions map[int]uint64
	ledger   *ledger

	forgetsWrites  bool // acknowledges them, and has the old value
	forgetsDeletes bool
	loses          bool // finds nothing
	waits          chan struct{}
}

func (m *memoryTrial) join([]string) error  { return nil }
func (m *memoryTrial) relist([]string)      {}
func (m *memoryTrial) owner(int) string     { return "" }
func (m *memoryTrial) state() (int, uint64) { return 0, 0 }
func (m *memoryTrial) ready() error         { return nil }
func (m *memoryTrial) leave() error         { return nil }

func (m *memoryTrial) get(_ context.Context, key int) (uint64, bool, error) {
	if m.waits != nil {
		<-m.waits
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loses {
		return 0, false, nil
	}
	if v, ok := m.versions[key]; ok {
		return v, true, nil
	}
	v, ok := m.ledger.load(key, 0, false)
	if ok {
		m.versions[key] = v
	}
	return v, ok, nil
}

func (m *memoryTrial) lookup(ctx context.Context, key int) (uint64, bool, error) {
	return m.get(ctx, key)
}

func (m *memoryTrial) getMany(ctx context.Context, keys []int) (map[int]uint64, error) {
	return one(keys, func(key int) (uint64, bool, error) { return m.get(ctx, key) })
}

func (m *memoryTrial) put(_ context.Context, key int, version uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.forgetsWrites {
		m.versions[key] = version
	}
	return nil
}

func (m *memoryTrial) delete(_ context.Context, key int, _ uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.forgetsDeletes {
		delete(m.versions, key)
	}
	return nil
}

// The checker finds what a cache does wrong, and nothing if it does nothing wrong.
func TestTrialChecks(t *testing.T) {
	for _, c := range []struct {
		name                   string
		cache                  *memoryTrial
		stale, undead, missing bool
	}{
		{name: "right", cache: &memoryTrial{}},
		{name: "forgets writes", cache: &memoryTrial{forgetsWrites: true}, stale: true},
		{name: "forgets deletes", cache: &memoryTrial{forgetsDeletes: true}, stale: true, undead: true},
		{name: "loses keys", cache: &memoryTrial{loses: true}, missing: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := testLedger(t)
				c.cache.ledger, c.cache.versions = l, map[int]uint64{}
				d := newDriver(c.cache, l, 0, 1000, true)
				for key := range 1000 { // all that there is
					if _, _, err := c.cache.get(t.Context(), key); err != nil {
						t.Fatal(err)
					}
				}
				d.setRate(20_000, 100)
				time.Sleep(3 * time.Second)
				d.setRate(0, 0)
				a := &l.of[0]
				if got := a.stale.Load() > 0; got != c.stale {
					t.Errorf("%d stale reads", a.stale.Load())
				}
				if got := a.undead.Load() > 0; got != c.undead {
					t.Errorf("%d reads of deleted keys", a.undead.Load())
				}
				tr := &trial{ledger: l}
				y := tr.tally(span{0, slotsOf(4 * time.Second)}, 0)
				failed := y.failed(opGet, opMany)
				if got := y.errors[opGet][failNotFound] > 0; got != c.missing || !c.missing && failed > 0 {
					t.Errorf("%v errors: %s", failed, y.failures())
				}
				if n := y.reads.n + y.took[opWrite].n; n < 55_000 || n > 60_000 {
					t.Errorf("%d calls in 3 s", n)
				}
				gone := 0
				for key := range 1000 {
					if l.gone[key].Load() != 0 {
						gone++
						if !deletable(key) {
							t.Errorf("key %d was deleted", key)
						}
					}
				}
				if gone == 0 {
					t.Error("nothing was deleted")
				}
			})
		})
	}
}

// What waits counts from when it was due, as does what could only be called later.
func TestTrialTimesCallsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLedger(t)
		m := &memoryTrial{ledger: l, versions: map[int]uint64{}, waits: make(chan struct{})}
		d := newDriver(m, l, 1, 1000, false)
		d.setRate(1000, 0)
		time.Sleep(time.Second)
		close(m.waits)
		d.setRate(0, 0)
		y := (&trial{ledger: l}).tally(span{0, slotsOf(2 * time.Second)}, 1)
		if y.reads.n < 990 || y.reads.quantile(0.5) < 450 || y.reads.quantile(0.5) > 550 || y.reads.most < 990_000 {
			t.Errorf("%d calls while the cache stood still for a second: p50 %v ms, max %v us", y.reads.n, y.reads.quantile(0.5), y.reads.most)
		}
	})
}

func testLedger(t *testing.T) *ledger {
	t.Helper()
	l, err := openLedger(filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	l.began.Store(time.Now().UnixNano())
	return l
}

func TestLatencies(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for us := uint64(0); us < 1<<27; us += 1 + us/7 {
		if b := latencyBound(latencyBucket(us)); uint64(b) < us || float64(b) > float64(us)*17/16+1 {
			t.Fatalf("%d us are counted as %d", us, b)
		}
	}
	var l latencies
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(r.ExpFloat64() * float64(20*time.Millisecond)).Truncate(time.Microsecond)
		l.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	var s spread
	s.add(&l)
	for _, q := range []float64{0, 0.5, 0.99, 0.999, 1} {
		exact := ms(all[min(int(q*10_000), 9_999)])
		if got := s.quantile(q); got < exact || got > exact*17/16+0.001 {
			t.Errorf("quantile %v is %v ms, not %v", q, got, exact)
		}
	}
}

// With real processes: what one of them has seen before it was killed counts, and the others see
// what comes then.
func TestTrialOfProcesses(t *testing.T) {
	r := &run{settings: settings{quick: true, rate: 500, keys: 1000}}
	err := withTrial(r, trialSystems[0], 3, nil, func(tr *trial) error {
		if n, _ := tr.loadsOf(tr.allKeys()); n != 0 {
			t.Errorf("%v loads are left from the start", n)
		}
		if err := tr.drive(tr.live(), 0); err != nil {
			return err
		}
		staleAt := func(place int) func() bool { return func() bool { return tr.ledger.of[place].stale.Load() > 0 } }
		eventually(t, func() bool { y := tr.tally(span{0, trialSlots}, 0, 1, 2); return y.reads.n > 100 })
		if stale, _, wrong, _ := tr.violations(); stale+wrong > 0 {
			t.Errorf("%v stale reads, %v wrong ones", stale, wrong)
		}
		for key := range tr.set.keys { // acknowledge writes that no cache has got
			raise(&tr.ledger.acknowledged[key], 1<<40)
		}
		eventually(t, staleAt(2))
		tr.kill(2)
		if !staleAt(2)() || len(tr.live()) != 2 {
			t.Error("a process that was killed has taken along what it had counted")
		}
		for i := range 2 {
			tr.ledger.of[i].stale.Store(0)
			eventually(t, staleAt(i))
		}
		tr.mustNotBe(r, "test", 1, 0)
		return tr.rest(tr.live())
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.wrong) != 1 {
		t.Errorf("stale reads do not make the suite fail: %v", r.wrong)
	}
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for range 1000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it did not come to that")
}

// The whole suite with Covey alone, in short.
func TestFailoverSuite(t *testing.T) {
	var out bytes.Buffer
	if err := benchmark([]string{"failover", "-quick", "-cases", "^kill$"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"kill, covey-replicas", ": 0 stale reads", "| extra_loads (% of its keys", "| s | keys read/s |", "| kill |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output has no %q:\n%s", want, out.String())
		}
	}
}

// The suites churn and restart with Covey alone, in short.
func TestChurnSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	for suite, wants := range map[string][]string{
		"churn":   {"join, covey-replicas", "replace, covey-replicas", ": 0 reads of deleted keys", ": 0 stale reads", "| loads (% of these", "is ready"},
		"restart": {"cold, covey-replicas", "alone, covey:", "| conditional (% of the loads)", "| s | keys read/s |"},
	} {
		var out bytes.Buffer
		if err := benchmark([]string{suite, "-quick", "-cases", "^(join|replace|cold|alone)$"}, &out); err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the output of %s has no %q:\n%s", suite, want, out.String())
			}
		}
	}
}
