package standpipe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

const (
	defaultBuffer = 64 << 10
	// maxWrite bounds one call to the kernel, so that it need not charge the whole of a large write to the process's quota.
	maxWrite = 1 << 20
	// maxMessage is far above what a pipe takes, and below what the system's 32-bit counts hold.
	maxMessage = 1 << 30
)

// endpoint is one end of a pipe. Its half's turn guards what belongs to reading.
type endpoint struct {
	*file
	server   bool
	messages bool

	// Of the server's end: who the client is, and the token that says so until the client is admitted.
	id     Identity
	idErr  error
	client standing
	token  windows.Token
	rules  *rules

	// What was read before the client could be identified; firstCut: the rest of its message is still in the pipe.
	first    []byte
	firstCut bool

	frame frame // see handles_windows.go
}

func newEndpoint(h windows.Handle, server, messages bool) (*endpoint, error) {
	f, err := newFile(h, messages)
	if err != nil {
		return nil, err
	}
	return &endpoint{file: f, server: server, messages: messages}, nil
}

func (e *endpoint) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	e.r.turn.Lock()
	defer e.r.turn.Unlock()
	if left := e.frame.left; left > 0 {
		b = b[:min(uint64(len(b)), left)]
	}
	n, err := e.readSome(b)
	closeFiles(e.frame.took(n)) // nobody asked for them
	return n, err
}

// readSome: the caller has the turn.
func (e *endpoint) readSome(b []byte) (int, error) {
	b = b[:min(len(b), maxMessage)]
	if len(e.first) > 0 {
		return e.readFirst(b)
	}
	n, err := e.read(b)
	if n == 0 && err == nil {
		err = io.EOF // a write of no bytes: some programs end their stream with it
	}
	return n, err
}

func (e *endpoint) readFirst(b []byte) (int, error) {
	e.r.mu.Lock()
	err := e.r.ended()
	e.r.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n := copy(b, e.first)
	e.first = e.first[n:]
	switch {
	case len(e.first) > 0 && e.messages, n == len(b) && e.firstCut:
		return n, io.ErrShortBuffer
	case len(e.first) == 0 && e.firstCut:
		e.firstCut = false
		more, err := e.read(b[n:])
		return n + more, err
	}
	return n, nil
}

func (e *endpoint) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil // on a pipe of messages it would be one, and the end of the stream to some
	}
	e.w.turn.Lock()
	defer e.w.turn.Unlock()
	return e.writeAll(b)
}

func (e *endpoint) writeBuffers(b *net.Buffers) (int64, error) {
	e.w.turn.Lock()
	defer e.w.turn.Unlock()
	return writeEach(b, e.writeAll)
}

