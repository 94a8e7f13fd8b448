package link_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
	"github.com/stretchr/testify/require"
)

// A tellers has the links that stand for the processes that ask.
type tellers struct {
	listener
	links sync.Map // by name
}

func (s *tellers) listen(c *link.Config) {
	c.CallerUp = func(l *link.Link) {
		s.note(fmt.Sprintf("up %s %d", l.Name(), l.Instance()))
		s.links.Store(l.Name(), l)
	}
	c.CallerDown = func(l *link.Link, err error) { s.note(fmt.Sprintf("down %s: %v", l.Name(), err)) }
}

func (s *tellers) to(name string) *link.Link {
	l, _ := s.links.Load(name)
	return l.(*link.Link)
}

// Who only asks, over plain HTTP, is told things as well: before whatever is answered later, at once
// if it is in reply to something, and within a keep-alive or two in any case.
func TestTellCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, h := new(tellers), new(listener)
		var w *world
		w = newPlainWorldOf(t, func(a, b *link.Config) {
			s.listen(b)
			up := b.CallerUp
			b.CallerUp = func(l *link.Link) { up(l); require.NoError(t, l.Tell(view("welcome"))) }
			b.Told = func(l *link.Link, f *wire.Frame) {
				require.Same(t, s.to("a"), l)
				require.NoError(t, l.Tell(view("you said "+string(f.Value))))
			}
			b.Serve = func(r *link.Request) {
				require.NoError(t, s.to("a").Tell(view("asked "+string([]byte(r.Key)))))
				require.NoError(t, r.Link().Tell(view("again")))
				serve(r)
			}
			a.Up = func(*link.Link) { h.note("up") }
			a.Told = func(l *link.Link, f *wire.Frame) {
				if l.Dialed() && l == w.peer.Up() || len(h.heard) == 1 {
					h.told(l, f)
				}
			}
		})
		defer w.close()
		l := w.link()
		require.Equal(t, []string{"up", "b 2 tells welcome"}, h.all())
		require.Equal(t, []string{"up a 1"}, s.all())
		_, err := l.Call(t.Context(), get("k"))
		require.NoError(t, err)
		require.Equal(t, []string{"b 2 tells asked k", "b 2 tells again"}, h.heard[2:], "not before the answer")

		back := s.to("a")
		require.False(t, back.Dialed())
		require.Error(t, back.Plain())
		_, err = back.Call(t.Context(), get("k"))
		require.ErrorContains(t, err, "can only be told")
		_, err = back.Push(get("k"), new(sink))
		require.ErrorContains(t, err, "can only be told")
		require.ErrorIs(t, back.Tell(&wire.Frame{Value: make([]byte, wire.MaxBody)}), wire.ErrTooLarge)

		for i := range 100 {
			h.heard = nil
			if i%2 == 0 {
				time.Sleep(17 * time.Millisecond)
			}
			require.NoError(t, l.Tell(view("x")))
			require.Equal(t, []string{"b 2 tells you said x"}, h.all(), "not at once")
		}
		var want []string
		h.heard = nil
		for i := range 1000 {
			require.NoError(t, back.Tell(view(fmt.Sprint(i))))
			want = append(want, fmt.Sprint("b 2 tells ", i))
			if i%300 == 299 {
				time.Sleep(800 * time.Millisecond)
				require.Equal(t, want, h.all())
			}
		}
		time.Sleep(800 * time.Millisecond)
		require.Equal(t, want, h.all())
		time.Sleep(time.Minute)
		require.Equal(t, want, h.all())
		require.Equal(t, []string{"up a 1"}, s.all())
	})
}

