//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/standpipe/standpipe"
)

func selfID() string { return strconv.Itoa(os.Geteuid()) }

func selfText() string { return "user " + userText(uint32(os.Geteuid())) }

// proposal is what may have been meant by a name that can't be one.
func proposal(d *diagnosis, name string) {
	switch abs, err := filepath.Abs(name); {
	case strings.HasPrefix(name, `\\`):
		d.advise(`pipes are Windows'; here a NAME such as calc, or the path of a socket, stands for an endpoint`)
	case strings.Contains(name, "/") && err == nil:
		d.run("with the path as it must be", "standpipe doctor %s", quote(abs))
	default:
		d.advise("a NAME is such as calc, shared:calc or an absolute path")
	}
}

// quote is s as a word for sh.
func quote(s string) string {
	plainest := func(r rune) bool {
		return !(r == '/' || r == '.' || r == '_' || r == '-' || r == '@' || r == ':' || r == '~' ||
			'0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	}
	if s != "" && s[0] != '~' && !strings.ContainsFunc(s, plainest) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// checkUp follows the path, looks at what lies there, and connects.
func checkUp(ctx context.Context, d *diagnosis, p patient) {
	me := self()
	d.note("you", "%s, groups %s", selfText(), groupList(me))
	path := p.addr.String()
	if path[0] == '@' {
		visit(ctx, d, p, path, inode{}, false)
		return
	}
	noteEnvironment(d, p)
	end, f, ok := follow(d, me, path)
	if !ok {
		if d.word == "missing" || d.word == "no-folder" || d.word == "dangling" {
			seek(d, p, end)
		}
		return
	}
	if f.mode&os.ModeSocket == 0 {
		d.note("walk", "%s %s", f, shown(end))
		d.is("not-socket", "%s is a %s", shown(end), kindOfFile(f.mode))
		d.advise("look at the file: if nobody needs it, remove it, and start the server; Listen does not remove what is no socket")
		return
	}
	if mayConnect(d, p, me, end, f) {
		_, err := os.Lstat(path + ".lock")
		visit(ctx, d, p, end, f, err == nil || path != p.addr.Name())
	}
}

// noteEnvironment: another user's XDG_RUNTIME_DIR, as su and sudo may leave it, is not used.
func noteEnvironment(d *diagnosis, p patient) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if personal(p.addr.Name()) && dir != "" && filepath.Dir(filepath.Dir(p.addr.String())) != filepath.Clean(dir) {
		d.note("env", "XDG_RUNTIME_DIR=%s is not used: it is no absolute path, or another user's", shown(dir))
	}
}

func groupList(p person) string {
	list := []string{groupText(p.gid)}
	for _, g := range p.groups {
		if s := groupText(g); !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return strings.Join(list, ", ")
}

// mayConnect holds the socket's mode against the user.
func mayConnect(d *diagnosis, p patient, me person, path string, f inode) bool {
	ok, rule := me.allows(f, mayWrite)
	kernel := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS)
	switch {
	case kernel == nil:
		d.note("walk", "%s %s", f, shown(path))
		return true
	case ok:
		d.note("walk", "%s %s: refused, though its mode allows it", f, shown(path))
		denyKernel(d, path, kernel)
		return false
	}
	d.note("walk", "%s %s: w is missing for you (%s)", f, shown(path), rule)
	d.is("socket-denied", "%s may not connect to %s: the right w (write) is missing", selfText(), shown(path))
	grantSocket(d, p, path, f)
	return false
}

// asOwner says who may change a file's mode.
func asOwner(f inode) string {
	if f.uid == 0 {
		return "as root"
	}
	return "as " + shortUser(f.uid) + " or root"
}

// grantFolder: who may let this user through a folder, and how.
func grantFolder(d *diagnosis, me person, dir string, f inode) {
	owner := asOwner(f)
	switch {
	case me.uid == f.uid:
		d.run("as you", "chmod u+x %s", quote(dir))
		return
	case me.in(f.gid):
		d.run(owner+", for the group", "chmod g+x %s", quote(dir))
		return
	case f.mode.Perm()&0o077 == 0:
		d.advise("the folder is its owner's alone, and should stay so: let the server use a name that is for others, too")
		d.program("in the server", `standpipe.Listen("shared:NAME", &standpipe.ListenConfig{Policy: standpipe.User(%q)})`, selfID())
	}
	if f.mode.Perm()&0o010 != 0 && f.gid != 0 {
		d.run("as root, to be of the group from the next login on", "usermod -aG %s %s", quote(shortGroup(f.gid)), quote(shortUser(me.uid)))
	}
	d.run(owner+", for you alone", "setfacl -m u:%d:x %s", me.uid, quote(dir))
	d.run(owner+", for everybody", "chmod o+x %s", quote(dir))
}

// grantSocket: a session that has not the group yet is the usual case, a group that the user is not of the next.
func grantSocket(d *diagnosis, p patient, path string, f inode) {
	owner := asOwner(f)
	group := f.mode.Perm()&0o020 != 0
	switch {
	case int(f.uid) == os.Geteuid():
		d.run("as you", "chmod u+w %s", quote(path))
		return
	case group && memberByDatabase(f.gid):
		d.is("old-session", "%s is of the group %s, which may connect to %s, but this session began before that", selfText(), shortGroup(f.gid), shown(path))
		d.run("for this shell", "newgrp %s", quote(shortGroup(f.gid)))
		d.advise("or log out and in again")
		return
	case group && f.gid != 0:
		d.run("as root, to be of the group from the next login on", "usermod -aG %s %s", quote(shortGroup(f.gid)), quote(shortUser(uint32(os.Geteuid()))))
	}
	admitMe(d, p, standpipe.Identity{User: strconv.FormatUint(uint64(f.uid), 10)})
	d.run(owner+", for you alone, until the server starts again", "setfacl -m u:%d:rw %s", os.Geteuid(), quote(path))
}

// memberByDatabase: the user is of the group, though this process is not.
func memberByDatabase(gid uint32) bool {
	u, err := user.LookupId(selfID())
	if err != nil {
		return false
	}
	groups, err := u.GroupIds()
	return err == nil && slices.Contains(groups, strconv.FormatUint(uint64(gid), 10))
}

// visit connects. The path is the one that the links led to; f is its file, unless it is abstract.
func visit(ctx context.Context, d *diagnosis, p patient, path string, f inode, ours bool) {
	table, err := openSockets()
	if err != nil {
		d.note("kernel", "its table of sockets can't be read: %v", reason(err))
	}
	if ours {
		noteLock(d, p.addr.String())
	}
	s := table.at(path, f)
	m, err := meet(ctx, d, p, func() bool { return pending(path, f) > 0 })
	if err == nil {
		defer m.conn.Close()
		if n := pending(path, f); n > 0 && !m.ended && len(m.first) == 0 {
			hung(d, m, n)
			return
		}
		m.judge(d, p, ours)
		return
	}
	switch {
	case errors.Is(err, standpipe.ErrMessages):
		wrongType(ctx, d, p, path)
	case errors.Is(err, context.DeadlineExceeded):
		busy(d, s, p)
	case errors.Is(err, standpipe.ErrStale):
		stale(d, p, path, f, table)
	case errors.Is(err, standpipe.ErrNoServer):
		d.is("missing", "nobody is listening on %s", shown(path))
		seek(d, p, path)
	case errors.Is(err, standpipe.ErrWrongServer):
		d.is("wrong-server", "the kernel does not say who serves it: a process of another user namespace")
		d.advise("let the server and its clients run in one container, or in none")
	default:
		denyKernel(d, path, err)
	}
}

// hung: the kernel took the connection, and the server leaves it in its queue.
func hung(d *diagnosis, m *meeting, waiting uint32) {
	d.note("queue", "%d clients wait in it", waiting)
	if state := processState(m.id.PID); state == "T" || state == "t" {
		d.is("hung", "%s is stopped, and lets clients wait", m.id)
		d.run("as its user or root", "kill -CONT %d", m.id.PID)
		return
	}
	d.is("hung", "%s does not take connections from its queue", m.id)
	d.advise("it is busy or blocked, or has reached its ListenConfig.MaxConns: look at its log, or restart it")
}

func busy(d *diagnosis, s *socket, p patient) {
	who := "the server"
	if s != nil {
		d.note("queue", "%d of %d places are taken", s.waiting, s.queue)
		if pids := holders()[s.inode]; len(pids) > 0 {
			who = processText(pids[0])
			if state := processState(pids[0]); state == "T" || state == "t" {
				d.run("it is stopped; as its user or root", "kill -CONT %d", pids[0])
			}
		}
	}
	d.is("busy", "the queue of %s is full: for %v there was no place", who, p.timeout)
	d.advise("it is stopped, blocked or overloaded: look at its log, or restart it; a longer queue is the second argument of its listen(2)")
}

// wrongType finds out what the socket is, if it is no stream.
func wrongType(ctx context.Context, d *diagnosis, p patient, path string) {
	conn, err := standpipe.Dial(ctx, p.addr.String(), &standpipe.DialConfig{Policy: standpipe.Anyone(), Messages: true})
	if err == nil {
		conn.Close()
		d.is("wrong-type", "%s keeps messages apart (SOCK_SEQPACKET), and a client of streams can't connect", shown(path))
		d.program("in the client", `standpipe.Dial(ctx, %q, &standpipe.DialConfig{Messages: true})`, p.addr.Name())
		return
	}
	d.is("wrong-type", "%s is a socket of datagrams (SOCK_DGRAM), as syslog's is: nothing connects to it", shown(path))
	d.advise("take the path of the server's stream socket; socat - UNIX-SENDTO:%s sends it a datagram", quote(path))
}

// stale: there is a socket, and nobody listens on it.
func stale(d *diagnosis, p patient, path string, f inode, table sockets) {
	if s := table.at(path, f); s != nil && s.file.ino == f.id().ino && !s.listening {
		d.is("not-listening", "%s has bound %s, but does not listen on it", holderText(s.inode), shown(path))
		d.advise("wait until it does (standpipe.DialConfig{Wait: true}); if that is for ever, restart it")
		return
	}
	if s := table.bound(path, p.addr.String()); s != nil {
		d.is("removed", "%s serves %s, but the socket that lies there now is another: somebody has put it in its place", holderText(s.inode), shown(path))
		d.advise("restart that server; nobody reaches it any more")
		return
	}
	d.is("stale", "the server that made %s is gone", shown(path))
	if p.addr.String() != p.addr.Name() {
		d.advise("start the server: it takes the name over by itself")
		return
	}
	d.advise("start the server; standpipe's takes the path over by itself, others may need the socket removed first")
	if int(f.uid) == os.Geteuid() {
		d.run("as you", "rm %s", quote(path))
	} else {
		d.run(asOwner(f), "rm %s", quote(path))
	}
}

// holderText is the process that has a socket open, where that may be seen.
func holderText(inode uint32) string {
	if pids := holders()[inode]; len(pids) > 0 {
		return processText(pids[0])
	}
	return "a process that is not visible to you"
}

func processText(pid int) string {
	if program := programOf(pid); program != "" {
		return fmt.Sprintf("process %d (%s)", pid, shown(program))
	}
	return fmt.Sprintf("process %d", pid)
}
