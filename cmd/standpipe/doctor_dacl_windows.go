package main

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// pipeRights are what a client of standpipe asks for, 0x12019b, by name.
var pipeRights = []struct {
	bit  uint32
	name string
}{
	{windows.FILE_READ_DATA, "FILE_READ_DATA"}, {windows.FILE_WRITE_DATA, "FILE_WRITE_DATA"},
	{windows.FILE_READ_EA, "FILE_READ_EA"}, {windows.FILE_WRITE_EA, "FILE_WRITE_EA"},
	{windows.FILE_READ_ATTRIBUTES, "FILE_READ_ATTRIBUTES"}, {windows.FILE_WRITE_ATTRIBUTES, "FILE_WRITE_ATTRIBUTES"},
	{windows.READ_CONTROL, "READ_CONTROL"}, {windows.SYNCHRONIZE, "SYNCHRONIZE"},
}

const (
	sidNetwork        = "S-1-5-2"
	sidAdministrators = "S-1-5-32-544"
	sidEveryone       = "S-1-1-0"
)

// logon is what a token says of its process.
type logon struct {
	user      string
	groups    []string // that count
	denyOnly  []string // that count for denials only: those of an administrator who is not elevated
	elevated  bool
	integrity string
}

func ownLogon() (l logon, err error) {
	token := windows.GetCurrentProcessToken()
	user, err := token.GetTokenUser()
	if err != nil {
		return l, err
	}
	groups, err := token.GetTokenGroups()
	if err != nil {
		return l, err
	}
	l.user, l.elevated = user.User.Sid.String(), token.IsElevated()
	for _, g := range groups.AllGroups() {
		switch sid := g.Sid.String(); {
		case g.Attributes&windows.SE_GROUP_INTEGRITY != 0:
			l.integrity = sid
		case g.Attributes&windows.SE_GROUP_USE_FOR_DENY_ONLY != 0:
			l.denyOnly = append(l.denyOnly, sid)
		case g.Attributes&windows.SE_GROUP_ENABLED != 0:
			l.groups = append(l.groups, sid)
		}
	}
	return l, nil
}

// ace is an entry of a DACL: whom it is about, and the rights that it grants or denies.
type ace struct {
	deny bool
	mask uint32
	sid  string
}

func (e ace) String() string {
	word := "allows"
	if e.deny {
		word = "denies"
	}
	return fmt.Sprintf("the entry that %s %#x to %s", word, e.mask, account(e.sid))
}

// entries reads a DACL. All is true where there is none, and everybody may do everything.
func entries(sd *windows.SECURITY_DESCRIPTOR) (list []ace, all bool, err error) {
	dacl, _, err := sd.DACL()
	if err == windows.ERROR_OBJECT_NOT_FOUND || err == nil && dacl == nil {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	for i := range uint32(dacl.AceCount) {
		var e *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &e); err != nil {
			return nil, false, err
		}
		const inheritOnly = 0x08
		if e.Header.AceType > windows.ACCESS_DENIED_ACE_TYPE || e.Header.AceFlags&inheritOnly != 0 {
			continue // entries of other kinds do not speak of users' rights alone
		}
		sid := (*windows.SID)(unsafe.Pointer(&e.SidStart))
		list = append(list, ace{e.Header.AceType == windows.ACCESS_DENIED_ACE_TYPE, specific(uint32(e.Mask)), sid.String()})
	}
	return list, false, nil
}

// specific replaces generic rights by what they mean for a pipe.
func specific(mask uint32) uint32 {
	for generic, rights := range map[uint32]uint32{
		windows.GENERIC_READ: windows.FILE_GENERIC_READ, windows.GENERIC_WRITE: windows.FILE_GENERIC_WRITE,
		windows.GENERIC_EXECUTE: windows.FILE_GENERIC_EXECUTE, windows.GENERIC_ALL: 0x1f01ff,
	} {
		if mask&generic != 0 {
			mask = mask&^generic | rights
		}
	}
	return mask
}

// missing are the rights, of those that a client needs, that the DACL does not grant, each with why: the first entry that
// speaks of the right and of the user decides.
func (l logon) missing(list []ace, owner string) (names []string, decisive *ace) {
	for _, right := range pipeRights {
		if right.bit == windows.READ_CONTROL && owner == l.user {
			continue // an owner always has it
		}
		granted := false
		for _, e := range list {
			mine := e.sid == l.user || e.sid == sidEveryone || slices.Contains(l.groups, e.sid)
			if e.mask&right.bit == 0 || !mine && !(e.deny && slices.Contains(l.denyOnly, e.sid)) {
				continue
			}
			if granted = !e.deny; !granted && decisive == nil {
				decisive = &e
			}
			break
		}
		if !granted {
			names = append(names, right.name)
		}
	}
	return names, decisive
}

// refuse sets the verdict on a DACL that does not let l in, and says what to do.
func (l logon) refuse(d *diagnosis, p patient, list []ace, owner string) bool {
	names, decisive := l.missing(list, owner)
	if len(names) == 0 {
		return false
	}
	why := "no entry of the DACL grants it"
	if decisive != nil {
		why = "by " + decisive.String()
	}
	d.note("lacking", "%s: %s", strings.Join(names, " "), why)
	if decisive != nil && decisive.sid == sidNetwork {
		d.is("network-logon", "%s has logged on over the network (SSH, WinRM), and the pipe takes such logons for remote clients", account(l.user))
		d.advise("run the client in a logon of its own: by the task scheduler, as a service, or at the console")
		return true
	}
	d.is("pipe-denied", "%s may not connect to %s: the right %s is missing", account(l.user), shown(p.addr.String()), names[0])
	if slices.Contains(l.denyOnly, sidAdministrators) {
		as := logon{user: l.user, groups: append(slices.Clone(l.groups), sidAdministrators)}
		if names, _ := as.missing(list, owner); len(names) == 0 {
			d.run("the Administrators may, and you are one: in PowerShell, to be elevated", "Start-Process -Verb RunAs powershell")
			return true
		}
	}
	d.program("in the server", `standpipe.Listen(%q, &standpipe.ListenConfig{Policy: standpipe.Policy{}.Or(standpipe.User(%q))})`, p.addr.Name(), l.user)
	d.run("the same, for a server of this command", "standpipe serve --policy self,user:%s %s", l.user, quote(p.addr.Name()))
	d.advise("another program's server has to add (A;;0x12019b;;;%s) to its SDDL", l.user)
	return true
}

// account is a SID with the name that it has.
func account(text string) string {
	sid, err := windows.StringToSid(text)
	if err != nil {
		return text
	}
	name, domain, _, err := sid.LookupAccount("")
	switch {
	case err != nil:
		return text
	case domain == "":
		return text + " (" + name + ")"
	}
	return text + ` (` + domain + `\` + name + `)`
}
