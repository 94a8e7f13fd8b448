package covey

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A spanRecorder is a Tracer that remembers spans. Each has an id, by which other processes know it.
type spanRecorder struct {
	mu    sync.Mutex
	ids   int
	spans []*recorded
}

type recorded struct {
	Span
	id     string
	parent string // within which it has begun, in this process or another one
	ended  int    // how often
	end    SpanEnd
	links  []string // of loads that it has waited for
}

type recordedKey struct{}

func recordedIn(ctx context.Context) *recorded {
	one, _ := ctx.Value(recordedKey{}).(*recorded)
	return one
}

func (r *spanRecorder) Start(ctx context.Context, s Span) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Key = strings.Clone(s.Key)
	r.ids++
	one := &recorded{Span: s, id: fmt.Sprint("span", r.ids), parent: string(s.Carried)}
	if p := recordedIn(ctx); p != nil {
		one.parent = p.id
	}
	r.spans = append(r.spans, one)
	return context.WithValue(ctx, recordedKey{}, one)
}

func (r *spanRecorder) End(ctx context.Context, e SpanEnd) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := recordedIn(ctx)
	one.ended++
	one.end = e
}

func (r *spanRecorder) Carry(ctx context.Context) []byte {
	if one := recordedIn(ctx); one != nil {
		return []byte(one.id)
	}
	return nil
}

func (r *spanRecorder) Waited(ctx context.Context, load []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := recordedIn(ctx); one != nil {
		one.links = append(one.links, string(load))
	}
}

// within returns a context of a caller's own span.
func (r *spanRecorder) within(ctx context.Context) (context.Context, *recorded) {
	ctx = r.Start(ctx, Span{})
	return ctx, recordedIn(ctx)
}

// take returns the spans that it has been told of so far, and forgets them. All of them have ended.
func (r *spanRecorder) take(t *testing.T) (all []*recorded) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.Kind != 0 {
			require.Equal(t, 1, s.ended, "%v %s of %q has ended once", s.Kind, s.Op, s.Key)
			all = append(all, s)
		}
	}
	r.spans = nil
	return all
}

// chain returns the kinds of those spans, each of which has to be the child of the one before.
func chain(t *testing.T, first *recorded, spans []*recorded) (kinds string) {
	t.Helper()
	for _, s := range spans {
		require.Equal(t, first.id, s.parent, "the parent of %v %s", s.Kind, s.Op)
		kinds += strings.TrimRight(fmt.Sprintf(" %v %s", s.Kind, s.Op), " ") + "=" + s.end.Result
		first = s
	}
	return strings.TrimPrefix(kinds, " ")
}

func TestTraceOfLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(spanRecorder)
		c, err := New("test", Options[string]{
			Tracer: r, TTL: time.Minute, TTLJitter: -1, EarlyRefresh: -1, StaleWhileRevalidate: time.Hour, Logger: slog.New(slog.DiscardHandler),
			LoadTimeout: 10 * time.Second, Eviction: FIFO,
		})
		require.NoError(t, err)
		defer c.Close()
		ctx, caller := r.within(t.Context())

		var inLoader *recorded
		load := func(ctx context.Context, key string) (string, error) {
			inLoader = recordedIn(ctx)
			time.Sleep(time.Second)
			return "v", nil
		}
		other, waiter := r.within(t.Context())
		go func() {
			time.Sleep(time.Millisecond)
			_, _ = c.Get(other, "k", load)
		}()
		leaves, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		leaves, leaver := r.within(leaves)
		go func() {
			time.Sleep(time.Millisecond)
			_, _ = c.Get(leaves, "k", load)
		}()
		_, err = c.Get(ctx, "k", load)
		require.NoError(t, err)
		spans := r.take(t)
		require.Equal(t, "load=ok", chain(t, caller, spans))
		require.Equal(t, Span{Kind: SpanLoad, Cache: "test", Key: "k", Keys: 1}, spans[0].Span)
		require.Same(t, spans[0], inLoader, "the loader runs within the span")
		require.Empty(t, caller.links, "whose own load it is")
		require.Equal(t, []string{spans[0].id}, waiter.links)
		require.Equal(t, []string{spans[0].id}, leaver.links, "also if it did not wait to the end")

		_, err = c.Get(ctx, "k", load)
		require.NoError(t, err)
		require.Empty(t, r.take(t), "a hit")

		time.Sleep(2 * time.Minute)
		_, err = c.Get(ctx, "k", load)
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		require.Equal(t, "refresh=ok", chain(t, caller, r.take(t)))

		time.Sleep(2 * time.Minute)
		_, err = c.Get(ctx, "k", load)
		require.NoError(t, err)
		require.NoError(t, c.SetMaxEntries(1))
		waiter.links = nil
		require.NoError(t, c.Put(ctx, "evicts k", "v"))
		_, err = c.Get(other, "k", load)
		require.NoError(t, err)
		spans = r.take(t)
		require.Equal(t, SpanRefresh, spans[0].Kind)
		require.Equal(t, []string{spans[0].id}, waiter.links, "who joins a refresh")
		require.NoError(t, c.SetMaxEntries(1000))
		_, err = c.Get(ctx, "k", load)
		require.NoError(t, err)
		r.take(t)

		for want, load := range map[string]Loader[string]{
			"not_found": func(context.Context, string) (string, error) { return "", ErrNotFound },
			"panic":     func(context.Context, string) (string, error) { panic("loader") },
			"error":     func(context.Context, string) (string, error) { return "", errors.New("it failed") },
			"timeout":   func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() },
		} {
			_, err := c.Get(ctx, want, load)
			require.Error(t, err)
			spans := r.take(t)
			require.Equal(t, "load="+want, chain(t, caller, spans))
			require.Equal(t, want == "not_found", spans[0].end.Err == nil)
		}
		leaves, cancel = context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = c.Get(leaves, "abandoned", func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		spans = r.take(t)
		require.Equal(t, "load=canceled", chain(t, caller, spans))
		require.NoError(t, spans[0].end.Err)

		bulk := func(_ context.Context, keys []string) (map[string]string, error) {
			time.Sleep(time.Second)
			return map[string]string{"a": "v"}, nil
		}
		go func() {
			time.Sleep(time.Millisecond)
			_, _ = c.Get(other, "a", load)
		}()
		waiter.links = nil
		_, err = c.GetMany(ctx, []string{"a", "b", "k"}, bulk)
		require.NoError(t, err)
		spans = r.take(t)
		require.Equal(t, "load=ok", chain(t, caller, spans))
		require.Equal(t, Span{Kind: SpanLoad, Cache: "test", Keys: 2}, spans[0].Span)
		require.Equal(t, []string{spans[0].id}, waiter.links)
		require.Empty(t, caller.links)
	})
}

// Every call that another process answers is one trace with what that one does, over links and without.
func TestTraceAcrossProcesses(t *testing.T) {
	for _, kind := range []string{"links", "plain"} {
		t.Run(kind, func(t *testing.T) {
			r := new(spanRecorder)
			o := Options[string]{Tracer: r, Loader: constant("loaded")}
			test := func(t *testing.T, w *world) { testTraceAcrossProcesses(t, w, r) }
			if kind == "links" {
				inWorld(t, 3, o, test)
			} else {
				inMesh(t, 3, o, func(t *testing.T, w *world, _ *mesh) { test(t, w) })
			}
		})
	}
}

func testTraceAcrossProcesses(t *testing.T, w *world, r *spanRecorder) {
	a, b := w.procs[0], w.procs[1]
	k := a.key()
	notLent(a, k, 1000)
	ctx, caller := r.within(t.Context())
	r.take(t)
	for i, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { _, err := b.cache.Get(ctx, k, nil); return err }, "request get=hit serve get=hit load=ok"},
		{func() error { _, err := b.cache.Get(ctx, k, nil); return err }, "request get=hit serve get=hit"},
		{func() error { _, _, err := b.cache.Lookup(ctx, k); return err }, "request lookup=hit serve lookup=hit"},
		{func() error { return b.cache.Put(ctx, k, "v") }, "request put=done serve put=done"},
		{func() error { _, err := b.cache.Refresh(ctx, k); return err }, "request refresh=hit serve refresh=hit load=ok"},
		{func() error { return b.cache.Expire(ctx, k) }, "request expire=done serve expire=done"},
		{func() error { return b.cache.Delete(ctx, k) }, "request delete=done serve delete=done"},
		{func() error { _, err := b.cache.GetMany(ctx, []string{k}, nil); return err }, "request get_many=done serve get_many=done load=ok"},
		{func() error { return a.cache.Put(ctx, k, "v") }, ""},
		{func() error { _, err := a.cache.Get(ctx, k, nil); return err }, ""},
	} {
		require.NoError(t, step.do())
		spans := r.take(t)
		require.Equal(t, step.want, chain(t, caller, spans), "step %d", i)
		for _, s := range spans {
			self, peer := a.url, ""
			if s.Kind == SpanRequest {
				self, peer = b.url, a.url
			} else if s.Kind == SpanServe {
				peer = b.url
			}
			require.Equal(t, self, s.Self)
			require.Equal(t, peer, s.Peer)
			require.Equal(t, 1, s.Keys)
			require.Equal(t, a.group.Stats().Epoch, s.Epoch)
		}
	}
	require.Empty(t, caller.links)
	require.NoError(t, b.cache.Clear(ctx))
	spans := r.take(t)
	require.Len(t, spans, 4, "two requests")
	for _, s := range spans {
		require.Equal(t, "clear", s.Op)
		require.Zero(t, s.Keys)
	}
	_, err := b.cache.Get(t.Context(), k, nil) // with no span of the caller's own, a trace begins here
	require.NoError(t, err)
	spans = r.take(t)
	require.Equal(t, "request get=hit serve get=hit load=ok", chain(t, new(recorded), spans))
}

