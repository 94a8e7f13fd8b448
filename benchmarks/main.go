// Benchmarks compares Covey with what one would use instead, all in one run.
// README.md says how each suite measures and what the figures mean.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// A suite measures one side of the systems.
type suite struct {
	name, what string
	run        func(*run) error
}

func suites() []suite {
	return []suite{
		{"local", "operations per second when every key is resident", runLocal},
		{"hits", "hit ratio by trace and capacity", runHits},
		{"memory", "bytes per entry and cost of garbage collection", runMemory},
		{"herd", "very many callers for one key", runHerd},
		{"group", "gets of what other processes hold", runGroup},
		{"scale", "what the size of a group costs", runScale},
		{"failover", "a process crashes or stands still", runFailover},
		{"churn", "processes join, leave and are replaced", runChurn},
		{"restart", "all processes end, and start again", runRestart},
	}
}

// settings come from the command line.
type settings struct {
	quick    bool
	repeats  int
	duration time.Duration
	systems  []string // empty = all
	traces   []string
	requests int // in a generated trace
	cases    *regexp.Regexp
	profile  string
	rate     float64 // of the suites that are trials
	keys     int
	once     bool // -repeats was not given
}

func main() {
	if was, err := asChild(os.Args[1:]); was {
		if err != nil {
			fatal(err)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == compareCommand {
		if err := compare(os.Args[2:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
			fatal(err)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == pageCommand {
		if err := page(os.Args[2:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
			fatal(err)
		}
		return
	}
	if err := benchmark(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fatal(err)
	}
}

// asChild does what the program is to do if the first argument says that it is another one's child.
func asChild(args []string) (was bool, err error) {
	if len(args) == 0 {
		return false, nil
	}
	switch kind, args := args[0], args[1:]; {
	case kind == memoryChild:
		err = childMain(args, os.Stdout)
	case kind == groupChild && len(args) > 0:
		err = groupChildMain(args, os.Stdin, os.Stdout)
	case kind == scaleChild && len(args) > 0:
		err = scaleChildMain(args, os.Stdin, os.Stdout)
	case kind == trialChild && len(args) > 0:
		err = trialChildMain(args, os.Stdin, os.Stdout)
	default:
		return false, nil
	}
	return true, err
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// benchmark does what the command line says and prints the tables to out.
func benchmark(args []string, out io.Writer) error {
	_, err := measure(args, out)
	return err
}

// measure also returns what was found; nil if nothing was measured.
func measure(args []string, out io.Writer) (*result, error) {
	name := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	var set settings
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: go run . SUITE [flags]")
		for _, s := range suites() {
			fmt.Fprintf(flags.Output(), "  %-8s %s\n", s.name, s.what)
		}
		flags.PrintDefaults()
	}
	list := flags.Bool("list", false, "list the suites and exit")
	flags.BoolVar(&set.quick, "quick", false, "take less than a minute: fewer systems and cases, 3 repeats, small sizes")
	flags.IntVar(&set.repeats, "repeats", 5, "measurements of each case, of which the median counts")
	flags.DurationVar(&set.duration, "duration", time.Second, "length of one timed measurement")
	systemList := flags.String("systems", "", "comma-separated `names` of systems and simulated policies (default all)")
	traceList := flags.String("traces", "", "comma-separated trace `files` or folders of them for the suite hits")
	flags.IntVar(&set.requests, "requests", 1_000_000, "length of the traces that the suite hits generates")
	jsonFile := flags.String("json", "", "write one JSON object for each figure to this `file`")
	cases := flags.String("cases", "", "measure only the cases of the suites group and scale whose name this `regexp` matches")
	flags.StringVar(&set.profile, "cpuprofile", "", "write a CPU profile of the suite to this `file`, the suite group's processes with their number behind the name")
	flags.Float64Var(&set.rate, "rate", trialRate, "calls a second, of the suites failover, churn and restart")
	flags.IntVar(&set.keys, "keys", trialKeys, "keys of the suites failover, churn and restart")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *list {
		for _, s := range suites() {
			fmt.Fprintln(out, s.name)
		}
		return nil, nil
	}
	i := slices.IndexFunc(suites(), func(s suite) bool { return s.name == name })
	if i < 0 || flags.NArg() > 0 {
		flags.Usage()
		return nil, fmt.Errorf("there is no suite %q", strings.TrimSpace(name+" "+strings.Join(flags.Args(), " ")))
	}
	set.systems, set.traces = split(*systemList), split(*traceList)
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	set.once = !given["repeats"]
	if set.quick {
		if !given["repeats"] {
			set.repeats = 3
		}
		if !given["duration"] {
			set.duration = 150 * time.Millisecond
		}
		if !given["requests"] {
			set.requests = 100_000
		}
		if !given["systems"] {
			set.systems = quickSystems
		}
		if !given["rate"] {
			set.rate = trialRate / 10
		}
		if !given["keys"] {
			set.keys = trialKeys / 10
		}
	}
	if set.repeats < 1 || set.duration <= 0 {
		return nil, fmt.Errorf("-repeats and -duration must be positive, they are %d and %v", set.repeats, set.duration)
	}
	var err error
	if set.cases, err = regexp.Compile(*cases); err != nil {
		return nil, fmt.Errorf("-cases: %w", err)
	}
	if set.rate <= 0 || set.keys < 1000 || set.keys > maxTrialKeys {
		return nil, fmt.Errorf("-rate must be positive, it is %g, and -keys 1000 to %d, it is %d", set.rate, maxTrialKeys, set.keys)
	}
	if set.requests < 1000 {
		return nil, fmt.Errorf("-requests must be at least 1000, it is %d", set.requests)
	}
	if err := checkNames(set.systems); err != nil {
		return nil, err
	}
	if set.profile != "" {
		f, err := os.Create(set.profile)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, err
		}
		defer pprof.StopCPUProfile()
	}
	r := &run{settings: set, suite: name, facts: newFacts(repeatable(name, flags))}
	meter.suite(name)
	defer meter.end()
	if err := suites()[i].run(r); err != nil {
		return nil, fmt.Errorf("suite %s: %w", name, err)
	}
	r.print(out)
	res := r.result()
	if *jsonFile != "" {
		if err := res.writeJSON(*jsonFile); err != nil {
			return res, err
		}
	}
	return res, errors.Join(r.wrong...)
}

// repeatable returns the arguments that measure the same again: without the files to write.
func repeatable(suite string, flags *flag.FlagSet) []string {
	args := []string{suite}
	flags.Visit(func(f *flag.Flag) {
		if f.Name != "json" && f.Name != "cpuprofile" {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	return args
}

func split(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(s string) bool { return s == "" })
}

// checkNames refuses names that would silently select nothing.
func checkNames(names []string) error {
	known := policyNames()
	for _, s := range systems() {
		known = append(known, s.name)
	}
	for _, s := range groupSystems {
		known = append(known, s.name)
	}
	for _, s := range trialSystems {
		known = append(known, s.name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return fmt.Errorf("there is no system %q; there are %s", n, strings.Join(known, ", "))
		}
	}
	return nil
}

// wants reports whether the system was asked for.
func (s *settings) wants(name string) bool {
	return len(s.systems) == 0 || slices.Contains(s.systems, name)
}

// chosen returns the systems that were asked for and that can do what the suite needs.
func (s *settings) chosen(can func(system) bool) (chosen []system) {
	for _, sys := range systems() {
		if s.wants(sys.name) && can(sys) {
			chosen = append(chosen, sys)
		}
	}
	return chosen
}
