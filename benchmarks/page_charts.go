package main

// page_charts.go says which figures are drawn, and how.

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/coveycache/covey/benchmarks/internal/plot"
	"github.com/coveycache/covey/benchmarks/internal/sim"
)

// A figureSet is the figures of a suite.
type figureSet []figure

func (s *section) figures() (all figureSet) {
	for _, r := range s.results {
		all = append(all, r.figures...)
	}
	return all
}

func (s *section) timeLines() (all []timeLine) {
	for _, r := range s.results {
		all = append(all, r.lines...)
	}
	return all
}

func (fs figureSet) with(keep func(figure) bool) figureSet {
	return slices.DeleteFunc(slices.Clone(fs), func(f figure) bool { return !keep(f) })
}

func (fs figureSet) cases(metric string) []string {
	return unique(fs.with(func(f figure) bool { return f.Metric == metric }), func(f figure) string { return f.Case })
}

// charts are what the page shows of the suite.
func (s *section) charts() (charts []*plot.Chart) {
	fs := s.figures()
	add := func(c *plot.Chart) {
		if len(c.Panels) > 0 {
			c.ID = fmt.Sprintf("%s-%d", s.Name, len(charts))
			charts = append(charts, c)
		}
	}
	switch s.Name {
	case "local":
		add(localChart(fs, func(string) bool { return true }))
	case "hits":
		add(hitsChart(fs, nil))
	case "memory":
		add(barChart(fs, "Memory for each entry", "What an entry takes beyond key and value. Less is better.", "bytes_per_entry", "B", false, anyCase))
		add(barChart(fs, "Garbage collection for each value replaced", "CPU time of the collector. Less is better.", "gc_cpu_ns_per_put", "ns", false, anyCase))
	case "herd":
		add(dotChart(fs, "An expiring key under 10,000 gets a second", "How long gets take, over several expiries of the key.", []string{"p50_us", "p99_us", "max_us"}, []string{"median", "p99", "longest"}))
	case "group":
		add(groupChart(fs, anyCase))
		add(latencyChart(fs))
		add(cpuChart(fs, anyCase))
	case "failover", "churn", "restart":
		lines := s.timeLines()
		for _, c := range caseNames(lines) {
			add(timeChart(s.Name, c, lines))
		}
	}
	return charts
}

func anyCase(string) bool { return true }

// A picture is a chart that README shows.
type picture struct {
	name  string // of the file
	chart *plot.Chart
	of    figureSet // with the systems that it shows
}

// pictures are what README shows of the suite.
func (s *section) pictures() (all []picture) {
	add := func(name string, c *plot.Chart, of figureSet) {
		if len(c.Panels) > 0 {
			c.ID = name
			all = append(all, picture{name, c, of})
		}
	}
	fs := s.figures()
	switch s.Name {
	case "local":
		add("local", localChart(fs, regexp.MustCompile(`^zipf/100B/r(100|75)/p2/g2$`).MatchString), fs)
	case "hits":
		add("hits", hitsChart(fs, []string{"zipf-0.9", "zipf+scan", "phases", "loop-then-drift"}), fs)
	case "group":
		add("group", groupChart(fs, regexp.MustCompile(`^(remote/100B/c256|many64/100B/c16)$`).MatchString), fs)
		add("latency", latencyChart(fs), fs)
	case "failover":
		add("failover", timeChart(s.Name, "kill", s.timeLines()), fs.with(func(f figure) bool { return f.Case == "kill" }))
	}
	return all
}

// isFloor reports whether a system is no cache.
func isFloor(name string) bool {
	return name == payload || slices.ContainsFunc(systems(), func(s system) bool { return s.name == name && s.floor != "" })
}

func kindOf(system string) plot.Kind {
	switch {
	case system == "covey":
		return plot.KindOwn
	case strings.HasPrefix(system, "covey-"):
		return plot.KindOwnToo
	case isFloor(system):
		return plot.KindBound
	}
	return plot.KindRival
}

