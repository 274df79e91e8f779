//go:build unix

package standpipe

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// Messages mode: SOCK_SEQPACKET, unix(7). recvmsg(2) cuts a message that is longer than the memory it gets, so its length
// is looked at first; what does not fit is kept for the next Read.

// receive reads one message into b, or what is left of the last, and control data into oob. Where b is too short, the
// error is io.ErrShortBuffer.
func (e *endpoint) receive(b, oob []byte) (n, oobn int, err error) {
	if len(b) == 0 {
		return 0, 0, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.rest) == 0 {
		var whole []byte
		rerr := e.raw.Read(func(fd uintptr) bool {
			whole, oobn, err = receiveWhole(int(fd), b, oob)
			return !errors.Is(err, unix.EAGAIN)
		})
		if rerr != nil {
			return 0, 0, rerr
		}
		if err != nil {
			return 0, oobn, readError(err)
		}
		if len(whole) == 0 {
			return 0, oobn, io.EOF // files may have come with nothing
		}
		if len(whole) <= len(b) { // it is in b already
			return len(whole), oobn, nil
		}
		e.rest = whole
	}
	n = copy(b, e.rest)
	if e.rest = e.rest[n:]; len(e.rest) > 0 {
		return n, oobn, io.ErrShortBuffer
	}
	e.rest = nil
	return n, oobn, nil
}

// receiveWhole reads one message: into b, or into memory of its own where b is too short.
func receiveWhole(fd int, b, oob []byte) (whole []byte, oobn int, err error) {
	for {
		_, _, flags, _, err := unix.Recvmsg(fd, b, nil, unix.MSG_PEEK)
		if err == unix.EINTR || err == unix.ECONNRESET { // the latter comes once, before what is still in the queue
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		if flags&unix.MSG_TRUNC == 0 {
			break
		}
		b = make([]byte, max(2*len(b), 64<<10))
	}
	for {
		n, oobn, flags, _, err := unix.Recvmsg(fd, b, oob, receiveFlags)
		if err == unix.EINTR || err == unix.ECONNRESET {
			continue
		}
		if err == nil && flags&unix.MSG_CTRUNC != 0 && len(oob) > 0 {
			err = errTooManyHandles
		}
		return b[:max(n, 0)], max(oobn, 0), err
	}
}
