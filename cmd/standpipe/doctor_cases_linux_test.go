package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe"
)

// Well ones: ours, and other programs'.
var wellCases = []ailing{
	{name: "a name that is served", flags: patiently, word: "ok", says: []string{"the hello of standpipe's wire, version 1", "standpipe) holds", "it is you"},
		set: func(w *ward) string { w.serve(who{}, "calc"); return "calc" }},
	{name: "its path, with a link on the way", flags: patiently, word: "ok", says: []string{" -> ../dir/../run"},
		set: func(w *ward) string {
			w.serve(who{}, "calc")
			w.mkdir(0o755, 0, "dir")
			w.must(os.Symlink("../dir/../run", w.path("dir", "link")))
			return w.path("dir", "link", "standpipe", "calc.sock")
		}},
	{name: "another program's, which says nothing", flags: calmly, word: "ok", says: []string{"waiting for the client to begin"},
		set: func(w *ward) string { return w.listen(w.path("s"), 0o600, 0, "") }},
	{name: "another program's, which speaks first", flags: patiently, word: "ok", says: []string{"220 smtp", "another protocol"},
		set: func(w *ward) string { return w.listen(w.path("s"), 0o600, 0, "220 smtp\r\n") }},
	{name: "an abstract one", flags: patiently, word: "ok", says: []string{"the hello of"},
		set: func(w *ward) string {
			name := "@" + filepath.Base(w.dir)
			w.serve(who{}, name)
			return name
		}},
	{name: "another user's, by another program", root: true, as: who{uid: alice}, flags: calmly, word: "ok", says: []string{"not by the default policy of Dial"},
		set: func(w *ward) string {
			return w.foreign(who{uid: bob}, "0666")
		}},
}

// What is wrong with the path itself.
var pathCases = []ailing{
	{name: "nobody has that name", flags: patiently, word: "missing", code: 3, says: []string{"Wait: true", "calc was meant"},
		set: func(w *ward) string { w.serve(who{}, "calc"); return "clac" }},
	{name: "no file at that path", flags: calmly, word: "missing", code: 3, set: func(w *ward) string { return w.path("s") }},
	{name: "nobody has that abstract name", flags: calmly, word: "missing", code: 3, set: func(w *ward) string { return "@" + filepath.Base(w.dir) }},
	{name: "no folder", flags: calmly, word: "no-folder", code: 3, heal: "mkdir -p", healed: "missing",
		set: func(w *ward) string { return w.path("a", "b", "s") }},
	{name: "no shared name's folder", flags: calmly, word: "no-folder", code: 3, says: []string{"RuntimeDirectory=standpipe/sptest-none"},
		set: func(*ward) string { return "shared:sptest-none" }},
	{name: "a link to nothing", flags: calmly, word: "dangling", code: 3, says: []string{"not there"},
		set: func(w *ward) string {
			w.must(os.Symlink("gone", w.path("s")))
			return w.path("s")
		}},
	{name: "a folder that is a link to nothing", flags: calmly, word: "dangling", code: 3,
		set: func(w *ward) string {
			w.must(os.Symlink("/nonexistent/dir", w.path("d")))
			return w.path("d", "s")
		}},
	{name: "links in a circle", flags: calmly, word: "link-loop", code: 1, heal: "rm ", healed: "missing",
		set: func(w *ward) string {
			w.must(os.Symlink("b", w.path("a")))
			w.must(os.Symlink("a", w.path("b")))
			return w.path("a")
		}},
	{name: "a file in the place of a folder", flags: calmly, word: "not-folder", code: 1, says: []string{"regular file"},
		set: func(w *ward) string {
			w.must(os.WriteFile(w.path("f"), nil, 0o600))
			return w.path("f", "s")
		}},
	{name: "a file", flags: calmly, word: "not-socket", code: 1, says: []string{"regular file"},
		set: func(w *ward) string {
			w.must(os.WriteFile(w.path("f"), nil, 0o600))
			return w.path("f")
		}},
	{name: "a folder", flags: calmly, word: "not-socket", code: 1, says: []string{"is a folder"},
		set: func(w *ward) string { return w.path("run") }},
	{name: "a FIFO", flags: calmly, word: "not-socket", code: 1, says: []string{"mkfifo"},
		set: func(w *ward) string {
			w.must(unix.Mkfifo(w.path("f"), 0o600))
			return w.path("f")
		}},
	{name: "a device", flags: calmly, word: "not-socket", code: 1, says: []string{"device"}, set: func(*ward) string { return "/dev/null" }},
	{name: "a path that is too long", flags: calmly, word: "too-long", code: 2, says: []string{"107"},
		set: func(w *ward) string { return w.path(strings.Repeat("x", 107)) }},
	{name: "a bad name", flags: calmly, word: "bad-name", code: 2, set: func(*ward) string { return "calc!" }},
	{name: "a relative path", flags: calmly, word: "bad-name", code: 2, says: []string{"standpipe doctor /tmp/"},
		set: func(w *ward) string { return "./s" }},
	{name: "a pipe's path", flags: calmly, word: "bad-name", code: 2, says: []string{"Windows'"}, set: func(*ward) string { return `\\.\pipe\docker_engine` }},
	{name: "another machine's pipe", flags: calmly, word: "remote", code: 2, set: func(*ward) string { return `\\server\pipe\x` }},
}

