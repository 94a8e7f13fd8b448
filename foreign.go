package covey

// foreign.go takes errors across the wire: covey's own keep their identity, a loader's becomes its text.

import (
	"context"
	"errors"
	"fmt"

	"github.com/coveycache/covey/internal/link"
	"github.com/coveycache/covey/internal/wire"
)

// A PeerError says that a peer did not do its part of an operation: it cannot be
// reached, does not answer in time, or refuses. The error of a loader that ran at a peer is not a PeerError.
type PeerError struct {
	Peer string // the peer's name, see Member.Name
	Err  error  // why; it has no identity that survives a release
}

// Error names the peer and the cause.
func (e *PeerError) Error() string { return fmt.Sprintf("covey: peer %s: %v", e.Peer, e.Err) }

// Unwrap returns the cause.
func (e *PeerError) Unwrap() error { return e.Err }

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
	{ErrTooLarge, wire.CodeTooLarge},
	{ErrUnconfirmed, wire.CodeUnconfirmed},
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
	if len(f.Text) > wire.MaxText {
		f.Text = f.Text[:wire.MaxText]
	}
	return f
}

// failure returns the error that a peer answered with.
func failure(peer string, code wire.Code, text string) error {
	switch code {
	case wire.CodeCancelled:
		return errRightLost
	case wire.CodeLoad, wire.CodeOutdated, wire.CodeTooLarge, wire.CodeOverloaded, wire.CodeLoadTimeout, wire.CodeRecursive, wire.CodeNoLoader, wire.CodeUnconfirmed:
		e := &foreignError{peer: peer, text: text}
		for _, c := range codes {
			if c.code == code {
				e.is = c.err
				break
			}
		}
		return e
	case wire.CodeClosed:
		return &PeerError{Peer: peer, Err: link.ErrGoingAway}
	case wire.CodeUnknownCache:
		return &PeerError{Peer: peer, Err: errors.New("it has no such cache")}
	}
	if text == "" {
		text = fmt.Sprintf("it refuses with code %d", code)
	}
	return &PeerError{Peer: peer, Err: errors.New(text)}
}

// errRightLost ends a flight whose load was given to a peer that did not bring a result; those who waited try again.
var errRightLost = errors.New("covey: the peer that loaded the key gave up")
