package standpipe

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"
)

// ownToken is this process's token, fit for AccessCheck; without the groups that are named, if any.
func ownToken(t testing.TB, without ...string) windows.Token {
	t.Helper()
	process := windows.GetCurrentProcessToken()
	if len(without) > 0 {
		var all windows.Token
		err := windows.OpenProcessToken(windows.CurrentProcess(), windows.TOKEN_ALL_ACCESS, &all)
		if err != nil {
			t.Fatal(err)
		}
		defer all.Close()
		var disable []windows.SIDAndAttributes
		for _, s := range without {
			sid, err := windows.StringToSid(s)
			if err != nil {
				t.Fatal(err)
			}
			disable = append(disable, windows.SIDAndAttributes{Sid: sid})
		}
		var restricted windows.Token
		r, _, err := advapi32.NewProc("CreateRestrictedToken").Call(uintptr(all), 0, uintptr(len(disable)),
			uintptr(unsafe.Pointer(&disable[0])), 0, 0, 0, 0, uintptr(unsafe.Pointer(&restricted)))
		if r == 0 {
			t.Fatal(err)
		}
		defer restricted.Close()
		process = restricted
	}
	var token windows.Token
	err := windows.DuplicateTokenEx(process, windows.TOKEN_QUERY|windows.TOKEN_DUPLICATE, nil, windows.SecurityIdentification,
		windows.TokenImpersonation, &token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	return token
}

// TestCompiledAccess asks Windows what compiled policies mean. The tests run as a member of Administrators.
func TestCompiledAccess(t *testing.T) {
	const service, system = "S-1-5-19", sidSystem
	me := currentUser()
	full, less := ownToken(t), ownToken(t, sidAdministrators)
	for _, c := range []struct {
		server         string
		guard          guard
		admitted, less bool // this process; this process without Administrators
	}{
		{me, guard{users: []string{me}}, true, true},
		{service, guard{users: []string{service}}, false, false},
		{service, guard{users: []string{service, me}}, true, true},
		{service, guard{groups: []string{sidAdministrators}}, true, false},
		{service, guard{groups: []string{"S-1-5-32-551"}}, false, false}, // Backup Operators
		{service, guard{users: []string{system}, groups: []string{"S-1-5-11"}}, true, true},
		{service, guard{anyone: true}, true, true},
	} {
		sd, err := userDescriptor(c.guard.sddl(c.server))
		if err != nil {
			t.Fatal(err)
		}
		for token, want := range map[windows.Token]bool{full: c.admitted, less: c.less} {
			got, err := accessCheck(token, sd, clientAccess)
			if err != nil || got != want {
				t.Errorf("%v: admitted %v, %v, want %v", sd, got, err, want)
			}
			// What would make a server of a client is the server's alone.
			got, err = accessCheck(token, sd, clientAccess|windows.FILE_APPEND_DATA)
			if want := c.server == me; err != nil || got != want {
				t.Errorf("%v: may make instances %v, %v, want %v", sd, got, err, want)
			}
		}
	}
}

// TestNetworkDenied: the denial stands before every grant, and is of everything.
func TestNetworkDenied(t *testing.T) {
	for _, g := range []guard{{anyone: true}, {users: []string{currentUser()}}, {groups: []string{sidAdministrators}}} {
		s := g.sddl(currentUser())
		if !strings.Contains(s, "D:P(D;;FA;;;NU)(A;") || strings.Count(s, "(D;") != 1 {
			t.Error(s)
		}
	}
}

// TestPipeDescriptor: what was compiled is what the pipe has.
func TestPipeDescriptor(t *testing.T) {
	l, err := Listen(freshName(), &ListenConfig{Policy: Group("Administrators").Or(User("SYSTEM"))})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(soon(t), l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.end.control(func(h windows.Handle) error {
		sd, err := windows.GetSecurityInfo(h, windows.SE_KERNEL_OBJECT,
			windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
		if err != nil {
			t.Error(err)
			return nil
		}
		me := currentUser()
		want, _ := windows.SecurityDescriptorFromString("O:" + me + "D:P(D;;FA;;;NU)(A;;FA;;;" + me + ")(A;;0x12019b;;;SY)(A;;0x12019b;;;BA)")
		if sd.String() != want.String() {
			t.Errorf("the pipe has %v\nwant %v", sd, want)
		}
		return nil
	})
}

// TestAskedAccess: a client asks for what it may have, and no more.
func TestAskedAccess(t *testing.T) {
	c, _ := connected(t, nil)
	c.end.control(func(h windows.Handle) error {
		var basic struct {
			attributes, access, handles, pointers uint32
			rest                                  [10]uint32
		}
		r, _, _ := windows.NewLazySystemDLL("ntdll.dll").NewProc("NtQueryObject").Call(uintptr(h), 0,
			uintptr(unsafe.Pointer(&basic)), unsafe.Sizeof(basic), 0)
		if r != 0 || basic.access != clientAccess {
			t.Errorf("status %#x, access %#x, want %#x", r, basic.access, clientAccess)
		}
		return nil
	})
}

// TestNoImpersonation: Wine does not tell levels apart, so what is asked for has to do.
func TestNoImpersonation(t *testing.T) {
	const levels, dynamic = 0x30000, 0x40000
	if openFlags&windows.SECURITY_SQOS_PRESENT == 0 || openFlags&levels != windows.SECURITY_IDENTIFICATION || openFlags&dynamic != 0 {
		t.Errorf("a server may do %#x with its client", openFlags)
	}
}

func TestUserDescriptor(t *testing.T) {
	me := currentUser()
	for _, bad := range []string{"nonsense", "D:P(A;;FA;;;WD)", "O:" + me, "O:" + me + "D:NO_ACCESS_CONTROL", "O:" + me + "D:P(A;;FA;;;SY"} {
		if l, err := Listen(freshName(), &ListenConfig{SDDL: bad}); err == nil {
			l.Close()
			t.Errorf("%q was taken", bad)
		} else if !strings.Contains(err.Error(), "SDDL") {
			t.Errorf("%q: %v does not say where to look", bad, err)
		}
	}
	if l, err := Listen(freshName(), &ListenConfig{SDDL: "O:" + me + "D:P(A;;FA;;;SY)(A;;0x12019b;;;" + me + ")"}); !errors.Is(err, ErrDenied) {
		if err == nil {
			l.Close()
		}
		t.Errorf("a descriptor by which the server can't make its second instance: %v", err)
	}
	for _, good := range []string{"O:" + me + "D:P(A;;FA;;;" + me + ")", "O:" + me + "G:BAD:P(A;;GA;;;" + me + ")", "O:" + me + "D:(A;;FA;;;BA)"} {
		l, err := Listen(freshName(), &ListenConfig{SDDL: good})
		if err != nil {
			t.Errorf("%q: %v", good, err)
			continue
		}
		defer l.Close()
		c, err := Dial(soon(t), l.Addr().String(), nil)
		if err != nil {
			t.Errorf("%q: %v", good, err)
			continue
		}
		defer c.Close()
		s, err := l.AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
}

// asked makes a listener that takes its clients to have token.
func asked(t *testing.T, cfg ListenConfig, by senses) *Listener {
	t.Helper()
	addr, err := parseAddr(freshName())
	if err != nil {
		t.Fatal(err)
	}
	g, err := cfg.Policy.compile(Policy{self: true})
	if err != nil {
		t.Fatal(err)
	}
	l, err := listenWith(addr, cfg, g, by)
	if err != nil {
		t.Fatal(err)
	}
	ln := &Listener{addr: addr, guard: g, l: l, closed: make(chan struct{})}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// taking takes every client to be whom the token is of.
func taking(token windows.Token) tokenTaker {
	return func(*endpoint, windows.Handle) (taken windows.Token, err error) {
		err = windows.DuplicateTokenEx(token, windows.TOKEN_QUERY, nil, windows.SecurityIdentification,
			windows.TokenImpersonation, &taken)
		return taken, err
	}
}

// TestSDDLAtAccept: the client's token is held against the descriptor, and against a Policy where there is one.
func TestSDDLAtAccept(t *testing.T) {
	admins := "O:" + currentUser() + "D:P(A;;FA;;;BA)"
	for name, c := range map[string]struct {
		policy   Policy
		without  []string
		admitted bool
	}{
		"admitted":          {Policy{}, nil, true},
		"not by descriptor": {Policy{}, []string{sidAdministrators}, false},
		"not by policy":     {User(sidSystem), nil, false},
		"by both":           {Group(sidAdministrators), nil, true},
		"by policy alone":   {Anyone(), []string{sidAdministrators}, false},
	} {
		t.Run(name, func(t *testing.T) {
			take := taking(ownToken(t, c.without...))
			wantAdmitted(t, asked(t, ListenConfig{SDDL: admins, Policy: c.policy}, senses{take, muteLimit}), c.admitted)
		})
	}
}

// wantAdmitted dials l, as whom l takes every client to be.
func wantAdmitted(t *testing.T, l *Listener, want bool) {
	t.Helper()
	go func() {
		if c, err := l.Accept(); err == nil {
			io.WriteString(c, "welcome")
			c.Close()
		}
	}()
	c, err := Dial(soon(t), l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	if err != nil || (string(got) == "welcome") != want || (l.Refused() == 0) != want {
		t.Fatalf("read %q, %v; %d refused", got, err, l.Refused())
	}
}

// TestPolicyAtAccept: the second check goes by the client's token, whatever the pipe's DACL let in; Wine's lets everybody in.
func TestPolicyAtAccept(t *testing.T) {
	for _, c := range []struct {
		policy   Policy
		without  []string
		admitted bool
	}{
		{Policy{}, nil, true},
		{User(sidSystem), nil, false},
		{Group("Administrators"), nil, true},
		{Group("Administrators"), []string{sidAdministrators}, false},
		{Group("Administrators").Or(User(currentUser())), []string{sidAdministrators}, true},
		{Anyone(), nil, true},
	} {
		take := taking(ownToken(t, c.without...))
		wantAdmitted(t, asked(t, ListenConfig{Policy: c.policy}, senses{take, muteLimit}), c.admitted)
	}
}

// TestAnonymousRefused: a client that opened the pipe with SECURITY_ANONYMOUS has no token that can be read.
func TestAnonymousRefused(t *testing.T) {
	take := func(*endpoint, windows.Handle) (windows.Token, error) { return 0, windows.ERROR_CANT_OPEN_ANONYMOUS }
	wantAdmitted(t, asked(t, ListenConfig{Policy: Anyone()}, senses{take, muteLimit}), false)
	for _, r := range []*rules{nil, {sd: &windows.SECURITY_DESCRIPTOR{}}} {
		e := &endpoint{rules: r}
		if err := e.admitted(&guard{anyone: true}, Identity{}); !errors.Is(err, ErrDenied) {
			t.Error(err)
		}
	}
}

func TestWrongServer(t *testing.T) {
	name := freshName()
	server := rawServer(t, name, windows.PIPE_TYPE_BYTE, "O:"+currentUser()+"D:P(A;;FA;;;WD)")
	defer windows.CloseHandle(server)
	_, err := Dial(soon(t), name, &DialConfig{Policy: User("S-1-5-19")})
	if !errors.Is(err, ErrWrongServer) || !errors.Is(err, ErrDenied) {
		t.Fatal(err)
	}
	var n uint32
	b := make([]byte, 10)
	if err := windows.ReadFile(server, b, &n, nil); n != 0 || opRead.means(err) != io.EOF {
		t.Fatalf("the wrong server read %d bytes, %v", n, err)
	}
}

// TestServerOwner: by default the user's own servers, and the superuser's, are served by.
func TestServerOwner(t *testing.T) {
	for sddl, want := range map[string]error{
		"O:" + currentUser() + "D:P(A;;FA;;;WD)": nil,
		"O:BAD:P(A;;FA;;;WD)":                    nil,
		"O:SYD:P(A;;FA;;;WD)":                    nil,
		"O:S-1-5-19D:P(A;;FA;;;WD)":              ErrWrongServer,
		"O:BUD:P(A;;FA;;;WD)":                    ErrWrongServer, // all Users
	} {
		name := freshName()
		server := rawServer(t, name, windows.PIPE_TYPE_BYTE, sddl)
		c, err := Dial(soon(t), name, nil)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", sddl, err, want)
		}
		if err == nil {
			if id := c.Identity(); !strings.Contains(sddl, id.User) && len(id.User) > 20 {
				t.Errorf("%s: the server is %v", sddl, id)
			}
			c.Close()
		}
		windows.CloseHandle(server)
	}
}

// TestNoOwner: a server of whom the system does not say who it is, as Wine does not where a pipe has no descriptor.
func TestNoOwner(t *testing.T) {
	g := guard{anyone: true, users: []string{""}, groups: []string{""}}
	if err := g.check(Identity{PID: 1}, ErrWrongServer, "the server"); !errors.Is(err, ErrWrongServer) {
		t.Fatal(err)
	}
	if !onWine() {
		return
	}
	name := freshName()
	server := rawServer(t, name, windows.PIPE_TYPE_BYTE, "")
	defer windows.CloseHandle(server)
	if _, err := Dial(soon(t), name, &DialConfig{Policy: Anyone()}); !errors.Is(err, ErrWrongServer) {
		t.Fatal(err)
	}
}

// TestMessagesMismatch: a client that wants messages, and a pipe of bytes. (Wine takes this package's own pipes for pipes of
// messages, whatever they are asked to be, so it has to be a raw one.)
func TestMessagesMismatch(t *testing.T) {
	name := freshName()
	server := rawServer(t, name, windows.PIPE_TYPE_BYTE, "")
	defer windows.CloseHandle(server)
	if _, err := Dial(soon(t), name, &DialConfig{Messages: true}); !errors.Is(err, ErrMessages) {
		t.Fatal(err)
	}
}

func TestIdentity(t *testing.T) {
	c, s := connected(t, nil)
	for who, id := range map[string]Identity{"server": c.Identity(), "client": s.Identity()} {
		if id.User != currentUser() || id.PID != int(windows.GetCurrentProcessId()) {
			t.Errorf("the %s is %v", who, id)
		}
	}
	if !slices.Contains(s.Identity().Groups, sidAdministrators) || !slices.Contains(s.Identity().Groups, "S-1-1-0") {
		t.Errorf("the client's groups are %v", s.Identity().Groups)
	}
	without, err := tokenIdentity(ownToken(t, sidAdministrators))
	if err != nil || slices.Contains(without.Groups, sidAdministrators) || !slices.Contains(without.Groups, "S-1-1-0") {
		t.Errorf("a process without Administrators has %v, %v", without.Groups, err)
	}
	if path, err := s.Program(); err != nil || !strings.HasSuffix(path, ".exe") {
		t.Error(path, err)
	}
	if s.end.token != 0 {
		t.Error("the token is kept beyond Accept")
	}
}

func TestLookups(t *testing.T) {
	for _, c := range []struct{ name, user, group string }{
		{"SYSTEM", sidSystem, sidSystem},
		{`NT AUTHORITY\SYSTEM`, sidSystem, sidSystem},
		{"Administrators", "", sidAdministrators},
		{`BUILTIN\Administrators`, "", sidAdministrators},
		{"S-1-5-32-544", sidAdministrators, sidAdministrators},
		{userName(currentUser()), currentUser(), ""},
		{"nobody-is-called-so", "", ""},
		{"S-1-x", "", ""},
		{"", "", ""},
	} {
		if got, err := lookupUser(c.name); got != c.user || (err == nil) != (c.user != "") {
			t.Errorf("user %q: %q, %v, want %q", c.name, got, err, c.user)
		}
		if got, err := lookupGroup(c.name); got != c.group || (err == nil) != (c.group != "") {
			t.Errorf("group %q: %q, %v, want %q", c.name, got, err, c.group)
		}
	}
	if userName("S-1-5-21-1-2-3-4") != "" || userName("alice") != "" {
		t.Error("names for nobody")
	}
}
