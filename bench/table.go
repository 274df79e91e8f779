package main

import (
	"fmt"
	"io"
	"strings"
)

// table is written as Markdown.
type table struct {
	title, text string
	columns     []string // the first ones are text, as many as left says; the others are numbers
	left        int
	rows        [][]string
}

// none stands where there is no number.
const none = "–"

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) markdown(w io.Writer) {
	fmt.Fprintf(w, "\n## %s\n", t.title)
	if t.text != "" {
		fmt.Fprintf(w, "\n%s\n", t.text)
	}
	fmt.Fprintf(w, "\n| %s |\n|%s%s\n", strings.Join(t.columns, " | "), strings.Repeat("---|", t.left), strings.Repeat("--:|", len(t.columns)-t.left))
	for _, row := range t.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
}

// number has two or three digits that count, or all before the point.
func number(v float64) string {
	switch {
	case v < 0:
		return "-" + number(-v)
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.0995 || v == 0:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// thousands writes 1234567 as 1,234,567.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
