package covey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// everywhere runs a test with a cache that is alone, and at the owner of key and another process of a
// group, without and with replicas, over links and over plain HTTP. It gets what each process has.
func everywhere(t *testing.T, o Options[string], f func(t *testing.T, c, other *Cache[string], key string)) {
	t.Run("alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := o
			o.Logger, o.TTLJitter, o.MaxValueBytes = slog.New(slog.DiscardHandler), -1, 1<<10
			c := newCache(t, o)
			f(t, c, c, "key")
		})
	})
	for _, replicas := range []int{1, 2} {
		for _, plain := range []bool{false, true} {
			for _, owns := range []bool{true, false} {
				if plain && (owns || replicas > 1) { // it is the caller's way to the owner that differs
					continue
				}
				t.Run(fmt.Sprintf("replicas %d, plain %v, owner %v", replicas, plain, owns), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						o := o
						o.Replicas, o.TTLJitter, o.MaxValueBytes = replicas, -1, 1<<10
						w := &world{t: t, net: netsim.New(), o: o}
						if plain {
							w.wrap = withoutLinks
						}
						urls := []string{"http://a", "http://b", "http://c"}
						for _, name := range []string{"a", "b", "c"} {
							w.start(name, StaticPeers(urls...))
						}
						w.ready()
						defer w.close()
						owner, other := w.procs[0], w.procs[1]
						key := owner.key()
						if !owns {
							owner, other = other, owner
						}
						f(t, owner.cache, other.cache, key)
					})
				})
			}
		}
	}
}

