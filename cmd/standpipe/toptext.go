package main

import (
	"fmt"
	"path"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
)

// paint is how lines are made conspicuous; where a function is nil, they are not.
type paint struct {
	title, head, dim, bad func(string) string
	order                 string
}

func (o *paint) use(f func(string) string, s string) string {
	if f == nil || s == "" {
		return s
	}
	return f(s)
}

// column is one of a table. Numbers stand at its right edge, as their heads do.
type column struct {
	head string
	text bool
}

// table lays rows out: a head, and a line for each. alarm says of a cell whether it is to be seen.
func table(o *paint, columns []column, rows [][]string, alarm func(row, col int) bool) []string {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = lipgloss.Width(c.head)
		for _, row := range rows {
			widths[i] = max(widths[i], lipgloss.Width(row[i]))
		}
	}
	line := func(cells []string, style func(col int, s string) string) string {
		var b strings.Builder
		for i, cell := range cells {
			gap := strings.Repeat(" ", widths[i]-lipgloss.Width(cell))
			switch {
			case !columns[i].text:
				b.WriteString(gap + style(i, cell))
			case i == len(cells)-1:
				b.WriteString(style(i, cell))
			default:
				b.WriteString(style(i, cell) + gap)
			}
			if i < len(cells)-1 {
				b.WriteString("  ")
			}
		}
		return strings.TrimRight(b.String(), " ")
	}
	var heads []string
	for _, c := range columns {
		heads = append(heads, c.head)
	}
	lines := []string{line(heads, func(_ int, s string) string { return o.use(o.head, s) })}
	for n, row := range rows {
		lines = append(lines, line(row, func(i int, s string) string {
			if alarm != nil && alarm(n, i) {
				return o.use(o.bad, s)
			}
			return s
		}))
	}
	return lines
}

var methodColumns = []column{{"METHOD", true}, {"KIND", true}, {"CALLS/S", false}, {"OPEN", false}, {"CALLS", false}, {"P50", false}, {"P90", false}, {"P99", false}, {"ERRORS", true}}

var peerColumns = []column{{"ID", false}, {"PEER", true}, {"PROGRAM", true}, {"CALLS/S", false}, {"OPEN", false}, {"FAILED", false}, {"STREAMS", false}, {"BLOCKED", false},
	{"IN/S", false}, {"OUT/S", false}, {"QUEUED", false}, {"SHARED", false}}

const failedColumn, blockedColumn = 5, 7

// text is the frame in lines: two about the server, and two tables.
func (f *frame) text(o *paint) []string {
	by := o.order
	if by == "" {
		by = orders[0]
	}
	f.sort(by)
	lines := append(f.about(o), "")
	var rows [][]string
	for _, m := range f.Methods {
		rows = append(rows, []string{plain(m.Name), plain(m.of.Kind), perSecond(m.Calls), number(int64(m.of.Open)), number(m.of.Calls),
			seconds(m.P50), seconds(m.P90), seconds(m.P99), codes(m.of.Errors)})
	}
	lines = append(lines, table(o, methodColumns, rows, func(_, col int) bool { return col == len(methodColumns)-1 })...)
	if len(f.Peers) == 0 {
		return append(lines, "", o.use(o.dim, "nobody else is connected"))
	}
	rows = nil
	for _, p := range f.Peers {
		c := p.of
		who := c.Who
		if c.User == "" {
			who = "(not told)"
		}
		if c.Dialed {
			who = "to " + who
		}
		rows = append(rows, []string{number(p.ID), plain(who), plain(programName(c.Program)), perSecond(p.Calls), number(int64(c.Open)), number(c.Failed),
			number(int64(c.Streams)), number(int64(c.Blocked)), size(p.Received), size(p.Sent), size(float64(c.Queued)), size(float64(c.Made + c.Taken))})
	}
	return append(append(lines, ""), table(o, peerColumns, rows, func(row, col int) bool {
		return col == blockedColumn && f.Peers[row].of.Blocked > 0 || col == failedColumn && f.Peers[row].of.Failed > 0
	})...)
}

