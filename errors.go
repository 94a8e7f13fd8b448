package covey

// errors.go holds every error that a caller can meet.

import (
	"fmt"
)

// strError is an error that is a constant, so that nobody can reassign it.
type strError string

func (e strError) Error() string { return string(e) }

const (
	// ErrNotFound says that the origin has no such key. A loader returns it,
	// wrapped or not; the cache remembers it for Options.NegativeTTL.
	ErrNotFound strError = "covey: not found"
	// ErrClosed is returned by every call on a closed cache, and by those who use a group that is shut down.
	ErrClosed strError = "covey: cache is closed"
	// ErrTooLarge is returned by a Put whose value is larger than Options.MaxValueBytes, or cannot be encoded for the peer that
	// owns the key; the old value is removed all the same. A loaded value that is too large is returned and not stored.
	ErrTooLarge strError = "covey: value is too large"
	// ErrNoLoader is returned by a Get or GetMany that misses and has no loader, neither its own nor one of the Options.
	ErrNoLoader strError = "covey: no loader"
	// ErrOutdated is returned by a Put or Delete with a version that is lower than one the cache has seen; see [WithVersion].
	ErrOutdated strError = "covey: version is outdated"
	// ErrRecursiveLoad is returned by a Get inside a loader for the very key that this loader, or one
	// that it was called from, is loading: the Get would wait for itself.
	ErrRecursiveLoad strError = "covey: a loader asked for the key it is loading"
	// ErrOverloaded is returned when the protection of the origin (MaxLoads,
	// LoadRate, Breaker) did not let the load through.
	ErrOverloaded strError = "covey: origin is overloaded"
	// ErrLoadTimeout is returned when a load took longer than Options.LoadTimeout.
	ErrLoadTimeout strError = "covey: load timed out"
	// ErrUnchanged is for loaders to return: the value that the cache still has (see [Load.StaleVersion]) is right, keep it
	// for another TTL. If the cache has none any more, it is an error like any other.
	ErrUnchanged strError = "covey: unchanged"
	// ErrUnconfirmed is returned by a write in a group that could not make sure of every peer that may
	// have a value of the key. Its text says which and why; where this process itself asked in vain, errors.As finds a
	// [*PeerError]. The write has been done where that was possible. The other peers are told to drop the key as soon as they
	// can be reached.
	ErrUnconfirmed strError = "covey: write is not confirmed"
	// ErrInvalidKey is returned for a key that is empty or longer than [MaxKeyLen] bytes.
	ErrInvalidKey strError = "covey: invalid key"
)

// A PanicError says that a function which the user gave to the cache or the group panicked or called runtime.Goexit. If that is
// a loader, everybody who waits for the load gets it. At other processes of the group it arrives as an error with the same text.
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