func withoutLinks(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			http.Error(w, "no upgrades here", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func TestConditionalWrites(t *testing.T) {
	everywhere(t, Options[string]{NegativeTTL: time.Minute, StaleIfError: time.Hour}, func(t *testing.T, c, other *Cache[string], key string) {
		ctx := t.Context()
		is := func(want string, version uint64) {
			t.Helper()
			for _, c := range []*Cache[string]{c, other} {
				e, ok, err := c.Lookup(ctx, key)
				require.NoError(t, err)
				require.Equal(t, want != "", ok && !e.Stale)
				if ok && want != "" {
					require.Equal(t, want, e.Value)
					require.Equal(t, version, e.Version)
				}
			}
		}
		require.ErrorIs(t, c.Put(ctx, key, "no", IfVersion(0)), ErrConflict)
		require.ErrorIs(t, c.Delete(ctx, key, DeleteIfVersion(0)), ErrConflict)
		is("", 0)
		require.NoError(t, c.Put(ctx, key, "one", IfAbsent()))
		require.ErrorIs(t, other.Put(ctx, key, "no", IfAbsent()), ErrConflict)
		require.ErrorIs(t, other.Put(ctx, key, "no", IfVersion(1)), ErrConflict)
		require.ErrorIs(t, other.PutNotFound(ctx, key, IfVersion(1)), ErrConflict)
		is("one", 0)
		require.NoError(t, other.Put(ctx, key, "two", IfVersion(0), WithVersion(5)))
		is("two", 5)
		require.NoError(t, c.Put(ctx, key, "three", IfVersion(5)))
		is("three", 5)
		require.ErrorIs(t, c.Put(ctx, key, "no", IfVersion(5), WithVersion(5)), ErrOutdated)
		require.ErrorIs(t, c.Put(ctx, key, "no", IfVersion(5), WithVersion(4)), ErrOutdated)
		require.ErrorIs(t, c.Delete(ctx, key, DeleteIfVersion(4)), ErrConflict)
		require.ErrorIs(t, c.Delete(ctx, key, DeleteIfVersion(5), DeletedAt(5)), ErrOutdated)
		is("three", 5)
		require.ErrorIs(t, c.Put(ctx, key, strings.Repeat("x", 1<<11), IfVersion(5)), ErrTooLarge)
		is("three", 5) // a conditional Put that fails changes nothing
		require.NoError(t, c.Delete(ctx, key, DeleteIfVersion(5), DeletedAt(6)))
		is("", 0)
		require.ErrorIs(t, c.Put(ctx, key, "no", IfAbsent(), WithVersion(6)), ErrOutdated)
		require.NoError(t, c.Put(ctx, key, "four", IfAbsent(), WithTTL(6*time.Second)))
		is("four", 6)
		require.NoError(t, c.Put(ctx, key, "gone", IfVersion(6), WithTTL(0)))
		is("", 0)
		require.NoError(t, c.PutNotFound(ctx, key, IfAbsent()))
		require.NoError(t, other.Put(ctx, key, "five", IfAbsent(), WithTTL(6*time.Second)), "a remembered ErrNotFound is no value")
		time.Sleep(8 * time.Second)
		require.ErrorIs(t, c.Put(ctx, key, "no", IfVersion(6)), ErrConflict, "what is stale counts as absent")
		require.NoError(t, c.Put(ctx, key, "six", IfAbsent()))
		is("six", 6)
		require.Error(t, c.Put(ctx, key, "no", IfAbsent(), IfVersion(1)))
		require.NoError(t, c.Clear(ctx))
		require.ErrorIs(t, c.Put(ctx, key, "no", IfVersion(6)), ErrConflict)
		err := other.PutMany(ctx, map[string]string{key: "seven", key + "x": "eight"}, IfAbsent())
		require.NoError(t, err)
		err = other.PutMany(ctx, map[string]string{key: "no", key + "y": "nine"}, IfAbsent())
		require.ErrorIs(t, err, ErrConflict)
		is("seven", 0)
		v, err := c.Get(ctx, key+"y", nil)
		require.NoError(t, err)
		require.Equal(t, "nine", v)
	})
}

func appending(s string) func(string, bool) (string, error) {
	return func(old string, ok bool) (string, error) {
		if !ok {
			return "new" + s, nil
		}
		return old + s, nil
	}
}

func TestUpdate(t *testing.T) {
	everywhere(t, Options[string]{NegativeTTL: time.Minute}, func(t *testing.T, c, other *Cache[string], key string) {
		ctx := t.Context()
		updated := func(c *Cache[string], want string, f func(string, bool) (string, error), o ...PutOption) {
			t.Helper()
			v, err := c.Update(ctx, key, f, o...)
			require.NoError(t, err)
			require.Equal(t, want, v)
		}
		is := func(want string, version uint64, ttl time.Duration) {
			t.Helper()
			for _, c := range []*Cache[string]{c, other} {
				e, ok, err := c.Lookup(ctx, key)
				require.NoError(t, err)
				require.Equal(t, want != "", ok)
				require.Equal(t, want, e.Value)
				require.Equal(t, version, e.Version)
				require.InDelta(t, ttl, e.TTL, float64(100*time.Millisecond))
			}
		}
		updated(c, "newa", appending("a"))
		updated(c, "newab", appending("b"))
		updated(other, "newabc", appending("c"))
		is("newabc", 0, 0)

		// What is there keeps its TTL and version.
		require.NoError(t, c.Put(ctx, key, "v", WithTTL(time.Hour), WithVersion(7)))
		time.Sleep(6 * time.Second)
		updated(other, "va", appending("a"))
		is("va", 7, time.Hour-6*time.Second)
		updated(c, "vab", appending("b"), WithTTL(2*time.Hour), WithVersion(8))
		is("vab", 8, 2*time.Hour)
		_, err := other.Update(ctx, key, appending("no"), WithVersion(8))
		require.ErrorIs(t, err, ErrOutdated)

		// f does not want to.
		for _, c := range []*Cache[string]{c, other} {
			updated(c, "vab", func(old string, ok bool) (string, error) { return "no", fmt.Errorf("so: %w", ErrUnchanged) })
			_, err = c.Update(ctx, key, func(string, bool) (string, error) { return "no", errors.New("mine") })
			require.EqualError(t, err, "mine")
			_, err = c.Update(ctx, key, func(string, bool) (string, error) { panic("oh") })
			var p *PanicError
			require.ErrorAs(t, err, &p)
			require.Equal(t, "oh", p.Value)
			_, err = c.Update(ctx, key, func(string, bool) (string, error) { return "", (*misbehaving)(nil) })
			require.ErrorAs(t, err, &p)
			done := make(chan bool)
			go func() {
				defer close(done)
				_, _ = c.Update(ctx, key, func(string, bool) (string, error) { runtime.Goexit(); return "", nil })
			}()
			<-done
			updated(c, "vab", func(old string, ok bool) (string, error) { return "no", ErrUnchanged })
		}
		is("vab", 8, 2*time.Hour)
		for range 2 * borrowFrom { // a copy will not do
			_, err := other.Get(ctx, key, nil)
			require.NoError(t, err)
		}
		updated(other, "vab", func(old string, ok bool) (string, error) { return "no", ErrUnchanged })
		updated(other, "", func(string, bool) (string, error) { return "no", ErrNotFound })
		_, ok, err := c.Lookup(ctx, key)
		require.NoError(t, err)
		require.False(t, ok)
		updated(other, "", func(_ string, ok bool) (string, error) { require.False(t, ok); return "no", ErrNotFound })

		// What is not fresh is absent, and so is a remembered ErrNotFound.
		require.NoError(t, c.PutNotFound(ctx, key))
		updated(other, "newd", appending("d"), WithTTL(6*time.Second))
		time.Sleep(8 * time.Second)
		updated(other, "newe", appending("e"), WithTTL(6*time.Second))
		updated(c, "newef", appending("f"), WithTTL(0))
		_, ok, err = other.Lookup(ctx, key)
		require.NoError(t, err)
		require.False(t, ok, "stale already")

		// Many at once, some of which write something else meanwhile.
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				c := []*Cache[string]{c, other}[i%2]
				_, err := c.Update(ctx, key, appending("x"))
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		updated(c, "new"+strings.Repeat("x", 40)+"y", appending("y"))

		// Mistakes.
		_, err = c.Update(ctx, key, appending("no"), IfAbsent())
		require.Error(t, err)
		_, err = c.Update(ctx, "", appending("no"))
		require.ErrorIs(t, err, ErrInvalidKey)
		_, err = c.Update(ctx, key, appending("no"), WithTTL(maxTTL+1))
		require.Error(t, err)
		_, err = c.Update(ctx, key, appending(strings.Repeat("x", 1<<11)))
		require.ErrorIs(t, err, ErrTooLarge)
		updated(c, "new"+strings.Repeat("x", 40)+"yz", appending("z"))
	})
}

type misbehaving struct{ text string }

func (m *misbehaving) Error() string { return m.text }

func TestUpdateLoads(t *testing.T) {
	var row atomic.Value
	row.Store("row")
	var loads atomic.Int64
	load := func(ctx context.Context, key string) (string, error) {
		loads.Add(1)
		v := row.Load().(string)
		if v == "down" {
			return "", errors.New("down")
		}
		if v == "" {
			return "", ErrNotFound
		}
		LoadInfo(ctx).SetTTL(6 * time.Second)
		if v == "secret" {
			LoadInfo(ctx).SetTTL(0)
		}
		return v, nil
	}
	everywhere(t, Options[string]{Loader: load, StaleWhileRevalidate: 10 * time.Second, StaleIfError: 20 * time.Second}, func(t *testing.T, c, other *Cache[string], key string) {
		ctx := t.Context()
		row.Store("row")
		loads.Store(0)
		v, err := c.Update(ctx, key, appending("+"))
		require.NoError(t, err)
		require.Equal(t, "row+", v)
		v, err = other.Update(ctx, key, appending("+"))
		require.NoError(t, err)
		require.Equal(t, "row++", v)
		require.EqualValues(t, 1, loads.Load())
		time.Sleep(8 * time.Second)
		v, err = other.Update(ctx, key, appending("-"))
		require.NoError(t, err)
		require.Equal(t, "row-", v, "what is stale is loaded")
		require.NoError(t, c.Delete(ctx, key))
		row.Store("")
		v, err = other.Update(ctx, key, appending("-"))
		require.NoError(t, err)
		require.Equal(t, "new-", v)
		require.NoError(t, c.Delete(ctx, key))
		row.Store("down")
		_, err = other.Update(ctx, key, appending("-"))
		require.ErrorContains(t, err, "down")
		row.Store("secret")
		_, err = other.Update(ctx, key, appending("-"))
		require.ErrorIs(t, err, ErrConflict, "what is not stored cannot be compared with")
	})
}

// f may hang, and call the cache for the same key. Others go on.
func TestUpdateFunctionMisbehaves(t *testing.T) {
	everywhere(t, Options[string]{}, func(t *testing.T, c, other *Cache[string], key string) {
		ctx := t.Context()
		hang, hung := make(chan bool), make(chan error, 1)
		go func() {
			_, err := c.Update(ctx, key, func(old string, ok bool) (string, error) {
				select {
				case <-hang:
				default:
					<-hang
				}
				return appending("late")(old, ok)
			})
			hung <- err
		}()
		synctest.Wait()
		for i, c := range []*Cache[string]{c, other} {
			v, err := c.Update(ctx, key, appending(strconv.Itoa(i)))
			require.NoError(t, err)
			require.Contains(t, v, strconv.Itoa(i))
		}
		brief, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err := c.Update(brief, key, appending("no"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		close(hang)
		require.NoError(t, <-hung)
		v, err := other.Get(ctx, key, nil)
		require.NoError(t, err)
		require.Equal(t, "new01late", v)

		calls := 0
		_, err = c.Update(ctx, key, func(old string, ok bool) (string, error) {
			if calls++; calls == 1 { // the same key, once
				_, err := c.Update(ctx, key, appending("inner"))
				require.NoError(t, err)
				v, err := c.Get(ctx, key, nil)
				require.NoError(t, err)
				require.Equal(t, old+"inner", v)
			}
			return old + "outer", nil
		})
		require.NoError(t, err)
		v, err = other.Get(ctx, key, nil)
		require.NoError(t, err)
		require.Equal(t, "new01lateinnerouter", v)
		require.Equal(t, 2, calls)
		_, err = c.Update(ctx, key, func(old string, ok bool) (string, error) { return old, c.Put(ctx, key, "again") })
		require.ErrorIs(t, err, ErrConflict)
		require.Empty(t, c.updates.of)
	})
}

// A reads v1, B puts v2, A must not put f(v1), whether versions tell them apart or not.
func TestUpdateComparesStamps(t *testing.T) {
	everywhere(t, Options[string]{}, func(t *testing.T, c, other *Cache[string], key string) {
		ctx := t.Context()
		for name, between := range map[string]func(){
			"put":         func() { require.NoError(t, other.Put(ctx, key, "v2", WithVersion(2))) },
			"unversioned": func() { require.NoError(t, other.Put(ctx, key, "v2")) },
			"and back": func() {
				require.NoError(t, other.Put(ctx, key, "v2"))
				require.NoError(t, other.Put(ctx, key, "v1"))
			},
			"clear": func() { require.NoError(t, other.Clear(ctx)) },
			"fill": func() {
				require.NoError(t, other.Delete(ctx, key))
				_, err := other.Get(ctx, key, func(ctx context.Context, _ string) (string, error) {
					LoadInfo(ctx).SetVersion(1)
					return "v1", nil
				})
				require.NoError(t, err)
				synctest.Wait()
			},
			"expire":    func() { require.NoError(t, other.Expire(ctx, key)) },
			"not found": func() { require.NoError(t, other.PutNotFound(ctx, key, WithTTL(time.Hour))) },
		} {
			require.NoError(t, c.Clear(ctx))
			require.NoError(t, c.Put(ctx, key, "v1", WithVersion(1)))
			calls := 0
			_, err := c.Update(ctx, key, func(old string, ok bool) (string, error) {
				if calls++; calls == 1 {
					between()
				}
				return old + "+", nil
			})
			require.NoError(t, err, name)
			require.Equal(t, 2, calls, name)
		}
	})
}

// What an Update of this process has stored last is a guess only: f's word that there is nothing to
// do must not be about a value that another process has replaced.
func TestUpdateDoesNotTrustGuesses(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		owner, p := w.procs[0], w.procs[1]
		ctx, key := t.Context(), owner.key()
		in, out := make(chan bool), make(chan bool)
		go func() {
			_, err := p.cache.Update(ctx, key, func(string, bool) (string, error) {
				close(in)
				<-out
				return "v1", nil
			})
			assert.NoError(t, err)
		}()
		<-in
		got := make(chan string)
		go func() {
			v, err := p.cache.Update(ctx, key, func(string, bool) (string, error) { return "", ErrUnchanged })
			assert.NoError(t, err)
			got <- v
		}()
		synctest.Wait()
		close(out)
		require.Equal(t, "v1", <-got)
		q, mine, err := p.cache.updates.begin(ctx, key)
		require.NoError(t, err)
		require.True(t, mine)
		stamp := owner.cache.store.index.find(owner.cache.store.hash(key), key).stamp
		go func() {
			v, err := p.cache.Update(ctx, key, func(string, bool) (string, error) { return "", ErrUnchanged })
			assert.NoError(t, err)
			got <- v
		}()
		synctest.Wait()
		require.NoError(t, owner.cache.Put(ctx, key, "v2"))
		p.cache.updates.end(key, q, true, &seen[string]{value: "v1", ok: true, stamp: stamp})
		require.Equal(t, "v2", <-got)
	})
}

// numbers opens a cache of numbers at each process.
func (w *world) numbers(o Options[int64]) (all []*Cache[int64]) {
	for _, p := range w.procs {
		o.Group, o.Logger = p.group, slog.New(slog.DiscardHandler)
		c, err := New("numbers", o)
		require.NoError(w.t, err)
		all = append(all, c)
	}
	time.Sleep(time.Second)
	return all
}

func TestIncr(t *testing.T) {
	for _, replicas := range []int{1, 2} {
		for _, plain := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := &world{t: t, net: netsim.New(), o: Options[string]{Replicas: replicas}}
				if plain {
					w.wrap = withoutLinks
				}
				for _, name := range []string{"a", "b", "c"} {
					w.start(name, StaticPeers("http://a", "http://b", "http://c"))
				}
				w.ready()
				defer w.close()
				all := w.numbers(Options[int64]{Replicas: replicas, TTLJitter: -1})
				ctx := t.Context()
				key := w.procs[0].key()
				for i, c := range all {
					n, err := Incr(ctx, c, key, 10, WithTTL(6*time.Second))
					require.NoError(t, err)
					require.EqualValues(t, 10*(i+1), n)
					time.Sleep(1500 * time.Millisecond)
				}
				n, err := Incr(ctx, all[1], key, -31)
				require.NoError(t, err)
				require.EqualValues(t, -1, n)
				time.Sleep(1600 * time.Millisecond) // 6.1 s after it began
				n, err = Incr(ctx, all[1], key, 5)
				require.NoError(t, err)
				require.EqualValues(t, 5, n, "the TTL of the first stays, however many come")

				require.NoError(t, all[2].Put(ctx, key, math.MaxInt64-1, WithVersion(3)))
				n, err = Incr(ctx, all[1], key, 1)
				require.NoError(t, err)
				require.EqualValues(t, int64(math.MaxInt64), n)
				for _, c := range all {
					_, err = Incr(ctx, c, key, 1)
					require.ErrorIs(t, err, ErrOverflow)
				}
				e, ok, err := all[1].Lookup(ctx, key)
				require.NoError(t, err)
				require.True(t, ok)
				require.EqualValues(t, int64(math.MaxInt64), e.Value)
				require.EqualValues(t, 3, e.Version)
				_, err = Incr(ctx, all[1], key, -1, WithVersion(3))
				require.ErrorIs(t, err, ErrOutdated)
				n, err = Incr(ctx, all[1], key, -1, WithVersion(4), WithReplicated())
				require.NoError(t, err)
				require.EqualValues(t, int64(math.MaxInt64-1), n)
				_, err = Incr(ctx, all[1], key, -1, WithTTL(0))
				require.Error(t, err)
				_, err = Incr(ctx, all[1], key, -1, IfAbsent())
				require.Error(t, err)

				require.NoError(t, all[0].Put(ctx, key, 0))
				var wg sync.WaitGroup
				for i := range 60 {
					wg.Go(func() {
						for range 5 {
							_, err := Incr(ctx, all[i%3], key, 1)
							assert.NoError(t, err)
						}
					})
				}
				wg.Wait()
				sum, err := all[2].Get(ctx, key, nil)
				require.NoError(t, err)
				require.EqualValues(t, 300, sum)
			})
		}
	}
}

