//go:build unix

package main

import (
	"io"
	"os"
)

// keyboard is a terminal that bubbletea can't end the reading of: it would close what the reader still uses. So one Read waits on, until the program
// ends, which it is about to.
type keyboard struct{ in *os.File }

func (k keyboard) Read(b []byte) (int, error)  { return k.in.Read(b) }
func (k keyboard) Write(b []byte) (int, error) { return k.in.Write(b) }
func (k keyboard) Fd() uintptr                 { return k.in.Fd() }
func (k keyboard) Close() error                { return nil }

// keysOf is what bubbletea reads keys from.
func keysOf(in *os.File) io.Reader { return keyboard{in} }
