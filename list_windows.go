package standpipe

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// list goes through the folder of all pipes. Everybody may: a name is no secret.
func list() ([]Addr, error) {
	pattern, err := windows.UTF16PtrFromString(pipeRoot + "*")
	if err != nil {
		return nil, err
	}
	var data windows.Win32finddata
	h, err := windows.FindFirstFile(pattern, &data)
	if err == windows.ERROR_FILE_NOT_FOUND {
		return nil, nil
	}
	if err == windows.ERROR_BAD_DEV_TYPE { // Wine's answer: its folder of pipes can't be read
		return nil, fmt.Errorf("this system does not list its pipes: %w (%w)", errors.ErrUnsupported, err)
	}
	if err != nil {
		return nil, err
	}
	defer windows.FindClose(h)
	var addrs []Addr
	for ; err == nil; err = windows.FindNextFile(h, &data) {
		if addr, ok := named(windows.UTF16ToString(data.FileName[:])); ok {
			addrs = append(addrs, addr)
		}
	}
	if err != windows.ERROR_NO_MORE_FILES {
		return nil, err
	}
	return addrs, nil
}

// named is the Addr of a pipe, of which the part below \\.\pipe\ is given, if it has a name of this package.
func named(pipe string) (Addr, bool) {
	path := pipeRoot + pipe
	for _, kind := range []struct{ folder, prefix string }{{userPrefix(), ""}, {pipeShared, sharedPrefix}} {
		if len(path) > len(kind.folder) && strings.EqualFold(path[:len(kind.folder)], kind.folder) {
			addr, err := parseAddr(kind.prefix + path[len(kind.folder):])
			return addr, err == nil
		}
	}
	return Addr{}, false
}

var procWaitNamedPipe = windows.NewLazySystemDLL("kernel32.dll").NewProc("WaitNamedPipeW")

// pipeExists asks without taking an instance: it waits a moment for a free one, and looks only at why there is none.
func pipeExists(path string) bool {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return false
	}
	const millisecond = 1
	r, _, err := procWaitNamedPipe.Call(uintptr(unsafe.Pointer(p)), millisecond)
	return r != 0 || opDial.means(err) != ErrNoServer
}
