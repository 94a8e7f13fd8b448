package covey

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// inAny runs f in a bubble with two caches and keys that each owns: one cache twice, or those of a
// group of two.
func inAny(t *testing.T, o Options[string], f func(t *testing.T, c [2]*Cache[string], key func(owner int) string)) {
	t.Helper()
	o.LoadTimeout = time.Hour
	t.Run("cache", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, err := New("c", o)
			require.NoError(t, err)
			defer c.Close()
			n := 0
			f(t, [2]*Cache[string]{c, c}, func(int) string { n++; return fmt.Sprint("k", n) })
		})
	})
	t.Run("group", func(t *testing.T) {
		inWorld(t, 2, o, func(t *testing.T, w *world) {
			var n [2]int
			f(t, [2]*Cache[string]{w.procs[0].cache, w.procs[1].cache}, func(owner int) string {
				n[owner]++
				return w.procs[owner].keys(n[owner])[n[owner]-1]
			})
		})
	})
}

// soon fails the test if f takes longer than any load of these tests: somebody has waited for a
// timeout.
func soon(t *testing.T, f func()) {
	t.Helper()
	begin := time.Now()
	f()
	require.Less(t, time.Since(begin), 10*time.Minute)
}

func TestQueuedLoadsAreLetIn(t *testing.T) {
	for _, owner := range []int{0, 1} { // of the key that the load at 0 waits for
		for _, asker := range []int{0, 1} { // for it, first
			for _, many := range []bool{false, true} {
				t.Run(fmt.Sprint(owner, asker, many), func(t *testing.T) {
					inAny(t, Options[string]{MaxLoads: 1}, func(t *testing.T, c [2]*Cache[string], key func(int) string) {
						a, b, other := key(0), key(owner), key(1)
						queued := make(chan struct{})
						get := func(ctx context.Context, i int, key string, load Loader[string]) (string, error) {
							if !many {
								return c[i].Get(ctx, key, load)
							}
							m, err := c[i].GetMany(ctx, []string{key}, func(ctx context.Context, keys []string) (map[string]string, error) {
								v, err := load(ctx, keys[0])
								return map[string]string{keys[0]: v}, err
							})
							return m[key], err
						}
						plain := func(context.Context, string) (string, error) {
							time.Sleep(time.Second)
							return "v", nil
						}
						var wg sync.WaitGroup
						soon(t, func() {
							wg.Go(func() {
								v, err := get(t.Context(), 0, a, func(ctx context.Context, _ string) (string, error) {
									<-queued
									return get(ctx, 0, b, plain)
								})
								if err != nil || v != "v" {
									t.Error(v, err)
								}
							})
							synctest.Wait()
							wg.Go(func() { // takes the place at 1, and waits for 0
								_, err := c[1].Get(t.Context(), other, func(ctx context.Context, _ string) (string, error) {
									return get(ctx, 1, a, plain)
								})
								if err != nil {
									t.Error(err)
								}
							})
							synctest.Wait()
							wg.Go(func() {
								if _, err := get(t.Context(), asker, b, plain); err != nil {
									t.Error(err)
								}
							})
							synctest.Wait()
							close(queued)
							wg.Wait()
						})
					})
				})
			}
		}
	}
}

// Nobody but a load that a running load waits for passes MaxLoads.
func TestOnlyWantedLoadsPassTheCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options[int]{MaxLoads: 1, TTL: time.Hour, StaleWhileRevalidate: time.Hour})
		var running, most atomic.Int64
		load := func(context.Context, string) (int, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(time.Second)
			return 1, nil
		}
		for i := range 40 {
			require.NoError(t, c.Put(t.Context(), fmt.Sprint("stale", i), i))
		}
		time.Sleep(time.Hour + time.Minute)
		var late context.Context
		_, err := c.Get(t.Context(), "a", func(ctx context.Context, _ string) (int, error) {
			for i := range 40 { // each starts a refresh, if it may
				if _, err := c.Get(ctx, fmt.Sprint("stale", i), load); err != nil {
					return 0, err
				}
			}
			synctest.Wait()
			require.Zero(t, running.Load(), "refreshes passed MaxLoads")
			late = context.WithoutCancel(ctx)
			return 1, nil
		})
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i := range 10 { // the load has ended, so that it waits for nothing
			wg.Go(func() { _, _ = c.Get(late, fmt.Sprint("late", i), load) })
		}
		wg.Wait()
		require.EqualValues(t, 1, most.Load())
	})
}

