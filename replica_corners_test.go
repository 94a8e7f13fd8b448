package covey

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// Events.Removed may write the very key that has been written, at the owner and at who has a replica.
func TestRemovedWritesTheKey(t *testing.T) {
	for _, at := range []string{"owner", "replica"} {
		t.Run(at, func(t *testing.T) {
			var w *world
			var again atomic.Bool
			o := Options[string]{Replicas: 2, L1: -1}
			o.Events.Removed = func(r Removal[string]) {
				if r.Value == "first" && again.CompareAndSwap(false, true) {
					for _, p := range w.procs {
						if p.name == map[string]string{"owner": "a", "replica": "b"}[at] {
							_ = p.cache.Put(context.Background(), r.Key, "by the event")
						}
					}
				}
			}
			inWorld(t, 3, o, func(t *testing.T, in *world) {
				w = in
				a, b := w.procs[0], w.procs[1]
				key := replicatedTo(a, b)
				for _, p := range w.procs {
					again.Store(false)
					require.NoError(t, p.cache.Put(t.Context(), key, "first"))
					time.Sleep(time.Second)
					began := time.Now()
					require.NoError(t, p.cache.Put(t.Context(), key, "second"))
					require.Less(t, time.Since(began), time.Second)
					time.Sleep(time.Second)
					require.True(t, again.Load())
					v, err := w.procs[2].cache.Get(t.Context(), key, nil)
					require.NoError(t, err)
					require.Contains(t, []string{"second", "by the event"}, v)
				}
			})
		})
	}
}

// What took long to arrive is sent again, and then it ends when it should.
func TestReplicaThatWasLate(t *testing.T) {
	inWorld(t, 2, Options[string]{Replicas: 2, L1: -1}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		key := replicatedTo(a, b)
		require.NoError(t, a.cache.Put(t.Context(), key, "v", WithTTL(time.Minute)))
		time.Sleep(time.Second)
		v := b.group.view.Load()
		find := func() *node { return b.cache.store.index.find(b.cache.store.hash(key), key) }
		keep := func(ttl time.Duration) int {
			gen, label, _ := b.cache.peering.present()
			sent := parcel[string]{p: b.cache.peering, gen: gen, label: label, view: v, from: v.indexOf(a.url),
				stamp: a.group.stamps.next(), arrived: b.cache.store.clock.now()}
			f := wire.Frame{Type: wire.Hit, Key: key, Value: []byte(`"v"`), TTL: ttl, Made: find().stamp}
			require.NoError(t, b.cache.peering.encode(&f, "v"))
			return sent.keep(&f)
		}
		before := find().expires
		require.Zero(t, keep(2*time.Minute), "it is there, and ends sooner")
		require.Equal(t, before, find().expires)
		require.Equal(t, 1, keep(30*time.Second))
		require.Less(t, find().expires, before)
	})
}

// A cache that is opened takes nothing from before a write for which the process had nothing to forget.
func TestReplicaAtAnOpening(t *testing.T) {
	inWorld(t, 2, Options[string]{Replicas: 2, L1: -1}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		key := replicatedTo(a, b)
		require.NoError(t, b.cache.Close())
		c := makeCache(b.cache.name, b.cache.opt)
		p := c.newPeering(b.group, a.cache.peering.codec)
		time.Sleep(time.Millisecond)
		before := a.group.stamps.next()
		require.NoError(t, a.cache.Put(t.Context(), key, "new")) // b has no cache yet
		require.NoError(t, b.group.join(c.name, p.codec, p, &p.id))
		gen, label, v := p.present()
		sent := parcel[string]{p: p, gen: gen, label: label, view: v, from: v.indexOf(a.url), stamp: before, arrived: c.store.clock.now()}
		f := wire.Frame{Type: wire.Hit, Key: key, Made: before}
		require.NoError(t, p.encode(&f, "old"))
		require.Zero(t, sent.keep(&f))
		require.NoError(t, c.Close())
	})
}

// Values that are larger than a batch go alone; what is too large for one member is not kept there.
func TestLargeReplicas(t *testing.T) {
	inWorld(t, 2, Options[string]{Replicas: 2, L1: -1, MaxValueBytes: 1 << 20}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		key := replicatedTo(a, b)
		large := strings.Repeat("x", 300<<10)
		require.NoError(t, a.cache.Put(t.Context(), key, large))
		time.Sleep(time.Second)
		require.Equal(t, 2, w.has(key))
		b.cache.maxValue.Store(1000)
		require.NoError(t, a.cache.Put(t.Context(), key, large+"y"))
		time.Sleep(time.Second)
		require.Equal(t, 1, w.has(key))
		v, err := b.cache.Get(t.Context(), key, nil)
		require.NoError(t, err)
		require.Len(t, v, len(large)+1)
	})
}