// about is what is said of the server as a whole.
func (f *frame) about(o *paint) []string {
	st := f.Stats
	first := fmt.Sprintf("%s  pid %d  %s  up %s", o.use(o.title, plain(f.Name)), st.PID, plain(st.Program), time.Duration(st.Uptime)*time.Second)
	self := 0
	for _, c := range st.Connections {
		if c.Self {
			self++
		}
	}
	second := fmt.Sprintf("connections %d (so far %d)", st.Connected-self, st.Accepted-int64(self))
	r := f.Rates
	for _, rate := range []struct{ name, text string }{{"calls", perSecond(r.Calls)}, {"errors", perSecond(r.Errors)}, {"in", size(r.Received)}, {"out", size(r.Sent)}} {
		second += "  " + rate.name + " " + strings.Replace(rate.text, "-", "0", 1) + "/s"
	}
	if refused := codes(st.Refused); refused != "" {
		second += "  refused " + o.use(o.bad, refused)
	}
	return []string{first, second}
}

var serverColumns = []column{{"NAME", true}, {"PID", false}, {"PEERS", false}, {"CALLS/S", false}, {"ERRORS/S", false}, {"IN/S", false}, {"OUT/S", false}, {"BLOCKED", false}, {"PROGRAM", true}}

func (s servers) text(o *paint) []string {
	if len(s.Servers) == 0 {
		return []string{o.use(o.dim, "no names are being served")}
	}
	var rows [][]string
	for _, l := range s.Servers {
		f := l.Frame
		if f == nil {
			rows = append(rows, []string{plain(l.Name), "-", "-", "-", "-", "-", "-", "-", plain(l.Error)})
			continue
		}
		blocked := 0
		for _, p := range f.Peers {
			blocked += p.of.Blocked
		}
		rows = append(rows, []string{plain(l.Name), fmt.Sprint(f.Stats.PID), number(int64(len(f.Peers))), perSecond(f.Rates.Calls), perSecond(f.Rates.Errors),
			size(f.Rates.Received), size(f.Rates.Sent), number(int64(blocked)), plain(f.Stats.Program)})
	}
	return table(o, serverColumns, rows, func(row, col int) bool { return col == len(serverColumns)-1 && s.Servers[row].Frame == nil })
}

// codes is what failed how often: "NotFound 3, Internal 1", without what nobody needs.
func codes(counts map[string]int64) string {
	var list []string
	for _, name := range sortedKeys(counts) {
		list = append(list, plain(name)+" "+number(counts[name]))
	}
	return strings.Join(list, ", ")
}

// number is a number that takes little room, and "-" for none.
// programName is the last part of a program's path, on whatever system that is.
func programName(where string) string {
	if where == "" {
		return "-"
	}
	return path.Base(strings.ReplaceAll(where, `\`, "/"))
}

func number(n int64) string {
	switch {
	case n == 0:
		return "-"
	case n < 100_000:
		return fmt.Sprint(n)
	case n < 100_000_000:
		return fmt.Sprintf("%dk", n/1000)
	}
	return fmt.Sprintf("%dM", n/1_000_000)
}

func perSecond(n float64) string {
	switch {
	case n == 0:
		return "-"
	case n < 10:
		return fmt.Sprintf("%.1f", n)
	}
	return number(int64(n + 0.5))
}

// size is bytes.
func size(n float64) string {
	if n < 1 {
		return "-"
	}
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		switch {
		case n < 10 && unit != "B":
			return fmt.Sprintf("%.1f %s", n, unit)
		case n < 1000:
			return fmt.Sprintf("%.0f %s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprintf("%.1f TiB", n)
}

// seconds is a time with two digits, which is more than is known of it.
func seconds(s float64) string {
	if s == 0 {
		return "-"
	}
	for _, unit := range []struct {
		name string
		is   float64
	}{{"ns", 1e-9}, {"µs", 1e-6}, {"ms", 1e-3}, {"s", 1}} {
		if n := s / unit.is; n < 9.95 {
			return fmt.Sprintf("%.1f%s", n, unit.name)
		} else if n < 999.5 || unit.name == "s" {
			return fmt.Sprintf("%.0f%s", n, unit.name)
		}
	}
	return ""
}
