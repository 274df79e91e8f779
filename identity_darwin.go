package standpipe

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// auditToken is audit_token_t of <bsm/audit.h>: eight words, of which libbsm's audit_token_to_pid and
// audit_token_to_euid read the sixth and the second.
type auditToken [8]uint32

// peerIdentity asks the kernel: LOCAL_PEERCRED for the user and groups, and LOCAL_PEERTOKEN for the process, which is
// that of the same moment, with LOCAL_PEERPID where there is no token.
func peerIdentity(fd int) (Identity, error) {
	cred, err := peerCred(fd)
	if err != nil {
		return Identity{}, err
	}
	groups := cred.Groups[:cred.Ngroups]
	pid := 0
	var token auditToken
	size := uint32(unsafe.Sizeof(token))
	//lint:ignore SA1019 no wrapper of x/sys takes an option of so many bytes; Syscall6 goes through libSystem's syscall(2)
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_LOCAL, unix.LOCAL_PEERTOKEN,
		uintptr(unsafe.Pointer(&token)), uintptr(unsafe.Pointer(&size)), 0)
	if e == 0 && size == uint32(unsafe.Sizeof(token)) && token[1] == cred.Uid {
		pid = int(token[5])
	} else if n, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID); err == nil {
		pid = n
	}
	return identityOf(pid, cred.Uid, groups[0], groups[1:]), nil
}

// peerProgram would need libproc, thus cgo.
func peerProgram(int, int) (string, error) {
	return "", fmt.Errorf("macOS tells it to C programs only: %w", errors.ErrUnsupported)
}
