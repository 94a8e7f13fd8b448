package covey

// guard.go calls the functions that users give to a cache or a group. A panic in one of them would
// end the process, and a Goexit the goroutine that serves a peer or all keys. So none is called on
// a goroutine of Covey's but through here.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
)

// guard runs f, which calls what, a function of the user's, and returns its error: a *PanicError if
// f panics or calls runtime.Goexit. As nothing stops a Goexit, f runs on a goroutine of its own.
func guard(what string, f func() error) error {
	result := make(chan error, 1)
	go call(what, func() (struct{}, error) { return struct{}{}, f() }, func(_ struct{}, err error) { result <- err })
	return <-result
}

// guardDial is guard for a function that makes a connection. It returns when ctx ends, too; a
// connection that comes later is closed.
func guardDial(ctx context.Context, what string, f func() (net.Conn, error)) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	go call(what, f, func(conn net.Conn, err error) {
		if conn == nil && err == nil {
			err = fmt.Errorf("covey: %s returned neither a connection nor an error", what)
		}
		select {
		case results <- result{conn, err}:
		case <-ctx.Done():
			if conn != nil {
				_ = conn.Close()
			}
		}
	})
	select {
	case r := <-results:
		return r.conn, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// call runs f, a function of the user's, on this goroutine and gives done what it returns. If f
// panics or calls runtime.Goexit, or the error that it returns does when it is looked at, that is a
// *PanicError. After a Goexit the goroutine ends when done has returned.
func call[V any](what string, f func() (V, error), done func(V, error)) {
	var v V
	err := error(&PanicError{Func: what})
	defer func() { done(v, err) }()
	defer rescue(what, &err)
	got, failed := f()
	if failed != nil { // a nil pointer in it, for instance, has no text
		_ = errors.Is(failed, ErrNotFound)
		_ = failed.Error()
	}
	v, err = got, failed
}

// rescue, deferred by a function that calls what, makes a panic that function's error.
func rescue(what string, err *error) {
	if r := recover(); r != nil {
		*err = &PanicError{Func: what, Value: r, Stack: debug.Stack()}
	}
}