// Replicas leave before what a process owns, by any policy, and the bounds hold.
func TestReplicasLeaveFirst(t *testing.T) {
	for _, eviction := range []Eviction{LFU, LRU, FIFO} {
		t.Run(eviction.String(), func(t *testing.T) {
			inWorld(t, 2, Options[string]{Replicas: 2, L1: -1, MaxEntries: 200, Eviction: eviction}, func(t *testing.T, w *world) {
				a, b := w.procs[0], w.procs[1]
				for _, key := range a.keys(100) {
					require.NoError(t, a.cache.Put(t.Context(), key, "v"))
				}
				for _, key := range b.keys(150) {
					require.NoError(t, a.cache.Put(t.Context(), key, "v"))
				}
				time.Sleep(time.Second)
				synctest.Wait()
				for _, p := range w.procs {
					s := p.cache.Stats()
					require.EqualValues(t, 200, s.Entries)
					own := map[*proc]int{a: 100, b: 150}[p]
					require.EqualValues(t, 200-own, s.Replicas)
					p.cache.verify()
					for _, key := range p.keys(own) {
						_, ok := p.cache.Peek(key)
						require.True(t, ok)
					}
				}
				for _, key := range a.keys(300) { // more than fit
					require.NoError(t, a.cache.Put(t.Context(), key, "v"))
				}
				time.Sleep(time.Second)
				require.EqualValues(t, 200, a.cache.Stats().Entries)
				require.Zero(t, a.cache.Stats().Replicas)
				require.LessOrEqual(t, b.cache.Stats().Entries, int64(200))
				for _, key := range a.keys(300) {
					require.NoError(t, a.cache.Delete(t.Context(), key))
				}
				for _, p := range w.procs {
					p.cache.verify()
				}
			})
		})
	}
}

// missingAt returns how many of the keys a process has no entry of.
func (p *proc) missingAt(keys []string) (n int) {
	for _, key := range keys {
		if _, ok := p.cache.Peek(key); !ok {
			n++
		}
	}
	return n
}

// Whoever opens its cache later than its process has become a member gets its replicas, too.
func TestReplicasComeToWhoOpensLate(t *testing.T) {
	inWorld(t, 2, Options[string]{Replicas: 2, L1: -1}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		require.NoError(t, b.cache.Close())
		keys := a.keys(1000)
		for _, key := range keys {
			require.NoError(t, a.cache.Put(t.Context(), key, "v"))
		}
		time.Sleep(time.Minute)
		require.Zero(t, a.cache.peering.outboxes.waiting(), "keys that wait for who has no cache")
		b.open(t)
		time.Sleep(2 * catchUpEvery)
		require.Zero(t, b.missingAt(keys))
	})
}

// What could not be sent at once, since too much was written at a time, is sent later.
func TestReplicasOfABurst(t *testing.T) {
	inWorld(t, 2, Options[string]{Replicas: 2, L1: -1}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		keys := a.keys(maxOutbox + 1000)
		items := make(map[string]string, len(keys))
		for _, key := range keys {
			items[key] = "v"
		}
		require.NoError(t, a.cache.PutMany(t.Context(), items))
		require.Positive(t, a.cache.Stats().ReplicasMissed, "all were sent at once: that tests nothing")
		time.Sleep(2 * catchUpEvery)
		require.Zero(t, b.missingAt(keys))
		require.Zero(t, a.cache.peering.outboxes.waiting())
	})
}

// Who leaves while it cannot be sent anything, and comes back, is sent what is written from then on.
func TestReplicasForWhoComesBack(t *testing.T) {
	inWorld(t, 2, Options[string]{Replicas: 2, L1: -1}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		p := a.cache.peering
		box := p.outboxes.to(b.url)
		require.True(t, box.giveUp([]string{"k"}))
		p.catchUp(box, "http://gone") // as if the next view had come before this one had settled
		key := replicatedTo(a, b)
		require.NoError(t, a.cache.Put(t.Context(), key, "v"))
		time.Sleep(time.Second)
		require.Equal(t, 2, w.has(key))
	})
}
