package covey

// errors.go holds every error that a caller can meet.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/coveycache/covey/internal/link"
)

// strError is an error that is a constant, so that nobody can reassign it.
type strError string

func (e strError) Error() string { return string(e) }

const (
	// ErrNotFound says that the origin has no such key. A loader returns it,
	// wrapped or not; the cache remembers it for Options.NegativeTTL.
	ErrNotFound strError = "covey: not found"
	// ErrClosed is returned by every call on a closed cache, and by those who use a group that is
	// shut down.
	ErrClosed strError = "covey: cache is closed"
	// ErrTooLarge is returned by a Put whose value is larger than Options.MaxValueBytes, or cannot
	// be encoded for the peer that owns the key; the old value is removed all the same. A loaded
	// value that is too large is returned and not stored.
	ErrTooLarge strError = "covey: value is too large"
	// ErrNoLoader is returned by a Get or GetMany that misses and has no loader, neither its own
	// nor one of the Options.
	ErrNoLoader strError = "covey: no loader"
	// ErrOutdated is returned by a Put or Delete with a version that is lower than one the cache
	// has seen; see [WithVersion].
	ErrOutdated strError = "covey: version is outdated"
	// ErrConflict is returned by a write whose condition does not hold (see [IfAbsent], [IfVersion] and
	// [DeleteIfVersion]), and by an Update if other writes have come in between again and again. It
	// has changed nothing.
	ErrConflict strError = "covey: condition does not hold"
	// ErrOverflow is returned by an Incr whose sum does not fit into the type. It has changed nothing.
	ErrOverflow strError = "covey: sum overflows"
	// ErrNotReplicated is returned by a Put [WithReplicated] that has been done, when not all who are
	// to have a replica could be reached in time.
	ErrNotReplicated strError = "covey: stored, but not replicated"
	// ErrRecursiveLoad is returned by a Get inside a loader, with the loader's context, that would
	// wait for itself: for the key that is being loaded, or for a load that waits for it, perhaps
	// through others and at other peers. Each load of such a ring may get it. Where loads of
	// several peers join each other, a ring may end with ErrLoadTimeout instead.
	ErrRecursiveLoad strError = "covey: a loader waits for its own result"
	// ErrOverloaded is returned when the protection of the origin (MaxLoads, LoadRate, Breaker) did
	// not let the load through, or when 16,384 calls of one process wait for loads at one other.
	ErrOverloaded strError = "covey: origin is overloaded"
	// ErrLoadTimeout is returned when a load took longer than Options.LoadTimeout.
	ErrLoadTimeout strError = "covey: load timed out"
	// ErrUnchanged is for loaders to return: the value that the cache still has (see
	// [Load.StaleVersion]) is right, keep it for another TTL. If the cache has none any more, it is
	// an error like any other. The function of an Update returns it to write nothing.
	ErrUnchanged strError = "covey: unchanged"
	// ErrUnconfirmed is returned by a write in a group of which it is not sure that it has been done
	// everywhere: the key's owner did not answer or could not be asked, or a copy could not be taken
	// back in time. It may have been done, or not, or may be done in a moment. It comes in an
	// [*UnconfirmedError], which has the peers. A Delete or Clear goes on being tried in the
	// background; after a Put or an Expire, what was there before is removed there.
	ErrUnconfirmed strError = "covey: write is not confirmed"
	// ErrInvalidKey is returned for a key that is empty or longer than [MaxKeyLen] bytes.
	ErrInvalidKey strError = "covey: invalid key"
)

// A PeerCode says in which way a peer did not do its part of an operation.
type PeerCode uint8

const (
	// PeerFailed is every other way; see PeerError.Err.
	PeerFailed PeerCode = iota
	// PeerUnreachable means that there is no connection to the peer: its machine refuses, its name
	// is unknown, or one of the two ends does not accept the other.
	PeerUnreachable
	// PeerSilent means that the peer did not answer in time.
	PeerSilent
	// PeerGone means that the connection broke during the operation, or that the peer is shutting
	// down.
	PeerGone
	// PeerHasNoCache means that the peer has no cache of that name, or has it with another codec.
	PeerHasNoCache
	// PeerRefused means that the peer answered that it does not do it.
	PeerRefused
)

var peerCodes = [...]string{"failed", "unreachable", "silent", "gone", "has no cache", "refused"}