// Loads that wait for each other in a ring: one of them at least is told, and all end at once.
func TestRingOfLoads(t *testing.T) {
	for _, length := range []int{2, 3, 5} {
		for _, many := range []bool{false, true} {
			t.Run(fmt.Sprint(length, many), func(t *testing.T) {
				inAny(t, Options[string]{}, func(t *testing.T, c [2]*Cache[string], key func(int) string) {
					if c[0] != c[1] && length > 2 {
						return // see the head of waits.go
					}
					for _, owners := range [][2]int{{0, 1}, {1, 0}, {0, 0}} {
						keys := make([]string, length)
						for i := range keys {
							keys[i] = key(owners[i%2])
						}
						all := make(chan struct{})
						var recursions atomic.Int64
						var wg sync.WaitGroup
						soon(t, func() {
							for i := range keys {
								next := keys[(i+1)%length]
								wg.Go(func() {
									_, err := c[i%2].Get(t.Context(), keys[i], func(ctx context.Context, _ string) (string, error) {
										<-all
										if many {
											_, err := c[i%2].GetMany(ctx, []string{next}, func(context.Context, []string) (map[string]string, error) {
												return nil, fmt.Errorf("%s is loading already", next)
											})
											return "", err
										}
										return c[i%2].Get(ctx, next, func(context.Context, string) (string, error) {
											return "", fmt.Errorf("%s is loading already", next)
										})
									})
									if errors.Is(err, ErrRecursiveLoad) {
										recursions.Add(1)
									}
								})
							}
							synctest.Wait()
							close(all)
							wg.Wait()
						})
						require.Positive(t, recursions.Load(), "%v", owners)
					}
				})
			})
		}
	}
}

// The same, where the loaders are those of the cache and run at the owners.
func TestRingOfLoadsAtOwners(t *testing.T) {
	for _, bulk := range []bool{false, true} {
		var keys [2]string
		var caches [2]*Cache[string]
		all := make(chan struct{})
		load := func(ctx context.Context, key string) (string, error) {
			<-all
			if key == keys[0] {
				return caches[0].Get(ctx, keys[1], nil)
			}
			return caches[1].Get(ctx, keys[0], nil)
		}
		o := Options[string]{Loader: load, MaxLoads: 1}
		if bulk {
			o.BulkLoader = func(ctx context.Context, keys []string) (map[string]string, error) {
				v, err := load(ctx, keys[0])
				if err != nil {
					return nil, err
				}
				return map[string]string{keys[0]: v}, nil
			}
		}
		inWorld(t, 2, o, func(t *testing.T, w *world) {
			all = make(chan struct{})
			for i, p := range w.procs {
				caches[i], keys[i] = p.cache, p.key()
			}
			var wg sync.WaitGroup
			soon(t, func() {
				for i := range keys {
					wg.Go(func() {
						_, err := caches[1-i].GetMany(t.Context(), keys[i:i+1], nil)
						if !errors.Is(err, ErrRecursiveLoad) {
							t.Error(err)
						}
					})
				}
				synctest.Wait()
				close(all)
				wg.Wait()
			})
		})
	}
}