// barChart has a panel for each case, with the best system on top and floors below all others.
func barChart(fs figureSet, title, desc, metric, unit string, most bool, want func(string) bool) *plot.Chart {
	c := &plot.Chart{Title: title, Desc: desc, Columns: 2}
	for _, name := range fs.cases(metric) {
		if !want(name) {
			continue
		}
		p := &plot.Bars{Title: caseTitle(name), Unit: unit}
		for _, f := range fs {
			if f.Case == name && f.Metric == metric {
				label := f.System
				if isFloor(label) {
					label += " (no cache)"
				}
				p.Bars = append(p.Bars, plot.Bar{Label: label, Value: f.Value, Low: f.Low, High: f.High, Kind: kindOf(f.System)})
			}
		}
		slices.SortStableFunc(p.Bars, func(a, b plot.Bar) int {
			if x, y := a.Kind == plot.KindBound, b.Kind == plot.KindBound; x != y {
				return map[bool]int{true: 1, false: -1}[x]
			}
			if most {
				return cmp.Compare(b.Value, a.Value)
			}
			return cmp.Compare(a.Value, b.Value)
		})
		c.Panels = append(c.Panels, p)
	}
	if slices.ContainsFunc(fs, func(f figure) bool { return f.Metric == metric && f.High > f.Low }) {
		c.Desc += " Bars are medians; the whiskers span all repeats."
	}
	return c
}

func localChart(fs figureSet, want func(string) bool) *plot.Chart {
	return barChart(fs, "In one process: operations a second",
		"All keys are resident and asked for with Zipf skew 1.01. What is no cache has no bound and no expiry.", "ops_per_s", "per s", true, want)
}

func groupChart(fs figureSet, want func(string) bool) *plot.Chart {
	return barChart(fs, "Between processes: gets a second of what another process holds",
		"All processes on one machine, over loopback.", "ops_per_s", "gets/s", true, want)
}

func cpuChart(fs figureSet, want func(string) bool) *plot.Chart {
	return barChart(fs, "Between processes: CPU time for each get",
		"Of all processes: those that ask, owners and servers. Less is better.", "cpu_us_per_op", "µs", false, want)
}

var (
	localCaseName = regexp.MustCompile(`^zipf/(\d+)B/r(\d+)/p(\d+)/g(\d+)$`)
	groupCaseName = regexp.MustCompile(`^(remote|many64)/(\w+)/c(\d+)(\+16MiB)?$`)
)

// caseTitle says what a case's name means.
func caseTitle(name string) string {
	if m := localCaseName.FindStringSubmatch(name); m != nil {
		return fmt.Sprintf("%s %% reads, %s B, %s, %s", m[2], m[1], plural(m[4], "goroutine"), plural(m[3], "CPU"))
	}
	if m := groupCaseName.FindStringSubmatch(name); m != nil {
		s := fmt.Sprintf("%s, values of %s", plural(m[3], "caller"), strings.Replace(m[2], "B", " B", 1))
		s = strings.Replace(s, "Ki B", " KiB", 1)
		if m[1] == "many64" {
			s += ", 64 keys a call"
		}
		if m[4] != "" {
			s += ", beside 16 MiB"
		}
		return s
	}
	return name
}

func plural(n, what string) string {
	if n == "1" {
		return n + " " + what
	}
	return n + " " + what + "s"
}

// hitStyles are the systems and policies whose hit ratios are drawn: more lines than these nobody can
// tell apart. The others are in the tables.
var hitStyles = []struct {
	name  string
	style plot.Style
}{
	{"covey", plot.Own}, {"otter", plot.Rival1}, {"theine", plot.Rival2}, {"ristretto", plot.Rival3}, {"LRU", plot.Rival5}, {sim.Optimum, plot.Bound},
}

