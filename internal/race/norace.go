//go:build !race

// Package race tells tests whether they run under the race detector.
package race

// Enabled reports whether the program was built with the race detector.
const Enabled = false
