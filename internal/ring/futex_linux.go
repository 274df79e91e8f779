package ring

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Futexes says whether this system has a way to wake who waits for memory to change. See futex(2): both work on memory that one
// may only read, and across processes without FUTEX_PRIVATE_FLAG.
const Futexes = true

const (
	opWait = 0
	opWake = 1
)

// waitChange waits until the 4 bytes at an address are not v, or somebody wakes who waits for them, or for that long. The kernel looks at them, and begins to
// wait, in one step. It takes a place where there is no memory any more, as wake does.
func waitChange(at uintptr, v uint32, most time.Duration) {
	t := unix.NsecToTimespec(int64(most))
	unix.Syscall6(unix.SYS_FUTEX, at, opWait, uintptr(v), uintptr(unsafe.Pointer(&t)), 0, 0)
}

// wake wakes as many as wait for what is at an address, but most of them, and says whether somebody did.
func wake(at uintptr, most int) bool {
	n, _, err := unix.RawSyscall6(unix.SYS_FUTEX, at, opWake, uintptr(most), 0, 0, 0)
	return err == 0 && n > 0
}
