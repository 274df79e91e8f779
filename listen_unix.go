//go:build unix

package standpipe

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// listener is a Unix socket that listens, with its file and lock; abstract ones have neither.
type listener struct {
	ln       *net.UnixListener
	path     string
	lock     *lockFile // nil: abstract
	inode    string    // of our socket file
	messages bool
	buffer   int
}

// listen makes the socket in this order, so that nobody gets in before the permissions are right, and nobody is robbed of
// his name: the folder, the lock, the probe of what is there, bind, owner and mode, listen.
func listen(addr Addr, cfg ListenConfig, g *guard) (_ *listener, err error) {
	kind, err := socketType(cfg.Messages)
	if err != nil {
		return nil, err
	}
	l := &listener{path: addr.path, messages: cfg.Messages, buffer: cfg.Buffer}
	abstract := addr.path[0] == '@'
	if !abstract {
		if err := makeFolder(addr); err != nil {
			return nil, err
		}
		if l.path, err = safePath(addr.path); err != nil {
			return nil, err
		}
		if l.lock, err = takeLock(lockOf(l.path)); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				l.lock.release()
			}
		}()
		if err := clearStale(l.path, l.lock, kind); err != nil {
			return nil, err
		}
	}
	fd, err := newSocket(kind)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), addr.path)
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: l.path}); err != nil {
		return nil, bindError(l.path, err)
	}
	if !abstract {
		defer func() {
			if err != nil {
				l.unlink()
			}
		}()
		if err := l.settle(addr, g); err != nil {
			return nil, err
		}
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	l.ln = ln.(*net.UnixListener)
	l.ln.SetUnlinkOnClose(false)
	return l, nil
}

// safePath is path with the links in its folders followed, if nobody else can change what it leads to, now or later: each
// folder on the way must be root's or ours, and one that everybody may write to must be sticky; links likewise must be
// root's or ours. Root does not trust groups, either. All that is done to the socket's files is done by this path.
func safePath(path string) (string, error) {
	dir, base := filepath.Split(path)
	at, rest := "/", strings.Split(strings.Trim(dir, "/"), "/")
	for links := 0; ; {
		if err := trusted(at); err != nil {
			return "", err
		}
		if len(rest) == 0 || rest[0] == "" {
			break
		}
		next := filepath.Join(at, rest[0])
		fi, err := os.Lstat(next)
		if err != nil {
			return "", denied(err, "the folder of the socket can't be used")
		}
		rest = rest[1:]
		if fi.Mode()&os.ModeSymlink == 0 {
			at = next
			continue
		}
		if uid := int(fi.Sys().(*syscall.Stat_t).Uid); uid != 0 && uid != os.Geteuid() {
			return "", &fault{kind: ErrDenied, detail: fmt.Sprintf("user %d could lead the socket elsewhere: the link %s is that user's", uid, next)}
		}
		to, err := os.Readlink(next)
		if links++; err != nil || links > 40 {
			return "", &fault{kind: ErrBadName, detail: "its folder has too many links", cause: cmp.Or(err, error(syscall.ELOOP))}
		}
		if to = filepath.Clean(to); filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(strings.Split(strings.Trim(to, "/"), "/"), rest...)
	}
	path = filepath.Join(at, base)
	return path, checkLength(path)
}

// trusted refuses a folder where others could put something in the place of what is in it.
func trusted(dir string) error {
	fi, err := os.Lstat(dir)
	if err != nil {
		return denied(err, "the folder of the socket can't be used")
	}
	writable := os.FileMode(0o002)
	if os.Geteuid() == 0 {
		writable = 0o022
	}
	uid := int(fi.Sys().(*syscall.Stat_t).Uid)
	switch {
	case !fi.IsDir():
		return &fault{kind: ErrBadName, detail: fmt.Sprintf("%s is a %s", dir, kindOf(fi.Mode())), cause: syscall.ENOTDIR}
	case uid != 0 && uid != os.Geteuid() || fi.Mode().Perm()&writable != 0 && fi.Mode()&os.ModeSticky == 0:
		return &fault{kind: ErrDenied, detail: fmt.Sprintf(
			"others could replace the socket: the folder %s belongs to user %d and has the mode %#o", dir, uid, fi.Mode().Perm())}
	}
	return nil
}