// The link that stands for a caller lasts until nothing has come from it for a lease, or it leaves.
func TestCallerUpAndDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := new(tellers)
		w := newPlainWorldOf(t, func(_, b *link.Config) { s.listen(b) })
		defer w.close()
		w.link()
		time.Sleep(10*time.Second + 250*time.Millisecond)
		require.Equal(t, []string{"up a 1"}, s.all())
		back := s.to("a")
		w.net.Partition("a", "b")
		time.Sleep(1400 * time.Millisecond)
		require.NoError(t, back.Err())
		require.NoError(t, back.Tell(view("x")))
		time.Sleep(600 * time.Millisecond)
		require.ErrorIs(t, back.Err(), link.ErrLeaseLost)
		require.ErrorIs(t, back.Tell(view("x")), link.ErrLeaseLost)
		w.net.Heal("a", "b")
		time.Sleep(10 * time.Second)
		w.link()
		require.Equal(t, []string{"up a 1", "down a: " + link.ErrLeaseLost.Error(), "up a 1"}, s.all())
		require.NoError(t, s.to("a").Err())
		s.to("a").Close()
		time.Sleep(time.Second)
		require.Equal(t, []string{"down a: " + link.ErrClosed.Error(), "up a 1"}, s.all()[3:])
		require.NoError(t, w.a.Shutdown(context.Background()))
		require.Equal(t, []string{"down a: " + link.ErrGoingAway.Error()}, s.all()[5:])
	})
	bubble(t, func(t *testing.T) { // the last words come late
		s := new(tellers)
		cfg := link.Config{Name: "b", Instance: 2, Secrets: groupSecret, Told: s.told}
		s.listen(&cfg)
		b, err := link.NewNode(cfg)
		require.NoError(t, err)
		defer b.Close()
		for seq, f := range []*wire.Frame{{Type: wire.View, Value: []byte("1")}, {Type: wire.GoAway}, {Type: wire.View, Value: []byte("2")}} {
			b.ServeOps(httptest.NewRecorder(), proven(wire.Append(nil, f), func(h *wire.Hello) { h.Instance, h.Seq = 9, uint64(seq+1) }))
			synctest.Wait()
		}
		require.Equal(t, []string{"up x 9", "x 9 tells 1", "down x: " + link.ErrGoingAway.Error(), "x 9 tells 2"}, s.all())
	})
	bubble(t, func(t *testing.T) {
		s := new(tellers)
		w := newPlainWorldOf(t, func(_, b *link.Config) { s.listen(b) })
		defer w.close()
		w.link()
		w.b.Close()
		require.Equal(t, []string{"up a 1", "down a: " + link.ErrClosed.Error()}, s.all())
	})
}

// While requests overtake each other, and connections break, frames get lost, but what arrives is in
// order and comes once; and a response that does not come holds the others up for no longer than a
// keep-alive.
func TestTellCallerInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, h, k := new(tellers), new(listener), newKeeper()
		w := newPlainWorldOf(t, func(a, b *link.Config) {
			s.listen(b)
			a.Told = h.told
			b.Serve = k.serve
		})
		defer w.close()
		w.net.SetDelay(time.Millisecond)
		w.b.srv.SetKeepAlivesEnabled(false) // each body has a connection of its own
		l := w.link()
		back := s.to("a")
		var wg sync.WaitGroup
		n := 0
		for i := range 1000 {
			if i%3 == 0 {
				wg.Go(func() { _, _ = l.Call(t.Context(), get("k")) })
			}
			if len(k.ops) > 5 {
				(<-k.ops).Answer(&wire.Frame{Type: wire.Done})
			}
			require.NoError(t, back.Tell(view(fmt.Sprint(n))))
			n++
			time.Sleep(time.Duration(i%7) * 300 * time.Microsecond)
			if i%100 == 50 {
				w.net.Reset("a", "b")
			}
		}
		for answered := false; !answered; {
			select {
			case op := <-k.ops:
				op.Answer(&wire.Frame{Type: wire.Done})
			case <-time.After(time.Second):
				answered = true
			}
		}
		wg.Wait()
		require.NoError(t, l.Err())
		require.NoError(t, back.Err())
		last, got := -1, 0
		for _, one := range h.all() {
			var i int
			_, err := fmt.Sscanf(one, "b 2 tells %d", &i)
			require.NoError(t, err)
			require.Greater(t, i, last)
			last = i
			got++
		}
		t.Logf("%d of %d have arrived", got, n)
		require.Greater(t, got, n/2)
		require.Equal(t, n-1, last)

		h.heard = nil
		go func() { _, _ = l.Call(t.Context(), get("held")) }()
		held := <-k.ops
		held.Held()
		time.Sleep(time.Minute)
		require.NoError(t, back.Tell(view("while it is held")))
		time.Sleep(800 * time.Millisecond)
		require.Equal(t, []string{"b 2 tells while it is held"}, h.all())
		held.Answer(&wire.Frame{Type: wire.Done})
	})
}