func TestIncrLoads(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		row, loads := int64(100), 0
		all := w.numbers(Options[int64]{TTLJitter: -1, StaleWhileRevalidate: time.Hour, Loader: func(ctx context.Context, _ string) (int64, error) {
			loads++
			LoadInfo(ctx).SetTTL(6 * time.Second)
			switch {
			case row < 0:
				return 0, ErrNotFound
			case row == 0:
				return 0, errors.New("down")
			}
			return row, nil
		}})
		for _, key := range []string{w.procs[0].key(), w.procs[1].key()} {
			incr := func(want int64) {
				t.Helper()
				n, err := Incr(t.Context(), all[0], key, 1)
				require.NoError(t, err)
				require.Equal(t, want, n)
			}
			row, loads = 100, 0
			incr(101)
			incr(102)
			require.Equal(t, 1, loads)
			time.Sleep(8 * time.Second)
			incr(101) // and not 103: it was stale
			require.NoError(t, all[1].Delete(t.Context(), key))
			row = -1
			incr(1)
			require.NoError(t, all[1].Delete(t.Context(), key))
			row = 0
			_, err := Incr(t.Context(), all[0], key, 1)
			require.ErrorContains(t, err, "down")
		}
	})
}

func TestIncrOfAllTypes(t *testing.T) {
	type count uint8
	c := newCache(t, Options[count]{})
	n, err := Incr(t.Context(), c, "k", 255)
	require.NoError(t, err)
	require.EqualValues(t, 255, n)
	_, err = Incr(t.Context(), c, "k", 1)
	require.ErrorIs(t, err, ErrOverflow)
	i := newCache(t, Options[int8]{})
	for _, d := range []int8{-128, 127, 1, 127} {
		_, err = Incr(t.Context(), i, "k", d)
		require.NoError(t, err)
	}
	_, err = Incr(t.Context(), i, "k", 1)
	require.ErrorIs(t, err, ErrOverflow)
	_, err = Incr(t.Context(), i, "k", 0)
	require.NoError(t, err)
	for kind, add := range map[string]any{
		"int": adder[int](), "int16": adder[int16](), "int32": adder[int32](), "int64": adder[int64](),
		"uint": adder[uint](), "uint16": adder[uint16](), "uint32": adder[uint32](), "uint64": adder[uint64](),
	} {
		require.NotNil(t, add, kind)
	}
	require.Nil(t, adder[string]())
	u := ^uint64(0)
	sum, ok := adder[uint64]()(&u, 0)
	require.True(t, ok)
	require.Equal(t, u, sum)
	_, ok = adder[uint64]()(&u, 1)
	require.False(t, ok)
}

