//go:build unix

package main

import (
	"io/fs"
	"os"
	"testing"
)

// The rules of acl(5), for users that need not be there.
func TestDoctorRights(t *testing.T) {
	const owner, group, other, named = 1, 10, 2, 3
	file := func(mode fs.FileMode, acl ...aclEntry) inode {
		return inode{mode: mode, uid: owner, gid: group, acl: acl}
	}
	acl := []aclEntry{{1, 7, 0}, {aclUser, 2, named}, {aclOwner, 0, 0}, {aclGroup, 2, 20}, {aclMask, 7, 0}, {0x20, 0, 0}}
	masked := append([]aclEntry{}, acl...)
	masked[4].perm = 4
	for _, c := range []struct {
		name string
		me   person
		f    inode
		want uint32
		ok   bool
	}{
		{"the owner", person{uid: owner}, file(0o200), mayWrite, true},
		{"the owner, whom his own bits shut out", person{uid: owner, gid: group}, file(0o077), mayWrite, false},
		{"the group", person{uid: other, gid: group}, file(0o020), mayWrite, true},
		{"a further group", person{uid: other, gid: other, groups: []uint32{group}}, file(0o020), mayWrite, true},
		{"the group, which its bits shut out", person{uid: other, gid: group}, file(0o707), mayWrite, false},
		{"others", person{uid: other, gid: other}, file(0o002), mayWrite, true},
		{"others, without the right", person{uid: other, gid: other}, file(0o770), mayWrite, false},
		{"one who may read only", person{uid: other, gid: other}, file(0o774), mayWrite, false},
		{"root", person{override: true}, file(0), mayWrite, true},
		{"who may search all folders", person{uid: other, search: true}, file(os.ModeDir), mayPass, true},
		{"who may search all folders, at a socket", person{uid: other, search: true}, file(os.ModeSocket), mayWrite, false},
		{"uid 0 without capabilities", person{uid: 0}, file(0o700), mayWrite, false},
		{"named by the ACL", person{uid: named, gid: group}, file(0o070, acl...), mayWrite, true},
		{"named, and masked", person{uid: named, gid: other}, file(0o040, masked...), mayWrite, false},
		{"the ACL's group", person{uid: other, gid: other, groups: []uint32{20}}, file(0o070, acl...), mayWrite, true},
		{"two groups, of which one lets in", person{uid: other, gid: group, groups: []uint32{20}}, file(0o070, acl...), mayWrite, true},
		{"the owning group, which the ACL shuts out", person{uid: other, gid: group}, file(0o077, acl...), mayWrite, false},
		{"whom no entry names", person{uid: other, gid: other}, file(0o072, acl...), mayWrite, true},
		{"the owner, whatever the ACL has", person{uid: owner}, file(0o700, masked...), mayWrite, true},
	} {
		if ok, rule := c.me.allows(c.f, c.want); ok != c.ok || rule == "" {
			t.Errorf("%s: %v, by %q", c.name, ok, rule)
		}
	}
}

func TestDoctorProtectedLinks(t *testing.T) {
	sticky := inode{mode: os.ModeDir | os.ModeSticky | 0o777, uid: 0}
	for _, c := range []struct {
		name         string
		me           person
		link, folder inode
		refused      bool
	}{
		{"somebody else's in /tmp", person{uid: 1}, inode{uid: 2}, sticky, true},
		{"root's eyes are no better", person{uid: 0, override: true}, inode{uid: 2}, sticky, true},
		{"one's own", person{uid: 1}, inode{uid: 1}, sticky, false},
		{"the folder's owner's", person{uid: 1}, inode{uid: 0}, sticky, false},
		{"in a folder that is not sticky", person{uid: 1}, inode{uid: 2}, inode{mode: os.ModeDir | 0o777}, false},
		{"in a folder that only its owner writes to", person{uid: 1}, inode{uid: 2}, inode{mode: os.ModeDir | os.ModeSticky | 0o755}, false},
	} {
		if got := refusedLink(c.me, c.link, c.folder); got != c.refused {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestDoctorQuote(t *testing.T) {
	for s, want := range map[string]string{
		"/run/a-b_c.sock": "/run/a-b_c.sock", "@x:y": "@x:y", "it's": `'it'\''s'`, "": "''", "~x": "'~x'", "$(rm)": "'$(rm)'", "a b": "'a b'", "ü": "'ü'",
	} {
		if got := quote(s); got != want {
			t.Errorf("%q: %s", s, got)
		}
	}
}