// What is wrong with the server, or how it was left.
var serverCases = []ailing{
	{name: "a server that was killed", flags: calmly, word: "stale", code: 3, says: []string{"nobody who can be seen holds", "takes the name over"},
		set: func(w *ward) string { w.kill(w.serve(who{}, "calc")); return "calc" }},
	{name: "another program that was killed", flags: calmly, word: "stale", code: 3, heal: "rm ", healed: "missing",
		set: func(w *ward) string { return w.dead(w.path("it's dead")) }},
	{name: "bound, and not listening", flags: calmly, word: "not-listening", code: 3, says: []string{"process "},
		set: func(w *ward) string { w.socket(unix.SOCK_STREAM, w.path("s"), -1); return w.path("s") }},
	{name: "our server's file was removed", flags: calmly, word: "removed", code: 3, says: []string{"standpipe) serves"},
		set: func(w *ward) string {
			w.serve(who{}, "calc")
			w.must(os.Remove(w.path("run", "standpipe", "calc.sock")))
			return "calc"
		}},
	{name: "our server's files were removed", flags: calmly, word: "removed", code: 3, says: []string{"standpipe) serves"},
		set: func(w *ward) string {
			w.serve(who{}, "calc")
			w.must(os.RemoveAll(w.path("run", "standpipe")))
			return "calc"
		}},
	{name: "another program's file was removed", flags: calmly, word: "removed", code: 3, says: []string{"restart"},
		set: func(w *ward) string {
			path := w.listen(w.path("s"), 0o600, 0, "")
			w.must(os.Remove(path))
			return path
		}},
	{name: "its file was removed, and the path has a link", flags: calmly, word: "removed", code: 3, says: []string{"restart"},
		set: func(w *ward) string {
			w.must(os.Symlink(w.mkdir(0o755, 0, "d"), w.path("link")))
			w.must(os.Remove(w.listen(w.path("d", "s"), 0o600, 0, "")))
			return w.path("link", "s")
		}},
	{name: "another socket in its place", flags: calmly, word: "removed", code: 3, says: []string{"in its place"},
		set: func(w *ward) string {
			path := w.listen(w.path("s"), 0o600, 0, "")
			w.must(os.Remove(path))
			return w.dead(path)
		}},
	{name: "a socket of datagrams", flags: calmly, word: "wrong-type", code: 1, says: []string{"SOCK_DGRAM"},
		set: func(w *ward) string { w.socket(unix.SOCK_DGRAM, w.path("s"), -1); return w.path("s") }},
	{name: "a socket of messages", flags: calmly, word: "wrong-type", code: 1, says: []string{"Messages: true"},
		set: func(w *ward) string { w.socket(unix.SOCK_SEQPACKET, w.path("s"), 5); return w.path("s") }},
	{name: "a full queue", flags: inVain, word: "busy", code: 1, says: []string{"1 of 0 places"},
		set: func(w *ward) string {
			w.socket(unix.SOCK_STREAM, w.path("s"), 0)
			c, err := net.Dial("unix", w.path("s"))
			w.must(err)
			w.t.Cleanup(func() { c.Close() })
			return w.path("s")
		}},
	{name: "a server that accepts nobody", flags: inVain, word: "hung", code: 1, says: []string{"MaxConns"},
		set: func(w *ward) string { return w.listen(w.path("s"), 0o600, 0) }},
	{name: "a server that has reached its MaxConns", flags: inVain, word: "hung", code: 1, says: []string{"MaxConns", "clients wait in it"},
		set: func(w *ward) string { return w.crowded(2) }},
	{name: "the same, where nobody waits yet", flags: calmly, word: "ok", says: []string{"has reached its MaxConns"},
		set: func(w *ward) string { return w.crowded(1) }},
	{name: "a server that is stopped", flags: []string{"--timeout", "5s", "--quiet", "100ms"}, word: "hung", code: 1, heal: "kill -CONT", healed: "ok",
		set: func(w *ward) string {
			cmd := w.serve(who{}, "calc")
			w.must(cmd.Process.Signal(syscall.SIGSTOP))
			return "calc"
		}},
}

