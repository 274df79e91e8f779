package msg_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sealedBy is memory with some of the seals.
func sealedBy(t testing.TB, size int64, how string) *os.File {
	fd, err := unix.MemfdCreate("vector", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "vector")
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if how == "none" {
		return f
	}
	seals := 0
	for name := range strings.SplitSeq(how, "+") {
		seal := map[string]int{"shrink": unix.F_SEAL_SHRINK, "grow": unix.F_SEAL_GROW, "future-write": unix.F_SEAL_FUTURE_WRITE, "seal": unix.F_SEAL_SEAL}[name]
		if seal == 0 {
			t.Fatalf("nobody knows the seal %q", name)
		}
		seals |= seal
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	return f
}