// What arrives behind something that was told later is not passed on.
func TestTellCallerOvertakes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, h := new(tellers), new(listener)
		w, m := newMeddledWorld(t, new(atomic.Int64), func(a, b *link.Config) {
			s.listen(b)
			a.Told = h.told
		})
		defer w.close()
		l := w.link()
		stall := make(chan struct{})
		m.Lock()
		m.stall = stall
		m.Unlock()
		back := s.to("a")
		require.NoError(t, back.Tell(view("1")))
		done := make(chan error)
		go func() {
			_, err := l.Call(t.Context(), get("k"))
			done <- err
		}()
		synctest.Wait()
		require.NoError(t, back.Tell(view("2")))
		_, err := l.Call(t.Context(), get("k"))
		require.NoError(t, err)
		close(stall)
		require.NoError(t, <-done)
		require.Equal(t, []string{"b 2 tells 2"}, h.all())
	})
}

// What is told in reply goes into the same answer, though another body has been answered since,
// unless that one has told something.
func TestTellCallerInReply(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, goOn := new(tellers), make(chan struct{})
		cfg := link.Config{
			Name: "b", Instance: 2, Secrets: groupSecret,
			Serve: func(*link.Request) { <-goOn },
			Told:  func(l *link.Link, f *wire.Frame) { require.NoError(t, l.Tell(view("re: "+string(f.Value)))) },
		}
		s.listen(&cfg)
		b, err := link.NewNode(cfg)
		require.NoError(t, err)
		defer b.Close()
		seq := uint64(0)
		body := func(frames ...*wire.Frame) []string {
			var all []byte
			for _, f := range frames {
				all = wire.Append(all, f)
			}
			seq++
			answer := httptest.NewRecorder()
			b.ServeOps(answer, proven(all, func(h *wire.Hello) { h.Instance, h.Seq = 9, seq }))
			require.Equal(t, http.StatusOK, answer.Code)
			return toldIn(t, answer.Body.Bytes())
		}
		replies := make(chan []string)
		ask := func() {
			go func() { replies <- body(get("k"), &wire.Frame{Type: wire.View, Value: []byte("x")}) }()
			synctest.Wait()
		}
		ask()
		require.Empty(t, body())
		goOn <- struct{}{}
		require.Equal(t, []string{"re: x"}, <-replies)
		require.Empty(t, body())

		ask()
		require.Empty(t, body())
		require.NoError(t, s.to("x").Tell(view("y")))
		require.Equal(t, []string{"y"}, body())
		goOn <- struct{}{}
		require.Empty(t, <-replies)
		require.Equal(t, []string{"re: x"}, body())
	})
}

// toldIn returns what an answer tells.
func toldIn(t *testing.T, answer []byte) (told []string) {
	var frames []byte
	for len(answer) > 0 {
		n := 36 + binary.LittleEndian.Uint32(answer)
		frames = append(frames, answer[36:n]...)
		answer = answer[n:]
	}
	for len(frames) > 0 {
		n, err := wire.BodyLen(frames)
		require.NoError(t, err)
		n += wire.HeaderSize
		if wire.Type(frames[4]) == wire.View {
			var f wire.Frame
			require.NoError(t, wire.Parse(frames[:n], &f))
			told = append(told, string(f.Value))
		}
		frames = frames[n:]
	}
	return told
}

