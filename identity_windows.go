package standpipe

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

const (
	sidSystem         = "S-1-5-18"
	sidAdministrators = "S-1-5-32-544"
	sidAnonymous      = "S-1-5-7"
)

var (
	advapi32                       = windows.NewLazySystemDLL("advapi32.dll")
	procImpersonateNamedPipeClient = advapi32.NewProc("ImpersonateNamedPipeClient")
	procAccessCheck                = advapi32.NewProc("AccessCheck")
)

// currentUser is the SID of the process's user. A process always has one.
var currentUser = sync.OnceValue(func() string {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		panic("standpipe: this process has no user: " + err.Error())
	}
	return user.User.Sid.String()
})

func superuser() Policy { return User(sidSystem, sidAdministrators) }

// lookupUser also takes accounts that Windows counts as well-known groups: SYSTEM and services are of that kind.
func lookupUser(name string) (string, error) {
	return lookupAccount(name, "user", windows.SidTypeUser, windows.SidTypeWellKnownGroup)
}

func lookupGroup(name string) (string, error) {
	return lookupAccount(name, "group", windows.SidTypeGroup, windows.SidTypeAlias, windows.SidTypeWellKnownGroup)
}

func lookupAccount(name, what string, kinds ...uint32) (string, error) {
	if strings.HasPrefix(name, "S-1-") { // no account can be called so
		sid, err := windows.StringToSid(name)
		if err != nil {
			return "", fmt.Errorf("%q is not a SID: %w", name, err)
		}
		return sid.String(), nil
	}
	sid, _, kind, err := windows.LookupSID("", name)
	if err != nil {
		return "", fmt.Errorf("no %s is called %q: %w", what, name, err)
	}
	if !slices.Contains(kinds, kind) {
		return "", fmt.Errorf("%q is no %s", name, what)
	}
	return sid.String(), nil
}

func userName(id string) string {
	sid, err := windows.StringToSid(id)
	if err != nil {
		return ""
	}
	name, domain, _, err := sid.LookupAccount("")
	switch {
	case err != nil:
		return ""
	case domain == "":
		return name
	}
	return domain + `\` + name
}

// clientToken is the token of the client at the other end of e, whose handle h is; it is good for queries and AccessCheck. A client has one that
// the kernel took when it connected, or, where it asked for dynamic tracking, which is the default of CreateFile, one
// as of its last write: before that the error is ERROR_CANNOT_IMPERSONATE. A client that asked for SECURITY_ANONYMOUS
// has none: ERROR_CANT_OPEN_ANONYMOUS.
func (e *endpoint) clientToken(h windows.Handle) (token windows.Token, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Impersonation is the thread's. Where it can't be ended, the thread ends with this goroutine, still locked.
		runtime.LockOSThread()
		if r, _, errno := procImpersonateNamedPipeClient.Call(uintptr(h)); r == 0 {
			runtime.UnlockOSThread()
			err = errno
			return
		}
		err = windows.OpenThreadToken(windows.CurrentThread(), windows.TOKEN_QUERY, true, &token)
		if failed := windows.RevertToSelf(); failed != nil {
			if err == nil {
				token.Close()
			}
			token, err = 0, failed
			return
		}
		runtime.UnlockOSThread()
	}()
	<-done
	return token, err
}

// tokenIdentity reads what a policy decides by. Anonymous is nobody: whatever the policy is, it is not admitted.
func tokenIdentity(token windows.Token) (Identity, error) {
	user, err := token.GetTokenUser()
	if err != nil {
		return Identity{}, err
	}
	groups, err := token.GetTokenGroups()
	if err != nil {
		return Identity{}, err
	}
	id := Identity{User: user.User.Sid.String()}
	if id.User == sidAnonymous {
		id.User = ""
	}
	for _, g := range groups.AllGroups() {
		// A group that is for denials only is one that the process does not have any more.
		if g.Attributes&windows.SE_GROUP_ENABLED != 0 && g.Attributes&windows.SE_GROUP_USE_FOR_DENY_ONLY == 0 {
			id.Groups = append(id.Groups, g.Sid.String())
		}
	}
	return id, nil
}

// pipeOwner is the user who made the pipe that h is an end of: whoever serves it. It is the pipe object's own, unlike a
// process id, which may be another's by now.
func pipeOwner(h windows.Handle) (string, error) {
	sd, err := windows.GetSecurityInfo(h, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return "", err
	}
	sid, _, err := sd.Owner()
	if err != nil {
		return "", err
	}
	return sid.String(), nil
}

// standing is what makes two tokens equally powerful, as far as handing handles to a process is concerned.
type standing struct {
	user      string
	session   uint32
	integrity string
}

func tokenStanding(token windows.Token) (standing, error) {
	user, err := token.GetTokenUser()
	if err != nil {
		return standing{}, err
	}
	s := standing{user: user.User.Sid.String()}
	var n uint32
	err = windows.GetTokenInformation(token, windows.TokenSessionId, (*byte)(unsafe.Pointer(&s.session)),
		uint32(unsafe.Sizeof(s.session)), &n)
	if err != nil {
		return standing{}, err
	}
	var label struct {
		windows.Tokenmandatorylabel
		sid [68]byte // SECURITY_MAX_SID_SIZE
	}
	err = windows.GetTokenInformation(token, windows.TokenIntegrityLevel, (*byte)(unsafe.Pointer(&label)),
		uint32(unsafe.Sizeof(label)), &n)
	if err != nil {
		return standing{}, err
	}
	s.integrity = label.Label.Sid.String()
	return s, nil
}

// processStanding: of a process's token.
func processStanding(process windows.Handle) (standing, error) {
	var token windows.Token
	if err := windows.OpenProcessToken(process, windows.TOKEN_QUERY, &token); err != nil {
		return standing{}, err
	}
	defer token.Close()
	return tokenStanding(token)
}

// program is the path of the program that process pid runs.
func (e *endpoint) program(pid int) (string, error) {
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION|windows.SYNCHRONIZE, false, uint32(pid))
	if err == windows.ERROR_INVALID_PARAMETER {
		err = windows.ERROR_FILE_NOT_FOUND // there is no such process
	}
	if err != nil {
		return "", err
	}
	defer windows.CloseHandle(process)
	if e, err := windows.WaitForSingleObject(process, 0); err == nil && e == windows.WAIT_OBJECT_0 {
		return "", windows.ERROR_FILE_NOT_FOUND // it has ended, and is there only since somebody holds a handle
	}
	path := make([]uint16, 32768) // the longest there is
	n := uint32(len(path))
	if err := windows.QueryFullProcessImageName(process, 0, &path[0], &n); err != nil {
		return "", err
	}
	return windows.UTF16ToString(path[:n]), nil
}
