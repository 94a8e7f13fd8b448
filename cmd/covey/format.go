package main

// format.go makes text of numbers, times and what others have named.

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// table prints rows in aligned columns.
func (c *call) table(fill func(row func(cells ...any))) { table(c.out, fill) }

func table(out io.Writer, fill func(row func(cells ...any))) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fill(func(cells ...any) {
		texts := make([]string, len(cells))
		for i, cell := range cells {
			texts[i] = fmt.Sprint(cell)
		}
		_, _ = io.WriteString(w, strings.Join(texts, "\t")+"\n")
	})
	_ = w.Flush()
	for line := range strings.Lines(b.String()) {
		_, _ = io.WriteString(out, strings.TrimRight(line, " \n")+"\n") // the last cells may be empty
	}
}

// clean returns a text without what a terminal would take as a command.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '·'
	}, text)
}

// shown returns a name or key as it is, or in quotes if it would not look like one word.
func shown(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r == ' ' || r == '"' || !strconv.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

func or(text, instead string) string { return cmp.Or(text, instead) }

// short returns a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + short(-d)
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	d = d.Round(time.Hour)
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// size returns a number of bytes.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	x, unit := float64(n)/1024, 0
	for ; x >= 1023.95 && unit < 4; unit++ {
		x /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", x, "KMGTP"[unit])
}

// rate returns how often something happens in a second.
func rate(perSecond float64) string {
	switch {
	case perSecond < 0: // it isn't known
		return "-"
	case perSecond == 0:
		return "0"
	case perSecond < 100:
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	}
	return strconv.FormatFloat(perSecond, 'f', 0, 64)
}