// What was sent and not answered is never sent again: it may have been counted.
func TestUpdatesAreSentOnce(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		key := a.key()
		all := w.numbers(Options[int64]{})
		w.net.SetDelay(20 * time.Millisecond)
		sure, unsure := int64(0), int64(0)
		for i := range 20 {
			done := make(chan error)
			go func() {
				_, err := Incr(t.Context(), all[1], key, 1)
				done <- err
			}()
			time.Sleep(time.Duration(i) * 3 * time.Millisecond) // before it gets there, on the way back, or afterwards
			w.net.Reset(a.name, b.name)
			if err := <-done; err == nil {
				sure++
			} else {
				require.ErrorIs(t, err, ErrUnconfirmed)
				unsure++
			}
			time.Sleep(5 * time.Second)
		}
		require.NotZero(t, unsure)
		n, err := Incr(t.Context(), all[0], key, 0)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, sure)
		require.LessOrEqual(t, n, sure+unsure)
		require.Less(t, sure, n, "some answers were lost")

		// The same of a conditional Put: it would be its own conflict.
		var err2 error
		done := make(chan error)
		go func() { done <- b.cache.Put(t.Context(), key, "mine", IfAbsent()) }()
		time.Sleep(30 * time.Millisecond)
		w.net.Reset(a.name, b.name)
		err2 = <-done
		require.ErrorIs(t, err2, ErrUnconfirmed)
		time.Sleep(5 * time.Second)
		v, err := b.cache.Get(t.Context(), key, nil)
		require.NoError(t, err)
		require.Equal(t, "mine", v, "nothing is removed after it")
		require.Zero(t, b.cache.peering.pursuits.n.Load())
	})
}

