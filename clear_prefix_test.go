package covey

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What begins alike goes, and nothing else; loads under way of it are not stored.
func TestDeletePrefix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		removed := make(map[string]Cause)
		o := Options[string]{Events: Events[string]{Removed: func(r Removal[string]) { removed[r.Key] = r.Cause }}}
		c := newCache(t, o)
		for _, key := range []string{"user:1", "user:12", "user:2", "user", "users", "group:1", "\xff\xfe"} {
			require.NoError(t, c.Put(t.Context(), key, key, WithVersion(5)))
		}
		loads := make(map[string]chan error)
		for _, key := range []string{"user:1x", "group:2"} {
			done := make(chan error, 1)
			loads[key] = done
			go func() {
				v, err := c.Get(t.Context(), key, func(context.Context, string) (string, error) {
					time.Sleep(time.Second)
					return "loaded", nil
				})
				require.Equal(t, "loaded", v)
				done <- err
			}()
		}
		synctest.Wait()
		require.NoError(t, c.DeletePrefix(t.Context(), "user:1"))
		require.Equal(t, map[string]Cause{"user:1": CauseDeleted, "user:12": CauseDeleted}, removed)
		for key, done := range loads {
			require.NoError(t, <-done, key)
		}
		require.False(t, c.Contains("user:1x"))
		for _, key := range []string{"user:2", "user", "users", "group:1", "group:2", "\xff\xfe"} {
			require.True(t, c.Contains(key), key)
		}
		require.ErrorIs(t, c.Put(t.Context(), "user:1", "v", WithVersion(4)), ErrOutdated)
		require.NoError(t, c.Put(t.Context(), "user:1", "v", WithVersion(6)))
		require.NoError(t, c.DeletePrefix(t.Context(), "\xff"))
		require.False(t, c.Contains("\xff\xfe"))
		require.NoError(t, c.DeletePrefix(t.Context(), "nothing"))
		require.ErrorIs(t, c.DeletePrefix(t.Context(), strings.Repeat("k", MaxKeyLen+1)), ErrInvalidKey)
		require.NoError(t, c.DeletePrefix(t.Context(), strings.Repeat("k", MaxKeyLen)))
		require.NoError(t, c.DeletePrefix(t.Context(), ""), "which is all")
		require.Zero(t, c.Len())
		require.NoError(t, c.Close())
		require.ErrorIs(t, c.DeletePrefix(t.Context(), "k"), ErrClosed)
	})
}

// In a group it goes at all: what they own, what they keep for others and what they have borrowed. The
// rest is not touched, and not loaded again.
func TestDeletePrefixInGroup(t *testing.T) {
	for _, o := range []Options[string]{{}, {Replicas: 2}, {Replicas: 3, ReadFrom: ReadFromAny}, {L1: -1}} {
		t.Run(fmt.Sprint(o.Replicas, o.L1), func(t *testing.T) {
			inWorld(t, 4, o, func(t *testing.T, w *world) {
				var all []string
				for i := range 300 {
					all = append(all, fmt.Sprint([]string{"a:", "b:"}[i%2], i))
				}
				for _, key := range all {
					require.NoError(t, w.procs[0].cache.Put(t.Context(), key, "old"))
				}
				time.Sleep(time.Second) // replicas
				use := func() {
					for _, key := range all {
						for _, p := range w.procs {
							for range 4 {
								v, err := p.cache.Get(t.Context(), key, nil)
								require.NoError(t, err)
								require.Equal(t, "old", v)
							}
						}
					}
				}
				use()
				require.NoError(t, w.procs[3].cache.DeletePrefix(t.Context(), "a:"))
				for _, key := range all {
					for _, p := range w.procs {
						_, ok, err := p.cache.Lookup(t.Context(), key)
						require.NoError(t, err)
						require.Equal(t, key[0] == 'b', ok, key)
					}
				}
				time.Sleep(10 * time.Second) // nor does it come back
				for _, key := range all {
					require.Equal(t, key[0] == 'b', w.has(key) > 0, key)
				}
				require.NoError(t, w.procs[1].cache.Put(t.Context(), all[0], "new"))
				require.NoError(t, w.procs[2].cache.DeletePrefix(t.Context(), "b:"))
				v, err := w.procs[0].cache.Get(t.Context(), all[0], nil)
				require.NoError(t, err)
				require.Equal(t, "new", v)
			})
		})
	}
}

