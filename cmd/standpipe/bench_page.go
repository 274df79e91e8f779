package main

import (
	_ "embed"
	"fmt"
	"html"
	"math"
	"strings"
)

//go:embed bench_page.css
var benchStyle string

// benchPolicy lets the page have its own style, and nothing else: no script, and nothing from anywhere.
const benchPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

// benchPage writes the page. What is no text of the program itself goes through text.
type benchPage struct {
	strings.Builder
	r *benchReport
}

func (p *benchPage) f(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// page is the whole report as one HTML page that needs nothing else.
func (r *benchReport) page() string {
	p := &benchPage{r: r}
	p.f("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Local IPC on this machine</title>\n")
	p.f("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n")
	p.f("<meta http-equiv=\"Content-Security-Policy\" content=\"%s\">\n<link rel=\"icon\" href=\"data:,\">\n", benchPolicy)
	p.f("<style>\n%s%s</style>\n</head>\n<body>\n<main>\n", benchStyle, p.tabStyle())
	p.f("<header>\n<h1>Local IPC on this machine</h1>\n<p>%s<br>%s, the medians of %d rounds, by <code>standpipe bench</code>.</p>\n</header>\n",
		html.EscapeString(r.Machine.String()), r.Time.Format("2006-01-02 15:04"), r.Rounds)
	p.notes()
	p.legend()
	p.f("<div class=\"plots\">\n")
	p.figure("Round trip, median", "One message there and one of the same size back, one at a time. Lower is better.",
		p.overSize("round trip", benchTime, func(c *benchCell) float64 { return c.Trip.P50 }))
	p.figure("Throughput, one way", "As fast as one sender can send and one receiver can read. Higher is better.",
		p.throughput())
	p.figure("Processor time for a message, one way", "Of both processes together. Lower is better.",
		p.overSize("processor time", benchTime, func(c *benchCell) float64 { return c.Flow.CPU }))
	p.distribution()
	p.f("</div>\n")
	p.table()
	p.ways()
	p.advice()
	p.f("</main>\n</body>\n</html>\n")
	return p.String()
}

func (p *benchPage) notes() {
	if len(p.r.Notes)+len(p.r.Left) == 0 {
		return
	}
	p.f("<ul class=\"notes\">\n")
	for _, note := range p.r.Notes {
		p.f("<li>%s</li>\n", html.EscapeString(note))
	}
	for _, l := range p.r.Left {
		p.f("<li>Left out: %s</li>\n", html.EscapeString(l.String()))
	}
	p.f("</ul>\n")
}

// class is the number of a way's colour and mark: the same, whatever ways were measured beside it.
func (p *benchPage) class(name string) int {
	for i, w := range benchWays() {
		if w.name == name {
			return i
		}
	}
	return 0
}

// legend names the lines of all plots. It stays in view while the plots scroll.
func (p *benchPage) legend() {
	p.f("<ul class=\"legend\">\n")
	for _, w := range p.r.Ways {
		class := p.class(w.Name)
		p.f("<li class=\"s%d\"><svg viewBox=\"-12 -7 24 14\" aria-hidden=\"true\"><path class=\"line\" d=\"M-12 0H12\"/><path class=\"mark\" d=\"%s\"/></svg>%s</li>\n",
			class, benchShape(class), html.EscapeString(w.Label))
	}
	p.f("</ul>\n")
}

func (p *benchPage) figure(title, caption string, plot benchPlot) {
	p.f("<figure>\n<h2>%s</h2>\n<figcaption>%s</figcaption>\n%s\n</figure>\n", html.EscapeString(title), html.EscapeString(caption), plot.svg())
}

// overSize is a plot of a value over the sizes of messages.
func (p *benchPage) overSize(what string, text func(float64) string, value func(*benchCell) float64) benchPlot {
	plot := benchPlot{title: what + " over the size of messages",
		x: benchAxis{label: "size of a message", text: func(v float64) string { return benchSize(int(v + 0.5)) }},
		y: benchAxis{text: text}}
	for _, size := range p.r.Sizes {
		plot.x.ticks = append(plot.x.ticks, float64(size))
	}
	for _, w := range p.r.Ways {
		s := benchSeries{label: w.Label, class: p.class(w.Name)}
		for _, size := range p.r.Sizes {
			if c := p.r.cell(w.Name, size); c != nil && value(c) > 0 {
				s.points = append(s.points, [2]float64{float64(size), value(c)})
			}
		}
		plot.series = append(plot.series, s)
	}
	return plot
}

// throughput has its ticks where their texts are round: at 1, 32, 1024 ...
func (p *benchPage) throughput() benchPlot {
	plot := p.overSize("throughput", benchBytesRate, func(c *benchCell) float64 { return c.Flow.Bytes })
	for t := 1.0; t < 1<<45; t *= 32 {
		plot.y.ticks = append(plot.y.ticks, t)
	}
	return plot
}

// distribution has a plot for each size, of which one is shown: radio buttons choose it, without a script.
func (p *benchPage) distribution() {
	p.f("<figure class=\"tabs\">\n<h2>Distribution of round trips</h2>\n<figcaption>How long all but the slowest part took: half of them, all but 1 in 100, and so on. A line that stays flat is a way that can be relied on.</figcaption>\n")
	shown := p.shown()
	for i, size := range p.r.Sizes {
		checked := ""
		if i == shown {
			checked = " checked"
		}
		p.f("<input type=\"radio\" name=\"size\" id=\"d%d\"%s><label for=\"d%d\">%s</label>\n", i, checked, i, benchSize(size))
	}
	for i, size := range p.r.Sizes {
		p.f("<div class=\"panel\" id=\"p%d\">\n%s\n</div>\n", i, p.curves(size).svg())
	}
	p.f("</figure>\n")
}

// shown is the place of 4 KiB, or of what is next to it.
func (p *benchPage) shown() (place int) {
	far := func(i int) float64 { return math.Abs(math.Log(float64(p.r.Sizes[i]) / 4096)) }
	for i := range p.r.Sizes {
		if far(i) < far(place) {
			place = i
		}
	}
	return place
}

// tabStyle shows the panel of the button that is pressed.
func (p *benchPage) tabStyle() string {
	var b strings.Builder
	for i := range p.r.Sizes {
		fmt.Fprintf(&b, "#d%d:checked ~ #p%d { display: block; }\n", i, i)
	}
	return b.String()
}

// curves is how long round trips took over the part of them that took longer: its inverse is the x axis.
func (p *benchPage) curves(size int) benchPlot {
	plot := benchPlot{title: "distribution of round trips of " + benchSize(size),
		x: benchAxis{label: "all but the slowest: 1 in", ticks: []float64{1, 10, 100, 1000, 10000}, text: func(v float64) string {
			return fmt.Sprintf("%.0f", v)
		}},
		y: benchAxis{text: benchTime}}
	for _, c := range p.r.of(size) {
		s := benchSeries{label: p.r.way(c.Way).Label, class: p.class(c.Way)}
		for i, v := range c.Trip.Curve {
			if v > 0 {
				s.points = append(s.points, [2]float64{1 / benchTail(i), v})
			}
		}
		plot.series = append(plot.series, s)
	}
	return plot
}

func (p *benchPage) table() {
	p.f("<section>\n<h2>All numbers</h2>\n<p>%s</p>\n<div class=\"scroll\">\n<table>\n<thead>\n", benchTableNote)
	p.f("<tr><td></td><th colspan=\"%d\">round trips, one at a time</th><th colspan=\"%d\">one way</th></tr>\n<tr><td></td>", benchTripColumns, len(benchColumns)-benchTripColumns)
	for _, c := range benchColumns {
		p.f("<th scope=\"col\">%s</th>", c.title)
	}
	p.f("</tr>\n</thead>\n")
	for _, size := range p.r.Sizes {
		p.f("<tbody>\n<tr class=\"size\"><th scope=\"rowgroup\" colspan=\"%d\">%s</th></tr>\n", 1+len(benchColumns), benchSize(size))
		for _, c := range p.r.of(size) {
			p.f("<tr><th scope=\"row\">%s</th>", html.EscapeString(p.r.way(c.Way).Label))
			for _, column := range benchColumns {
				p.f("<td>%s</td>", column.text(c))
			}
			p.f("</tr>\n")
		}
		p.f("</tbody>\n")
	}
	p.f("</table>\n</div>\n</section>\n")
}

// ways says how each is used.
func (p *benchPage) ways() {
	p.f("<section>\n<h2>What was measured</h2>\n<dl>\n")
	for _, w := range p.r.Ways {
		p.f("<dt>%s</dt><dd>%s</dd>\n", html.EscapeString(w.Label), html.EscapeString(w.Note))
	}
	p.f("</dl>\n</section>\n")
}

func (p *benchPage) advice() {
	p.f("<section class=\"advice\">\n<h2>What to take</h2>\n<ul>\n")
	for _, a := range p.r.Advice {
		head, rest, _ := strings.Cut(a.Text, ": ")
		p.f("<li><strong>%s:</strong> %s</li>\n", html.EscapeString(head), html.EscapeString(rest))
	}
	p.f("</ul>\n</section>\n")
}
