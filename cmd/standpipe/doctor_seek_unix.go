//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/standpipe/standpipe"
)

// seek looks for the server of an endpoint that is not there: it may have lost its file, or serve elsewhere, or another
// name was meant. End is how far the path led, with the links followed.
func seek(d *diagnosis, p patient, end string) {
	path := p.addr.String()
	table, _ := openSockets() // where it can't be read, there is less to say
	if path[0] == '@' {
		if pid := abstractElsewhere(path); pid != 0 {
			d.is("elsewhere", "%s serves %s in another network namespace: abstract sockets do not reach out of a container", processText(pid), shown(path))
			d.run("as root, in that namespace", "nsenter -t %d -n standpipe doctor %s", pid, quote(path))
			d.advise("or give the server a socket file, and both sides the folder that it lies in")
			return
		}
		d.advise("start the server, or wait for it: standpipe.DialConfig{Wait: true}")
		return
	}
	holder := noteLock(d, path)
	if s := table.bound(path, end); s != nil {
		if pids := holders()[s.inode]; len(pids) > 0 {
			holder = pids[0]
		}
		lostFile(d, p, holder)
		return
	}
	if holder != 0 {
		lostFile(d, p, holder)
		return
	}
	switch name := p.addr.Name(); {
	case personal(name):
		if folderUnfit(d, filepath.Dir(path)) || otherPlace(d, p, table) {
			return
		}
	case name != path && d.word == "no-folder":
		sharedFolder(d, p)
		return
	}
	d.advise("start the server, or wait for it: standpipe.DialConfig{Wait: true}")
	if d.word == "no-folder" && p.addr.Name() == path {
		d.run("if the server does not make its folder", "mkdir -p %s", quote(filepath.Dir(path)))
	}
	if addrs, err := standpipe.List(); err == nil {
		var names []string
		for _, a := range addrs {
			names = append(names, a.Name())
		}
		for _, name := range near(p.addr.Name(), names) {
			d.advise("perhaps %s was meant, which is being served", name)
		}
	}
}

// lostFile: the server is there, and nobody can find it.
func lostFile(d *diagnosis, p patient, pid int) {
	who := "a process that is not visible to you"
	if pid != 0 {
		who = processText(pid)
	}
	d.is("removed", "%s serves %s, but somebody has removed the socket file", who, shown(p.addr.String()))
	d.advise("restart the server")
	if p.addr.Name() == p.addr.String() {
		d.advise("cleaners of /tmp remove what is old: let the server have a NAME, or a path below /run")
	}
}

// folderUnfit: Listen refuses a folder that is not this user's alone, so there can be no server.
func folderUnfit(d *diagnosis, dir string) bool {
	f, err := inodeAt(dir)
	switch {
	case err != nil:
		return false
	case !f.mode.IsDir():
		d.is("bad-folder", "%s is a %s; it must be a folder of %s with mode 0700, or nobody can listen there", shown(dir), kindOfFile(f.mode), selfText())
		d.run(asOwner(f), "rm %s", quote(dir))
	case int(f.uid) != os.Geteuid():
		d.is("bad-folder", "the folder %s belongs to user %s; it must be %s's, or nobody can listen there", shown(dir), shortUser(f.uid), selfText())
		d.run("as root", "chown %d %s", os.Geteuid(), quote(dir))
	case f.mode.Perm()&0o077 != 0:
		d.is("bad-folder", "the folder %s has the mode %04o; it must be 0700, or nobody can listen there", shown(dir), f.mode.Perm())
		d.run("as you", "chmod 700 %s", quote(dir))
	default:
		return false
	}
	return true
}

// otherPlace finds who serves a personal name of that kind: another user, or the same one where the environment differs.
func otherPlace(d *diagnosis, p patient, table sockets) bool {
	base := string(filepath.Separator) + filepath.Base(p.addr.String())
	for _, s := range table {
		dir, ok := strings.CutSuffix(s.path, base)
		name := p.addr.Name()
		if !s.listening || !ok || ownName(s.path) == "" || s.path == p.addr.String() {
			continue
		}
		if !s.uidKnown || int(s.uid) != os.Geteuid() {
			d.is("elsewhere", "nobody serves your %s; %s serves one of their own, at %s", name, s.owner(), shown(s.path))
			d.program("in the server, if it is meant for others", `standpipe.Listen("shared:%s", &standpipe.ListenConfig{Policy: standpipe.Policy{}.Or(standpipe.User(%q))})`, name, selfID())
			d.advise("or start the server as %s", selfText())
			return true
		}
		d.is("elsewhere", "you serve %s at %s: the server has another XDG_RUNTIME_DIR or HOME than this process", name, shown(s.path))
		d.note("env", "XDG_RUNTIME_DIR=%s HOME=%s", shown(os.Getenv("XDG_RUNTIME_DIR")), shown(os.Getenv("HOME")))
		d.run("here", "XDG_RUNTIME_DIR=%s standpipe doctor %s", quote(filepath.Dir(dir)), name)
		return true
	}
	return false
}

// sharedFolder: only root can make the place of a shared name.
func sharedFolder(d *diagnosis, p patient) {
	name := strings.TrimPrefix(p.addr.Name(), "shared:")
	d.advise("start the server as root, which makes the folder; a service of another user gets it by systemd: RuntimeDirectory=standpipe/%s", name)
	d.run("or as root, for a server that runs as you", "install -d -o root -m 755 %[2]s && install -d -o %[1]s -m 755 %[2]s/%[3]s",
		selfID(), filepath.Dir(filepath.Dir(p.addr.String())), name)
}

// noteLock says who holds the lock of the socket at path, and returns the process; 0: nobody, or it is not known.
func noteLock(d *diagnosis, path string) int {
	lock := path + ".lock"
	f, err := inodeAt(lock)
	if err != nil {
		return 0
	}
	pid := lockHolder(lock, f)
	switch {
	case pid != 0:
		d.note("lock", "%s holds %s", processText(pid), shown(lock))
	default:
		d.note("lock", "nobody who can be seen holds %s", shown(lock))
	}
	return pid
}
