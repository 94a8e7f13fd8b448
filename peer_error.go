package covey

// peer_error.go takes errors across the wire: covey's own keep their identity, a loader's becomes
// its text.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// A foreignError is an error that another peer has answered with.
type foreignError struct {
	peer, text string
	is         error // covey's own error that it is, or nil
}

func (e *foreignError) Error() string { return fmt.Sprintf("%s (at peer %s)", e.text, e.peer) }
func (e *foreignError) Unwrap() error { return e.is }

// codes are the errors that keep their identity on the wire.
var codes = [...]struct {
	err  error
	code wire.Code
}{
	{ErrOverloaded, wire.CodeOverloaded},
	{ErrLoadTimeout, wire.CodeLoadTimeout},
	{ErrRecursiveLoad, wire.CodeRecursive},
	{ErrOutdated, wire.CodeOutdated},
	{ErrConflict, wire.CodeConflict},
	{ErrOverflow, wire.CodeOverflow},
	{ErrTooLarge, wire.CodeTooLarge},
	{ErrUnconfirmed, wire.CodeUnconfirmed},
	{ErrNotReplicated, wire.CodeNotReplicated},
	{ErrNoLoader, wire.CodeNoLoader},
	{ErrClosed, wire.CodeClosed},
	{errRightLost, wire.CodeCancelled},
	{context.Canceled, wire.CodeCancelled},
}

// failed returns the frame that carries err.
func failed(err error) *wire.Frame {
	if errors.Is(err, ErrNotFound) {
		return &wire.Frame{Type: wire.NotFound}
	}
	f := &wire.Frame{Type: wire.Failed, Code: wire.CodeLoad, Text: err.Error()}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			f.Code = c.code
			break
		}
	}
	var u *UnconfirmedError
	if errors.As(err, &u) {
		f.Items = u.items()
	}
	f.Text = cut(f.Text)
	return f
}

// cut makes a text short enough for a frame.
func cut(text string) string { return text[:min(len(text), wire.MaxText)] }

// items has a frame for each of the peers.
func (e *UnconfirmedError) items() []byte {
	items := []byte{}
	for _, p := range e.Peers[:min(len(e.Peers), maxPeersSent)] {
		items = wire.Append(items, &wire.Frame{Type: wire.Failed, Key: p.Peer, Code: wire.Code(p.Code), Text: cut(p.Err.Error())})
	}
	return items
}

// maxPeersSent is how many peers another process is told of, at most: so many fit into a frame.
const maxPeersSent = 16

// writeError returns the error of an answer that does not confirm a write of key.
func (p *peering[V]) writeError(peer, key string, f *wire.Frame) error {
	if f.Type != wire.Failed || f.Code != wire.CodeUnconfirmed {
		return answerError(peer, f)
	}
	e := &UnconfirmedError{Cache: p.c.name, Key: strings.Clone(key), Err: &foreignError{peer: peer, text: strings.Clone(f.Text), is: ErrUnconfirmed}}
	var one wire.Frame
	for items := f.Items; len(items) > 0; {
		var err error
		if items, err = wire.Next(items, &one); err != nil {
			break // the text says it all, too
		}
		e.Peers = append(e.Peers, &PeerError{Peer: strings.Clone(one.Key), Code: PeerCode(one.Code), Err: errors.New(strings.Clone(one.Text))})
	}
	return e
}

// verdictOn returns how a call goes on after an answer that is neither a value nor a right, and the
// error that the answer stands for. canLoad says whether the caller has a loader.
func verdictOn(peer string, f *wire.Frame, canLoad bool) (verdict, error) {
	if f.Type == wire.NotOwner {
		return elsewhere, &PeerError{Peer: peer, Err: errors.New("by its view of the members it does not own the key")}
	}
	err := answerError(peer, f)
	switch {
	case isUnreached(err):
		return unreachable, err
	case f.Code == wire.CodeCancelled:
		return lost, err
	case f.Code == wire.CodeTooLarge, f.Code == wire.CodeNoLoader && canLoad:
		return unshared, err
	}
	return answered, err
}

// failure returns the error that a peer answered with.
func failure(peer string, code wire.Code, text string) error {
	switch code {
	case wire.CodeCancelled:
		return errRightLost
	case wire.CodeLoad, wire.CodeOutdated, wire.CodeConflict, wire.CodeOverflow, wire.CodeTooLarge, wire.CodeOverloaded, wire.CodeLoadTimeout, wire.CodeRecursive, wire.CodeNoLoader, wire.CodeUnconfirmed, wire.CodeNotReplicated:
		e := &foreignError{peer: peer, text: text}
		for _, c := range codes {
			if c.code == code {
				e.is = c.err
				break
			}
		}
		return e
	case wire.CodeClosed:
		return newPeerError(peer, link.ErrGoingAway)
	case wire.CodeUnknownCache:
		return &PeerError{Peer: peer, Code: PeerHasNoCache, Err: errors.New("it has no such cache")}
	}
	if text == "" {
		text = fmt.Sprintf("it refuses with code %d", code)
	}
	return &PeerError{Peer: peer, Code: PeerRefused, Err: errors.New(text)}
}

// errRightLost ends a flight whose load was given to a peer that did not bring a result. Those who
// waited try again, and return it if that happens again and again.
var errRightLost = errors.New("covey: the peer that loaded the key gave up")
