package covey

import (
	"os"
	"regexp"
	"testing"

	"github.com/coveycache/covey/internal/race"
	"github.com/stretchr/testify/require"
)

// serialTests is which tests `make test` runs without the race detector, too.
const serialTests = `^Test(Duel|LFU|Ring|Weighing)`

// serial is for long tests in which nothing runs at once: the race detector would find nothing, and
// take many times as long.
func serial(t *testing.T) {
	t.Helper()
	require.Regexp(t, regexp.MustCompile(serialTests), t.Name(), "no run would have this test")
	if race.Enabled {
		t.Skip("nothing runs at once")
	}
}

func TestSerialTestsAreRun(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	require.NoError(t, err)
	require.Contains(t, string(makefile), "go test -timeout 20m -run '"+serialTests+"' .\n")
}
