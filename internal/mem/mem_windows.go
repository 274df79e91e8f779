package mem

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Kind is what the hello calls segments of this system. "": there are none.
const Kind = "section"

const (
	sectionQuery   = 0x1 // SECTION_QUERY
	sectionMapRead = 0x4 // SECTION_MAP_READ
)

// create makes a section without a name. Its protected empty DACL keeps who gets a handle for reading from making one for writing
// of it: DuplicateHandle may add rights that the object's descriptor allows.
func create(size int) (*Segment, error) {
	sd, err := windows.SecurityDescriptorFromString("D:P")
	if err != nil {
		return nil, err
	}
	sa := windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(sa))
	h, err := windows.CreateFileMapping(windows.InvalidHandle, &sa, windows.PAGE_READWRITE, uint32(uint64(size)>>32), uint32(size), nil)
	if err != nil {
		return nil, os.NewSyscallError("CreateFileMapping", err)
	}
	defer windows.CloseHandle(h)
	b, err := view(h, windows.FILE_MAP_READ|windows.FILE_MAP_WRITE, size)
	if err != nil {
		return nil, err
	}
	var reading windows.Handle
	self := windows.CurrentProcess()
	if err := windows.DuplicateHandle(self, h, self, &reading, sectionQuery|sectionMapRead, false, 0); err != nil {
		unmap(b)
		return nil, os.NewSyscallError("DuplicateHandle", err)
	}
	return &Segment{b, os.NewFile(uintptr(reading), "segment")}, nil
}

func view(h windows.Handle, access uint32, size int) ([]byte, error) {
	p, err := windows.MapViewOfFile(h, access, 0, 0, uintptr(size))
	if err != nil {
		return nil, os.NewSyscallError("MapViewOfFile", err)
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), size), nil
}

// mapFile: a handle is the sender's word, so the view's size is looked at.
func mapFile(f *os.File, size int) (*Segment, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var b []byte
	if cerr := raw.Control(func(h uintptr) { b, err = view(windows.Handle(h), windows.FILE_MAP_READ, size) }); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	var info windows.MemoryBasicInformation
	err = windows.VirtualQuery(uintptr(unsafe.Pointer(unsafe.SliceData(b))), &info, unsafe.Sizeof(info))
	if err == nil && (info.RegionSize < uintptr(size) || info.State != windows.MEM_COMMIT || info.Type != memMapped || ofFile(b)) {
		err = ErrNotSealed
	}
	if err != nil {
		unmap(b)
		return nil, err
	}
	return &Segment{bytes: b}, nil
}

const memMapped = 0x40000 // MEM_MAPPED: no program's image

var getMappedFileName = windows.NewLazySystemDLL("kernel32.dll").NewProc("K32GetMappedFileNameW")

// ofFile says whether b is a view of a file, which may lie where reading it fails.
func ofFile(b []byte) bool {
	var name [windows.MAX_PATH]uint16
	n, _, _ := getMappedFileName.Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
		uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)))
	return n > 0
}

func unmap(b []byte) { windows.UnmapViewOfFile(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

func protect(b []byte, on, writable bool) {
	access := uint32(windows.PAGE_NOACCESS)
	if !on {
		if access = windows.PAGE_READONLY; writable {
			access = windows.PAGE_READWRITE
		}
	}
	var old uint32
	windows.VirtualProtect(uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), access, &old)
}
