package covey

// userfuncs_test.go gives caches and groups functions that panic, call Goexit, or call back.

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// misbehaviors are what functions of users may do instead of returning.
var misbehaviors = map[string]func(){
	"panic":  func() { panic("from a user's function") },
	"Goexit": runtime.Goexit,
}

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

// A codec may call the cache, even for keys that have their lock in common with the one that it encodes.
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