// hitsChart has a panel for each trace: hit ratios over capacities, and the optimum.
func hitsChart(fs figureSet, traces []string) *plot.Chart {
	c := &plot.Chart{
		Title: "Hit ratio by capacity", Columns: 2,
		Desc: "In % of the requests; capacity in % of the trace's keys. The optimum (Belady's) knows the future; LRU is simulated, exactly.",
	}
	fs = fs.with(func(f figure) bool { return f.Metric == "hit_ratio" })
	of := func(name string) string { trace, _ := path.Split(name); return strings.TrimSuffix(trace, "/") }
	drawn := map[string]bool{}
	for _, trace := range unique(fs, func(f figure) string { return of(f.Case) }) {
		if traces != nil && !slices.Contains(traces, trace) {
			continue
		}
		p := &plot.Lines{Title: trace, XUnit: " %", XLog: true, YMax: 100, Markers: true}
		for _, s := range hitStyles {
			line := plot.Series{Label: s.name, Style: s.style}
			for _, f := range fs {
				if percent, err := strconv.ParseFloat(strings.TrimSuffix(path.Base(f.Case), "%"), 64); err == nil && f.System == s.name && of(f.Case) == trace {
					line.X, line.Y = append(line.X, percent), append(line.Y, f.Value)
				}
			}
			if len(line.X) > 0 {
				p.Series, p.XTicks, drawn[s.name] = append(p.Series, line), line.X, true
			}
		}
		if len(p.Series) > 0 {
			c.Panels = append(c.Panels, p)
		}
	}
	for _, s := range hitStyles {
		if drawn[s.name] {
			c.Legend = append(c.Legend, plot.Legend{Label: s.name, Style: s.style, Line: true, Shape: true})
		}
	}
	return c
}

func latencyChart(fs figureSet) *plot.Chart {
	fs = fs.with(func(f figure) bool {
		return strings.HasPrefix(f.Case, "remote/100B/") && !strings.Contains(f.Case, "+")
	})
	return dotChart(fs, "Between processes: how long a get takes", "On a logarithmic axis: each grid line is ten times the one before. Less is better.",
		[]string{"p50_us", "p90_us", "p99_us"}, []string{"median", "p90", "p99"})
}

// dotChart has a panel for each case, with a row for each system, the fastest on top.
func dotChart(fs figureSet, title, desc string, metrics, names []string) *plot.Chart {
	c := &plot.Chart{Title: title, Desc: desc, Columns: 2}
	for i, n := range names {
		c.Legend = append(c.Legend, plot.Legend{Label: n, Style: plot.DotStyles[i], Shape: true})
	}
	for _, name := range fs.cases(metrics[0]) {
		of := fs.with(func(f figure) bool { return f.Case == name })
		p := &plot.Dots{Title: caseTitle(name), Names: names}
		for _, system := range unique(of, func(f figure) string { return f.System }) {
			row := plot.DotRow{Label: system, Values: make([]float64, len(metrics)), Own: system == "covey"}
			for _, f := range of {
				if i := slices.Index(metrics, f.Metric); i >= 0 && f.System == system {
					row.Values[i] = f.Value
				}
			}
			if slices.Max(row.Values) > 0 {
				p.Rows = append(p.Rows, row)
			}
		}
		slices.SortStableFunc(p.Rows, func(a, b plot.DotRow) int { return cmp.Compare(a.Values[0], b.Values[0]) })
		if len(p.Rows) > 0 {
			c.Panels = append(c.Panels, p)
		}
	}
	return c
}

var trialStyles = map[string]plot.Style{
	"covey-replicas": plot.Own, "covey": plot.OwnToo, "groupcache": plot.Rival1, "redis+rueidis": plot.Rival2, "redis+go-redis": plot.Rival3,
}

// trialTitles say what happens.
var trialTitles = map[string]string{
	"failover kill":         "A process is killed: what callers and origin see",
	"failover stop":         "A process stands still for 10 s: what callers and origin see",
	"failover kill-server":  "The server is killed, and started again empty",
	"failover stop-server":  "The server stands still for 10 s",
	"churn join":            "A process joins",
	"churn leave":           "A process leaves in good order",
	"churn replace":         "All processes are replaced, one after another",
	"churn replace-renamed": "All processes are replaced by new ones, one after another",
}

func caseNames(lines []timeLine) (names []string) {
	for _, l := range lines {
		if !slices.Contains(names, l.Case) {
			names = append(names, l.Case)
		}
	}
	return names
}

