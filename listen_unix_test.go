//go:build unix

package standpipe_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/standpipe/standpipe"
	"github.com/standpipe/standpipe/pipetest"
	"golang.org/x/sys/unix"
)

// folder is a short one, since a socket's path has little room, closed to others, and trusted by Listen.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// staleSocket leaves a socket as a server without a lock file does that was killed.
func staleSocket(t testing.TB, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

// TestListenForeign: what is no dead socket of ours is never removed, and each case says what it is.
func TestListenForeign(t *testing.T) {
	for name, c := range map[string]struct {
		make  func(path string) error
		words string
		dial  string
	}{
		"file":      {func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) }, "not-socket", "not-socket"},
		"folder":    {func(p string) error { return os.Mkdir(p, 0o700) }, "not-socket", "not-socket"},
		"fifo":      {func(p string) error { return unix.Mkfifo(p, 0o600) }, "not-socket", "not-socket"},
		"dead link": {func(p string) error { return os.Symlink(p+".elsewhere", p) }, "not-socket", "no-server"},
		"link": {func(p string) error {
			staleSocket(t, p+".real")
			return os.Symlink(p+".real", p)
		}, "not-socket", "stale"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder(t), "x.sock")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := standpipe.Dial(soon(t), path, nil); verdict(err) != c.dial {
				t.Errorf("Dial: %v", err)
			}
			for range 2 {
				ln, err := standpipe.Listen(path, nil)
				if err == nil {
					ln.Close()
				}
				if verdict(err) != c.words {
					t.Errorf("Listen: %v", err)
				}
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("it is not there any more: %v", err)
			}
			if _, err := os.Lstat(path + ".lock"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the lock file was left: %v", err)
			}
		})
	}
}

// TestListenStale: a dead server's socket is told from a missing one by Dial, and taken over by Listen.
func TestListenStale(t *testing.T) {
	path := filepath.Join(folder(t), "x.sock")
	staleSocket(t, path)
	_, err := standpipe.Dial(soon(t), path, nil)
	if verdict(err) != "stale" || !errors.Is(err, standpipe.ErrNoServer) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial: %v", err)
	}
	ln, err := standpipe.Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := serve(ln)
	if err := ask(soon(t), path, "new"); err != nil {
		t.Error(err)
	}
	stop()
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("after Close there is %v", left)
	}
}

// TestListenOther: a living server of another make, without a lock file, keeps its name.
func TestListenOther(t *testing.T) {
	for _, network := range []string{"unix", "unixpacket"} {
		path := filepath.Join(folder(t), "x.sock")
		other, err := net.Listen(network, path)
		if err != nil {
			if network == "unixpacket" && !messagesWork {
				continue
			}
			t.Fatal(err)
		}
		defer other.Close()
		if _, err := standpipe.Listen(path, nil); verdict(err) != "in-use" {
			t.Errorf("%s: %v", network, err)
		}
		c, err := net.Dial(network, path)
		if err != nil {
			t.Fatalf("%s: the other server is gone: %v", network, err)
		}
		c.Close()
	}
}

// TestListenReplaced: Close removes its own socket only, not what somebody has put in its place.
func TestListenReplaced(t *testing.T) {
	path := filepath.Join(folder(t), "x.sock")
	ln, err := standpipe.Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("Close has removed another's file: %v", err)
	}
}

// TestListenLock: a lock file that is a link, a folder or has a second name is not used, and what it leads to is not touched.
func TestListenLock(t *testing.T) {
	for name, plant := range map[string]func(lock, victim string) error{
		"link":      func(lock, victim string) error { return os.Symlink(victim, lock) },
		"hard link": func(lock, victim string) error { return os.Link(victim, lock) },
		"folder":    func(lock, _ string) error { return os.Mkdir(lock, 0o700) },
		"fifo":      func(lock, _ string) error { return unix.Mkfifo(lock, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			path, victim := filepath.Join(dir, "x.sock"), filepath.Join(dir, "victim")
			if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := plant(path+".lock", victim); err != nil {
				t.Fatal(err)
			}
			ln, err := standpipe.Listen(path, nil)
			if err == nil {
				ln.Close()
				t.Error("Listen has used it")
			}
			if b, err := os.ReadFile(victim); string(b) != "precious" {
				t.Errorf("the file behind it has %q, %v", b, err)
			}
		})
	}
}

// TestListenMode: who may connect, by the file's mode; it does not depend on the umask.
func TestListenMode(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	for policy, mode := range map[string]fs.FileMode{
		"self": 0o600, "anyone": 0o666, "group:" + fmt.Sprint(os.Getegid()): 0o660, "self,group:" + fmt.Sprint(os.Getegid()): 0o660,
	} {
		for _, mask := range []int{0, 0o777} {
			path := filepath.Join(folder(t), "x.sock")
			p, err := standpipe.ParsePolicy(policy)
			if err != nil {
				t.Fatal(err)
			}
			unix.Umask(mask)
			ln, err := standpipe.Listen(path, &standpipe.ListenConfig{Policy: p})
			unix.Umask(old)
			if err != nil {
				t.Fatalf("%s with umask %#o: %v", policy, mask, err)
			}
			fi, err := os.Lstat(path)
			if err != nil || fi.Mode().Perm() != mode {
				t.Errorf("%s with umask %#o: the mode is %v, %v, want %v", policy, mask, fi.Mode(), err, mode)
			}
			if fi, err := os.Lstat(path + ".lock"); err != nil || fi.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s with umask %#o: the lock file: %v, %v", policy, mask, fi, err)
			}
			ln.Close()
		}
	}
}

