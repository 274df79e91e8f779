package standpipe

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// serverAccess is what a server asks for: everything that clients have, and further instances.
const serverAccess = windows.GENERIC_READ | windows.GENERIC_WRITE | windows.SYNCHRONIZE

// instanceAccess is serverAccess spelled out for a pipe, which gives its generic rights the meaning of a file's.
const instanceAccess = windows.FILE_GENERIC_READ | windows.FILE_GENERIC_WRITE

// userDescriptor reads ListenConfig.SDDL. A group, which pipes have no use for but AccessCheck wants, is filled in.
func userDescriptor(sddl string) (*windows.SECURITY_DESCRIPTOR, error) {
	bad := func(why string, cause error) error {
		err := fmt.Errorf("ListenConfig.SDDL %q: %s", sddl, why)
		if cause != nil {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		return err
	}
	sd, err := windows.SecurityDescriptorFromString(sddl)
	if err != nil {
		return nil, bad("it is not understood", err)
	}
	owner, _, err := sd.Owner()
	if err != nil || owner == nil {
		return nil, bad("it has no owner (O:), by whom clients know their server", err)
	}
	// An absent DACL, and a null one, let everybody do everything.
	if dacl, _, err := sd.DACL(); err != nil || dacl == nil {
		return nil, bad("it has no DACL (D:)", err)
	}
	if group, _, err := sd.Group(); err != nil || group == nil {
		abs, err := sd.ToAbsolute()
		if err == nil {
			err = abs.SetGroup(owner, false)
		}
		if err == nil {
			sd, err = abs.ToSelfRelative()
		}
		if err != nil {
			return nil, bad("it can't be completed", err)
		}
	}
	return sd, nil
}

// ownAccess makes sure that this process can make further instances of a pipe with descriptor sd, which is asked at each
// of them: a server must not be surprised by it when its first client has come.
func ownAccess(sd *windows.SECURITY_DESCRIPTOR) error {
	var token windows.Token
	err := windows.DuplicateTokenEx(windows.GetCurrentProcessToken(), windows.TOKEN_QUERY, nil,
		windows.SecurityIdentification, windows.TokenImpersonation, &token)
	if err != nil {
		return err
	}
	defer token.Close()
	ok, err := accessCheck(token, sd, instanceAccess)
	if err == nil && !ok {
		err = &fault{kind: ErrDenied, detail: "the SDDL does not let this process itself make instances of the pipe;" +
			" grant its user FA"}
	}
	return err
}

// genericMapping: files' rights, which pipes share.
type genericMapping struct{ read, write, execute, all uint32 }

var pipeMapping = genericMapping{windows.FILE_GENERIC_READ, windows.FILE_GENERIC_WRITE, windows.FILE_GENERIC_EXECUTE, 0x1f01ff}

// accessCheck says whether an impersonation token is granted all of mask, which holds no generic rights, by sd, which has
// an owner and a group.
func accessCheck(token windows.Token, sd *windows.SECURITY_DESCRIPTOR, mask uint32) (bool, error) {
	var privileges [256]uint32 // a PRIVILEGE_SET
	size := uint32(unsafe.Sizeof(privileges))
	var granted, status uint32
	r, _, err := procAccessCheck.Call(uintptr(unsafe.Pointer(sd)), uintptr(token), uintptr(mask),
		uintptr(unsafe.Pointer(&pipeMapping)), uintptr(unsafe.Pointer(&privileges[0])), uintptr(unsafe.Pointer(&size)),
		uintptr(unsafe.Pointer(&granted)), uintptr(unsafe.Pointer(&status)))
	if r == 0 {
		return false, err
	}
	return status != 0 && granted&mask == mask, nil
}