// timeChart has what callers and origin saw over time, of all systems.
func timeChart(suite, name string, lines []timeLine) *plot.Chart {
	c := &plot.Chart{
		Title: cmp.Or(trialTitles[suite+" "+name], suite+": "+name),
	}
	lines = slices.DeleteFunc(slices.Clone(lines), func(l timeLine) bool { return l.Suite != suite || l.Case != name })
	slices.SortStableFunc(lines, func(a, b timeLine) int { return cmp.Compare(styleOf(a.System), styleOf(b.System)) })
	if len(lines) == 0 {
		return c
	}
	c.Desc = fmt.Sprintf("%s calls a second, whatever the cache does; a call's time counts from when it was due. A point is %d ms.",
		plot.Number(lines[0].Rate), lines[0].StepMs)
	const axisRoom = 36
	latency := &plot.Lines{Title: "p99 of reads, ms (logarithmic)", XUnit: " s", Left: axisRoom, YLog: true, Tall: 130}
	loads := &plot.Lines{Title: "Loads from the origin, a second", XUnit: " s", Left: axisRoom, Tall: 90}
	failed := &plot.Lines{Title: fmt.Sprintf("Calls that failed, in each %d ms", lines[0].StepMs), XUnit: " s", Left: axisRoom, Tall: 90}
	for _, l := range lines {
		style := styleOf(l.System)
		series := func(n int, value func(i int) float64) plot.Series {
			s := plot.Series{Label: l.System, Style: style}
			for i := range n {
				s.X, s.Y = append(s.X, float64(l.FromMs+i*l.StepMs)/1e3), append(s.Y, value(i))
			}
			return s
		}
		perSecond := 1e3 / float64(max(l.StepMs, 1))
		latency.Series = append(latency.Series, series(len(l.P99), func(i int) float64 {
			if l.P99[i] <= 0 {
				return math.NaN()
			}
			return l.P99[i]
		}))
		loads.Series = append(loads.Series, series(len(l.Loads), func(i int) float64 { return float64(l.Loads[i]) * perSecond }))
		failed.Series = append(failed.Series, series(len(l.Errors), func(i int) float64 { return float64(l.Errors[i]) }))
		for _, e := range l.Events {
			m := plot.Mark{X: float64(e.Ms) / 1e3, Label: e.What}
			if e.Ms > 0 && len(lines) > 1 {
				m.Label = l.System + ": " + m.Label
			}
			if !slices.Contains(latency.Marks, m) {
				latency.Marks = append(latency.Marks, m)
			}
		}
		c.Legend = append(c.Legend, plot.Legend{Label: l.System, Style: style, Line: true})
	}
	slices.SortStableFunc(latency.Marks, func(a, b plot.Mark) int { return cmp.Compare(a.X, b.X) })
	if !slices.ContainsFunc(lines, func(l timeLine) bool { return slices.Max(append(l.Errors, 0)) > 0 }) {
		failed.YMax = 4 // nothing has failed: any whole numbers
	}
	for _, m := range latency.Marks {
		loads.Marks, failed.Marks = append(loads.Marks, plot.Mark{X: m.X}), append(failed.Marks, plot.Mark{X: m.X})
	}
	c.Panels = []plot.Panel{latency, loads, failed}
	return c
}

func styleOf(system string) plot.Style {
	if s, ok := trialStyles[system]; ok {
		return s
	}
	return plot.Rival5
}

// madeOf are the modules and programs of a system.
var madeOf = map[string][]string{
	"otter": {"github.com/maypok86/otter/v2"}, "theine": {"github.com/Yiling-J/theine-go"}, "ristretto": {"github.com/dgraph-io/ristretto/v2"},
	"golang-lru": {"github.com/hashicorp/golang-lru/v2"}, "groupcache": {"github.com/golang/groupcache"}, "sturdyc": {"github.com/viccon/sturdyc"},
	"xsync": {"github.com/puzpuzpuz/xsync/v4"}, "redis+rueidis": {"github.com/redis/rueidis", "redis-server"},
	"redis+go-redis": {"github.com/redis/go-redis/v9", "redis-server"}, "memcached+gomemcache": {"github.com/bradfitz/gomemcache", "memcached"},
}

var majorVersion = regexp.MustCompile(`/v\d+$`)

// versionsOfAll names the versions of the systems that have figures.
func versionsOfAll(fs figureSet, known map[string]string) (all []string) {
	for _, system := range unique(fs, func(f figure) string { return f.System }) {
		for _, m := range madeOf[system] {
			version := known[m]
			if i := strings.LastIndex(version, "-"); i >= 0 { // of a commit
				version = version[i+1:][:min(7, len(version)-i-1)]
			}
			text := path.Base(majorVersion.ReplaceAllString(m, "")) + "\u00a0" + version
			if version != "" && !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return all
}
