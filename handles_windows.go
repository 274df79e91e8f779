package standpipe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/windows"
)

// Files that are handed over travel as handle values in a frame in the stream; spec/handles-windows.md has it. The
// server's end, which may be the more privileged, does all the duplicating: it puts its handles into the client's
// process, and takes the client's out of it. A client's values are looked up in the client's own table only.

const (
	frameMagic = 0x6c646e68 // "hndl"
	frameHead  = 16         // magic u32, count u32, length of the data u64; little-endian
)

// frame is what has been read of a frame, if a reader stopped within it. The read half's turn guards it.
type frame struct {
	head  []byte     // head and values, as far as they have come
	files []*os.File // what they were, until the first of the data has come
	left  uint64     // data that is still to come
}

// took: n bytes of data were read; the files are those that came with them.
func (f *frame) took(n int) []*os.File {
	f.left -= min(f.left, uint64(n))
	if n == 0 {
		return nil
	}
	files := f.files
	f.files = nil
	return files
}

var (
	errFrame     = errors.New("what came was not written by WriteHandles")
	errNoHandles = fmt.Errorf("no files where messages are kept: %w", errors.ErrUnsupported)
)

func (e *endpoint) writeHandles(b []byte, files []*os.File) (int, error) {
	if e.messages {
		return 0, errNoHandles
	}
	e.w.turn.Lock()
	defer e.w.turn.Unlock()
	p, err := e.holder(len(files))
	if err != nil {
		return 0, err
	}
	defer p.close()
	values, err := p.push(files)
	if err != nil {
		return 0, err
	}
	head := binary.LittleEndian.AppendUint32(nil, frameMagic)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(values)))
	head = binary.LittleEndian.AppendUint64(head, uint64(len(b)))
	for _, v := range values {
		head = binary.LittleEndian.AppendUint64(head, uint64(v))
	}
	// Once the head is out whole the values are the peer's, whatever happens to the data: to close them then could hit
	// handles that the peer has got since under the same numbers.
	if n, err := e.writeAll(head); err != nil {
		if n < len(head) {
			p.drop(values)
		}
		return 0, err
	}
	return e.writeAll(b)
}

// exportHandle and importHandle are for one file each, without a frame. The client keeps its files, which a frame's values
// are not: so nothing stays open in it that the server has never read.
func (e *endpoint) exportHandle(f *os.File) (uint64, error) {
	if !e.server {
		return valueOf(f)
	}
	p, err := e.holder(1)
	if err != nil {
		return 0, err
	}
	defer p.close()
	values, err := p.push([]*os.File{f})
	if err != nil {
		return 0, err
	}
	return uint64(values[0]), nil
}

// revokeHandle closes what exportHandle has put into the client, if it is still there.
func (e *endpoint) revokeHandle(value uint64, f *os.File) error {
	if !e.server {
		return nil
	}
	own, err := valueOf(f)
	if err != nil {
		return err
	}
	p, err := e.holder(1)
	if err != nil {
		return err
	}
	defer p.close()
	p.keeps = true
	files, err := p.pull([]windows.Handle{windows.Handle(value)})
	if err != nil {
		return nil // it is gone
	}
	defer closeFiles(files)
	if there, err := valueOf(files[0]); err == nil && sameObject(own, there) {
		p.drop([]windows.Handle{windows.Handle(value)})
	}
	runtime.KeepAlive(f)
	return nil
}

var compareObjectHandles = windows.NewLazySystemDLL("kernelbase.dll").NewProc("CompareObjectHandles")

// sameObject: https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-compareobjecthandles, since Windows 10.
func sameObject(a, b uint64) bool {
	if compareObjectHandles.Find() != nil {
		return false
	}
	same, _, _ := compareObjectHandles.Call(uintptr(a), uintptr(b))
	return same != 0
}

func valueOf(f *os.File) (value uint64, err error) {
	if f == nil {
		return 0, os.ErrInvalid
	}
	raw, err := f.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { value = uint64(fd) })
	}
	if err != nil {
		return 0, fmt.Errorf("%s can't be handed over: %w", f.Name(), err)
	}
	return value, nil
}

func (e *endpoint) importHandle(value uint64) (*os.File, error) {
	p, err := e.believe(1)
	if err != nil {
		return nil, err
	}
	defer p.close()
	p.keeps = true
	files, err := p.pull([]windows.Handle{windows.Handle(value)})
	if err != nil {
		return nil, err
	}
	return files[0], nil
}

func (e *endpoint) readHandles(b []byte) (int, []*os.File, error) {
	if e.messages {
		return 0, nil, errNoHandles
	}
	if len(b) == 0 {
		return 0, nil, nil
	}
	e.r.turn.Lock()
	defer e.r.turn.Unlock()
	if e.frame.left == 0 {
		if err := e.readHead(); err != nil {
			return 0, nil, err
		}
	}
	n, err := e.readSome(b[:min(uint64(len(b)), e.frame.left)])
	return n, e.frame.took(n), err
}

