//go:build race

package ring

import (
	"runtime"
	"unsafe"
)

// What is written into a ring happens before it is read from it. Where both ends are in one process, the race detector can't see
// that, since they have the memory at two addresses; it is told, as package syscall does for reads and writes.
var passing byte

func released() { runtime.RaceReleaseMerge(unsafe.Pointer(&passing)) }
func acquired() { runtime.RaceAcquire(unsafe.Pointer(&passing)) }
