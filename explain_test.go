package covey

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// stateOf returns what a process is said to have; nil: it is not in the explanation.
func stateOf(e Explanation, p *proc) *KeyState {
	for i := range e.States {
		if e.States[i].Peer == p.url {
			return &e.States[i]
		}
	}
	return nil
}

// Whoever is asked, a key is explained with its true owner, custodians and holders.
func TestExplain(t *testing.T) {
	inWorld(t, 3, Options[string]{Replicas: 2, TTL: time.Hour, TTLJitter: -1}, func(t *testing.T, w *world) {
		a := w.procs[0]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "v", WithVersion(7)))
		put := time.Now()
		time.Sleep(time.Minute)
		custodians := a.group.custodiansOf(k)
		require.Len(t, custodians, 2)
		var replica, other *proc
		for _, p := range w.procs[1:] {
			if p.url == custodians[1] {
				replica = p
			} else {
				other = p
			}
		}
		wanted(t, other, k)
		borrowAt(t, other, k)
		before := []Stats{a.cache.Stats(), replica.cache.Stats(), other.cache.Stats()}
		for _, p := range w.procs {
			e, err := p.cache.Explain(t.Context(), k)
			require.NoError(t, err)
			require.Equal(t, "test", e.Cache)
			require.Equal(t, k, e.Key)
			require.Equal(t, p.url, e.Self)
			require.Equal(t, p.url, e.States[0].Peer)
			require.Equal(t, a.url, e.Owner)
			require.Equal(t, custodians, e.Custodians)
			require.Equal(t, p.group.Stats().Epoch, e.Epoch)
			require.Len(t, e.States, 3, "each process once")
			own, kept, lent := stateOf(e, a), stateOf(e, replica), stateOf(e, other)
			require.Equal(t, []Source{SourceMain, SourceReplica, SourceL1}, []Source{own.Source, kept.Source, lent.Source})
			for _, s := range e.States {
				require.NoError(t, s.Err)
				require.True(t, s.Usable)
				require.EqualValues(t, 7, s.Version)
				require.InDelta(t, time.Minute, s.Age, float64(time.Second))
				require.Positive(t, s.TTL)
				require.LessOrEqual(t, s.TTL, time.Hour-time.Minute)
				require.Positive(t, s.Bytes)
				require.Zero(t, s.Recalled)
			}
			require.Equal(t, "put", own.Write)
			require.WithinDuration(t, put, own.Written, 10*time.Millisecond)
			require.Len(t, own.Lent, 1)
			require.Equal(t, other.url, own.Lent[0].Peer)
			require.InDelta(t, lent.TTL, own.Lent[0].For, float64(time.Second))
			require.Equal(t, a.url, lent.Lender)
			require.Positive(t, lent.Lease)
		}
		for i, p := range []*proc{a, replica, other} {
			now := p.cache.Stats()
			require.Equal(t, before[i].Hits+before[i].Misses+before[i].L1Hits+before[i].Served, now.Hits+now.Misses+now.L1Hits+now.Served, "looking counts for nothing")
		}

		require.NoError(t, replica.cache.Delete(t.Context(), k))
		e, err := other.cache.Explain(t.Context(), k)
		require.NoError(t, err)
		require.Len(t, e.States, 3)
		for _, s := range e.States {
			require.Zero(t, s.Source)
			require.False(t, s.Usable)
			require.Empty(t, s.Lent)
		}
		require.Equal(t, "delete", stateOf(e, a).Write)
		require.WithinDuration(t, time.Now(), stateOf(e, a).Recalled, time.Second, "the owner took it back")
		require.WithinDuration(t, time.Now(), stateOf(e, other).Recalled, time.Second, "the borrower gave it back")
		require.Zero(t, stateOf(e, replica).Recalled)

		time.Sleep(2 * time.Millisecond)
		require.NoError(t, a.cache.Clear(t.Context()))
		e, err = other.cache.Explain(t.Context(), k)
		require.NoError(t, err)
		require.Equal(t, "clear", stateOf(e, a).Write)
	})
}

// custodiansOf returns the names of those who have a key in custody.
func (g *Group) custodiansOf(key string) (names []string) {
	v := g.view.Load()
	for _, i := range v.custodians(ringHash(key), v.copies, nil) {
		names = append(names, v.nameOf(i))
	}
	return names
}