// What is wrong with where a name leads.
var folderCases = []ailing{
	{name: "served with another environment", flags: patiently, as: who{}, word: "elsewhere", code: 3, says: []string{"another XDG_RUNTIME_DIR", "XDG_RUNTIME_DIR=/tmp/"},
		set: func(w *ward) string {
			w.serve(who{run: w.mkdir(0o700, 0, "other")}, unique(w))
			return unique(w)
		}},
	{name: "served by another user", root: true, as: who{uid: alice}, flags: patiently, word: "elsewhere", code: 3, says: []string{`user 640012 serves one of their own`, "shared:"},
		set: func(w *ward) string {
			w.serve(who{uid: bob, run: w.mkdir(0o700, bob, "bobs")}, unique(w))
			return unique(w)
		}},
	{name: "served in another network namespace", root: true, flags: patiently, word: "elsewhere", code: 3, says: []string{"nsenter -t "},
		set: func(w *ward) string {
			w.serve(who{clone: syscall.CLONE_NEWNET}, "@"+unique(w))
			return "@" + unique(w)
		}},
	{name: "with the environment of another user", root: true, as: who{uid: alice, run: "/root"}, flags: calmly, word: "missing", code: 3, says: []string{"XDG_RUNTIME_DIR=/root is not used"},
		set: func(w *ward) string {
			w.mkdir(0o755, alice, "home")
			for _, dir := range [][]string{{".cache"}, {".cache", "standpipe"}, {".cache", "standpipe", "run"}} {
				w.mkdir(0o700, alice, append([]string{"home"}, dir...)...)
			}
			return unique(w)
		}},
	{name: "a folder that others may look into", flags: calmly, word: "bad-folder", code: 1, heal: "chmod 700", healed: "missing",
		set: func(w *ward) string { w.mkdir(0o755, 0, "run", "standpipe"); return unique(w) }},
	{name: "a file in the place of the names' folder", flags: calmly, word: "not-folder", code: 1,
		set: func(w *ward) string {
			w.must(os.WriteFile(w.path("run", "standpipe"), nil, 0o600))
			return "calc"
		}},
	{name: "a link in the place of the names' folder", flags: calmly, word: "bad-folder", code: 1, says: []string{"symbolic link"}, heal: "rm ", healed: "no-folder",
		set: func(w *ward) string {
			w.must(os.Symlink(w.mkdir(0o700, 0, "elsewhere"), w.path("run", "standpipe")))
			return unique(w)
		}},
	{name: "a folder of somebody else's", root: true, as: who{uid: alice}, flags: calmly, word: "bad-folder", code: 1, heal: "chown 640011", healed: "bad-folder",
		set: func(w *ward) string { w.mkdir(0o755, bob, "run", "standpipe"); return "calc" }},
}

