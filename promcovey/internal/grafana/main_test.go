package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// The file is what this command writes.
func TestFile(t *testing.T) {
	file, err := os.ReadFile("../../grafana.json")
	require.NoError(t, err)
	require.Equal(t, string(dashboard()), string(file), "go run ./internal/grafana >grafana.json")
}