// The chain of a load counts while it runs, and what it belongs to is known for ever.
func TestContextOutlivesItsLoad(t *testing.T) {
	inAny(t, Options[string]{}, func(t *testing.T, c [2]*Cache[string], key func(int) string) {
		for owner := range 2 {
			k := key(owner)
			var late context.Context
			load := func(ctx context.Context, _ string) (string, error) {
				late = context.WithoutCancel(ctx)
				return "v", nil
			}
			_, err := c[0].Get(t.Context(), k, load)
			require.NoError(t, err)
			require.NoError(t, c[0].Delete(t.Context(), k))
			first, info := late, LoadInfo(late)
			v, err := c[0].Get(first, k, load)
			require.NoError(t, err)
			require.Equal(t, "v", v)
			require.NotSame(t, info, LoadInfo(late), "of the second load")
			require.Same(t, info, LoadInfo(first))
		}
	})
}

func TestManyCallersWithinLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		c := newCache(t, Options[int]{MaxLoads: 1, LoadTimeout: time.Hour})
		var wg sync.WaitGroup
		soon(t, func() {
			for i := range n {
				wg.Go(func() {
					v, err := c.Get(t.Context(), fmt.Sprint(i), func(ctx context.Context, _ string) (int, error) {
						return c.Get(ctx, "shared", slow(1, time.Millisecond))
					})
					if err != nil || v != 1 {
						t.Error(v, err)
					}
				})
			}
			wg.Go(func() { // as many within one load
				_, err := c.Get(t.Context(), "all", func(ctx context.Context, _ string) (int, error) {
					var wg sync.WaitGroup
					for range n {
						wg.Go(func() {
							if v, err := c.Get(ctx, "shared", slow(1, time.Millisecond)); err != nil || v != 1 {
								t.Error(v, err)
							}
						})
					}
					wg.Wait()
					return 1, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
		})
	})
}

// Loads ask for what comes to their minds, also for each other, one at a time or many at once.
// Whatever they do, nobody waits for a timeout, and a load that asks for later keys only is never
// refused.
func TestRandomLoadsNeverHang(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inAny(t, Options[string]{MaxLoads: 1 + int(seed%3)}, func(t *testing.T, c [2]*Cache[string], key func(int) string) {
				acyclic := seed%2 == 0
				if c[0] != c[1] && !acyclic {
					return // see the head of waits.go
				}
				r := rand.New(rand.NewPCG(seed, 1))
				keys := make([]string, 12)
				asks := make(map[string][]string)
				calls := make(map[string]time.Duration)
				for i := range keys {
					keys[i] = key(i % 2)
				}
				for i, k := range keys {
					from := 0
					if acyclic {
						from = i + 1
					}
					for range r.IntN(4) {
						if from < len(keys) {
							asks[k] = append(asks[k], keys[from+r.IntN(len(keys)-from)])
						}
					}
					calls[k] = time.Duration(r.IntN(3)) * time.Millisecond
				}
				later := func(a, b string) int { return slices.Index(keys, a) - slices.Index(keys, b) }
				var load func(i int) Loader[string]
				load = func(i int) Loader[string] {
					return func(ctx context.Context, k string) (string, error) {
						time.Sleep(calls[k])
						if len(k)%2 == 0 || len(asks[k]) == 3 {
							_, err := c[i].GetMany(ctx, asks[k], func(ctx context.Context, keys []string) (map[string]string, error) {
								m := make(map[string]string)
								for _, k := range keys {
									m[k] = "v"
								}
								_, err := load(i)(ctx, slices.MaxFunc(keys, later))
								return m, err
							})
							return "v", err
						}
						for _, k := range asks[k] {
							if _, err := c[i].Get(ctx, k, load(i)); err != nil {
								return "", err
							}
						}
						return "v", nil
					}
				}
				var wg sync.WaitGroup
				soon(t, func() {
					for range 4 {
						for j, k := range keys {
							wg.Go(func() {
								time.Sleep(time.Duration(j%3) * time.Millisecond)
								_, err := c[j%2].Get(t.Context(), k, load(j%2))
								if err != nil && (acyclic || !errors.Is(err, ErrRecursiveLoad)) {
									t.Error(k, err)
								}
							})
						}
					}
					wg.Wait()
				})
			})
		})
	}
}
