//go:build darwin || freebsd

package standpipe

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// peerCred is LOCAL_PEERCRED, which is what getpeereid(3) asks for: unix(4), <sys/ucred.h>. It has at least one group.
func peerCred(fd int) (*unix.Xucred, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt LOCAL_PEERCRED", err)
	}
	if cred.Version != 0 || cred.Ngroups < 1 || int(cred.Ngroups) > len(cred.Groups) {
		return nil, fmt.Errorf("LOCAL_PEERCRED has version %d and %d groups", cred.Version, cred.Ngroups)
	}
	return cred, nil
}
