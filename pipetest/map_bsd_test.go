//go:build unix && !linux

package pipetest

import (
	"os"
	"testing"
)

// mapShared opens a file instead: mappings are not seen here.
func mapShared(t *testing.T) func() {
	f, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}
