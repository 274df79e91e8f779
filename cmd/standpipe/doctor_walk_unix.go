//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The rights of path_resolution(7): to pass through a folder, and to connect to a socket.
const (
	mayPass  = 1 // x
	mayWrite = 2 // w
)

// person is whom the kernel holds against a file's mode.
type person struct {
	uid, gid uint32
	groups   []uint32
	override bool // CAP_DAC_OVERRIDE: modes do not count
	search   bool // CAP_DAC_READ_SEARCH: nor do those of folders
}

// self is this process.
func self() person {
	p := person{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
	p.override, p.search = capabilities()
	groups, _ := os.Getgroups() // fails only where the kernel has none
	for _, g := range groups {
		p.groups = append(p.groups, uint32(g))
	}
	return p
}

func (p person) in(gid uint32) bool { return p.gid == gid || slices.Contains(p.groups, gid) }

// inode is what the kernel knows of a file.
type inode struct {
	mode     fs.FileMode
	uid, gid uint32
	dev, ino uint64
	acl      []aclEntry // beyond the mode
}

func inodeAt(path string) (inode, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return inode{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	f := inode{mode: info.Mode(), uid: st.Uid, gid: st.Gid, dev: uint64(st.Dev), ino: st.Ino}
	if f.mode&os.ModeSymlink == 0 {
		f.acl = aclOf(path)
	}
	return f, nil
}

// String is as ls -l has it.
func (f inode) String() string {
	plus := ""
	if len(f.acl) > 0 {
		plus = "+"
	}
	return fmt.Sprintf("%s%s %s:%s", modeText(f.mode), plus, shortUser(f.uid), shortGroup(f.gid))
}

func modeText(m fs.FileMode) string {
	kind := "?"
	for _, k := range []struct {
		bit  fs.FileMode
		text string
	}{{os.ModeDir, "d"}, {os.ModeSymlink, "l"}, {os.ModeSocket, "s"}, {os.ModeNamedPipe, "p"}, {os.ModeCharDevice, "c"}, {os.ModeDevice, "b"}} {
		if m&k.bit != 0 {
			kind = k.text
			break
		}
	}
	if m.IsRegular() {
		kind = "-"
	}
	perm := []byte(m.Perm().String()[1:])
	if m&os.ModeSticky != 0 {
		last := len(perm) - 1
		perm[last] = map[byte]byte{'x': 't', '-': 'T'}[perm[last]]
	}
	return kind + string(perm)
}

// aclEntry is one of acl(5).
type aclEntry struct {
	tag  uint16
	perm uint32
	id   uint32
}

const (
	aclUser  = 0x02
	aclGroup = 0x08
	aclMask  = 0x10
	aclOwner = 0x04 // the owning group's
)

// allows says whether f grants p the right, and by which of its rules: acl(5), the access check algorithm.
func (p person) allows(f inode, want uint32) (ok bool, rule string) {
	perm := uint32(f.mode.Perm())
	switch {
	case p.override, p.search && want == mayPass && f.mode.IsDir():
		return true, "the superuser"
	case p.uid == f.uid:
		return perm>>6&want == want, "its owner"
	case len(f.acl) > 0:
		return p.allowsACL(f, want)
	case p.in(f.gid):
		return perm>>3&want == want, "group " + shortGroup(f.gid)
	}
	return perm&want == want, "neither owner nor group"
}

func (p person) allowsACL(f inode, want uint32) (bool, string) {
	mask := uint32(7)
	for _, e := range f.acl {
		if e.tag == aclMask {
			mask = e.perm
		}
	}
	matched := ""
	for _, e := range f.acl {
		switch {
		case e.tag == aclUser && e.id == p.uid:
			return e.perm&mask&want == want, "the ACL's entry for user " + shortUser(p.uid)
		case e.tag == aclOwner && p.in(f.gid), e.tag == aclGroup && p.in(e.id):
			gid := e.id
			if e.tag == aclOwner {
				gid = f.gid
			}
			matched = "the ACL's entry for group " + shortGroup(gid)
			if e.perm&mask&want == want {
				return true, matched
			}
		}
	}
	if matched != "" {
		return false, matched
	}
	return uint32(f.mode.Perm())&want == want, "nobody whom the ACL names"
}

// journey is a path, followed as the kernel does: each folder needs the right to pass, each link is followed.
type journey struct {
	d    *diagnosis
	me   person
	at   string // the folder where it is
	rest []string
	link string // the last one that was followed
	hops int
	been []string // the folders that it has passed
}

const maxLinks = 40 // as the kernel's

// follow goes to the end of path. Where there is none, the verdict is set, and the end is what the path would lead to.
func follow(d *diagnosis, me person, path string) (end string, f inode, ok bool) {
	j := &journey{d: d, me: me, at: "/", rest: strings.Split(path, "/")}
	for {
		folder, err := inodeAt(j.at)
		if err != nil {
			d.is("kernel-denied", "the folder %s can't be seen: %v", shown(j.at), reason(err))
			return "", f, false
		}
		j.rest = slices.DeleteFunc(j.rest, func(part string) bool { return part == "" || part == "." })
		if !j.pass(folder) {
			return "", f, false
		}
		for len(j.rest) > 0 && j.rest[0] == ".." {
			j.at, j.rest = filepath.Dir(j.at), j.rest[1:]
		}
		if len(j.rest) == 0 {
			return j.at, folder, true
		}
		next := filepath.Join(j.at, j.rest[0])
		if f, err = inodeAt(next); err != nil {
			j.absent(next, err)
			return filepath.Join(append([]string{j.at}, j.rest...)...), f, false
		}
		j.rest = j.rest[1:]
		switch {
		case f.mode&os.ModeSymlink != 0:
			if !j.turn(next, f, folder) {
				return "", f, false
			}
		case len(j.rest) == 0:
			return next, f, true
		case !f.mode.IsDir():
			d.note("walk", "%s %s", f, shown(next))
			d.is("not-folder", "%s is a %s, and the path needs a folder there", shown(next), kindOfFile(f.mode))
			d.advise("look at the file: if nobody needs it, remove it; else give the endpoint another path")
			return "", f, false
		default:
			j.at = next
		}
	}
}

// pass goes through the folder at j.at, if it may.
func (j *journey) pass(folder inode) bool {
	ok, rule := j.me.allows(folder, mayPass)
	kernel := unix.Faccessat(unix.AT_FDCWD, j.at, unix.X_OK, unix.AT_EACCESS)
	d := j.d
	switch {
	case kernel == nil:
		if !slices.Contains(j.been, j.at) {
			j.been = append(j.been, j.at)
			d.note("walk", "%s %s%s", folder, shown(j.at), exposed(folder, len(j.rest) == 1))
		}
		return true
	case ok:
		d.note("walk", "%s %s: refused, though its mode allows it", folder, shown(j.at))
		denyKernel(d, j.at, kernel)
		return false
	}
	d.note("walk", "%s %s: x is missing for you (%s)", folder, shown(j.at), rule)
	d.is("folder-denied", "%s may not pass through the folder %s: the right x (search) is missing", selfText(), shown(j.at))
	grantFolder(d, j.me, j.at, folder)
	return false
}

// exposed is a warning where anybody may put another file in the place of what the folder holds; in a sticky one, where
// anybody may be there first.
func exposed(folder inode, last bool) string {
	switch {
	case folder.mode.Perm()&0o002 == 0:
		return ""
	case folder.mode&os.ModeSticky == 0:
		return " (everybody may replace files here: nothing in it can be trusted)"
	case last:
		return " (everybody may make files here: look at who serves)"
	}
	return ""
}

// absent: there is no such file, or it can't be looked at.
func (j *journey) absent(next string, err error) {
	d := j.d
	switch {
	case errors.Is(err, fs.ErrNotExist) && j.link != "":
		d.note("walk", "%s: not there", shown(next))
		d.is("dangling", "the link %s leads to %s, which is not there", shown(j.link), shown(next))
		d.advise("start the server that makes it, or remove the link: rm %s", quote(j.link))
	case errors.Is(err, fs.ErrNotExist) && len(j.rest) > 1:
		d.note("walk", "%s: not there", shown(next))
		d.is("no-folder", "the folder %s is not there, so nobody can be serving below it", shown(next))
	case errors.Is(err, fs.ErrNotExist):
		d.note("walk", "%s: not there", shown(next))
		d.is("missing", "nobody is listening: there is no %s", shown(next))
	default:
		denyKernel(d, next, err)
	}
}

// turn follows a link.
func (j *journey) turn(at string, f, folder inode) bool {
	d := j.d
	to, err := os.Readlink(at)
	if err != nil {
		denyKernel(d, at, err)
		return false
	}
	d.note("walk", "%s %s -> %s", f, shown(at), shown(to))
	if j.hops++; j.hops > maxLinks {
		d.is("link-loop", "the links on the way go in a circle, at %s", shown(at))
		d.run("to take the circle apart", "rm %s", quote(at))
		return false
	}
	if protectedLinks() && refusedLink(j.me, f, folder) {
		d.is("link-denied", "the kernel does not follow the link %s: it is user %s's, in a folder where everybody may make files", shown(at), shortUser(f.uid))
		d.advise("use the path that it leads to: %s; or let %s make the link", shown(to), selfText())
		return false
	}
	j.link = at
	if strings.HasPrefix(to, "/") {
		j.at = "/"
	}
	j.rest = append(strings.Split(to, "/"), j.rest...)
	return true
}

// refusedLink is the rule of fs.protected_symlinks: proc_sys_fs(5).
func refusedLink(me person, link, folder inode) bool {
	const shared = 0o002
	return folder.mode&os.ModeSticky != 0 && folder.mode.Perm()&shared != 0 && link.uid != me.uid && link.uid != folder.uid
}

// denyKernel: what files say does not explain it.
func denyKernel(d *diagnosis, path string, err error) {
	d.is("kernel-denied", "the kernel refuses %s (%v), though modes and ACLs allow it", shown(path), reason(err))
	d.advise("look for a security module's word: `journalctl -k -g denied`, `ausearch -m avc`; a container, a snap or a sandbox may hide the path")
}

func reason(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// shortUser and shortGroup are names, or numbers that nobody has.
func shortUser(uid uint32) string {
	if _, name, ok := strings.Cut(userText(uid), " ("); ok {
		return strings.TrimSuffix(name, ")")
	}
	return strconv.FormatUint(uint64(uid), 10)
}

func shortGroup(gid uint32) string {
	if _, name, ok := strings.Cut(groupText(gid), " ("); ok {
		return strings.TrimSuffix(name, ")")
	}
	return strconv.FormatUint(uint64(gid), 10)
}

func kindOfFile(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "regular file"
	case m.IsDir():
		return "folder"
	case m&os.ModeNamedPipe != 0:
		return "FIFO (mkfifo), which is opened, not connected to"
	case m&os.ModeSymlink != 0:
		return "symbolic link"
	case m&os.ModeSocket != 0:
		return "socket"
	}
	return "device"
}
