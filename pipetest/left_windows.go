package pipetest

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// handleEntry is a SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX.
type handleEntry struct {
	object, process, handle uintptr
	access                  uint32
	backtrace, kind         uint16
	attributes, reserved    uint32
}

// kept are the kinds of handles that somebody must close. The runtime makes threads and events as it likes.
var kept = map[string]bool{"File": true, "Section": true, "Process": true, "Token": true, "Job": true}

// descriptors are the open handles of those kinds.
func descriptors() census {
	c := census{}
	for size := 1 << 16; size < 1<<26; size *= 2 {
		b := make([]uintptr, size)
		err := windows.NtQuerySystemInformation(windows.SystemExtendedHandleInformation, unsafe.Pointer(&b[0]),
			uint32(size)*uint32(unsafe.Sizeof(b[0])), nil)
		if err == windows.STATUS_INFO_LENGTH_MISMATCH {
			continue
		}
		if err != nil {
			return c
		}
		for _, e := range unsafe.Slice((*handleEntry)(unsafe.Pointer(&b[2])), b[0]) {
			if e.process != uintptr(windows.GetCurrentProcessId()) {
				continue
			}
			if kind := kindOf(e.handle); kept[kind] {
				c[fmt.Sprintf("handle %#x %s", e.handle, kind)] = fmt.Sprintf("handle %#x: %s, access %#x", e.handle, kind, e.access)
			}
		}
		break
	}
	return c
}

var ntQueryObject = windows.NewLazySystemDLL("ntdll.dll").NewProc("NtQueryObject")

// kindOf is the type name of a handle's object: the string at the head of an OBJECT_TYPE_INFORMATION.
func kindOf(h uintptr) string {
	const objectTypeInformation = 2
	var b [128]uintptr
	status, _, _ := ntQueryObject.Call(h, objectTypeInformation, uintptr(unsafe.Pointer(&b[0])), unsafe.Sizeof(b), 0)
	if status != 0 {
		return ""
	}
	return (*windows.NTUnicodeString)(unsafe.Pointer(&b[0])).String()
}

// mappings are the views of sections that no file backs.
func mappings() census {
	const mapped = 0x40000 // MEM_MAPPED
	c := census{}
	var m windows.MemoryBasicInformation
	for at := uintptr(0); windows.VirtualQuery(at, &m, unsafe.Sizeof(m)) == nil && m.RegionSize > 0; at = m.BaseAddress + m.RegionSize {
		if m.Type != mapped || m.State != windows.MEM_COMMIT || m.BaseAddress != m.AllocationBase || fileBehind(m.BaseAddress) {
			continue
		}
		c[fmt.Sprintf("view %#x", m.BaseAddress)] = fmt.Sprintf("view of a section: %d bytes at %#x", m.RegionSize, m.BaseAddress)
	}
	return c
}

var getMappedFileName = windows.NewLazySystemDLL("kernel32.dll").NewProc("K32GetMappedFileNameW")

func fileBehind(at uintptr) bool {
	var name [windows.MAX_PATH]uint16
	n, _, _ := getMappedFileName.Call(uintptr(windows.CurrentProcess()), at, uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)))
	return n > 0
}

// remains says whether the pipe is still there. Opening it would make a client of us; waiting for one does not.
func remains(path string) []string {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil
	}
	ok, _, err := waitNamedPipe.Call(uintptr(unsafe.Pointer(p)), 1)
	if ok != 0 || err == windows.ERROR_SEM_TIMEOUT {
		return []string{"the pipe " + path + " is still served"}
	}
	return nil
}

var waitNamedPipe = windows.NewLazySystemDLL("kernel32.dll").NewProc("WaitNamedPipeW")
