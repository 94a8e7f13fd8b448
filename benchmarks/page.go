package main

// page.go is the command report: it runs suites, or takes what they have found before, and makes one
// page of it, which needs nothing else. page_charts.go says what is drawn, page.html what is around it.

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/coveycache/covey/benchmarks/internal/plot"
)

const pageCommand = "report"

// A planned is a run of a suite that belongs into the report, and about how many seconds it takes.
type planned struct {
	args    string
	seconds float64
}

// quickPlan is what is there to be seen within some minutes.
var quickPlan = []planned{
	{"local -quick -repeats 5 -duration 300ms -systems covey,covey-closure,otter,theine,ristretto,golang-lru,groupcache,sturdyc,xsync,map", 45},
	{"hits -quick -systems covey,otter,theine,ristretto,optimum,LRU,S3-FIFO,W-TinyLFU", 12},
	{"group -quick -duration 300ms -systems covey,groupcache,groupcache-tuned,redis+rueidis,redis+rueidis-mget,redis+go-redis,memcached+gomemcache -cases ^(remote|many64)/.*[^B]$", 68},
	{"failover -rate 4000 -cases ^kill$ -systems covey,covey-replicas,groupcache", 63},
	{"failover -rate 4000 -cases ^kill-server$ -systems redis+rueidis", 21},
}

// fullPlan is all suites, at length.
func fullPlan() (plan []planned) {
	for _, s := range suites() {
		plan = append(plan, planned{s.name, map[string]float64{
			"local": 900, "hits": 200, "memory": 600, "herd": 300, "group": 300, "scale": 900, "failover": 360, "churn": 500, "restart": 300,
		}[s.name]})
	}
	return plan
}

// page does "report [flags] [SUITE...]".
func page(args []string, out io.Writer) error {
	flags := flag.NewFlagSet(pageCommand, flag.ContinueOnError)
	quick := flags.Bool("quick", false, "take some minutes: what there is to be seen of "+strings.Join(suitesOf(quickPlan), ", "))
	file := flags.String("o", "report.html", "the `file` to write")
	pictures := flags.String("svg", "", "write the charts for README into this `folder`, too")
	keep := flags.String("json", "", "write what the suites have found into this `folder`, too")
	from := flags.String("from", "", "run nothing: comma-separated `files` that -json has written")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var results []*result
	var err error
	if *from != "" {
		for _, f := range split(*from) {
			r, readErr := readJSON(f)
			if readErr != nil {
				return readErr
			}
			results = append(results, r)
		}
	} else {
		plan := fullPlan()
		if *quick {
			plan = quickPlan
		}
		for _, name := range flags.Args() {
			if !slices.Contains(suitesOf(plan), name) {
				return fmt.Errorf("report: there is no suite %q among %s", name, strings.Join(suitesOf(plan), ", "))
			}
		}
		if flags.NArg() > 0 {
			plan = slices.DeleteFunc(slices.Clone(plan), func(p planned) bool { return !slices.Contains(flags.Args(), p.suite()) })
		}
		results, err = runPlan(plan, *keep)
	}
	if len(results) == 0 {
		return errors.Join(err, errors.New("report: nothing was measured"))
	}
	sections := sectionsOf(results)
	if e := writePage(*file, sections, results); e != nil {
		return errors.Join(err, e)
	}
	if *pictures != "" {
		if e := writePictures(*pictures, sections); e != nil {
			return errors.Join(err, e)
		}
	}
	if path, e := filepath.Abs(*file); e == nil {
		*file = path
	}
	fmt.Fprintln(out, *file)
	return err
}

func (p planned) suite() string { return strings.Fields(p.args)[0] }

func suitesOf(plan []planned) (names []string) {
	for _, p := range plan {
		names = append(names, p.suite())
	}
	return slices.Compact(names)
}

// runPlan runs one suite after the other. One that fails does not keep the others from being shown.
func runPlan(plan []planned, keep string) (results []*result, err error) {
	var weights []float64
	for _, p := range plan {
		weights = append(weights, p.seconds)
	}
	meter.expect(weights)
	defer meter.expect(nil)
	for i, p := range plan {
		args := strings.Fields(p.args)
		if keep != "" {
			args = append(args, "-json", filepath.Join(keep, fmt.Sprintf("%d-%s.json", i+1, p.suite())))
		}
		r, failed := measure(args, io.Discard)
		if r == nil {
			r = &result{facts: newFacts(args)}
		}
		if failed != nil {
			r.verdicts = append(r.verdicts, fmt.Sprintf("FAIL %s: %v", p.suite(), failed))
			err = errors.Join(err, failed)
		}
		results = append(results, r)
	}
	return results, err
}

// A section is what the page has of a suite.
type section struct {
	Name, What string
	Charts     []pageChart
	Verdicts   []verdict
	Tables     []plot.Table
	results    []*result
}

type pageChart struct {
	Wide, Narrow template.HTML
	Tables       []plot.Table
}

