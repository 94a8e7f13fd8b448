package covey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A listError cannot be compared.
type listError []string

func (e listError) Error() string { return strings.Join(e, ", ") }

// A codeError has a way of its own to say what it is.
type codeError struct{ code int }

func (e *codeError) Error() string        { return fmt.Sprint("code ", e.code) }
func (e *codeError) Unwrap() error        { return nil }
func (e *codeError) Is(target error) bool { return target == error(syscall.Errno(e.code)) }

func TestFailures(t *testing.T) {
	var f failures
	require.NoError(t, f.err())
	f.add(io.EOF)
	f.add(io.EOF)
	require.Equal(t, io.EOF, f.err(), "each once")
	down := errors.New("down")
	for i := range 100_000 {
		f.add(fmt.Errorf("key %d: %w", i, down))
	}
	f.add(fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, &fs.PathError{Op: "read", Path: "p", Err: syscall.EIO}))
	f.add(listError{"one"})
	f.add(listError{"two"})
	f.add(&codeError{2})
	f.add(&codeError{3})
	f.add(&PanicError{Value: fs.ErrClosed})
	err := f.err()
	require.Less(t, len(err.Error()), 1000)
	require.ErrorContains(t, err, "EOF\nkey 0: down\nkey 1: down\n")
	require.ErrorContains(t, err, "and 99999 more errors")
	for _, is := range []error{io.EOF, down, io.ErrUnexpectedEOF, syscall.EIO, syscall.Errno(2), syscall.Errno(3), fs.ErrClosed} {
		require.ErrorIs(t, err, is)
	}
	require.NotErrorIs(t, err, io.ErrNoProgress)
	var list listError
	require.ErrorAs(t, err, &list)
	var path *fs.PathError
	require.ErrorAs(t, err, &path)
	require.Len(t, f.each, 7, "an example of each kind")
}

// Very many keys fail, each with an error of its own.
func TestManyFailures(t *testing.T) {
	const n = 20_000
	keys := make([]string, n)
	items := make(map[string]int, n)
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
		items[keys[i]] = i
	}
	down := errors.New("down")
	load := func(_ context.Context, key string) (int, error) {
		if key == "key777" {
			return 0, &fs.PathError{Op: "open", Path: key, Err: fs.ErrNotExist}
		}
		return 0, fmt.Errorf("%s: %w", key, down)
	}
	c := newCache(t, Options[int]{Loader: load, MaxValueBytes: 1, Size: func(string, int) int { return 2 }})
	check := func(err error, is ...error) {
		t.Helper()
		require.Less(t, len(err.Error()), 4000)
		require.ErrorContains(t, err, fmt.Sprintf("and %d more errors", n-shownFailures))
		for _, one := range is {
			require.ErrorIs(t, err, one)
		}
	}
	_, err := c.GetMany(t.Context(), keys, nil)
	check(err, down, fs.ErrNotExist)
	check(c.PutMany(t.Context(), items), ErrTooLarge)
	check(c.DeleteMany(t.Context(), make([]string, n)), ErrInvalidKey)
}

func TestManyIncomparableFailures(t *testing.T) {
	c := newCache(t, Options[int]{})
	c.opt.Loader = func(_ context.Context, key string) (int, error) { return 0, listError{key} }
	_, err := c.GetMany(t.Context(), []string{"a", "b"}, nil)
	require.EqualError(t, err, "a\nb")
}
