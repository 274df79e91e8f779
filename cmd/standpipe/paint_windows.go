package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// showsColours: a console does where it takes escape sequences, which old ones refuse to do.
func showsColours(f *os.File) bool {
	var mode uint32
	console := windows.Handle(f.Fd())
	if windows.GetConsoleMode(console, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