// A verdict is text behind a mark, which may be absent.
type verdict struct{ Mark, Text string }

const (
	wideChart, narrowChart = 860, 360
)

func sectionsOf(results []*result) (sections []*section) {
	known := suites()
	for _, s := range known {
		sec := &section{Name: s.name, What: s.what}
		for _, r := range results {
			if len(r.Args) > 0 && r.Args[0] == s.name {
				sec.results = append(sec.results, r)
			}
		}
		if len(sec.results) > 0 {
			sections = append(sections, sec)
		}
	}
	for _, sec := range sections {
		var figures []figure
		for _, r := range sec.results {
			figures = append(figures, r.figures...)
			for _, v := range r.verdicts {
				sec.Verdicts = append(sec.Verdicts, verdictOf(v))
			}
		}
		sec.Tables = tablesOf(figures)
		for _, c := range sec.charts() {
			pc := pageChart{
				Wide:   template.HTML(c.SVG(plot.Options{Width: wideChart})),
				Narrow: template.HTML(c.SVG(plot.Options{Width: narrowChart})),
			}
			for _, p := range c.Panels {
				pc.Tables = append(pc.Tables, p.Table())
			}
			sec.Charts = append(sec.Charts, pc)
		}
	}
	return sections
}

func verdictOf(s string) verdict {
	for _, mark := range []string{"PASS", "FAIL"} {
		if text, ok := strings.CutPrefix(s, mark+" "); ok {
			return verdict{mark, text}
		}
	}
	return verdict{"", s}
}

// tablesOf has all figures: a table for each metric, as on the terminal.
func tablesOf(figures []figure) (tables []plot.Table) {
	for _, metric := range unique(figures, func(f figure) string { return f.Metric }) {
		of := slices.DeleteFunc(slices.Clone(figures), func(f figure) bool { return f.Metric != metric })
		systems := unique(of, func(f figure) string { return f.System })
		t := plot.Table{Title: fmt.Sprintf("%s (%s)", metric, of[0].Unit), Head: append([]string{"case"}, systems...)}
		for _, c := range unique(of, func(f figure) string { return f.Case }) {
			row := make([]string, len(systems)+1)
			row[0] = c
			for _, f := range of {
				if f.Case == c {
					row[slices.Index(systems, f.System)+1] = number(f.Value)
				}
			}
			t.Rows = append(t.Rows, row)
		}
		tables = append(tables, t)
	}
	return tables
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

func writePage(file string, sections []*section, results []*result) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	first := results[0].facts
	var runs []map[string]string
	passed, failed := 0, 0
	for _, r := range results {
		runs = append(runs, map[string]string{"Command": commandLine(r.Args), "Date": r.Date, "Commit": r.Commit, "Go": r.Go, "Machine": machineOf(r.facts)})
		for _, v := range r.verdicts {
			switch verdictOf(v).Mark {
			case "PASS":
				passed++
			case "FAIL":
				failed++
			}
		}
	}
	var versions [][2]string
	for _, name := range slices.Sorted(keysOf(first.Versions)) {
		version := first.Versions[name]
		if version == "" {
			version = "not installed"
		}
		versions = append(versions, [2]string{name, version})
	}
	err = pageTemplate.Execute(f, map[string]any{
		"Style": template.CSS(plot.CSS), "Sections": sections, "Runs": runs, "Versions": versions,
		"Passed": passed, "Failed": failed, "Date": first.Date, "Machine": machineOf(first), "Go": first.Go, "Commit": shortCommit(first.Commit),
	})
	return errors.Join(err, f.Close())
}

func keysOf(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// plainWord needs no quotes in a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=,+@%-]+$`)

// commandLine writes a command line.
func commandLine(args []string) string {
	words := []string{"go run ."}
	for _, a := range args {
		a = strings.TrimSuffix(a, "=true")
		if !plainWord.MatchString(a) {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

func machineOf(f facts) string {
	return strings.TrimSuffix(fmt.Sprintf("%s, %d cores, %s", f.Target, f.Cores, f.CPU), ", ")
}

func shortCommit(c string) string {
	hash, dirty := strings.CutSuffix(c, "-dirty")
	if hash = hash[:min(12, len(hash))]; dirty {
		hash += " with changes"
	}
	return hash
}

// writePictures writes the charts that README shows.
func writePictures(dir string, sections []*section) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, sec := range sections {
		for _, p := range sec.pictures() {
			svg := p.chart.SVG(plot.Options{Width: wideChart, Alone: true, Note: noteOf(sec.results[0].facts, p.of)})
			if err := os.WriteFile(filepath.Join(dir, p.name+".svg"), []byte(svg), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// noteOf says when figures were measured, on what, and of which versions.
func noteOf(f facts, fs figureSet) string {
	parts := append([]string{f.Date, machineOf(f), strings.Replace(f.Go, "go", "Go ", 1)}, versionsOfAll(fs, f.Versions)...)
	return strings.Join(append(parts, "commit\u00a0"+shortCommit(f.Commit)), " · ")
}