// What a member borrows when it is done already, of an owner that is not, is taken back. The rest is
// not.
func TestDeletePrefixTakesBack(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		keys := a.keys(2)
		for _, k := range keys {
			require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		}
		number := newClear()
		require.NoError(t, b.cache.peering.clearOwn(t.Context(), 0, keys[0], number))
		for _, k := range keys {
			borrowAt(t, b, k)
		}
		require.NoError(t, a.cache.peering.clearOwn(t.Context(), 0, keys[0], number))
		_, ok := b.cache.Peek(keys[0])
		require.False(t, ok)
		e, _ := b.cache.Peek(keys[1])
		require.Equal(t, SourceL1, e.Source)
	})
}

// A load that began before, with whoever, is stored by nobody.
func TestDeletePrefixVoidsLoads(t *testing.T) {
	for _, closure := range []bool{false, true} {
		inWorld(t, 3, Options[string]{Replicas: 2}, func(t *testing.T, w *world) {
			a, b := w.procs[0], w.procs[1]
			key := b.key()
			load := w.slow(2 * time.Second)
			if closure { // a loads, by a right of b's
				load = func(context.Context, string) (string, error) { time.Sleep(2 * time.Second); return "old", nil }
			}
			ended := make(chan error, 1)
			go func() {
				_, err := a.cache.Get(t.Context(), key, load)
				ended <- err
			}()
			time.Sleep(time.Second)
			require.NoError(t, w.procs[2].cache.DeletePrefix(t.Context(), "key"))
			require.NoError(t, <-ended)
			time.Sleep(time.Second)
			require.Zero(t, w.has(key))
		})
	}
}

// Who can't be asked is named, and it is done later, to nothing that has come since.
func TestDeletePrefixIsPursued(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		keys := b.keys(40)
		for _, k := range append(keys, "other") {
			require.NoError(t, a.cache.Put(t.Context(), k, "old"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		w.net.Partition("a", "b")
		w.net.Reset("a", "b")
		synctest.Wait()
		err := a.cache.DeletePrefix(ctx, "key")
		var unconfirmed *UnconfirmedError
		require.ErrorAs(t, err, &unconfirmed)
		require.Equal(t, "key", unconfirmed.Key)
		require.Len(t, unconfirmed.Peers, 1)
		require.Equal(t, b.url, unconfirmed.Peers[0].Peer)
		require.Equal(t, 1, a.group.Stats().Pursued)
		time.Sleep(10 * time.Millisecond)
		for _, k := range keys[:20] {
			require.NoError(t, w.procs[2].cache.Put(t.Context(), k, "new"))
		}
		w.net.Heal("a", "b")
		time.Sleep(10 * time.Second)
		require.Zero(t, a.group.Stats().Pursued)
		for i, k := range append(keys, "other") {
			e, ok, err := w.procs[2].cache.Lookup(t.Context(), k)
			require.NoError(t, err)
			require.Equal(t, i < 20 || k == "other", ok, k)
			require.Equal(t, k == "other", e.Value == "old", k)
		}
	})
}

func BenchmarkDeletePrefix(b *testing.B) {
	c, err := New("bench", Options[int]{MaxBytes: 1 << 30})
	require.NoError(b, err)
	defer c.Close()
	for i := range 1_000_000 {
		require.NoError(b, c.Put(b.Context(), fmt.Sprint("user:", i), i))
	}
	for b.Loop() {
		require.NoError(b, c.DeletePrefix(b.Context(), "users:"))
	}
}