func unique(w *ward) string { return strings.ToLower(filepath.Base(w.dir)) }

// linksProtected starts a program where fs.protected_symlinks is set, or says that it is: the setting is the whole
// machine's, and not a test's to change.
var linksProtected = []string{"unshare", "-m", "sh", "-c",
	`echo 1 >one && mount --bind one /proc/sys/fs/protected_symlinks && exec "$0" "$@"`}

// Rights that are missing.
var rightCases = []ailing{
	{name: "a folder that is root's alone", root: true, as: who{uid: alice}, flags: calmly, word: "folder-denied", code: 4, heal: "chmod o+x", healed: "ok",
		says: []string{"the right x (search) is missing", "x is missing for you (neither owner nor group)", "shared:NAME"},
		set: func(w *ward) string {
			w.mkdir(0o700, 0, "d")
			return w.listen(w.path("d", "s"), 0o666, 0, "")
		}},
	{name: "a folder of a group's", root: true, as: who{uid: alice}, flags: calmly, word: "folder-denied", code: 4, says: []string{"usermod -aG 640014 640011"},
		set: func(w *ward) string {
			w.must(os.Chown(w.mkdir(0o710, 0, "d"), 0, int(crew)))
			w.must(os.Chmod(w.path("d"), 0o710))
			return w.listen(w.path("d", "s"), 0o666, 0, "")
		}},
	{name: "the same folder, of the group", root: true, as: who{uid: alice, groups: []uint32{crew}}, flags: calmly, word: "ok",
		set: func(w *ward) string {
			w.must(os.Chown(w.mkdir(0o710, 0, "d"), 0, int(crew)))
			w.must(os.Chmod(w.path("d"), 0o710))
			return w.listen(w.path("d", "s"), 0o666, 0, "")
		}},
	{name: "a folder that keeps its group out, and lets others pass", root: true, as: who{uid: alice, groups: []uint32{crew}}, flags: calmly,
		word: "folder-denied", code: 4, says: []string{"(group 640014)"}, heal: "chmod g+x", healed: "ok",
		set: func(w *ward) string {
			w.must(os.Chown(w.mkdir(0o701, 0, "d"), 0, int(crew)))
			w.must(os.Chmod(w.path("d"), 0o701))
			return w.listen(w.path("d", "s"), 0o666, 0, "")
		}},
	{name: "a folder that its owner has closed", root: true, as: who{uid: alice}, flags: calmly, word: "folder-denied", code: 4, says: []string{"(its owner)"}, heal: "chmod u+x", healed: "ok",
		set: func(w *ward) string {
			dir := w.mkdir(0o700, 0, "d")
			path := w.listen(w.path("d", "s"), 0o666, 0, "")
			w.must(os.Chown(dir, int(alice), int(alice)))
			w.must(os.Chmod(dir, 0o677))
			return path
		}},
	{name: "root that has lost its capabilities", root: true, flags: calmly, word: "folder-denied", code: 4,
		as: who{before: []string{"setpriv", "--bounding-set", "-dac_override,-dac_read_search"}}, says: []string{"neither owner nor group"},
		set: func(w *ward) string {
			dir := w.mkdir(0o700, 0, "d")
			path := w.listen(w.path("d", "s"), 0o666, 0, "")
			w.must(os.Chown(dir, int(alice), int(alice)))
			return path
		}},
	{name: "root of a container, at a folder of the host's root", root: true, as: who{guest: true}, flags: calmly, word: "kernel-denied", code: 4, says: []string{"though its mode allows it"},
		set: func(w *ward) string {
			w.mkdir(0o700, 0, "d")
			return w.listen(w.path("d", "s"), 0o666, 0, "")
		}},
	{name: "somebody else's link, in a folder where everybody may make some", root: true, as: who{before: linksProtected}, flags: calmly, word: "link-denied", code: 4,
		says: []string{"it is user 640012's"},
		set: func(w *ward) string {
			w.mkdir(0o777|os.ModeSticky, 0, "tmp")
			w.must(os.Symlink(w.listen(w.path("s"), 0o666, 0, ""), w.path("tmp", "s")))
			w.must(os.Lchown(w.path("tmp", "s"), int(bob), int(bob)))
			return w.path("tmp", "s")
		}},
	{name: "a socket that is root's alone", root: true, as: who{uid: alice}, flags: calmly, word: "socket-denied", code: 4, says: []string{"the right w (write) is missing", `standpipe.User(\"640011\")`},
		set: func(w *ward) string { return w.listen(w.path("s"), 0o600, 0, "") }},
	{name: "a socket of a group's, as Docker's is", root: true, as: who{uid: alice}, flags: calmly, word: "socket-denied", code: 4, says: []string{"usermod -aG 640014 640011"},
		set: func(w *ward) string {
			path := w.listen(w.path("s"), 0o660, 0, "")
			w.must(os.Chown(path, 0, int(crew)))
			return path
		}},
	{name: "the same socket, of the group", root: true, as: who{uid: alice, groups: []uint32{crew}}, flags: calmly, word: "ok",
		set: func(w *ward) string {
			path := w.listen(w.path("s"), 0o660, 0, "")
			w.must(os.Chown(path, 0, int(crew)))
			return path
		}},
	{name: "one's own socket, without the right to write", root: true, as: who{uid: alice}, flags: calmly, word: "socket-denied", code: 4, heal: "chmod u+w", healed: "ok",
		set: func(w *ward) string { return w.listen(w.path("s"), 0o466, alice, "") }},
	{name: "an ACL that shuts one user out", root: true, as: who{uid: alice}, flags: calmly, word: "socket-denied", code: 4, says: []string{"the ACL's entry for user 640011", "srwxrwxrwx+"},
		set: func(w *ward) string {
			path := w.listen(w.path("s"), 0o777, 0, "")
			w.acl(path, alice, 0, 7, 7, 7)
			return path
		}},
	{name: "an ACL whose mask takes the right away", root: true, as: who{uid: alice}, flags: calmly, word: "folder-denied", code: 4, says: []string{"the ACL's entry for user 640011"},
		set: func(w *ward) string {
			dir := w.mkdir(0o700, 0, "d")
			path := w.listen(w.path("d", "s"), 0o666, 0, "")
			w.acl(dir, alice, 7, 4, 0, 0)
			return path
		}},
	{name: "an ACL that lets one user in", root: true, as: who{uid: alice}, flags: calmly, word: "ok", says: []string{"drwxrwx---+"},
		set: func(w *ward) string {
			dir := w.mkdir(0o700, 0, "d")
			path := w.listen(w.path("d", "s"), 0o666, 0, "")
			w.acl(dir, alice, 5, 7, 0, 0)
			return path
		}},
}

