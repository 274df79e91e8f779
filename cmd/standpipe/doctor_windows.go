package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/windows"

	"github.com/standpipe/standpipe"
)

const pipeRoot = `\\.\pipe\`

func selfID() string {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return "" // a process always has one
	}
	return user.User.Sid.String()
}

func selfText() string { return account(selfID()) }

// quote is s as a word for cmd and PowerShell.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " ;&|<>()'`$") {
		return s
	}
	return `"` + s + `"`
}

// proposal is what may have been meant by a name that can't be one.
func proposal(d *diagnosis, name string) {
	turned := strings.ReplaceAll(name, "/", `\`)
	switch _, err := standpipe.ParseAddr(turned); {
	case err == nil && turned != name:
		d.run("with the slashes of a pipe", "standpipe doctor %s", quote(turned))
	case strings.ContainsAny(name, `/\:`) || strings.HasPrefix(name, "@"):
		d.advise(`files and abstract sockets are for Unix; here a NAME such as calc, or a path below \\.\pipe\, stands for an endpoint`)
	default:
		d.advise(`a NAME is such as calc, shared:calc or a path below \\.\pipe\`)
	}
}

// checkUp looks at the pipe and its DACL, and connects.
func checkUp(ctx context.Context, d *diagnosis, p patient) {
	me, err := ownLogon()
	if err != nil {
		d.note("you", "unknown: %v", err)
	} else {
		noteLogon(d, me)
	}
	switch sd, err := pipeDescriptor(ctx, d, p.addr.String()); {
	case err == nil:
		if noteDescriptor(d, p, me, sd) {
			return
		}
	case errors.Is(err, windows.ERROR_FILE_NOT_FOUND), errors.Is(err, windows.ERROR_PATH_NOT_FOUND):
		absent(d, p)
		return
	case errors.Is(err, windows.ERROR_PIPE_BUSY):
		taken(d, p)
		return
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		d.is("pipe-denied", "%s may not connect to %s: not even its DACL may be seen (READ_CONTROL)", selfText(), shown(p.addr.String()))
		admitMe(d, p, standpipe.Identity{})
		d.advise("or run the client as the user who runs the server, or elevated")
		return
	default:
		d.note("sddl", "unknown: %v", err)
	}
	m, err := meet(ctx, d, p, func() bool { return false })
	switch {
	case err == nil:
		m.conn.Close()
		m.judge(d, p, !strings.HasPrefix(p.addr.Name(), `\\`))
	case errors.Is(err, context.DeadlineExceeded):
		taken(d, p)
	case errors.Is(err, standpipe.ErrNoServer):
		absent(d, p)
	case errors.Is(err, standpipe.ErrWrongServer):
		d.is("wrong-server", "Windows does not say who serves %s: the pipe has no owner", shown(p.addr.String()))
		d.advise("the server has to make the pipe with an owner (O:) in its SDDL; no standpipe client connects to it before")
	case errors.Is(err, standpipe.ErrDenied):
		d.is("kernel-denied", "Windows refuses %s (%v), though its DACL allows it", shown(p.addr.String()), err)
		d.advise("look at integrity levels and AppContainers: a sandboxed program reaches only what was made for it")
	default:
		d.is("kernel-denied", "Windows refuses %s: %v", shown(p.addr.String()), err)
		d.advise("the number of the error says more: net helpmsg NUMBER")
	}
}

func noteLogon(d *diagnosis, l logon) {
	d.note("you", "user %s, groups %s", account(l.user), strings.Join(l.groups, " "))
	if len(l.denyOnly) > 0 {
		d.note("you", "only for denials: %s", strings.Join(l.denyOnly, " "))
	}
	elevated := "not elevated"
	if l.elevated {
		elevated = "elevated"
	}
	if l.integrity != "" {
		elevated += ", integrity " + account(l.integrity)
	}
	d.note("token", "%s", elevated)
}

// pipeDescriptor opens an instance for a moment. While all are taken, it waits, until ctx ends.
func pipeDescriptor(ctx context.Context, d *diagnosis, path string) (*windows.SECURITY_DESCRIPTOR, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	var h windows.Handle
	for {
		h, err = windows.CreateFile(name, windows.READ_CONTROL|windows.FILE_READ_ATTRIBUTES, 0, nil, windows.OPEN_EXISTING,
			windows.SECURITY_SQOS_PRESENT|windows.SECURITY_IDENTIFICATION, 0)
		if err == nil {
			break
		}
		if err != windows.ERROR_PIPE_BUSY {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(5 * time.Millisecond):
		}
	}
	defer windows.CloseHandle(h)
	noteKind(d, h)
	return windows.GetSecurityInfo(h, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION|
		windows.GROUP_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
}

// noteKind says what kind of pipe it is, and how many instances it has.
func noteKind(d *diagnosis, h windows.Handle) {
	var flags, most, now uint32
	if windows.GetNamedPipeInfo(h, &flags, nil, nil, &most) != nil {
		return
	}
	kind := "bytes"
	if flags&windows.PIPE_TYPE_MESSAGE != 0 {
		kind = "messages"
	}
	limit := "without a limit"
	const unlimited = 255
	if most < unlimited {
		limit = "at most " + decimal(most)
	}
	if windows.GetNamedPipeHandleState(h, nil, &now, nil, nil, nil, 0) == nil {
		limit = decimal(now) + " now, " + limit
	}
	d.note("pipe", "of %s; instances: %s", kind, limit)
}

// noteDescriptor says who owns the pipe, and sets the verdict where its DACL does not let this user in.
func noteDescriptor(d *diagnosis, p patient, me logon, sd *windows.SECURITY_DESCRIPTOR) (refused bool) {
	owner := ""
	if sid, _, err := sd.Owner(); err == nil && sid != nil {
		owner = sid.String()
		d.note("owner", "%s", account(owner))
	}
	if text := sd.String(); text != "" {
		d.note("sddl", "%s", text)
	}
	list, all, err := entries(sd)
	switch {
	case err != nil:
		d.note("dacl", "unknown: %v", err)
	case all:
		d.note("dacl", "none: everybody may do everything, also serve this name")
	default:
		remoteClients(d, list)
		return me.user != "" && me.refuse(d, p, list, owner)
	}
	return false
}

// remoteClients says whether the DACL itself keeps the network out. Whether the pipe rejects remote clients by its flag,
// Windows does not tell.
func remoteClients(d *diagnosis, list []ace) {
	for _, e := range list {
		switch {
		case e.deny && e.sid == sidNetwork:
			d.note("remote", "the DACL denies clients from the network")
			return
		case !e.deny && e.sid == sidEveryone:
			d.note("remote", "the DACL lets clients from the network in, unless the pipe was made with PIPE_REJECT_REMOTE_CLIENTS")
			return
		}
	}
}

// taken: all instances have their clients.
func taken(d *diagnosis, p patient) {
	pipes, err := allPipes()
	for _, pipe := range pipes {
		if err == nil && strings.EqualFold(pipeRoot+pipe.name, p.addr.String()) {
			d.note("instances", "%d", pipe.instances)
		}
	}
	d.is("busy", "for %v every instance of %s was taken by a client", p.timeout, shown(p.addr.String()))
	d.advise("the server is blocked, has reached its limit of instances, or has ended while connections of it stay: look at its log, or restart it and its clients")
}

// absent: there is no such pipe. Another user's of that name may be there, or another name was meant.
func absent(d *diagnosis, p patient) {
	name := p.addr.Name()
	d.is("missing", "nobody is listening: there is no pipe %s", shown(p.addr.String()))
	d.advise("start the server, or wait for it: standpipe.DialConfig{Wait: true}")
	pipes, err := allPipes()
	if err != nil {
		d.note("pipes", "can't be listed: %v", err)
		return
	}
	if strings.HasPrefix(name, `\\`) {
		nearPipes(d, p, pipes)
		return
	}
	if sid := servedFor(pipes, name); sid != "" && sid != selfID() {
		d.mend = nil
		d.is("elsewhere", "nobody serves your %s; user %s serves one of their own", name, account(sid))
		d.program("in the server, if it is meant for others", `standpipe.Listen("shared:%s", &standpipe.ListenConfig{Policy: standpipe.Policy{}.Or(standpipe.User(%q))})`, name, selfID())
		d.advise("or start the server as %s", selfText())
		return
	}
	addrs, _ := standpipe.List() // what allPipes could list, List can
	var names []string
	for _, a := range addrs {
		names = append(names, a.Name())
	}
	for _, name := range near(name, names) {
		d.advise("perhaps %s was meant, which is being served", name)
	}
}

func nearPipes(d *diagnosis, p patient, pipes []pipe) {
	var names []string
	for _, pipe := range pipes {
		names = append(names, pipe.name)
	}
	for _, name := range near(strings.TrimPrefix(p.addr.Name(), pipeRoot), names) {
		d.advise("perhaps %s was meant, which is there", pipeRoot+name)
	}
}

// servedFor is the SID of a user who serves a personal name.
func servedFor(pipes []pipe, name string) string {
	for _, pipe := range pipes {
		parts := strings.Split(pipe.name, `\`)
		if len(parts) == 3 && strings.EqualFold(parts[0], "standpipe") && strings.EqualFold(parts[2], name) {
			return strings.ToUpper(parts[1])
		}
	}
	return ""
}
