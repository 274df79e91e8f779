package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// palette paints words for people, where they look at a terminal that shows colours. The zero palette leaves all as it is.
type palette struct{ on bool }

// paletteFor is the palette for what is written to w. NO_COLOR, set to anything, means none: see https://no-color.org.
func paletteFor(w io.Writer) palette {
	f, ok := w.(*os.File)
	return palette{ok && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(f.Fd())) && showsColours(f)}
}

func (p palette) bold(s string) string { return p.paint("1", s) }
func (p palette) red(s string) string  { return p.paint("1;31", s) }
func (p palette) cyan(s string) string { return p.paint("36", s) }

func (p palette) paint(how, s string) string {
	if !p.on {
		return s
	}
	return "\x1b[" + how + "m" + s + "\x1b[0m"
}