// clearStale looks at what lies at path, with the lock held. Only a dead socket that is ours is removed.
func clearStale(path string, lock *lockFile, kind int) error {
	fi, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return denied(err, "what lies at the path can't be seen")
	}
	if fi.Mode()&os.ModeSocket == 0 {
		return &fault{kind: ErrNotSocket, detail: fmt.Sprintf("%s is a %s; it was left alone", path, kindOf(fi.Mode()))}
	}
	if err := probe(path, kind); !errors.Is(err, unix.ECONNREFUSED) {
		detail := fmt.Sprintf("somebody serves %s, without a lock file", path)
		if err != nil {
			detail = fmt.Sprintf("there is a socket at %s, and whether it is served can't be seen", path)
		}
		return &fault{kind: ErrInUse, detail: detail, cause: err}
	}
	st := fi.Sys().(*syscall.Stat_t)
	if int(st.Uid) != os.Geteuid() && readNote(lock.f).inode != inodeOf(fi) {
		return &fault{kind: ErrInUse, detail: fmt.Sprintf("%s is a dead server's socket, but belongs to user %d: that user, or root, must remove it", path, st.Uid)}
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return denied(err, "the socket of a dead server can't be removed")
	}
	return nil
}

// probe connects, and hangs up: nil or EAGAIN say that somebody listens, ECONNREFUSED that nobody does.
func probe(path string, kind int) error {
	fd, err := newSocket(kind)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.EPROTOTYPE) {
		return nil
	}
	return err
}

func newSocket(kind int) (int, error) {
	syscall.ForkLock.RLock() // not every system has SOCK_CLOEXEC
	fd, err := unix.Socket(unix.AF_UNIX, kind, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return 0, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

func bindError(path string, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return &fault{kind: ErrInUse, detail: "somebody else was quicker", cause: err}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS):
		return &fault{kind: ErrDenied, detail: fmt.Sprintf("this process may not make files in %s", filepath.Dir(path)), cause: err}
	}
	return os.NewSyscallError("bind", err)
}

// settle gives the socket its owner, group and mode, between bind and listen, and notes its inode in the lock file.
func (l *listener) settle(addr Addr, g *guard) error {
	fi, err := os.Lstat(l.path)
	if err != nil {
		return err
	}
	l.inode = inodeOf(fi)
	if err := l.lock.write(note{addr.name, strconv.Itoa(os.Getpid()), l.inode}); err != nil {
		return fmt.Errorf("the lock file can't be written: %w", err)
	}
	a := g.unix(currentUser())
	uid, gid := -1, -1 // as they are
	if a.owner != currentUser() {
		uid = chownID(a.owner)
	}
	if a.group != "" {
		gid = chownID(a.group)
	}
	if uid != -1 || gid != -1 {
		err := unix.Lchown(l.path, uid, gid)
		if errors.Is(err, unix.EPERM) { // not root, and not of that group: then the Identity alone decides
			a.mode, err = 0o666, nil
		}
		if err != nil {
			return os.NewSyscallError("lchown", err)
		}
	}
	if err := chmodSocket(l.path, a.mode); err != nil {
		return os.NewSyscallError("chmod", err)
	}
	if fi, err = os.Lstat(l.path); err != nil || inodeOf(fi) != l.inode || fi.Mode()&os.ModeSocket == 0 {
		return &fault{kind: ErrInUse, detail: "somebody has replaced the socket while it was made", cause: err}
	}
	return nil
}

// chownID is an id as chown(2) takes it: 32 bits, whatever an int has.
func chownID(id string) int {
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		panic("standpipe: a guard has an id that is none: " + id) // lookups make them
	}
	return int(uint32(n))
}

func (l *listener) accept() (*endpoint, error) {
	for {
		c, err := l.ln.AcceptUnix()
		if errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return newEndpoint(c, l.messages, l.buffer)
	}
}

// close removes the name first, so that nobody finds a socket that does not answer.
func (l *listener) close() error {
	if l.lock == nil {
		return l.ln.Close()
	}
	l.unlink()
	err := l.ln.Close()
	l.lock.release()
	return err
}

// unlink removes our socket file, and nobody else's.
func (l *listener) unlink() {
	if fi, err := os.Lstat(l.path); err == nil && inodeOf(fi) == l.inode {
		os.Remove(l.path)
	}
}