// Who is at the other end.
var peerCases = []ailing{
	{name: "a policy that does not name the user", root: true, as: who{uid: carol}, flags: patiently, word: "turned-away", code: 4, says: []string{"its policy does not admit user 640013", "serve --policy self,user:640013"},
		set: func(w *ward) string {
			w.serve(who{}, "--policy", fmt.Sprintf("user:%d,user:%d", alice, bob), w.path("s"))
			return w.path("s")
		}},
	{name: "the same, by one whom it names", root: true, as: who{uid: bob}, flags: patiently, word: "ok",
		set: func(w *ward) string {
			w.serve(who{}, "--policy", fmt.Sprintf("user:%d,user:%d", alice, bob), w.path("s"))
			return w.path("s")
		}},
	{name: "root, at somebody's own name", root: true, flags: append(patiently, "--policy", fmt.Sprint("user:", alice)), word: "turned-away", code: 4, says: []string{"shared:"},
		set: func(w *ward) string {
			w.serve(who{uid: alice, run: w.mkdir(0o700, alice, "hers")}, "calc")
			return w.path("hers", "standpipe", "calc.sock")
		}},
	{name: "another user's server", root: true, as: who{uid: alice}, flags: patiently, word: "wrong-server", code: 4, says: []string{"sits on the name", "--policy user:640012", "everybody may make files here"},
		set: squatted},
	{name: "the same, which is expected", root: true, as: who{uid: alice}, flags: append(patiently, "--policy", fmt.Sprint("user:", bob)), word: "ok", set: squatted},
	{name: "another program's server, of whom another is expected", root: true, as: who{uid: alice}, flags: append(calmly, "--policy", "user:0"), word: "wrong-server", code: 4,
		set: func(w *ward) string { return w.foreign(who{uid: bob}, "0666") }},
	{name: "a server that hangs up", flags: patiently, word: "turned-away", code: 4, says: []string{"look at its log"},
		set: func(w *ward) string {
			ln, err := net.Listen("unix", w.path("s"))
			w.must(err)
			w.t.Cleanup(func() { ln.Close() })
			go func() {
				for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
					c.Close()
				}
			}()
			return w.path("s")
		}},
	{name: "one of another user namespace", root: true, as: who{guest: true}, flags: calmly, word: "wrong-server", code: 4, says: []string{"user namespace"},
		set: func(w *ward) string { return w.foreign(who{uid: bob}, "0666") }},
}

