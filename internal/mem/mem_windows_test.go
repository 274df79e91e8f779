package mem

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/windows"
)

func dup(t *testing.T, f *os.File) *os.File {
	t.Helper()
	h, err := duplicate(f, 0, windows.DUPLICATE_SAME_ACCESS)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(h), "received")
}

func duplicate(f *os.File, access, options uint32) (h windows.Handle, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	self := windows.CurrentProcess()
	cerr := raw.Control(func(fd uintptr) {
		err = windows.DuplicateHandle(self, windows.Handle(fd), self, &h, access, false, options)
	})
	return h, errors.Join(err, cerr)
}

// handover is a section of the file, as a peer might send one.
func handover(t *testing.T, f *os.File) *os.File {
	t.Helper()
	defer f.Close()
	h, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READWRITE, 0, Least, nil)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(h), "section")
}

// The handle that is handed over can't be made one for writing, since the section's DACL lets nobody.
func TestReadOnly(t *testing.T) {
	made, err := Create(Least)
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	if h, err := duplicate(made.file, 0x2|0x4, 0); err == nil {
		windows.CloseHandle(h)
		t.Error("the handle for reading became one for writing")
	}
	f := dup(t, made.file)
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(h uintptr) {
		if b, err := view(windows.Handle(h), windows.FILE_MAP_WRITE, Least); err == nil {
			unmap(b)
			t.Error("it was mapped for writing")
		}
	})
}

// Memory that is only reserved would be a fault.
func TestReserved(t *testing.T) {
	h, err := windows.CreateFileMapping(windows.InvalidHandle, nil, windows.PAGE_READWRITE|0x4000000, 0, 4*Least, nil) // SEC_RESERVE
	if err != nil {
		t.Fatal(err)
	}
	s, err := Map(os.NewFile(uintptr(h), "section"), 4*Least)
	if err == nil {
		s.Close()
		t.Fatal("reserved memory was mapped")
	}
}
