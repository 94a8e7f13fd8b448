package covey

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A wildCodec misbehaves when it meets a value that says so.
type wildCodec struct{ act func() }

func (w wildCodec) Append(dst []byte, v string) ([]byte, error) {
	if strings.HasPrefix(v, "unspeakable") {
		w.act()
	}
	return append(dst, v...), nil
}

func (w wildCodec) Decode(src []byte) (string, error) {
	if bytes.HasPrefix(src, []byte("unreadable")) {
		w.act()
	}
	return string(src), nil
}

func (wildCodec) Name() string { return "wild" }

func TestCodecMisbehaves(t *testing.T) {
	for name, act := range misbehaviors {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 3, Options[string]{Codec: wildCodec{act}}, func(t *testing.T, w *world) {
				a, b, c := w.procs[0], w.procs[1], w.procs[2]
				ctx := t.Context()
				k := a.key()
				links := a.group.allLinks()
				for _, v := range []string{"unspeakable", "unreadable"} {
					require.NoError(t, a.cache.Put(ctx, k, v)) // at the owner it has no need to travel
					got, err := b.cache.Get(ctx, k, constant("loaded here"))
					require.NoError(t, err)
					require.Equal(t, "loaded here", got)
					many, err := b.cache.GetMany(ctx, []string{k}, func(context.Context, []string) (map[string]string, error) {
						return map[string]string{k: "loaded here"}, nil
					})
					require.NoError(t, err)
					require.Equal(t, map[string]string{k: "loaded here"}, many)
					_, ok, _ := b.cache.Lookup(ctx, k)
					require.False(t, ok)
				}
				require.EqualValues(t, 3, b.cache.Stats().Undecodable, "of a Get, a GetMany and a Lookup")

				require.NoError(t, b.cache.Put(ctx, k, "unreadable"))
				_, ok, err := a.cache.Lookup(ctx, k)
				require.NoError(t, err)
				require.False(t, ok, "what the owner cannot read removes the old value")
				require.EqualValues(t, 1, a.cache.Stats().Undecodable)

				var p *PanicError
				err = b.cache.Put(ctx, k, "unspeakable")
				require.ErrorIs(t, err, ErrTooLarge)
				require.ErrorAs(t, err, &p)
				require.Equal(t, "Codec.Append", p.Func)

				for _, v := range []string{"unspeakable", "unreadable"} { // loaded under a right, while another one waits
					other := make(chan string)
					go func() {
						time.Sleep(time.Second)
						got, _ := c.cache.Get(ctx, k, constant("loaded here"))
						other <- got
					}()
					got, err := b.cache.Get(ctx, k, func(context.Context, string) (string, error) {
						time.Sleep(2 * time.Second)
						return v, nil
					})
					require.NoError(t, err)
					require.Equal(t, v, got)
					require.Equal(t, "loaded here", <-other)
				}
				for _, l := range links {
					require.NoError(t, l.Err(), "the links are still up")
				}
			})
		})
	}
}

// A codec may call the cache, even for keys that have their lock in common with the one that it
// encodes.
func TestCodecCallsTheCache(t *testing.T) {
	var w *world
	var calls atomic.Int64
	codec := wildCodec{func() {
		calls.Add(1)
		c := w.procs[0].cache
		segment := func(key string) *segment { return c.store.index.segment(c.store.hash(key)) }
		keys := w.procs[0].keys(1000)
		for _, k := range keys[1:] {
			if segment(k) == segment(keys[0]) {
				_ = c.Put(context.Background(), k, "v")
				return
			}
		}
	}}
	o := Options[string]{Codec: codec, TTL: time.Minute, StaleIfError: time.Hour}
	inWorld(t, 2, o, func(t *testing.T, the *world) {
		w = the
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		require.NoError(t, a.cache.Put(t.Context(), k, "unspeakable"))
		time.Sleep(2 * time.Minute)
		v, err := b.cache.Get(t.Context(), k, func(context.Context, string) (string, error) { return "", errors.New("the database is down") })
		require.NoError(t, err)
		require.Equal(t, "unspeakable", v, "the stale value came along with the right to load")
		require.NotZero(t, calls.Load())
	})
}

// A codec, or a Size, that hangs for one value keeps nobody waiting who asks for another.
func TestCodecHangs(t *testing.T) {
	for name, options := range map[string]func(hang func()) Options[string]{
		"Codec": func(hang func()) Options[string] { return Options[string]{Codec: wildCodec{hang}} },
		"Size": func(hang func()) Options[string] {
			return Options[string]{Size: func(_, v string) int {
				if v == "unreadable" {
					hang()
				}
				return len(v)
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				w := newWorld(t, 3, options(func() { <-release }))
				defer w.close()
				defer close(release)
				testCodecHangs(t, w)
			})
		})
	}
}

func testCodecHangs(t *testing.T, w *world) {
	a, b := w.procs[0], w.procs[1]
	ctx := t.Context()
	keys := a.keys(5)
	links := a.group.allLinks()
	require.NoError(t, a.cache.Put(ctx, keys[0], "v"))
	hung := []func(context.Context){
		func(ctx context.Context) { _ = b.cache.Put(ctx, keys[1], "unreadable") },
		func(ctx context.Context) {
			_, _ = b.cache.Get(ctx, keys[2], constant("unreadable")) // the Fill
		},
		func(ctx context.Context) { _, _ = b.cache.Get(ctx, keys[3], nil) },
		func(ctx context.Context) { _, _ = b.cache.GetMany(ctx, keys[3:4], nil) },
		func(ctx context.Context) { _, _, _ = b.cache.Lookup(ctx, keys[3]) },
	}
	require.NoError(t, a.cache.Put(ctx, keys[3], "unspeakable"))
	for _, call := range hung {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			call(ctx)
		}()
		synctest.Wait()
		begin := time.Now()
		for _, p := range w.procs[1:] {
			v, err := p.cache.Get(ctx, keys[0], nil)
			require.NoError(t, err)
			require.Equal(t, "v", v)
		}
		require.LessOrEqual(t, time.Since(begin), 4*time.Millisecond)
		time.Sleep(10 * time.Second)
	}
	for _, l := range links {
		require.NoError(t, l.Err(), "the links are still up")
	}
}

// A codec may ask the very peer for another key for whom it encodes.
func TestCodecAsksThePeer(t *testing.T) {
	var w *world
	codec := wildCodec{func() {
		_, _ = w.procs[0].cache.Get(context.Background(), w.procs[1].key(), nil)
	}}
	inWorld(t, 2, Options[string]{Codec: codec}, func(t *testing.T, the *world) {
		w = the
		a, b := w.procs[0], w.procs[1]
		require.NoError(t, a.cache.Put(t.Context(), a.key(), "unspeakable"))
		require.NoError(t, b.cache.Put(t.Context(), b.key(), "v"))
		begin := time.Now()
		v, err := b.cache.Get(t.Context(), a.key(), nil)
		require.NoError(t, err)
		require.Equal(t, "unspeakable", v)
		require.Zero(t, time.Since(begin))
	})
}
