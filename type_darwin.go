package standpipe

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// inbox: there is none.
type inbox struct{}

func newInbox() *inbox { return nil }

func (e *endpoint) receive(_, _ []byte) (n, oobn int, err error) { return 0, 0, errors.ErrUnsupported }

func (e *endpoint) readStream(b []byte) (n int, oob []byte, done func(), err error) {
	oob = make([]byte, unix.CmsgSpace(maxHandles*4))
	n, oobn, flags, _, err := e.ReadMsgUnix(b, oob)
	n, oobn = max(n, 0), max(oobn, 0) // it may be -1
	switch {
	case err == nil && flags&unix.MSG_CTRUNC != 0:
		err = errTooManyHandles
	case err == nil && n == 0:
		err = io.EOF
	}
	return n, oob[:oobn], func() {}, err
}

func socketType(messages bool) (int, error) {
	if messages {
		return 0, fmt.Errorf("macOS has no Unix sockets that keep message boundaries: %w", errors.ErrUnsupported)
	}
	return unix.SOCK_STREAM, nil
}
