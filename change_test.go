package covey

// change_test.go changes who is in the group, while it is used: lists that differ, peers that come,
// leave, crash or are no peers at all.
//
// Every test here ends with all goroutines of its bubble ended and all connections closed; see
// world.close.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What each member says of the others' weights counts for nothing, so that all go by one ring, and
// what is acknowledged holds.
func TestWeightsThatDiffer(t *testing.T) {
	inRosters(t, 4, "abcd", Options[string]{}, func(t *testing.T, w *world) {
		for i, p := range w.procs[:3] {
			list := members("abcd")
			list[(i+1)%3].Weight = 20
			p.opt.Discovery.(roster) <- list
		}
		time.Sleep(10 * time.Second)
		for i := range 40 {
			k, v := fmt.Sprint("key", i), strconv.Itoa(i)
			start := time.Now()
			require.NoError(t, w.procs[i%4].cache.Put(t.Context(), k, v))
			for _, p := range w.procs {
				require.Equal(t, w.procs[0].group.Owner(k), p.group.Owner(k))
				got, err := p.cache.Get(t.Context(), k, constant("loaded"))
				require.NoError(t, err)
				require.Equal(t, v, got)
			}
			require.Less(t, time.Since(start), time.Second)
		}
	})
}

// Something else answers at the address of one that is listed: it is no member, and Peers says why.
func TestNoPeer(t *testing.T) {
	upgraded := func(say string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(rw).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, say)
				_ = conn.Close()
			}
		}
	}
	const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: covey/1\r\n\r\n"
	for name, x := range map[string]struct {
		handler http.HandlerFunc
		says    string
	}{
		"404": {http.NotFound, "404"},
		"503": {func(rw http.ResponseWriter, _ *http.Request) {
			http.Error(rw, "starting", http.StatusServiceUnavailable)
		}, "503"},
		"never":      {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ""},
		"truncated":  {upgraded("HTTP/1.1 101 Swi"), "EOF"},
		"no hello":   {upgraded(switching), ""},
		"garbage":    {upgraded(switching + string(make([]byte, 1000))), ""},
		"long frame": {upgraded(switching + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			inRosters(t, 2, "ab", Options[string]{}, func(t *testing.T, w *world) {
				a, b := w.procs[0], w.procs[1]
				l, err := w.net.Listen("x:80")
				require.NoError(t, err)
				srv := &http.Server{Handler: x.handler}
				defer srv.Close()
				go func() { _ = srv.Serve(l) }()
				a.list("abx")
				b.list("abx")
				time.Sleep(10 * time.Second)
				start := time.Now()
				for i := range 20 {
					k := fmt.Sprint("key", i)
					for _, p := range w.procs {
						v, err := p.cache.Get(t.Context(), k, w.slow(0))
						require.NoError(t, err)
						require.Equal(t, "value of "+k, v)
					}
					require.NoError(t, a.cache.Put(t.Context(), k, "v"))
				}
				require.EqualValues(t, 20, w.loads.Load())
				require.Less(t, time.Since(start), time.Second, "nobody waits for x")
				found := false
				for _, p := range a.group.Peers() {
					if p.URL == "http://x"+DefaultPath {
						found = true
						require.Zero(t, p.Share)
						require.ErrorContains(t, p.Err, x.says)
					}
				}
				require.True(t, found)
				require.Equal(t, 2, b.group.Stats().Members)
			})
		})
	}
}

// A Delete whose owner cannot be reached removes the copies within reach, and the value as soon as
// the owner is back.
func TestDeleteWithoutTheOwner(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		k := b.key()
		require.NoError(t, b.cache.Put(t.Context(), k, "v1"))
		borrowAt(t, a, k)
		borrowAt(t, c, k)
		w.net.Pause("b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Error(t, a.cache.Delete(ctx, k))
		v, _ := a.cache.Get(t.Context(), k, nil)
		require.Empty(t, v, "the caller's own copy")
		time.Sleep(2 * time.Second)
		v, _ = c.cache.Get(t.Context(), k, nil)
		require.Empty(t, v, "another's copy, when its lease has ended")
		w.net.Resume("b")
		time.Sleep(10 * time.Second)
		require.Zero(t, a.group.Stats().Pursued)
		for _, p := range w.procs {
			v, _ := p.cache.Get(t.Context(), k, nil)
			require.Empty(t, v)
		}
	})
}

// So it is if no attempt has reached the owner, and if the owner itself could not be sure.
func TestDeleteThatReachesNobody(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		far, own := b.key(), a.key()
		for _, k := range []string{far, own} {
			require.NoError(t, c.cache.Put(t.Context(), k, "v1"))
		}
		w.net.Partition("a", "b") // c hears both, so both stay members
		w.net.Reset("a", "b")
		time.Sleep(3 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		require.ErrorIs(t, a.cache.Delete(ctx, far), ErrUnconfirmed)
		cancel()
		require.Equal(t, 1, a.group.Stats().Pursued)
		w.net.Pause("b")
		w.net.Pause("c")
		time.Sleep(5 * time.Second)
		require.False(t, a.group.Stats().Acting)
		require.ErrorIs(t, a.cache.Delete(t.Context(), own), ErrUnconfirmed)
		require.Equal(t, 2, a.group.Stats().Pursued)
		w.net.Resume("b")
		w.net.Resume("c")
		w.net.Heal("a", "b")
		time.Sleep(10 * time.Second)
		require.Zero(t, a.group.Stats().Pursued)
		for _, p := range w.procs {
			for _, k := range []string{far, own} {
				v, _ := p.cache.Get(t.Context(), k, nil)
				require.Empty(t, v)
			}
		}
	})
}

