package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// benchColumns are the columns of the tables, in the terminal and on the page.
var benchColumns = []struct {
	title string
	text  func(c *benchCell) string
}{
	{"p50", func(c *benchCell) string { return benchTime(c.Trip.P50) }},
	{"p90", func(c *benchCell) string { return benchTime(c.Trip.P90) }},
	{"p99", func(c *benchCell) string { return benchTime(c.Trip.P99) }},
	{"p99.9", func(c *benchCell) string { return benchTime(c.Trip.P999) }},
	{"CPU", func(c *benchCell) string { return benchTime(c.Trip.CPU) }},
	{"messages/s", func(c *benchCell) string { return benchCount(c.Flow.Rate) }},
	{"bytes/s", func(c *benchCell) string { return benchBytesRate(c.Flow.Bytes) }},
	{"CPU", func(c *benchCell) string { return benchTime(c.Flow.CPU) }},
}

const (
	benchTripColumns = 5 // of the columns, those of round trips
	benchTableNote   = "CPU: the processor time of both processes for each message. -: too few messages to tell."
)

// printTable prints a block for each size, the notes, and the advice.
func (r *benchReport) printTable(w io.Writer) {
	fmt.Fprintf(w, "%s, %s\n", r.Machine, r.Time.Format("2006-01-02 15:04"))
	fmt.Fprintf(w, "%s\n", benchTableNote)
	const first, column = 22, 11
	fmt.Fprintf(w, "\n%*s | %s\n", first+benchTripColumns*column, "round trips, one at a time", "one way, as fast as it goes")
	for _, size := range r.Sizes {
		cells := r.of(size)
		if len(cells) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", benchRow(benchSize(size), func(i int) string { return benchColumns[i].title }))
		for _, c := range cells {
			fmt.Fprintf(w, "%s\n", benchRow("  "+r.way(c.Way).Label, func(i int) string { return benchColumns[i].text(c) }))
		}
	}
	r.printWords(w)
}

// benchRow is a line of the table.
func benchRow(name string, text func(i int) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-24s", name)
	for i := range benchColumns {
		width := 9
		if i >= benchTripColumns {
			width = 12
		}
		if i == benchTripColumns {
			b.WriteString(" |")
		}
		fmt.Fprintf(&b, "%*s", width, text(i))
	}
	return b.String()
}

// printWords prints what the numbers can't say.
func (r *benchReport) printWords(w io.Writer) {
	if len(r.Left)+len(r.Notes) > 0 {
		fmt.Fprintln(w)
	}
	for _, l := range r.Left {
		fmt.Fprintf(w, "Left out: %s\n", l)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "Note: %s\n", note)
	}
	fmt.Fprintln(w)
	for _, a := range r.Advice {
		fmt.Fprintln(w, a.Text)
	}
}

func (l benchLeft) String() string {
	if l.Size == 0 {
		return l.Way + ": " + l.Why
	}
	return fmt.Sprintf("%s, %s: %s", l.Way, benchSize(l.Size), l.Why)
}

func (r *benchReport) printJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// printCSV prints a line for each way and size. A field is empty where there is no number.
func (r *benchReport) printCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.Write([]string{"way", "size", "trips", "p50_us", "p90_us", "p99_us", "p999_us", "trip_cpu_us", "messages", "messages_per_s", "bytes_per_s", "message_cpu_us"})
	number := func(v float64) string {
		if v <= 0 {
			return ""
		}
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
	for _, c := range r.Cells {
		out.Write([]string{c.Way, strconv.Itoa(c.Size), strconv.Itoa(c.Trip.Count), number(c.Trip.P50), number(c.Trip.P90), number(c.Trip.P99), number(c.Trip.P999),
			number(c.Trip.CPU), strconv.Itoa(c.Flow.Count), number(c.Flow.Rate), number(c.Flow.Bytes), number(c.Flow.CPU)})
	}
	out.Flush()
	return out.Error()
}
