package standpipe

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	maxPath   = 107 // sun_path has 108, with a zero: unix(7)
	sharedDir = "/run/standpipe"

	leastBuffer = 0 // the system's default is more than 64 KiB
)

// systemRuntimeDir is what XDG_RUNTIME_DIR is in a login session, for programs that have lost it (su, cron).
func systemRuntimeDir() string { return fmt.Sprintf("/run/user/%d", os.Geteuid()) }

// chmodSocket sets the mode of a socket file, and never that of what a symbolic link in its place leads to.
func chmodSocket(path string, mode uint32) error {
	err := unix.Fchmodat(unix.AT_FDCWD, path, mode, unix.AT_SYMLINK_NOFOLLOW)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) // before Linux 6.6 there is no fchmodat2(2)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return unix.ENOTSOCK
	}
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
}

// checkAbstract: an abstract name has the same room as a path, the first byte being zero.
func checkAbstract(name string) error {
	if name == "@" {
		return &fault{kind: ErrBadName, detail: "nothing follows the @"}
	}
	return checkLength(name)
}