// What waits for those who do not fetch it has a bound, for each and for all. The newest is kept.
func TestTellCallersIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := new(tellers)
		cfg := link.Config{Name: "b", Instance: 2, Secrets: groupSecret}
		s.listen(&cfg)
		b, err := link.NewNode(cfg)
		require.NoError(t, err)
		defer b.Close()
		const callers = 300
		body := func(i int, seq uint64) []string {
			answer := httptest.NewRecorder()
			b.ServeOps(answer, proven(nil, func(h *wire.Hello) { h.Name, h.Instance, h.Seq = fmt.Sprint(i), uint64(1000+i), seq }))
			require.Equal(t, http.StatusOK, answer.Code)
			return toldIn(t, answer.Body.Bytes())
		}
		for i := range callers {
			require.Empty(t, body(i, 1))
		}
		newest := ""
		padding := strings.Repeat("v", 60_000)
		for n := range 6 {
			newest = fmt.Sprint(n, padding)
			for i := range callers {
				require.NoError(t, s.to(fmt.Sprint(i)).Tell(view(newest)))
			}
		}
		sum, most := 0, 0
		for i := range callers {
			bytes := 0
			told := body(i, 2)
			require.Equal(t, newest, told[len(told)-1])
			for _, one := range told {
				bytes += len(one)
			}
			sum += bytes
			most = max(most, bytes)
			require.Empty(t, body(i, 3))
		}
		require.LessOrEqual(t, sum, 64<<20)
		require.Greater(t, sum, 32<<20)
		require.LessOrEqual(t, most, 256<<10)

		padding = padding[:10_000]
		require.NoError(t, s.to("7").Tell(view("short")))
		for n := range 100 {
			require.NoError(t, s.to("7").Tell(view(fmt.Sprint(n, padding))))
		}
		told := body(7, 4)
		require.Len(t, told, 26)
		require.Equal(t, fmt.Sprint(74, padding), told[0])
	})
}

// Nobody in the middle can have a caller told anything else, or the same again, or have it told
// somebody else; and requests that come again take nothing away.
func TestTellCallerReplays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, h := new(tellers), new(listener)
		w, m := newMeddledWorld(t, new(atomic.Int64), func(a, b *link.Config) {
			s.listen(b)
			a.Told = h.told
		})
		defer w.close()
		l := w.link()
		fetch := func(replace func([]byte) []byte) []string {
			h.heard = nil
			m.Lock()
			m.replace = replace
			m.Unlock()
			_, _ = l.Call(t.Context(), get("k"))
			return h.all()
		}
		back := s.to("a")
		tell := func() { require.NoError(t, back.Tell(view("x"))) }
		tell()
		require.Equal(t, []string{"b 2 tells x"}, fetch(bytes.Clone))
		m.Lock()
		one := m.seen[len(m.seen)-1].answer
		seen := m.seen
		m.Unlock()
		require.Len(t, toldIn(t, one), 1)
		first := func(b []byte) int { return 36 + int(binary.LittleEndian.Uint32(b)) }
		cases := map[string]func([]byte) []byte{
			"of an earlier request": func([]byte) []byte { return one },
			"nothing":               func([]byte) []byte { return nil },
			"the first is gone":     func(b []byte) []byte { return b[first(b):] },
			"unsealed": func([]byte) []byte {
				return wire.Append(hello(wire.Welcome, "b", "", nil), &wire.Frame{Type: wire.View, Value: []byte("y")})
			},
		}
		for i := range first(one) {
			cases[fmt.Sprint("a bit of byte ", i)] = func(b []byte) []byte { b[i] ^= 1; return b }
		}
		for name, replace := range cases {
			tell()
			require.Empty(t, fetch(replace), name)
			l = w.link()
		}
		_ = fetch(bytes.Clone)
		tell()
		twice := func(b []byte) []byte { return append(bytes.Clone(b[:first(b)]), b...) }
		require.Equal(t, []string{"b 2 tells x"}, fetch(twice))

		l = w.link()
		_ = fetch(bytes.Clone)
		tell()
		for _, old := range seen {
			require.Equal(t, http.StatusUnauthorized, status(t, m.b, old.request()))
		}
		r := proven(nil, func(h *wire.Hello) { h.Name, h.Instance, h.Seq = "a", 1, 1<<40 })
		r.Body = http.NoBody
		r.Header.Set("Authorization", r.Header.Get("Authorization")[:60])
		require.Equal(t, http.StatusUnauthorized, status(t, m.b, r))
		answer := httptest.NewRecorder()
		m.b.ServeOps(answer, proven(nil, func(h *wire.Hello) { h.Name, h.Instance, h.Seq = "x", 1, 1<<40 }))
		require.Equal(t, http.StatusServiceUnavailable, answer.Code, "another name with the instance of a")
		require.Equal(t, []string{"b 2 tells x"}, fetch(bytes.Clone))
	})
}
