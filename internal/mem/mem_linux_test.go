package mem

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// The receiver can do nothing to the memory, and nor can the maker to its size.
func TestSeals(t *testing.T) {
	made, err := Create(4 * Least)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	fd := int(made.file.Fd())
	for what, err := range map[string]error{
		"cut":     unix.Ftruncate(fd, Least),
		"grow":    unix.Ftruncate(fd, 8*Least),
		"write":   func() error { _, err := unix.Pwrite(fd, []byte("x"), 0); return err }(),
		"extend":  unix.Fallocate(fd, 0, 0, 8*Least),
		"punch":   unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, Least),
		"map":     func() error { _, err := unix.Mmap(fd, 0, Least, unix.PROT_WRITE, unix.MAP_SHARED); return err }(),
		"unseal":  func() error { _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); return err }(),
		"protect": func() error { return unix.Mprotect(mapped(t, made), unix.PROT_READ|unix.PROT_WRITE) }(),
	} {
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Who has got it may open it again, with any right that the owner of the file has: that does not help.
func TestReopened(t *testing.T) {
	made, err := Create(4 * Least)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	for _, flags := range []int{unix.O_RDWR, unix.O_WRONLY, unix.O_RDWR | unix.O_TRUNC} {
		fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", made.file.Fd()), flags|unix.O_CLOEXEC, 0)
		if err != nil {
			if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
				t.Errorf("open with %#x: %v", flags, err)
			}
			continue
		}
		for what, err := range map[string]error{
			"cut":   unix.Ftruncate(fd, Least),
			"write": func() error { _, err := unix.Pwrite(fd, []byte("x"), 0); return err }(),
			"punch": unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, Least),
			"map": func() error {
				_, err := unix.Mmap(fd, 0, Least, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				return err
			}(),
		} {
			if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
				t.Errorf("opened with %#x, %s: %v", flags, what, err)
			}
		}
		unix.Close(fd)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(made.file.Fd()), &st); err != nil || st.Size != 4*Least {
		t.Error(st.Size, err)
	}
}

func mapped(t *testing.T, made *Segment) []byte {
	t.Helper()
	taken, err := Map(dup(t, made.file), int64(len(made.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(taken.Close)
	return taken.Bytes()
}

// Each seal is wanted.
func TestUnsealed(t *testing.T) {
	all := []int{unix.F_SEAL_SHRINK, unix.F_SEAL_GROW, unix.F_SEAL_FUTURE_WRITE, unix.F_SEAL_SEAL}
	for without := range all {
		fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "test")
		if err := f.Truncate(Least); err != nil {
			t.Fatal(err)
		}
		some := 0
		for i, seal := range all {
			if i != without {
				some |= seal
			}
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, some); err != nil {
			t.Fatal(err)
		}
		if s, err := Map(f, Least); !errors.Is(err, ErrNotSealed) {
			s.Close()
			t.Errorf("without seal %#x: %v", all[without], err)
		}
	}
}
