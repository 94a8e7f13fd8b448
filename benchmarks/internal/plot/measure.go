package plot

// measure.go has numbers, scales, and how wide text is.

import (
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// escape makes text fit for XML.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes all
	return b.String()
}

// num writes a coordinate.
func num(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// textWidth is about what a text takes: rather more, as nobody knows the reader's font.
func textWidth(s string, size float64) float64 {
	w := 0.0
	for _, r := range s {
		switch {
		case strings.ContainsRune("iljtfr.,:;'|!()[] /", r):
			w += 0.38
		case strings.ContainsRune("mwMW%@+", r), r > 0x2000:
			w += 0.98
		case r >= 'A' && r <= 'Z':
			w += 0.72
		default:
			w += 0.62
		}
	}
	return w * size
}

// wrap breaks a text into lines that fit, at spaces that may be broken.
func wrap(s string, width, size float64) (lines []string) {
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }) {
		if n := len(lines) - 1; n >= 0 && textWidth(lines[n]+" "+word, size) <= width {
			lines[n] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

// cut shortens a text so that it fits.
func cut(s string, width, size float64) string {
	r := []rune(s)
	for len(r) > 1 && textWidth(s, size) > width {
		r = r[:len(r)-1]
		s = string(r) + "…"
	}
	return s
}

// Number writes a number with three digits or so.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v), math.IsInf(v, 0):
		return "–"
	case a >= 1e9:
		return digits(v/1e9) + " G"
	case a >= 1e6:
		return digits(v/1e6) + " M"
	case a >= 1e4:
		return digits(v/1e3) + " k"
	}
	return digits(v)
}

func digits(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// micros writes a time that is in microseconds.
func micros(us float64) string {
	switch {
	case us >= 1e6:
		return digits(us/1e6) + " s"
	case us >= 1e3:
		return digits(us/1e3) + " ms"
	}
	return digits(us) + " µs"
}

// A scale turns values into coordinates.
type scale struct {
	low, high float64 // values
	from, to  float64 // coordinates
	log       bool
}

// at returns where a value is; NaN if it has no place.
func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		if v <= 0 {
			return math.NaN()
		}
		v, low, high = math.Log(v), math.Log(low), math.Log(high)
	}
	share := (v - low) / (high - low)
	return s.from + max(0, min(1, share))*(s.to-s.from)
}

// upTo makes a linear scale from 0 to a round number that is no less than most.
func upTo(most float64, wanted int) (high float64, ticks []float64) {
	if !(most > 0) || math.IsInf(most, 0) {
		most = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most/float64(wanted))))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if step*m*float64(wanted) >= most {
			step *= m
			break
		}
	}
	n := math.Ceil(most/step - 1e-9)
	for i := 0.0; i <= n; i++ {
		ticks = append(ticks, i*step)
	}
	return n * step, ticks
}

// decades makes a logarithmic scale around values, with a tick for each power of ten.
func decades(low, high float64) (from, to float64, ticks []float64) {
	if !(low > 0) || !(high >= low) || math.IsInf(high, 0) {
		low, high = 1, 10
	}
	a, b := math.Floor(math.Log10(low)+1e-9), math.Ceil(math.Log10(high)-1e-9)
	if b <= a {
		b = a + 1
	}
	for e := a; e <= b; e++ {
		ticks = append(ticks, math.Pow(10, e))
	}
	return math.Pow(10, a), math.Pow(10, b), ticks
}

// ticksOf writes the numbers of an axis, all with the same unit.
func ticksOf(ticks []float64) (texts []string) {
	most := 0.0
	for _, t := range ticks {
		most = max(most, math.Abs(t))
	}
	div, unit := 1.0, ""
	switch {
	case most >= 2e9:
		div, unit = 1e9, " G"
	case most >= 2e6:
		div, unit = 1e6, " M"
	case most >= 1e4:
		div, unit = 1e3, " k"
	}
	for _, t := range ticks {
		text := strconv.FormatFloat(t/div, 'f', -1, 64)
		if len(text) > 6 {
			text = fmt.Sprintf("%.3g", t/div)
		}
		if t != 0 {
			text += unit
		}
		texts = append(texts, text)
	}
	return texts
}