// A Delete that is tried again spares what was put since it was called, but not what was made of a
// value from before.
func TestDeletesAndWhatIsMadeOfTheOld(t *testing.T) {
	ctx := t.Context()
	for name, write := range map[string]func(c *Cache[int]) error{
		"update": func(c *Cache[int]) error {
			_, err := c.Update(ctx, "k", func(old int, _ bool) (int, error) { return old + 1, nil })
			return err
		},
		"incr":    func(c *Cache[int]) error { _, err := Incr(ctx, c, "k", 1); return err },
		"version": func(c *Cache[int]) error { return c.Put(ctx, "k", 2, IfVersion(0)) },
		"put":     func(c *Cache[int]) error { return c.Put(ctx, "k", 2) },
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCache(t, Options[int]{})
			require.NoError(t, c.Put(ctx, "k", 1))
			time.Sleep(time.Second)
			called := c.store.clock.steady()
			time.Sleep(time.Second)
			require.NoError(t, write(c))
			again := &change[int]{kind: wire.Delete, key: "k", hash: c.store.hash("k"), began: called}
			require.NoError(t, c.changeHere(again, c.store.gen.Load(), nil))
			_, ok, err := c.Lookup(ctx, "k")
			require.NoError(t, err)
			require.Equal(t, name == "put", ok, name)
		})
	}
}

// After the owner's crash the next one has the number, if it was replicated.
func TestIncrOutlivesItsOwner(t *testing.T) {
	inWorld(t, 3, Options[string]{Replicas: 2}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		all := w.numbers(Options[int64]{Replicas: 2})
		key := replicatedTo(a, b)
		for i := range 10 {
			n, err := Incr(t.Context(), all[i%3], key, 1, WithReplicated())
			require.NoError(t, err)
			require.EqualValues(t, i+1, n)
		}
		a.crash()
		w.procs = w.procs[1:]
		n, err := Incr(t.Context(), all[2], key, 1)
		require.NoError(t, err)
		require.EqualValues(t, 11, n)
	})
}

func TestUpdatesOfOldPeers(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		p := w.procs[0].cache.peering
		ch := &change[string]{kind: wire.Put, key: "k", up: new(update[string])}
		how, err := p.otherwiseUpdated("old", ch, &wire.Frame{Type: wire.Unsupported})
		require.Equal(t, lost, how, "not to be sent again")
		var peer *PeerError
		require.ErrorAs(t, err, &peer)
		require.Equal(t, PeerRefused, peer.Code)
	})
}
