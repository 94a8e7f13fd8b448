package plot

// lines.go draws values over something: a capacity, or time.

import (
	"math"
	"slices"
)

// A Series is a line.
type Series struct {
	Label string
	Style Style
	X, Y  []float64 // a Y that is no number is a gap
}

// A Mark says when something happened.
type Mark struct {
	X     float64
	Label string // "" = none
}

// Lines is a Panel of lines over one axis.
type Lines struct {
	Title   string
	XLabel  string
	XTicks  []float64 // nil = some
	XUnit   string    // behind each number of the axis
	XLog    bool
	YLog    bool
	YMax    float64 // 0 = what the values need
	Tall    float64 // 0 = usual
	Left    float64 // room for the numbers of the axis at least, so that panels below each other agree
	Markers bool
	Series  []Series
	Marks   []Mark
}

func (l *Lines) plotHeight() float64 {
	if l.Tall > 0 {
		return l.Tall
	}
	return 150
}

// lineHead is the height of the title: the topmost number of the axis is beside the plot's edge.
const lineHead = 27.0

// markRow is the height of a line of text over the plot that names a mark.
const markRow = 15.0

func (l *Lines) height(width float64) float64 {
	_, rows := l.placeMarks(width)
	return lineHead + float64(rows)*markRow + l.plotHeight() + l.below()
}

func (l *Lines) below() float64 {
	if l.XLabel != "" {
		return axisHeight + 16
	}
	return axisHeight
}

func (l *Lines) scales(width float64) (x, y scale, xTicks, yTicks []float64) {
	lowX, highX, lowY, highY := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, s := range l.Series {
		for i := range s.X {
			lowX, highX = min(lowX, s.X[i]), max(highX, s.X[i])
			if v := s.Y[i]; !math.IsNaN(v) && (!l.YLog || v > 0) {
				lowY, highY = min(lowY, v), max(highY, v)
			}
		}
	}
	if !(highX > lowX) {
		lowX, highX = lowX-1, lowX+1
		if math.IsInf(lowX, 0) {
			lowX, highX = 0, 1
		}
	}
	if l.YLog {
		lowY, highY, yTicks = decades(lowY, highY)
	} else {
		lowY = 0
		if highY, yTicks = upTo(highY, 4); l.YMax > 0 {
			highY, yTicks = upTo(l.YMax, 4)
		}
	}
	left := l.Left
	for _, text := range ticksOf(yTicks) {
		left = max(left, textWidth(text, noteSize))
	}
	xTicks = l.XTicks
	if xTicks == nil {
		step, _ := upTo((highX-lowX)/8, 1)
		for t := math.Ceil(lowX/step) * step; t <= highX+1e-9; t += step {
			xTicks = append(xTicks, t)
		}
	}
	x = scale{lowX, highX, left + 8, width - 10, l.XLog}
	y = scale{lowY, highY, l.plotHeight(), 0, l.YLog}
	return x, y, xTicks, yTicks
}

// placeMarks returns in which row over the plot each mark's text is, so that none covers another.
func (l *Lines) placeMarks(width float64) (row []int, rows int) {
	if len(l.Marks) == 0 {
		return nil, 0
	}
	x, _, _, _ := l.scales(width)
	row = make([]int, len(l.Marks))
	var ends []float64 // of each row
	for i, m := range l.Marks {
		if m.Label == "" {
			continue
		}
		at, w := x.at(m.X), textWidth(m.Label, noteSize)+10
		if at+w > width {
			at = width - w
		}
		r := slices.IndexFunc(ends, func(end float64) bool { return end <= at })
		if r < 0 {
			r = len(ends)
			ends = append(ends, 0)
		}
		ends[r], row[i] = at+w, r
	}
	return row, len(ends)
}

func (l *Lines) draw(c *canvas, width float64) {
	c.text(0, 11, "head", "start", cut(l.Title, width, textSize*1.08))
	x, y, xTicks, yTicks := l.scales(width)
	row, rows := l.placeMarks(width)
	top := lineHead + float64(rows)*markRow
	y.from, y.to = top+l.plotHeight(), top
	for i, text := range ticksOf(yTicks) {
		at := y.at(yTicks[i])
		c.line(x.from, at, x.to, at, "grid")
		c.text(x.from-6, at+4, "tick", "end", text)
	}
	free := 0.0 // where the last text ended
	for i, text := range ticksOf(xTicks) {
		at := x.at(xTicks[i])
		text += l.XUnit
		half := textWidth(text, noteSize) / 2
		c.line(at, y.from, at, y.from+4, "axis")
		if at-half >= free {
			c.text(min(at, width-half), y.from+16, "tick", "middle", text)
			free = at + half + 4
		}
	}
	if l.XLabel != "" {
		c.text((x.from+x.to)/2, y.from+32, "tick", "middle", l.XLabel)
	}
	for i, m := range l.Marks {
		at := x.at(m.X)
		base := top - float64(row[i])*markRow - 4
		if m.Label == "" {
			c.line(at, top, at, y.from, "event")
			continue
		}
		c.line(at, base-10, at, y.from, "event")
		if w := textWidth(m.Label, noteSize); at+w+8 > width {
			c.text(at-4, base, "tick", "end", m.Label)
		} else {
			c.text(at+4, base, "tick", "start", m.Label)
		}
	}
	c.line(x.from, y.from, x.to, y.from, "axis")
	for i := len(l.Series) - 1; i >= 0; i-- { // the first one is drawn over the others
		s := l.Series[i]
		points := make([][2]float64, len(s.X))
		for j := range points {
			points[j] = [2]float64{x.at(s.X[j]), y.at(s.Y[j])}
		}
		c.path(points, "line "+s.Style.class())
		if m := s.Style.marker(); l.Markers && m != nil {
			for _, p := range points {
				if !math.IsNaN(p[1]) {
					m(c, p[0], p[1], 3.5, "dot "+s.Style.class())
				}
			}
		}
	}
}

// Table has a row for each X, and a column for each line.
func (l *Lines) Table() Table {
	t := Table{Title: l.Title, Head: []string{l.XLabel}}
	var xs []float64
	for _, s := range l.Series {
		t.Head = append(t.Head, s.Label)
		xs = append(xs, s.X...)
	}
	slices.Sort(xs)
	for _, x := range slices.Compact(xs) {
		row := []string{exact(x) + l.XUnit}
		for _, s := range l.Series {
			text := ""
			if i := slices.Index(s.X, x); i >= 0 && !math.IsNaN(s.Y[i]) {
				text = exact(s.Y[i])
			}
			row = append(row, text)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
