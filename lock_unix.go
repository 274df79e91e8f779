//go:build unix

package standpipe

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A lockFile lies beside a socket. Who holds the lock (flock(2), so that the kernel frees it whatever dies) serves the
// socket, or is about to.
type lockFile struct {
	f    *os.File
	path string
}

// lockOf is the path of the lock of the socket at path.
func lockOf(path string) string { return path + lockSuffix }

// takeLock takes the lock, or returns ErrInUse. List holds it for a moment, shared; that is waited out.
func takeLock(path string) (*lockFile, error) {
	for attempt := 0; ; attempt++ {
		f, err := openLock(path, unix.O_RDWR|unix.O_CREAT)
		if err != nil {
			if fi, statErr := os.Lstat(path); statErr == nil && os.IsPermission(err) {
				return nil, foreignLock(path, fi)
			}
			return nil, denied(err, fmt.Sprintf("the lock file %s can't be opened", path))
		}
		if err := ownFile(f); err != nil {
			f.Close()
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && isStill(f, path) {
			return &lockFile{f, path}, nil
		}
		note := readNote(f)
		f.Close()
		switch {
		case err == nil: // its last holder has removed it meanwhile
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, os.NewSyscallError("flock", err)
		case attempt >= 30:
			return nil, &fault{kind: ErrInUse, detail: note.describe(), cause: syscall.EADDRINUSE}
		default:
			time.Sleep(time.Millisecond)
		}
	}
}

// openLock opens a regular file, and no symbolic link. Others may not open it: they could hold the lock for ever.
func openLock(path string, flags int) (*os.File, error) {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EEXIST}
	}
	return f, nil
}

// ownFile refuses a lock file of somebody else's, who could hold it for ever, and one that is also another file.
func ownFile(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if st := fi.Sys().(*syscall.Stat_t); int(st.Uid) != os.Geteuid() || st.Nlink > 1 {
		return foreignLock(f.Name(), fi)
	}
	return nil
}

func foreignLock(path string, fi os.FileInfo) error {
	st := fi.Sys().(*syscall.Stat_t)
	return &fault{kind: ErrInUse, detail: fmt.Sprintf("the lock file %s belongs to user %d and has %d names; it must be this user's, with one", path, st.Uid, st.Nlink)}
}

// isStill says whether f is what lies at path.
func isStill(f *os.File, path string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Lstat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// release removes the file, while the lock is held, and lets go of it.
func (l *lockFile) release() {
	if isStill(l.f, l.path) {
		os.Remove(l.path)
	}
	l.f.Close()
}

// A note is what a lock file says: lines `key: value`.
type note struct {
	name  string // the whole name, where the file's is shortened
	pid   string
	inode string // DEV:INO of the socket
}

func (l *lockFile) write(n note) error {
	text := fmt.Appendf(nil, "name: %s\npid: %s\ninode: %s\n", n.name, n.pid, n.inode)
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt(text, 0)
	return err
}

func readNote(f *os.File) (n note) {
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
		switch k, v, _ := strings.Cut(sc.Text(), ": "); k {
		case "name":
			n.name = v
		case "pid":
			n.pid = v
		case "inode":
			n.inode = v
		}
	}
	return n
}

func (n note) describe() string {
	if n.pid == "" {
		return "another process holds its lock"
	}
	return "process " + n.pid + " serves it"
}

// inodeOf is how a note names a file.
func inodeOf(fi os.FileInfo) string {
	st := fi.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
