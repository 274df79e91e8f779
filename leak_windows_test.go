package standpipe

import (
	"os"
	"sync"
	"testing"
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

// ownHandles lists this process's handles. (GetProcessHandleCount is always 0 in Wine.)
func ownHandles(t testing.TB) []handleEntry {
	t.Helper()
	for size := 1 << 16; ; size *= 2 {
		b := make([]uintptr, size)
		err := windows.NtQuerySystemInformation(windows.SystemExtendedHandleInformation, unsafe.Pointer(&b[0]),
			uint32(size)*uint32(unsafe.Sizeof(b[0])), nil)
		if err == windows.STATUS_INFO_LENGTH_MISMATCH {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var own []handleEntry
		for _, e := range unsafe.Slice((*handleEntry)(unsafe.Pointer(&b[2])), b[0]) {
			if e.process == uintptr(windows.GetCurrentProcessId()) {
				own = append(own, e)
			}
		}
		return own
	}
}

var (
	countedOnce sync.Once
	counted     = map[uint16]bool{}
)

// openHandles counts the handles of files, pipes, sections, processes and tokens: those that this package may leak. The
// runtime makes threads and events as it likes.
func openHandles(t testing.TB) int {
	t.Helper()
	countedOnce.Do(func() { learnKinds(t) })
	n := 0
	for _, e := range ownHandles(t) {
		if counted[e.kind] {
			n++
		}
	}
	return n
}

func learnKinds(t testing.TB) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a, b, err := Pipe()
	check(err)
	defer a.Close()
	defer b.Close()
	exe, err := os.Executable()
	check(err)
	file, err := os.Open(exe)
	check(err)
	defer file.Close()
	mapping, err := windows.CreateFileMapping(windows.InvalidHandle, nil, windows.PAGE_READWRITE, 0, 4096, nil)
	check(err)
	defer windows.CloseHandle(mapping)
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, windows.GetCurrentProcessId())
	check(err)
	defer windows.CloseHandle(process)
	samples := []windows.Handle{a.end.h, b.end.h, windows.Handle(file.Fd()), mapping, process, windows.Handle(ownToken(t))}
	found := 0
	for _, e := range ownHandles(t) {
		for _, h := range samples {
			if e.handle == uintptr(h) {
				counted[e.kind] = true
				found++
			}
		}
	}
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	check(err)
	defer windows.CloseHandle(event)
	for _, e := range ownHandles(t) {
		if e.handle == uintptr(event) && counted[e.kind] {
			t.Fatal("kinds of handles can't be told apart")
		}
	}
	if found != len(samples) {
		t.Fatalf("%d of %d handles are listed", found, len(samples))
	}
}