// String returns the code in a word or two.
func (c PeerCode) String() string {
	if int(c) < len(peerCodes) {
		return peerCodes[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// A PeerError says that a peer did not do its part of an operation: it cannot be reached, does not
// answer in time, or refuses. The error of a loader that ran at a peer is not a PeerError.
type PeerError struct {
	Peer string   // the peer's name, see Member.Name
	Code PeerCode // in which way
	Err  error    // why; it has no identity that survives a release
}

// Error names the peer and the cause.
func (e *PeerError) Error() string { return fmt.Sprintf("covey: peer %s: %v", e.Peer, e.Err) }

// Unwrap returns the cause.
func (e *PeerError) Unwrap() error { return e.Err }

// newPeerError finds out the code of a link's error.
func newPeerError(peer string, err error) *PeerError {
	e := &PeerError{Peer: peer, Err: err}
	var dial *link.DialError
	switch {
	case errors.As(err, &dial):
		e.Code = PeerUnreachable
	case errors.Is(err, context.DeadlineExceeded): // as link.ErrTimeout is
		e.Code = PeerSilent
	default:
		e.Code = PeerGone
	}
	return e
}

// An UnconfirmedError is the error of a write that could not make sure of every peer. errors.Is
// finds [ErrUnconfirmed] in it, and what Peers and Err are. It is the same whether this process
// asked the peers or the key's owner did.
type UnconfirmedError struct {
	Cache string       // the cache's name
	Key   string       // "" for a Clear
	Peers []*PeerError // the peers that could not be made sure of, at most 16 of those that the owner asked
	Err   error        // another cause, such as the end of the caller's context; nil if there is none
}

// Error names the cache, the key and the causes.
func (e *UnconfirmedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v: cache %q", ErrUnconfirmed, e.Cache)
	if e.Key != "" {
		fmt.Fprintf(&b, ", key %q", e.Key)
	}
	causes := e.Unwrap()[1:]
	for _, err := range causes[:min(len(causes), shownFailures)] {
		fmt.Fprintf(&b, "; %v", err)
	}
	if more := len(causes) - shownFailures; more > 0 {
		fmt.Fprintf(&b, "; and %d more errors", more)
	}
	return b.String()
}

// Unwrap returns ErrUnconfirmed, Peers and Err.
func (e *UnconfirmedError) Unwrap() []error {
	all := []error{ErrUnconfirmed}
	for _, p := range e.Peers {
		all = append(all, p)
	}
	if e.Err != nil {
		all = append(all, e.Err)
	}
	return all
}

// unconfirmed returns the error of a write of key that failed because of errs, some of which may be
// nil.
func unconfirmed(cache, key string, errs ...error) error {
	e := &UnconfirmedError{Cache: cache, Key: strings.Clone(key)}
	var rest []error
	var sort func(errs []error)
	sort = func(errs []error) {
		for _, err := range errs {
			switch err := err.(type) {
			case *PeerError:
				e.Peers = append(e.Peers, err)
			case *UnconfirmedError:
				e.Peers = append(e.Peers, err.Peers...)
				rest = append(rest, err.Err)
			case interface{ Unwrap() []error }: // of errors.Join
				sort(err.Unwrap())
			default:
				rest = append(rest, err)
			}
		}
	}
	sort(errs)
	e.Err = errors.Join(rest...)
	return e
}

// A PanicError says that a function which the user gave to the cache or the group panicked or
// called runtime.Goexit. If that is a loader, everybody who waits for the load gets it. At other
// processes of the group it arrives as an error with the same text.
type PanicError struct {
	Func  string // the function: "the loader", "Options.Size", "Codec.Decode" and so on
	Value any    // what it panicked with; nil for Goexit
	Stack []byte // of its goroutine; nil for Goexit
}

// Error returns the panic's value and stack: it is for logs, not for answers to clients.
func (e *PanicError) Error() string {
	if e.Stack == nil {
		return fmt.Sprintf("covey: %s called runtime.Goexit", e.Func)
	}
	return fmt.Sprintf("covey: %s panicked: %v\n\n%s", e.Func, e.Value, e.Stack)
}

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// MaxKeyLen is the length of the longest key and of the longest name of a cache, in bytes.
const MaxKeyLen = 1<<16 - 1

func noLoader(cache, key string) error {
	return fmt.Errorf("%w: cache %q, key %q", ErrNoLoader, cache, key)
}

func checkKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: it is empty", ErrInvalidKey)
	}
	if len(key) > MaxKeyLen {
		return fmt.Errorf("%w: %q… has %d bytes, the limit is %d", ErrInvalidKey, key[:32], len(key), MaxKeyLen)
	}
	return nil
}
