package plot

import (
	"encoding/xml"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func parse(t *testing.T, svg string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
}

// Whatever the numbers, the picture is one.
func TestOddNumbers(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for name, p := range map[string]Panel{
		"no bars":        &Bars{},
		"bars of 0":      &Bars{Bars: []Bar{{Label: "a"}, {Label: "b"}}},
		"endless bars":   &Bars{Bars: []Bar{{Label: "a", Value: inf}, {Label: "b", Value: nan}}},
		"no lines":       &Lines{},
		"lines of gaps":  &Lines{YLog: true, Series: []Series{{X: []float64{1, 2}, Y: []float64{nan, 0}}}},
		"one point":      &Lines{XLog: true, Markers: true, Series: []Series{{X: []float64{5}, Y: []float64{7}}}},
		"no dots":        &Dots{},
		"dots of 0":      &Dots{Names: []string{"p50", "p99"}, Rows: []DotRow{{Label: "a", Values: []float64{0, 0}}}},
		"far-off marks":  &Lines{Marks: []Mark{{X: -100, Label: "early"}, {X: 1e9, Label: strings.Repeat("late", 100)}}},
		"control chars":  &Bars{Title: "\x00\x01 & <b>\"'", Bars: []Bar{{Label: "\xff"}}},
		"very long text": &Bars{Title: strings.Repeat("w", 500), Bars: []Bar{{Label: strings.Repeat("m", 500), Value: 1}}},
	} {
		for _, width := range []int{320, 860} {
			svg := (&Chart{ID: "a&b", Title: "<t>", Desc: "d & e", Panels: []Panel{p}}).SVG(Options{Width: width, Alone: true, Note: "<n>"})
			parse(t, svg)
			if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
				t.Errorf("%s has coordinates that are none:\n%s", name, svg)
			}
			if table := p.Table(); len(table.Rows) > 0 && len(table.Rows[0]) != len(table.Head) {
				t.Errorf("%s: a row of %d below a head of %d", name, len(table.Rows[0]), len(table.Head))
			}
		}
	}
}

// Bars begin at 0, so that their lengths are in the ratio of their values.
func TestBarsAreProportional(t *testing.T) {
	svg := (&Chart{Panels: []Panel{&Bars{Bars: []Bar{{Label: "a", Value: 900, Kind: KindOwn}, {Label: "b", Value: 300}}}}}).SVG(Options{Width: 800})
	widths := regexp.MustCompile(`width="([0-9.]+)" height="14" class="bar( own)?"`).FindAllStringSubmatch(svg, -1)
	if len(widths) != 2 {
		t.Fatalf("bars: %q", widths)
	}
	a, _ := strconv.ParseFloat(widths[0][1], 64)
	b, _ := strconv.ParseFloat(widths[1][1], 64)
	if a < 100 || a/b < 2.98 || a/b > 3.02 {
		t.Errorf("900 is %v wide, 300 is %v", a, b)
	}
}

func TestScales(t *testing.T) {
	for most, want := range map[float64]float64{0: 1, 1: 1, 6.2e6: 8e6, 97: 100, 0.3: 0.3} {
		if high, ticks := upTo(most, 5); high < most || math.Abs(high-want) > want/1e6 || ticks[0] != 0 || ticks[len(ticks)-1] < high*0.999 {
			t.Errorf("an axis up to %v goes to %v: %v", most, high, ticks)
		}
	}
	if low, high, ticks := decades(3, 120); math.Abs(low-1) > 1e-9 || math.Abs(high-1000) > 1e-6 || len(ticks) != 4 {
		t.Errorf("3 to 120: %v to %v, %v", low, high, ticks)
	}
	s := scale{low: 1, high: 100, from: 0, to: 200, log: true}
	if at := s.at(10); math.Abs(at-100) > 1e-9 {
		t.Errorf("10 of 1 to 100 is at %v", at)
	}
	if !math.IsNaN(s.at(0)) || s.at(1e9) != 200 {
		t.Error("0 has a place on a logarithmic axis, or something is beyond its end")
	}
}

// The words of marks do not cover each other.
func TestMarksHaveRows(t *testing.T) {
	l := &Lines{Series: []Series{{X: []float64{0, 10}, Y: []float64{1, 2}}}, Marks: []Mark{{1, "something long happens"}, {1.1, "another"}, {8, "late"}}}
	row, rows := l.placeMarks(400)
	if rows != 2 || row[0] != 0 || row[1] != 1 || row[2] != 0 {
		t.Errorf("rows %v of %d", row, rows)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 2.6: "2.60", 12.34: "12.3", 128: "128", 6590: "6590", 15000: "15 k", 15700: "15.7 k", 659000: "659 k", 3.7e6: "3.70 M"} {
		if got := Number(v); got != want {
			t.Errorf("%v is %q, not %q", v, got, want)
		}
	}
	if got := wrap("aaa bbb ccc", textWidth("aaa bbb", 10), 10); len(got) != 2 || got[0] != "aaa bbb" {
		t.Errorf("%q", got)
	}
	if got := cut("abcdefgh", textWidth("abcd…", 10), 10); got == "abcdefgh" || !strings.HasSuffix(got, "…") {
		t.Errorf("%q", got)
	}
}
