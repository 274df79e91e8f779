package standpipe

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peerIdentity asks the kernel by LOCAL_PEERCRED, which is what getpeereid(3) does: unix(4). The pid is cr_pid of struct
// xucred (<sys/ucred.h>, FreeBSD 13), which shares its place with a pointer, the last field.
func peerIdentity(fd int) (Identity, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return Identity{}, os.NewSyscallError("getsockopt LOCAL_PEERCRED", err)
	}
	if cred.Version != 0 || cred.Ngroups < 1 || int(cred.Ngroups) > len(cred.Groups) {
		return Identity{}, fmt.Errorf("LOCAL_PEERCRED has version %d and %d groups", cred.Version, cred.Ngroups)
	}
	pid := *(*int32)(unsafe.Add(unsafe.Pointer(cred), unsafe.Sizeof(*cred)-unsafe.Sizeof(uintptr(0))))
	groups := cred.Groups[:cred.Ngroups]
	return identityOf(int(pid), cred.Uid, groups[0], groups[1:]), nil
}

func peerProgram(_, pid int) (string, error) {
	if pid == 0 {
		return "", fmt.Errorf("the process is not visible from here: %w", errors.ErrUnsupported)
	}
	path, err := unix.SysctlRaw("kern.proc.pathname", pid)
	if err != nil {
		return "", os.NewSyscallError("sysctl kern.proc.pathname", err)
	}
	return unix.ByteSliceToString(path), nil
}
