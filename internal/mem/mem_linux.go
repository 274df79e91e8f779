package mem

import (
	"os"

	"golang.org/x/sys/unix"
)

// Kind is what the hello calls segments of this system. "": there are none.
const Kind = "memfd"

// seals: the size stays, nobody but who has mapped it by now can ever write to it, and that stays. FUTURE_WRITE needs Linux 5.1;
// see memfd_create(2) and fcntl(2).
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SEAL

const hugePage = 2 << 20

func create(size int) (*Segment, error) {
	fd, err := unix.MemfdCreate("standpipe", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("standpipe", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "segment")
	var b []byte
	if err = unix.Ftruncate(fd, int64(size)); err == nil {
		b, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		if b != nil {
			unix.Munmap(b)
		}
		f.Close()
		return nil, err
	}
	advise(b)
	return &Segment{b, f}, nil
}

func mapFile(f *os.File, size int) (*Segment, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var s *Segment
	cerr := raw.Control(func(p uintptr) {
		fd := int(p)
		var have int
		if have, err = unix.FcntlInt(p, unix.F_GET_SEALS, 0); err != nil || have&seals != seals {
			err = ErrNotSealed
			return
		}
		var st unix.Stat_t
		if err = unix.Fstat(fd, &st); err != nil || st.Size != int64(size) {
			err = ErrNotSealed
			return
		}
		var b []byte
		if b, err = unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED); err == nil {
			advise(b)
			s = &Segment{bytes: b}
		}
	})
	if err == nil {
		err = cerr
	}
	return s, err
}

// advise asks for huge pages where much is to be moved: fewer faults. Pages of the administrator's own pool (MFD_HUGETLB) are left to those whom
// they were reserved for.
func advise(b []byte) {
	if len(b) >= 2*hugePage {
		unix.Madvise(b, unix.MADV_HUGEPAGE) // a hint
	}
	unix.Madvise(b, unix.MADV_DONTDUMP)
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
