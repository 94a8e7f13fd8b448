package plot

// style.go is what things look like.

import "fmt"

// A Style is a colour with a marker and a dash, so that it can be told from others without the colour.
type Style int

// Own is the project's. Styles after it are those of rivals; Bound is a bound on what is possible.
const (
	Own Style = iota
	OwnToo
	Rival1
	Rival2
	Rival3
	Rival4
	Rival5
	Bound
	Plain // of a shape whose colour says nothing
	Plain2
	Plain3
)

func (s Style) class() string { return fmt.Sprintf("s%d", s) }

// A drawMarker draws a marker of a radius around a point.
type drawMarker func(c *canvas, x, y, r float64, class string)

func (s Style) marker() drawMarker {
	switch s {
	case Own, Rival5, Plain:
		return circle
	case OwnToo, Rival1, Plain3:
		return square
	case Rival2, Plain2:
		return diamond
	case Rival3:
		return triangle
	case Rival4:
		return cross
	}
	return nil
}

func circle(c *canvas, x, y, r float64, class string) {
	fmt.Fprintf(c, `<circle cx="%s" cy="%s" r="%s" class="%s"/>`+"\n", num(x), num(y), num(r), class)
}

func square(c *canvas, x, y, r float64, class string) {
	c.rect(x-r*0.9, y-r*0.9, r*1.8, r*1.8, class)
}

func diamond(c *canvas, x, y, r float64, class string) {
	r *= 1.25
	fmt.Fprintf(c, `<path d="M%s %sL%s %sL%s %sL%s %sZ" class="%s"/>`+"\n", num(x), num(y-r), num(x+r), num(y), num(x), num(y+r), num(x-r), num(y), class)
}

func triangle(c *canvas, x, y, r float64, class string) {
	r *= 1.15
	fmt.Fprintf(c, `<path d="M%s %sL%s %sL%s %sZ" class="%s"/>`+"\n", num(x), num(y-r), num(x+r), num(y+r*0.8), num(x-r), num(y+r*0.8), class)
}

func cross(c *canvas, x, y, r float64, class string) {
	fmt.Fprintf(c, `<path d="M%s %sL%s %sM%s %sL%s %s" class="%s stroked"/>`+"\n",
		num(x-r), num(y-r), num(x+r), num(y+r), num(x-r), num(y+r), num(x+r), num(y-r), class)
}

// CSS is the style of all charts. A page that has charts in it has to have it once.
const CSS = `
.chart{--back:#fff;--fg:#1f2328;--muted:#59636e;--grid:#d8dee4;--rim:#d1d9e0;--bar:#9aa4ae;
--c0:#0969da;--c1:#0b7a75;--c2:#bc4c00;--c3:#1a7f37;--c4:#8250df;--c5:#9a6700;--c6:#bf3989;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
@media(prefers-color-scheme:dark){.chart{--back:#0d1117;--fg:#e6edf3;--muted:#9198a1;--grid:#2b3138;--rim:#3d444d;--bar:#6b747d;
--c0:#4493f8;--c1:#39c5bb;--c2:#f0883e;--c3:#3fb950;--c4:#ab7df8;--c5:#d29922;--c6:#f778ba}}
.chart text{fill:var(--fg);font-size:12px}
.chart .title{font-size:17px;font-weight:600}
.chart .head{font-weight:600}
.chart .muted{fill:var(--muted)}
.chart .note,.chart .tick{font-size:11px}
.chart .tick{fill:var(--muted);font-variant-numeric:tabular-nums}
.chart .value{font-variant-numeric:tabular-nums}
.chart .bold{font-weight:600}
.chart .back{fill:var(--back);stroke:var(--rim)}
.chart .grid{stroke:var(--grid);stroke-width:1}
.chart .axis{stroke:var(--muted);stroke-width:1}
.chart .range{stroke:var(--fg);stroke-width:1.2;opacity:.75}
.chart .event{stroke:var(--fg);stroke-width:1;stroke-dasharray:3 3;opacity:.7}
.chart .line{fill:none;stroke-width:1.6;stroke-linejoin:round}
.chart .bar{fill:var(--bar)}
.chart .bar.own{fill:var(--c0)}
.chart .bar.owntoo{fill:var(--c0);opacity:.55}
.chart .bar.bound{fill:none;stroke:var(--muted);stroke-dasharray:4 3}
.chart .dot{stroke:var(--back);stroke-width:1}
.chart .dot.stroked{fill:none;stroke-width:2}
.chart .join{stroke:var(--bar);stroke-width:3}
.chart .s0{stroke:var(--c0)}.chart .s1{stroke:var(--c1)}.chart .s2{stroke:var(--c2)}.chart .s3{stroke:var(--c3)}
.chart .s4{stroke:var(--c4)}.chart .s5{stroke:var(--c5)}.chart .s6{stroke:var(--c6)}.chart .s7{stroke:var(--fg)}
.chart .dot.s0{fill:var(--c0)}.chart .dot.s1{fill:var(--c1)}.chart .dot.s2{fill:var(--c2)}.chart .dot.s3{fill:var(--c3)}
.chart .dot.s4{fill:var(--c4)}.chart .dot.s5{fill:none}.chart .dot.s6{fill:var(--c6)}.chart .dot.s8,.chart .dot.s9,.chart .dot.s10{fill:var(--fg)}
.chart .dot.own{fill:var(--c0)}
.chart .dot:not(.stroked){stroke:var(--back)}
.chart .line.s0{stroke-width:2.6}
.chart .line.s7{stroke-dasharray:6 4}
`
