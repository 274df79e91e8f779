//go:build linux || freebsd

package standpipe

import (
	"io"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Messages mode: SOCK_SEQPACKET, unix(7). recvmsg(2) cuts a message that is longer than the memory it gets, so its length
// is looked at first; what does not fit is kept for the next Read.

// inbox is the receiving side. What recvmsg needs is made once, so that a Read allocates nothing.
type inbox struct {
	mu   sync.Mutex // one Read at a time
	rest []byte     // of a message that was longer than the reader's memory

	try    func(fd uintptr) bool // receiveWhole, for the poller
	header unix.Msghdr
	vector unix.Iovec

	// Of the Read under way, and its results:
	room, oob []byte
	n, oobn   int
	err       error

	control []byte // of a byte stream: what oob is
	done    func()
}

func newInbox() *inbox {
	in := new(inbox)
	in.try = func(fd uintptr) bool {
		in.receiveWhole(fd)
		return in.err != unix.EAGAIN
	}
	return in
}

// receive reads one message into b, or what is left of the last, and control data into oob. Where b is too short, the
// error is io.ErrShortBuffer.
func (e *endpoint) receive(b, oob []byte) (n, oobn int, err error) {
	if len(b) == 0 {
		return 0, 0, nil
	}
	in := e.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.rest) == 0 {
		in.room, in.oob, in.n, in.oobn, in.err = b, oob, 0, 0, nil
		err := e.raw.Read(in.try)
		whole := in.room
		in.room, in.oob = nil, nil // they are the caller's
		switch {
		case err != nil:
			return 0, 0, err
		case in.err != nil:
			return 0, in.oobn, readError(in.err)
		case in.n == 0:
			return 0, in.oobn, io.EOF // files may have come with nothing
		case in.n <= len(b): // it is in b already
			return in.n, in.oobn, nil
		}
		in.rest, oobn = whole[:in.n], in.oobn
	}
	n = copy(b, in.rest)
	if in.rest = in.rest[n:]; len(in.rest) > 0 {
		return n, oobn, io.ErrShortBuffer
	}
	in.rest = nil
	return n, oobn, nil
}

// readStream is Read, and takes the control data that came, into memory that stays valid until done is called. It allocates nothing.
func (e *endpoint) readStream(b []byte) (n int, oob []byte, done func(), err error) {
	e.streams.Do(func() {
		in := &inbox{control: make([]byte, unix.CmsgSpace(maxHandles*4))}
		in.done = in.mu.Unlock
		in.try = func(fd uintptr) bool {
			flags := in.recvmsg(fd, in.control, receiveFlags)
			if in.err == nil && flags&unix.MSG_CTRUNC != 0 {
				in.err = errTooManyHandles
			}
			return in.err != unix.EAGAIN
		}
		e.stream = in
	})
	in := e.stream
	in.mu.Lock()
	in.room, in.n, in.oobn, in.err = b, 0, 0, nil
	err = e.raw.Read(in.try)
	in.room = nil // it is the caller's
	if err == nil {
		err = in.err
	}
	if err == nil && in.n == 0 {
		err = io.EOF
	}
	return in.n, in.control[:in.oobn], in.done, err
}

// receiveWhole reads one message: into in.room, or into memory of its own where that is too short.
func (in *inbox) receiveWhole(fd uintptr) {
	for {
		flags := in.recvmsg(fd, nil, unix.MSG_PEEK)
		if in.err != nil {
			return
		}
		if flags&unix.MSG_TRUNC == 0 {
			break
		}
		in.room = make([]byte, max(2*len(in.room), 64<<10))
	}
	flags := in.recvmsg(fd, in.oob, receiveFlags)
	if in.err == nil && flags&unix.MSG_CTRUNC != 0 && len(in.oob) > 0 {
		in.err = errTooManyHandles
	}
}

// recvmsg is recvmsg(2) as it stands; unix.Recvmsg allocates ten times. It returns the message's flags.
func (in *inbox) recvmsg(fd uintptr, oob []byte, ask int) (flags int) {
	for {
		in.vector.Base = &in.room[0]
		in.vector.SetLen(len(in.room))
		in.header = unix.Msghdr{Iov: &in.vector}
		in.header.SetIovlen(1)
		if len(oob) > 0 {
			in.header.Control = &oob[0]
			in.header.SetControllen(len(oob))
		}
		n, _, e := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&in.header)), uintptr(ask))
		flags, controllen := int(in.header.Flags), int(in.header.Controllen)
		in.header, in.vector = unix.Msghdr{}, unix.Iovec{} // nothing of the caller's is kept
		switch e {
		case 0:
			in.n, in.oobn, in.err = int(n), 0, nil
			if len(oob) > 0 {
				in.oobn = controllen
			}
			return flags
		case unix.EINTR, unix.ECONNRESET: // the latter comes once, before what is still in the queue
		default:
			in.n, in.oobn, in.err = 0, 0, e
			return 0
		}
	}
}