// squatted: somebody was quicker, in a folder where everybody may be.
func squatted(w *ward) string {
	w.mkdir(0o777|os.ModeSticky, 0, "tmp")
	w.serve(who{uid: bob}, "--policy", "anyone", w.path("tmp", "s"))
	return w.path("tmp", "s")
}

// foreign is a server that is not standpipe's, in a process of somebody's. It takes connections and says nothing.
func (w *ward) foreign(as who, mode string) string {
	w.t.Helper()
	dir := w.mkdir(0o755, as.uid, "theirs")
	cmd := w.command(as)
	cmd.Args = []string{"standpipe-foreign", filepath.Join(dir, "s"), mode}
	in, err := cmd.StdoutPipe()
	w.must(err)
	w.must(cmd.Start())
	w.t.Cleanup(func() { w.kill(cmd) })
	if b, err := io.ReadAll(io.LimitReader(in, 5)); err != nil || string(b) != "ready" {
		w.t.Fatalf("the foreign server: %q, %v", b, err)
	}
	return filepath.Join(dir, "s")
}

// crowded is a server with room for one, and that many clients. The second is in its hands, and waits; the third is in the queue.
func (w *ward) crowded(clients int) string {
	w.t.Helper()
	ln, err := standpipe.Listen(w.path("s"), &standpipe.ListenConfig{MaxConns: 1})
	w.must(err)
	w.t.Cleanup(func() { ln.Close() })
	go func() {
		var conns []*standpipe.Conn
		for c, err := ln.AcceptConn(); err == nil; c, err = ln.AcceptConn() {
			conns = append(conns, c)
		}
		for _, c := range conns {
			c.Close()
		}
	}()
	for range clients {
		c, err := standpipe.Dial(w.t.Context(), w.path("s"), nil)
		w.must(err)
		w.t.Cleanup(func() { c.Close() })
		for pendingAt(w.t, w.path("s")) > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return w.path("s")
}
