package main

// memory.go measures what an entry costs, each system in a process of its own.

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

const memoryChild = "memory-child"

// memoryFigures is what a child process finds.
type memoryFigures struct {
	Live     float64 // bytes of live heap
	GCMillis float64 // one collection
	GCMicros float64 // CPU time of the collector for each value that is replaced
	PeakRSS  float64
}

func runMemory(r *run) error {
	counts := []int{1_000_000, 5_000_000}
	if r.quick {
		counts = []int{200_000}
	}
	for _, n := range counts {
		results := map[string]memoryFigures{}
		c := fmt.Sprintf("%dk", n/1000)
		for _, s := range append([]string{"payload"}, allSystems()...) {
			if s == "sturdyc" || s == "map" || s != "payload" && !r.wants(s) {
				continue
			}
			var runs []memoryFigures
			for i := range min(r.repeats, 3) {
				progress("memory: %s, %s, repeat %d", c, s, i+1)
				cmd := exec.Command(os.Args[0], memoryChild, s, strconv.Itoa(n))
				cmd.Stderr = os.Stderr
				out, err := cmd.Output()
				if err != nil {
					return fmt.Errorf("memory of %s: %w", s, err)
				}
				var f memoryFigures
				if err := json.Unmarshal(out, &f); err != nil {
					return err
				}
				runs = append(runs, f)
			}
			pick := func(field func(memoryFigures) float64) float64 {
				var vs []float64
				for _, f := range runs {
					vs = append(vs, field(f))
				}
				return median(vs)
			}
			f := memoryFigures{
				pick(func(f memoryFigures) float64 { return f.Live }),
				pick(func(f memoryFigures) float64 { return f.GCMillis }),
				pick(func(f memoryFigures) float64 { return f.GCMicros }),
				pick(func(f memoryFigures) float64 { return f.PeakRSS }),
			}
			results[s] = f
			r.add(c, s, "bytes_per_entry", f.Live/float64(n), "B, live heap")
			if s != "payload" {
				r.add(c, s, "overhead_per_entry", (f.Live-results["payload"].Live)/float64(n), "B beyond key and value")
			}
			r.add(c, s, "gc_ms", f.GCMillis, "ms, one collection")
			r.add(c, s, "gc_cpu_us_per_put", f.GCMicros, "us of CPU, replacing values")
			r.add(c, s, "peak_rss_mb", f.PeakRSS/1e6, "MB, GOGC=100")
		}
		covey, otter := results["covey"], results["otter"]
		if otter.Live > 0 {
			r.verdict(covey.Live <= otter.Live, "%s: %.0f B an entry against otter's %.0f", c, covey.Live/float64(n), otter.Live/float64(n))
			r.verdict(covey.GCMillis <= otter.GCMillis*1.05, "%s: a collection takes %.1f ms against otter's %.1f", c, covey.GCMillis, otter.GCMillis)
			r.verdict(covey.GCMicros <= otter.GCMicros*1.05, "%s: the collector takes %.2f us for each value replaced against otter's %.2f", c, covey.GCMicros, otter.GCMicros)
			r.verdict(covey.PeakRSS <= otter.PeakRSS*1.02, "%s: peak RSS %.0f MB against otter's %.0f", c, covey.PeakRSS/1e6, otter.PeakRSS/1e6)
		}
	}
	return nil
}

// payload holds the keys and values in two slices and is no cache at all.
type payload struct {
	keys   []string
	values [][]byte
}

func (p *payload) get(string) ([]byte, bool) { return nil, false }
func (p *payload) put(key string, v []byte) {
	p.keys, p.values = append(p.keys, key), append(p.values, v)
}
func (p *payload) settle() {}
func (p *payload) close()  {}

// measureMemory is the child process.
func measureMemory(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var c cache
	switch args[0] {
	case "payload":
		c = &payload{keys: make([]string, 0, n), values: make([][]byte, 0, n)}
	case "covey":
		c = newCoveyBytes(n + n/10)
	default:
		for _, m := range makers {
			if m.name == args[0] {
				c = m.make(n + n/10)
			}
		}
	}
	if c == nil {
		return fmt.Errorf("there is no system %q", args[0])
	}
	for i := range n {
		c.put(fmt.Sprintf("user:%011d", i), make([]byte, 100))
		if i%100_000 == 0 {
			c.settle()
		}
	}
	c.settle()
	var f memoryFigures
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.Live = float64(m.HeapAlloc)
	var ms []float64
	for range 5 {
		start := time.Now()
		runtime.GC()
		ms = append(ms, float64(time.Since(start).Microseconds())/1000)
	}
	f.GCMillis = median(ms)

	if args[0] != "payload" {
		before := gcCPU()
		for i := range n {
			c.put(fmt.Sprintf("user:%011d", i), make([]byte, 100))
		}
		f.GCMicros = 1e6 * (gcCPU() - before) / float64(n)
	}
	f.PeakRSS = peakRSS()
	runtime.KeepAlive(c)
	return json.NewEncoder(os.Stdout).Encode(f)
}

// gcCPU returns the CPU seconds that the collector has used.
func gcCPU() float64 {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}}
	runtime.GC() // the figures are as of the end of a collection
	metrics.Read(s)
	return s[0].Value.Float64() - s[1].Value.Float64()
}

// peakRSS returns the most memory that the process had, where the system tells.
func peakRSS() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(kb)[0], 64)
			return n * 1024
		}
	}
	return 0
}
