//go:build !linux

package main

import "time"

// threadCPU returns the time: on this system nothing tells how much a thread has worked.
func threadCPU() time.Duration { return time.Since(programStarted) }

var programStarted = time.Now()
