package covey

// failures.go makes one error of what went wrong with many keys.

import (
	"fmt"
	"reflect"
	"strings"
)

// shownFailures is how many errors of a call for many keys its own error's text has.
const shownFailures = 8

// failures gathers errors, each once. What it costs grows in proportion to their number, and the
// text of the error that it makes does not grow with it.
type failures struct {
	seen  map[error]struct{}
	kinds map[any]struct{}
	count int     // of different errors
	shown []error // the first of them
	each  []error // the first of each kind
}

func (f *failures) add(err error) {
	if reflect.ValueOf(err).Comparable() && !isNew(&f.seen, err) {
		return
	}
	if f.count++; f.count <= shownFailures {
		f.shown = append(f.shown, err)
	}
	if isNew(&f.kinds, kindOf(err)) {
		f.each = append(f.each, err)
	}
}

// isNew adds a key to a set, and reports whether it was not there.
func isNew[K comparable](set *map[K]struct{}, key K) bool {
	if *set == nil {
		*set = make(map[K]struct{})
	}
	n := len(*set)
	(*set)[key] = struct{}{}
	return len(*set) > n
}

// err returns the error of the whole call; nil if nothing was added.
func (f *failures) err() error {
	switch f.count {
	case 0:
		return nil
	case 1:
		return f.shown[0]
	}
	return &manyError{shown: f.shown, more: f.count - len(f.shown), each: f.each}
}

// A manyError is an error of a call for many keys.
type manyError struct {
	shown []error
	more  int
	each  []error
}

func (e *manyError) Error() string {
	var b strings.Builder
	for i, err := range e.shown {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(err.Error())
	}
	if e.more > 0 {
		fmt.Fprintf(&b, "\ncovey: and %d more errors", e.more)
	}
	return b.String()
}

// Unwrap returns an error of each kind.
func (e *manyError) Unwrap() []error { return e.each }

// kindOf returns what errors.Is and errors.As tell err by. In all errors of one kind they find the
// same things. An error that wraps others is told by its type and theirs, unless it has an Is or As
// of its own; one that wraps none, by itself.
func kindOf(err error) any {
	var wrapped []error
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		wrapped = []error{w.Unwrap()}
	case interface{ Unwrap() []error }:
		wrapped = w.Unwrap()
	default:
		return itself(err)
	}
	var k any = reflect.TypeOf(err)
	switch err.(type) {
	case interface{ Is(error) bool }, interface{ As(any) bool }:
		k = itself(err)
	}
	for _, one := range wrapped {
		if one != nil {
			k = [2]any{k, kindOf(one)}
		}
	}
	return k
}

func itself(err error) any {
	if reflect.ValueOf(err).Comparable() {
		return err
	}
	return reflect.TypeOf(err)
}
