package standpipe

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peerIdentity asks the kernel who connected or, at the other end, who called listen: unix(7), SO_PEERCRED. The groups
// are the process's, by SO_PEERGROUPS (Linux 4.13), and not those that the user database lists.
func peerIdentity(fd int) (Identity, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Identity{}, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	groups, err := peerGroups(fd)
	if err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		return Identity{}, os.NewSyscallError("getsockopt SO_PEERGROUPS", err)
	}
	return identityOf(int(cred.Pid), cred.Uid, cred.Gid, groups), nil
}

// peerGroups asks with room for 32 groups, and again with as much as the kernel says it needs.
func peerGroups(fd int) ([]uint32, error) {
	groups := make([]uint32, 32)
	for {
		size := uint32(4 * len(groups))
		_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case e == 0:
			return groups[:size/4], nil
		case e != unix.ERANGE || int(size/4) <= len(groups):
			return nil, e
		}
		groups = make([]uint32, size/4)
	}
}

// peerProgram reads what the process runs. With a pidfd of the peer (SO_PEERPIDFD, Linux 6.5) it makes sure that the
// process was still there after its link was read, so that the link is not that of another process with the same pid.
func peerProgram(fd, pid int) (string, error) {
	if pid == 0 {
		return "", fmt.Errorf("the process is not visible from here: %w", errors.ErrUnsupported)
	}
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	switch {
	case err == nil:
		defer unix.Close(pidfd)
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL):
		return "", fmt.Errorf("the process %d is gone: %w", pid, os.ErrNotExist)
	case !errors.Is(err, unix.ENOPROTOOPT): // an older kernel: then the pid is all there is
		return "", os.NewSyscallError("getsockopt SO_PEERPIDFD", err)
	}
	path, readErr := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err == nil {
		if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); errors.Is(err, unix.ESRCH) {
			return "", fmt.Errorf("the process %d is gone: %w", pid, os.ErrNotExist)
		}
	}
	return path, readErr
}
