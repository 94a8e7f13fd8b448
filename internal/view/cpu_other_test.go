//go:build !linux

package view

import "time"

var began = time.Now()

// cpuTime returns the time, where there is no telling how much of it this thread has worked.
func cpuTime() time.Duration { return time.Since(began) }
