package main

// report.go collects the figures of a run and prints them.

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// A run is one run of a suite: what was asked for and what was found.
type run struct {
	settings
	facts    facts
	suite    string
	figures  []figure
	verdicts []string
	lines    []timeLine
	wrong    []error // what must not be, on any machine
}

func (r *run) add(c, system, metric string, value float64, unit string) {
	r.figures = append(r.figures, figure{Suite: r.suite, Case: c, System: system, Metric: metric, Value: value, Unit: unit})
}

// addAll adds a figure that was measured several times: the median, or what takes its place.
func (r *run) addAll(c, system, metric string, values []float64, of func([]float64) float64, unit string) {
	f := figure{Suite: r.suite, Case: c, System: system, Metric: metric, Value: of(values), Unit: unit}
	if len(values) > 1 {
		f.Low, f.High = slices.Min(values), slices.Max(values)
	}
	r.figures = append(r.figures, f)
}

// verdict says whether a figure is what the project aims at. It is for the
// reader: a noisy machine must not fail a build.
func (r *run) verdict(ok bool, format string, args ...any) {
	mark := "FAIL"
	if ok {
		mark = "PASS"
	}
	r.verdicts = append(r.verdicts, mark+" "+fmt.Sprintf(format, args...))
}

// print shows a table for each metric, with a row for each case and a column for each system, and
// then the verdicts.
func (r *run) print(out io.Writer) {
	for _, metric := range unique(r.figures, func(f figure) string { return f.Metric }) {
		figures := slices.DeleteFunc(slices.Clone(r.figures), func(f figure) bool { return f.Metric != metric })
		cases := unique(figures, func(f figure) string { return f.Case })
		systems := unique(figures, func(f figure) string { return f.System })
		values := map[[2]string]string{}
		for _, f := range figures {
			values[[2]string{f.Case, f.System}] = number(f.Value)
		}
		fmt.Fprintf(out, "\n| %s (%s) | %s |\n", metric, figures[0].Unit, strings.Join(systems, " | "))
		fmt.Fprintf(out, "|---|%s\n", strings.Repeat("---:|", len(systems)))
		for _, c := range cases {
			fmt.Fprintf(out, "| %s |", c)
			for _, s := range systems {
				fmt.Fprintf(out, " %s |", values[[2]string{c, s}])
			}
			fmt.Fprintln(out)
		}
	}
	fmt.Fprintln(out)
	for _, v := range r.verdicts {
		fmt.Fprintln(out, "-", v)
	}
	for _, l := range r.lines {
		fmt.Fprintf(out, "\n%s", l.text)
	}
}

// unique returns the different values of field in the order in which they come.
func unique(figures []figure, field func(figure) string) (values []string) {
	seen := map[string]bool{}
	for _, f := range figures {
		if v := field(f); !seen[v] {
			seen[v] = true
			values = append(values, v)
		}
	}
	return values
}

func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2fM", v/1e6)
	case v >= 100 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// median returns the middle one of the values, 0 if there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	values = slices.Sorted(slices.Values(values))
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// medianRatio returns the median of a[i]/b[i]: measurements with the same i were taken one soon
// after the other, so that what disturbed both cancels out. 0 if there are none.
func medianRatio(a, b []float64) float64 {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if b[i] > 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	return median(ratios)
}
