// Package plot draws charts as SVG, by which text and lines stay what they are at any size, and has
// the same numbers as tables. Colours follow prefers-color-scheme. There are no scripts, and
// nothing is requested from anywhere.
package plot

import (
	"fmt"
	"math"
	"strings"
)

// A Chart is a title over some panels.
type Chart struct {
	ID      string // distinguishes the charts of a page
	Title   string
	Desc    string   // what is measured
	Columns int      // of panels, where there is room; 0 = 1
	Legend  []Legend // what is drawn how
	Panels  []Panel
}

// A Legend explains a style.
type Legend struct {
	Label string
	Style Style
	Line  bool
	Shape bool
}

// A Panel is one pair of axes.
type Panel interface {
	// height returns what draw needs at a width.
	height(width float64) float64
	// draw draws at the origin.
	draw(c *canvas, width float64)
	// Table has the numbers.
	Table() Table
}

// A Table is what a Panel shows, in numbers.
type Table struct {
	Title string
	Head  []string
	Rows  [][]string
}

// Options say how a chart is drawn.
type Options struct {
	Width int
	Note  string // at the bottom: when and where it was measured
	// Alone: the picture is a file of its own, with its style and background.
	Alone bool
}

const (
	margin     = 16.0
	gap        = 20.0 // between panels
	titleSize  = 17.0
	textSize   = 12.0
	noteSize   = 11.0
	narrowest  = 300.0 // panel that has another one beside it
	lineHeight = 1.4
)

// SVG draws the chart.
func (ch *Chart) SVG(o Options) string {
	width := float64(o.Width)
	inner := width - 2*margin
	c := &canvas{}
	y := margin
	para := func(text, class string, size float64) {
		for _, line := range wrap(text, inner, size) {
			y += size * lineHeight
			c.text(margin, y-size*0.35, class, "start", line)
		}
	}
	para(ch.Title, "title", titleSize)
	para(ch.Desc, "muted", textSize)
	y = ch.legend(c, y+4, inner)
	columns := max(ch.Columns, 1)
	for columns > 1 && (inner-gap*float64(columns-1))/float64(columns) < narrowest {
		columns--
	}
	wide := (inner - gap*float64(columns-1)) / float64(columns)
	for from := 0; from < len(ch.Panels); from += columns {
		y += gap / 2
		tall := 0.0
		for i, p := range ch.Panels[from:min(from+columns, len(ch.Panels))] {
			tall = max(tall, p.height(wide))
			fmt.Fprintf(c, `<g transform="translate(%s %s)">`, num(margin+float64(i)*(wide+gap)), num(y))
			p.draw(c, wide)
			c.WriteString("</g>\n")
		}
		y += tall
	}
	if o.Note != "" {
		y += gap / 2
		para(o.Note, "muted note", noteSize)
	}
	y += margin
	return ch.wrap(c.String(), width, y, o)
}

// wrap puts the parts that a reader of the screen speaks, and the style, around what was drawn.
func (ch *Chart) wrap(drawn string, width, height float64, o Options) string {
	var b strings.Builder
	id := fmt.Sprintf("%s-%d", ch.ID, o.Width)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-labelledby="%s-t %s-d" viewBox="0 0 %s %s"`,
		escape(id), escape(id), num(width), num(height))
	if o.Alone {
		fmt.Fprintf(&b, ` width="%s" height="%s"`, num(width), num(height))
	}
	fmt.Fprintf(&b, ">\n<title id=\"%s-t\">%s</title>\n<desc id=\"%s-d\">%s</desc>\n", escape(id), escape(ch.Title), escape(id), escape(strings.TrimSpace(ch.Desc+" "+o.Note)))
	if o.Alone {
		fmt.Fprintf(&b, "<style>%s</style>\n", CSS)
		fmt.Fprintf(&b, `<rect class="back" x="0.5" y="0.5" width="%s" height="%s" rx="8"/>`+"\n", num(width-1), num(height-1))
	}
	b.WriteString(drawn)
	b.WriteString("</svg>\n")
	return b.String()
}

func (ch *Chart) legend(c *canvas, y, inner float64) float64 {
	if len(ch.Legend) == 0 {
		return y
	}
	const mark, after = 22.0, 16.0
	x := 0.0
	y += 16
	for _, l := range ch.Legend {
		w := mark + textWidth(l.Label, textSize)
		if x > 0 && x+w > inner {
			x, y = 0, y+18
		}
		if l.Line {
			c.line(margin+x, y-4, margin+x+16, y-4, "line "+l.Style.class())
		}
		if m := l.Style.marker(); m != nil && l.Shape {
			m(c, margin+x+8, y-4, 4, "dot "+l.Style.class())
		}
		c.text(margin+x+mark, y, "label", "start", l.Label)
		x += w + after
	}
	return y + 4
}

// canvas collects elements.
type canvas struct{ strings.Builder }

func (c *canvas) text(x, y float64, class, anchor, s string) {
	fmt.Fprintf(c, `<text x="%s" y="%s" class="%s" text-anchor="%s">%s</text>`+"\n", num(x), num(y), class, anchor, escape(s))
}

func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(c, `<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"/>`+"\n", num(x1), num(y1), num(x2), num(y2), class)
}

func (c *canvas) rect(x, y, w, h float64, class string) {
	fmt.Fprintf(c, `<rect x="%s" y="%s" width="%s" height="%s" class="%s"/>`+"\n", num(x), num(y), num(w), num(h), class)
}

// path draws lines from point to point; at one that is no number there is a gap.
func (c *canvas) path(points [][2]float64, class string) {
	var d strings.Builder
	pen := "M"
	for _, p := range points {
		if math.IsNaN(p[0]) || math.IsNaN(p[1]) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&d, "%s%s %s", pen, num(p[0]), num(p[1]))
		pen = "L"
	}
	if d.Len() > 0 {
		fmt.Fprintf(c, `<path d="%s" class="%s"/>`+"\n", d.String(), class)
	}
}
