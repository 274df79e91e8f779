//go:build unix

package mem

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func dup(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "received")
}

func handover(_ *testing.T, f *os.File) *os.File { return f }
