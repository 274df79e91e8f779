//go:build unix

package standpipe

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

var errTooManyHandles = fmt.Errorf("more than %d files came at once, or more than this process may open; the connection was closed", maxHandles)

// writeHandles sends files by SCM_RIGHTS: unix(7).
func (e *endpoint) writeHandles(b []byte, files []*os.File) (int, error) {
	if len(files) == 0 {
		return e.Write(b)
	}
	n := 0
	err := withDescriptors(files, nil, func(fds []int) (err error) {
		n, _, err = e.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
		return err
	})
	if err != nil {
		return max(n, 0), writeError(err, len(b))
	}
	if n < len(b) { // the files went with the first part
		k, err := e.Write(b[n:])
		return n + k, err
	}
	return n, nil
}

// withDescriptors keeps all files open while fn runs.
func withDescriptors(files []*os.File, fds []int, fn func([]int) error) error {
	if len(files) == 0 {
		return fn(fds)
	}
	if files[0] == nil {
		return os.ErrInvalid
	}
	raw, err := files[0].SyscallConn()
	var inner error
	if err == nil {
		err = raw.Control(func(fd uintptr) { inner = withDescriptors(files[1:], append(fds, int(fd)), fn) })
	}
	if err != nil { // it is the file that is closed, not the connection
		return fmt.Errorf("the file %s can't be handed over: %v: %w", files[0].Name(), err, os.ErrInvalid)
	}
	return inner
}

// readHandles reads, and takes what files came with it. Files that were cut off end the connection: the peer thinks that
// it has handed them over.
func (e *endpoint) readHandles(b []byte) (n int, files []*os.File, err error) {
	if len(b) == 0 {
		return 0, nil, nil
	}
	var oob []byte
	if e.in != nil {
		oob = make([]byte, unix.CmsgSpace(maxHandles*4))
		var oobn int
		n, oobn, err = e.receive(b, oob)
		oob = oob[:oobn]
	} else {
		var done func()
		n, oob, done, err = e.readStream(b)
		defer done()
		if err != nil && !errors.Is(err, errTooManyHandles) {
			err = readError(err)
		}
	}
	files, perr := parseHandles(oob)
	if perr != nil || err != nil && !errors.Is(err, io.ErrShortBuffer) {
		for _, f := range files {
			f.Close()
		}
		files = nil
	}
	if perr != nil || errors.Is(err, errTooManyHandles) {
		e.Close()
		return 0, nil, errors.Join(err, perr)
	}
	return n, files, err
}

// On Unix files travel with bytes only.
func (e *endpoint) exportHandle(*os.File) (uint64, error) { return 0, errors.ErrUnsupported }
func (e *endpoint) revokeHandle(uint64, *os.File) error   { return errors.ErrUnsupported }
func (e *endpoint) importHandle(uint64) (*os.File, error) { return nil, errors.ErrUnsupported }

func parseHandles(oob []byte) (files []*os.File, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // something else, which holds no files
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd) // where the system has no MSG_CMSG_CLOEXEC
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}
