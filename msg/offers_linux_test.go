package msg

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe/internal/mem"
)

// memfd is one of a size, with seals.
func memfd(t *testing.T, size int64, seals int) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("offer", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "offer")
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	return f
}

// What a maker could change under the receiver's feet, or what is no memory, is refused when it is offered: the connection dies, and no
// access to it is ever a fault. As a segment for buffers, and as a ring's area.
func TestOffers(t *testing.T) {
	const all = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SEAL
	open := func(t *testing.T, path string, flags int) *os.File {
		t.Helper()
		f, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for name, offer := range map[string]func(t *testing.T, size int64) *os.File{
		"it can be cut":                 func(t *testing.T, size int64) *os.File { return memfd(t, size, all&^unix.F_SEAL_SHRINK) },
		"it can grow":                   func(t *testing.T, size int64) *os.File { return memfd(t, size, all&^unix.F_SEAL_GROW) },
		"its receiver could write":      func(t *testing.T, size int64) *os.File { return memfd(t, size, all&^unix.F_SEAL_FUTURE_WRITE) },
		"its seals may change":          func(t *testing.T, size int64) *os.File { return memfd(t, size, all&^unix.F_SEAL_SEAL) },
		"no seals":                      func(t *testing.T, size int64) *os.File { return memfd(t, size, 0) },
		"it is smaller than it is said": func(t *testing.T, size int64) *os.File { return memfd(t, size-mem.Least, all) },
		"it is larger than it is said":  func(t *testing.T, size int64) *os.File { return memfd(t, size+mem.Least, all) },
		"it is empty":                   func(t *testing.T, size int64) *os.File { return memfd(t, 0, all) },
		"a file": func(t *testing.T, size int64) *os.File {
			f := open(t, filepath.Join(t.TempDir(), "file"), os.O_RDWR|os.O_CREATE)
			if err := f.Truncate(size); err != nil {
				t.Fatal(err)
			}
			return f
		},
		"a device": func(t *testing.T, size int64) *os.File { return open(t, "/dev/zero", os.O_RDWR) },
		"a folder": func(t *testing.T, size int64) *os.File { return open(t, "/", os.O_RDONLY) },
	} {
		for _, ring := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				a, b := sharers(t, nil)
				size := int64(64 << 10)
				if ring {
					size += 4096 // the area's head
				}
				if err := a.w.announce(segmentFrame{number: 1, ring: ring, size: uint64(size)}, offer(t, size)); err != nil {
					t.Fatal(err)
				}
				a.w.flush()
				time.AfterFunc(10*time.Second, func() { b.Close() })
				_, err := b.Recv()
				var pe *ProtocolError
				if !errors.As(err, &pe) || pe.Remote || !strings.Contains(pe.Text, "segment 1") {
					t.Error(err)
				}
			})
		}
	}
}
