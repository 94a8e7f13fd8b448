package covey

// guard.go calls the functions that users give to a cache or a group. A panic in one of them would end the process, and a
// Goexit the goroutine that serves a peer or all keys. So none is called on a goroutine of Covey's but through here.

import "runtime/debug"

// guard runs f, which calls what, a function of the user's, and waits for it. It returns a *PanicError if f panics or calls
// runtime.Goexit. As nothing stops a Goexit, f runs on a goroutine of its own.
func guard(what string, f func()) error {
	result := make(chan error, 1)
	go call(what, func() (struct{}, error) {
		f()
		return struct{}{}, nil
	}, func(_ struct{}, err error) { result <- err })
	return <-result
}

// call runs f, a function of the user's, on this goroutine and gives done what it returns. If f panics or calls runtime.Goexit
// that is a *PanicError. After a Goexit the goroutine ends when done has returned.
func call[V any](what string, f func() (V, error), done func(V, error)) {
	var v V
	err := error(&PanicError{Func: what})
	defer func() { done(v, err) }()
	defer rescue(what, &err)
	v, err = f()
}

// rescue, deferred by a function that calls what, makes a panic that function's error.
func rescue(what string, err *error) {
	if r := recover(); r != nil {
		*err = &PanicError{Func: what, Value: r, Stack: debug.Stack()}
	}
}
