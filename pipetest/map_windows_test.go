package pipetest

import (
	"testing"

	"golang.org/x/sys/windows"
)

// mapShared maps shared memory, and returns what undoes it.
func mapShared(t *testing.T) func() {
	h, err := windows.CreateFileMapping(windows.InvalidHandle, nil, windows.PAGE_READWRITE, 0, 4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	at, err := windows.MapViewOfFile(h, windows.FILE_MAP_WRITE, 0, 0, 4096)
	windows.CloseHandle(h)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := windows.UnmapViewOfFile(at); err != nil {
			t.Error(err)
		}
	}
}