// Whoever waits for a load that somebody else has started, anywhere, is told which one that is.
func TestWaitersAreTold(t *testing.T) {
	for _, right := range []bool{false, true} {
		t.Run(fmt.Sprint("right=", right), func(t *testing.T) {
			r := new(spanRecorder)
			o, load := Options[string]{Tracer: r}, Loader[string](func(context.Context, string) (string, error) {
				time.Sleep(time.Second)
				return "v", nil
			})
			if !right {
				o.Loader, load = load, nil
			}
			inWorld(t, 3, o, func(t *testing.T, w *world) {
				a, b, c := w.procs[0], w.procs[1], w.procs[2]
				k := a.key()
				r.take(t)
				var wg sync.WaitGroup
				get := func(p *proc) *recorded {
					ctx, caller := r.within(t.Context())
					wg.Go(func() {
						v, err := p.cache.Get(ctx, k, load)
						require.NoError(t, err)
						require.Equal(t, "v", v)
					})
					time.Sleep(10 * time.Millisecond)
					return caller
				}
				first := get(b)
				held, elsewhere, owner := get(b), get(c), get(a)
				heldElsewhere := get(c)
				wg.Wait()
				spans := r.take(t)
				var load *recorded
				serving := make(map[string]*recorded)
				for _, s := range spans {
					switch {
					case s.Kind == SpanLoad:
						require.Nil(t, load)
						load = s
					case s.Kind == SpanServe && serving[s.Peer] == nil:
						serving[s.Peer] = s
					}
				}
				require.Empty(t, first.links)
				require.Empty(t, elsewhere.links, "its request has the link")
				require.Equal(t, []string{load.id}, serving[c.url].links)
				require.Empty(t, serving[b.url].links, "the load was started for it")
				for i, s := range []*recorded{held, owner, heldElsewhere} {
					require.Equal(t, []string{load.id}, s.links, "%d", i)
				}
				if right {
					require.Equal(t, first.id, load.parent)
				} else {
					require.Equal(t, serving[b.url].id, load.parent)
				}
			})
		})
	}
}

// carrying is a spanRecorder of which nothing but that is sent.
type carrying struct {
	*spanRecorder
	carried []byte
}

func (c carrying) Carry(context.Context) []byte { return c.carried }

// Requests of a process without a Tracer make no spans at the others, whatever they carry is nobody's
// business, and what is too long is not sent.
func TestTraceOfOthers(t *testing.T) {
	r := new(spanRecorder)
	inWorld(t, 2, Options[string]{Tracer: r}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		k := a.key()
		b.cache.tracer = nil
		_, err := b.cache.Get(t.Context(), k, constant("v"))
		require.NoError(t, err)
		require.Empty(t, r.take(t))
		for _, carried := range [][]byte{nil, {0}, bytes.Repeat([]byte{255}, MaxCarried), bytes.Repeat([]byte{255}, MaxCarried+1)} {
			b.cache.tracer = &tracer{user: carrying{r, carried}, log: &b.cache.log}
			_, err := b.cache.Get(t.Context(), k, constant("v"))
			require.NoError(t, err)
			require.NoError(t, b.cache.Delete(t.Context(), k))
			_, err = b.cache.Get(t.Context(), k, constant("v"))
			require.NoError(t, err)
			_, err = b.cache.GetMany(t.Context(), []string{k, "other"}, nil)
			require.ErrorIs(t, err, ErrNoLoader)
			for _, s := range r.take(t) {
				if s.Kind == SpanServe {
					require.Equal(t, string(carried), s.parent)
					require.Less(t, len(carried), MaxCarried+1)
					require.NotEmpty(t, carried)
				}
			}
		}
	})
}
