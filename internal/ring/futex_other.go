//go:build !linux

package ring

import "time"

// Futexes says whether this system has a way to wake who waits for memory to change.
const Futexes = false

func waitChange(uintptr, uint32, time.Duration) {}

func wake(uintptr, int) bool { return false }
