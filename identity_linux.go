package standpipe

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
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
	return unmapped().strip(identityOf(int(cred.Pid), cred.Uid, cred.Gid, groups)), nil
}

// overflow is what the kernel says for users and groups that this user namespace does not know (user_namespaces(7)): all
// of them the same one, which must not pass for whoever has that number here. Both are empty where all ids are known.
type overflow struct{ uid, gid string }

var unmapped = sync.OnceValue(func() overflow {
	o := overflow{uid: "65534", gid: "65534"}
	all := func(file string) bool {
		b, err := os.ReadFile(file)
		return err == nil && slices.Equal(strings.Fields(string(b)), []string{"0", "0", "4294967295"})
	}
	number := func(file string, into *string) {
		if b, err := os.ReadFile(file); err == nil {
			*into = strings.TrimSpace(string(b))
		}
	}
	number("/proc/sys/kernel/overflowuid", &o.uid)
	number("/proc/sys/kernel/overflowgid", &o.gid)
	if all("/proc/self/uid_map") {
		o.uid = ""
	}
	if all("/proc/self/gid_map") {
		o.gid = ""
	}
	return o
})

// strip takes out of an identity what nobody vouches for.
func (o overflow) strip(id Identity) Identity {
	if o.uid != "" && id.User == o.uid {
		id.User = ""
	}
	if o.gid != "" {
		id.Groups = slices.DeleteFunc(id.Groups, func(g string) bool { return g == o.gid })
	}
	return id
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
