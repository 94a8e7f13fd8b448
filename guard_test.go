package covey

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGuard(t *testing.T) {
	ran := false
	require.NoError(t, guard("f", func() { ran = true }))
	require.True(t, ran)

	var p *PanicError
	cause := errors.New("boom")
	err := guard("f", func() { panic(cause) })
	require.ErrorAs(t, err, &p)
	require.ErrorIs(t, err, cause)
	require.Equal(t, "f", p.Func)
	require.Contains(t, err.Error(), "covey: f panicked: boom\n\ngoroutine")

	err = guard("f", runtime.Goexit)
	require.ErrorAs(t, err, &p)
	require.EqualError(t, err, "covey: f called runtime.Goexit")
}
