package covey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/coveycache/covey/internal/netsim"
	"github.com/stretchr/testify/require"
)

// kindsOf returns the kinds of events, the oldest first.
func kindsOf(events []Event) (kinds []EventKind) {
	for _, e := range slices.Backward(events) {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// with returns those of the events that are of a kind, the oldest first.
func with(kind EventKind, events []Event) (some []Event) {
	for _, e := range slices.Backward(events) {
		if e.Kind == kind {
			some = append(some, e)
		}
	}
	return some
}

// Each class has its own room: many of one do not push out the few of another, and what is not kept
// is counted.
func TestJournalIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		j.add(Event{Kind: EventViewChanged, Epoch: 7})
		j.add(Event{Kind: EventPeerUp, Peer: "b"})
		for i := range 3 * maxEvents {
			j.add(Event{Kind: EventInvalidated, Key: fmt.Sprint(i)})
			j.add(Event{Kind: EventLoadFailed, Key: strings.Repeat("k", maxShownKey+i)})
		}
		all := j.recent("")
		require.Len(t, with(EventViewChanged, all), 1)
		require.Len(t, with(EventPeerUp, all), 1)
		written := with(EventInvalidated, all)
		require.Len(t, written, maxEvents)
		require.Equal(t, "0", written[0].Key, "in one second the first ones are kept")
		require.Len(t, with(EventLoadFailed, all)[maxEvents-1].Key, maxShownKey)
		time.Sleep(time.Second)
		j.add(Event{Kind: EventInvalidated, Key: "next"})
		written = with(EventInvalidated, j.recent(""))
		require.Len(t, written, maxEvents)
		require.Equal(t, "1", written[0].Key, "the oldest has gone")
		require.Equal(t, "next", written[maxEvents-1].Key)
		require.EqualValues(t, 2*maxEvents, written[maxEvents-1].Skipped)
		for i := range 3 * maxEvents { // the last of these are kept, however many come at once
			j.add(Event{Kind: EventViewChanged, Epoch: uint64(i)})
		}
		changes := with(EventViewChanged, j.recent(""))
		require.Len(t, changes, maxEvents)
		require.EqualValues(t, 2*maxEvents, changes[0].Epoch)
		require.Zero(t, changes[0].Skipped)
	})
}

// Events are shown the latest first, and by cache.
func TestJournalIsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		for i, kind := range []EventKind{EventInvalidated, EventActing, EventLoadFailed, EventPeerDown, EventInvalidated} {
			j.add(Event{Kind: kind, Cache: []string{"a", "b"}[i%2]})
			time.Sleep(time.Millisecond)
		}
		require.Equal(t, []EventKind{EventInvalidated, EventActing, EventLoadFailed, EventPeerDown, EventInvalidated}, kindsOf(j.recent("")))
		require.Equal(t, []EventKind{EventActing, EventPeerDown}, kindsOf(j.recent("b")))
		require.Empty(t, j.recent("c"))
		require.NotNil(t, (&journal{}).recent(""))
	})
	var none *journal
	none.add(Event{}) // as a stand-in's
}

// An event may be about a key whose memory is a link's.
func TestJournalKeepsNoMemory(t *testing.T) {
	var j journal
	key := []byte("key")
	j.add(Event{Kind: EventInvalidated, Key: unsafe.String(&key[0], len(key))})
	key[0] = 'X'
	require.Equal(t, "key", j.recent("")[0].Key)
}

func TestEventJSON(t *testing.T) {
	e := Event{At: time.Unix(1, 0).UTC(), Kind: EventViewChanged, Err: errors.New("why"), Came: []string{"a"}, Breaker: BreakerOpen, Took: time.Second, Epoch: 1 << 40}
	b, err := json.Marshal(e)
	require.NoError(t, err)
	require.Contains(t, string(b), `"Kind":"view changed"`)
	require.Contains(t, string(b), `"Breaker":"open"`)
	var back Event
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, e, back)
	require.NoError(t, json.Unmarshal([]byte(`{"Kind":"of a later version"}`), &back))
	require.Zero(t, back.Kind)
	require.Equal(t, "unknown", back.Kind.String())
	b, err = json.Marshal(Event{Err: panickyError{}})
	require.NoError(t, err)
	require.Contains(t, string(b), "whose Error panics")
	require.Error(t, json.Unmarshal([]byte(`{"Took":"x"}`), &back))
	for k := EventPeerUp; k < endOfKinds; k++ {
		require.NotEqual(t, "unknown", k.String(), k)
	}
}

// A member of a later version may know states and kinds that this one does not.
func TestReportOfALaterVersion(t *testing.T) {
	var r Report
	require.NoError(t, json.Unmarshal([]byte(`{
		"Member": "a", "New": {}, "Group": {"Acting": true, "New": 1},
		"Caches": [{"Name": "users", "Stats": {"Hits": 3, "Breaker": "ajar", "New": []}, "New": 1}],
		"Recent": [{"Kind": "breaker", "Breaker": "ajar"}, {"Kind": "of a new kind"}]
	}`), &r))
	require.EqualValues(t, 3, r.Caches[0].Stats.Hits)
	require.Equal(t, BreakerNone, r.Caches[0].Stats.Breaker)
	require.Equal(t, []EventKind{EventBreaker, 0}, []EventKind{r.Recent[0].Kind, r.Recent[1].Kind})
}

type panickyError struct{}

func (panickyError) Error() string { panic("no text") }

