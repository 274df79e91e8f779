//go:build unix

package main

import "os"

// showsColours: a terminal without a name, or a dumb one, may not.
func showsColours(*os.File) bool {
	name := os.Getenv("TERM")
	return name != "" && name != "dumb"
}
