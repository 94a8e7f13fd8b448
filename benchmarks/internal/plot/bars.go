package plot

// bars.go draws horizontal bars from zero.

import (
	"fmt"
	"math"
)

// A Bar is one value.
type Bar struct {
	Label     string
	Value     float64
	Low, High float64 // of the repeats; 0, 0 = it was measured once
	Kind      Kind
}

// A Kind says whose a Bar is.
type Kind int

// The project, a variant of it, somebody else, a bound on what is possible.
const (
	KindRival Kind = iota
	KindOwn
	KindOwnToo
	KindBound
)

func (k Kind) class() string {
	return [...]string{"bar", "bar own", "bar owntoo", "bar bound"}[k]
}

// Bars is a Panel of bars, one below the other.
type Bars struct {
	Title string
	Unit  string
	Bars  []Bar
}

const (
	headHeight = 22.0
	barStep    = 22.0
	barHeight  = 14.0
	axisHeight = 20.0
)

func (b *Bars) height(float64) float64 { return headHeight + barStep*float64(len(b.Bars)) + axisHeight }

func (b *Bars) draw(c *canvas, width float64) {
	c.text(0, 13, "head", "start", cut(b.Title, width, textSize*1.08))
	label, value, most := 0.0, 0.0, 0.0
	for _, bar := range b.Bars {
		label = max(label, textWidth(bar.Label, textSize))
		value = max(value, textWidth(Number(bar.Value), textSize))
		if v := max(bar.Value, bar.High); !math.IsNaN(v) && !math.IsInf(v, 0) {
			most = max(most, v)
		}
	}
	label = min(label, width*0.45)
	high, ticks := upTo(most, 5)
	x := scale{0, high, label + 10, width - value - 10, false}
	bottom := headHeight + barStep*float64(len(b.Bars))
	free := 0.0 // where the last text ended
	for i, text := range ticksOf(ticks) {
		at, half := x.at(ticks[i]), textWidth(text, noteSize)/2
		c.line(at, headHeight, at, bottom, "grid")
		if at-half >= free {
			c.text(at, bottom+14, "tick", "middle", text)
			free = at + half + 6
		}
	}
	for i, bar := range b.Bars {
		y := headHeight + barStep*float64(i)
		bold := ""
		if bar.Kind == KindOwn {
			bold = " bold"
		}
		c.text(label, y+barStep/2+4, "label"+bold, "end", cut(bar.Label, label+1, textSize))
		if math.IsNaN(bar.Value) || math.IsInf(bar.Value, 0) {
			c.text(x.from+6, y+barStep/2+4, "value"+bold, "start", Number(bar.Value))
			continue
		}
		c.rect(x.from, y+(barStep-barHeight)/2, max(x.at(bar.Value)-x.from, 0.5), barHeight, bar.Kind.class())
		end := x.at(bar.Value)
		if bar.High > bar.Low {
			low, high, middle := x.at(bar.Low), x.at(bar.High), y+barStep/2
			c.line(low, middle, high, middle, "range")
			c.line(low, middle-4, low, middle+4, "range")
			c.line(high, middle-4, high, middle+4, "range")
			end = high
		}
		c.text(end+6, y+barStep/2+4, "value"+bold, "start", Number(bar.Value))
	}
	c.line(x.from, headHeight, x.from, bottom, "axis")
	c.text(0, bottom+14, "tick", "start", cut(b.Unit, x.from-16, noteSize))
}

// Table has a row for each bar.
func (b *Bars) Table() Table {
	t := Table{Title: b.Title, Head: []string{"", b.Unit, "lowest", "highest"}}
	ranged := false
	for _, bar := range b.Bars {
		row := []string{bar.Label, exact(bar.Value), "", ""}
		if bar.High > bar.Low {
			row[2], row[3], ranged = exact(bar.Low), exact(bar.High), true
		}
		t.Rows = append(t.Rows, row)
	}
	if !ranged {
		t.Head = t.Head[:2]
		for i := range t.Rows {
			t.Rows[i] = t.Rows[i][:2]
		}
	}
	return t
}

// exact writes a number for a table.
func exact(v float64) string {
	if v >= 1000 || v <= -1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}
