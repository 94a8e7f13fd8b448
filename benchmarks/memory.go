package main

// memory.go measures what an entry costs, each system in a process of its own; memory_child.go is
// that process.

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// Keys of 16 and values of 100 bytes, and what the allocator makes of them: its size classes are 16
// and 112.
const (
	memoryKeyFormat = "user:%011d"
	memoryValue     = 100
	payloadBytes    = 16 + 112
)

// payload is the floor of this suite: the keys and values in a slice.
const payload = "payload"

// memoryFigures is what a child process finds.
type memoryFigures struct {
	LiveBytes    float64 // of the heap, after a collection
	CollectionMs float64 // wall time of one
	GCPercent    float64 // of the CPU time while values are replaced as fast as possible
	GCNsPerPut   float64 // the same CPU time for each value
	PeakRSS      float64 // bytes; 0 where the system doesn't tell
}

// memoryMetrics are the columns: how they are called and got from the figures of n entries.
var memoryMetrics = []struct {
	name, unit string
	value      func(f memoryFigures, n int) float64
}{
	{"bytes_per_entry", "B beyond key and value", func(f memoryFigures, n int) float64 { return f.LiveBytes/float64(n) - payloadBytes }},
	{"live_heap_mb", "MB", func(f memoryFigures, _ int) float64 { return f.LiveBytes / 1e6 }},
	{"collection_ms", "ms", func(f memoryFigures, _ int) float64 { return f.CollectionMs }},
	{"gc_cpu_ns_per_put", "ns of collection for each value replaced", func(f memoryFigures, _ int) float64 { return f.GCNsPerPut }},
	{"gc_cpu_percent", "% of the CPU time of replacing values", func(f memoryFigures, _ int) float64 { return f.GCPercent }},
	{"peak_rss_mb", "MB, GOGC=100", func(f memoryFigures, _ int) float64 { return f.PeakRSS / 1e6 }},
}

func runMemory(r *run) error {
	counts := []int{1_000_000, 5_000_000}
	if r.quick {
		counts = []int{200_000}
	}
	names := []string{payload}
	for _, s := range r.chosen(func(s system) bool { return !s.variant }) {
		names = append(names, s.name)
	}
	meter.steps(len(counts) * r.repeats * len(names))
	for _, n := range counts {
		found := map[string][]memoryFigures{}
		for repeat := range r.repeats {
			for _, name := range names {
				step("memory: %d entries in %s, repeat %d of %d", n, name, repeat+1, r.repeats)
				f, err := inChild(name, n)
				if err != nil {
					return fmt.Errorf("%d entries in %s: %w", n, name, err)
				}
				found[name] = append(found[name], f)
			}
		}
		r.reportMemory(n, names, found)
	}
	return nil
}

func (r *run) reportMemory(n int, names []string, found map[string][]memoryFigures) {
	c := fmt.Sprintf("%gM", float64(n)/1e6)
	for _, m := range memoryMetrics {
		values := map[string][]float64{}
		for _, name := range names {
			for _, f := range found[name] {
				values[name] = append(values[name], m.value(f, n))
			}
			r.addAll(c, name, m.name, values[name], median, m.unit)
		}
		if ratio := medianRatio(values["covey"], values["otter"]); ratio > 0 && m.name != "live_heap_mb" {
			r.verdict(ratio <= 1, "%s: %s is %.2fx otter's (at most 1)", c, m.name, ratio)
		}
	}
}

// inChild measures a system in a new process.
func inChild(name string, n int) (f memoryFigures, err error) {
	self, err := os.Executable()
	if err != nil {
		return f, err
	}
	child := exec.Command(self, memoryChild, name, strconv.Itoa(n))
	child.Env = append(os.Environ(), "GOGC=100", "GOMEMLIMIT=off")
	child.Stderr = os.Stderr
	out, err := child.Output()
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(out, &f)
}
