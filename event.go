package covey

// event.go says what may happen in a group that an operator should see.

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// An EventKind says what has happened.
type EventKind uint8

const (
	_ EventKind = iota
	// EventPeerUp means that there is a link to Peer, where there was none.
	EventPeerUp
	// EventPeerDown means that there is no link to Peer any more, for the reason Err.
	EventPeerDown
	// EventViewChanged means that the group goes by another view, of Epoch and so many Members: Came
	// and Left are those who own keys now and did not before, and the other way round.
	EventViewChanged
	// EventActing means that this process may serve what it stores, as it has the promises of a
	// quorum.
	EventActing
	// EventNotActing means that it may not any more: it hears no quorum, or leaves.
	EventNotActing
	// EventNotice means that there is something else that an operator should know about the members,
	// which Err says. It is logged, too.
	EventNotice
	// EventBreaker means that the breaker of Cache has changed to the state Breaker.
	EventBreaker
	// EventInvalidated means that Key of Cache was deleted or expired by its owner, this process, or
	// put while others held it; or, without a Key, that Cache was cleared. Took is how long it took
	// until nobody held it any more, 0 if nobody did.
	EventInvalidated
	// EventRecalled means that this process has given back its copy of Key to Peer, as that one
	// writes it; or, without a Key, all copies of Cache.
	EventRecalled
	// EventLoadFailed means that a load of Key, or of several keys, has failed with Err.
	EventLoadFailed
	// EventPeerFailed means that Peer was asked for Key in vain, with Err.
	EventPeerFailed
	// EventUnconfirmed means that a write of Key, or a Clear, has returned ErrUnconfirmed.
	EventUnconfirmed
	// EventMismatch means that Options.SelfCheck has found a replica or copy of Key that differs from
	// what its owner has.
	EventMismatch
	// EventsLost means that so many events as Skipped says were not told to a function of the user's
	// that was too slow.
	EventsLost
	endOfKinds
)

var kindNames = [endOfKinds]string{
	EventPeerUp: "peer up", EventPeerDown: "peer down", EventViewChanged: "view changed", EventActing: "acting", EventNotActing: "not acting",
	EventNotice: "notice", EventBreaker: "breaker", EventInvalidated: "invalidated", EventRecalled: "recalled", EventLoadFailed: "load failed",
	EventPeerFailed: "peer failed", EventUnconfirmed: "unconfirmed", EventMismatch: "mismatch", EventsLost: "events lost",
}

// String returns the kind in a word or two, such as peer up or view changed.
func (k EventKind) String() string {
	if k < endOfKinds && kindNames[k] != "" {
		return kindNames[k]
	}
	return "unknown"
}

// MarshalText implements encoding.TextMarshaler: it returns what String does.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. A kind that is not known, as of a later version,
// becomes 0.
func (k *EventKind) UnmarshalText(text []byte) error {
	*k = 0
	for i, name := range kindNames {
		if name != "" && name == string(text) {
			*k = EventKind(i)
		}
	}
	return nil
}

func (k EventKind) class() eventClass {
	switch k {
	case EventPeerUp, EventPeerDown:
		return ofPeers
	case EventInvalidated, EventRecalled:
		return ofWrites
	case EventLoadFailed, EventPeerFailed, EventUnconfirmed, EventMismatch:
		return ofErrors
	}
	return ofGroup
}

// An Event is something that has happened in this process, or that it has noticed; see
// [Group.Recent]. Which fields are set says its Kind.
type Event struct {
	At      time.Time     // when, by this process's wall clock
	Kind    EventKind     // what
	Cache   string        // the name of the cache that it is about; "" if it is about the group
	Peer    string        // the name of the member that it is about
	Key     string        // or its first 128 bytes
	Err     error         // why; in JSON its text
	Took    time.Duration // how long it took
	Epoch   uint64        // of the view
	Members int           // that own keys
	Came    []string      // names of members, 16 at most
	Left    []string      // the same
	Breaker BreakerState  // the new state
	Skipped int64         // events of its class that are not remembered since there were too many, before this one
}

// eventJSON is an Event in JSON.
type eventJSON struct {
	At      time.Time
	Kind    EventKind
	Cache   string        `json:",omitempty"`
	Peer    string        `json:",omitempty"`
	Key     string        `json:",omitempty"`
	Err     string        `json:",omitempty"`
	Took    time.Duration `json:",omitempty"`
	Epoch   uint64        `json:",omitempty"`
	Members int           `json:",omitempty"`
	Came    []string      `json:",omitempty"`
	Left    []string      `json:",omitempty"`
	Breaker BreakerState  `json:",omitempty"`
	Skipped int64         `json:",omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (e Event) MarshalJSON() ([]byte, error) {
	return json.Marshal(eventJSON{e.At, e.Kind, e.Cache, e.Peer, e.Key, textOf(e.Err), e.Took, e.Epoch, e.Members, e.Came, e.Left, e.Breaker, e.Skipped})
}

// UnmarshalJSON implements json.Unmarshaler. Of an error nothing comes back but its text.
func (e *Event) UnmarshalJSON(b []byte) error {
	var j eventJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*e = Event{j.At, j.Kind, j.Cache, j.Peer, j.Key, errorOf(j.Err), j.Took, j.Epoch, j.Members, j.Came, j.Left, j.Breaker, j.Skipped}
	return nil
}

// textOf returns the text of an error, which may be a user's and panic; "" if there is none.
func textOf(err error) (text string) {
	if err == nil {
		return ""
	}
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("an error of type %T, whose Error panics", err)
		}
	}()
	return cut(err.Error())
}

// errorOf is the other way round.
func errorOf(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// GroupEvents are functions that a group calls when something happens; each may be nil.
type GroupEvents struct {
	// Changed is called with each change of the state of the group or of one of its caches, as this
	// process sees it: the kinds from EventPeerUp to EventBreaker. It runs on a goroutine of its own,
	// for one event after another, in order, and may use the group. Nothing waits for it but
	// Shutdown, for 5 s at most. If it is so slow that 1,024 events wait, further ones are dropped, of
	// which an event of kind EventsLost tells. If it panics or calls runtime.Goexit, that is logged.
	Changed func(Event)
}
