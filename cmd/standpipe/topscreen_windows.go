package main

import (
	"io"
	"os"
)

// keysOf is what bubbletea reads keys from: the console, which it reads in a way of its own.
func keysOf(in *os.File) io.Reader { return in }
