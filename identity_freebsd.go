package standpipe

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peerIdentity: the pid is cr_pid of struct xucred (FreeBSD 13), which shares its place with a pointer, the last field.
func peerIdentity(fd int) (Identity, error) {
	cred, err := peerCred(fd)
	if err != nil {
		return Identity{}, err
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