// A load in progress is shown with its age and all who wait for it, wherever they are.
func TestInFlight(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		slow := w.slow(time.Minute)
		for range 3 {
			go func() { _, _ = a.cache.Get(t.Context(), k, slow) }()
		}
		synctest.Wait()
		go func() { _, _ = b.cache.Get(t.Context(), k, slow) }()
		time.Sleep(time.Second)
		all := a.cache.InFlight()
		require.Equal(t, []Flight{{Key: k, Age: time.Second, Waiters: 4}}, all)
		e, err := b.cache.Explain(t.Context(), k)
		require.NoError(t, err)
		require.NotNil(t, stateOf(e, a).Loading)
		require.Equal(t, 4, stateOf(e, a).Loading.Waiters)
		require.NoError(t, a.cache.Delete(t.Context(), k))
		all = a.cache.InFlight()
		require.Len(t, all, 1)
		require.True(t, all[0].Void)
		require.EqualValues(t, len(all), a.cache.Stats().Loading)

		own := b.key()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = a.cache.Get(ctx, own, slow) }() // under a right
		time.Sleep(time.Second)
		require.Equal(t, a.url, b.cache.InFlight()[0].Peer)
		require.Equal(t, b.url, a.cache.InFlight()[1].Peer)
		for _, r := range b.group.Reports(t.Context()) {
			require.NoError(t, r.Err)
			require.EqualValues(t, r.Caches[0].Stats.Loading, len(r.Caches[0].InFlight))
			require.NotEmpty(t, r.Caches[0].InFlight)
		}
		cancel()
		time.Sleep(2 * time.Minute)
		require.Empty(t, a.cache.InFlight())
		require.Empty(t, b.cache.InFlight())
	})
}

// A cache that is alone explains what it has.
func TestExplainAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{TTL: time.Second, TTLJitter: -1, StaleIfError: time.Minute})
		ctx := t.Context()
		_, err := c.Explain(ctx, "")
		require.ErrorIs(t, err, ErrInvalidKey)
		e, err := c.Explain(ctx, "k")
		require.NoError(t, err)
		require.Equal(t, Explanation{Cache: c.Name(), Key: "k", States: []KeyState{{}}}, e)
		require.NoError(t, c.Put(ctx, "k", 1))
		time.Sleep(2 * time.Second)
		e, err = c.Explain(ctx, "k")
		require.NoError(t, err)
		s := e.States[0]
		require.True(t, s.Usable && s.Stale)
		require.Equal(t, -time.Second, s.TTL)
		require.Equal(t, 2*time.Second, s.Age)
		require.Equal(t, "put", s.Write)
		require.NoError(t, c.Expire(ctx, "k"))
		e, _ = c.Explain(ctx, "k")
		require.Equal(t, "expire", e.States[0].Write)
		require.NoError(t, c.Close())
		_, err = c.Explain(ctx, "k")
		require.ErrorIs(t, err, ErrClosed)
	})
}

// Who cannot be asked is said to be so, and nobody waits for him for long.
func TestExplainOfTheSilent(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		w.net.Pause("a")
		defer w.net.Resume("a")
		start := time.Now()
		e, err := b.cache.Explain(t.Context(), a.key())
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(start), explainFor)
		require.Equal(t, a.url, e.Owner)
		require.Error(t, stateOf(e, a).Err)
		require.NoError(t, e.States[0].Err)
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("why")
		cancel(why)
		_, err = b.cache.Explain(ctx, a.key())
		require.ErrorIs(t, err, why)
		b2, err := json.Marshal(e)
		require.NoError(t, err)
		var back Explanation
		require.NoError(t, json.Unmarshal(b2, &back))
		require.EqualError(t, stateOf(back, a).Err, stateOf(e, a).Err.Error())
		require.Nil(t, stateOf(back, b).Err)

		reports := b.group.Reports(t.Context())
		require.Len(t, reports, 3)
		require.Error(t, reports[0].Err)
		require.Equal(t, a.url, reports[0].Member)
		require.NoError(t, reports[1].Err)
		require.NoError(t, reports[2].Err)
	})
}

// Reports come from all members, with all that is in them.
func TestReports(t *testing.T) {
	inWorld(t, 3, Options[string]{Breaker: &Breaker{}}, func(t *testing.T, w *world) {
		a := w.procs[0]
		for _, p := range w.procs {
			k := p.key()
			for range 10 {
				_, err := a.cache.Get(t.Context(), k, constant("v"))
				require.NoError(t, err)
			}
			require.NoError(t, p.cache.Delete(t.Context(), k))
		}
		reports := w.procs[1].group.Reports(t.Context())
		require.Len(t, reports, 3)
		for i, p := range w.procs {
			r, s, g := reports[i], p.cache.Stats(), p.group.Stats()
			require.NoError(t, r.Err)
			require.Equal(t, p.url, r.Member)
			require.Equal(t, buildVersion(), r.Version)
			require.Positive(t, r.Uptime)
			require.Equal(t, time.Now().Unix(), r.At.Unix())
			require.Len(t, r.Caches, 1)
			require.Equal(t, "test", r.Caches[0].Name)
			require.Equal(t, s, r.Caches[0].Stats, "nothing gets lost in JSON")
			require.Equal(t, BreakerClosed, r.Caches[0].Stats.Breaker)
			require.Equal(t, g.Epoch, r.Group.Epoch)
			require.True(t, r.Group.Acting)
			require.Equal(t, len(p.group.Recent()), len(r.Recent))
			require.Equal(t, kindsOf(p.group.Recent()), kindsOf(r.Recent))
		}
	})
}
