package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// benchPlot is a plot with two logarithmic axes, as SVG within a page: its colours, lines and texts are classes of the page's style, so that they
// follow light and dark. ADR 0021 says why it is ours.
type benchPlot struct {
	title  string // for who can't see it
	x, y   benchAxis
	series []benchSeries
}

// benchAxis is what an axis says.
type benchAxis struct {
	label string
	ticks []float64            // nil: the powers of ten, and what lies between them where those are few
	text  func(float64) string // of a value
}

// benchSeries is a line. Its class is the same for a way in all plots.
type benchSeries struct {
	label  string
	class  int
	points [][2]float64 // all above 0
}

// The drawing's own units. They are few, so that its texts can be read on a phone.
const (
	plotWidth, plotHeight = 460.0, 330.0
	plotLeft, plotRight   = 68.0, 18.0
	plotTop, plotBottom   = 12.0, 44.0
	plotApart             = 44.0 // of texts on the x axis
)

// benchScale maps logarithms to the drawing.
type benchScale struct{ low, high, from, to float64 }

func (s benchScale) at(v float64) float64 {
	return s.from + (math.Log10(v)-s.low)/(s.high-s.low)*(s.to-s.from)
}

// newBenchScale has a little room at both ends.
func newBenchScale(low, high, from, to float64) benchScale {
	l, h := math.Log10(low), math.Log10(high)
	room := max(0.04*(h-l), 0.05)
	return benchScale{l - room, h + room, from, to}
}

// svg is the drawing; "" where there is nothing to draw.
func (p benchPlot) svg() string {
	lowX, highX := p.limits(0)
	lowY, highY := p.limits(1)
	if lowX > highX {
		return ""
	}
	x := newBenchScale(lowX, highX, plotLeft, plotWidth-plotRight)
	y := newBenchScale(lowY, highY, plotHeight-plotBottom, plotTop)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`+"\n", plotWidth, plotHeight, html.EscapeString(p.title))
	p.drawAxes(&b, x, y)
	for _, s := range p.series {
		p.drawSeries(&b, s, x, y)
	}
	b.WriteString("</svg>")
	return b.String()
}

// limits are the least and the greatest value of all points.
func (p benchPlot) limits(axis int) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, s := range p.series {
		for _, point := range s.points {
			low, high = min(low, point[axis]), max(high, point[axis])
		}
	}
	return low, high
}

func (p benchPlot) drawAxes(b *strings.Builder, x, y benchScale) {
	bottom, right := plotHeight-plotBottom, plotWidth-plotRight
	line := func(class string, x1, y1, x2, y2 float64) {
		fmt.Fprintf(b, `<path class="%s" d="M%.1f %.1fL%.1f %.1f"/>`+"\n", class, x1, y1, x2, y2)
	}
	text := func(anchor string, x, y float64, s string) {
		fmt.Fprintf(b, `<text text-anchor="%s" x="%.1f" y="%.1f">%s</text>`+"\n", anchor, x, y, html.EscapeString(s))
	}
	for _, t := range p.y.ticksOn(y) {
		line("grid", plotLeft, y.at(t), right, y.at(t))
		text("end", plotLeft-6, y.at(t)+4, benchRound(p.y.text(t)))
	}
	last := math.Inf(-1)
	for _, t := range p.x.ticksOn(x) {
		line("grid", x.at(t), plotTop, x.at(t), bottom)
		if x.at(t)-last >= plotApart {
			last = x.at(t)
			text("middle", last, bottom+16, benchRound(p.x.text(t)))
		}
	}
	line("axis", plotLeft, bottom, right, bottom)
	line("axis", plotLeft, plotTop, plotLeft, bottom)
	text("middle", (plotLeft+right)/2, plotHeight-8, p.x.label)
}

// ticksOn are those of the axis that lie on the scale.
func (a benchAxis) ticksOn(s benchScale) []float64 {
	if a.ticks == nil {
		return benchTicks10(s)
	}
	return slices.DeleteFunc(slices.Clone(a.ticks), func(t float64) bool { return math.Log10(t) < s.low || math.Log10(t) > s.high })
}

// benchRound is a text of a round number without the zeros behind its point.
func benchRound(text string) string {
	number, unit, _ := strings.Cut(text, " ")
	if strings.Contains(number, ".") {
		number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
	}
	return strings.TrimSpace(number + " " + unit)
}

// benchTicks10 are the powers of ten of a scale; with twice and five times those where they are one or none; every second one where they are many.
func benchTicks10(s benchScale) (ticks []float64) {
	powers := math.Floor(s.high) - math.Ceil(s.low) + 1
	step := 1.0
	if powers > 8 {
		step = 2
	}
	for e := math.Floor(s.low); e <= s.high; e += step {
		for _, times := range []float64{1, 2, 5} {
			t := times * math.Pow(10, e)
			if l := math.Log10(t); l >= s.low && l <= s.high && (times == 1 || powers < 3) {
				ticks = append(ticks, t)
			}
		}
	}
	return ticks
}

// benchShapes are the marks of the classes, around 0 0: who sees no colours tells the lines by them.
var benchShapes = []string{
	"M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",                             // a circle
	"M-3.6 -3.6h7.2v7.2h-7.2z",                                        // a square
	"M0 -4.8L4.8 0L0 4.8L-4.8 0z",                                     // a diamond
	"M0 -4.6L4.4 3.4H-4.4z",                                           // a triangle
	"M0 4.6L4.4 -3.4H-4.4z",                                           // one on its head
	"M-1.4 -4.4h2.8v3h3v2.8h-3v3h-2.8v-3h-3v-2.8h3z",                  // a cross
	"M-4.4 -1.6h8.8v3.2h-8.8z",                                        // a bar
	"M0 -4.8L1.5 -1.5L4.8 0L1.5 1.5L0 4.8L-1.5 1.5L-4.8 0L-1.5 -1.5z", // a star
}

func (p benchPlot) drawSeries(b *strings.Builder, s benchSeries, x, y benchScale) {
	if len(s.points) == 0 {
		return
	}
	fmt.Fprintf(b, `<g class="s%d"><path class="line" d="`, s.class)
	for i, point := range s.points {
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(b, "%s%.1f %.1f", command, x.at(point[0]), y.at(point[1]))
	}
	b.WriteString("\"/>\n")
	for _, point := range s.points {
		fmt.Fprintf(b, `<path class="mark" transform="translate(%.1f %.1f)" d="%s"><title>%s</title></path>`+"\n", x.at(point[0]), y.at(point[1]), benchShape(s.class),
			html.EscapeString(fmt.Sprintf("%s, %s: %s", s.label, p.x.text(point[0]), p.y.text(point[1]))))
	}
	b.WriteString("</g>\n")
}

func benchShape(class int) string { return benchShapes[class%len(benchShapes)] }
