//go:build unix && !linux

package standpipe

import "golang.org/x/sys/unix"

const (
	maxPath   = 103 // sun_path has 104, with a zero: unix(4)
	sharedDir = "/var/run/standpipe"

	leastBuffer = 64 << 10 // the system's default is 8 KiB
)

func systemRuntimeDir() string { return "" }

// chmodSocket sets the mode of a socket file, and never that of what a symbolic link in its place leads to.
func chmodSocket(path string, mode uint32) error {
	return unix.Fchmodat(unix.AT_FDCWD, path, mode, unix.AT_SYMLINK_NOFOLLOW)
}

func checkAbstract(string) error {
	return &fault{kind: ErrBadName, detail: "abstract sockets are Linux's alone"}
}
