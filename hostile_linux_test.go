package standpipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What hostile users of the same machine may try. Each test failed before its mending.

// hers makes a folder below dir that belongs to another user.
func hers(t *testing.T, dir string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make another user's folder")
	}
	p := filepath.Join(dir, "hers")
	if err := errors.Join(os.Mkdir(p, 0o755), os.Chown(p, 12345, 12345)); err != nil {
		t.Fatal(err)
	}
	return p
}

// A link on the way that another user may change must not lead root's socket anywhere.
func TestForeignLink(t *testing.T) {
	dir := t.TempDir()
	folder := hers(t, dir)
	safe := filepath.Join(dir, "safe")
	link, own := filepath.Join(folder, "link"), filepath.Join(dir, "own")
	if err := errors.Join(os.Mkdir(safe, 0o755), os.Symlink(safe, link), os.Symlink(folder, own)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link + "/sock", folder + "/sock", own + "/link/sock", own + "/sock"} {
		if _, err := Listen(path, nil); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("safe", own); err != nil { // ours, and relative
		t.Fatal(err)
	}
	l, err := Listen(own+"/sock", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := os.Lstat(safe + "/sock"); err != nil {
		t.Error(err)
	}
	if err := os.Lchown(own, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(own+"/sock2", nil); !errors.Is(err, ErrDenied) {
		t.Errorf("another user's link: %v", err)
	}
}

func TestUncleanPath(t *testing.T) {
	for _, p := range []string{"/run/a/../sock", "/run/./sock", "/run//sock"} {
		if _, err := ParseAddr(p); !errors.Is(err, ErrBadName) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// What was written before Close arrives, also where the writer left something unread.
func TestMessagesBeforeReset(t *testing.T) {
	l, err := Listen("@"+t.Name()+fmt.Sprint(os.Getpid()), &ListenConfig{Messages: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(t.Context(), l.Addr().String(), &DialConfig{Messages: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	for _, m := range []string{"one", "two"} {
		if _, err := c.Write([]byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Read(b); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("reply")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if n, err := c.Read(b); string(b[:n]) != "reply" || err != nil {
		t.Fatalf("%q, %v", b[:n], err)
	}
	if n, err := c.Read(b); n != 0 || err != io.EOF {
		t.Fatalf("%q, %v", b[:n], err)
	}
}

// Files that come with an empty message are not left open.
func TestEmptyMessageWithFiles(t *testing.T) {
	name := "@" + t.Name() + fmt.Sprint(os.Getpid())
	l, err := Listen(name, &ListenConfig{Messages: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	before := count()
	for range 3 {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: name}); err != nil {
			t.Fatal(err)
		}
		c, err := l.AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		oob := unix.UnixRights(0, 1, 2)
		h := unix.Msghdr{Control: &oob[0]} // unix.Sendmsg would add a byte
		h.SetControllen(len(oob))
		if _, _, e := syscall.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)), 0); e != 0 {
			t.Fatal(e)
		}
		if n, files, err := c.ReadHandles(make([]byte, 8)); n != 0 || len(files) != 0 || err != io.EOF {
			t.Errorf("%d bytes, %d files, %v", n, len(files), err)
		}
		c.Close()
		unix.Close(fd)
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors became %d", before, after)
	}
}

// In a user namespace, all whom it does not know have one number. It must not pass for a user.
func TestOverflowIDs(t *testing.T) {
	o := overflow{"65534", "65533"}
	id := o.strip(Identity{PID: 1, User: "65534", Groups: []string{"65533", "5"}})
	if id.User != "" || len(id.Groups) != 1 || Anyone().Admits(id) || Group("5").Admits(id) || User("65534").Admits(id) {
		t.Errorf("%+v", id)
	}
	if id := (overflow{}).strip(Identity{User: "65534", Groups: []string{"65534"}}); id.User != "65534" || len(id.Groups) != 1 {
		t.Errorf("where all ids are known: %+v", id)
	}
}

// Clients whom the policy refuses are turned away also while MaxConns is reached.
func TestRefusedDoNotWait(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be two users")
	}
	path := filepath.Join(t.TempDir(), "s")
	for d := filepath.Dir(path); strings.HasPrefix(d, os.TempDir()) && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Listen(path, &ListenConfig{Policy: User("2", "3").Or(Policy{}), MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first, err := Dial(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := l.AcceptConn(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := l.AcceptConn(); ended <- err }()
	stranger := connectAs(t, path, 12345)
	if n, err := stranger.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("a stranger reads %d bytes, %v", n, err)
	}
	stranger.Close()
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// connectAs connects as another user: the thread is given up for it.
func connectAs(t *testing.T, path string, uid int) net.Conn {
	t.Helper()
	type result struct {
		c   net.Conn
		err error
	}
	ch := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); e != 0 {
			ch <- result{nil, e}
			return
		}
		c, err := net.Dial("unix", path)
		ch <- result{c, err}
	}()
	r := <-ch
	if r.err != nil {
		t.Fatal(r.err)
	}
	r.c.SetDeadline(time.Now().Add(5 * time.Second))
	return r.c
}

func TestPolicyTexts(t *testing.T) {
	for _, p := range []Policy{User("alice,anyone"), User(" root"), Group("a,b"), User(), Group(), User().Or(Group())} {
		if _, err := Listen("shared:x", &ListenConfig{Policy: p}); err == nil || errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v: %v", p, err)
		}
		if p.Admits(Identity{User: currentUser()}) {
			t.Errorf("%v admits this user", p)
		}
	}
}

func TestCauseOfContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(net.ErrClosed)
	_, err := Dial(ctx, "@nobody-"+fmt.Sprint(os.Getpid()), &DialConfig{Wait: true})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
