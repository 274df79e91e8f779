package pipetest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// mapShared maps shared memory, and returns what undoes it.
func mapShared(t *testing.T) func() {
	fd, err := unix.MemfdCreate("pipetest", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, 4096); err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	unix.Close(fd)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Munmap(b); err != nil {
			t.Error(err)
		}
	}
}
