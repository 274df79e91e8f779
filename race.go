//go:build race

package standpipe

import (
	"runtime"
	"unsafe"
)

// What is written to a connection happens before it is read from it. Where both ends are in one process, the race detector is told
// so, as package syscall does for its own reads and writes.
var passing byte

func written() { runtime.RaceReleaseMerge(unsafe.Pointer(&passing)) }
func read()    { runtime.RaceAcquire(unsafe.Pointer(&passing)) }
