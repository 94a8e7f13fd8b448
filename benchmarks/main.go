// Benchmarks compares Covey with the caches that one would use instead, all in one run.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A suite measures one side of the caches.
type suite struct {
	name, what string
	run        func(*run) error
}

var suites = []suite{
	{"local", "operations per second on resident keys", runLocal},
	{"hits", "hit ratio by trace and capacity", runHits},
	{"memory", "bytes per entry and cost of garbage collection", runMemory},
	{"herd", "one key, very many callers", runHerd},
}

// A run is one run of a suite: its settings and what it found.
type run struct {
	suite    string
	quick    bool
	repeats  int
	duration time.Duration
	systems  []string
	traces   string
	figures  []figure
	verdicts []string
}

// A figure is one number of the outcome.
type figure struct {
	Suite  string  `json:"suite"`
	Case   string  `json:"case"`
	System string  `json:"system"`
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
}

func (r *run) add(c, system, metric string, value float64, unit string) {
	r.figures = append(r.figures, figure{r.suite, c, system, metric, value, unit})
}

// wants reports whether the system was asked for.
func (r *run) wants(system string) bool { return slices.Contains(r.systems, system) }

// verdict records a comparison with what was aimed at.
func (r *run) verdict(ok bool, format string, args ...any) {
	mark := "FAIL"
	if ok {
		mark = "PASS"
	}
	r.verdicts = append(r.verdicts, mark+" "+fmt.Sprintf(format, args...))
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func main() {
	if len(os.Args) > 1 && os.Args[1] == memoryChild {
		if err := measureMemory(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := realMain(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func realMain(args []string) error {
	name := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("benchmarks", flag.ExitOnError)
	list := flags.Bool("list", false, "list the suites and exit")
	quick := flags.Bool("quick", false, "take less than a minute: covey, otter and the floor, 3 repeats")
	repeats := flags.Int("repeats", 5, "runs of each case, of which the median counts")
	duration := flags.Duration("duration", time.Second, "length of one timed run")
	systems := flags.String("systems", "", "comma-separated systems; empty means all")
	traces := flags.String("traces", "", "a trace or a folder of traces for the suite hits; see README.md for the format")
	out := flags.String("json", "", "write one JSON object for each figure to this file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *list {
		for _, s := range suites {
			fmt.Println(s.name)
		}
		return nil
	}
	i := slices.IndexFunc(suites, func(s suite) bool { return s.name == name })
	if i < 0 {
		for _, s := range suites {
			fmt.Fprintf(os.Stderr, "  %-8s %s\n", s.name, s.what)
		}
		return fmt.Errorf("usage: go run . SUITE [flags], with one of the suites above; got %q", name)
	}
	r := &run{suite: name, quick: *quick, repeats: *repeats, duration: *duration, traces: *traces, systems: allSystems()}
	if *quick {
		r.repeats, r.duration, r.systems = 3, min(*duration, 200*time.Millisecond), quickSystems
	}
	if *systems != "" {
		r.systems = strings.Split(*systems, ",")
	} else if !*quick {
		for _, p := range policies {
			r.systems = append(r.systems, p.name)
		}
	}
	if err := suites[i].run(r); err != nil {
		return err
	}
	r.print()
	if *out == "" {
		return nil
	}
	f, err := os.Create(*out)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	for _, fig := range r.figures {
		if err := enc.Encode(fig); err != nil {
			return err
		}
	}
	return f.Close()
}

// print shows a table for each metric: a row for each case, a column for each system.
func (r *run) print() {
	var metrics []string
	for _, f := range r.figures {
		if !slices.Contains(metrics, f.Metric) {
			metrics = append(metrics, f.Metric)
		}
	}
	for _, m := range metrics {
		var cases, systems []string
		values := map[[2]string]float64{}
		unit := ""
		for _, f := range r.figures {
			if f.Metric != m {
				continue
			}
			if !slices.Contains(cases, f.Case) {
				cases = append(cases, f.Case)
			}
			if !slices.Contains(systems, f.System) {
				systems = append(systems, f.System)
			}
			values[[2]string{f.Case, f.System}] = f.Value
			unit = f.Unit
		}
		fmt.Printf("\n| %s (%s) | %s |\n|---|%s\n", m, unit, strings.Join(systems, " | "), strings.Repeat("---:|", len(systems)))
		for _, c := range cases {
			fmt.Printf("| %s |", c)
			for _, s := range systems {
				if v, ok := values[[2]string{c, s}]; ok {
					fmt.Printf(" %s |", number(v))
				} else {
					fmt.Print(" |")
				}
			}
			fmt.Println()
		}
	}
	if len(r.verdicts) > 0 {
		fmt.Println()
	}
	for _, v := range r.verdicts {
		fmt.Println("-", v)
	}
}

func number(v float64) string {
	switch {
	case v >= 100 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.4f", v)
}

func median(vs []float64) float64 {
	vs = slices.Sorted(slices.Values(vs))
	if len(vs) == 0 {
		return 0
	}
	return (vs[(len(vs)-1)/2] + vs[len(vs)/2]) / 2
}
