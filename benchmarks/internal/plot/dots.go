package plot

// dots.go draws the quantiles of latencies, each system's in a row.

import "math"

// A DotRow has a system's values, one for each of the names.
type DotRow struct {
	Label  string
	Values []float64
	Own    bool
}

// Dots is a Panel of times, in microseconds, on a logarithmic axis.
type Dots struct {
	Title string
	Names []string // of the values
	Rows  []DotRow
}

// DotStyles are those of the values, in their order.
var DotStyles = []Style{Plain, Plain2, Plain3}

func (d *Dots) height(float64) float64 { return headHeight + barStep*float64(len(d.Rows)) + axisHeight }

func (d *Dots) draw(c *canvas, width float64) {
	c.text(0, 13, "head", "start", cut(d.Title, width, textSize*1.08))
	label, value := 0.0, 0.0
	low, high := math.Inf(1), 0.0
	for _, r := range d.Rows {
		label = max(label, textWidth(r.Label, textSize))
		for _, v := range r.Values {
			if v > 0 {
				low, high = min(low, v), max(high, v)
				value = max(value, textWidth(micros(v), noteSize))
			}
		}
	}
	label = min(label, width*0.45)
	low, high, ticks := decades(low, high)
	x := scale{low, high, label + 12, width - value - 12, true}
	bottom := headHeight + barStep*float64(len(d.Rows))
	for _, t := range ticks {
		at := x.at(t)
		c.line(at, headHeight, at, bottom, "grid")
		c.text(at, bottom+14, "tick", "middle", micros(t))
	}
	for i, r := range d.Rows {
		middle := headHeight + barStep*(float64(i)+0.5)
		bold, own := "", ""
		if r.Own {
			bold, own = " bold", " own"
		}
		c.text(label, middle+4, "label"+bold, "end", cut(r.Label, label+1, textSize))
		first, last := math.Inf(1), 0.0
		for _, v := range r.Values {
			if v > 0 {
				first, last = min(first, v), max(last, v)
			}
		}
		if last == 0 {
			continue
		}
		c.line(x.at(first), middle, x.at(last), middle, "join")
		for j, v := range r.Values {
			if v > 0 {
				DotStyles[j%len(DotStyles)].marker()(c, x.at(v), middle, 4.5, "dot "+DotStyles[j%len(DotStyles)].class()+own)
			}
		}
		c.text(x.at(last)+9, middle+4, "tick"+bold, "start", micros(last))
	}
}

// Table has a row for each system.
func (d *Dots) Table() Table {
	t := Table{Title: d.Title, Head: append([]string{"µs"}, d.Names...)}
	for _, r := range d.Rows {
		row := []string{r.Label}
		for _, v := range r.Values {
			row = append(row, exact(v))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