func TestDeleteManyRemovesCopies(t *testing.T) {
	inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
		var keys []string
		for _, p := range w.procs {
			own := p.keys(3)
			keys = append(keys, own...)
			for _, k := range own {
				require.NoError(t, p.cache.Put(t.Context(), k, "v1"))
				for _, q := range w.procs {
					if q != p {
						borrowAt(t, q, k)
					}
				}
			}
		}
		require.NoError(t, w.procs[0].cache.DeleteMany(t.Context(), keys))
		for _, p := range w.procs {
			require.Zero(t, p.cache.Stats().Entries+p.cache.Stats().L1Entries)
		}
		for _, p := range w.procs {
			found, err := p.cache.GetMany(t.Context(), keys, func(_ context.Context, keys []string) (map[string]string, error) {
				return nil, nil
			})
			require.NoError(t, err)
			require.Empty(t, found)
		}
	})
}

// Only what is left of a time is sent to peers: theirs began to count an hour apart.
func TestClocksDiffer(t *testing.T) {
	inRosters(t, 1, "a", Options[string]{TTL: time.Minute, TTLJitter: -1, EarlyRefresh: -1}, func(t *testing.T, w *world) {
		time.Sleep(time.Hour)
		for _, name := range "bc" {
			r := make(roster, 1)
			r <- members("abc")
			w.start(string(name), r)
		}
		a := w.procs[0]
		a.list("abc")
		require.NoError(t, a.cache.Close())
		var err error
		a.cache, err = New("test", Options[string]{Group: a.group, TTL: w.o.TTL, TTLJitter: -1, EarlyRefresh: -1})
		require.NoError(t, err, "a cache that is younger than its group")
		time.Sleep(10 * time.Second)
		for _, owner := range w.procs {
			k := owner.key()
			require.NoError(t, w.procs[2].cache.Put(t.Context(), k, "v"))
			for _, p := range w.procs {
				e, ok, err := p.cache.Lookup(t.Context(), k)
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, time.Minute, e.TTL)
			}
			for _, p := range w.procs {
				if p != owner {
					borrowAt(t, p, k)
				}
			}
			time.Sleep(30 * time.Second)
			for _, p := range w.procs {
				e, ok, err := p.cache.Lookup(t.Context(), k)
				require.NoError(t, err)
				require.True(t, ok)
				require.InDelta(t, 30*time.Second, e.TTL, float64(time.Second))
				require.InDelta(t, 30*time.Second, e.Age, float64(time.Second))
				require.Equal(t, p != owner, e.Source == SourceL1)
			}
			time.Sleep(30 * time.Second)
			for _, p := range w.procs {
				_, ok, err := p.cache.Lookup(t.Context(), k)
				require.NoError(t, err)
				require.False(t, ok)
			}
		}
	})
}

// Whoever waits for a peer that shuts down gets an answer or a clear error, also when there is no
// time to answer.
func TestShutdownWithCallers(t *testing.T) {
	for _, patient := range []bool{true, false} {
		t.Run(fmt.Sprintf("patient=%v", patient), func(t *testing.T) {
			inWorld(t, 3, Options[string]{}, func(t *testing.T, w *world) {
				a := w.procs[0]
				require.NoError(t, a.cache.Put(t.Context(), "warm", "v"))
				var wg sync.WaitGroup
				start := time.Now()
				for _, p := range w.procs {
					for _, owner := range w.procs {
						for i, k := range owner.keys(4) {
							wg.Go(func() {
								v, err := p.cache.Get(t.Context(), k, w.slow(time.Second))
								if p == a && err != nil {
									require.ErrorIs(t, err, ErrClosed)
									return
								}
								require.NoError(t, err)
								require.Equal(t, "value of "+k, v)
							})
							wg.Go(func() {
								time.Sleep(100 * time.Millisecond)
								err := p.cache.Delete(t.Context(), fmt.Sprint("other", i))
								if p == a && errors.Is(err, ErrClosed) {
									return
								}
								if err != nil {
									require.ErrorIs(t, err, ErrUnconfirmed)
								}
							})
						}
					}
				}
				time.Sleep(100 * time.Millisecond)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if !patient {
					cancel()
				}
				err := a.group.Shutdown(ctx)
				if patient {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, context.Canceled)
				}
				wg.Wait()
				require.Less(t, time.Since(start), 10*time.Second)
				_, err = a.cache.Get(t.Context(), "warm", nil)
				require.ErrorIs(t, err, ErrClosed)
				require.NoError(t, a.group.Shutdown(t.Context()), "again")
			})
		})
	}
}

// After everything has been used and all groups have been shut down there are as many goroutines as
// before, and no connection.
func TestNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		w := newWorld(t, 3, Options[string]{Loader: constant("loaded"), TTL: time.Minute})
		for _, p := range w.procs {
			for _, owner := range w.procs {
				keys := owner.keys(5)
				_, err := p.cache.GetMany(t.Context(), keys, nil)
				require.NoError(t, err)
				if p != owner {
					borrowAt(t, p, keys[0])
				}
				require.NoError(t, p.cache.DeleteMany(t.Context(), keys[1:]))
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				_, err = p.cache.Get(ctx, keys[2], w.slow(time.Second))
				require.Error(t, err)
				cancel()
			}
		}
		w.net.Pause("b")
		require.NoError(t, w.procs[0].cache.Clear(t.Context()), "the others go on without b")
		w.net.Resume("b")
		w.close()
		synctest.Wait()                                        // those who have said that they are done may still be about to end
		runtime.GC()                                           // stops the world: one that has ended is counted until its thread has put it away
		require.LessOrEqual(t, runtime.NumGoroutine(), before) // one of an earlier test may have ended since
	})
}
