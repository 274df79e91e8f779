package mem

import (
	"crypto/rand"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kind is what the hello calls segments of this system. "": there are none.
const Kind = "shm"

// create makes an object by shm_open(2), which has a name for a moment. It is opened once more, for reading, before the name goes:
// that is what the other side gets. Its size can be set once only (ftruncate(2) of a shared memory object).
func create(size int) (*Segment, error) {
	name, err := unix.BytePtrFromString("/standpipe-" + rand.Text()[:16]) // at most PSHMNAMLEN, 31
	if err != nil {
		return nil, err
	}
	fd, err := shmOpen(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	reading, err := shmOpen(name, unix.O_RDONLY|unix.O_CLOEXEC)
	//lint:ignore SA1019 as in shmOpen
	if _, _, e := unix.Syscall(unix.SYS_SHM_UNLINK, uintptr(unsafe.Pointer(name)), 0, 0); err == nil && e != 0 {
		err = os.NewSyscallError("shm_unlink", e)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(reading), "segment")
	var b []byte
	if err = unix.Ftruncate(fd, int64(size)); err == nil {
		b, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Segment{b, f}, nil
}

func shmOpen(name *byte, flags int) (int, error) {
	//lint:ignore SA1019 x/sys has no wrapper; Syscall goes through libSystem's syscall(2)
	fd, _, e := unix.Syscall(unix.SYS_SHM_OPEN, uintptr(unsafe.Pointer(name)), uintptr(flags), 0o600)
	if e != 0 {
		return -1, os.NewSyscallError("shm_open", e)
	}
	unix.CloseOnExec(int(fd))
	return int(fd), nil
}

// mapFile takes shared memory objects only: a file's size could change. An object has no type of file (S_IFMT).
func mapFile(f *os.File, size int) (*Segment, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var s *Segment
	cerr := raw.Control(func(fd uintptr) {
		var st unix.Stat_t
		if err = unix.Fstat(int(fd), &st); err != nil || st.Size < int64(size) || st.Mode&unix.S_IFMT != 0 {
			err = ErrNotSealed
			return
		}
		var b []byte
		if b, err = unix.Mmap(int(fd), 0, size, unix.PROT_READ, unix.MAP_SHARED); err == nil {
			s = &Segment{bytes: b}
		}
	})
	if err == nil {
		err = cerr
	}
	return s, err
}

func unmap(b []byte) { unix.Munmap(b) }

func protect(b []byte, on, writable bool) {
	prot := unix.PROT_NONE
	if !on {
		if prot = unix.PROT_READ; writable {
			prot |= unix.PROT_WRITE
		}
	}
	unix.Mprotect(b, prot)
}
