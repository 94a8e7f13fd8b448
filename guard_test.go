package covey

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGuard(t *testing.T) {
	ran := false
	require.NoError(t, guard("f", func() error {
		ran = true
		return nil
	}))
	require.True(t, ran)

	var p *PanicError
	cause := errors.New("boom")
	require.Equal(t, cause, guard("f", func() error { return cause }))

	err := guard("f", func() error { panic(cause) })
	require.ErrorAs(t, err, &p)
	require.ErrorIs(t, err, cause)
	require.Equal(t, "f", p.Func)
	require.Contains(t, err.Error(), "covey: f panicked: boom\n\ngoroutine")

	err = guard("f", func() error {
		runtime.Goexit()
		return nil
	})
	require.ErrorAs(t, err, &p)
	require.EqualError(t, err, "covey: f called runtime.Goexit")
}
