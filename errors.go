package covey

// errors.go holds every error a caller can meet.

import (
	"fmt"
)

// strError is an error that is a constant, so that nobody can reassign it.
type strError string

func (e strError) Error() string { return string(e) }

const (
	// ErrNotFound says that the origin has no such key. A loader returns it
	// (wrapped or not); the cache remembers it for Options.NegativeTTL.
	ErrNotFound strError = "covey: not found"
	// ErrClosed is returned by every call on a closed cache.
	ErrClosed strError = "covey: cache is closed"
	// ErrTooLarge is returned by a Put whose value is over the limit; the old value is gone then.
	ErrTooLarge strError = "covey: value is too large"
	// ErrNoLoader is returned by a Get that misses and has no loader, neither its own nor Options.Loader.
	ErrNoLoader strError = "covey: no loader"
	// ErrOutdated is returned by a Put whose version is lower than the one the cache has seen.
	ErrOutdated strError = "covey: version is outdated"
	// ErrRecursiveLoad is returned by a Get inside a loader for the very key
	// that this loader, or one that called it, is loading.
	ErrRecursiveLoad strError = "covey: a loader asked for the key it is loading"
	// ErrOverloaded is returned when the protection of the origin (MaxLoads,
	// LoadRate, Breaker) did not let the load through.
	ErrOverloaded strError = "covey: origin is overloaded"
	// ErrLoadTimeout is returned when a load took longer than Options.LoadTimeout.
	ErrLoadTimeout strError = "covey: load timed out"
	// ErrUnchanged is for loaders to return: the value the cache has (see
	// [Load.StaleVersion]) is still right, keep it for another TTL.
	ErrUnchanged strError = "covey: unchanged"
	// ErrUnconfirmed is returned by a write in a group that could not make sure of all peers that may
	// have a value of the key; errors.As finds the *PeerError. The write has been done where
	// that was possible. The others are made to drop the key as soon as they can be reached.
	ErrUnconfirmed strError = "covey: write is not confirmed"
	// ErrInvalidKey is returned for a key that is empty or longer than [MaxKeyLen] bytes.
	ErrInvalidKey strError = "covey: invalid key"
)

// A PanicError is what all waiters of a load get whose loader panicked or
// called runtime.Goexit.
type PanicError struct {
	Value any    // what the loader panicked with; nil for Goexit
	Stack []byte // of the loader's goroutine, nil for Goexit
}

// Error returns the panic's value and stack.
func (e *PanicError) Error() string {
	if e.Stack == nil {
		return "covey: the loader called runtime.Goexit"
	}
	return fmt.Sprintf("covey: the loader panicked: %v\n\n%s", e.Value, e.Stack)
}

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// MaxKeyLen is the length of the longest key, in bytes.
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