// TestListenFolder: this user's folder must be this user's, real, and closed.
func TestListenFolder(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(dir string) error
		want  string
	}{
		"missing":  {func(string) error { return nil }, "served"},
		"right":    {func(dir string) error { return os.Mkdir(dir, 0o700) }, "served"},
		"open":     {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)) }, "denied"},
		"writable": {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o720)) }, "denied"},
		"file":     {func(dir string) error { return os.WriteFile(dir, nil, 0o700) }, "denied"},
		"link": {func(dir string) error {
			return errors.Join(os.Mkdir(dir+".real", 0o700), os.Symlink(dir+".real", dir))
		}, "denied"},
	} {
		t.Run(name, func(t *testing.T) {
			runtime := folder(t)
			t.Setenv("XDG_RUNTIME_DIR", runtime)
			if err := c.plant(filepath.Join(runtime, "standpipe")); err != nil {
				t.Fatal(err)
			}
			ln, err := standpipe.Listen(pipetest.Name(t), nil)
			got := "served"
			if err != nil {
				got = verdict(err)
			} else {
				if fi, err := os.Lstat(filepath.Dir(ln.Addr().String())); err != nil || fi.Mode() != fs.ModeDir|0o700 {
					t.Errorf("the folder: %v, %v", fi, err)
				}
				ln.Close()
			}
			if got != c.want {
				t.Errorf("%s, %v; want %s", got, err, c.want)
			}
		})
	}
}

// TestListenOpenFolder: a path is not listened on where everybody could replace the socket.
func TestListenOpenFolder(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{
		0o700: "", 0o755: "", 0o777 | fs.ModeSticky: "", 0o777: "denied", 0o702: "denied",
	} {
		dir := filepath.Join(folder(t), "d")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		ln, err := standpipe.Listen(filepath.Join(dir, "x.sock"), nil)
		if err == nil {
			ln.Close()
		}
		if err != nil && verdict(err) != want || err == nil && want != "" {
			t.Errorf("%v: %v, want %q", mode, err, want)
		}
	}
}

// TestListenLong: the length is checked before the kernel is asked, and the error has the numbers.
func TestListenLong(t *testing.T) {
	dir := folder(t)
	fits := dir + "/" + strings.Repeat("x", maxPath-len(dir)-1)
	ln, err := standpipe.Listen(fits, nil)
	if err != nil {
		t.Fatalf("%d bytes: %v", len(fits), err)
	}
	stop := serve(ln)
	if err := ask(soon(t), fits, "long"); err != nil {
		t.Error(err)
	}
	stop()
	_, lerr := standpipe.Listen(fits+"x", nil)
	_, derr := standpipe.Dial(soon(t), fits+"x", nil)
	_, perr := standpipe.ParseAddr(fits + "x")
	for _, err := range []error{lerr, derr, perr} {
		if verdict(err) != "too-long" || !errors.Is(err, standpipe.ErrBadName) || !strings.Contains(err.Error(), fmt.Sprint(maxPath)) {
			t.Errorf("%v", err)
		}
	}
}

// TestShortenedName: a personal name whose path is too long is shortened, reached by its name, and listed whole.
func TestShortenedName(t *testing.T) {
	runtime := filepath.Join(folder(t), strings.Repeat("d", 30))
	if err := os.Mkdir(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	names := []string{strings.Repeat("n", 128), strings.Repeat("n", 127) + "m", "short"}
	paths := map[string]bool{}
	for _, name := range names {
		ln, err := standpipe.Listen(strings.ToUpper(name), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer serve(ln)()
		if err := ask(soon(t), name, "here"); err != nil {
			t.Error(err)
		}
		path := ln.Addr().String()
		if len(path) > maxPath || paths[path] {
			t.Errorf("%s is not a path of its own, of %d bytes at most", path, maxPath)
		}
		paths[path] = true
		if err := ask(soon(t), path, "by path"); err != nil {
			t.Error(err)
		}
	}
	got := listed(t)
	for _, name := range names {
		if a, err := standpipe.ParseAddr(name); err != nil || !got[a] {
			t.Errorf("List does not show %q: %v", name, got)
		}
	}
	t.Setenv("XDG_RUNTIME_DIR", "/tmp/"+strings.Repeat("d", 100))
	if _, err := standpipe.ParseAddr(names[0]); verdict(err) != "too-long" {
		t.Errorf("a folder that leaves no room: %v", err)
	}
}

// TestListenRaces: processes that want a dead server's name at the same moment: one gets it, each time.
func TestListenRaces(t *testing.T) {
	const rounds, contenders = 300, 3
	path := filepath.Join(folder(t), "x.sock")
	var racers []*child
	for range contenders {
		racers = append(racers, spawn(t, nil, "race", path))
	}
	for round := range rounds {
		staleSocket(t, path)
		for _, r := range racers {
			r.tell(t, "listen")
		}
		won := 0
		for _, r := range racers {
			switch line, _, _ := strings.Cut(r.line(t), " "); line {
			case "won":
				won++
			case "in-use":
			default:
				t.Fatalf("round %d: %s", round, line)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d have the name", round, won)
		}
		for _, r := range racers {
			r.tell(t, "close")
		}
		for _, r := range racers {
			if line := r.line(t); line != "done" {
				t.Fatal(line)
			}
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("round %d: the socket is still there: %v", round, err)
		}
	}
}