// writeAll: the caller has the turn.
func (e *endpoint) writeAll(b []byte) (int, error) {
	if e.messages {
		if len(b) > maxMessage {
			return 0, windows.WSAEMSGSIZE
		}
		return e.write(b)
	}
	done := 0
	for done < len(b) {
		n, err := e.write(b[done:min(len(b), done+maxWrite)])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (e *endpoint) closeWrite() error { return errors.ErrUnsupported }

// Close also closes the token, and files that came and were not taken.
func (e *endpoint) Close() error {
	err := e.file.Close()
	if err == nil {
		e.dropToken()
		e.r.turn.Lock()
		defer e.r.turn.Unlock()
		closeFiles(e.frame.files)
	}
	return err
}

func (e *endpoint) dropToken() {
	if e.token != 0 {
		e.token.Close()
		e.token = 0
	}
}

// tokenTaker is clientToken, or a test's.
type tokenTaker func(e *endpoint, h windows.Handle) (windows.Token, error)

// meet finds out who the client is. It is the server end's, and called before the endpoint is handed out.
func (e *endpoint) meet(take tokenTaker) error {
	return e.control(func(h windows.Handle) error {
		token, err := take(e, h)
		if err != nil {
			return err
		}
		e.token = token // Close, which waits for control, closes it
		if e.id, err = tokenIdentity(token); err != nil {
			return err
		}
		if e.client, err = tokenStanding(token); err != nil {
			return err
		}
		var pid uint32
		if windows.GetNamedPipeClientProcessId(h, &pid) == nil {
			e.id.PID = int(pid)
		}
		return nil
	})
}

func (e *endpoint) identity() (Identity, error) {
	if e.server {
		return e.id, e.idErr
	}
	var id Identity
	err := e.control(func(h windows.Handle) (err error) {
		var pid uint32
		if windows.GetNamedPipeServerProcessId(h, &pid) == nil {
			id.PID = int(pid)
		}
		id.User, err = pipeOwner(h)
		return err
	})
	return id, err
}

// rules are what a client is held against at Accept where ListenConfig.SDDL was given.
type rules struct {
	sd     *windows.SECURITY_DESCRIPTOR
	policy bool // also ListenConfig.Policy was
}

func (e *endpoint) admitted(g *guard, id Identity) error {
	defer e.dropToken()
	if e.rules == nil {
		return g.check(id, ErrDenied, "the client")
	}
	if id.User == "" {
		return &fault{kind: ErrDenied, detail: "the client does not say who it is"}
	}
	ok, err := accessCheck(e.token, e.rules.sd, clientAccess)
	switch {
	case err != nil:
		return &fault{kind: ErrDenied, detail: "the client can't be held against the SDDL", cause: err}
	case !ok:
		return &fault{kind: ErrDenied, detail: fmt.Sprintf("the client is %s, whom the SDDL does not admit", id)}
	case e.rules.policy:
		return g.check(id, ErrDenied, "the client")
	}
	return nil
}

// dial opens a client's end. While every instance is taken it tries again: WaitNamedPipe would hold a thread.
func dial(ctx context.Context, addr Addr, cfg DialConfig) (*endpoint, error) {
	pause := newBackoff(time.Millisecond, 20*time.Millisecond)
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	for {
		e, err := openPipe(addr.path, cfg.Messages)
		if err == nil {
			return e, nil
		}
		if opDial.means(err) != errBusy {
			return nil, dialError(addr, err)
		}
		if err := pause.wait(ctx); err != nil {
			return nil, fmt.Errorf("%w by a client: %w", errBusy, err)
		}
	}
}

func dialError(addr Addr, err error) error {
	f := &fault{kind: opDial.means(err), cause: err}
	switch f.kind {
	case ErrNoServer:
		f.detail = "there is no pipe " + addr.path
	case ErrDenied:
		f.detail = fmt.Sprintf("the pipe %s does not let %s in; its server's policy decides", addr.path,
			Identity{User: currentUser()})
	case ErrBadName, ErrNameTooLong:
		f.detail = "Windows refuses " + addr.path
	default:
		return err
	}
	return f
}

// openFlags: the server may see who we are, as of now, but not act as us, whoever it is.
const openFlags = windows.FILE_FLAG_OVERLAPPED | windows.SECURITY_SQOS_PRESENT | windows.SECURITY_IDENTIFICATION

// openPipe opens a client's end, and asks for no more than clientAccess.
func openPipe(path string, messages bool) (*endpoint, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(p, clientAccess, 0, nil, windows.OPEN_EXISTING, openFlags, 0)
	if err != nil {
		return nil, err
	}
	if messages {
		if err := keepMessages(h); err != nil {
			windows.CloseHandle(h)
			return nil, err
		}
	}
	return newEndpoint(h, false, messages)
}

// keepMessages makes reads of a client's end return one message each.
func keepMessages(h windows.Handle) error {
	var kind uint32
	if err := windows.GetNamedPipeInfo(h, &kind, nil, nil, nil); err != nil {
		return err
	}
	if kind&windows.PIPE_TYPE_MESSAGE == 0 {
		return errNoMessages
	}
	mode := uint32(windows.PIPE_READMODE_MESSAGE)
	return windows.SetNamedPipeHandleState(h, &mode, nil, nil)
}

var errNoMessages error = &fault{kind: ErrMessages, detail: "set DialConfig.Messages as the server's ListenConfig.Messages is"}

// instance is how a server's end is made.
type instance struct {
	path     string
	sd       *windows.SECURITY_DESCRIPTOR
	buffer   int
	messages bool
	max      uint32 // instances of the name; the first one says it
}

const unlimited = 0xffffffff

// kind is the type and the read mode. No pipe of this package takes clients from the network.
func (in *instance) kind() (kind, mode uint32) {
	if in.messages {
		kind, mode = windows.FILE_PIPE_MESSAGE_TYPE, windows.FILE_PIPE_MESSAGE_MODE
	}
	return kind | windows.FILE_PIPE_REJECT_REMOTE_CLIENTS, mode
}

// make makes one; every pipe of this package comes from here. The first must be the first of its name, so that nobody's
// pipe is joined; for the others the name must exist. What FILE_CREATE does, FILE_FLAG_FIRST_PIPE_INSTANCE asks of
// CreateNamedPipe.
func (in *instance) make(first bool) (*endpoint, error) {
	name, err := windows.NewNTUnicodeString(`\??\pipe\` + in.path[len(pipeRoot):])
	if err != nil {
		return nil, err
	}
	oa := &windows.OBJECT_ATTRIBUTES{ObjectName: name, Attributes: windows.OBJ_CASE_INSENSITIVE, SecurityDescriptor: in.sd}
	oa.Length = uint32(unsafe.Sizeof(*oa))
	disposition := uint32(windows.FILE_OPEN)
	if first {
		disposition = windows.FILE_CREATE
	}
	kind, mode := in.kind()
	timeout := int64(-50 * 10000) // 50 ms in 100 ns, for clients that call WaitNamedPipe without a time of their own
	var h windows.Handle
	var iosb windows.IO_STATUS_BLOCK
	err = windows.NtCreateNamedPipeFile(&h, serverAccess, oa, &iosb, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE,
		disposition, 0, kind, mode, windows.FILE_PIPE_QUEUE_OPERATION, in.max, uint32(in.buffer), uint32(in.buffer), &timeout)
	if err != nil {
		return nil, err
	}
	return newEndpoint(h, true, in.messages)
}

// pair makes a pipe that only this user could open, under a name that nobody guesses, with room for one client: us.
func pair() (*endpoint, *endpoint, error) {
	var random [16]byte
	rand.Read(random[:])
	me := currentUser()
	sd, err := windows.SecurityDescriptorFromString((&guard{users: []string{me}}).sddl(me))
	if err != nil {
		return nil, nil, err
	}
	in := &instance{path: pipeMine + `pair\` + hex.EncodeToString(random[:]), sd: sd, buffer: defaultBuffer, max: 1}
	server, err := in.make(true)
	if err != nil {
		return nil, nil, err
	}
	client, err := openPipe(in.path, false)
	if err != nil {
		server.Close()
		return nil, nil, err
	}
	if err = server.await(func() {}); err == nil {
		err = server.meet((*endpoint).clientToken)
	}
	if err != nil {
		server.Close()
		client.Close()
		return nil, nil, err
	}
	return client, server, nil
}

// await waits for a client. errGone: one came and went, and left nothing; the endpoint can wait for the next. That keeps
// the name, which an endpoint that is closed and made again would let go of for a moment.
func (e *endpoint) await(posted func()) error {
	e.r.turn.Lock()
	defer e.r.turn.Unlock()
	err := e.connect(posted)
	if err != errGone {
		return err
	}
	return e.control(func(h windows.Handle) error {
		if left, err := unread(h); err == nil && left > 0 {
			return nil // it wrote before it went: that counts
		}
		if err := windows.DisconnectNamedPipe(h); err != nil {
			return err
		}
		return errGone
	})
}

var procPeekNamedPipe = windows.NewLazySystemDLL("kernel32.dll").NewProc("PeekNamedPipe")

// unread is how many bytes wait to be read.
func unread(h windows.Handle) (n uint32, err error) {
	if r, _, err := procPeekNamedPipe.Call(uintptr(h), 0, 0, 0, uintptr(unsafe.Pointer(&n)), 0); r == 0 {
		return 0, err
	}
	return n, nil
}
