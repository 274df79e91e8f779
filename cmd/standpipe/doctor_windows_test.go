package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/standpipe/standpipe"
)

// rawPipe is another program's server, with that many instances, which serves nobody. An SDDL of "" leaves the system's default.
func rawPipe(t *testing.T, sddl string, instances uint32, kind uint32) (path string) {
	t.Helper()
	path = pipeRoot + "t-" + strings.ToLower(rand.Text()[:10])
	var sa *windows.SecurityAttributes
	if sddl != "" {
		sd, err := windows.SecurityDescriptorFromString(sddl)
		if err != nil {
			t.Fatal(err)
		}
		sa = &windows.SecurityAttributes{SecurityDescriptor: sd}
		sa.Length = uint32(unsafe.Sizeof(*sa))
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		t.Fatal(err)
	}
	for range instances {
		h, err := windows.CreateNamedPipe(name, windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED, kind, instances, 4096, 4096, 0, sa)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { windows.CloseHandle(h) })
	}
	return path
}

// occupy takes an instance.
func occupy(t *testing.T, path string) {
	t.Helper()
	name, _ := windows.UTF16PtrFromString(path)
	h, err := windows.CreateFile(name, windows.GENERIC_READ, 0, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { windows.CloseHandle(h) })
}

// ownServer is one of this package.
func ownServer(t *testing.T, name string, cfg *standpipe.ListenConfig) {
	t.Helper()
	ln, err := standpipe.Listen(name, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		var conns []*standpipe.Conn
		for {
			c, err := ln.AcceptConn()
			if err != nil {
				break
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			c.Close()
		}
	}()
}

// The matrix of doctor: pipes that are broken for real.
func TestDoctorMatrix(t *testing.T) {
	me := selfID()
	name := func() string { return "t-" + strings.ToLower(rand.Text()[:10]) }
	soon := []string{"--timeout", "300ms", "--quiet", "50ms"}
	patient := []string{"--timeout", "30s", "--quiet", "30s"}
	calm := []string{"--timeout", "30s", "--quiet", "50ms"}
	byDefault := struct {
		word string
		code int
	}{"ok", 0}
	if mayNotList() {
		byDefault.word, byDefault.code = "wrong-server", 4 // under Wine such a pipe has no owner
	}
	closed := "O:" + me + "G:" + me + "D:P"
	for _, c := range []struct {
		name  string
		flags []string
		set   func(t *testing.T) string
		word  string
		code  int
		says  []string
	}{
		{"ours", calm, func(t *testing.T) string { n := name(); ownServer(t, n, nil); return n }, "ok", 0, []string{"denies clients from the network"}},
		{"ours, of messages", calm, func(t *testing.T) string {
			n := name()
			ownServer(t, n, &standpipe.ListenConfig{Messages: true})
			return n
		}, "ok", 0, []string{"of messages"}},
		{"another program's", calm, func(t *testing.T) string { return rawPipe(t, closed+"(A;;GA;;;"+me+")", 4, 0) }, "ok", 0, []string{"of bytes; instances: 4 now, at most 4", "waiting for the client"}},
		{"another program's, of messages", calm, func(t *testing.T) string { return rawPipe(t, closed+"(A;;GA;;;"+me+")", 4, windows.PIPE_TYPE_MESSAGE) }, "ok", 0, []string{"of messages"}},
		{"open to the network", calm, func(t *testing.T) string { return rawPipe(t, closed+"(A;;GRGW;;;WD)", 4, 0) }, "ok", 0, []string{"lets clients from the network in"}},
		{"another's pipe of the system's default", calm, func(t *testing.T) string { return rawPipe(t, "", 4, 0) }, byDefault.word, byDefault.code, nil},
		{"nobody has that name", calm, func(t *testing.T) string { return name() }, "missing", 3, []string{"Wait: true"}},
		{"nobody has that path", calm, func(t *testing.T) string { return pipeRoot + name() }, "missing", 3, nil},
		{"an empty DACL", calm, func(t *testing.T) string { return rawPipe(t, closed, 4, 0) }, "pipe-denied", 4, []string{"FILE_READ_DATA FILE_WRITE_DATA", "no entry", "User("}},
		{"the right to read only", calm, func(t *testing.T) string { return rawPipe(t, closed+"(A;;GR;;;"+me+")", 4, 0) }, "pipe-denied", 4, []string{"the right FILE_WRITE_DATA is missing", "FILE_WRITE_DATA FILE_WRITE_EA FILE_WRITE_ATTRIBUTES: no entry"}},
		{"the right to write only", calm, func(t *testing.T) string { return rawPipe(t, closed+"(A;;GW;;;"+me+")", 4, 0) }, "pipe-denied", 4, []string{"the right FILE_READ_DATA is missing"}},
		{"somebody else's", calm, func(t *testing.T) string { return rawPipe(t, closed+"(A;;GA;;;LS)", 4, 0) }, "pipe-denied", 4, []string{"(A;;0x12019b;;;" + me + ")"}},
		{"denied by name", calm, func(t *testing.T) string { return rawPipe(t, closed+"(D;;GW;;;"+me+")(A;;GA;;;WD)", 4, 0) }, "pipe-denied", 4, []string{"by the entry that denies"}},
		{"denied for everybody", calm, func(t *testing.T) string { return rawPipe(t, closed+"(D;;GA;;;WD)(A;;GA;;;"+me+")", 4, 0) }, "pipe-denied", 4, []string{"S-1-1-0"}},
		{"every instance is taken", soon, func(t *testing.T) string {
			p := rawPipe(t, closed+"(A;;GA;;;"+me+")", 1, 0)
			occupy(t, p)
			return p
		}, "busy", 1, []string{"limit of instances"}},
		{"a policy that names another", patient, func(t *testing.T) string {
			p := pipeRoot + name()
			ownServer(t, p, &standpipe.ListenConfig{Policy: standpipe.User("S-1-5-19")})
			return p
		}, "turned-away", 4, []string{"hung up"}},
		{"another server is expected", append(slices.Clone(calm), "--policy", "user:S-1-5-19"), func(t *testing.T) string { n := name(); ownServer(t, n, nil); return n }, "wrong-server", 4, []string{"sits on the name"}},
		{"another machine's", calm, func(t *testing.T) string { return `\\server\pipe\x` }, "remote", 2, []string{"SSH"}},
		{"slashes", calm, func(t *testing.T) string { return "//./pipe/docker_engine" }, "bad-name", 2, []string{`standpipe doctor \\.\pipe\docker_engine`}},
		{"a Unix path", calm, func(t *testing.T) string { return "/run/docker.sock" }, "bad-name", 2, []string{"for Unix"}},
		{"a file", calm, func(t *testing.T) string { return `C:\x.sock` }, "bad-name", 2, []string{"for Unix"}},
		{"a bad name", calm, func(t *testing.T) string { return "calc!" }, "bad-name", 2, nil},
		{"a path that is too long", calm, func(t *testing.T) string { return pipeRoot + strings.Repeat("x", 300) }, "too-long", 2, []string{"256"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := runHere(t, "", append(append([]string{"doctor", "--json"}, c.flags...), c.set(t))...)
			var r struct {
				Verdict string
				Code    int
				Mend    []remedy
			}
			if err := json.Unmarshal([]byte(out), &r); err != nil || errs != "" {
				t.Fatalf("%v: %s%s", err, out, errs)
			}
			if r.Verdict != c.word || code != c.code || r.Code != code || code != 0 && len(r.Mend) == 0 {
				t.Fatalf("the verdict is %s, %d, not %s, %d: %s", r.Verdict, code, c.word, c.code, out)
			}
			for _, s := range c.says {
				quoted, _ := json.Marshal(s)
				if !strings.Contains(out, string(quoted[1:len(quoted)-1])) {
					t.Errorf("it does not say %q: %s", s, out)
				}
			}
		})
	}
}

// The reading of a DACL, for logons that this machine does not have, and held against AccessCheck for the one that it has.
func TestDoctorDACL(t *testing.T) {
	me, err := ownLogon()
	if err != nil {
		t.Fatal(err)
	}
	remote := logon{user: me.user, groups: []string{sidNetwork}}
	limited := logon{user: me.user, denyOnly: []string{sidAdministrators}}
	for _, c := range []struct {
		who  logon
		dacl string
		word string
		says string
	}{
		{me, "(A;;0x12019b;;;" + me.user + ")", "", ""},
		{me, "(A;;FA;;;WD)", "", ""},
		{me, "(A;;FR;;;WD)(A;;FW;;;" + me.user + ")", "", ""},
		{me, "(A;;FA;;;WD)(D;;FA;;;" + me.user + ")", "", ""}, // the first that speaks of it decides
		{me, "(D;;0x2;;;WD)(A;;FA;;;" + me.user + ")", "pipe-denied", "FILE_WRITE_DATA"},
		{me, "(D;;FA;;;NU)(A;;FA;;;" + me.user + ")", "", ""},
		{me, "(A;IO;FA;;;" + me.user + ")", "pipe-denied", "no entry"},
		{me, "(A;;0x4;;;" + me.user + ")", "pipe-denied", "no entry"},
		{remote, "(D;;FA;;;NU)(A;;FA;;;" + me.user + ")", "network-logon", "task scheduler"},
		{remote, "(A;;FA;;;" + me.user + ")", "", ""},
		{limited, "(A;;FA;;;BA)", "pipe-denied", "RunAs"},
		{limited, "(D;;FA;;;BA)(A;;FA;;;WD)", "pipe-denied", "the entry that denies"},
		{limited, "(A;;FA;;;SY)", "pipe-denied", "0x12019b"},
	} {
		sd, err := windows.SecurityDescriptorFromString("O:SYG:SYD:P" + c.dacl)
		if err != nil {
			t.Fatal(err)
		}
		list, all, err := entries(sd)
		if err != nil || all {
			t.Fatalf("%s: %v, %v", c.dacl, all, err)
		}
		addr, err := standpipe.ParseAddr("calc")
		if err != nil {
			t.Fatal(err)
		}
		d := &diagnosis{}
		c.who.refuse(d, patient{addr: addr}, list, "S-1-5-18")
		if d.word != c.word || !strings.Contains(fmt.Sprint(d), c.says) {
			t.Errorf("%s: %v, want %q, and %q", c.dacl, d, c.word, c.says)
		}
		if c.who.user == me.user && len(c.who.groups) == len(me.groups) {
			if lets := accessCheck(t, sd); lets != (c.word == "") {
				t.Errorf("%s: AccessCheck says %v", c.dacl, lets)
			}
		}
	}
}

// accessCheck is what Windows says of this process.
func accessCheck(t *testing.T, sd *windows.SECURITY_DESCRIPTOR) bool {
	t.Helper()
	var token windows.Token
	err := windows.DuplicateTokenEx(windows.GetCurrentProcessToken(), windows.TOKEN_QUERY, nil, windows.SecurityIdentification, windows.TokenImpersonation, &token)
	if err != nil {
		t.Fatal(err)
	}
	defer token.Close()
	mapping := [4]uint32{windows.FILE_GENERIC_READ, windows.FILE_GENERIC_WRITE, windows.FILE_GENERIC_EXECUTE, 0x1f01ff}
	var privileges [256]uint32
	size, granted, status := uint32(unsafe.Sizeof(privileges)), uint32(0), uint32(0)
	r, _, err := windows.NewLazySystemDLL("advapi32.dll").NewProc("AccessCheck").Call(uintptr(unsafe.Pointer(sd)), uintptr(token), 0x12019b,
		uintptr(unsafe.Pointer(&mapping)), uintptr(unsafe.Pointer(&privileges)), uintptr(unsafe.Pointer(&size)),
		uintptr(unsafe.Pointer(&granted)), uintptr(unsafe.Pointer(&status)))
	if r == 0 {
		t.Fatal(err)
	}
	return status != 0
}

func TestDoctorElsewhere(t *testing.T) {
	pipes := []pipe{{"docker_engine", 1}, {`standpipe\s-1-5-21-1-2-3-1001\calc`, 2}, {`standpipe\S-1-5-21-1-2-3-1001\pair\calc`, 1}}
	if sid := servedFor(pipes, "Calc"); sid != "S-1-5-21-1-2-3-1001" {
		t.Errorf("calc is served for %q", sid)
	}
	if sid := servedFor(pipes, "pair"); sid != "" {
		t.Errorf("pair is served for %q", sid)
	}
}

// What list says of an endpoint, which Wine does not let it find.
func TestListLook(t *testing.T) {
	name := "t-" + strings.ToLower(rand.Text()[:10])
	ownServer(t, name, nil)
	addr, err := standpipe.ParseAddr(name)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e := look(listed{Name: name, Path: addr.String()})
	if e.Owner != selfID() || e.OwnerName == "" || e.PID != os.Getpid() || !strings.EqualFold(e.Program, exe) {
		t.Errorf("%+v; this is %s, process %d, of %s", e, exe, os.Getpid(), selfID())
	}
	if e := look(listed{Path: pipeRoot + "t-none"}); e.Owner != "" || e.PID != 0 {
		t.Errorf("of nothing: %+v", e)
	}
}
