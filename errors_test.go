package covey

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The end of the caller's context is found in the error of a write, too.
func TestUnconfirmedErrorHasTheCause(t *testing.T) {
	inWorld(t, 2, Options[string]{}, func(t *testing.T, w *world) {
		a, b := w.procs[0], w.procs[1]
		w.net.Pause("b")
		defer w.net.Resume("b")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := a.cache.Put(ctx, b.key(), "v")
		var u *UnconfirmedError
		require.ErrorAs(t, err, &u)
		require.Equal(t, b.key(), u.Key)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// The text of an error with many peers stays short.
func TestUnconfirmedErrorText(t *testing.T) {
	var errs []error
	for i := range 1000 {
		errs = append(errs, &PeerError{Peer: fmt.Sprint("peer", i), Code: PeerSilent, Err: errors.New("no answer")})
	}
	err := unconfirmed("c", "k", append(errs, nil, context.Canceled)...)
	require.Less(t, len(err.Error()), 1000)
	require.Contains(t, err.Error(), "and 993 more errors")
	require.ErrorIs(t, err, context.Canceled)
	f := failed(err)
	require.Equal(t, "covey: write is not confirmed", err.Error()[:29])
	require.LessOrEqual(t, len(f.Items), 64<<10)
	require.Equal(t, []string{"failed", "silent", "refused", "code 99"}, []string{PeerFailed.String(), PeerSilent.String(), PeerRefused.String(), PeerCode(99).String()})
}