// readHead reads up to the data of the next frame, and takes its handles. Where a deadline interrupts it, the next call goes
// on. What is no frame ends the connection: nothing that comes after could be told apart.
func (e *endpoint) readHead() error {
	if err := e.fill(frameHead); err != nil {
		return err
	}
	head := e.frame.head
	count, length := binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint64(head[8:])
	switch {
	case binary.LittleEndian.Uint32(head) != frameMagic, length == 0:
		e.abort()
		return errFrame
	case count > maxHandles:
		e.abort()
		return errMaxHandles
	}
	if err := e.fill(frameHead + 8*int(count)); err != nil {
		return err
	}
	var values []windows.Handle
	for v := e.frame.head[frameHead:]; len(v) > 0; v = v[8:] {
		values = append(values, windows.Handle(binary.LittleEndian.Uint64(v)))
	}
	p, err := e.believe(len(values))
	if err == nil {
		e.frame.files, err = p.pull(values)
		p.close()
	}
	if err != nil {
		e.abort()
		return err
	}
	e.frame.head, e.frame.left = nil, length
	return nil
}

// fill reads until the head of the frame has n bytes, and not one more.
func (e *endpoint) fill(n int) error {
	for len(e.frame.head) < n {
		b := make([]byte, n-len(e.frame.head))
		m, err := e.readSome(b)
		e.frame.head = append(e.frame.head, b[:m]...)
		if err != nil {
			return err
		}
	}
	return nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// holder is the process whose table the values of a frame are of: the client's, at either end.
type holder struct {
	process windows.Handle
	server  bool // we are the server, and process is another's
	keeps   bool // what is pulled out of it stays in it, too
}

// holder opens the client's process, where there are handles to move.
func (e *endpoint) holder(handles int) (*holder, error) {
	if handles == 0 || !e.server {
		return &holder{process: windows.CurrentProcess()}, nil
	}
	refuse := func(why string, cause error) (*holder, error) {
		if cause != nil {
			why += " (" + cause.Error() + ")"
		}
		return nil, fmt.Errorf("files can't be handed over: %s: %w", why, errors.ErrUnsupported)
	}
	var pid uint32
	err := e.control(func(h windows.Handle) error { return windows.GetNamedPipeClientProcessId(h, &pid) })
	if err != nil {
		return nil, opWrite.means(err)
	}
	process, err := windows.OpenProcess(windows.PROCESS_DUP_HANDLE|windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return refuse(fmt.Sprintf("the client's process %d can't be opened", pid), err)
	}
	// The number may be another process's by now, and a client can make it say what it likes.
	who, err := processStanding(process)
	if err == nil && who == e.client {
		return &holder{process: process, server: true}, nil
	}
	windows.CloseHandle(process)
	return refuse(fmt.Sprintf("process %d does not run as the client does, with user, session and integrity", pid), err)
}

// believe is holder for values that came. A server's values name entries of this process's own table. Only one that runs as
// this user, or as the superuser, can have put them there; from another they could only be lies.
func (e *endpoint) believe(handles int) (*holder, error) {
	if handles > 0 && !e.server {
		id, err := e.identity()
		if err != nil {
			return nil, err
		}
		if id.User != currentUser() && !superuser().Admits(id) {
			return nil, fmt.Errorf("files can't be taken from %s, who may not put them into this process: %w", id, errors.ErrUnsupported)
		}
	}
	return e.holder(handles)
}

func (p *holder) close() {
	if p.server {
		windows.CloseHandle(p.process)
	}
}

// push duplicates files into the holder's table.
func (p *holder) push(files []*os.File) ([]windows.Handle, error) {
	var values []windows.Handle
	for _, f := range files {
		var v windows.Handle
		if f == nil {
			p.drop(values)
			return nil, os.ErrInvalid
		}
		raw, err := f.SyscallConn()
		if err == nil {
			closed := raw.Control(func(fd uintptr) { // not Fd, which takes the file out of the runtime's poller
				err = windows.DuplicateHandle(windows.CurrentProcess(), windows.Handle(fd), p.process, &v, 0, false,
					windows.DUPLICATE_SAME_ACCESS)
			})
			if closed != nil {
				err = syscall.EBADF
			}
		}
		if err != nil {
			p.drop(values)
			return nil, fmt.Errorf("%s can't be handed over: %w", f.Name(), err)
		}
		values = append(values, v)
	}
	return values, nil
}

// pull takes handles out of the holder's table; all or none.
func (p *holder) pull(values []windows.Handle) ([]*os.File, error) {
	var files []*os.File
	for i, v := range values {
		h := v
		err := checkValue(v)
		if err == nil && p.server {
			options := uint32(windows.DUPLICATE_SAME_ACCESS)
			if !p.keeps {
				options |= windows.DUPLICATE_CLOSE_SOURCE
			}
			err = windows.DuplicateHandle(p.process, v, windows.CurrentProcess(), &h, 0, false, options)
		}
		if err != nil {
			closeFiles(files)
			if p.server && !p.keeps { // at a client's end the rest may be anything of its own
				p.drop(values[i+1:])
			}
			return nil, fmt.Errorf("handle %d of %d that came: %w", i+1, len(values), err)
		}
		files = append(files, os.NewFile(uintptr(h), fmt.Sprintf("handle %#x", uintptr(h))))
	}
	return files, nil
}

// checkValue refuses what is no entry of a table: none, and the pseudo-handles, which stand for a process or a thread.
func checkValue(v windows.Handle) error {
	if v == 0 || v>>31 != 0 {
		return windows.ERROR_INVALID_HANDLE
	}
	return nil
}

// drop closes handles in the holder's table.
func (p *holder) drop(values []windows.Handle) {
	for _, v := range values {
		if checkValue(v) != nil {
			continue
		}
		if !p.server {
			windows.CloseHandle(v)
			continue
		}
		var none windows.Handle
		windows.DuplicateHandle(p.process, v, 0, &none, 0, false, windows.DUPLICATE_CLOSE_SOURCE)
	}
}
