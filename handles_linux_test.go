package standpipe_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHandlesMemory: memory without a name goes to another process, sealed.
func TestHandlesMemory(t *testing.T) {
	fd, err := unix.MemfdCreate("handles", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memory")
	defer f.Close()
	if _, err := f.WriteString("shared-memory"); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		t.Fatal(err)
	}
	c, p := taker(t)
	if _, err := c.WriteHandles([]byte("m"), f); err != nil {
		t.Fatal(err)
	}
	if got := p.line(t); got != "1 1 shared-memory/true" {
		t.Errorf("the other process got %q", got)
	}
	// Seals go with the memory.
	a, b := pipePair(t)
	if _, err := a.WriteHandles([]byte("m"), f); err != nil {
		t.Fatal(err)
	}
	_, files, err := b.ReadHandles(make([]byte, 1))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	defer files[0].Close()
	if err := files[0].Truncate(0); err == nil {
		t.Error("its receiver could shrink it")
	}
}
