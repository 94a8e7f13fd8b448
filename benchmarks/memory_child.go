package main

// memory_child.go is the process in which the suite memory measures one system.

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"
)

// memoryChild as the first argument makes the program such a process.
const memoryChild = "memory-child"

// replacements is how often each value is replaced, so that the heap grows to its limit more than
// once.
const replacements = 4

// childMain measures the system and number of entries in args and writes the figures to out.
func childMain(args []string, out io.Writer) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	baseline := liveHeap()
	c, err := openByName(args[0], n)
	if err != nil {
		return err
	}
	if err := putAll(c, n); err != nil {
		return err
	}
	f := memoryFigures{LiveBytes: liveHeap() - baseline}
	var ms []float64
	for range 5 {
		start := time.Now()
		runtime.GC()
		ms = append(ms, float64(time.Since(start).Microseconds())/1e3)
	}
	f.CollectionMs = median(ms)
	gc, all := cpuSeconds()
	for range replacements {
		if err := putAll(c, n); err != nil {
			return err
		}
	}
	gcAfter, allAfter := cpuSeconds()
	f.GCPercent = 100 * (gcAfter - gc) / (allAfter - all)
	f.GCNsPerPut = 1e9 * (gcAfter - gc) / float64(replacements*n)
	f.PeakRSS = peakRSS()
	c.close()
	return json.NewEncoder(out).Encode(f)
}

func openByName(name string, n int) (cache, error) {
	if name == payload {
		return &payloadSlice{entries: make([]payloadEntry, 0, n)}, nil
	}
	i := slices.IndexFunc(systems(), func(s system) bool { return s.name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no system %q", name)
	}
	return systems()[i].open(config{entries: n + n/10}), nil
}

// putAll puts a new value under each key and checks that they stay.
func putAll(c cache, n int) error {
	for i := range n {
		c.put(fmt.Sprintf(memoryKeyFormat, i), make([]byte, memoryValue))
		if i%10_000 == 0 {
			c.settle()
		}
	}
	c.settle()
	missing, asked := 0, 0
	for i := 0; i < n; i += 97 {
		asked++
		if _, ok := c.get(fmt.Sprintf(memoryKeyFormat, i)); !ok {
			missing++
		}
	}
	if missing > asked/100 {
		return fmt.Errorf("%d of %d keys were lost although there is room for more", missing, asked)
	}
	return nil
}

// liveHeap collects garbage and returns the bytes that are left.
func liveHeap() float64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools held on to
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// cpuSeconds collects garbage, since the runtime updates its estimates then, and returns the CPU
// time spent in the collector and altogether, both without what would have been idle.
func cpuSeconds() (gc, all float64) {
	runtime.GC()
	samples := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/cpu/classes/total:cpu-seconds"},
		{Name: "/cpu/classes/idle:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
	}
	metrics.Read(samples)
	idleMark := samples[3].Value.Float64()
	return samples[0].Value.Float64() - idleMark, samples[1].Value.Float64() - samples[2].Value.Float64() - idleMark
}

// peakRSS returns the most memory that the process has had, where the system tells.
func peakRSS() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(kb)[0], 64)
			return n * 1024
		}
	}
	return 0
}

type payloadEntry struct {
	key   string
	value []byte
}

// payloadSlice takes the keys in the order of their numbers.
type payloadSlice struct{ entries []payloadEntry }

func (p *payloadSlice) get(key string) ([]byte, bool) {
	i := payloadIndex(key)
	return p.entries[i].value, true
}

func (p *payloadSlice) put(key string, value []byte) {
	if i := payloadIndex(key); i < len(p.entries) {
		p.entries[i].value = value
	} else {
		p.entries = append(p.entries, payloadEntry{key, value})
	}
}

func (p *payloadSlice) settle() {}
func (p *payloadSlice) close()  {}

func payloadIndex(key string) int { return must(strconv.Atoi(strings.TrimPrefix(key, "user:"))) }