// What changes in a group is told in order, and is there to be read.
func TestGroupEvents(t *testing.T) {
	var told sync.Map // by process, *[]Event
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: netsim.New(), o: Options[string]{}}
		urls := []string{"http://a", "http://b", "http://c"}
		for _, name := range []string{"a", "b", "c"} {
			p := w.at(name, StaticPeers(urls...))
			var events []Event
			told.Store(name, &events)
			p.opt.Events.Changed = func(e Event) { events = append(events, e) }
			p.run()
		}
		w.ready()
		a, b, c := w.procs[0], w.procs[1], w.procs[2]
		of := func(p *proc) []Event {
			synctest.Wait()
			got, _ := told.Load(p.name)
			return *got.(*[]Event)
		}
		for _, p := range w.procs {
			kinds := make(map[EventKind]int)
			for _, e := range of(p) {
				kinds[e.Kind]++
			}
			require.Positive(t, kinds[EventViewChanged])
			require.Equal(t, 1, kinds[EventActing]-kinds[EventNotActing], "%v", of(p))
			require.Equal(t, 2, kinds[EventPeerUp])
			require.EqualValues(t, kinds[EventViewChanged], p.group.Stats().Views)
			require.Equal(t, len(of(p)), len(p.group.Recent()))
		}
		before := len(of(a))
		c.crash()
		time.Sleep(5 * time.Second)
		news := of(a)[before:]
		down := slices.IndexFunc(news, func(e Event) bool { return e.Kind == EventPeerDown })
		changed := slices.IndexFunc(news, func(e Event) bool { return e.Kind == EventViewChanged })
		require.True(t, 0 <= down && down < changed, "%v", news)
		require.Equal(t, c.url, news[down].Peer)
		require.Error(t, news[down].Err)
		require.Equal(t, []string{c.url}, news[changed].Left)
		require.Empty(t, news[changed].Came)
		require.Equal(t, 2, news[changed].Members)
		require.Equal(t, a.group.Stats().Epoch, of(a)[len(of(a))-1].Epoch)

		before, beforeA := len(of(b)), len(of(a))
		w.net.Partition("a", "b")
		time.Sleep(10 * time.Second)
		lost := slices.IndexFunc(of(b)[before:], func(e Event) bool { return e.Kind == EventNotActing })
		kept := slices.IndexFunc(of(a)[beforeA:], func(e Event) bool { return e.Kind == EventNotActing })
		require.NotEqual(t, lost >= 0, kept >= 0, "the senior goes on, the other one does not")
		w.net.Heal("a", "b")
		time.Sleep(20 * time.Second)
		require.Equal(t, EventActing, lastOf(of(a), EventActing, EventNotActing))
		require.Equal(t, EventActing, lastOf(of(b), EventActing, EventNotActing))
		w.close()
		require.Equal(t, EventNotActing, lastOf(of(a), EventActing, EventNotActing))
	})
}

// lastOf returns which of the kinds has come last.
func lastOf(events []Event, kinds ...EventKind) EventKind {
	for _, e := range slices.Backward(events) {
		if slices.Contains(kinds, e.Kind) {
			return e.Kind
		}
	}
	return 0
}

// Who is told of events may hang, panic and ask the group; nothing waits for it but Shutdown, for a
// while.
func TestGroupEventsMisbehave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log recorder
		w := &world{t: t, net: netsim.New(), o: Options[string]{Logger: slog.New(&log)}}
		release := make(chan struct{})
		p := w.at("a", StaticPeers("http://a"))
		var events []Event
		p.opt.Events.Changed = func(e Event) {
			_, _ = p.group.Peers(), p.group.Recent()
			<-release
			events = append(events, e)
			panic("no")
		}
		p.run()
		w.ready()
		for range 2 * maxQueued {
			p.group.journal.add(Event{Kind: EventNotice})
		}
		close(release)
		synctest.Wait()
		require.Equal(t, EventsLost, events[len(events)-1].Kind)
		require.Greater(t, events[len(events)-1].Skipped+int64(len(events)-1), int64(2*maxQueued), "none is neither told nor counted")
		require.NotEmpty(t, log.said(eventFailed))
		w.close()
	})
}

// The breaker's states are told in order, for the cache and for its group.
func TestBreakerEvents(t *testing.T) {
	var told []BreakerState
	o := Options[string]{Breaker: &Breaker{MinLoads: 2, Probes: 1}, Events: Events[string]{Breaker: func(s BreakerState) { told = append(told, s) }}}
	inWorld(t, 1, o, func(t *testing.T, w *world) {
		c := w.procs[0].cache
		down := func(context.Context, string) (string, error) { return "", errors.New("down") }
		for range 2 {
			_, err := c.Get(t.Context(), "k", down)
			require.Error(t, err)
		}
		time.Sleep(6 * time.Second)
		_, err := c.Get(t.Context(), "k", constant("v"))
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []BreakerState{BreakerOpen, BreakerHalfOpen, BreakerClosed}, told)
		var seen []BreakerState
		for _, e := range with(EventBreaker, w.procs[0].group.Recent()) {
			require.Equal(t, "test", e.Cache)
			seen = append(seen, e.Breaker)
		}
		require.Equal(t, told, seen)
		failed := with(EventLoadFailed, c.Recent())
		require.Len(t, failed, 2)
		require.EqualError(t, failed[0].Err, "down")
		require.Equal(t, "k", failed[0].Key)
	})
}
